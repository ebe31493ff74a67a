use super::*;
use crate::body::Packed;
use crate::frame::{Credit, NackCode, Terms};
use crate::limits::{IDLE_TIMEOUT, PING_INTERVAL};
use crate::version::SPOKEN;

const EPOCH: Epoch = Epoch(77);

fn stream() -> StreamName {
    "log".parse().unwrap()
}

fn hello(oldest: u64, last: u64) -> Hello {
    let (oldest, last) = (RecordSequence(oldest), RecordSequence(last));
    let streams = vec![StreamState { stream: stream(), epoch: EPOCH, oldest, last }];
    let software = Box::from("canh-log-agent 0.1.0");
    Hello { versions: SPOKEN, boot: 1, clock: Timestamp::EPOCH, software, capabilities: 0, streams }
}

fn welcome(durable: u64, window: u64) -> Frame {
    let terms = Terms {
        window,
        max_body_bytes: 1 << 20,
        max_raw_bytes: 8 << 20,
        max_records: 4_096,
        ping_interval: PING_INTERVAL,
        idle_timeout: IDLE_TIMEOUT,
    };
    let marks = vec![StreamMark { stream: stream(), epoch: EPOCH, durable: RecordSequence(durable) }];
    Frame::Welcome(Welcome { version: 1, store: 9, clock: Timestamp::EPOCH, terms, marks })
}

fn open(last: u64, durable: u64, window: u64) -> AgentSession<Open> {
    AgentSession::new(hello(1, last)).receive(welcome(durable, window)).unwrap().session
}

fn batch(first: u64, count: u32, raw_bytes: usize) -> Batch {
    let body = Packed::from_parts(false, raw_bytes, vec![0; raw_bytes]).unwrap();
    Batch { stream: stream(), epoch: EPOCH, first: RecordSequence(first), count, body }
}

fn ack(durable: u64) -> Frame {
    Frame::Ack(Ack { stream: stream(), epoch: EPOCH, durable: RecordSequence(durable) })
}

#[test]
fn goes_on_after_what_is_durable() {
    let welcomed = AgentSession::new(hello(5, 90)).receive(welcome(40, 1_000)).unwrap();
    assert_eq!(welcomed.resume, [Resume::From { stream: stream(), next: RecordSequence(41) }]);
    let mut session = welcomed.session;
    let wrong = session.send_batch(batch(40, 5, 10)).unwrap_err();
    assert_eq!(wrong, SendError::Order { expected: 41, got: 40 });
    assert!(session.send_batch(batch(41, 5, 10)).is_ok());
    assert!(session.send_batch(batch(46, 1, 10)).is_ok());
}

#[test]
fn what_the_spool_has_let_go_is_a_gap() {
    let welcomed = AgentSession::new(hello(50, 90)).receive(welcome(40, 1_000)).unwrap();
    let [Resume::AfterGap(gap)] = &welcomed.resume[..] else { panic!("{:?}", welcomed.resume) };
    assert_eq!((gap.from, gap.count), (RecordSequence(41), 9));
    let mut session = welcomed.session;
    assert!(session.send_batch(batch(50, 1, 10)).is_err());
    session.send_gap(gap.clone()).unwrap();
    session.send_batch(batch(50, 1, 10)).unwrap();
}

#[test]
fn an_empty_spool_sends_what_comes_next() {
    let welcomed = AgentSession::new(hello(91, 90)).receive(welcome(90, 1_000)).unwrap();
    assert_eq!(welcomed.resume, [Resume::From { stream: stream(), next: RecordSequence(91) }]);
}

#[test]
fn a_spool_behind_the_collector_sends_nothing() {
    let welcomed = AgentSession::new(hello(1, 90)).receive(welcome(91, 1_000)).unwrap();
    assert_eq!(welcomed.resume, [Resume::SpoolBehind { stream: stream(), durable: RecordSequence(91) }]);
    let mut session = welcomed.session;
    assert_eq!(session.send_batch(batch(92, 1, 1)).unwrap_err(), SendError::Stream);
}

#[test]
fn never_more_than_the_window_is_under_way() {
    let mut session = open(0, 0, 100);
    session.send_batch(batch(1, 10, 60)).unwrap();
    assert_eq!(session.send_batch(batch(11, 1, 41)).unwrap_err(), SendError::Window { raw_bytes: 41 });
    session.send_batch(batch(11, 1, 40)).unwrap();
    assert!(!session.has_room(1));
    session.receive(ack(10), Timestamp::EPOCH).unwrap();
    assert!(session.has_room(60) && !session.has_room(61));
    session.receive(ack(11), Timestamp::EPOCH).unwrap();
    assert!(session.is_idle());
}

#[test]
fn one_batch_longer_than_the_window_may_go_alone() {
    let mut session = open(0, 0, 100);
    session.send_batch(batch(1, 1, 5_000)).unwrap();
    assert!(!session.has_room(1));
}

#[test]
fn a_window_of_nothing_is_a_pause() {
    let mut session = open(0, 0, 100);
    let event = session.receive(Frame::Credit(Credit { window: 0 }), Timestamp::EPOCH).unwrap();
    assert_eq!(event, AgentEvent::Window(0));
    assert!(!session.has_room(0));
    session.receive(Frame::Credit(Credit { window: 10 }), Timestamp::EPOCH).unwrap();
    assert!(session.has_room(10));
}

#[test]
fn an_ack_for_what_was_not_sent_is_refused() {
    let mut session = open(0, 0, 100);
    session.send_batch(batch(1, 10, 60)).unwrap();
    let error = session.receive(ack(11), Timestamp::EPOCH).unwrap_err();
    assert_eq!(error, AgentSessionError::AckAhead { durable: 11, sent: 10 });
}

#[test]
fn half_of_a_batch_acknowledged_keeps_it_under_way() {
    let mut session = open(0, 0, 100);
    session.send_batch(batch(1, 10, 60)).unwrap();
    session.receive(ack(5), Timestamp::EPOCH).unwrap();
    assert!(!session.is_idle());
}

#[test]
fn refusals_are_told_from_faults() {
    let nack = Nack { code: NackCode::Overload, retry_after: std::time::Duration::from_secs(3), place: None };
    let refused = AgentSession::new(hello(1, 0)).receive(Frame::Nack(nack.clone())).unwrap_err();
    assert_eq!(refused, AgentSessionError::Refused { nack });
    let fault = AgentSession::new(hello(1, 0)).receive(ack(1)).unwrap_err();
    assert!(matches!(fault, AgentSessionError::Unexpected { got: FrameKind::Ack, .. }));
}

#[test]
fn a_welcome_for_other_streams_is_refused() {
    let other = Hello { streams: Vec::new(), ..hello(1, 0) };
    assert_eq!(AgentSession::new(other).receive(welcome(0, 1)).unwrap_err(), AgentSessionError::Marks);
}

#[test]
fn after_our_bye_acknowledgements_still_count() {
    let mut session = open(0, 0, 100);
    session.send_batch(batch(1, 10, 60)).unwrap();
    let (mut leaving, bye) = session.leave(ByeReason::Stopping);
    assert_eq!(bye, Frame::Bye(Bye { reason: ByeReason::Stopping }));
    assert!(!leaving.is_idle());
    leaving.receive(ack(10), Timestamp::EPOCH).unwrap();
    assert!(leaving.is_idle());
}
