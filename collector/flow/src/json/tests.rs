//! Records as JSON: round trips, and what is refused.

use proptest::prelude::*;

use super::*;

/// A record whose every key has a value.
pub(crate) fn full_record() -> FlowRecord {
    FlowRecord {
        start: Timestamp::from_millis(1_795_489_623_250),
        end: Timestamp::from_secs(1_795_489_624),
        source_ip: "1.2.3.4".parse().unwrap(),
        source_port: Some(1_122),
        destination_ip: "5.6.7.8".parse().unwrap(),
        destination_port: Some(3_344),
        protocol: Protocol::TCP,
        vlan: VlanTags { outer: 12, inner: 7 },
        sent: Traffic { packets: 6, bytes: 512, tcp_flags: TcpFlags(0x1b) },
        returned: Traffic { packets: 5, bytes: 640, tcp_flags: TcpFlags(0x13) },
        state: ConnectionState::SF,
        ended: EndReason::Ended,
        interface: Some("eth0".parse().unwrap()),
    }
}

fn json(record: &FlowRecord) -> String {
    let mut bytes = Vec::new();
    record.to_json(&mut bytes);
    String::from_utf8(bytes).unwrap()
}

fn reads(text: &str) -> Result<FlowRecord, FlowError> {
    FlowRecord::from_json(text.as_bytes())
}

#[test]
fn names_and_order_of_the_keys_are_stable() {
    let expected = concat!(
        r#"{"start":"2026-11-24T03:07:03.25Z","end":"2026-11-24T03:07:04Z","#,
        r#""source_ip":"1.2.3.4","source_port":1122,"destination_ip":"5.6.7.8","destination_port":3344,"#,
        r#""protocol":"tcp","vlan":12,"inner_vlan":7,"source_packets":6,"source_bytes":512,"#,
        r#""destination_packets":5,"destination_bytes":640,"#,
        r#""source_tcp_flags":"APSF","destination_tcp_flags":"ASF","state":"SF","end_reason":"ended","#,
        r#""community_id":"1:wCb3OG7yAFWelaUydu0D+125CLM=","interface":"eth0"}"#,
    );
    assert_eq!(json(&full_record()), expected);
    assert_eq!(reads(expected).unwrap(), full_record());
}

#[test]
fn keys_without_a_value_are_left_out() {
    let mut record = full_record();
    record.protocol = Protocol(47);
    (record.source_port, record.destination_port, record.interface) = (None, None, None);
    record.vlan = VlanTags::default();
    (record.sent.tcp_flags, record.returned) = (TcpFlags(0), Traffic::default());
    let text = json(&record);
    for key in ["port", "vlan", "flags", "interface", "null"] {
        assert!(!text.contains(key), "{key} in {text}");
    }
    assert_eq!(reads(&text).unwrap(), record);
}

