//! One change of one incident: what the ledger keeps and the book is a fold of.

use canh_event::Timestamp;
use serde::{Deserialize, Serialize};

use crate::detection::Detection;
use crate::entity::Entity;
use crate::number::IncidentNumber;
use crate::schema::SCHEMA_VERSION;
use crate::state::Verdict;

/// Longest note or comment, in bytes.
pub const MAX_NOTE_BYTES: usize = 8_192;

/// Longest name of an owner or of a user, in bytes.
pub const MAX_NAME_BYTES: usize = 128;

/// Who made a change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Actor {
    /// The correlator, by a rule.
    Correlator,
    /// A person, by the name the machine knows them by.
    User {
        /// The user name.
        name: String,
        /// The number the kernel vouches for, if the person came over the local socket.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        uid: Option<u32>,
    },
}

/// Why a detection was put into the incident it is in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grouping {
    /// The rule of grouping that applied.
    pub by: GroupedBy,
    /// One English sentence; it may hold an entity's name, an attacker's text.
    pub text: String,
    /// The entities shared with the incident, if that is why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shared: Vec<Entity>,
}

/// The rules of grouping.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GroupedBy {
    /// Nothing open fits: it opens an incident.
    Nothing,
    /// It is the same detection, grown.
    SameDetection,
    /// The same rule was met by the same group before.
    SameGroup,
    /// It is built on a detection of the incident.
    BuiltOn,
    /// It is about something the incident is about.
    SharedEntity,
}

/// What a change does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum ChangeKind {
    /// The incident comes to be.
    Opened {
        /// What it is opened by.
        detection: Box<Detection>,
        /// Why it is an incident of its own.
        grouping: Grouping,
        /// Incidents it has to do with, such as one that was closed.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        related: Vec<IncidentNumber>,
    },
    /// A detection joins, or one that is in it has grown.
    Grown {
        /// The detection, or its update.
        detection: Box<Detection>,
        /// Why it belongs here.
        grouping: Grouping,
    },
    /// Somebody has seen it.
    Acknowledged {
        /// A word about it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        note: Option<String>,
    },
    /// Somebody works on it.
    Investigating {
        /// A word about it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        note: Option<String>,
    },
    /// The harm is held in.
    Contained {
        /// A word about it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        note: Option<String>,
    },
    /// It has another owner.
    Assigned {
        /// The new owner; `None` for nobody.
        to: Option<String>,
        /// A word about it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        note: Option<String>,
    },
    /// Somebody says something.
    Commented {
        /// What.
        note: String,
    },
    /// It is done.
    Closed {
        /// What it turned out to be.
        verdict: Verdict,
        /// A word about it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        note: Option<String>,
    },
    /// It is taken up again.
    Reopened {
        /// A word about it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        note: Option<String>,
    },
}

/// One change of one incident.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// The version of this shape.
    pub schema_version: u32,
    /// The incident.
    pub number: IncidentNumber,
    /// When: wall time for a person's change, event time for the correlator's.
    #[serde(with = "crate::as_text")]
    pub at: Timestamp,
    /// Who.
    pub actor: Actor,
    /// From where: `unix`, an address, a host; empty for the correlator's own.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub from: String,
    /// What.
    pub kind: ChangeKind,
}

impl Actor {
    /// Returns the name to show.
    pub fn name(&self) -> &str {
        match self {
            Self::Correlator => "correlator",
            Self::User { name, .. } => name,
        }
    }
}

impl GroupedBy {
    /// Returns its name in data.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::SameDetection => "same_detection",
            Self::SameGroup => "same_group",
            Self::BuiltOn => "built_on",
            Self::SharedEntity => "shared_entity",
        }
    }
}

impl ChangeKind {
    /// Returns its name in data.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Opened { .. } => "opened",
            Self::Grown { .. } => "grown",
            Self::Acknowledged { .. } => "acknowledged",
            Self::Investigating { .. } => "investigating",
            Self::Contained { .. } => "contained",
            Self::Assigned { .. } => "assigned",
            Self::Commented { .. } => "commented",
            Self::Closed { .. } => "closed",
            Self::Reopened { .. } => "reopened",
        }
    }

    /// Returns the detection it carries, if it carries one.
    pub fn detection(&self) -> Option<&Detection> {
        match self {
            Self::Opened { detection, .. } | Self::Grown { detection, .. } => Some(detection),
            _ => None,
        }
    }

    /// Returns what the person said with it.
    pub fn note(&self) -> Option<&str> {
        match self {
            Self::Opened { .. } | Self::Grown { .. } => None,
            Self::Commented { note } => Some(note),
            Self::Acknowledged { note }
            | Self::Investigating { note }
            | Self::Contained { note }
            | Self::Assigned { note, .. }
            | Self::Closed { note, .. }
            | Self::Reopened { note } => note.as_deref(),
        }
    }
}

impl Change {
    /// Returns a change of the correlator's own, at an event time.
    pub fn of_correlator(number: IncidentNumber, at: Timestamp, kind: ChangeKind) -> Self {
        Self { schema_version: SCHEMA_VERSION, number, at, actor: Actor::Correlator, from: String::new(), kind }
    }
}
