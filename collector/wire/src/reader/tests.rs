use std::time::Duration;

use canh_event::{DecodeError, Epoch, GapReason, RecordSequence, SourceAccount, SourceLoss, StreamName, Timestamp};
use proptest::prelude::*;

use super::*;
use crate::body::Packed;
use crate::frame::{
    Account, Ack, Batch, Bye, ByeReason, Credit, Gap, Hello, Nack, NackCode, Ping, Place, Pong, StreamMark,
    StreamState, Terms, Welcome,
};
use crate::kind::FrameKind;
use crate::limits::{CONTROL_LIMIT, MAX_BODY_BYTES};
use crate::version::Versions;

fn any_stream() -> impl Strategy<Value = StreamName> {
    "[a-z0-9][a-z0-9._-]{0,62}".prop_map(|text| text.parse().unwrap())
}

fn any_time() -> impl Strategy<Value = Timestamp> {
    any::<i64>().prop_map(Timestamp::from_nanos)
}

fn any_span() -> impl Strategy<Value = Duration> {
    any::<u32>().prop_map(|millis| Duration::from_millis(u64::from(millis)))
}

fn any_place() -> impl Strategy<Value = (StreamName, Epoch, RecordSequence)> {
    (any_stream(), any::<u128>(), any::<u64>())
        .prop_map(|(stream, epoch, sequence)| (stream, Epoch(epoch), RecordSequence(sequence)))
}

fn any_hello() -> impl Strategy<Value = Hello> {
    let state = (any::<u128>(), 1..u64::MAX - 9, 0..9_u64);
    let states = proptest::collection::vec(state, 0..4);
    (any::<(u8, u8, u128, u32)>(), any_time(), "[ -~]{0,63}", states).prop_map(|(numbers, clock, software, states)| {
        let (oldest, newest, boot, capabilities) = numbers;
        let streams = states.into_iter().enumerate().map(|(index, (epoch, oldest, held))| StreamState {
            stream: format!("stream-{index}").parse().unwrap(),
            epoch: Epoch(epoch),
            oldest: RecordSequence(oldest),
            last: RecordSequence(oldest - 1 + held),
        });
        let streams = streams.collect();
        let versions = Versions { oldest, newest };
        Hello { versions, boot, clock, software: software.into(), capabilities, streams }
    })
}

fn any_welcome() -> impl Strategy<Value = Welcome> {
    let marks = proptest::collection::vec(any_place(), 0..4);
    let terms =
        (any::<(u64, u32, u32, u32)>(), any_span(), any_span()).prop_map(|(sizes, ping_interval, idle_timeout)| {
            let (window, max_body_bytes, max_raw_bytes, max_records) = sizes;
            Terms { window, max_body_bytes, max_raw_bytes, max_records, ping_interval, idle_timeout }
        });
    (any::<u8>(), any::<u128>(), any_time(), terms, marks).prop_map(|(version, store, clock, terms, marks)| {
        let marks = marks.into_iter().map(|(stream, epoch, durable)| StreamMark { stream, epoch, durable });
        Welcome { version, store, clock, terms, marks: marks.collect() }
    })
}

fn any_batch() -> impl Strategy<Value = Batch> {
    let bytes = proptest::collection::vec(any::<u8>(), 0..3_000);
    (any_stream(), any::<u128>(), 1..u64::MAX - 5_000, 1..4_096_u32, bytes, any::<bool>()).prop_map(
        |(stream, epoch, first, count, bytes, is_zstd)| {
            let raw_len = if is_zstd { bytes.len() * 3 } else { bytes.len() };
            let body = Packed::from_parts(is_zstd, raw_len, bytes).unwrap();
            Batch { stream, epoch: Epoch(epoch), first: RecordSequence(first), count, body }
        },
    )
}

fn any_nack() -> impl Strategy<Value = Nack> {
    let code = proptest::sample::select(NackCode::ALL);
    (code, any_span(), proptest::option::of(any_place())).prop_map(|(code, retry_after, place)| {
        let place = place.map(|(stream, epoch, first)| Place { stream, epoch, first });
        Nack { code, retry_after, place }
    })
}

fn any_gap() -> impl Strategy<Value = Gap> {
    let reason = proptest::sample::select(GapReason::ALL);
    let losses = proptest::collection::btree_map("[a-z/]{1,9}", (1..1_000_u64, any_time()), 0..4);
    (any_stream(), any::<u128>(), 1..1_u64 << 60, 4_000..1_u64 << 60, reason, losses).prop_map(
        |(stream, epoch, from, count, reason, losses)| {
            let loss = |(source, (count, at)): (String, _)| {
                let source = source.parse().unwrap();
                SourceLoss { source, count, first: at, last: at }
            };
            let sources = losses.into_iter().map(loss).collect();
            Gap { sources, ..Gap::new(stream, Epoch(epoch), RecordSequence(from), count, reason) }
        },
    )
}

