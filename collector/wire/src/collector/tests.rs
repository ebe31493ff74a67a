use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::agent::{AgentEvent, AgentSession, Resume};
use crate::body::Packed;
use crate::frame::{Bye, Ping, StreamState};
use crate::limits::{IDLE_TIMEOUT, PING_INTERVAL};
use crate::version::SPOKEN;
use canh_event::GapReason;

const EPOCH: Epoch = Epoch(77);
const NOW: Timestamp = Timestamp::EPOCH;

fn stream() -> StreamName {
    "log".parse().unwrap()
}

fn hello(oldest: u64, last: u64) -> Hello {
    let (oldest, last) = (RecordSequence(oldest), RecordSequence(last));
    let streams = vec![StreamState { stream: stream(), epoch: EPOCH, oldest, last }];
    Hello { versions: SPOKEN, boot: 1, clock: NOW, software: "test".into(), capabilities: 0, streams }
}

fn terms(window: u64) -> Terms {
    let (ping_interval, idle_timeout) = (PING_INTERVAL, IDLE_TIMEOUT);
    let (max_body_bytes, max_raw_bytes, max_records) = (1 << 20, 8 << 20, 4_096);
    Terms { window, max_body_bytes, max_raw_bytes, max_records, ping_interval, idle_timeout }
}

fn receiving(durable: u64, window: u64) -> CollectorSession<Receiving> {
    let waiting = CollectorSession::new(SPOKEN);
    let welcoming = waiting.receive(Frame::Hello(hello(1, durable))).unwrap();
    welcoming.welcome(9, NOW, terms(window), &[RecordSequence(durable)]).0
}

fn batch(first: u64, count: u32, raw_bytes: usize) -> Batch {
    let body = Packed::from_parts(false, raw_bytes, vec![0; raw_bytes]).unwrap();
    Batch { stream: stream(), epoch: EPOCH, first: RecordSequence(first), count, body }
}

fn gap(from: u64, count: u64) -> Gap {
    Gap::new(stream(), EPOCH, RecordSequence(from), count, GapReason::SpoolFull)
}

