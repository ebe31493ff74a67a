//! Incidents as the API shows them.
//!
//! Text that comes from logs stands as it is: whoever shows it escapes it.

use canh_event::{AgencyId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::detection::Detection;
use crate::entity::Entity;
use crate::incident::{HistoryEntry, Incident};
use crate::number::IncidentNumber;
use crate::schema::SCHEMA_VERSION;
use crate::severity::Severity;
use crate::state::{IncidentState, Verdict};

/// Most entities shown in a summary.
const SUMMARY_ENTITIES: usize = 8;

/// One incident in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IncidentSummary {
    /// The version of this shape.
    pub schema_version: u32,
    /// Its number, `INC-26-000017`.
    pub number: IncidentNumber,
    /// Its version, for `if_version`.
    pub version: u64,
    /// The title of its most severe detection's rule.
    pub title: String,
    /// The id of that rule.
    pub rule_id: String,
    /// How bad.
    pub severity: Severity,
    /// Where it is in its life.
    pub state: IncidentState,
    /// What it turned out to be, once closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
    /// Whose it is.
    #[serde(default)]
    pub owner: Option<String>,
    /// The agency concerned.
    #[serde(with = "crate::as_text::option", default)]
    pub agency: Option<AgencyId>,
    /// When it was opened, in event time.
    #[serde(with = "crate::as_text")]
    pub opened: Timestamp,
    /// When it was last changed.
    #[serde(with = "crate::as_text")]
    pub updated: Timestamp,
    /// Time of its first event.
    #[serde(with = "crate::as_text")]
    pub first_seen: Timestamp,
    /// Time of its last event.
    #[serde(with = "crate::as_text")]
    pub last_seen: Timestamp,
    /// How many detections it has.
    pub detections: u32,
    /// How many events those count together.
    pub events: u64,
    /// How many comments it has.
    #[serde(default)]
    pub comments: u32,
    /// The first few things it is about.
    #[serde(default)]
    pub entities: Vec<Entity>,
}

/// A page of a list, newest incident first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IncidentPage {
    /// The version of this shape.
    pub schema_version: u32,
    /// How many incidents match, on all pages.
    pub total: u64,
    /// Give this as `after` to get the next page; absent on the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<IncidentNumber>,
    /// The incidents.
    pub incidents: Vec<IncidentSummary>,
}

/// One incident in full.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IncidentDetail {
    /// The version of this shape.
    pub schema_version: u32,
    /// Its head.
    pub incident: Incident,
    /// Its detections with their evidence, in the order they joined. Why the incident was opened
    /// stands in the first one's `why` and in the first line of the history.
    pub detections: Vec<Detection>,
    /// What happened to it, oldest first.
    pub history: Vec<HistoryEntry>,
}

impl IncidentSummary {
    /// Returns the summary of an incident.
    pub fn of(incident: &Incident) -> Self {
        Self {
            schema_version: SCHEMA_VERSION,
            number: incident.number,
            version: incident.version,
            title: incident.title.clone(),
            rule_id: incident.rule_id.clone(),
            severity: incident.severity,
            state: incident.state,
            verdict: incident.verdict,
            owner: incident.owner.clone(),
            agency: incident.agency.clone(),
            opened: incident.opened,
            updated: incident.updated,
            first_seen: incident.seen.first,
            last_seen: incident.seen.last,
            detections: incident.detections,
            events: incident.events,
            comments: incident.comments,
            entities: incident.entities.iter().take(SUMMARY_ENTITIES).cloned().collect(),
        }
    }
}

impl IncidentDetail {
    /// Returns an incident in full.
    pub fn new(incident: Incident, detections: Vec<Detection>, history: Vec<HistoryEntry>) -> Self {
        Self { schema_version: SCHEMA_VERSION, incident, detections, history }
    }
}
