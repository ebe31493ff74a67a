//! Flows of packets made by hand; sums that must balance; the plain twin of table and wheel.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::packet::tests::{ipv4, tcp, udp};
use crate::protocol::{ConnectionState, Protocol, TcpFlags};
use crate::unreadable::Unreadable;

const SYN: u8 = 0x02;
const SYN_ACK: u8 = 0x12;
const ACK: u8 = 0x10;
const FIN_ACK: u8 = 0x11;
const RST: u8 = 0x04;
const RST_ACK: u8 = 0x14;

/// A meter and what it has handed out. Times are milliseconds.
struct Bench {
    meter: Meter,
    records: Vec<FlowRecord>,
}

impl Bench {
    fn new(limits: MeterLimits) -> Self {
        Self { meter: Meter::new(limits, Some("eth0".parse().unwrap())), records: Vec::new() }
    }

    fn packet(&mut self, at_millis: i64, packet: &[u8]) -> &mut Self {
        let at = Timestamp::from_millis(at_millis);
        let wire_len = u32::try_from(packet.len()).unwrap();
        self.meter.observe(LinkType::RawIp, packet, wire_len, at, &mut |record| self.records.push(record));
        self
    }

    /// A TCP packet from host 1 port 50000 to host 2 port 22, or back.
    fn sent(&mut self, at_millis: i64, flags: u8) -> &mut Self {
        self.packet(at_millis, &ipv4(6, 1, 2, 0, &tcp(50_000, 22, flags)))
    }

    fn returned(&mut self, at_millis: i64, flags: u8) -> &mut Self {
        self.packet(at_millis, &ipv4(6, 2, 1, 0, &tcp(22, 50_000, flags)))
    }

    fn expire(&mut self, at_millis: i64) -> &mut Self {
        self.meter.expire(Timestamp::from_millis(at_millis), &mut |record| self.records.push(record));
        self
    }

    fn flush(&mut self) -> Vec<FlowRecord> {
        self.meter.flush(&mut |record| self.records.push(record));
        std::mem::take(&mut self.records)
    }
}

fn seconds(idle: u64, open: u64, active: u64) -> MeterLimits {
    MeterLimits {
        max_flows: 100,
        idle_timeout: Duration::from_secs(idle),
        open_timeout: Duration::from_secs(open),
        active_timeout: Duration::from_secs(active),
    }
}

fn in_short(records: &[FlowRecord]) -> Vec<(&'static str, &'static str, u64, u64)> {
    let short = |record: &FlowRecord| {
        (record.state.as_str(), record.ended.as_str(), record.sent.packets, record.returned.packets)
    };
    records.iter().map(short).collect()
}

#[test]
fn connection_from_question_to_end_is_one_record() {
    let mut bench = Bench::new(MeterLimits::default());
    bench.sent(1_000, SYN).returned(1_010, SYN_ACK).sent(1_020, ACK);
    bench.returned(2_000, FIN_ACK).sent(2_500, FIN_ACK).returned(2_600, ACK).expire(9_000);
    let [record] = &bench.records[..] else { panic!("{:?}", bench.records) };
    assert_eq!(in_short(&bench.records), [("SF", "ended", 3, 3)]);
    assert_eq!((record.sent.bytes, record.returned.bytes), (120, 120));
    assert_eq!(record.sent.tcp_flags, TcpFlags(SYN | FIN_ACK));
    assert_eq!((record.start, record.end), (Timestamp::from_millis(1_000), Timestamp::from_millis(2_600)));
    assert_eq!((record.source_ip.to_string().as_str(), record.source_port), ("10.0.0.1", Some(50_000)));
    assert_eq!((record.destination_ip.to_string().as_str(), record.destination_port), ("10.0.0.2", Some(22)));
    assert_eq!(record.interface.as_ref().map(SourceName::as_str), Some("eth0"));
    assert_eq!(bench.meter.live_flows(), 0);
}

#[test]
fn source_is_the_side_that_asked_even_if_the_answer_is_seen_first() {
    let mut bench = Bench::new(MeterLimits::default());
    bench.returned(0, SYN_ACK).sent(10, ACK);
    let records = bench.flush();
    assert_eq!((records[0].source_port, records[0].sent.packets), (Some(50_000), 1));
}

#[test]
fn every_probe_of_a_scan_is_a_record() {
    let mut bench = Bench::new(MeterLimits::default());
    for host in 1..=60 {
        let at = i64::from(host) * 10;
        bench.packet(at, &ipv4(6, 200, host, 0, &tcp(40_000, 445, SYN)));
        if host % 2 == 0 {
            bench.packet(at + 1, &ipv4(6, host, 200, 0, &tcp(445, 40_000, RST_ACK)));
        }
    }
    bench.expire(60_000);
    let count = |state| bench.records.iter().filter(|record| record.state == state).count();
    assert_eq!((count(ConnectionState::S0), count(ConnectionState::REJ)), (30, 30));
}