#[test]
fn values_that_do_not_go_together_are_refused() {
    let whole = json(&full_record());
    let wrong = [
        (r#""end":"2026-11-24T03:07:04Z""#, r#""end":"2026-11-24T03:07:03Z""#, "before the start"),
        (r#""source_port":1122,"#, "", "one port"),
        (r#""destination_ip":"5.6.7.8""#, r#""destination_ip":"::5""#, "two families"),
        (r#""vlan":12,"#, "", "no outer one"),
        (r#""vlan":12"#, r#""vlan":4095"#, "1 to 4094"),
        (r#""inner_vlan":7"#, r#""inner_vlan":0"#, "1 to 4094"),
        (r#""destination_packets":5"#, r#""destination_packets":0"#, "without a packet"),
        (r#""source_tcp_flags":"APSF","#, "", "flags"),
        (r#""protocol":"tcp""#, r#""protocol":"udp""#, "flags"),
        (r#""source_port":1122"#, r#""source_port":1123"#, "community id"),
    ];
    for (from, to, says) in wrong {
        let text = whole.replacen(from, to, 1);
        assert_ne!(text, whole, "{from}");
        let error = reads(&text).unwrap_err();
        assert!(matches!(&error, FlowError::Inconsistent { what } if what.contains(says)), "{to}: {error}");
    }
}

#[test]
fn text_that_is_no_record_is_refused() {
    let whole = json(&full_record());
    let wrong = [
        (r#""protocol":"tcp""#, r#""protocol":"6""#),
        (r#""protocol":"tcp""#, r#""protocol":6"#),
        (r#""source_port":1122"#, r#""source_port":70000"#),
        (r#""source_port":1122"#, r#""source_port":-1"#),
        (r#""source_bytes":512"#, r#""source_bytes":1e3"#),
        (r#""source_bytes":512"#, r#""source_bytes":18446744073709551616"#),
        (r#""state":"SF""#, r#""state":"sf""#),
        (r#""interface":"eth0""#, r#""interface":"eth0\u001b[2J""#),
        (r#""interface":"eth0""#, r#""interface":"eth0","more":1"#),
        (r#""vlan":12"#, r#""vlan":12,"vlan":12"#),
        (r#""start":"2026-11-24T03:07:03.25Z","#, ""),
        ("1.2.3.4", "1.2.3.4.5"),
        ("}", "}{}"),
    ];
    for (from, to) in wrong {
        let text = whole.replacen(from, to, 1);
        assert_ne!(text, whole, "{from}");
        assert!(matches!(reads(&text), Err(FlowError::Json(_))), "{to}");
    }
    let long = whole.replace("eth0", &"e".repeat(MAX_JSON_BYTES));
    assert!(matches!(reads(&long), Err(FlowError::TooLong { .. })));
}

fn any_record() -> impl Strategy<Value = FlowRecord> {
    let traffic = || (1..=u64::MAX, any::<u64>(), any::<u8>());
    (
        (any::<i64>(), 0..i64::MAX, any::<[u8; 16]>(), any::<[u8; 16]>(), any::<bool>()),
        (any::<u8>(), proptest::option::of(any::<(u16, u16)>()), 0..=4_094_u16, 0..=4_094_u16),
        (traffic(), traffic(), proptest::option::of("[^\\p{Cc}]{1,60}")),
    )
        .prop_map(|((start, span, a, b, is_v6), (protocol, ports, outer, inner), (sent, returned, interface))| {
            let address = |octets: [u8; 16]| match is_v6 {
                true => IpAddr::from(octets),
                false => IpAddr::from([octets[0], octets[1], octets[2], octets[3]]),
            };
            let protocol = Protocol(protocol);
            let traffic = |(packets, bytes, flags): (u64, u64, u8)| Traffic {
                packets,
                bytes,
                tcp_flags: TcpFlags(if protocol == Protocol::TCP { flags } else { 0 }),
            };
            FlowRecord {
                start: Timestamp::from_nanos(start),
                end: Timestamp::from_nanos(start.saturating_add(span)),
                source_ip: address(a),
                source_port: ports.map(|ports| ports.0),
                destination_ip: address(b),
                destination_port: ports.map(|ports| ports.1),
                protocol,
                vlan: VlanTags { outer, inner: if outer == 0 { 0 } else { inner } },
                sent: traffic(sent),
                returned: traffic(returned),
                state: ConnectionState::OTH,
                ended: EndReason::Idle,
                interface: interface.and_then(|name| name.parse().ok()),
            }
        })
}

proptest! {
    #[test]
    fn every_record_comes_back_as_it_was(record in any_record()) {
        let text = json(&record);
        prop_assert_eq!(reads(&text).unwrap(), record.clone());
        prop_assert_eq!(serde_json::from_str::<FlowRecord>(&text).unwrap(), record);
        prop_assert!(text.len() < MAX_JSON_BYTES / 2);
    }

    #[test]
    fn bytes_cut_or_changed_never_panic(
        record in any_record(), cut in any::<prop::sample::Index>(), at in any::<prop::sample::Index>(), flip in 1..=255_u8,
    ) {
        let mut bytes = json(&record).into_bytes();
        prop_assert!(FlowRecord::from_json(&bytes[..cut.index(bytes.len())]).is_err());
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        if let Ok(changed) = FlowRecord::from_json(&bytes) {
            prop_assert_eq!(fault_of(&changed), None);
        }
    }
}
