//! How the correlator is, and which rules it runs.

use canh_event::Timestamp;
use serde::{Deserialize, Serialize};

use crate::severity::Severity;

/// `GET /v1/status`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CorrelatorStatus {
    /// The version of this shape.
    pub schema_version: u32,
    /// The correlator's release.
    pub release: String,
    /// When it was started.
    #[serde(with = "crate::as_text")]
    pub started: Timestamp,
    /// The journal position up to which events have been correlated.
    pub position: u64,
    /// The last journal position that is durable: the difference is the lag.
    pub journal_position: u64,
    /// The highest event time seen.
    #[serde(with = "crate::as_text::option", default)]
    pub event_time: Option<Timestamp>,
    /// How many events have been looked at since the start.
    pub events: u64,
    /// How many rules are armed, correlations included.
    pub rules: u64,
    /// How many rules were refused at the last load.
    pub rules_refused: u64,
    /// How many incidents there are.
    pub incidents: u64,
    /// How many of them are open.
    pub incidents_open: u64,
    /// How many groups the correlations hold in memory.
    pub groups: u64,
    /// How many groups were dropped because memory is bounded.
    pub groups_dropped: u64,
    /// How many events came too late to be correlated.
    pub events_late: u64,
}

/// `GET /v1/rules`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleList {
    /// The version of this shape.
    pub schema_version: u32,
    /// The rules that are armed.
    pub rules: Vec<RuleStatus>,
    /// The rules that were refused.
    pub refused: Vec<RefusedRule>,
}

/// One armed rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleStatus {
    /// Its id.
    pub id: String,
    /// Its title.
    pub title: String,
    /// Its level.
    pub level: Severity,
    /// `detection`, or the kind of correlation.
    pub kind: String,
    /// The file it stands in.
    pub path: String,
    /// How often it was met since the correlator was started.
    pub hits: u64,
}

/// One rule that was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedRule {
    /// The file.
    pub path: String,
    /// The line, from 1.
    pub line: u64,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// The body of every answer that is an error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiError {
    /// The version of this shape.
    pub schema_version: u32,
    /// What kind of error, a word that does not change: `not_found`, `bad_request`, ...
    pub code: String,
    /// What is wrong and what to do.
    pub message: String,
}
