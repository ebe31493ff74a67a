//! Every record arrives once and in order, whatever breaks on the way.

#![expect(clippy::unwrap_used, reason = "tests")]

mod harness;

use std::time::Duration;

use canh_event::{RecordBatch, Timestamp};
use canh_ship::{NotDrained, ShipError};
use canh_wire::NackCode;
use harness::{
    Act, Agent, Authority, Collector, Dice, Moment, PATIENCE, has_all_lines, honest, line, lines, position, source,
    until, usual_window,
};

#[tokio::test]
async fn what_is_submitted_arrives_and_the_books_balance() {
    let authority = Authority::new();
    let collector = Collector::start(&authority, usual_window(), honest()).await;
    let mut agent = Agent::new(&authority, &[&collector.address]);
    agent.config.software = "canh-test 0.1.0 ".repeat(5);
    let shipper = agent.start().await;
    for n in 0..20 {
        let (batch, cursors) = lines(n * 50 + 1, n * 50 + 50);
        shipper.submit(batch, cursors).await.unwrap();
    }
    shipper.drain(PATIENCE).await.unwrap();
    has_all_lines(&collector.store(), 1_000);
    assert_eq!(collector.store().software, "canh-test 0.1.0 ".repeat(5)[..63]);
    for name in ["produced", "spooled", "acknowledged"] {
        assert_eq!(agent.metric(&format!("canh_agent_records_{name}_total")), 1_000);
    }
    assert_eq!(agent.metric("canh_agent_spool_records"), 0);
    assert_eq!(agent.metric("canh_agent_connection_state{state=\"open\"}"), 1);
    assert_eq!(agent.metric("canh_agent_connections_total"), 1);
    assert!(agent.metric("canh_agent_sent_bytes_total") > 0);
    shipper.stop().await;
    assert_eq!(agent.metric("canh_agent_connection_state{state=\"stopped\"}"), 1);
}

/// Dice that break one in so many of each kind of moment.
fn unlucky(seed: u64) -> harness::Script {
    let mut dice = Dice(seed);
    Box::new(move |moment| match (moment, dice.roll(100)) {
        (Moment::Accepted | Moment::Hello | Moment::Welcomed, 0..15) => Act::Drop,
        (Moment::Batch { .. }, 0..6) => Act::Drop,
        (Moment::Batch { .. }, 6..8) => Act::Nack(NackCode::Overload),
        (Moment::Stored, 0..10) => Act::Drop,
        (Moment::Stored, 10..25) => Act::Delay,
        _ => Act::GoOn,
    })
}

/// Lives through what the dice bring; returns how often the agent started and connected.
#[expect(clippy::print_stdout, reason = "a failure's seed must be known")]
async fn survive(seed: u64) -> (u64, u64) {
    const LINES: u64 = 4_000;
    println!("seed {seed}");
    let authority = Authority::new();
    let collector = Collector::start(&authority, 20_000, unlucky(seed)).await;
    let mut agent = Agent::new(&authority, &[&collector.address]);
    let mut dice = Dice(seed ^ 0xa9e);
    let (mut starts, mut next) = (0, 1);
    while next <= LINES {
        let shipper = agent.start().await;
        starts += 1;
        // The source goes on from its cursor, as if it knew nothing else.
        next = position(&shipper) + 1;
        while next <= LINES {
            let last = LINES.min(next + dice.roll(60));
            let (batch, cursors) = lines(next, last);
            if dice.roll(12) == 0 {
                // Killed in the middle of a submit: it may or may not be in the spool.
                let submitter = shipper.submitter();
                let submitting = tokio::spawn(async move { submitter.submit(batch, cursors).await });
                for _ in 0..dice.roll(50) {
                    tokio::task::yield_now().await;
                }
                submitting.abort();
                break;
            }
            shipper.submit(batch, cursors).await.unwrap();
            next = last + 1;
        }
    }
    let shipper = agent.start().await;
    assert_eq!(position(&shipper), LINES);
    shipper.drain(PATIENCE).await.unwrap();
    has_all_lines(&collector.store(), LINES);
    let connections = collector.store().connections;
    shipper.stop().await;
    (starts, connections)
}