#[test]
fn silence_ends_a_flow_as_long_as_its_phase_allows() {
    let mut bench = Bench::new(seconds(10, 60, 600));
    bench.sent(0, SYN).expire(11_000).expire(11_500);
    assert_eq!(in_short(&bench.records), [("S0", "idle", 1, 0)]);
    let mut bench = Bench::new(seconds(10, 60, 600));
    bench.sent(0, SYN).returned(1, SYN_ACK).sent(2, ACK).expire(60_000);
    assert!(bench.records.is_empty());
    bench.expire(62_000);
    assert_eq!(in_short(&bench.records), [("S1", "idle", 2, 1)]);
    let mut bench = Bench::new(seconds(10, 60, 600));
    bench.sent(0, SYN).returned(1, SYN_ACK).sent(2, ACK).sent(3, RST).expire(7_000);
    assert_eq!(in_short(&bench.records), [("RSTO", "ended", 3, 1)]);
}

#[test]
fn packet_after_the_timeout_begins_a_new_flow_however_late_the_meter_is_asked() {
    let mut bench = Bench::new(seconds(10, 60, 600));
    bench.packet(0, &ipv4(17, 1, 2, 0, &udp(9, 53, b"a"))).packet(9_999, &ipv4(17, 1, 2, 0, &udp(9, 53, b"b")));
    bench.packet(19_999, &ipv4(17, 1, 2, 0, &udp(9, 53, b"c")));
    assert_eq!(in_short(&bench.flush()), [("S0", "idle", 2, 0), ("S0", "flushed", 1, 0)]);
}

#[test]
fn long_connection_is_recorded_in_pieces_that_know_its_state() {
    let mut bench = Bench::new(seconds(10, 60, 100));
    bench.sent(0, SYN).returned(1, SYN_ACK).sent(2, ACK);
    (1..=11).for_each(|step| {
        bench.sent(step * 20_000, ACK);
    });
    bench.sent(220_100, FIN_ACK).returned(220_101, FIN_ACK);
    let records = bench.flush();
    let expected = [("S1", "active", 6, 1), ("S1", "active", 5, 0), ("SF", "ended", 3, 1)];
    assert_eq!(in_short(&records), expected);
    assert_eq!(records[1].start, Timestamp::from_millis(100_000));
    assert_eq!(records[1].sent.tcp_flags, TcpFlags(ACK));
    assert!(records.iter().all(|record| record.source_port == Some(50_000)));
}

#[test]
fn new_question_on_the_same_ports_is_a_new_flow() {
    let mut bench = Bench::new(MeterLimits::default());
    bench.sent(0, SYN).returned(1, RST_ACK).sent(10, SYN).sent(20, SYN).returned(21, RST_ACK).sent(30, SYN);
    assert_eq!(in_short(&bench.flush()), [("REJ", "ended", 1, 1), ("REJ", "ended", 2, 1), ("S0", "flushed", 1, 0)]);
}

#[test]
fn full_table_gives_up_the_flow_nearest_to_its_timeout_and_counts_it() {
    let mut bench = Bench::new(MeterLimits { max_flows: 3, ..MeterLimits::default() });
    let question = |host: u8| ipv4(17, host, 9, 0, &udp(1_000, 53, b"?"));
    bench.packet(0, &question(1)).packet(1_000, &question(2)).packet(2_000, &question(3));
    bench.packet(3_000, &question(1)).packet(4_000, &question(4));
    assert_eq!(bench.records[0].source_ip.to_string(), "10.0.0.2");
    assert_eq!(in_short(&bench.records), [("S0", "evicted", 1, 0)]);
    bench.packet(5_000, &question(5));
    assert_eq!(bench.records[1].source_ip.to_string(), "10.0.0.3");
    assert_eq!((bench.meter.live_flows(), bench.meter.counters().records(EndReason::Evicted)), (3, 2));
    let packets: u64 = bench.flush().iter().map(|record| record.sent.packets).sum();
    assert_eq!(packets, 6);
}

#[test]
fn flood_of_questions_does_not_push_out_open_connections() {
    let mut bench = Bench::new(MeterLimits { max_flows: 10, ..MeterLimits::default() });
    bench.sent(0, SYN).returned(1, SYN_ACK).sent(2, ACK);
    for port in 1..=1_000_u16 {
        bench.packet(100 + i64::from(port), &ipv4(6, 66, 2, 0, &tcp(port, 22, SYN)));
    }
    assert!(bench.records.iter().all(|record| record.source_ip.to_string() == "10.0.0.66"));
    assert_eq!(bench.records.len(), 991);
}

