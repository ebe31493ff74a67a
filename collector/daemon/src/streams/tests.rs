use super::*;

fn agent() -> AgentId {
    "web-01".parse().unwrap()
}

fn state(stream: &str, epoch: u128) -> StreamState {
    let (oldest, last) = (RecordSequence(1), RecordSequence(0));
    StreamState { stream: stream.parse().unwrap(), epoch: Epoch(epoch), oldest, last }
}

fn open_one(streams: &Streams, epoch: u128) -> (Arc<Mark>, Arc<SessionSignal>) {
    let signal = Arc::new(SessionSignal::default());
    let marks = streams.open(&agent(), &[state("log", epoch)], &signal).unwrap();
    (Arc::clone(&marks[0]), signal)
}

#[test]
fn a_mark_outlives_its_connections() {
    let streams = Arc::new(Streams::new(4));
    let admission = streams.admit(&agent()).unwrap();
    let (mark, _) = open_one(&streams, 1);
    mark.set_submitted(RecordSequence(9));
    mark.settle(RecordSequence(7));
    drop(admission);
    let (again, _) = open_one(&streams, 1);
    assert_eq!((again.submitted(), again.durable()), (RecordSequence(9), RecordSequence(7)));
    let kept =
        MarkState { agent: agent(), stream: "log".parse().unwrap(), epoch: Epoch(1), durable: RecordSequence(7) };
    assert_eq!(streams.durable(), [kept]);
}

#[test]
fn an_old_epoch_is_still_known_when_a_machine_is_rolled_back() {
    let streams = Streams::new(4);
    open_one(&streams, 1).0.restore(RecordSequence(5));
    open_one(&streams, 2).0.restore(RecordSequence(3));
    assert_eq!(open_one(&streams, 1).0.durable(), RecordSequence(5));
    assert_eq!(open_one(&streams, 2).0.durable(), RecordSequence(3));
}

#[test]
fn epochs_without_a_record_do_not_push_out_those_with_one() {
    let streams = Streams::new(4);
    open_one(&streams, 1).0.restore(RecordSequence(5));
    for junk in 100..200 {
        open_one(&streams, junk);
    }
    assert_eq!(open_one(&streams, 1).0.durable(), RecordSequence(5));
}

#[test]
fn streams_of_one_agent_are_bounded() {
    let streams = Streams::new(4);
    let signal = Arc::new(SessionSignal::default());
    let all: Vec<StreamState> = (0..MAX_STREAMS).map(|index| state(&format!("s{index}"), 1)).collect();
    assert!(streams.open(&agent(), &all, &signal).is_ok());
    assert!(streams.open(&agent(), &all, &signal).is_ok(), "the same ones again");
    assert!(streams.open(&agent(), &[state("one-more", 1)], &signal).is_err());
}

#[test]
fn a_second_session_takes_the_stream_over() {
    let streams = Streams::new(4);
    let (_, first) = open_one(&streams, 1);
    assert_eq!(first.verdict(), None);
    let (mark, second) = open_one(&streams, 1);
    assert_eq!(first.verdict().map(|nack| nack.code), Some(NackCode::Superseded));
    assert_eq!(second.verdict(), None);
    let holder = lock(&mark.holder).clone().unwrap();
    assert!(Arc::ptr_eq(&holder, &second));
}

#[test]
fn connections_of_one_agent_are_counted_and_given_back() {
    let streams = Arc::new(Streams::new(2));
    let (one, two) = (streams.admit(&agent()), streams.admit(&agent()));
    assert!(one.is_some() && two.is_some() && streams.admit(&agent()).is_none());
    drop(one);
    assert!(streams.admit(&agent()).is_some());
}

#[test]
fn a_mark_with_a_batch_on_its_way_is_not_forgotten() {
    let streams = Arc::new(Streams::new(2));
    let admission = streams.admit(&agent());
    let (under_way, _) = open_one(&streams, 1);
    drop(admission);
    under_way.set_submitted(RecordSequence(8));
    assert_eq!(open_one(&streams, 1).0.submitted(), RecordSequence(8));
}

#[test]
fn an_agent_that_never_stored_anything_leaves_no_trace() {
    let streams = Arc::new(Streams::new(2));
    let admission = streams.admit(&agent());
    open_one(&streams, 1);
    drop(admission);
    assert!(lock(&streams.agents).is_empty());
}