#[tokio::test]
async fn every_record_arrives_once_in_order_over_broken_connections_and_killed_agents() {
    let (mut starts, mut connections) = (0, 0);
    for seed in 1..=6 {
        let (more_starts, more_connections) = survive(seed).await;
        (starts, connections) = (starts + more_starts, connections + more_connections);
    }
    assert!(starts > 30 && connections > 100, "the dice were kind: {starts} starts, {connections} connections");
}

#[tokio::test]
async fn window_of_one_batch_is_enough_and_never_exceeded() {
    let authority = Authority::new();
    let collector = Collector::start(&authority, 1, honest()).await;
    let mut agent = Agent::new(&authority, &[&collector.address]);
    let shipper = agent.start().await;
    for n in 0..30 {
        let (batch, cursors) = lines(n * 10 + 1, n * 10 + 10);
        shipper.submit(batch, cursors).await.unwrap();
    }
    shipper.drain(PATIENCE).await.unwrap();
    has_all_lines(&collector.store(), 300);
    assert_eq!(collector.store().connections, 1, "waiting for the window ends no connection");
    shipper.stop().await;
}

#[tokio::test]
async fn batches_get_their_places_in_the_order_they_were_submitted() {
    let authority = Authority::new();
    let collector = Collector::start(&authority, usual_window(), honest()).await;
    let mut agent = Agent::new(&authority, &[&collector.address]);
    let shipper = agent.start().await;
    // The first takes longer to pack than all others together.
    let borders = [0, 4_000, 4_001, 4_002, 4_003, 4_004, 4_005];
    let submits = borders.windows(2).map(|border| {
        let (submitter, (batch, cursors)) = (shipper.submitter(), lines(border[0] + 1, border[1]));
        tokio::spawn(async move { submitter.submit(batch, cursors).await.unwrap() })
    });
    for submit in submits.collect::<Vec<_>>() {
        submit.await.unwrap();
    }
    shipper.drain(PATIENCE).await.unwrap();
    has_all_lines(&collector.store(), 4_005);
    assert_eq!(position(&shipper), 4_005);
    shipper.stop().await;
}

#[tokio::test]
async fn batch_longer_than_the_spool_goes_through_once_nothing_else_waits() {
    let authority = Authority::new();
    let collector = Collector::start(&authority, usual_window(), honest()).await;
    let mut agent = Agent::new(&authority, &[&collector.address]);
    agent.config.spool_max_bytes = 256 << 10;
    let shipper = agent.start().await;
    let mut dice = Dice(8);
    let record: Vec<u8> = (0..1 << 20).map(|_| dice.roll(256).to_le_bytes()[0]).collect();
    for length in [10, 1 << 20, 1 << 20] {
        let mut batch = RecordBatch::new();
        let id = batch.source(&source()).unwrap();
        batch.push(id, Timestamp::EPOCH, &record[..length]).unwrap();
        shipper.submit(batch, Vec::new()).await.unwrap();
    }
    shipper.drain(PATIENCE).await.unwrap();
    assert_eq!(collector.store().records.len(), 3);
    shipper.stop().await;
}

#[tokio::test]
async fn largest_batch_there_is_arrives_whole() {
    let authority = Authority::new();
    let collector = Collector::start(&authority, usual_window(), honest()).await;
    let mut agent = Agent::new(&authority, &[&collector.address]);
    let shipper = agent.start().await;
    let mut dice = Dice(5);
    let records: Vec<Vec<u8>> =
        (0..8).map(|_| (0..1 << 20).map(|_| dice.roll(256).to_le_bytes()[0]).collect()).collect();
    let mut batch = RecordBatch::new();
    let id = batch.source(&source()).unwrap();
    records.iter().for_each(|record| batch.push(id, Timestamp::EPOCH, record).unwrap());
    shipper.submit(batch, Vec::new()).await.unwrap();
    shipper.drain(PATIENCE).await.unwrap();
    let store = collector.store();
    assert!(store.records.iter().map(|(.., bytes)| bytes).eq(&records));
    assert_eq!(store.faults, Vec::<String>::new());
}

