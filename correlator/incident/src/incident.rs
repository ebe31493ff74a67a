//! An incident's head: everything but its detections and its history, small enough that a hundred
//! thousand are held in memory.

use canh_event::{AgencyId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::change::{Actor, Change, ChangeKind, Grouping};
use crate::detection::{Detection, DetectionId, Window};
use crate::entity::{Entity, EntityKind};
use crate::number::IncidentNumber;
use crate::schema::SCHEMA_VERSION;
use crate::severity::Severity;
use crate::state::{IncidentState, Verdict};

/// Most entities kept in an incident's head.
pub const MAX_INCIDENT_ENTITIES: usize = 64;

/// Most other incidents one is linked to.
pub const MAX_RELATED: usize = 32;

/// An incident's head.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Incident {
    /// The version of this shape.
    pub schema_version: u32,
    /// Its number.
    pub number: IncidentNumber,
    /// How many changes it has seen; what `if_version` compares.
    pub version: u64,
    /// The title of the rule that is its most severe detection.
    pub title: String,
    /// The id of that rule.
    pub rule_id: String,
    /// The severity of that detection.
    pub severity: Severity,
    /// Whether that detection is built on others: at the same severity it says more.
    #[serde(default)]
    pub is_title_built_on: bool,
    /// Where it is in its life.
    pub state: IncidentState,
    /// What it turned out to be, once closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
    /// Whose it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// The agency concerned.
    #[serde(with = "crate::as_text::option", default, skip_serializing_if = "Option::is_none")]
    pub agency: Option<AgencyId>,
    /// When it was opened, in event time.
    #[serde(with = "crate::as_text")]
    pub opened: Timestamp,
    /// When the last change was made.
    #[serde(with = "crate::as_text")]
    pub updated: Timestamp,
    /// From its first event to its last.
    pub seen: Window,
    /// When it was first acknowledged, and by whom.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acknowledged: Option<Stamp>,
    /// When it was last closed, and by whom.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed: Option<Stamp>,
    /// How many detections it has.
    pub detections: u32,
    /// How many events those count together. An event that two rules count, counts twice.
    pub events: u64,
    /// How many comments it has.
    #[serde(default)]
    pub comments: u32,
    /// How often it was reopened.
    #[serde(default)]
    pub reopened: u32,
    /// Who and what it is about.
    #[serde(default)]
    pub entities: Vec<Entity>,
    /// Entities that had no room.
    #[serde(default)]
    pub entities_left_out: u64,
    /// Incidents it has to do with.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub related: Vec<IncidentNumber>,
}

/// A moment and the person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    /// When.
    #[serde(with = "crate::as_text")]
    pub at: Timestamp,
    /// Who.
    pub by: String,
}

/// One line of an incident's history: a change without the detection's body. An update of a
/// detection that is in the incident already is no line; the count says it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryEntry {
    /// The incident's version after it.
    pub version: u64,
    /// When.
    #[serde(with = "crate::as_text")]
    pub at: Timestamp,
    /// Who.
    pub actor: Actor,
    /// From where.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub from: String,
    /// What, by its name in data: `opened`, `grown`, `acknowledged`, ...
    pub what: String,
    /// What the person said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// The new owner of an assignment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// The verdict of a closing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
    /// The detection that joined.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detection: Option<DetectionId>,
    /// Why it joined.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grouping: Option<Grouping>,
}

impl Incident {
    /// Returns the head of an incident just opened by a detection.
    pub(crate) fn open(number: IncidentNumber, at: Timestamp, detection: &Detection) -> Self {
        Self {
            schema_version: SCHEMA_VERSION,
            number,
            version: 0,
            title: detection.rule_title.clone(),
            rule_id: detection.rule_id.clone(),
            severity: detection.level,
            is_title_built_on: !detection.built_on.is_empty(),
            state: IncidentState::New,
            verdict: None,
            owner: None,
            agency: detection.agency.clone(),
            opened: at,
            updated: at,
            seen: detection.window,
            acknowledged: None,
            closed: None,
            detections: 0,
            events: 0,
            comments: 0,
            reopened: 0,
            entities: Vec::new(),
            entities_left_out: 0,
            related: Vec::new(),
        }
    }

    /// Takes in what a detection says about the whole: title, severity, span, entities.
    pub(crate) fn take_in(&mut self, detection: &Detection) {
        let rank = (detection.level, !detection.built_on.is_empty());
        if rank > (self.severity, self.is_title_built_on) {
            self.title.clone_from(&detection.rule_title);
            self.rule_id.clone_from(&detection.rule_id);
            (self.severity, self.is_title_built_on) = rank;
        }
        self.seen = self.seen.join(detection.window);
        for entity in &detection.entities {
            if self.has_entity(entity.kind, &entity.value) {
                continue;
            }
            if self.entities.len() < MAX_INCIDENT_ENTITIES {
                self.entities.push(entity.clone());
            } else {
                self.entities_left_out += 1;
            }
        }
    }

    /// Returns whether the incident is about an entity.
    pub fn has_entity(&self, kind: EntityKind, value: &str) -> bool {
        self.entities.iter().any(|entity| entity.kind == kind && entity.value == value)
    }
}

impl HistoryEntry {
    /// Returns the line for a change that brought an incident to `version`.
    pub fn of_change(change: &Change, version: u64) -> Self {
        let (mut to, mut verdict, mut grouping) = (None, None, None);
        match &change.kind {
            ChangeKind::Assigned { to: owner, .. } => to.clone_from(owner),
            ChangeKind::Closed { verdict: found, .. } => verdict = Some(*found),
            ChangeKind::Opened { grouping: reason, .. } | ChangeKind::Grown { grouping: reason, .. } => {
                grouping = Some(reason.clone());
            }
            _ => {}
        }
        Self {
            version,
            at: change.at,
            actor: change.actor.clone(),
            from: change.from.clone(),
            what: change.kind.as_str().to_owned(),
            note: change.kind.note().map(str::to_owned),
            to,
            verdict,
            detection: change.kind.detection().map(|detection| detection.id.clone()),
            grouping,
        }
    }
}
