//! Collectors that refuse, are strangers, are gone, or have been somewhere else.

#![expect(clippy::unwrap_used, reason = "tests")]

mod harness;

use std::sync::Arc;

use canh_event::StreamName;
use canh_ship::{ShipError, Shipper};
use canh_wire::{GapReason, NackCode};
use harness::{
    Act, Agent, Authority, Collector, Moment, PATIENCE, has_all_lines, honest, line, lines, until, usual_window,
};

async fn submit(shipper: &Shipper, first: u64, last: u64) {
    let (batch, cursors) = lines(first, last);
    shipper.submit(batch, cursors).await.unwrap();
}

#[tokio::test]
async fn batch_refused_for_good_becomes_a_gap_and_the_rest_arrives() {
    let authority = Authority::new();
    let script = Box::new(|moment| match moment {
        Moment::Batch { first: 11 } => Act::Nack(NackCode::Unreadable),
        _ => Act::GoOn,
    });
    let collector = Collector::start(&authority, usual_window(), script).await;
    let mut agent = Agent::new(&authority, &[&collector.address]);
    let shipper = agent.start().await;
    for first in [1, 11, 21] {
        submit(&shipper, first, first + 9).await;
    }
    shipper.drain(PATIENCE).await.unwrap();
    let store = collector.store();
    let sequences: Vec<_> = store.records.iter().map(|(_, sequence, _)| *sequence).collect();
    assert_eq!(sequences, (1..=10).chain(21..=30).collect::<Vec<_>>());
    let gaps: Vec<_> = store.gaps.iter().map(|gap| (gap.from.0, gap.count, gap.reason)).collect();
    assert_eq!(gaps, [(11, 10, GapReason::Refused)]);
    assert_eq!(agent.metric("canh_agent_records_dropped_total{reason=\"refused\"}"), 10);
    assert_eq!(agent.metric("canh_agent_records_acknowledged_total"), 20);
    assert_eq!(agent.metric("canh_agent_refusals_total{code=\"unreadable\"}"), 1);
    assert_eq!(agent.metric("canh_agent_send_errors_total{reason=\"refused\"}"), 1);
}

#[tokio::test]
async fn damage_in_the_spool_is_reported_as_a_gap_and_the_rest_arrives() {
    let authority = Authority::new();
    let mut agent = Agent::new(&authority, &["127.0.0.1:1"]);
    let shipper = agent.start().await;
    for first in [1, 11, 21] {
        submit(&shipper, first, first + 9).await;
    }
    shipper.stop().await;
    let segment = agent.config.spool_dir.join("00000000000000000001.seg");
    let mut bytes = std::fs::read(&segment).unwrap();
    // The second of three batches of about the same length.
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    bytes[end / 2] ^= 1;
    std::fs::write(&segment, bytes).unwrap();

    let collector = Collector::start(&authority, usual_window(), honest()).await;
    agent.config.collectors = vec![collector.address.clone()];
    let shipper = agent.start().await;
    assert_eq!(harness::position(&shipper), 30, "the source does not read it again");
    shipper.drain(PATIENCE).await.unwrap();
    let store = collector.store();
    let sequences: Vec<_> = store.records.iter().map(|(_, sequence, _)| *sequence).collect();
    assert_eq!(sequences, (1..=10).chain(21..=30).collect::<Vec<_>>());
    let gaps: Vec<_> = store.gaps.iter().map(|gap| (gap.from.0, gap.count, gap.reason)).collect();
    assert_eq!(gaps, [(11, 10, GapReason::SpoolCorrupt)]);
    assert_eq!(agent.metric("canh_agent_records_dropped_total{reason=\"spool_corrupt\"}"), 10);
    assert_eq!(store.faults, Vec::<String>::new());
}

#[tokio::test]
async fn collector_that_was_set_back_gets_again_what_the_spool_still_has() {
    let authority = Authority::new();
    let collector = Collector::start(&authority, usual_window(), honest()).await;
    let mut agent = Agent::new(&authority, &[&collector.address]);
    let shipper = agent.start().await;
    for first in [1, 11, 21] {
        submit(&shipper, first, first + 9).await;
    }
    shipper.drain(PATIENCE).await.unwrap();
    shipper.stop().await;
    {
        // Its disk is that of a while ago: ten and a half batches.
        let mut store = collector.store();
        store.records.truncate(15);
        store.durable.values_mut().for_each(|durable| *durable = 15);
    }
    let shipper = agent.start().await;
    submit(&shipper, 31, 40).await;
    shipper.drain(PATIENCE).await.unwrap();
    has_all_lines(&collector.store(), 40);
    shipper.stop().await;
}

#[tokio::test]
async fn new_collector_is_told_what_another_has() {
    let authority = Authority::new();
    let first = Collector::start(&authority, usual_window(), honest()).await;
    let mut agent = Agent::new(&authority, &[&first.address]);
    agent.config.spool_max_bytes = 1 << 20;
    let shipper = agent.start().await;
    for n in 0..200 {
        submit(&shipper, n * 300 + 1, n * 300 + 300).await;
        shipper.drain(PATIENCE).await.unwrap();
    }
    shipper.stop().await;
    let second = Collector::start(&authority, usual_window(), honest()).await;
    agent.config.collectors = vec![second.address.clone()];
    let shipper = agent.start().await;
    submit(&shipper, 60_001, 60_010).await;
    shipper.drain(PATIENCE).await.unwrap();
    let store = second.store();
    let gaps: Vec<_> = store.gaps.iter().map(|gap| (gap.from.0, gap.reason)).collect();
    assert_eq!(gaps, [(1, GapReason::ElsewhereAcknowledged)], "segments were let go");
    let (_, begins, _) = store.records[0];
    assert_eq!(begins, store.gaps[0].last().0 + 1);
    assert_eq!(store.records.len() as u64, 60_010 - begins + 1);
    assert_eq!(store.records.last().unwrap().2, line(60_010));
    assert_eq!(store.faults, Vec::<String>::new());
}

