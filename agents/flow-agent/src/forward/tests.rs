//! Batches: when they are handed over, and what their cursors say. The clock is tokio's, paused.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use canh_event::{GapReason, SourceName};
use canh_flow::{ConnectionState, EndReason, Protocol, Traffic, VlanTags};
use canh_service::metrics::Metrics;
use canh_ship::Loss;

use super::*;

type Handed = (Vec<Vec<u8>>, Vec<(SourceName, Vec<u8>)>, Instant);

#[derive(Clone, Default)]
struct List(Arc<Mutex<Vec<Handed>>>, Arc<Mutex<Vec<Loss>>>);

/// Takes a first batch and then none.
#[derive(Clone, Default)]
struct FullAfterOne(List);

impl Outlet for FullAfterOne {
    type Error = std::convert::Infallible;

    async fn submit(&mut self, submission: Submission) -> Result<Taken, Self::Error> {
        let has_room = self.0.sizes().is_empty() || submission.records.is_empty();
        if has_room { self.0.submit(submission).await } else { Ok(Taken::NoRoom) }
    }
}

impl Outlet for List {
    type Error = std::convert::Infallible;

    async fn submit(&mut self, submission: Submission) -> Result<Taken, Self::Error> {
        let Submission { records, cursors, losses, .. } = submission;
        self.1.lock().unwrap().extend(losses);
        if records.is_empty() {
            return Ok(Taken::Durable);
        }
        let records = records.iter().map(|record| record.bytes.to_vec()).collect();
        self.0.lock().unwrap().push((records, cursors, Instant::now()));
        Ok(Taken::Durable)
    }
}

impl List {
    fn sizes(&self) -> Vec<usize> {
        self.0.lock().unwrap().iter().map(|handed| handed.0.len()).collect()
    }
}

fn record(port: u16) -> FlowRecord {
    FlowRecord {
        start: Timestamp::from_secs(1_800_000_000),
        end: Timestamp::from_secs(1_800_000_001),
        source_ip: "10.0.0.1".parse().unwrap(),
        source_port: Some(port),
        destination_ip: "10.0.0.2".parse().unwrap(),
        destination_port: Some(53),
        protocol: Protocol::UDP,
        vlan: VlanTags::default(),
        sent: Traffic { packets: 1, bytes: 60, ..Traffic::default() },
        returned: Traffic::default(),
        state: ConnectionState::S0,
        ended: EndReason::Idle,
        interface: None,
    }
}

fn forwarder<O: Outlet + Clone>(list: &O, records: usize, bytes: usize, file: Option<FileProgress>) -> Forwarder<O> {
    let source = Source {
        name: "a.pcap".parse().unwrap(),
        host: Box::from("web-01"),
        format: "flow".parse().unwrap(),
        utc_offset_secs: 0,
    };
    let limits = BatchLimits { records, bytes, wait: Duration::from_millis(500) };
    let metrics = AgentMetrics::register(&Metrics::new("canh-flow-agent", "0").unwrap()).unwrap();
    Forwarder::new(list.clone(), source, limits, metrics, FlowLosses::default(), file)
}

fn block_on(future: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(future);
}

#[test]
fn full_batches_are_handed_over_at_once_and_the_last_at_the_end() {
    block_on(async {
        let list = List::default();
        let (sender, mut flows) = mpsc::channel(100);
        for port in 1..=25 {
            sender.send(record(port)).await.unwrap();
        }
        drop(sender);
        forwarder(&list, 10, 1 << 20, None).run(&mut flows).await.unwrap();
        assert_eq!(list.sizes(), [10, 10, 5]);
        let first = list.0.lock().unwrap()[0].0[0].clone();
        assert_eq!(FlowRecord::from_json(&first).unwrap(), record(1));
    });
}

#[test]
fn batch_holds_at_most_its_bytes_but_takes_any_first_record() {
    block_on(async {
        let list = List::default();
        let (sender, mut flows) = mpsc::channel(100);
        for port in 10_001..=10_004 {
            sender.send(record(port)).await.unwrap();
        }
        drop(sender);
        let mut json = Vec::new();
        record(10_001).to_json(&mut json);
        forwarder(&list, 10, 2 * json.len(), None).run(&mut flows).await.unwrap();
        assert_eq!(list.sizes(), [2, 2]);
        let (sender, mut flows) = mpsc::channel(100);
        sender.send(record(1)).await.unwrap();
        drop(sender);
        forwarder(&list, 10, 1, None).run(&mut flows).await.unwrap();
        assert_eq!(list.sizes(), [2, 2, 1]);
    });
}

