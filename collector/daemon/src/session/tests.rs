use canh_event::{Epoch, RecordBatch, RecordSequence, Source, StreamName};
use canh_journal::{CommitPolicy, Committer, Journal, JournalOptions, Lsn};
use canh_service::metrics::Metrics as Registry;
use canh_service::signals::ShutdownTrigger;
use canh_wire::{
    AgentEvent, AgentSession, Batch, DEFAULT_LEVEL, Fingerprint, FrameReader, Greeting, Hello, Packed, Packer, Resume,
    StreamState, Versions, Welcomed,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::task::JoinHandle;

use super::*;
use crate::folder::Folder;
use crate::issuing::Issuing;
use crate::journal::Settled;
use crate::normalise::Onward;
use crate::quota::{QuotaLimits, Rate};

const EPOCH: Epoch = Epoch(7);
const WINDOW: u64 = 1 << 20;

/// Everything behind a session, on a journal of its own.
struct Bench {
    shared: Arc<Shared>,
    stop: ShutdownTrigger,
    _dir: tempfile::TempDir,
}

impl Bench {
    fn new(connections: usize, connections_per_agent: usize) -> Self {
        Self::with_quotas(connections, connections_per_agent, QuotaLimits::default())
    }

    fn with_quotas(connections: usize, connections_per_agent: usize, quotas: QuotaLimits) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (journal, _) =
            Journal::open(dir.path(), JournalOptions { segment_bytes: 1 << 20, ..JournalOptions::DEFAULT }).unwrap();
        let (commit, _) = Committer::spawn(journal, CommitPolicy::default()).unwrap();
        let metrics = Metrics::register(&Registry::new("test", "0").unwrap()).unwrap();
        let (stop, shutdown) = Shutdown::new();
        let settled = Arc::new(Settled::new(Lsn::ZERO, stop.clone()));
        let (normalisers, _) = {
            let losses = crate::losses::LossOutbox::default();
            Normalisers::spawn(1, &Onward { commit, settled, losses, metrics: metrics.clone() }).unwrap()
        };
        let shared = Shared {
            streams: Arc::new(Streams::new(connections_per_agent)),
            gate: gate(dir.path(), &metrics),
            normalisers,
            budget: Budget::new(64 << 20, metrics.memory_bytes.clone()),
            quotas: Quotas::new(quotas),
            quota_talk: Throttle::new(Duration::from_secs(1)),
            metrics,
            connections: Arc::new(Semaphore::new(connections)),
            store: 9,
            window: WINDOW,
            idle_timeout: Duration::from_secs(90),
            stop_deadline: Duration::from_secs(10),
            shutdown,
        };
        Self { shared: Arc::new(shared), stop, _dir: dir }
    }

    fn connect(&self, agent: &str) -> Agent {
        let (theirs, ours) = tokio::io::duplex(1 << 20);
        let agent = agent.parse().unwrap();
        let (agency, key) = ("so-tttt".parse().unwrap(), Fingerprint::of(b""));
        let who = AgentIdentity { agent, agency, serial: "01".into(), not_before: now(), not_after: now(), key };
        let (shared, signal) = (Arc::clone(&self.shared), Arc::default());
        let ending = tokio::spawn(async move { serve(theirs, who, signal, &shared).await });
        Agent { stream: ours, reader: FrameReader::new(), ending }
    }

    fn nacks(&self, code: NackCode) -> u64 {
        self.shared.metrics.nacks.with_label_values(&[code.as_str()]).get()
    }
}

/// A gate that is not asked: these sessions are behind it.
fn gate(dir: &std::path::Path, metrics: &Metrics) -> Arc<Gate> {
    let folder = Folder::new(dir);
    let issuing = Issuing::new(folder.clone(), Duration::from_secs(60), Vec::new(), 1, metrics.clone());
    crate::gate::open(&folder, issuing, metrics).0
}

/// An agent that does what the test says.
struct Agent {
    stream: DuplexStream,
    reader: FrameReader,
    ending: JoinHandle<Ending>,
}

impl Agent {
    async fn send(&mut self, frame: &Frame) {
        let mut bytes = Vec::new();
        frame.encode(1, &mut bytes);
        self.stream.write_all(&bytes).await.unwrap();
    }

