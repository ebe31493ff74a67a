//! The bytes of each frame, held against a file: another release must read what this one writes.
//!
//! `UPDATE_GOLDEN=1` writes the file anew. A change of `frames-v1.txt` is a change of the protocol
//! and needs a new version.

use std::fmt::Write;
use std::time::Duration;

use canh_event::{
    Epoch, Figure, GapReason, RecordBatch, RecordSequence, Source, SourceAccount, SourceLoss, StreamName, Timestamp,
};

use crate::body::{Packed, Unpacker};
use crate::credential::{Credential, DenialCode, Denied, Enrol, Renew};
use crate::frame::{
    Account, Ack, Batch, Bye, ByeReason, Credit, Frame, Gap, Hello, Nack, NackCode, Ping, Place, Pong, StreamMark,
    StreamState, Terms, Welcome,
};
use crate::reader::FrameReader;
use crate::token::{Secret, TokenId};
use crate::version::Versions;

const GOLDEN: &str = include_str!("golden/frames-v1.txt");
const EPOCH: Epoch = Epoch(0x0011_2233_4455_6677_8899_AABB_CCDD_EEFF);

fn stream() -> StreamName {
    "log".parse().unwrap()
}

fn clock() -> Timestamp {
    Timestamp::from_secs(1_795_489_623)
}

fn records() -> RecordBatch {
    let mut batch = RecordBatch::new();
    let source = Source {
        name: "/var/log/auth.log".parse().unwrap(),
        host: "web-01".into(),
        format: "auto".parse().unwrap(),
        utc_offset_secs: 25_200,
    };
    let id = batch.source(&source).unwrap();
    batch.push(id, clock(), b"Nov 24 10:07:03 web-01 sshd[7]: Failed password for root from 10.0.0.7").unwrap();
    batch
}

fn batch() -> Batch {
    let mut encoded = Vec::new();
    records().encode(&mut encoded);
    let body = Packed::from_parts(false, encoded.len(), encoded).unwrap();
    Batch { stream: stream(), epoch: EPOCH, first: RecordSequence(42), count: 1, body }
}

fn hello() -> Hello {
    let state = StreamState { stream: stream(), epoch: EPOCH, oldest: RecordSequence(40), last: RecordSequence(99) };
    let software = Box::from("canh-log-agent 0.1.0");
    let versions = Versions { oldest: 1, newest: 1 };
    Hello { versions, boot: 5, clock: clock(), software, capabilities: 0, streams: vec![state] }
}

fn welcome() -> Welcome {
    let terms = Terms {
        window: 4 << 20,
        max_body_bytes: 1 << 20,
        max_raw_bytes: 8 << 20,
        max_records: 4_096,
        ping_interval: Duration::from_secs(30),
        idle_timeout: Duration::from_secs(90),
    };
    let marks = vec![StreamMark { stream: stream(), epoch: EPOCH, durable: RecordSequence(41) }];
    Welcome { version: 1, store: 9, clock: clock(), terms, marks }
}

fn enrol() -> Enrol {
    let (token, secret) = (TokenId(0xfeed), Secret::from_bytes([7; 16]));
    Enrol { token, secret, name: Some("web-01".parse().unwrap()), request: Box::from(*b"request") }
}

fn credential() -> Credential {
    let (agent, agency) = ("web-01".parse().unwrap(), "so-tttt".parse().unwrap());
    let authorities: Vec<Box<[u8]>> = vec![Box::from(*b"new"), Box::from(*b"old")];
    Credential { agent, agency, certificate: Box::from(*b"certificate"), authorities }
}

fn frames() -> Vec<(&'static str, Frame)> {
    let (stream, epoch) = (stream(), EPOCH);
    let place = Place { stream: stream.clone(), epoch, first: RecordSequence(44) };
    let retry_after = Duration::from_secs(3);
    let gap = Gap::new(stream.clone(), epoch, RecordSequence(50), 7, GapReason::SpoolFull);
    let loss = SourceLoss { source: "/a".parse().unwrap(), count: 6, first: Timestamp::EPOCH, last: clock() };
    let placed = Gap { sources: vec![loss], ..gap.clone() };
    vec![
        ("hello", Frame::Hello(hello())),
        ("welcome", Frame::Welcome(welcome())),
        ("batch", Frame::Batch(batch())),
        ("ack", Frame::Ack(Ack { stream, epoch, durable: RecordSequence(42) })),
        ("nack", Frame::Nack(Nack { code: NackCode::SequenceGap, retry_after, place: Some(place) })),
        ("nack_alone", Frame::Nack(Nack { code: NackCode::Overload, retry_after, place: None })),
        ("credit", Frame::Credit(Credit { window: 1 << 20 })),
        ("ping", Frame::Ping(Ping { token: 7, clock: clock() })),
        ("pong", Frame::Pong(Pong { token: 7, clock: clock() })),
        ("gap", Frame::Gap(gap)),
        ("bye", Frame::Bye(Bye { reason: ByeReason::Stopping })),
        ("enrol", Frame::Enrol(enrol())),
        ("credential", Frame::Credential(credential())),
        ("renew", Frame::Renew(Renew { request: Box::from(*b"request") })),
        ("denied", Frame::Denied(Denied { code: DenialCode::NameTaken, retry_after })),
        ("gap_placed", Frame::Gap(placed)),
        ("account", Frame::Account(account())),
    ]
}

fn account() -> Account {
    let named = |name: &str| SourceAccount::new(name.parse().unwrap());
    let busy = SourceAccount { produced: 9, dropped: vec![(GapReason::QueueFull, 2)], ..named("eth0") };
    let figures = vec![(Figure::KernelPackets, 70)];
    let (stream, epoch, position, spooled) = (stream(), EPOCH, RecordSequence(56), RecordSequence(60));
    let sources = vec![SourceAccount { figures, ..busy }, named("eth1")];
    Account { stream, epoch, position, spooled, stated: clock(), is_whole: true, sources }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn from_hex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

fn read_one(bytes: &[u8]) -> Frame {
    let mut reader = FrameReader::new();
    reader.feed(bytes);
    reader.next_frame().unwrap().unwrap()
}

#[test]
#[expect(clippy::disallowed_methods, reason = "writes the golden file when asked to")]
fn every_frame_is_written_as_it_always_was() {
    let mut written = String::new();
    for (name, frame) in frames() {
        let mut bytes = Vec::new();
        frame.encode(1, &mut bytes);
        let _ = writeln!(written, "{name} {}", hex(&bytes));
    }
    if std::env::var("UPDATE_GOLDEN").is_ok() {
        std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/src/golden/frames-v1.txt"), &written).unwrap();
        return;
    }
    assert_eq!(written, GOLDEN);
}

#[test]
fn every_frame_is_read_as_it_always_was() {
    let golden: Vec<(&str, Frame)> = GOLDEN
        .lines()
        .map(|line| line.split_once(' ').unwrap())
        .map(|(name, bytes)| (name, read_one(&from_hex(bytes))))
        .collect();
    assert_eq!(golden, frames());
}

/// Packed by the `zstd` command 1.5.4 at level 3; whatever zstd is linked must unpack it.
#[test]
fn a_packed_batch_is_read_as_it_always_was() {
    let packed = from_hex(include_str!("golden/packed-batch-v1.txt").trim());
    let mut encoded = Vec::new();
    records().encode(&mut encoded);
    let body = Packed::from_parts(true, encoded.len(), packed).unwrap();
    assert_eq!(Unpacker::try_new().unwrap().unpack(&body, 1).unwrap(), records());
}
