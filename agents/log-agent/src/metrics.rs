//! What the agent counts.

use canh_service::metrics::{Metrics, MetricsError};
use prometheus::{IntCounter, IntCounterVec, IntGauge};

/// Why something could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Reason {
    /// The path cannot be looked at.
    Stat,
    /// The file cannot be opened.
    Open,
    /// The file cannot be read.
    Read,
    /// A directory cannot be listed.
    Scan,
    /// The path is no regular file.
    NotAFile,
    /// The path is no valid source name: longer than 255 bytes, not UTF-8, or with control characters.
    Name,
    /// A file that had not been finished is gone: removed or compressed while the agent was down.
    Vanished,
    /// There are more files than the configuration allows.
    TooMany,
}

/// The agent's metrics.
#[derive(Clone, Debug)]
pub(crate) struct AgentMetrics {
    pub(crate) lines: IntCounter,
    pub(crate) bytes: IntCounter,
    pub(crate) cut_lines: IntCounter,
    pub(crate) skipped_bytes: IntCounter,
    pub(crate) batches: IntCounter,
    pub(crate) rotations: IntCounter,
    pub(crate) truncations: IntCounter,
    pub(crate) files_watched: IntGauge,
    pub(crate) files_open: IntGauge,
    errors: IntCounterVec,
}

impl Reason {
    const ALL: [Self; 8] =
        [Self::Stat, Self::Open, Self::Read, Self::Scan, Self::NotAFile, Self::Name, Self::Vanished, Self::TooMany];

    /// Returns the label's value.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Stat => "stat",
            Self::Open => "open",
            Self::Read => "read",
            Self::Scan => "scan",
            Self::NotAFile => "not_a_file",
            Self::Name => "name",
            Self::Vanished => "vanished",
            Self::TooMany => "too_many",
        }
    }
}

impl AgentMetrics {
    /// Registers the metrics.
    ///
    /// # Errors
    /// None but for a bug of ours.
    pub(crate) fn new(metrics: &Metrics) -> Result<Self, MetricsError> {
        let agent = Self {
            lines: metrics.counter("canh_log_agent_lines_total", "Lines read and handed to the spool.")?,
            bytes: metrics
                .counter("canh_log_agent_bytes_total", "Bytes of lines handed to the spool, without their ends.")?,
            cut_lines: metrics
                .counter("canh_log_agent_cut_lines_total", "Lines longer than 1 MiB, handed over cut.")?,
            skipped_bytes: metrics
                .counter("canh_log_agent_skipped_bytes_total", "Bytes of such lines that were not handed over.")?,
            batches: metrics.counter("canh_log_agent_batches_total", "Batches that are durable in the spool.")?,
            rotations: metrics
                .counter("canh_log_agent_rotations_total", "Times another file was found at a watched path.")?,
            truncations: metrics.counter(
                "canh_log_agent_truncations_total",
                "Times a file was found shorter or rewritten and read from its beginning.",
            )?,
            files_watched: metrics.gauge("canh_log_agent_files_watched", "Paths that are watched and exist.")?,
            files_open: metrics.gauge("canh_log_agent_files_open", "Files held open.")?,
            errors: metrics.counters(
                "canh_log_agent_read_errors_total",
                "Attempts to find or read a file that failed, by reason.",
                &["reason"],
            )?,
        };
        // Every reason is there from the beginning, so that a rate over it is.
        Reason::ALL.iter().for_each(|reason| agent.errors.with_label_values(&[reason.as_str()]).inc_by(0));
        Ok(agent)
    }

    /// Counts a failed attempt.
    pub(crate) fn error(&self, reason: Reason) {
        self.errors.with_label_values(&[reason.as_str()]).inc();
    }

    /// Returns how many attempts failed for a reason.
    #[cfg(test)]
    pub(crate) fn errors(&self, reason: Reason) -> u64 {
        self.errors.with_label_values(&[reason.as_str()]).get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reference_page_is_in_step() {
        let metrics = Metrics::new("canh-log-agent", "0").unwrap();
        AgentMetrics::new(&metrics).unwrap();
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        assert_eq!(metrics.stale_page(&root).unwrap(), None, "run with UPDATE_GOLDEN=1 to write it");
    }
}