    /// The next frame; nothing if the collector has closed.
    async fn next(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = self.reader.next_frame().unwrap() {
                return Some(frame);
            }
            let read = timeout(Duration::from_secs(30), self.stream.read(self.reader.room())).await.unwrap();
            match read.unwrap() {
                0 => return None,
                count => self.reader.filled(count),
            }
        }
    }

    async fn greet(&mut self, last: u64) -> Welcomed {
        let greeting = AgentSession::<Greeting>::new(hello(last));
        self.send(&greeting.hello()).await;
        greeting.receive(self.next().await.unwrap()).unwrap()
    }

    async fn nack(&mut self) -> Nack {
        match self.next().await {
            Some(Frame::Nack(nack)) => nack,
            other => panic!("{other:?}"),
        }
    }

    async fn ended(self) -> Ending {
        drop(self.stream);
        timeout(Duration::from_secs(30), self.ending).await.unwrap().unwrap()
    }
}

fn stream() -> StreamName {
    "log".parse().unwrap()
}

fn hello(last: u64) -> Hello {
    let state = StreamState { stream: stream(), epoch: EPOCH, oldest: RecordSequence(1), last: RecordSequence(last) };
    let software = Box::from("test 1");
    Hello { versions: SPOKEN, boot: 1, clock: now(), software, capabilities: 0, streams: vec![state] }
}

fn batch(first: u64, count: u32) -> Batch {
    let mut records = RecordBatch::new();
    let source = Source {
        name: "/var/log/auth.log".parse().unwrap(),
        host: "web-01".into(),
        format: "auto".parse().unwrap(),
        utc_offset_secs: 0,
    };
    let id = records.source(&source).unwrap();
    (0..count).for_each(|_| records.push(id, Timestamp::EPOCH, b"a line").unwrap());
    let body = Packer::try_new(DEFAULT_LEVEL).unwrap().pack(&records).unwrap();
    Batch { stream: stream(), epoch: EPOCH, first: RecordSequence(first), count, body }
}

