use std::sync::Arc;

use canh_event::{RecordBatch, Source, Timestamp};
use canh_service::metrics::Metrics;
use canh_wire::{Ack, CollectorEvent, CollectorSession, Credit, Packer, Receiving, SPOKEN, StreamState, Welcomed};
use tokio::io::DuplexStream;

use super::*;
use crate::feed::FeedStart;
use crate::metrics::ShipMetrics;
use crate::parts::{FrameLimits, pack};
use crate::priority::WhenFull;
use crate::spool::{Spool, SpoolOptions};
use crate::submission::Submission;

const TERMS: Terms = Terms {
    window: 1 << 20,
    max_body_bytes: u32::MAX,
    max_raw_bytes: u32::MAX,
    max_records: 4_096,
    ping_interval: Duration::from_secs(30),
    idle_timeout: Duration::from_secs(90),
};

/// A conversation under way, and the collector's end of it.
struct Scene {
    conversation: tokio::task::JoinHandle<(Ended, bool)>,
    stop: watch::Sender<bool>,
    shared: Arc<Shared>,
    stream: DuplexStream,
    frames: FrameReader,
    session: CollectorSession<Receiving>,
    _dir: tempfile::TempDir,
}

impl Scene {
    /// Sets up a conversation about so many spooled batches of ten records.
    async fn new(batches: u64, terms: Terms) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut spool = {
            let options = SpoolOptions { max_bytes: 1 << 20, when_full: WhenFull::Wait };
            Spool::open(dir.path(), options).unwrap().0
        };
        let mut packer = Packer::try_new(1).unwrap();
        for _ in 0..batches {
            {
                let parts = pack(&mut packer, &batch()).unwrap();
                spool.append(Submission { records: batch(), ..Submission::default() }.prepare(parts)).unwrap();
            }
        }
        let state = spool.stream_state(&"log".parse().unwrap());
        let metrics = ShipMetrics::new(&Metrics::new("canh-test", "0").unwrap()).unwrap();
        let shared = Arc::new(Shared::new(spool, metrics));
        let (agent_end, session) = meet(state.clone(), terms);
        let (ours, theirs) = tokio::io::duplex(64 << 10);
        let (stop, mut stopping) = watch::channel(false);
        let (next, places) = (RecordSequence(1), shared.look(|spool| spool.places_of(RecordSequence(1))));
        let start = FeedStart { dir: dir.path().into(), places, wanted: next, limits: FrameLimits::of(&terms) };
        let feed = Feed::open(start, shared.spooled.subscribe()).unwrap();
        let (store, none) = (1, RecordSequence(0));
        let (stream, epoch) = (state.stream, state.epoch);
        let place = StreamPlace { stream, epoch, store, next, begins: next, rolled_back: none, acknowledged: none };
        let own = Arc::clone(&shared);
        let conversation = tokio::spawn(async move {
            let (mut ledger, refused) = (Ledger::default(), BTreeSet::new());
            let mut renewal = Renewal::none();
            let around = Surroundings {
                shared: &own,
                ledger: &mut ledger,
                renewal: &mut renewal,
                refused: &refused,
                stop: &mut stopping,
                account_interval: Duration::from_secs(3_600),
            };
            Conversation::new(ours, agent_end, FrameReader::new(), terms, feed, place, around).run().await
        });
        Self { conversation, stop, shared, stream: theirs, frames: FrameReader::new(), session, _dir: dir }
    }

    async fn read(&mut self) -> Frame {
        loop {
            if let Some(frame) = self.frames.next_frame().unwrap() {
                return frame;
            }
            let count = self.stream.read(self.frames.room()).await.unwrap();
            assert!(count > 0, "the agent has hung up");
            self.frames.filled(count);
        }
    }

    async fn send(&mut self, frame: &Frame) {
        let mut bytes = Vec::new();
        frame.encode(SPOKEN.newest, &mut bytes);
        self.stream.write_all(&bytes).await.unwrap();
    }
}

fn batch() -> RecordBatch {
    let mut batch = RecordBatch::new();
    let source = Source {
        name: "/a".parse().unwrap(),
        host: Box::from("h"),
        format: "auto".parse().unwrap(),
        utc_offset_secs: 0,
    };
    let id = batch.source(&source).unwrap();
    (0..10).for_each(|_| batch.push(id, Timestamp::EPOCH, b"record").unwrap());
    batch
}

