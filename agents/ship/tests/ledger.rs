//! What becomes of records that cannot all be kept or sent, and whom the agent talks to, seen from a
//! collector in the test's own process.

#![expect(clippy::unwrap_used, reason = "tests")]

mod harness;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use canh_event::{GapReason, RecordBatch, SourceName, Timestamp};
use canh_ship::{Loss, Priority, RetryPolicy, Submission};
use harness::{
    Act, Agent, Authority, Collector, Moment, PATIENCE, Store, has_all_lines, honest, lines, source, until,
    usual_window,
};

/// Records that do not pack, of a source that is called after its priority.
fn submission(priority: Priority, turn: u64) -> Submission {
    let mut records = RecordBatch::new();
    let id = records.source(&canh_event::Source { name: name(priority.as_str()), ..source() }).unwrap();
    let mut dice = harness::Dice(turn);
    for _ in 0..10 {
        let record: Vec<u8> = (0..2_000).map(|_| u8::try_from(dice.roll(256)).unwrap()).collect();
        records.push(id, Timestamp::EPOCH, &record).unwrap();
    }
    Submission { records, priority, ..Submission::default() }
}

fn name(text: &str) -> SourceName {
    text.parse().unwrap()
}

/// Waits for an account that says so much of a source.
async fn stated(store: &Mutex<Store>, source: &str, produced: u64) {
    let source = name(source);
    until("the account says so", || {
        let store = store.lock().unwrap();
        store.accounts.iter().flat_map(|it| &it.sources).any(|it| it.source == source && it.produced == produced)
    })
    .await;
}

#[tokio::test]
async fn full_spool_tells_what_it_dropped_of_low_priority_and_the_books_balance() {
    let authority = Authority::new();
    let is_down = Arc::new(AtomicBool::new(true));
    let down = Arc::clone(&is_down);
    let script = Box::new(move |moment| match moment {
        Moment::Accepted if down.load(Ordering::Relaxed) => Act::Drop,
        _ => Act::GoOn,
    });
    let collector = Collector::start(&authority, usual_window(), script).await;
    let mut agent = Agent::new(&authority, &[&collector.address]);
    agent.config.spool_max_bytes = 1 << 20;
    let shipper = agent.start().await;
    for turn in 0..120 {
        let priority = if turn % 10 == 0 { Priority::High } else { Priority::Low };
        shipper.submit_all(submission(priority, turn)).await.unwrap();
    }
    is_down.store(false, Ordering::Relaxed);
    shipper.drain(PATIENCE).await.unwrap();
    stated(&collector.store, "low", 1_080).await;
    stated(&collector.store, "high", 120).await;
    let store = collector.store();
    assert_eq!(store.faults, Vec::<String>::new());
    let lost: u64 = store.gaps.iter().map(|gap| gap.count).sum();
    assert_eq!(store.records.len() as u64 + lost, 1_200);
    assert!(lost > 300, "{lost}");
    let of_low = |gap: &canh_wire::Gap| gap.sources.iter().all(|loss| loss.source == name("low"));
    assert!(store.gaps.iter().all(|gap| gap.reason == GapReason::SpoolFull && of_low(gap)), "{:?}", store.gaps);
    assert_eq!(agent.metric("canh_agent_source_records_dropped_total{reason=\"spool_full\",source=\"low\"}"), lost);
}

#[tokio::test]
async fn records_lost_before_the_spool_have_their_place_and_their_reason() {
    let authority = Authority::new();
    let collector = Collector::start(&authority, usual_window(), honest()).await;
    let mut agent = Agent::new(&authority, &[&collector.address]);
    let shipper = agent.start().await;
    let (records, cursors) = lines(1, 10);
    let (first, last) = (Timestamp::from_secs(5), Timestamp::from_secs(9));
    let losses = vec![Loss { source: name("eth0"), reason: GapReason::QueueFull, count: 7, first, last }];
    let figures = vec![(name("eth0"), canh_event::Figure::KernelPackets, 70)];
    shipper.submit_all(Submission { records, cursors, losses, figures, ..Submission::default() }).await.unwrap();
    let (batch, cursors) = lines(11, 20);
    shipper.submit(batch, cursors).await.unwrap();
    shipper.drain(PATIENCE).await.unwrap();
    stated(&collector.store, "eth0", 7).await;
    let store = collector.store();
    let [gap] = &store.gaps[..] else { panic!("{:?}", store.gaps) };
    assert_eq!((gap.from.0, gap.count, gap.reason), (11, 7, GapReason::QueueFull));
    assert_eq!((gap.sources[0].first, gap.sources[0].last), (first, last));
    let account = store.accounts.last().unwrap();
    let eth0 = account.sources.iter().find(|it| it.source == name("eth0")).unwrap();
    assert_eq!(eth0.dropped, [(GapReason::QueueFull, 7)]);
    assert_eq!(eth0.figures, [(canh_event::Figure::KernelPackets, 70)]);
    assert_eq!(store.faults, Vec::<String>::new());
}