fn skip_of(event: CollectorEvent) -> u32 {
    match event {
        CollectorEvent::Batch(accepted) => accepted.skip,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_hole_without_a_gap_is_refused_and_one_with_it_is_not() {
    let mut session = receiving(10, 1_000);
    let error = session.receive(Frame::Batch(batch(12, 1, 5)), NOW).unwrap_err();
    assert!(matches!(error, CollectorSessionError::SequenceGap { expected: 11, .. }));
    assert_eq!(error.code(), NackCode::SequenceGap);
    assert_eq!(error.nack(Duration::ZERO).place.unwrap().first, RecordSequence(12));
    assert_eq!(session.receive(Frame::Gap(gap(11, 1)), NOW).unwrap(), CollectorEvent::Gap(gap(11, 1)));
    assert_eq!(skip_of(session.receive(Frame::Batch(batch(12, 1, 5)), NOW).unwrap()), 0);
    assert!(session.receive(Frame::Gap(gap(14, 1)), NOW).is_err());
}

#[test]
fn what_was_received_before_is_a_duplicate_and_an_overlap_is_trimmed() {
    let mut session = receiving(10, 1_000);
    let duplicate = session.receive(Frame::Batch(batch(6, 5, 5)), NOW).unwrap();
    assert_eq!(
        duplicate,
        CollectorEvent::Duplicate(Ack { stream: stream(), epoch: EPOCH, durable: RecordSequence(10) })
    );
    assert_eq!(skip_of(session.receive(Frame::Batch(batch(6, 7, 5)), NOW).unwrap()), 5);
    assert!(matches!(session.receive(Frame::Gap(gap(5, 8)), NOW).unwrap(), CollectorEvent::Duplicate(_)));
    assert_eq!(session.receive(Frame::Gap(gap(12, 5)), NOW).unwrap(), CollectorEvent::Gap(gap(13, 4)));
}

#[test]
fn a_stream_or_epoch_that_was_not_announced_is_refused() {
    let mut session = receiving(0, 1_000);
    let other_stream = Batch { stream: "flow".parse().unwrap(), ..batch(1, 1, 1) };
    let error = session.receive(Frame::Batch(other_stream), NOW).unwrap_err();
    assert_eq!(error.code(), NackCode::Protocol);
    let other_epoch = Batch { epoch: Epoch(1), ..batch(1, 1, 1) };
    assert!(session.receive(Frame::Batch(other_epoch), NOW).is_err());
}

#[test]
fn more_than_the_window_is_refused() {
    let mut session = receiving(0, 100);
    session.receive(Frame::Batch(batch(1, 1, 60)), NOW).unwrap();
    let error = session.receive(Frame::Batch(batch(2, 1, 41)), NOW).unwrap_err();
    assert!(matches!(error, CollectorSessionError::Credit { under_way: 101, window: 100, .. }));
    session.receive(Frame::Batch(batch(2, 1, 40)), NOW).unwrap();
    assert!(session.acknowledge(&stream(), RecordSequence(2)).is_some());
    assert_eq!(session.under_way(), 0);
    session.receive(Frame::Batch(batch(3, 1, 5_000)), NOW).unwrap();
}

#[test]
fn a_smaller_window_does_not_catch_what_was_sent_before_it_arrived() {
    let mut session = receiving(0, 100);
    assert_eq!(session.set_window(0), Frame::Credit(Credit { window: 0 }));
    session.receive(Frame::Batch(batch(1, 1, 60)), NOW).unwrap();
    session.receive(Frame::Batch(batch(2, 1, 40)), NOW).unwrap();
}

#[test]
fn small_batches_without_end_are_refused() {
    let mut session = receiving(0, 1 << 20);
    let refused = (1..10_000).find(|first| session.receive(Frame::Batch(batch(*first, 1, 0)), NOW).is_err());
    assert_eq!(refused, Some(MAX_UNDER_WAY as u64 + 1));
}

#[test]
fn an_ack_says_only_what_is_new() {
    let mut session = receiving(10, 1_000);
    assert_eq!(session.acknowledge(&stream(), RecordSequence(10)), None);
    session.receive(Frame::Batch(batch(11, 5, 5)), NOW).unwrap();
    let ack = |durable| Some(Frame::Ack(Ack { stream: stream(), epoch: EPOCH, durable: RecordSequence(durable) }));
    assert_eq!(session.acknowledge(&stream(), RecordSequence(13)), ack(13));
    assert!(!session.is_idle());
    // Another session of the stream may have brought it further than this one has received.
    assert_eq!(session.acknowledge(&stream(), RecordSequence(99)), ack(15));
    assert!(session.is_idle());
    assert_eq!(session.acknowledge(&stream(), RecordSequence(15)), None);
}

#[test]
fn after_the_agents_bye_nothing_may_come() {
    let mut session = receiving(0, 1_000);
    let bye = Frame::Bye(Bye { reason: ByeReason::Stopping });
    assert_eq!(session.receive(bye, NOW).unwrap(), CollectorEvent::Bye(ByeReason::Stopping));
    assert!(session.receive(Frame::Batch(batch(1, 1, 1)), NOW).is_err());
}

#[test]
fn a_ping_is_answered_with_its_token() {
    let mut session = receiving(0, 1_000);
    let ping = Frame::Ping(Ping { token: 5, clock: NOW });
    let answer = Frame::Pong(Pong { token: 5, clock: NOW });
    assert_eq!(session.receive(ping, NOW).unwrap(), CollectorEvent::Answer(answer));
}

#[test]
fn neighbouring_releases_settle_and_strangers_do_not() {
    let speak = |oldest, newest| Hello { versions: Versions { oldest, newest }, ..hello(1, 0) };
    let collector = || CollectorSession::new(Versions { oldest: 2, newest: 3 });
    let older = collector().receive(Frame::Hello(speak(1, 2))).unwrap();
    let (session, welcome) = older.welcome(9, NOW, terms(1), &[RecordSequence(0)]);
    assert_eq!(session.version(), 2);
    assert!(AgentSession::new(speak(1, 2)).receive(welcome).is_ok());
    let newer = collector().receive(Frame::Hello(speak(3, 4))).unwrap();
    assert_eq!(newer.welcome(9, NOW, terms(1), &[RecordSequence(0)]).0.version(), 3);
    let error = collector().receive(Frame::Hello(speak(4, 5))).unwrap_err();
    assert_eq!(error.code(), NackCode::Version);
}

#[test]
fn the_hello_must_come_first() {
    let error = CollectorSession::new(SPOKEN).receive(Frame::Batch(batch(1, 1, 1))).unwrap_err();
    assert!(matches!(error, CollectorSessionError::Unexpected { got: FrameKind::Batch, .. }));
}

/// One step of a connection's life, chosen by chance.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// The agent sends so many records, however much has been sent before.
    Send(u32),
    /// The collector makes durable what it has, up to so many records less.
    Sync(u64),
    /// The frames under way from the collector reach the agent.
    Answer,
    /// The line breaks: everything under way is lost. Both know only what was durable.
    Break,
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => (1..40_u32).prop_map(Step::Send),
        2 => (0..30_u64).prop_map(Step::Sync),
        2 => Just(Step::Answer),
        1 => Just(Step::Break),
    ]
}