fn any_account() -> impl Strategy<Value = Account> {
    let sources = proptest::collection::btree_map("[a-z/]{1,9}", any::<u64>(), 0..4);
    (any_place(), any::<u64>(), any_time(), any::<bool>(), sources).prop_map(
        |((stream, epoch, position), spooled, stated, is_whole, sources)| {
            let source = |(name, produced): (String, u64)| SourceAccount {
                produced,
                ..SourceAccount::new(name.parse().unwrap())
            };
            let (spooled, sources) = (position.max(RecordSequence(spooled)), sources.into_iter().map(source).collect());
            Account { stream, epoch, position, spooled, stated, is_whole, sources }
        },
    )
}

fn any_frame() -> impl Strategy<Value = Frame> {
    prop_oneof![
        any_hello().prop_map(Frame::Hello),
        any_account().prop_map(Frame::Account),
        any_welcome().prop_map(Frame::Welcome),
        any_batch().prop_map(Frame::Batch),
        any_place().prop_map(|(stream, epoch, durable)| Frame::Ack(Ack { stream, epoch, durable })),
        any_nack().prop_map(Frame::Nack),
        any::<u64>().prop_map(|window| Frame::Credit(Credit { window })),
        (any::<u64>(), any_time()).prop_map(|(token, clock)| Frame::Ping(Ping { token, clock })),
        (any::<u64>(), any_time()).prop_map(|(token, clock)| Frame::Pong(Pong { token, clock })),
        any_gap().prop_map(Frame::Gap),
        proptest::sample::select(ByeReason::ALL).prop_map(|reason| Frame::Bye(Bye { reason })),
    ]
}

fn encode(frames: &[Frame]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for frame in frames {
        frame.encode(1, &mut bytes);
    }
    bytes
}

/// Everything the reader gives, and its error if it came to one.
fn drain(reader: &mut FrameReader, frames: &mut Vec<Frame>) -> Result<(), FrameError> {
    while let Some(frame) = reader.next_frame()? {
        frames.push(frame);
    }
    Ok(())
}

/// Reads the bytes as a socket would hand them over, `step` bytes at a time at most.
fn read_by_steps(bytes: &[u8], steps: &[usize]) -> (Vec<Frame>, Result<(), FrameError>) {
    let (mut reader, mut frames, mut rest) = (FrameReader::new(), Vec::new(), bytes);
    let mut steps = steps.iter().copied().cycle();
    while !rest.is_empty() {
        let room = reader.room();
        let count = steps.next().unwrap_or(1).min(room.len()).min(rest.len());
        room[..count].copy_from_slice(&rest[..count]);
        reader.filled(count);
        rest = &rest[count..];
        if let Err(error) = drain(&mut reader, &mut frames) {
            return (frames, Err(error));
        }
    }
    (frames, Ok(()))
}

proptest! {
    #[test]
    fn any_split_of_the_input_gives_the_same_frames(
        frames in proptest::collection::vec(any_frame(), 0..6),
        steps in proptest::collection::vec(1..4_000_usize, 1..20),
    ) {
        let bytes = encode(&frames);
        let (by_steps, result) = read_by_steps(&bytes, &steps);
        prop_assert_eq!(result, Ok(()));
        prop_assert_eq!(&by_steps, &frames);

        let (mut reader, mut at_once) = (FrameReader::new(), Vec::new());
        reader.feed(&bytes);
        prop_assert_eq!(drain(&mut reader, &mut at_once), Ok(()));
        prop_assert!(!reader.has_begun());
        prop_assert_eq!(at_once, frames);
    }

    #[test]
    fn any_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600), is_framed in any::<bool>()) {
        let mut input = if is_framed { b"CANH\x01".to_vec() } else { Vec::new() };
        input.extend(&bytes);
        let (frames, result) = read_by_steps(&input, &[7]);
        prop_assert!(frames.is_empty() || result.is_ok());
    }

    #[test]
    fn a_changed_byte_never_makes_another_frame(
        frames in proptest::collection::vec(any_frame(), 1..4), at in any::<prop::sample::Index>(), flip in 1..=255u8,
    ) {
        let mut bytes = encode(&frames);
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        let (read, _) = read_by_steps(&bytes, &[5_000]);
        prop_assert!(read.len() < frames.len());
        prop_assert_eq!(&read, &frames[..read.len()]);
    }

    #[test]
    fn any_body_with_a_right_checksum_never_panics(
        code in 1..=10_u8, body in proptest::collection::vec(any::<u8>(), 0..200), zstd in any::<bool>(),
    ) {
        let kind = FrameKind::from_code(code).unwrap();
        let is_zstd = zstd && kind == FrameKind::Batch;
        let head = FrameHead { version: 1, kind, is_zstd, body_bytes: body.len(), raw_bytes: 0, checksum: 0 };
        let mut bytes = Vec::new();
        head.write(&mut bytes);
        bytes.extend(&body);
        crate::head::seal(&mut bytes);
        if let (frames, Ok(())) = read_by_steps(&bytes, &[64]) {
            prop_assert_eq!(frames.len(), 1);
        }
    }
}

