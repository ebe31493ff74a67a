//! What a shipper counts. Every record submitted is spooled, and every record spooled is
//! acknowledged, dropped with a reason, or still in the spool.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use canh_event::{GapReason, SourceName};
use canh_service::metrics::{Metrics, MetricsError};
use canh_wire::NackCode;
use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec};

/// Most sources with a label of their own; what others do is counted under [`OTHER_SOURCES`].
const MAX_LABELLED_SOURCES: usize = 256;
/// The label of sources past the bound.
const OTHER_SOURCES: &str = "other";

/// What the connection is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ConnectionState {
    /// Waits before it tries again.
    Waiting,
    /// Connects, shakes hands, says HELLO.
    Connecting,
    /// Sends.
    Open,
    /// Is over for good.
    Stopped,
}

/// Why a connection could not be made or ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SendFailure {
    /// Certificate, key or CA cannot be read or used.
    Credentials,
    /// No TCP connection.
    Connect,
    /// The TLS handshake failed.
    Tls,
    /// Nothing was heard for too long.
    Silence,
    /// The connection broke.
    Broken,
    /// The collector broke the protocol.
    Protocol,
    /// The collector refused; see `canh_agent_refusals_total`.
    Refused,
    /// The spool could not be read.
    Spool,
}

/// What came of asking for the next certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RenewalResult {
    /// It is in place.
    Done,
    /// The collector gives none.
    Refused,
    /// It came and cannot be used or written.
    Failed,
}

/// A shipper's metrics.
#[derive(Clone, Debug)]
pub(crate) struct ShipMetrics {
    pub(crate) produced: IntCounter,
    pub(crate) spooled: IntCounter,
    pub(crate) acknowledged: IntCounter,
    dropped: IntCounterVec,
    source_produced: IntCounterVec,
    source_dropped: IntCounterVec,
    /// Sources that have a label.
    labelled: Arc<Mutex<BTreeSet<SourceName>>>,
    pub(crate) spooled_bytes: IntCounter,
    pub(crate) sent_bytes: IntCounter,
    pub(crate) spool_bytes: IntGauge,
    pub(crate) spool_records: IntGauge,
    pub(crate) spool_drops: IntCounter,
    pub(crate) stores_rolled_back: IntCounter,
    pub(crate) spool_waits: IntCounter,
    pub(crate) spool_waiting: IntGauge,
    pub(crate) connections: IntCounter,
    pub(crate) reconnects: IntCounter,
    connection_state: IntGaugeVec,
    send_errors: IntCounterVec,
    refusals: IntCounterVec,
    renewals: IntCounterVec,
    pub(crate) certificate_expiry: IntGauge,
}

impl ConnectionState {
    const ALL: [Self; 4] = [Self::Waiting, Self::Connecting, Self::Open, Self::Stopped];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Connecting => "connecting",
            Self::Open => "open",
            Self::Stopped => "stopped",
        }
    }
}

impl RenewalResult {
    const ALL: [Self; 3] = [Self::Done, Self::Refused, Self::Failed];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Refused => "refused",
            Self::Failed => "failed",
        }
    }
}

impl SendFailure {
    const ALL: [Self; 8] = [
        Self::Credentials,
        Self::Connect,
        Self::Tls,
        Self::Silence,
        Self::Broken,
        Self::Protocol,
        Self::Refused,
        Self::Spool,
    ];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Credentials => "credentials",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Silence => "silence",
            Self::Broken => "broken",
            Self::Protocol => "protocol",
            Self::Refused => "refused",
            Self::Spool => "spool",
        }
    }
}

