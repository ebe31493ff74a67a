//! The capture thread with real captures: files, broken files, and the loopback interface.

use std::net::UdpSocket;
use std::path::{Path, PathBuf};

use canh_flow::EndReason;
use canh_service::metrics::Metrics;
use canh_service::signals::ShutdownTrigger;

use super::*;
use crate::capture::{CaptureConfig, CaptureFrom};

/// A capture thread under way.
struct Running {
    flows: mpsc::Receiver<FlowRecord>,
    result: oneshot::Receiver<Result<(), CaptureError>>,
    registry: Metrics,
    trigger: ShutdownTrigger,
}

fn config(from: CaptureFrom) -> CaptureConfig {
    CaptureConfig { from, filter: None, snaplen: 128, buffer_bytes: 1 << 20, promiscuous: false }
}

fn start(config: &CaptureConfig, queue: usize) -> Result<Running, CaptureError> {
    let registry = Metrics::new("canh-flow-agent", "0").unwrap();
    let metrics = AgentMetrics::register(&registry).unwrap();
    let (trigger, shutdown) = Shutdown::new();
    let (sender, flows) = mpsc::channel(queue);
    let limits = MeterLimits { idle_timeout: Duration::from_secs(1), ..MeterLimits::default() };
    let source = config.from.source_name().unwrap();
    let metering =
        Metering::new(Capture::open(config)?, limits, source, sender, metrics, FlowLosses::default(), shutdown);
    Ok(Running { flows, result: metering.spawn().unwrap(), registry, trigger })
}

impl Running {
    fn finish(mut self) -> (Vec<FlowRecord>, Result<(), CaptureError>, String) {
        let mut records = Vec::new();
        while let Some(record) = self.flows.blocking_recv() {
            records.push(record);
        }
        (records, self.result.blocking_recv().unwrap(), self.registry.encode().unwrap())
    }
}

fn meter_file(path: &Path) -> (Vec<FlowRecord>, Result<(), CaptureError>, String) {
    start(&config(CaptureFrom::File(path.to_owned())), 4).unwrap().finish()
}

fn corpus(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../test-corpus/captures").join(name)
}

fn packets(records: &[FlowRecord]) -> u64 {
    records.iter().map(|record| record.sent.packets + record.returned.packets).sum()
}

fn metric(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {name} in {text}")).parse().unwrap()
}

#[test]
fn flows_of_a_file_are_all_there_with_the_files_own_time_however_small_the_queue() {
    let (records, result, metrics) = meter_file(&corpus("scan-horizontal.pcap"));
    result.unwrap();
    assert_eq!(records.len(), 120);
    assert_eq!(metric(&metrics, "canh_flow_agent_packets_total"), packets(&records));
    let day = |record: &FlowRecord| record.start.to_string().starts_with("2026-11-23T02:0");
    assert!(records.iter().all(day));
    assert_eq!(records[0].interface.as_ref().map(SourceName::as_str), Some("scan-horizontal.pcap"));
}

#[test]
fn file_that_breaks_off_gives_what_it_holds_and_is_counted() {
    let whole = std::fs::read(corpus("beacon.pcap")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cut.pcap");
    // Ten frames of 54 bytes and their headers, and a part of the eleventh.
    std::fs::write(&path, &whole[..24 + 10 * 70 + 31]).unwrap();
    let (records, result, metrics) = meter_file(&path);
    result.unwrap();
    assert_eq!(packets(&records), 10);
    assert_eq!(metric(&metrics, "canh_flow_agent_cut_files_total"), 1);
}

#[test]
fn what_is_no_capture_cannot_be_opened() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.pcap");
    for bytes in [&b""[..], b"not a capture file at all, only text"] {
        std::fs::write(&path, bytes).unwrap();
        assert!(matches!(start(&config(CaptureFrom::File(path.clone())), 4), Err(CaptureError::Open { .. })));
    }
    let missing = CaptureFrom::File(folder.path().join("missing.pcap"));
    assert!(matches!(start(&config(missing), 4), Err(CaptureError::Open { .. })));
    let nowhere = CaptureFrom::Interface("no-such-if0".to_owned());
    assert!(matches!(start(&config(nowhere), 4), Err(CaptureError::Open { .. })));
    // Bluetooth frames: a capture, but none of ours.
    let mut bluetooth = std::fs::read(corpus("beacon.pcap")).unwrap();
    bluetooth[20] = 187;
    std::fs::write(&path, bluetooth).unwrap();
    assert!(matches!(start(&config(CaptureFrom::File(path)), 4), Err(CaptureError::Link { number: 187, .. })));
}

#[test]
fn filter_keeps_what_it_asks_for() {
    let from = CaptureFrom::File(corpus("scan-horizontal.pcap"));
    let filtered = CaptureConfig { filter: Some("port 445".to_owned()), ..config(from.clone()) };
    let (records, result, _) = start(&filtered, 4).unwrap().finish();
    result.unwrap();
    assert_eq!(records.len(), 60);
    let wrong = CaptureConfig { filter: Some("port and".to_owned()), ..config(from) };
    assert!(matches!(start(&wrong, 4), Err(CaptureError::Filter { .. })));
}

