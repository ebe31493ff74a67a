//! Every Community ID of the specification's own baseline, from tuples and from packets.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a test reads its corpus, says if it is not there, and a panic is how it fails"
)]

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use canh_event::Timestamp;
use canh_flow::{CommunityId, FlowRecord, LinkType, Meter, MeterLimits, Protocol};
use serde::Deserialize;

#[derive(Deserialize)]
struct Entry {
    proto: u8,
    saddr: IpAddr,
    daddr: IpAddr,
    sport: Option<u16>,
    dport: Option<u16>,
    communityid: String,
}

/// Returns the folder of the baseline, or says that it is not there.
fn baseline() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/corpus/pcap/community-id");
    if folder.is_dir() {
        return Some(folder);
    }
    println!("skipped: no {}", folder.display());
    None
}

fn read(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap()
}

fn entries(folder: &Path, file: &str) -> Vec<Entry> {
    serde_json::from_slice(&read(&folder.join(file))).unwrap()
}

fn id_of(entry: &Entry, seed: u16) -> CommunityId {
    CommunityId::new(seed, Protocol(entry.proto), entry.saddr, entry.daddr, entry.sport.zip(entry.dport))
}

/// The frames of a little-endian microsecond capture file, which all of the baseline's are.
fn frames(bytes: &[u8]) -> Vec<(Timestamp, Vec<u8>)> {
    let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
    assert_eq!((word(0), word(20)), (0xa1b2_c3d4, 1), "a capture of Ethernet frames");
    let (mut at, mut frames) = (24, Vec::new());
    while at + 16 <= bytes.len() {
        let time = Timestamp::from_nanos(i64::from(word(at)) * 1_000_000_000 + i64::from(word(at + 4)) * 1_000);
        let len = word(at + 8) as usize;
        frames.push((time, bytes[at + 16..at + 16 + len].to_vec()));
        at += 16 + len;
    }
    frames
}

#[test]
fn every_tuple_of_the_baseline_has_its_id() {
    let Some(folder) = baseline() else { return };
    for (file, seed) in [("baseline_deflt.json", 0), ("baseline_seed1.json", 1)] {
        let entries = entries(&folder, file);
        assert!(!entries.is_empty());
        for entry in entries {
            assert_eq!(id_of(&entry, seed).to_string(), entry.communityid, "{file} {} {}", entry.saddr, entry.daddr);
        }
    }
    for entry in entries(&folder, "baseline_nob64.json") {
        let hex: String = id_of(&entry, 0).hash().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(format!("1:{hex}"), entry.communityid);
    }
}

#[test]
fn flows_of_the_baselines_packets_have_its_ids_and_no_others() {
    let Some(folder) = baseline() else { return };
    let mut found = BTreeSet::new();
    let mut finished = |record: FlowRecord| {
        found.insert(record.community_id().to_string());
    };
    for file in ["arp", "icmp", "icmp6", "ipv6", "rsvp", "sctp", "tcp", "udp"] {
        let mut meter = Meter::new(MeterLimits::default(), None);
        for (at, frame) in frames(&read(&folder.join(format!("{file}.pcap")))) {
            let wire_len = u32::try_from(frame.len()).unwrap();
            meter.observe(LinkType::Ethernet, &frame, wire_len, at, &mut finished);
        }
        meter.flush(&mut finished);
    }
    let expected: BTreeSet<String> =
        entries(&folder, "baseline_deflt.json").into_iter().map(|entry| entry.communityid).collect();
    assert_eq!(found, expected);
}