#[tokio::test]
async fn full_spool_makes_its_feeder_wait_until_a_collector_comes() {
    let authority = Authority::new();
    let collector = Collector::start(&authority, usual_window(), honest()).await;
    let mut agent = Agent::new(&authority, &["127.0.0.1:1"]);
    agent.config.spool_max_bytes = 1 << 20;
    let shipper = agent.start().await;
    let submitter = shipper.submitter();
    let feeding = tokio::spawn(async move {
        for n in 0..40 {
            let (batch, cursors) = noisy(n);
            submitter.submit(batch, cursors).await.unwrap();
        }
    });
    until("the spool is full", || agent.metric("canh_agent_spool_waiting_batches") == 1).await;
    assert!(!feeding.is_finished());
    assert!(agent.metric("canh_agent_spool_bytes") <= 1 << 20);
    let spooled = agent.metric("canh_agent_records_spooled_total");
    assert_eq!(agent.metric("canh_agent_records_produced_total"), spooled + 1, "what waits is counted");
    assert_eq!(shipper.drain(Duration::ZERO).await, Err(NotDrained { records: spooled }));

    // The collector's address was wrong; a start with the right one, and the rest follows.
    feeding.abort();
    drop(shipper);
    agent.config.collectors = vec![collector.address.clone()];
    let shipper = agent.start().await;
    for n in position(&shipper)..40 {
        let (batch, cursors) = noisy(n);
        shipper.submit(batch, cursors).await.unwrap();
    }
    shipper.drain(PATIENCE).await.unwrap();
    assert_eq!(collector.store().records.len(), 40);
    assert!(agent.metric("canh_agent_spool_bytes") <= 1 << 20, "acknowledged disk is given back");
}

/// One record of 60,000 bytes that do not pack, and the cursor after it.
fn noisy(n: u64) -> (RecordBatch, Vec<(canh_event::SourceName, Vec<u8>)>) {
    let mut dice = Dice(n);
    let record: Vec<u8> = (0..60_000).map(|_| dice.roll(256).to_le_bytes()[0]).collect();
    let mut batch = RecordBatch::new();
    let id = batch.source(&source()).unwrap();
    batch.push(id, Timestamp::EPOCH, &record).unwrap();
    (batch, vec![(source().name, (n + 1).to_le_bytes().to_vec())])
}

#[tokio::test]
async fn stopping_ends_the_wait_for_room() {
    let authority = Authority::new();
    let mut agent = Agent::new(&authority, &["127.0.0.1:1"]);
    agent.config.spool_max_bytes = 1 << 20;
    let shipper = agent.start().await;
    let submitter = shipper.submitter();
    let feeding = tokio::spawn(async move {
        for n in 0.. {
            let (batch, cursors) = noisy(n);
            if let Err(error) = submitter.submit(batch, cursors).await {
                return error;
            }
        }
        unreachable!("the spool has an end");
    });
    until("the spool is full", || agent.metric("canh_agent_spool_waiting_batches") == 1).await;
    agent.trigger.request();
    assert!(matches!(feeding.await.unwrap(), ShipError::Stopping));
    assert_eq!(agent.metric("canh_agent_spool_waiting_batches"), 0);
    shipper.stop().await;
}

#[tokio::test]
async fn stop_waits_for_acknowledgements_on_their_way() {
    let authority = Authority::new();
    let withhold = Box::new(|moment| if moment == Moment::Stored { Act::Withhold } else { Act::GoOn });
    let collector = Collector::start(&authority, usual_window(), withhold).await;
    let mut agent = Agent::new(&authority, &[&collector.address]);
    let shipper = agent.start().await;
    let (batch, cursors) = lines(1, 10);
    shipper.submit(batch, cursors).await.unwrap();
    let stored = collector.store.clone();
    until("the batch is stored", || stored.lock().unwrap().records.len() == 10).await;
    assert_eq!(agent.metric("canh_agent_records_acknowledged_total"), 0);
    shipper.stop().await;
    assert_eq!(agent.metric("canh_agent_records_acknowledged_total"), 10, "the collector answers a BYE");
    assert_eq!(line(10), collector.store().records[9].2);
}