#[test]
fn stop_in_the_middle_of_a_file_leaves_its_live_flows_to_the_next_run() {
    let running = start(&config(CaptureFrom::File(corpus("quiet-office.pcap"))), 1).unwrap();
    running.trigger.request();
    let (records, result, metrics) = running.finish();
    result.unwrap();
    let (whole, ..) = meter_file(&corpus("quiet-office.pcap"));
    assert!(records.len() < whole.len());
    assert_eq!(records[..], whole[..records.len()]);
    assert_eq!(metric(&metrics, "canh_flow_agent_flows_total{reason=\"flushed\"}"), 0);
}

#[test]
fn attack_captures_are_read_whole() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/corpus/pcap");
    let Ok(entries) = std::fs::read_dir(&folder) else {
        println!("skipped: no {}", folder.display());
        return;
    };
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|end| end == "cap" || end == "pcapng"));
    assert!(!files.is_empty());
    for path in files {
        let (records, result, metrics) = meter_file(&path);
        result.unwrap();
        let name = path.display();
        let unreadable = |reason| format!("canh_flow_agent_packets_unreadable_total{{reason=\"{reason}\"}}");
        for reason in ["truncated_link", "truncated_ip", "malformed_ip"] {
            assert_eq!(metric(&metrics, &unreadable(reason)), 0, "{name}");
        }
        assert!(records.iter().any(|record| record.destination_port.is_some()), "{name}");
        if let Some((frames, rest)) = frames_of(&std::fs::read(&path).unwrap()) {
            // Several of them have a stray byte after their last packet.
            assert_eq!(metric(&metrics, "canh_flow_agent_cut_files_total"), u64::from(rest > 0), "{name}");
            assert_eq!(packets(&records) + metric(&metrics, &unreadable("not_ip")), frames, "{name}");
        }
    }
}

/// Counts the frames of a little-endian pcap file, and the bytes after the last whole one; `None`
/// for other formats.
fn frames_of(bytes: &[u8]) -> Option<(u64, usize)> {
    let (mut rest, mut frames) = (bytes.strip_prefix(&0xa1b2_c3d4_u32.to_le_bytes())?.get(20..)?, 0);
    while let Some((header, after)) = rest.split_at_checked(16) {
        let captured = u32::from_le_bytes([header[8], header[9], header[10], header[11]]);
        let Some(next) = after.get(captured as usize..) else { break };
        (rest, frames) = (next, frames + 1);
    }
    Some((frames, rest.len()))
}

#[test]
fn interface_is_metered_live_and_a_stop_hands_over_what_is_under_way() {
    let (asker, answerer) = (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
    let (from, to) = (asker.local_addr().unwrap(), answerer.local_addr().unwrap());
    let filter = Some(format!("udp and port {}", to.port()));
    let mut running = match start(&CaptureConfig { filter, ..config(CaptureFrom::Interface("lo".to_owned())) }, 64) {
        Ok(running) => running,
        Err(error) => {
            println!("skipped: the loopback interface cannot be captured: {error:?}");
            return;
        }
    };
    asker.send_to(b"question", to).unwrap();
    answerer.send_to(b"answer", from).unwrap();
    // Idle for a second, the flow comes out although no other packet does.
    let record = running.flows.blocking_recv().unwrap();
    assert_eq!((record.source_port, record.destination_port), (Some(from.port()), Some(to.port())));
    assert_eq!((record.sent.packets, record.sent.bytes, record.ended), (1, 36, EndReason::Idle));
    assert_eq!((record.returned.packets, record.returned.bytes), (1, 34));
    assert!(now().since(record.end) < Duration::from_secs(60));

    asker.send_to(b"one more", to).unwrap();
    running.trigger.request();
    let (records, result, _) = running.finish();
    result.unwrap();
    assert_eq!(packets(&records), 1);
}

#[test]
fn full_queue_drops_what_is_live_and_counts_it() {
    let registry = Metrics::new("canh-flow-agent", "0").unwrap();
    let metrics = AgentMetrics::register(&registry).unwrap();
    let (records, ..) = meter_file(&corpus("exfiltration.pcap"));
    let (sender, flows) = mpsc::channel(1);
    let losses = FlowLosses::default();
    let mut queue = FlowQueue::new(sender, Overflow::Drop, metrics.clone(), losses.clone());
    (0..3).for_each(|_| queue.push(records[0].clone()));
    assert_eq!(metrics.dropped_flows(FlowDrop::QueueFull), 2);
    drop(flows);
    queue.push(records[0].clone());
    queue.overflow = Overflow::Wait;
    queue.push(records[0].clone());
    assert_eq!(metrics.dropped_flows(FlowDrop::Stopped), 2);
    let (told, _) = losses.take(&"lo".parse().unwrap());
    assert_eq!(told.iter().map(|loss| loss.count).collect::<Vec<_>>(), [2, 2]);
}