#[tokio::test]
async fn spool_that_was_rolled_back_begins_a_new_epoch_and_loses_nothing_new() {
    let authority = Authority::new();
    let collector = Collector::start(&authority, usual_window(), honest()).await;
    let mut agent = Agent::new(&authority, &[&collector.address]);
    let shipper = agent.start().await;
    submit(&shipper, 1, 10).await;
    shipper.drain(PATIENCE).await.unwrap();
    shipper.stop().await;
    // The collector has sequences of this epoch that this spool has not given out.
    let stream: StreamName = "log".parse().unwrap();
    let epoch = collector.store().records[0].0;
    collector.store().durable.insert((stream, epoch), 25);
    let shipper = agent.start().await;
    submit(&shipper, 11, 20).await;
    shipper.drain(PATIENCE).await.unwrap();
    let store = collector.store();
    let new: Vec<_> = store.records.iter().filter(|(other, ..)| *other != epoch).collect();
    let lines: Vec<_> = new.iter().map(|(_, _, bytes)| bytes.clone()).collect();
    assert!(lines.ends_with(&(11..=20).map(line).collect::<Vec<_>>()), "{lines:?}");
    assert_eq!(store.faults, Vec::<String>::new());
}

#[tokio::test]
async fn stranger_is_told_nothing() {
    let [ours, theirs] = [Authority::new(), Authority::new()];
    let stranger = Collector::start(&theirs, usual_window(), honest()).await;
    let mut agent = Agent::new(&ours, &[&stranger.address]);
    let shipper = agent.start().await;
    submit(&shipper, 1, 10).await;
    until("two handshakes have failed", || agent.metric("canh_agent_send_errors_total{reason=\"tls\"}") >= 2).await;
    assert_eq!(stranger.store().connections, 0);
    shipper.stop().await;
}

#[tokio::test]
async fn certificate_of_another_name_is_a_stranger_too() {
    let authority = Authority::new();
    let collector = Collector::start(&authority, usual_window(), honest()).await;
    let mut agent = Agent::new(&authority, &[&collector.address]);
    agent.config.server_name = "another.test".to_owned();
    let shipper = agent.start().await;
    until("a handshake has failed", || agent.metric("canh_agent_send_errors_total{reason=\"tls\"}") >= 1).await;
    assert_eq!(collector.store().connections, 0);
    shipper.stop().await;
}

#[tokio::test]
async fn next_collector_takes_over_when_the_first_is_gone() {
    let authority = Authority::new();
    let second = Collector::start(&authority, usual_window(), honest()).await;
    let mut agent = Agent::new(&authority, &["127.0.0.1:1", &second.address]);
    let shipper = agent.start().await;
    submit(&shipper, 1, 10).await;
    shipper.drain(PATIENCE).await.unwrap();
    has_all_lines(&second.store(), 10);
    assert!(agent.metric("canh_agent_send_errors_total{reason=\"connect\"}") >= 1);
    shipper.stop().await;
}

#[tokio::test]
async fn restarted_collector_goes_on_where_it_was() {
    let authority = Authority::new();
    let first = Collector::start(&authority, usual_window(), honest()).await;
    let store = Arc::clone(&first.store);
    let mut agent = Agent::new(&authority, &[&first.address]);
    let shipper = agent.start().await;
    submit(&shipper, 1, 10).await;
    shipper.drain(PATIENCE).await.unwrap();
    drop(first);
    submit(&shipper, 11, 20).await;
    shipper.stop().await;
    let again = Collector::start_with(&authority, usual_window(), honest(), store).await;
    agent.config.collectors = vec![again.address.clone()];
    let shipper = agent.start().await;
    shipper.drain(PATIENCE).await.unwrap();
    has_all_lines(&again.store(), 20);
    shipper.stop().await;
}

#[tokio::test]
async fn certificates_that_cannot_be_used_are_named_at_the_start() {
    let authority = Authority::new();
    let agent = Agent::new(&authority, &["127.0.0.1:1"]);
    let mut config = agent.config.clone();
    config.key = agent.dir.path().join("missing.key");
    let refused = Shipper::start(config, &agent.metrics, agent.shutdown.clone()).await;
    assert!(refused.is_err_and(|error| error.to_string().contains("missing.key")));
    let mut config = agent.config.clone();
    config.certificate = config.key.clone();
    let metrics = canh_service::metrics::Metrics::new("canh-test", "0").unwrap();
    let refused = Shipper::start(config, &metrics, agent.shutdown.clone()).await;
    assert!(matches!(refused, Err(ShipError::Credentials(_))));
    let config = canh_ship::ShipConfig { collectors: Vec::new(), ..agent.config.clone() };
    let refused = Shipper::start(config, &metrics, agent.shutdown.clone()).await;
    assert!(matches!(refused, Err(ShipError::NoCollector)));
}
