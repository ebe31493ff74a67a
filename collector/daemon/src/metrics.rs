//! All metrics of the collector: names, meanings, and nothing else. Added to once a batch.

use canh_event::AgencyId;
use canh_service::metrics::{Metrics as Registry, MetricsError};
use canh_wire::DenialCode;
use prometheus::{Histogram, IntCounter, IntCounterVec, IntGauge, IntGaugeVec};

use crate::agencies::AgencyLabels;

/// From half a millisecond, below which no disk syncs, to ten seconds, past which an agent gives up.
const SECONDS: &[f64] = &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// What speaks for a copied key.
const CLONE_SIGNS: [&str; 4] = ["two_addresses", "boot_returned", "superseded_certificate", OTHER_RECORDS];
/// Sequences that were received before, with other records.
pub(crate) const OTHER_RECORDS: &str = "other_records";

/// The collector's metrics.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    pub(crate) connections: IntGauge,
    pub(crate) connections_total: IntCounter,
    pub(crate) handshakes_refused: IntCounterVec,
    pub(crate) enrolments: IntCounterVec,
    pub(crate) renewals: IntCounterVec,
    pub(crate) revocations: IntGauge,
    pub(crate) revocations_unreadable: IntGauge,
    pub(crate) clone_signs: IntCounterVec,
    pub(crate) certificate_expiry: IntGaugeVec,
    pub(crate) nacks: IntCounterVec,
    pub(crate) connections_ended: IntCounterVec,
    pub(crate) received_bytes: IntCounter,
    pub(crate) raw_bytes: IntCounter,
    pub(crate) batches: IntCounter,
    pub(crate) records: IntCounterVec,
    pub(crate) cut_records: IntCounter,
    pub(crate) duplicate_batches: IntCounter,
    pub(crate) duplicate_records: IntCounter,
    pub(crate) dropped_batches: IntCounterVec,
    pub(crate) gaps: IntCounterVec,
    pub(crate) gap_records: IntCounterVec,
    agencies: AgencyLabels,
    agency_records: IntCounterVec,
    agency_lost: IntCounterVec,
    pub(crate) accounts: IntCounterVec,
    pub(crate) disagreements: IntCounter,
    pub(crate) quota_pauses: IntCounterVec,
    pub(crate) quota_paused: IntGauge,
    pub(crate) spools_behind: IntCounter,
    pub(crate) memory_bytes: IntGauge,
    pub(crate) streams: IntGauge,
    pub(crate) ack_seconds: Histogram,
    pub(crate) journal_commit_seconds: Histogram,
    pub(crate) journal_bytes: IntCounter,
    pub(crate) journal_records: IntCounter,
    pub(crate) journal_syncs: IntCounter,
    pub(crate) journal_size_bytes: IntGauge,
    pub(crate) journal_durable: IntGauge,
    pub(crate) journal_oldest: IntGauge,
    pub(crate) journal_waits_for_space: IntGauge,
    pub(crate) journal_sync_seconds: Histogram,
    pub(crate) journal_segments: IntGaugeVec,
    pub(crate) journal_saved_bytes: IntGauge,
    pub(crate) journal_oldest_time: IntGauge,
    pub(crate) journal_compressions: IntCounterVec,
    pub(crate) journal_dropped_segments: IntCounter,
    pub(crate) journal_lost_records: IntCounter,
    pub(crate) reloads: IntCounterVec,
}

