//! What a person asks to be done, and what became of it, incident by incident.

use serde::{Deserialize, Serialize};

use crate::action::{Action, ActionDetails, ActionError};
use crate::number::IncidentNumber;
use crate::schema::SCHEMA_VERSION;
use crate::state::{IncidentState, Verdict};

/// One action on one or many incidents: `POST /v1/incidents/actions`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActionRequest {
    /// The incidents.
    pub ids: Vec<IncidentNumber>,
    /// What to do.
    pub action: Action,
    /// A word about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// The verdict of a closing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
    /// The new owner of an assignment; absent for nobody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// Only if the incident still has this version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_version: Option<u64>,
}

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActionResult {
    /// The version of this shape.
    pub schema_version: u32,
    /// One entry for each id, in the order asked.
    pub results: Vec<ActionOutcome>,
}

/// What became of one incident.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActionOutcome {
    /// The incident.
    pub number: IncidentNumber,
    /// What became of it.
    pub outcome: OutcomeKind,
    /// Its version now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    /// Its state now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<IncidentState>,
    /// What was wrong and what to do, for outcomes that are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// What became of one incident, in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutcomeKind {
    /// It was done.
    Done,
    /// It was so already.
    Unchanged,
    /// There is no such incident.
    NotFound,
    /// Somebody was faster: the version differs.
    Conflict,
    /// The life cycle does not allow it.
    Illegal,
    /// The request lacks something or has too much of it.
    Invalid,
    /// The caller may not do it.
    Denied,
    /// It could not be stored.
    Failed,
}

impl ActionRequest {
    /// Returns what goes with the action.
    pub fn details(&self) -> ActionDetails {
        ActionDetails {
            note: self.note.clone(),
            verdict: self.verdict,
            to: self.to.clone(),
            if_version: self.if_version,
        }
    }
}

impl ActionResult {
    /// Returns the result of its parts.
    pub fn new(results: Vec<ActionOutcome>) -> Self {
        Self { schema_version: SCHEMA_VERSION, results }
    }
}

impl ActionOutcome {
    /// Returns the outcome of a refused action; the causes are written into the message.
    pub fn refused(number: IncidentNumber, error: &ActionError) -> Self {
        let outcome = match error {
            ActionError::NotFound { .. } => OutcomeKind::NotFound,
            ActionError::Conflict { .. } => OutcomeKind::Conflict,
            ActionError::Illegal { .. } => OutcomeKind::Illegal,
            ActionError::Missing { .. } | ActionError::BadText { .. } => OutcomeKind::Invalid,
        };
        let mut message = error.to_string();
        let mut cause = std::error::Error::source(error);
        while let Some(error) = cause {
            message.push_str(&format!(": {error}"));
            cause = error.source();
        }
        let version = if let ActionError::Conflict { version, .. } = error { Some(*version) } else { None };
        Self { number, outcome, version, state: None, message: Some(message) }
    }
}