impl ShipMetrics {
    /// Registers the metrics.
    pub(crate) fn new(metrics: &Metrics) -> Result<Self, MetricsError> {
        let ship = Self {
            produced: metrics.counter("canh_agent_records_produced_total", "Records submitted for shipping.")?,
            spooled: metrics.counter("canh_agent_records_spooled_total", "Records made durable in the spool.")?,
            acknowledged: metrics
                .counter("canh_agent_records_acknowledged_total", "Records the collector has made durable.")?,
            dropped: metrics.counters(
                "canh_agent_records_dropped_total",
                "Records that will never arrive, by reason; each was reported as a gap.",
                &["reason"],
            )?,
            source_produced: metrics.counters(
                "canh_agent_source_records_produced_total",
                "Records submitted for shipping, by source; sources past the 256th are `other`.",
                &["source"],
            )?,
            source_dropped: metrics.counters(
                "canh_agent_source_records_dropped_total",
                "Records that will never arrive, by source and reason, as far as their sources are known.",
                &["source", "reason"],
            )?,
            labelled: Arc::default(),
            spooled_bytes: metrics
                .counter("canh_agent_spooled_bytes_total", "Bytes of records made durable in the spool, unpacked.")?,
            sent_bytes: metrics.counter("canh_agent_sent_bytes_total", "Bytes of frames sent to collectors.")?,
            spool_bytes: metrics.gauge("canh_agent_spool_bytes", "Bytes the spool takes up on disk.")?,
            spool_records: metrics.gauge("canh_agent_spool_records", "Records in the spool, not acknowledged.")?,
            spool_drops: metrics.counter(
                "canh_agent_spool_refused_records_total",
                "Records of low priority that the full spool had no room for.",
            )?,
            stores_rolled_back: metrics.counter(
                "canh_agent_stores_rolled_back_total",
                "Times a collector had less than it had acknowledged: its store was put back to an older copy.",
            )?,
            spool_waits: metrics
                .counter("canh_agent_spool_waits_total", "Batches that had to wait because the spool was full.")?,
            spool_waiting: metrics
                .gauge("canh_agent_spool_waiting_batches", "Batches that wait because the spool is full.")?,
            connections: metrics.counter("canh_agent_connections_total", "Connections that reached a welcome.")?,
            reconnects: metrics
                .counter("canh_agent_reconnects_total", "Attempts to connect after the first, successful or not.")?,
            connection_state: metrics.gauges(
                "canh_agent_connection_state",
                "What the connection is doing: 1 for the state it is in.",
                &["state"],
            )?,
            send_errors: metrics.counters(
                "canh_agent_send_errors_total",
                "Connections that failed or ended unexpectedly, by reason.",
                &["reason"],
            )?,
            refusals: metrics.counters(
                "canh_agent_refusals_total",
                "Refusals by the collector, by the code it gave.",
                &["code"],
            )?,
            renewals: metrics.counters(
                "canh_agent_certificate_renewals_total",
                "Times the next certificate was asked for, by what came of it.",
                &["result"],
            )?,
            certificate_expiry: metrics.gauge(
                "canh_agent_certificate_expiry_timestamp_seconds",
                "When the certificate in use expires, in seconds since 1970.",
            )?,
        };
        ship.show_all();
        Ok(ship)
    }

    /// Every label is there from the beginning, so that a rate over it is.
    fn show_all(&self) {
        SendFailure::ALL.iter().for_each(|reason| self.send_errors.with_label_values(&[reason.as_str()]).inc_by(0));
        NackCode::ALL.iter().for_each(|code| self.refusals.with_label_values(&[code.as_str()]).inc_by(0));
        GapReason::ALL.iter().for_each(|reason| self.dropped.with_label_values(&[reason.as_str()]).inc_by(0));
        RenewalResult::ALL.iter().for_each(|result| self.renewals.with_label_values(&[result.as_str()]).inc_by(0));
        self.set_state(ConnectionState::Waiting);
    }

    pub(crate) fn set_state(&self, now: ConnectionState) {
        for state in ConnectionState::ALL {
            self.connection_state.with_label_values(&[state.as_str()]).set(i64::from(state == now));
        }
    }

    pub(crate) fn count_failure(&self, failure: SendFailure) {
        self.send_errors.with_label_values(&[failure.as_str()]).inc();
    }

    pub(crate) fn count_refusal(&self, code: NackCode) {
        self.refusals.with_label_values(&[code.as_str()]).inc();
    }

    pub(crate) fn count_renewal(&self, result: RenewalResult) {
        self.renewals.with_label_values(&[result.as_str()]).inc();
    }

    pub(crate) fn count_dropped(&self, reason: GapReason, records: u64) {
        self.dropped.with_label_values(&[reason.as_str()]).inc_by(records);
    }

    pub(crate) fn count_source_produced(&self, source: &SourceName, records: u64) {
        self.source_produced.with_label_values(&[self.label(source)]).inc_by(records);
    }

    pub(crate) fn count_source_dropped(&self, source: &SourceName, reason: GapReason, records: u64) {
        self.source_dropped.with_label_values(&[self.label(source), reason.as_str()]).inc_by(records);
    }

    /// Returns the label of a source: its name, if it is one of the first.
    fn label<'a>(&self, source: &'a SourceName) -> &'a str {
        let mut labelled = self.labelled.lock().unwrap_or_else(PoisonError::into_inner);
        if labelled.contains(source) {
            return source.as_str();
        }
        if labelled.len() >= MAX_LABELLED_SOURCES {
            return OTHER_SOURCES;
        }
        labelled.insert(source.clone());
        source.as_str()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reference_page_is_in_step() {
        let metrics = Metrics::new("canh-ship", "0").unwrap();
        ShipMetrics::new(&metrics).unwrap();
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        assert_eq!(metrics.stale_page(&root).unwrap(), None, "run with UPDATE_GOLDEN=1 to write it");
    }

    #[test]
    fn sources_past_the_bound_share_a_label() {
        let metrics = Metrics::new("canh-ship", "0").unwrap();
        let ship = ShipMetrics::new(&metrics).unwrap();
        for number in 0..MAX_LABELLED_SOURCES + 10 {
            ship.count_source_produced(&format!("/{number}").parse().unwrap(), 1);
        }
        let text = metrics.encode().unwrap();
        assert!(text.contains("canh_agent_source_records_produced_total{source=\"other\"} 10\n"), "{text}");
        assert!(text.contains("canh_agent_source_records_produced_total{source=\"/255\"} 1\n"), "{text}");
    }
}