impl Metrics {
    /// Registers them.
    ///
    /// # Errors
    /// None but for a bug of ours.
    pub(crate) fn register(registry: &Registry) -> Result<Self, MetricsError> {
        let counter = |name: &str, help: &str| registry.counter(&format!("canh_collector_{name}"), help);
        let gauge = |name: &str, help: &str| registry.gauge(&format!("canh_collector_{name}"), help);
        let by =
            |name: &str, label: &str, help: &str| registry.counters(&format!("canh_collector_{name}"), help, &[label]);
        let seconds = |name: &str, help: &str| registry.histogram(&format!("canh_collector_{name}"), help, SECONDS);
        let metrics = Self {
            connections: gauge("connections", "Agents connected.")?,
            connections_total: counter("connections_total", "Connections that passed the TLS handshake.")?,
            handshakes_refused: by(
                "handshakes_refused_total",
                "reason",
                "Connections that got no further than the TLS handshake.",
            )?,
            enrolments: by("enrolments_total", "result", "Enrolments by token: issued, or why not.")?,
            renewals: by("renewals_total", "result", "Renewals of agents' certificates: issued, or why not.")?,
            revocations: gauge("revocations", "Entries of the list of revocations.")?,
            revocations_unreadable: gauge(
                "revocations_unreadable",
                "1 while the list of revocations cannot be read, and so nobody is let in.",
            )?,
            clone_signs: by("clone_signs_total", "sign", "Signs that two machines have one key.")?,
            certificate_expiry: registry.gauges(
                "canh_collector_certificate_expiry_timestamp_seconds",
                "When the collector's certificate and its CA's expire, in seconds since 1970.",
                &["certificate"],
            )?,
            nacks: by("nacks_total", "reason", "Refusals sent to agents.")?,
            connections_ended: by("connections_ended_total", "reason", "Connections that have ended.")?,
            received_bytes: counter("received_bytes_total", "Bytes of batches as they came over the wire.")?,
            raw_bytes: counter("received_raw_bytes_total", "Bytes of batches once unpacked.")?,
            batches: counter("batches_total", "Batches received and not seen before.")?,
            records: by(
                "records_total",
                "format",
                "Records made into events, by the parser that claimed them; unparsed ones are kept with their raw bytes.",
            )?,
            cut_records: counter("cut_records_total", "Records that their agent cut at the longest record's length.")?,
            duplicate_batches: counter(
                "duplicate_batches_total",
                "Batches received before, acknowledged and not stored again.",
            )?,
            duplicate_records: counter(
                "duplicate_records_total",
                "Records received before, whole batches and parts of them.",
            )?,
            dropped_batches: by(
                "dropped_batches_total",
                "reason",
                "Batches not stored; their agents send them again or say so by a gap.",
            )?,
            gaps: by("gaps_total", "reason", "Gaps that agents reported.")?,
            gap_records: by("gap_records_total", "reason", "Records that agents reported as never to come.")?,
            agencies: AgencyLabels::default(),
            agency_records: by(
                "agency_records_total",
                "agency",
                "Records stored, by agency; agencies past the 256th are `_other`.",
            )?,
            agency_lost: registry.counters(
                "canh_collector_agency_lost_records_total",
                "Records that agents reported as lost, by agency and reason.",
                &["agency", "reason"],
            )?,
            accounts: by(
                "accounts_total",
                "result",
                "Accounts that agents stated: `agrees` with the collector's own count, `disagrees`, or `stale`.",
            )?,
            disagreements: counter(
                "ledger_disagreements_total",
                "Accounts that do not add up: a record was lost or doubled without a reason. Must stay 0.",
            )?,
            quota_pauses: by(
                "quota_pauses_total",
                "scope",
                "Times an agent was paused because its quota, or its agency's, was used up; its records wait in its spool.",
            )?,
            quota_paused: gauge("quota_paused_agents", "Connections that are paused now because of a quota.")?,
            spools_behind: counter(
                "spools_behind_total",
                "Streams whose agent has spooled less than it once sent: a machine rolled back, or two of one name.",
            )?,
            memory_bytes: gauge("memory_bytes", "Memory set aside for batches under way.")?,
            streams: gauge("streams", "Streams of agents whose place is known.")?,
            ack_seconds: seconds(
                "ack_seconds",
                "From a batch read whole to durable, when its acknowledgement is sent.",
            )?,
            journal_commit_seconds: seconds(
                "journal_commit_seconds",
                "From an event batch handed to the journal to durable: the wait for its group and the sync.",
            )?,
            journal_bytes: counter("journal_written_bytes_total", "Bytes of journal records made durable.")?,
            journal_records: counter("journal_records_total", "Journal records made durable.")?,
            journal_syncs: counter("journal_syncs_total", "Syncs that made journal records durable.")?,
            journal_size_bytes: gauge("journal_size_bytes", "Room the journal takes up on disk.")?,
            journal_durable: gauge("journal_durable_position", "The last durable journal record.")?,
            journal_oldest: gauge("journal_oldest_position", "The oldest journal record kept.")?,
            journal_waits_for_space: gauge("journal_waits_for_space", "1 while the journal waits for room on disk.")?,
            journal_sync_seconds: seconds(
                "journal_sync_seconds",
                "One sync of the journal to disk, without the wait for its group.",
            )?,
            journal_segments: registry.gauges(
                "canh_collector_journal_segments",
                "Segments of the journal, by what has become of them.",
                &["state"],
            )?,
            journal_saved_bytes: gauge("journal_saved_bytes", "Room that compression saves on the segments kept.")?,
            journal_oldest_time: gauge(
                "journal_oldest_timestamp_seconds",
                "When the oldest segment kept was begun, in seconds since 1970; 0 if that is not known.",
            )?,
            journal_compressions: by(
                "journal_compressions_total",
                "result",
                "Segments compressed, or left for later after a failure.",
            )?,
            journal_dropped_segments: counter(
                "journal_dropped_segments_total",
                "Segments dropped for their age or for the journal's size.",
            )?,
            journal_lost_records: counter("journal_lost_records_total", "Journal records found damaged at start.")?,
            reloads: by("reloads_total", "result", "Reloads of the configuration.")?,
        };
        metrics.show_all();
        Ok(metrics)
    }

    /// What an alert watches is there from the beginning, so that a rate over it is.
    fn show_all(&self) {
        for sign in CLONE_SIGNS {
            self.clone_signs.with_label_values(&[sign]).inc_by(0);
        }
        for result in DenialCode::ALL.map(DenialCode::as_str).into_iter().chain(["issued"]) {
            self.enrolments.with_label_values(&[result]).inc_by(0);
            self.renewals.with_label_values(&[result]).inc_by(0);
        }
    }
}

impl Metrics {
    /// Counts records stored of an agency.
    pub(crate) fn count_stored(&self, agency: &AgencyId, records: u64) {
        self.agency_records.with_label_values(&[self.agencies.label(agency)]).inc_by(records);
    }

    /// Counts records lost of an agency.
    pub(crate) fn count_lost(&self, agency: &AgencyId, reason: &str, records: u64) {
        self.agency_lost.with_label_values(&[self.agencies.label(agency), reason]).inc_by(records);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_registers_once() {
        let registry = Registry::new("canh-collector", "0").unwrap();
        Metrics::register(&registry).unwrap();
        assert!(Metrics::register(&registry).is_err());
    }

    #[test]
    fn reference_page_is_in_step() {
        let metrics = Registry::new("canh-collector", "0").unwrap();
        Metrics::register(&metrics).unwrap();
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        assert_eq!(metrics.stale_page(&root).unwrap(), None, "run with UPDATE_GOLDEN=1 to write it");
    }
}
