//! What the correlator counts: every event it does not correlate has a reason here.

use serde::{Deserialize, Serialize};

/// Counts over all rules since the correlator saw its first event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Events looked at.
    pub events: u64,
    /// Hits taken in.
    pub hits: u64,
    /// Events further behind their source than the lateness allows.
    pub late: u64,
    /// Events that said to be later than when they were read; that moment stood in.
    pub from_future: u64,
    /// Detections made.
    pub detections: u64,
    /// Times a detection that grew was said again.
    pub updates: u64,
    /// Groups held now.
    pub groups: u64,
    /// Groups dropped because memory is bounded.
    pub groups_dropped: u64,
    /// Bytes of all groups now, roughly.
    pub state_bytes: u64,
    /// Bytes of recent events kept for evidence now.
    pub evidence_bytes: u64,
}

/// Counts of one rule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleCounters {
    /// Events counted.
    pub events: u64,
    /// Detections made.
    pub detections: u64,
    /// Events that lack a field the rule groups by.
    pub ungrouped: u64,
    /// Events that lack a field whose values the rule counts.
    pub without_value: u64,
    /// Events that came too late.
    pub late: u64,
    /// Groups held now.
    pub groups: u64,
    /// Groups dropped because memory is bounded.
    pub groups_dropped: u64,
}