/// What a collector has stored: runs of sequences, in order.
#[derive(Default)]
struct Store {
    stored: Vec<u64>,
    durable: u64,
}

fn connect(store: &Store, last: u64) -> (AgentSession<crate::agent::Open>, CollectorSession<Receiving>, u64) {
    let greeting = AgentSession::new(hello(store.durable + 1, last.max(store.durable)));
    let welcoming = CollectorSession::new(SPOKEN).receive(greeting.hello()).unwrap();
    let (receiving, welcome) = welcoming.welcome(9, NOW, terms(2_000), &[RecordSequence(store.durable)]);
    let welcomed = greeting.receive(welcome).unwrap();
    let [Resume::From { next, .. }] = &welcomed.resume[..] else { panic!("{:?}", welcomed.resume) };
    (welcomed.session, receiving, next.0)
}

proptest! {
    /// Whatever breaks and whenever: every record is stored once, in order, without a hole.
    #[test]
    fn every_record_is_stored_once_and_in_order(steps in proptest::collection::vec(any_step(), 0..80)) {
        let mut store = Store::default();
        let mut spooled = 0;
        let (mut agent, mut collector, mut next) = connect(&store, spooled);
        let mut answers = Vec::new();
        for step in steps {
            match step {
                Step::Send(count) => {
                    let sent = batch(next, count, 30 * count as usize);
                    if !agent.has_room(sent.body.raw_len()) {
                        continue;
                    }
                    spooled = spooled.max(sent.last().0);
                    next = sent.last().0 + 1;
                    let frame = agent.send_batch(sent).unwrap();
                    let CollectorEvent::Batch(accepted) = collector.receive(frame, NOW).unwrap() else {
                        return Err(TestCaseError::fail("a batch that was never received is no duplicate"));
                    };
                    let first = accepted.batch.first.0 + u64::from(accepted.skip);
                    store.stored.extend(first..=accepted.batch.last().0);
                }
                Step::Sync(less) => {
                    let last = store.stored.last().copied().unwrap_or(0);
                    store.durable = store.durable.max(last.saturating_sub(less));
                    answers.extend(collector.acknowledge(&stream(), RecordSequence(store.durable)));
                }
                Step::Answer => {
                    for answer in answers.drain(..) {
                        let event = agent.receive(answer, NOW).unwrap();
                        prop_assert!(matches!(event, AgentEvent::Acknowledged(_)));
                    }
                }
                Step::Break => {
                    store.stored.truncate(usize::try_from(store.durable).unwrap());
                    answers.clear();
                    (agent, collector, next) = connect(&store, spooled);
                }
            }
            prop_assert!(collector.under_way() <= 2_000);
        }
        let expected: Vec<u64> = (1..=store.stored.len() as u64).collect();
        prop_assert_eq!(store.stored, expected);
    }
}

fn account(position: u64) -> Frame {
    let (stream, epoch, position) = (stream(), EPOCH, RecordSequence(position));
    let (spooled, stated, is_whole, sources) = (RecordSequence(99), Timestamp::EPOCH, true, Vec::new());
    Frame::Account(Account { stream, epoch, position, spooled, stated, is_whole, sources })
}

#[test]
fn account_is_taken_only_as_of_what_was_received_last() {
    let mut session = receiving(0, 1_000);
    assert!(matches!(session.receive(account(0), NOW), Ok(CollectorEvent::Account(_))));
    session.receive(Frame::Gap(gap(1, 5)), NOW).unwrap();
    assert!(matches!(session.receive(account(5), NOW), Ok(CollectorEvent::Account(_))));
    for wrong in [4, 6] {
        let error = session.receive(account(wrong), NOW).unwrap_err();
        assert_eq!(error.code(), NackCode::Protocol);
        assert!(matches!(error, CollectorSessionError::Account { received: 5, .. }), "{error:?}");
    }
    assert!(!session.is_idle(), "an account is not what is acknowledged, the gap is");
}
