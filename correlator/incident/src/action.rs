//! What a person asks for, checked and turned into a change.

use canh_event::Timestamp;
use serde::{Deserialize, Serialize};

use crate::book::{ChangeError, IncidentBook};
use crate::change::{Actor, Change, ChangeKind, MAX_NAME_BYTES, MAX_NOTE_BYTES};
use crate::incident::Incident;
use crate::number::IncidentNumber;
use crate::schema::SCHEMA_VERSION;
use crate::state::{IncidentState, Verb, Verdict};

/// What a person can do to an incident.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Say "I have seen it". Doing it again changes nothing.
    Acknowledge,
    /// Begin work.
    Investigate,
    /// Say the harm is held in.
    Contain,
    /// Give it to somebody (`to`), or to nobody.
    Assign,
    /// Say something (`note`).
    Comment,
    /// End it, with a `verdict`.
    Close,
    /// Take it up again.
    Reopen,
}

/// What goes with an action.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ActionDetails {
    /// A word about it.
    pub note: Option<String>,
    /// The verdict of a closing.
    pub verdict: Option<Verdict>,
    /// The new owner.
    pub to: Option<String>,
    /// Only if the incident still has this version.
    pub if_version: Option<u64>,
}

/// An action that cannot be done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ActionError {
    /// There is no such incident.
    #[error("there is no incident {number}")]
    NotFound {
        /// The number given.
        number: IncidentNumber,
    },
    /// Somebody was faster.
    #[error("incident {number} is at version {version}, not {wanted}: {by} changed it at {at}")]
    Conflict {
        /// The incident.
        number: IncidentNumber,
        /// The version it is at.
        version: u64,
        /// The version wanted.
        wanted: u64,
        /// Who made the last stamped change, if anybody.
        by: String,
        /// When it was last changed.
        at: Timestamp,
    },
    /// The life cycle does not allow it.
    #[error("{action} is not possible")]
    Illegal {
        /// The action.
        action: &'static str,
        /// Why.
        #[source]
        source: ChangeError,
    },
    /// The action lacks something.
    #[error("{action} needs {needs}")]
    Missing {
        /// The action.
        action: &'static str,
        /// What it needs.
        needs: &'static str,
    },
    /// A text is too long, or a name holds what no name may.
    #[error("{what} must be at most {limit} bytes, without control characters if it is a name")]
    BadText {
        /// Which text.
        what: &'static str,
        /// The bound.
        limit: usize,
    },
}

impl Action {
    /// Every action.
    pub const ALL: [Self; 7] =
        [Self::Acknowledge, Self::Investigate, Self::Contain, Self::Assign, Self::Comment, Self::Close, Self::Reopen];

    /// Returns its name in data.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Acknowledge => "acknowledge",
            Self::Investigate => "investigate",
            Self::Contain => "contain",
            Self::Assign => "assign",
            Self::Comment => "comment",
            Self::Close => "close",
            Self::Reopen => "reopen",
        }
    }

    fn verb(self) -> Option<Verb> {
        match self {
            Self::Acknowledge => Some(Verb::Acknowledge),
            Self::Investigate => Some(Verb::Investigate),
            Self::Contain => Some(Verb::Contain),
            Self::Close => Some(Verb::Close),
            Self::Reopen => Some(Verb::Reopen),
            Self::Assign | Self::Comment => None,
        }
    }
}

/// Turns an action into a change, checked against the book so that applying it cannot fail.
/// `None` if there is nothing to change: acknowledging what is acknowledged, assigning it to whom
/// it is assigned, moving it where it is.
///
/// # Errors
/// [`ActionError`], which says what to do about it.
pub fn plan_action(
    book: &IncidentBook,
    number: IncidentNumber,
    action: Action,
    details: &ActionDetails,
    actor: Actor,
    at: Timestamp,
    from: &str,
) -> Result<Option<Change>, ActionError> {
    let incident = book.get(number).ok_or(ActionError::NotFound { number })?;
    check_texts(details)?;
    check_version(incident, details)?;
    let note = details.note.clone().filter(|note| !note.is_empty());
    if is_done(incident, action, details) && note.is_none() {
        return Ok(None);
    }
    let missing = |needs| ActionError::Missing { action: action.as_str(), needs };
    let kind = match action {
        // What was meant as a word with an action that is done already is still a word.
        _ if is_done(incident, action, details) => ChangeKind::Commented { note: note.unwrap_or_default() },
        Action::Acknowledge => ChangeKind::Acknowledged { note },
        Action::Investigate => ChangeKind::Investigating { note },
        Action::Contain => ChangeKind::Contained { note },
        Action::Assign => ChangeKind::Assigned { to: details.to.clone(), note },
        Action::Comment => ChangeKind::Commented { note: note.ok_or_else(|| missing("a note"))? },
        Action::Close => {
            let verdict = details.verdict.ok_or_else(|| missing("a verdict"))?;
            ChangeKind::Closed { verdict, note }
        }
        Action::Reopen => ChangeKind::Reopened { note },
    };
    check_life_cycle(incident, action, &kind)?;
    Ok(Some(Change { schema_version: SCHEMA_VERSION, number, at, actor, from: from.to_owned(), kind }))
}

fn check_texts(details: &ActionDetails) -> Result<(), ActionError> {
    if details.note.as_ref().is_some_and(|note| note.len() > MAX_NOTE_BYTES) {
        return Err(ActionError::BadText { what: "a note", limit: MAX_NOTE_BYTES });
    }
    let is_bad = |name: &String| name.is_empty() || name.len() > MAX_NAME_BYTES || name.chars().any(char::is_control);
    if details.to.as_ref().is_some_and(is_bad) {
        return Err(ActionError::BadText { what: "an owner", limit: MAX_NAME_BYTES });
    }
    Ok(())
}

fn check_version(incident: &Incident, details: &ActionDetails) -> Result<(), ActionError> {
    let Some(wanted) = details.if_version.filter(|wanted| *wanted != incident.version) else { return Ok(()) };
    let stamp = incident.closed.as_ref().or(incident.acknowledged.as_ref());
    let by = stamp.map_or_else(|| "correlator".to_owned(), |stamp| stamp.by.clone());
    let (number, version, at) = (incident.number, incident.version, incident.updated);
    Err(ActionError::Conflict { number, version, wanted, by, at })
}

/// Returns whether the incident already is as the action would make it.
fn is_done(incident: &Incident, action: Action, details: &ActionDetails) -> bool {
    match action {
        Action::Acknowledge => !matches!(incident.state, IncidentState::New | IncidentState::Closed),
        Action::Investigate => incident.state == IncidentState::Investigating,
        Action::Contain => incident.state == IncidentState::Contained,
        Action::Assign => incident.state.is_open() && incident.owner == details.to,
        Action::Close => !incident.state.is_open() && incident.verdict == details.verdict,
        Action::Reopen | Action::Comment => false,
    }
}

fn check_life_cycle(incident: &Incident, action: Action, kind: &ChangeKind) -> Result<(), ActionError> {
    let number = incident.number;
    let illegal = |source| ActionError::Illegal { action: action.as_str(), source };
    match kind {
        ChangeKind::Commented { .. } => Ok(()),
        ChangeKind::Assigned { .. } if !incident.state.is_open() => Err(illegal(ChangeError::IsClosed { number })),
        _ => match action.verb().map(|verb| incident.state.transition(verb)) {
            Some(Err(source)) => Err(illegal(ChangeError::Illegal { number, source })),
            _ => Ok(()),
        },
    }
}

#[cfg(test)]
mod tests;