#[test]
fn clock_set_back_neither_splits_flows_nor_keeps_them_for_ever() {
    let mut bench = Bench::new(seconds(10, 60, 600));
    let question = ipv4(17, 1, 2, 0, &udp(9, 53, b"?"));
    let hour = 3_600_000;
    bench.packet(hour, &question).packet(hour + 500, &question).packet(0, &question).packet(500, &question);
    assert!(bench.records.is_empty());
    bench.expire(13_000);
    assert_eq!(in_short(&bench.records), [("S0", "idle", 4, 0)]);
    let record = &bench.records[0];
    assert_eq!((record.start, record.duration()), (Timestamp::from_millis(hour), Duration::from_secs(1)));
}

#[test]
fn packets_a_little_out_of_order_keep_their_own_times() {
    let mut bench = Bench::new(MeterLimits::default());
    let question = |host: u8| ipv4(17, host, 9, 0, &udp(1_000, 53, b"?"));
    bench.packet(5_000, &question(1)).packet(5_400, &question(2)).packet(4_900, &question(1));
    let records = bench.flush();
    assert_eq!(records[0].start, Timestamp::from_millis(4_900));
    assert_eq!(records[0].end, Timestamp::from_millis(5_000));
}

#[test]
fn jump_of_the_clock_ends_what_is_live_and_goes_on() {
    let mut bench = Bench::new(MeterLimits::default());
    let question = |host: u8| ipv4(17, host, 9, 0, &udp(1_000, 53, b"?"));
    bench.packet(-5_000_000_000_000, &question(1)).packet(9_000_000_000_000, &question(2));
    assert_eq!(in_short(&bench.records), [("S0", "idle", 1, 0)]);
    bench.packet(9_000_000_031_300, &question(3));
    assert_eq!(bench.records.len(), 2);
    assert_eq!(bench.flush().len(), 3);
}

#[test]
fn frames_that_are_no_packets_are_counted_by_reason() {
    let mut bench = Bench::new(MeterLimits::default());
    bench.packet(0, &[]).packet(1, &[0x45; 10]).packet(2, &[0x90; 40]);
    let counts = bench.meter.counters().unreadable;
    let of = |reason| counts.get(reason);
    assert_eq!(
        (of(Unreadable::TruncatedLink), of(Unreadable::TruncatedIp), of(Unreadable::MalformedIp), counts.total()),
        (1, 1, 1, 3)
    );
    assert_eq!(bench.meter.counters().packets, 0);
}

/// A packet of a property test: milliseconds since the one before, which flow, which way, flags.
type Step = (i64, u8, bool, u8);

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let gap = prop_oneof![8 => 0..400_i64, 3 => -900..0_i64, 2 => 1_000..20_000_i64, 1 => -40_000..100_000_i64];
    let flags = prop::sample::select(vec![SYN, SYN_ACK, ACK, FIN_ACK, RST, RST_ACK, 0]);
    proptest::collection::vec((gap, 0..12_u8, any::<bool>(), flags), 0..120)
}

fn frame(flow: u8, is_back: bool, flags: u8) -> Vec<u8> {
    let (from, to) = if is_back { (2, 1) } else { (1, 2) };
    let port = 1_000 + u16::from(flow / 3);
    let (source, destination) = if is_back { (80, port) } else { (port, 80) };
    match flow % 3 {
        0 => ipv4(6, from, to, 0, &tcp(source, destination, flags)),
        1 => ipv4(17, from, to, 0, &udp(source, destination, b"payload")),
        _ => ipv4(47, from, to, 0, &[0; 4]),
    }
}

/// The plain twin: all flows in one list, gone through for every packet; no wheel, no index.
struct Reference {
    flows: Vec<Flow>,
    timeouts: Timeouts,
    clock: MeterClock,
    records: Vec<FlowRecord>,
}

impl Reference {
    fn observe(&mut self, bytes: &[u8], at: Timestamp) {
        let now = self.clock.read(at);
        let packet = Packet::parse(LinkType::RawIp, bytes, u32::try_from(bytes.len()).unwrap()).unwrap();
        let (key, sender) = FlowKey::of(&packet);
        if let Some(place) = self.flows.iter().position(|flow| flow.key == key) {
            let flow = &mut self.flows[place];
            let is_over = now.since(flow.last()) >= self.timeouts.of(flow) || flow.is_over_before(&packet);
            if is_over {
                self.records.push(self.flows.remove(place).record(EndReason::Idle, None));
            } else if now.since(flow.started()) >= self.timeouts.active {
                self.records.push(flow.record(EndReason::Active, None));
                flow.begin_record(at, now);
            }
        }
        let place = self.flows.iter().position(|flow| flow.key == key).unwrap_or_else(|| {
            self.flows.push(Flow::new(key, sender, &packet, at, now));
            self.flows.len() - 1
        });
        self.flows[place].observe(sender, &packet, now);
    }
}