fn ping() -> Frame {
    Frame::Ping(Ping { token: 7, clock: Timestamp::EPOCH })
}

#[test]
fn after_an_error_nothing_more_is_read() {
    let mut bytes = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec();
    bytes.extend(encode(&[ping()]));
    let mut reader = FrameReader::new();
    reader.feed(&bytes);
    assert_eq!(reader.next_frame(), Err(FrameError::Magic));
    reader.feed(&encode(&[ping()]));
    assert_eq!(reader.next_frame(), Err(FrameError::Magic));
}

#[test]
fn a_lie_about_the_length_costs_a_header() {
    let head = FrameHead {
        version: 1,
        kind: FrameKind::Hello,
        is_zstd: false,
        body_bytes: CONTROL_LIMIT + 1,
        raw_bytes: 0,
        checksum: 0,
    };
    let mut bytes = Vec::new();
    head.write(&mut bytes);
    let mut reader = FrameReader::new();
    reader.feed(&bytes);
    let refused = FrameError::BodyLength { kind: FrameKind::Hello, got: CONTROL_LIMIT + 1, limit: CONTROL_LIMIT };
    assert_eq!(reader.next_frame(), Err(refused));
}

#[test]
fn a_header_says_what_to_set_aside_before_its_body_is_read() {
    let head = FrameHead {
        version: 1,
        kind: FrameKind::Batch,
        is_zstd: true,
        body_bytes: MAX_BODY_BYTES,
        raw_bytes: 5 << 20,
        checksum: 0,
    };
    let mut bytes = Vec::new();
    head.write(&mut bytes);
    let mut reader = FrameReader::new();
    reader.feed(&bytes);
    assert_eq!(reader.next_frame(), Ok(None));
    assert_eq!(reader.under_way().map(|head| (head.body_bytes, head.raw_bytes)), Some((MAX_BODY_BYTES, 5 << 20)));
    assert!(reader.has_begun());
}

#[test]
fn a_quiet_connection_keeps_a_small_buffer() {
    let body = Packed::from_parts(false, 500_000, vec![7; 500_000]).unwrap();
    let stream: StreamName = "log".parse().unwrap();
    let batch = Frame::Batch(Batch { stream, epoch: Epoch(1), first: RecordSequence(1), count: 1, body });
    let mut reader = FrameReader::new();
    reader.feed(&encode(&[batch]));
    assert!(matches!(reader.next_frame(), Ok(Some(Frame::Batch(_)))));
    reader.room();
    assert!(reader.buffer.capacity() <= KEPT_CAPACITY);
}

#[test]
fn once_settled_only_that_version_is_read() {
    let mut bytes = Vec::new();
    ping().encode(2, &mut bytes);
    let mut reader = FrameReader::new();
    reader.settle(1);
    reader.feed(&bytes);
    assert_eq!(reader.next_frame(), Err(FrameError::Version { got: 2, settled: Some(1) }));
}

#[test]
fn a_newer_hello_is_read_by_what_is_known_of_it() {
    let hello = Hello {
        versions: Versions { oldest: 1, newest: 2 },
        boot: 1,
        clock: Timestamp::EPOCH,
        software: "later".into(),
        capabilities: 0,
        streams: Vec::new(),
    };
    let mut bytes = Vec::new();
    Frame::Hello(hello.clone()).encode(2, &mut bytes);
    bytes.extend(b"what a later release adds");
    let body_bytes = u32::try_from(bytes.len() - FRAME_HEAD_BYTES).unwrap();
    bytes[8..12].copy_from_slice(&body_bytes.to_le_bytes());
    crate::head::seal(&mut bytes);
    let mut reader = FrameReader::new();
    reader.feed(&bytes);
    assert_eq!(reader.next_frame(), Ok(Some(Frame::Hello(hello))));
}

#[test]
fn other_frames_may_not_have_more_at_their_end() {
    let mut bytes = encode(&[ping()]);
    bytes.push(0);
    bytes[8] += 1;
    crate::head::seal(&mut bytes);
    let mut reader = FrameReader::new();
    reader.feed(&bytes);
    let source = DecodeError::Invalid { what: "end of frame", offset: 16 };
    assert_eq!(reader.next_frame(), Err(FrameError::Body { kind: FrameKind::Ping, source }));
}

#[test]
fn runs_that_cannot_be_are_refused() {
    let stream: StreamName = "log".parse().unwrap();
    for (from, count) in [(0, 1), (1, 0), (u64::MAX, 1), (2, u64::MAX)] {
        let reason = GapReason::SpoolFull;
        let gap = Gap::new(stream.clone(), Epoch(1), RecordSequence(from), count, reason);
        let mut reader = FrameReader::new();
        reader.feed(&encode(&[Frame::Gap(gap)]));
        assert!(matches!(reader.next_frame(), Err(FrameError::Body { .. })), "{from} {count}");
    }
}
