//! The capture files of `test-corpus/captures`: makes them, holds them to what is made, and meters them.
//!
//! `UPDATE_GOLDEN=1 cargo test -p canh-flow --test captures` writes the files.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test reads and writes its corpus, and a panic is how it fails"
)]

#[path = "captures/scenes.rs"]
mod scenes;
#[path = "captures/wire.rs"]
mod wire;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use canh_event::Timestamp;
use canh_flow::{ConnectionState, FlowRecord, LinkType, Meter, MeterLimits};

/// Monday 2026-11-23, nine in the morning in Hanoi.
const MONDAY_NINE: u64 = 1_795_399_200;

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../test-corpus/captures").join(name)
}

fn all() -> [(&'static str, Vec<u8>); 5] {
    [
        ("scan-horizontal.pcap", scenes::horizontal_scan()),
        ("scan-vertical.pcap", scenes::vertical_scan()),
        ("beacon.pcap", scenes::beacon()),
        ("exfiltration.pcap", scenes::exfiltration()),
        ("quiet-office.pcap", scenes::quiet_office()),
    ]
    .map(|(name, capture)| (name, capture.into_file(MONDAY_NINE)))
}

fn flows(name: &str) -> Vec<FlowRecord> {
    let bytes = std::fs::read(path(name)).unwrap();
    let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
    let mut records = Vec::new();
    let mut meter = Meter::new(MeterLimits::default(), None);
    let (mut at, mut frames) = (24, 0);
    while at < bytes.len() {
        let time = Timestamp::from_nanos(i64::from(word(at)) * 1_000_000_000 + i64::from(word(at + 4)) * 1_000);
        let frame = &bytes[at + 16..at + 16 + word(at + 8) as usize];
        meter.observe(LinkType::Ethernet, frame, word(at + 12), time, &mut |record| records.push(record));
        (at, frames) = (at + 16 + frame.len(), frames + 1);
    }
    meter.flush(&mut |record| records.push(record));
    assert_eq!((meter.counters().packets, meter.counters().unreadable.total()), (frames, 0), "{name}");
    records
}

fn count(records: &[FlowRecord], state: ConnectionState) -> usize {
    records.iter().filter(|record| record.state == state).count()
}

fn distinct<T: Ord>(records: &[FlowRecord], of: impl Fn(&FlowRecord) -> T) -> usize {
    records.iter().map(of).collect::<BTreeSet<T>>().len()
}

#[test]
fn files_are_what_their_generator_makes() {
    let is_update = std::env::var_os("UPDATE_GOLDEN").is_some();
    for (name, made) in all() {
        if is_update {
            std::fs::write(path(name), &made).unwrap();
        }
        assert!(std::fs::read(path(name)).unwrap() == made, "{name} differs: make it again with UPDATE_GOLDEN=1");
        assert!(made.len() < 64 << 10, "{name} has {} bytes", made.len());
    }
}

#[test]
fn horizontal_scan_is_one_source_and_sixty_destinations_for_each_port() {
    let records = flows("scan-horizontal.pcap");
    assert_eq!((records.len(), distinct(&records, |record| record.source_ip)), (120, 1));
    for port in [22, 445] {
        let of_port: Vec<_> = records.iter().filter(|record| record.destination_port == Some(port)).cloned().collect();
        assert_eq!(distinct(&of_port, |record| record.destination_ip), 60);
    }
    let states = [ConnectionState::S0, ConnectionState::REJ, ConnectionState::RSTO];
    assert_eq!(states.map(|state| count(&records, state)), [72, 36, 12]);
}

#[test]
fn vertical_scan_is_two_hundred_ports_of_one_destination() {
    let records = flows("scan-vertical.pcap");
    assert_eq!(distinct(&records, |record| (record.source_ip, record.destination_ip)), 1);
    assert_eq!((records.len(), distinct(&records, |record| record.destination_port)), (200, 200));
    assert_eq!(count(&records, ConnectionState::RSTO), 4);
}

#[test]
fn beacon_is_sixty_connections_a_minute_apart() {
    let mut records = flows("beacon.pcap");
    assert_eq!((records.len(), count(&records, ConnectionState::SF)), (60, 60));
    assert_eq!(distinct(&records, |record| (record.source_ip, record.destination_ip, record.destination_port)), 1);
    records.sort_by_key(|record| record.start);
    for pair in records.windows(2) {
        let apart = pair[1].start.since(pair[0].start);
        assert!((Duration::from_secs(56)..=Duration::from_secs(64)).contains(&apart), "{apart:?}");
    }
}

#[test]
fn exfiltration_is_one_flow_of_two_hundred_megabytes() {
    let records = flows("exfiltration.pcap");
    let [record] = &records[..] else { panic!("{records:?}") };
    assert_eq!((record.state, record.source_ip.to_string().as_str()), (ConnectionState::SF, "10.20.30.41"));
    assert!((200_000_000..220_000_000).contains(&record.sent.bytes), "{}", record.sent.bytes);
    assert!(record.returned.bytes < 10_000, "{}", record.returned.bytes);
}

#[test]
fn quiet_office_has_nothing_a_scan_a_beacon_or_a_large_transfer_has() {
    let records = flows("quiet-office.pcap");
    assert!(records.len() > 150, "{}", records.len());
    let sources: BTreeSet<_> = records.iter().map(|record| record.source_ip).collect();
    for source in sources {
        let of_source: Vec<_> = records.iter().filter(|record| record.source_ip == source).cloned().collect();
        assert!(distinct(&of_source, |record| record.destination_ip) <= 10, "{source}");
        let pairs: BTreeSet<_> =
            of_source.iter().map(|record| (record.destination_ip, record.destination_port)).collect();
        for pair in pairs {
            let same = of_source.iter().filter(|record| (record.destination_ip, record.destination_port) == pair);
            assert!(same.count() <= 10, "{source} to {pair:?}");
        }
    }
    assert!(records.iter().all(|record| record.sent.bytes < 1_000_000));
    assert!(count(&records, ConnectionState::S0) <= 2);
}
