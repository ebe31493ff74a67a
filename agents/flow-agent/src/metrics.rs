//! What the agent counts: names, meanings, and how the meter's own counters get into them.

use canh_flow::{EndReason, MeterCounters, Unreadable};
use canh_service::metrics::{Metrics, MetricsError};
use prometheus::{IntCounter, IntCounterVec, IntGauge};

use crate::capture::Dropped;

/// Why a finished flow was not handed to the spool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FlowDrop {
    /// The queue between capture and spool was full.
    QueueFull,
    /// The agent was being stopped while the spool was full.
    SpoolFull,
    /// The agent was stopped and its deadline had passed.
    Stopped,
}

/// The agent's metrics.
#[derive(Clone, Debug)]
pub(crate) struct AgentMetrics {
    packets: IntCounter,
    bytes: IntCounter,
    unreadable: IntCounterVec,
    dropped_packets: IntCounterVec,
    flows: IntCounterVec,
    dropped_flows: IntCounterVec,
    table_flows: IntGauge,
    table_limit: IntGauge,
    pub(crate) cut_files: IntCounter,
    pub(crate) batches: IntCounter,
    pub(crate) records: IntCounter,
    pub(crate) skipped: IntCounter,
}

impl FlowDrop {
    const ALL: [Self; 3] = [Self::QueueFull, Self::SpoolFull, Self::Stopped];

    const fn as_str(self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::SpoolFull => "spool_full",
            Self::Stopped => "stopped",
        }
    }
}

const BY_KERNEL: &str = "kernel_buffer";
const BY_INTERFACE: &str = "interface";

impl AgentMetrics {
    /// Registers the metrics.
    ///
    /// # Errors
    /// None but for a bug of ours.
    pub(crate) fn register(registry: &Metrics) -> Result<Self, MetricsError> {
        let counter = |name: &str, help: &str| registry.counter(&format!("canh_flow_agent_{name}"), help);
        let gauge = |name: &str, help: &str| registry.gauge(&format!("canh_flow_agent_{name}"), help);
        let by_reason =
            |name: &str, help: &str| registry.counters(&format!("canh_flow_agent_{name}"), help, &["reason"]);
        let metrics = Self {
            packets: counter("packets_total", "Packets counted to flows.")?,
            bytes: counter("bytes_total", "Bytes of those packets, from the IP header on.")?,
            unreadable: by_reason("packets_unreadable_total", "Captured frames that are of no flow, by reason.")?,
            dropped_packets: by_reason("packets_dropped_total", "Packets dropped before the agent saw them.")?,
            flows: by_reason("flows_total", "Flow records finished, by what ended them.")?,
            dropped_flows: by_reason("flows_dropped_total", "Flow records finished and not handed to the spool.")?,
            table_flows: gauge("flow_table_flows", "Flows that are live.")?,
            table_limit: gauge("flow_table_limit_flows", "Most flows that may be live.")?,
            cut_files: counter("cut_files_total", "Capture files that broke off before their end.")?,
            batches: counter("batches_total", "Batches that are durable in the spool.")?,
            records: counter("records_total", "Flow records that are durable in the spool.")?,
            skipped: counter("records_skipped_total", "Flow records of a file that an earlier run had spooled.")?,
        };
        metrics.begin_at_zero();
        Ok(metrics)
    }

    /// Every reason is there from the beginning, so that a rate over it is.
    fn begin_at_zero(&self) {
        let begin = |counters: &IntCounterVec, reason: &str| counters.with_label_values(&[reason]).inc_by(0);
        Unreadable::ALL.iter().for_each(|reason| begin(&self.unreadable, reason.as_str()));
        EndReason::ALL.iter().for_each(|reason| begin(&self.flows, reason.as_str()));
        FlowDrop::ALL.iter().for_each(|reason| begin(&self.dropped_flows, reason.as_str()));
        [BY_KERNEL, BY_INTERFACE].iter().for_each(|reason| begin(&self.dropped_packets, reason));
    }

    pub(crate) fn set_table_limit(&self, max_flows: u32) {
        self.table_limit.set(i64::from(max_flows));
    }

    /// Adds what a meter has counted since `before`.
    pub(crate) fn add(&self, before: &MeterCounters, now: &MeterCounters, live_flows: usize) {
        self.packets.inc_by(now.packets - before.packets);
        self.bytes.inc_by(now.bytes - before.bytes);
        for reason in Unreadable::ALL {
            let count = now.unreadable.get(reason) - before.unreadable.get(reason);
            self.unreadable.with_label_values(&[reason.as_str()]).inc_by(count);
        }
        for reason in EndReason::ALL {
            let count = now.records(reason) - before.records(reason);
            self.flows.with_label_values(&[reason.as_str()]).inc_by(count);
        }
        self.table_flows.set(i64::try_from(live_flows).unwrap_or(i64::MAX));
    }

    /// Adds what the kernel has dropped since `before`; its counts wrap around.
    pub(crate) fn add_dropped(&self, before: Dropped, now: Dropped) {
        let of = |reason: &str, count: u32| {
            self.dropped_packets.with_label_values(&[reason]).inc_by(u64::from(count));
        };
        of(BY_KERNEL, now.by_kernel.wrapping_sub(before.by_kernel));
        of(BY_INTERFACE, now.by_interface.wrapping_sub(before.by_interface));
    }

    pub(crate) fn drop_flows(&self, reason: FlowDrop, count: u64) {
        self.dropped_flows.with_label_values(&[reason.as_str()]).inc_by(count);
    }

    /// Returns how many flows were dropped for a reason.
    #[cfg(test)]
    pub(crate) fn dropped_flows(&self, reason: FlowDrop) -> u64 {
        self.dropped_flows.with_label_values(&[reason.as_str()]).get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_that_wrapped_around_are_still_added_right() {
        let registry = Metrics::new("canh-flow-agent", "0").unwrap();
        let metrics = AgentMetrics::register(&registry).unwrap();
        let before = Dropped { by_kernel: u32::MAX - 1, by_interface: 5 };
        metrics.add_dropped(before, Dropped { by_kernel: 3, by_interface: 5 });
        let text = registry.encode().unwrap();
        assert!(text.contains("canh_flow_agent_packets_dropped_total{reason=\"kernel_buffer\"} 5\n"), "{text}");
        assert!(text.contains("canh_flow_agent_packets_dropped_total{reason=\"interface\"} 0\n"));
    }

    #[test]
    fn reference_page_is_in_step() {
        let metrics = Metrics::new("canh-flow-agent", "0").unwrap();
        AgentMetrics::register(&metrics).unwrap();
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        assert_eq!(metrics.stale_page(&root).unwrap(), None, "run with UPDATE_GOLDEN=1 to write it");
    }
}