async fn acknowledged(agent: &mut Agent, welcomed: &mut Welcomed, wanted: u64) {
    while !welcomed.session.is_idle() {
        let frame = agent.next().await.unwrap();
        match welcomed.session.receive(frame, now()).unwrap() {
            AgentEvent::Acknowledged(ack) => assert!(ack.durable.0 <= wanted),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn batches_are_acknowledged_and_the_next_connection_goes_on_after_them() {
    let bench = Bench::new(10, 4);
    let mut agent = bench.connect("web-01");
    let mut welcomed = agent.greet(30).await;
    assert_eq!(welcomed.welcome.store, 9);
    for first in [1, 11] {
        agent.send(&welcomed.session.send_batch(batch(first, 10)).unwrap()).await;
    }
    acknowledged(&mut agent, &mut welcomed, 20).await;
    assert!(matches!(agent.ended().await, Ending::Left));
    let mut again = bench.connect("web-01");
    let welcomed = again.greet(30).await;
    assert_eq!(welcomed.resume, [Resume::From { stream: stream(), next: RecordSequence(21) }]);
    let mut other = bench.connect("web-02");
    let welcomed = other.greet(30).await;
    assert_eq!(welcomed.resume, [Resume::From { stream: stream(), next: RecordSequence(1) }]);
}

#[tokio::test]
async fn a_second_connection_that_sends_what_the_first_had_under_way_gets_it_acknowledged_once_stored() {
    let bench = Bench::new(10, 4);
    let mut first = bench.connect("web-01");
    let mut welcomed = first.greet(10).await;
    first.send(&welcomed.session.send_batch(batch(1, 10)).unwrap()).await;
    let mut second = bench.connect("web-01");
    let mut welcomed = second.greet(10).await;
    if let [Resume::From { next: RecordSequence(1), .. }] = welcomed.resume[..] {
        second.send(&welcomed.session.send_batch(batch(1, 10)).unwrap()).await;
    }
    acknowledged(&mut second, &mut welcomed, 10).await;
    let metrics = &bench.shared.metrics;
    assert_eq!(metrics.records.with_label_values(&["unparsed"]).get(), 10, "stored once");
}

#[tokio::test]
async fn a_hole_is_refused_by_name_and_counted() {
    let bench = Bench::new(10, 4);
    let mut agent = bench.connect("web-01");
    agent.greet(30).await;
    agent.send(&Frame::Batch(batch(2, 10))).await;
    let nack = agent.nack().await;
    assert_eq!((nack.code, nack.place.unwrap().first), (NackCode::SequenceGap, RecordSequence(2)));
    assert!(agent.next().await.is_none(), "the connection is over");
    assert!(matches!(agent.ended().await, Ending::Protocol(_)));
    assert_eq!(bench.nacks(NackCode::SequenceGap), 1);
}

#[tokio::test]
async fn an_unreadable_batch_is_refused_by_name_and_what_came_before_is_acknowledged() {
    let bench = Bench::new(10, 4);
    let mut agent = bench.connect("web-01");
    let mut welcomed = agent.greet(30).await;
    agent.send(&welcomed.session.send_batch(batch(1, 10)).unwrap()).await;
    let body = Packed::from_parts(false, 4, b"junk".to_vec()).unwrap();
    agent.send(&Frame::Batch(Batch { body, ..batch(11, 10) })).await;
    let mut frames = Vec::new();
    while let Some(frame) = agent.next().await {
        frames.push(frame);
    }
    let Some(Frame::Nack(nack)) = frames.last() else { panic!("{frames:?}") };
    assert_eq!((nack.code, nack.place.as_ref().unwrap().first), (NackCode::Unreadable, RecordSequence(11)));
    let mut again = bench.connect("web-01");
    while again.greet(30).await.resume != [Resume::From { stream: stream(), next: RecordSequence(11) }] {
        assert!(!again.ending.is_finished());
        again = bench.connect("web-01");
    }
}

#[tokio::test]
async fn more_than_the_window_is_refused() {
    let bench = Bench::new(10, 4);
    let mut agent = bench.connect("web-01");
    agent.greet(30).await;
    let raw = usize::try_from(WINDOW).unwrap();
    // No record batch, but it is the protocol that is asked first.
    let body = || Packed::from_parts(false, raw, vec![7; raw]).unwrap();
    let both =
        [Frame::Batch(Batch { body: body(), ..batch(1, 1) }), Frame::Batch(Batch { body: body(), ..batch(2, 1) })];
    let mut bytes = Vec::new();
    both.iter().for_each(|frame| frame.encode(1, &mut bytes));
    agent.stream.write_all(&bytes).await.unwrap();
    let nack = agent.nack().await;
    assert!(matches!(nack.code, NackCode::CreditExceeded | NackCode::Unreadable), "{nack:?}");
}

#[tokio::test]
async fn what_is_no_hello_and_a_version_nobody_speaks_are_refused() {
    let bench = Bench::new(10, 4);
    let mut agent = bench.connect("web-01");
    agent.send(&Frame::Batch(batch(1, 1))).await;
    assert_eq!(agent.nack().await.code, NackCode::Protocol);
    let mut agent = bench.connect("web-01");
    agent.send(&Frame::Hello(Hello { versions: Versions { oldest: 90, newest: 91 }, ..hello(1) })).await;
    assert_eq!(agent.nack().await.code, NackCode::Version);
    let mut agent = bench.connect("web-01");
    agent.stream.write_all(b"GET / HTTP/1.1\r\nHost: collector\r\n\r\n").await.unwrap();
    assert_eq!(agent.nack().await.code, NackCode::Protocol);
    assert!(matches!(agent.ended().await, Ending::Connection(ConnectionError::Frame(_))));
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_says_nothing_is_cut_off() {
    let bench = Bench::new(10, 4);
    let agent = bench.connect("web-01");
    let ending = agent.ending.await.unwrap();
    assert!(matches!(ending, Ending::Connection(ConnectionError::Idle { span: HELLO_TIMEOUT })));
}

#[tokio::test]
async fn too_many_connections_are_told_to_come_back() {
    let bench = Bench::new(3, 2);
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut agent = bench.connect("web-01");
        agent.send(&Frame::Hello(Hello { streams: Vec::new(), ..hello(1) })).await;
        assert!(matches!(agent.next().await, Some(Frame::Welcome(_))));
        held.push(agent);
    }
    let mut third = bench.connect("web-01");
    third.send(&Frame::Hello(hello(1))).await;
    let nack = third.nack().await;
    assert_eq!((nack.code, nack.retry_after), (NackCode::Overload, Duration::from_secs(5)));
    third.ended().await;
    let mut other = bench.connect("web-02");
    other.greet(1).await;
    let mut fourth = bench.connect("web-03");
    fourth.send(&Frame::Hello(hello(1))).await;
    assert_eq!(fourth.nack().await.code, NackCode::Overload);
}

#[tokio::test]
async fn the_older_of_two_connections_of_a_stream_is_ended() {
    let bench = Bench::new(10, 4);
    let mut older = bench.connect("web-01");
    older.greet(1).await;
    let mut newer = bench.connect("web-01");
    let mut welcomed = newer.greet(1).await;
    assert_eq!(older.nack().await.code, NackCode::Superseded);
    newer.send(&welcomed.session.send_batch(batch(1, 1)).unwrap()).await;
    acknowledged(&mut newer, &mut welcomed, 1).await;
}

#[tokio::test]
async fn pings_are_answered_and_a_bye_is_answered_after_the_last_acknowledgement() {
    let bench = Bench::new(10, 4);
    let mut agent = bench.connect("web-01");
    let mut welcomed = agent.greet(10).await;
    agent.send(&welcomed.session.ping(77, now())).await;
    assert!(matches!(agent.next().await, Some(Frame::Pong(pong)) if pong.token == 77));
    agent.send(&welcomed.session.send_batch(batch(1, 10)).unwrap()).await;
    let (mut leaving, bye) = welcomed.session.leave(ByeReason::Stopping);
    agent.send(&bye).await;
    let mut last = None;
    while let Some(frame) = agent.next().await {
        last = Some(leaving.receive(frame, now()).unwrap());
    }
    assert_eq!(last, Some(AgentEvent::Bye(ByeReason::Answering)));
    assert!(leaving.is_idle());
    assert!(matches!(agent.ended().await, Ending::Left));
}

#[tokio::test]
async fn a_stop_acknowledges_what_is_under_way_and_says_bye() {
    let bench = Bench::new(10, 4);
    let mut agent = bench.connect("web-01");
    let mut welcomed = agent.greet(10).await;
    agent.send(&welcomed.session.send_batch(batch(1, 10)).unwrap()).await;
    acknowledged(&mut agent, &mut welcomed, 10).await;
    bench.stop.request();
    assert_eq!(agent.next().await, Some(Frame::Bye(canh_wire::Bye { reason: ByeReason::Stopping })));
    assert!(agent.next().await.is_none());
    assert!(matches!(agent.ended().await, Ending::Stopping));
}

/// Agents of ten records a second, with ten records at once.
fn ten_a_second() -> QuotaLimits {
    let agent = Rate { bytes_per_second: 0, records_per_second: 10 };
    QuotaLimits { agent, agency: Rate::default(), burst: Duration::from_secs(1) }
}

/// Takes acknowledgements until the window changes; returns the new one.
async fn credit(agent: &mut Agent, welcomed: &mut Welcomed) -> u64 {
    loop {
        let frame = agent.next().await.unwrap();
        if let AgentEvent::Window(window) = welcomed.session.receive(frame, now()).unwrap() {
            return window;
        }
    }
}

#[tokio::test]
async fn agent_over_its_quota_gets_no_credit_until_it_is_paid_for_and_nothing_is_dropped() {
    let bench = Bench::with_quotas(10, 4, ten_a_second());
    let mut agent = bench.connect("web-01");
    let mut welcomed = agent.greet(30).await;
    agent.send(&welcomed.session.send_batch(batch(1, 12)).unwrap()).await;
    assert_eq!(credit(&mut agent, &mut welcomed).await, 0);
    assert!(!welcomed.session.has_room(1), "an honest agent sends nothing now");
    assert_eq!(bench.shared.metrics.quota_pauses.with_label_values(&["agent"]).get(), 1);
    assert_eq!(bench.shared.metrics.quota_paused.get(), 1);
    // A tenth of a second each for what was too much.
    assert_eq!(credit(&mut agent, &mut welcomed).await, WINDOW);
    assert_eq!(bench.shared.metrics.quota_paused.get(), 0);
    agent.send(&welcomed.session.send_batch(batch(13, 1)).unwrap()).await;
    while !welcomed.session.is_idle() {
        let frame = agent.next().await.unwrap();
        welcomed.session.receive(frame, now()).unwrap();
    }
}

#[tokio::test]
async fn agent_that_ignores_that_it_has_no_credit_is_told_to_come_back_later() {
    let bench = Bench::with_quotas(10, 4, ten_a_second());
    let mut agent = bench.connect("web-01");
    agent.greet(100_000).await;
    let mut nack = None;
    for number in 0..1_000 {
        let mut records = RecordBatch::new();
        let name = "/a".parse().unwrap();
        let source = Source { name, host: "h".into(), format: "auto".parse().unwrap(), utc_offset_secs: 0 };
        let id = records.source(&source).unwrap();
        records.push(id, Timestamp::EPOCH, &vec![b'x'; 200_000]).unwrap();
        let body = Packer::try_new(DEFAULT_LEVEL).unwrap().pack(&records).unwrap();
        let (epoch, first, count) = (EPOCH, RecordSequence(number + 1), 1);
        agent.send(&Frame::Batch(Batch { stream: stream(), epoch, first, count, body })).await;
        // Waits for its acknowledgement, whatever else is said: the window itself is not exceeded.
        loop {
            match agent.next().await.unwrap() {
                Frame::Ack(ack) if ack.durable.0 > number => break,
                Frame::Nack(refusal) => {
                    nack = Some(refusal);
                    break;
                }
                _ => {}
            }
        }
        if nack.is_some() {
            break;
        }
    }
    let nack = nack.expect("it is told to leave");
    assert_eq!(nack.code, NackCode::Quota);
    assert!(nack.retry_after > Duration::ZERO && nack.retry_after <= Duration::from_secs(600));
    assert!(matches!(agent.ended().await, Ending::Refused(NackCode::Quota)));
    // A new connection is no way out, and others are not affected.
    let mut again = bench.connect("web-01");
    let mut welcomed_again = again.greet(100_000).await;
    assert_eq!(credit(&mut again, &mut welcomed_again).await, 0);
    let mut other = bench.connect("web-02");
    let mut welcomed = other.greet(10).await;
    other.send(&welcomed.session.send_batch(batch(1, 10)).unwrap()).await;
    acknowledged(&mut other, &mut welcomed, 10).await;
}

#[tokio::test]
async fn accounts_are_held_against_what_came_before_them_and_a_flood_of_them_is_not_stored() {
    let bench = Bench::new(10, 4);
    let mut agent = bench.connect("web-01");
    let mut welcomed = agent.greet(30).await;
    agent.send(&welcomed.session.send_batch(batch(1, 10)).unwrap()).await;
    let source = canh_event::SourceAccount {
        produced: 10,
        ..canh_event::SourceAccount::new("/var/log/auth.log".parse().unwrap())
    };
    let account = welcomed.session.account(&stream(), RecordSequence(30), now(), true, vec![source]).unwrap();
    for _ in 0..100 {
        agent.send(&account).await;
    }
    agent.send(&welcomed.session.ping(1, now())).await;
    while !matches!(agent.next().await, Some(Frame::Pong(_))) {}
    agent.send(&welcomed.session.send_batch(batch(11, 10)).unwrap()).await;
    acknowledged(&mut agent, &mut welcomed, 20).await;
    let counted = |result: &str| bench.shared.metrics.accounts.with_label_values(&[result]).get();
    assert_eq!(counted("disagrees"), 0);
    assert!(counted("agrees") >= 16 && counted("agrees") < 50, "{}", counted("agrees"));
    assert_eq!(counted("agrees") + counted("stale"), 100);
}
