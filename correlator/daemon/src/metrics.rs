//! All metrics of the correlator: names, meanings, and nothing else. Added to once a batch.

use canh_incident::{IncidentState, Severity};
use canh_service::metrics::{Metrics as Registry, MetricsError};
use prometheus::{Gauge, Histogram, IntCounter, IntCounterVec, IntGauge, IntGaugeVec};

/// From half a millisecond, below which no disk syncs, to ten seconds, past which something is broken.
const SECONDS: &[f64] = &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// The correlator's metrics.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    pub(crate) records: IntCounter,
    pub(crate) records_skipped: IntCounterVec,
    pub(crate) events: IntCounter,
    pub(crate) events_late: IntCounter,
    pub(crate) hits: IntCounterVec,
    pub(crate) detections: IntCounterVec,
    pub(crate) incidents_opened: IntCounterVec,
    pub(crate) incidents_grown: IntCounter,
    pub(crate) incidents: IntGaugeVec,
    pub(crate) lag_records: IntGauge,
    pub(crate) lag_seconds: Gauge,
    pub(crate) position: IntGauge,
    pub(crate) rules: IntGauge,
    pub(crate) rules_refused: IntGauge,
    pub(crate) reloads: IntCounterVec,
    pub(crate) groups: IntGauge,
    pub(crate) groups_dropped: IntCounter,
    pub(crate) ledger_append_seconds: Histogram,
    pub(crate) snapshot_seconds: Histogram,
    pub(crate) snapshots_failed: IntCounter,
    pub(crate) snapshot_bytes: IntGauge,
    pub(crate) actions: IntCounterVec,
    pub(crate) requests: IntCounterVec,
}

impl Metrics {
    /// Registers them.
    ///
    /// # Errors
    /// None but for a bug of ours.
    pub(crate) fn register(registry: &Registry) -> Result<Self, MetricsError> {
        let counter = |name: &str, help: &str| registry.counter(&format!("canh_correlator_{name}"), help);
        let gauge = |name: &str, help: &str| registry.gauge(&format!("canh_correlator_{name}"), help);
        let by =
            |name: &str, label: &str, help: &str| registry.counters(&format!("canh_correlator_{name}"), help, &[label]);
        let seconds = |name: &str, help: &str| registry.histogram(&format!("canh_correlator_{name}"), help, SECONDS);
        let metrics = Self {
            records: counter("records_total", "Journal records that were read and correlated.")?,
            records_skipped: by(
                "records_skipped_total",
                "reason",
                "Journal records that could not be read: undecodable, damaged on disk, or dropped before they were read.",
            )?,
            events: counter("events_total", "Events looked at.")?,
            events_late: counter("events_late_total", "Events that came too late to be correlated.")?,
            hits: by("rule_hits_total", "rule", "Events that met a detection rule, by rule.")?,
            detections: by("detections_total", "severity", "Detections made, updates of growing ones included.")?,
            incidents_opened: by("incidents_opened_total", "severity", "Incidents opened, by their severity then.")?,
            incidents_grown: counter("incidents_grown_total", "Times an incident took in a detection or its update.")?,
            incidents: registry.gauges(
                "canh_correlator_incidents",
                "Incidents, by where they are in their life and how bad they are.",
                &["state", "severity"],
            )?,
            lag_records: gauge("lag_records", "Journal records that are durable and not correlated yet.")?,
            lag_seconds: registry.float_gauge(
                "canh_correlator_lag_seconds",
                "Age of the newest correlated event, by when it was read at its source; 0 when nothing is waiting.",
            )?,
            position: gauge("position", "Journal position up to which events have been correlated.")?,
            rules: gauge("rules", "Rules in force, correlations included.")?,
            rules_refused: gauge("rules_refused", "Rules refused at the last load.")?,
            reloads: by("reloads_total", "result", "Requests to reload, by what became of them.")?,
            groups: gauge("groups", "Groups that correlations hold in memory.")?,
            groups_dropped: counter("groups_dropped_total", "Groups dropped because memory is bounded.")?,
            ledger_append_seconds: seconds("ledger_append_seconds", "From changes decided to changes durable.")?,
            snapshot_seconds: seconds("snapshot_seconds", "Time a snapshot took to be saved.")?,
            snapshots_failed: counter("snapshots_failed_total", "Snapshots that could not be saved.")?,
            snapshot_bytes: gauge("snapshot_bytes", "Size of the last snapshot.")?,
            actions: by("actions_total", "outcome", "Actions of analysts, by what became of them.")?,
            requests: by("api_requests_total", "code", "Requests to the API, by the status they were answered with.")?,
        };
        metrics.show_every_incident_gauge();
        Ok(metrics)
    }

    /// A gauge that is absent and one that is 0 are not the same to an alert.
    fn show_every_incident_gauge(&self) {
        for state in IncidentState::ALL {
            for severity in Severity::ALL {
                self.incidents.with_label_values(&[state.as_str(), severity.as_str()]).set(0);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_registered_once_and_carries_the_daemons_name() {
        let registry = Registry::new("canh-correlator", "0.0.0").unwrap();
        Metrics::register(&registry).unwrap();
        let page = registry.reference_markdown();
        let own = page.lines().filter(|line| line.starts_with("| `canh_correlator_")).count();
        assert_eq!(own, 23, "{page}");
        assert!(Metrics::register(&registry).is_err());
    }

    #[test]
    fn reference_page_is_in_step() {
        let metrics = Registry::new("canh-correlator", "0").unwrap();
        Metrics::register(&metrics).unwrap();
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        assert_eq!(metrics.stale_page(&root).unwrap(), None, "run with UPDATE_GOLDEN=1 to write it");
    }
}