/// Lets both ends shake hands without a connection.
fn meet(state: StreamState, terms: Terms) -> (AgentSession<Open>, CollectorSession<Receiving>) {
    let hello = canh_wire::Hello {
        versions: SPOKEN,
        boot: 1,
        clock: Timestamp::EPOCH,
        software: "test".into(),
        capabilities: 0,
        streams: vec![state],
    };
    let agent = AgentSession::new(hello);
    let collector = CollectorSession::new(SPOKEN).receive(agent.hello()).unwrap();
    let (collector, welcome) = collector.welcome(1, Timestamp::EPOCH, terms, &[RecordSequence(0)]);
    let Welcomed { session, .. } = agent.receive(welcome).unwrap();
    (session, collector)
}

#[tokio::test(start_paused = true)]
async fn quiet_agent_asks_whether_anybody_is_there_and_leaves_when_nobody_is() {
    let mut scene = Scene::new(0, TERMS).await;
    let begun = Instant::now();
    assert!(matches!(scene.read().await, Frame::Ping(_)));
    assert_eq!(begun.elapsed().as_secs(), 30);
    assert!(matches!(scene.read().await, Frame::Ping(_)));
    let (ended, is_useful) = scene.conversation.await.unwrap();
    assert!(matches!(ended, Ended::Silence(_)), "{ended:?}");
    assert_eq!((begun.elapsed().as_secs(), is_useful), (90, false));
}

#[tokio::test(start_paused = true)]
async fn answered_pings_keep_a_connection() {
    let mut scene = Scene::new(0, TERMS).await;
    for _ in 0..20 {
        let frame = scene.read().await;
        let CollectorEvent::Answer(pong) = scene.session.receive(frame, Timestamp::EPOCH).unwrap() else {
            panic!("a ping and nothing else");
        };
        scene.send(&pong).await;
    }
    assert!(!scene.conversation.is_finished());
}

#[tokio::test]
async fn pause_is_obeyed_until_the_window_opens_again() {
    let mut scene = Scene::new(3, Terms { window: 0, ..TERMS }).await;
    scene.send(&Frame::Ping(canh_wire::Ping { token: 9, clock: Timestamp::EPOCH })).await;
    assert!(matches!(scene.read().await, Frame::Pong(pong) if pong.token == 9), "no batch comes before the answer");
    scene.send(&Frame::Credit(Credit { window: 1 << 20 })).await;
    for first in [1, 11, 21] {
        assert!(matches!(scene.read().await, Frame::Batch(batch) if batch.first.0 == first));
    }
}

#[tokio::test]
async fn what_is_spooled_later_is_sent_too() {
    let mut scene = Scene::new(0, TERMS).await;
    for first in [1, 11] {
        let append = |spool: &mut Spool| {
            let parts = pack(&mut Packer::try_new(1).unwrap(), &batch()).unwrap();
            spool.append(Submission { records: batch(), ..Submission::default() }.prepare(parts)).unwrap();
            spool.last()
        };
        let last = scene.shared.with_spool(append).await;
        scene.shared.note_spooled(last);
        assert!(matches!(scene.read().await, Frame::Batch(batch) if batch.first.0 == first));
    }
}

#[tokio::test]
async fn acknowledgement_of_what_was_never_sent_ends_the_connection() {
    let mut scene = Scene::new(1, TERMS).await;
    let Frame::Batch(batch) = scene.read().await else { panic!("a batch") };
    let ack = Ack { stream: batch.stream, epoch: batch.epoch, durable: RecordSequence(11) };
    scene.send(&Frame::Ack(ack)).await;
    let (ended, is_useful) = scene.conversation.await.unwrap();
    assert!(matches!(ended, Ended::Session(AgentSessionError::AckAhead { .. })), "{ended:?}");
    assert_eq!((ended.failure(), is_useful), (Some(SendFailure::Protocol), false));
    assert_eq!(*scene.shared.acknowledged.borrow(), RecordSequence(0), "and nothing is let go");
}

#[tokio::test]
async fn bytes_that_are_no_frame_end_the_connection() {
    let mut scene = Scene::new(0, TERMS).await;
    scene.stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
    let (ended, _) = scene.conversation.await.unwrap();
    assert!(matches!(ended, Ended::Frame(FrameError::Magic)), "{ended:?}");
}

#[tokio::test(start_paused = true)]
async fn collector_that_does_not_read_does_not_hold_a_stop_for_long() {
    let scene = Scene::new(1, Terms { window: u64::MAX, ..TERMS }).await;
    let begun = Instant::now();
    scene.stop.send_replace(true);
    let (ended, _) = scene.conversation.await.unwrap();
    assert!(matches!(ended, Ended::Stopped), "{ended:?}");
    assert!(begun.elapsed() <= LEAVE_TIMEOUT + Duration::from_millis(10));
}