#[tokio::test]
async fn counts_survive_an_agent_that_is_killed() {
    let authority = Authority::new();
    let collector = Collector::start(&authority, usual_window(), honest()).await;
    let mut agent = Agent::new(&authority, &[&collector.address]);
    for n in 0..5 {
        let shipper = agent.start().await;
        let (batch, cursors) = lines(n * 10 + 1, n * 10 + 10);
        shipper.submit(batch, cursors).await.unwrap();
        // Dropped as a kill would: nothing is said and nothing is written.
        drop(shipper);
    }
    let shipper = agent.start().await;
    shipper.drain(PATIENCE).await.unwrap();
    stated(&collector.store, source().name.as_str(), 50).await;
    has_all_lines(&collector.store(), 50);
}

#[tokio::test]
async fn collector_that_takes_less_at_a_time_gets_smaller_batches() {
    let authority = Authority::new();
    let store = Store { limits: Some((2_500, 3)), ..Store::default() };
    let collector = Collector::start_with(&authority, usual_window(), honest(), Arc::new(Mutex::new(store))).await;
    let mut agent = Agent::new(&authority, &[&collector.address]);
    let shipper = agent.start().await;
    let (batch, cursors) = lines(1, 200);
    shipper.submit(batch, cursors).await.unwrap();
    let mut long = RecordBatch::new();
    let id = long.source(&source()).unwrap();
    let mut dice = harness::Dice(1);
    let record: Vec<u8> = (0..9_000).map(|_| u8::try_from(dice.roll(256)).unwrap()).collect();
    long.push(id, Timestamp::EPOCH, &record).unwrap();
    shipper.submit(long, Vec::new()).await.unwrap();
    shipper.drain(PATIENCE).await.unwrap();
    let store = collector.store();
    assert_eq!(store.faults, Vec::<String>::new());
    assert_eq!(store.records.len(), 200);
    let gaps: Vec<_> = store.gaps.iter().map(|gap| (gap.from.0, gap.count, gap.reason)).collect();
    assert_eq!(gaps, [(201, 1, GapReason::Oversize)], "a record that is too long by itself");
    assert_eq!(store.most_records, 3);
}

#[tokio::test]
async fn agent_is_at_the_next_collector_at_once_when_one_says_bye_and_comes_back_to_it() {
    let authority = Authority::new();
    let stops = Arc::new(AtomicBool::new(false));
    let stopping = Arc::clone(&stops);
    let mut has_stopped = false;
    let script = Box::new(move |moment| match moment {
        Moment::Accepted if stopping.load(Ordering::Relaxed) => Act::Drop,
        Moment::Batch { first: 11 } if !has_stopped => {
            has_stopped = true;
            stopping.store(true, Ordering::Relaxed);
            Act::Bye
        }
        _ => Act::GoOn,
    });
    let first = Collector::start(&authority, usual_window(), script).await;
    let second = Collector::start(&authority, usual_window(), honest()).await;
    let mut agent = Agent::new(&authority, &[&first.address, &second.address]);
    // Whoever waits between collectors waits for longer than the test.
    agent.config.retry = RetryPolicy { first: Duration::from_secs(600), longest: Duration::from_secs(900) };
    agent.config.fail_back = Duration::from_millis(50);
    let shipper = agent.start().await;
    for n in 0..2 {
        let (batch, cursors) = lines(n * 10 + 1, n * 10 + 10);
        shipper.submit(batch, cursors).await.unwrap();
        shipper.drain(PATIENCE).await.unwrap();
    }
    assert_eq!(first.store().records.len(), 10);
    has_all_lines(&second.store(), 20);
    stops.store(false, Ordering::Relaxed);
    let before = first.store().connections;
    until("it is back at the first", || first.store().connections > before).await;
    let (batch, cursors) = lines(21, 30);
    shipper.submit(batch, cursors).await.unwrap();
    shipper.drain(PATIENCE).await.unwrap();
    let store = first.store();
    assert_eq!(store.records.last().unwrap().2, harness::line(30));
    assert_eq!(store.faults, Vec::<String>::new());
}