/// Records without what depends on when the meter was asked: their order, and idle against flushed.
fn comparable(records: Vec<FlowRecord>) -> Vec<String> {
    let mut texts: Vec<String> = records
        .into_iter()
        .map(|mut record| {
            record.interface = None;
            if record.ended != EndReason::Active {
                record.ended = EndReason::Idle;
            }
            format!("{record:?}")
        })
        .collect();
    texts.sort();
    texts
}

proptest! {
    #[test]
    fn records_are_those_of_the_plain_twin_whenever_the_meter_is_asked(
        steps in steps(), idle in 1..20_u64, open in 1..40_u64, active in 1..60_u64, asked in any::<u8>(),
    ) {
        let limits = seconds(idle, open, active);
        let mut bench = Bench::new(limits);
        let mut plain = Reference {
            flows: Vec::new(), timeouts: bench.meter.timeouts, clock: MeterClock::default(), records: Vec::new(),
        };
        let mut at = 1_000_000;
        for (index, (gap, flow, is_back, flags)) in steps.into_iter().enumerate() {
            at += gap;
            let bytes = frame(flow, is_back, flags);
            bench.packet(at, &bytes);
            plain.observe(&bytes, Timestamp::from_millis(at));
            if asked >> (index % 8) & 1 == 1 {
                bench.expire(at);
            }
        }
        plain.records.extend(plain.flows.iter().map(|flow| flow.record(EndReason::Flushed, None)));
        prop_assert_eq!(comparable(bench.flush()), comparable(plain.records));
        prop_assert_eq!(bench.meter.live_flows(), 0);
    }

    #[test]
    fn every_packet_and_byte_is_in_exactly_one_record(
        steps in steps(), max_flows in 1..8_u32, idle in 1..20_u64, active in 1..60_u64,
    ) {
        let mut bench = Bench::new(MeterLimits { max_flows, ..seconds(idle, 30, active) });
        let mut expected: BTreeMap<Protocol, (u64, u64)> = BTreeMap::new();
        let mut at = 0;
        for (gap, flow, is_back, flags) in steps {
            at += gap;
            let bytes = frame(flow, is_back, flags);
            let sum = expected.entry(Protocol(bytes[9])).or_default();
            *sum = (sum.0 + 1, sum.1 + bytes.len() as u64);
            bench.packet(at, &bytes);
            prop_assert!(bench.meter.live_flows() <= max_flows as usize);
        }
        let counters = *bench.meter.counters();
        let records = bench.flush();
        let mut found: BTreeMap<Protocol, (u64, u64)> = BTreeMap::new();
        for record in &records {
            let sum = found.entry(record.protocol).or_default();
            sum.0 += record.sent.packets + record.returned.packets;
            sum.1 += record.sent.bytes + record.returned.bytes;
            let mut json = Vec::new();
            record.to_json(&mut json);
            prop_assert_eq!(FlowRecord::from_json(&json).unwrap(), record.clone());
        }
        let total = found.values().fold((0, 0), |sum, flow| (sum.0 + flow.0, sum.1 + flow.1));
        prop_assert_eq!(total, (counters.packets, counters.bytes));
        prop_assert_eq!(found, expected);
        prop_assert_eq!(bench.meter.counters().total_records(), records.len() as u64);
    }

    #[test]
    fn any_frames_at_any_times_never_panic_and_balance(
        frames in proptest::collection::vec((proptest::collection::vec(any::<u8>(), 0..80), any::<i64>()), 0..40),
        max_flows in 1..4_u32,
    ) {
        let mut meter = Meter::new(MeterLimits { max_flows, ..MeterLimits::default() }, None);
        let mut packets = 0;
        let mut finished = |record: FlowRecord| packets += record.sent.packets + record.returned.packets;
        for (index, (bytes, at)) in frames.iter().enumerate() {
            let link = if index % 2 == 0 { LinkType::RawIp } else { LinkType::Ethernet };
            let mut bytes = bytes.clone();
            if let (Some(first), true) = (bytes.first_mut(), index % 2 == 0) {
                *first = if *first & 1 == 0 { 0x45 } else { 0x60 };
            }
            meter.observe(link, &bytes, u32::MAX, Timestamp::from_nanos(*at), &mut finished);
        }
        meter.flush(&mut finished);
        prop_assert_eq!(packets, meter.counters().packets);
        prop_assert_eq!(meter.counters().packets + meter.counters().unreadable.total(), frames.len() as u64);
    }
}