#[test]
fn first_record_of_a_batch_waits_no_longer_than_it_may() {
    block_on(async {
        let list = List::default();
        let (sender, mut flows) = mpsc::channel(100);
        let begun = Instant::now();
        let feed = async {
            for port in 1..=3 {
                sender.send(record(port)).await.unwrap();
                tokio::time::sleep(Duration::from_millis(300)).await;
            }
            tokio::time::sleep(Duration::from_secs(5)).await;
            drop(sender);
        };
        let (result, ()) = tokio::join!(forwarder(&list, 10, 1 << 20, None).run(&mut flows), feed);
        result.unwrap();
        assert_eq!(list.sizes(), [2, 1]);
        let waits: Vec<u128> = list.0.lock().unwrap().iter().map(|handed| (handed.2 - begun).as_millis()).collect();
        assert!((500..=510).contains(&waits[0]) && (1_100..=1_110).contains(&waits[1]), "{waits:?}");
    });
}

#[test]
fn second_run_over_a_file_sends_only_what_the_first_did_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.pcap");
    std::fs::write(&path, b"x").unwrap();
    let begin = FileProgress::of(&path, None, &canh_flow::MeterLimits::default()).unwrap();
    block_on(async {
        let list = List::default();
        let (sender, mut flows) = mpsc::channel(100);
        for port in 1..=7 {
            sender.send(record(port)).await.unwrap();
        }
        drop(sender);
        forwarder(&list, 5, 1 << 20, Some(begin)).run(&mut flows).await.unwrap();
        let cursors: Vec<_> = list.0.lock().unwrap().iter().map(|handed| handed.1[0].clone()).collect();
        assert_eq!(cursors[0].0.as_str(), "a.pcap");
        let places: Vec<u64> = cursors.iter().map(|cursor| begin.resume(&cursor.1).spooled()).collect();
        assert_eq!(places, [5, 7]);

        // The first run died after its first batch.
        let again = List::default();
        let (sender, mut flows) = mpsc::channel(100);
        for port in 1..=7 {
            sender.send(record(port)).await.unwrap();
        }
        drop(sender);
        forwarder(&again, 5, 1 << 20, Some(begin.resume(&cursors[0].1))).run(&mut flows).await.unwrap();
        let sent: Vec<_> =
            again.0.lock().unwrap()[0].0.iter().map(|json| FlowRecord::from_json(json).unwrap()).collect();
        assert_eq!(sent, [record(6), record(7)]);
    });
}

#[test]
fn spool_that_stays_full_loses_flows_of_an_interface_counted_and_none_of_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.pcap");
    std::fs::write(&path, b"x").unwrap();
    let begin = FileProgress::of(&path, None, &canh_flow::MeterLimits::default()).unwrap();
    block_on(async {
        for (file, lost, left) in [(None, 15, 0), (Some(begin), 0, 4)] {
            let list = FullAfterOne::default();
            let (sender, mut flows) = mpsc::channel(100);
            for port in 1..=25 {
                sender.send(record(port)).await.unwrap();
            }
            drop(sender);
            let forwarder = forwarder(&list, 10, 1 << 20, file);
            let metrics = forwarder.metrics.clone();
            forwarder.run(&mut flows).await.unwrap();
            assert_eq!(list.0.sizes(), [10]);
            assert_eq!(metrics.dropped_flows(FlowDrop::SpoolFull), lost);
            let told: u64 = list.0.1.lock().unwrap().iter().map(|loss| loss.count).sum();
            assert_eq!(told, lost, "the collector will hear of it");
            assert_eq!(flows.len(), left);
        }
    });
}

#[test]
fn flows_lost_before_the_queue_are_told_with_the_next_batch_or_alone_soon() {
    block_on(async {
        let list = List::default();
        let (sender, mut flows) = mpsc::channel(100);
        let forwarder = forwarder(&list, 10, 1 << 20, None);
        let losses = forwarder.losses.clone();
        losses.note(FlowDrop::QueueFull, 3, Timestamp::from_secs(5));
        let task = tokio::spawn(async move { forwarder.run(&mut flows).await });
        tokio::time::sleep(Duration::from_millis(1_100)).await;
        assert_eq!(list.sizes(), [] as [usize; 0]);
        let told: Vec<_> = list.1.lock().unwrap().iter().map(|loss| (loss.reason, loss.count)).collect();
        assert_eq!(told, [(GapReason::QueueFull, 3)]);
        losses.note(FlowDrop::QueueFull, 4, Timestamp::from_secs(6));
        sender.send(record(1)).await.unwrap();
        drop(sender);
        task.await.unwrap().unwrap();
        assert_eq!((list.sizes(), list.1.lock().unwrap().len()), (vec![1], 2));
    });
}
