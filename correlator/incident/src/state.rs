//! The life cycle of an incident, as data.
//!
//! ```text
//!            acknowledge       investigate           contain          close(verdict)
//!     new ───────────► acknowledged ─────► investigating ─────► contained ─────► closed
//!      │                    ▲                                                       │
//!      │ (every step may be skipped forwards; close is allowed from every state)    │
//!      └────────────────────┴──────────────────── reopen ◄──────────────────────────┘
//! ```
//!
//! [`TRANSITIONS`] is the whole truth: a (state, verb) pair that is not in it is refused. Verbs
//! that move nothing (assign, comment) are not in it either: they are allowed while an incident is
//! open, and a comment even after.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The station an incident is at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IncidentState {
    /// Nobody has looked at it.
    #[default]
    New,
    /// Somebody has seen it.
    Acknowledged,
    /// Somebody works on it.
    Investigating,
    /// The harm is held in; the cause may still be there.
    Contained,
    /// Done, with a verdict.
    Closed,
}

/// A verb that moves an incident to another state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verb {
    /// Says "I have seen it".
    Acknowledge,
    /// Begins work.
    Investigate,
    /// Says the harm is held in.
    Contain,
    /// Ends it, with a verdict.
    Close,
    /// Takes a closed incident up again.
    Reopen,
}

/// What an incident turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// An attack.
    TruePositive,
    /// The rule is right, what it saw is allowed here.
    Benign,
    /// The rule is wrong.
    FalsePositive,
    /// Another incident already says it.
    Duplicate,
    /// An exercise or a test.
    Test,
    /// Nobody can tell.
    Undetermined,
}

/// A verb that is not allowed in the state the incident is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an incident that is {from} cannot be moved by {verb}")]
pub struct IllegalTransition {
    /// The state.
    pub from: IncidentState,
    /// The verb.
    pub verb: Verb,
}

/// A text that names no state, verb or verdict.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not {what}: {got:?} ({known})")]
pub struct WordError {
    what: &'static str,
    known: &'static str,
    got: String,
}

/// Every move there is: from, verb, to.
pub const TRANSITIONS: &[(IncidentState, Verb, IncidentState)] = {
    use IncidentState::{Acknowledged, Closed, Contained, Investigating, New};
    &[
        (New, Verb::Acknowledge, Acknowledged),
        (New, Verb::Investigate, Investigating),
        (New, Verb::Contain, Contained),
        (New, Verb::Close, Closed),
        (Acknowledged, Verb::Investigate, Investigating),
        (Acknowledged, Verb::Contain, Contained),
        (Acknowledged, Verb::Close, Closed),
        (Investigating, Verb::Contain, Contained),
        (Investigating, Verb::Close, Closed),
        // What was thought contained turns out not to be.
        (Contained, Verb::Investigate, Investigating),
        (Contained, Verb::Close, Closed),
        (Closed, Verb::Reopen, Acknowledged),
    ]
};

impl IncidentState {
    /// Every state, in the order of the life cycle.
    pub const ALL: [Self; 5] = [Self::New, Self::Acknowledged, Self::Investigating, Self::Contained, Self::Closed];

    /// Returns its name in data; it never changes with the language.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Acknowledged => "acknowledged",
            Self::Investigating => "investigating",
            Self::Contained => "contained",
            Self::Closed => "closed",
        }
    }

    /// Returns whether somebody still has to do something about it.
    pub const fn is_open(self) -> bool {
        !matches!(self, Self::Closed)
    }

    /// Returns the state `verb` leads to.
    ///
    /// # Errors
    /// [`IllegalTransition`] if [`TRANSITIONS`] has no such move.
    pub fn transition(self, verb: Verb) -> Result<Self, IllegalTransition> {
        let found = TRANSITIONS.iter().find(|(from, by, _)| *from == self && *by == verb);
        found.map(|(_, _, to)| *to).ok_or(IllegalTransition { from: self, verb })
    }
}

impl Verb {
    /// Every verb.
    pub const ALL: [Self; 5] = [Self::Acknowledge, Self::Investigate, Self::Contain, Self::Close, Self::Reopen];

    /// Returns its name in data.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Acknowledge => "acknowledge",
            Self::Investigate => "investigate",
            Self::Contain => "contain",
            Self::Close => "close",
            Self::Reopen => "reopen",
        }
    }
}

impl Verdict {
    /// Every verdict.
    pub const ALL: [Self; 6] =
        [Self::TruePositive, Self::Benign, Self::FalsePositive, Self::Duplicate, Self::Test, Self::Undetermined];

    /// Returns its name in data.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TruePositive => "true_positive",
            Self::Benign => "benign",
            Self::FalsePositive => "false_positive",
            Self::Duplicate => "duplicate",
            Self::Test => "test",
            Self::Undetermined => "undetermined",
        }
    }
}

impl fmt::Display for IncidentState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Reads a state's name, and `ack`.
impl FromStr for IncidentState {
    type Err = WordError;

    fn from_str(text: &str) -> Result<Self, WordError> {
        if text == "ack" {
            return Ok(Self::Acknowledged);
        }
        let known = "new, acknowledged, investigating, contained, closed";
        find_word(&Self::ALL, Self::as_str, text, "a state", known)
    }
}

/// Reads a verdict's name, and the short forms `tp`, `btp`, `fp`, `dup`.
impl FromStr for Verdict {
    type Err = WordError;

    fn from_str(text: &str) -> Result<Self, WordError> {
        let full = match text {
            "tp" => "true_positive",
            "btp" => "benign",
            "fp" => "false_positive",
            "dup" => "duplicate",
            other => other,
        };
        let known = "tp, btp, fp, dup, test, undetermined";
        find_word(&Self::ALL, Self::as_str, full, "a verdict", known)
    }
}

fn find_word<T: Copy>(
    all: &[T],
    name: impl Fn(T) -> &'static str,
    text: &str,
    what: &'static str,
    known: &'static str,
) -> Result<T, WordError> {
    let found = all.iter().copied().find(|word| name(*word) == text);
    found.ok_or_else(|| WordError { what, known, got: text.chars().take(40).collect() })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table once more, as a picture: rows are states, columns verbs in the order of `Verb::ALL`.
    const PICTURE: [(IncidentState, [Option<IncidentState>; 5]); 5] = {
        use IncidentState::{Acknowledged as A, Closed as X, Contained as C, Investigating as I, New};
        [
            (New, [Some(A), Some(I), Some(C), Some(X), None]),
            (A, [None, Some(I), Some(C), Some(X), None]),
            (I, [None, None, Some(C), Some(X), None]),
            (C, [None, Some(I), None, Some(X), None]),
            (X, [None, None, None, None, Some(A)]),
        ]
    };

    #[test]
    fn every_pair_of_state_and_verb_does_what_the_picture_says() {
        for (from, row) in PICTURE {
            for (verb, to) in Verb::ALL.into_iter().zip(row) {
                assert_eq!(from.transition(verb).ok(), to, "{from} {verb}");
            }
        }
    }

    #[test]
    fn no_move_stands_in_the_table_twice() {
        for (index, (from, verb, _)) in TRANSITIONS.iter().enumerate() {
            let again = TRANSITIONS[index + 1..].iter().any(|(other, by, _)| other == from && by == verb);
            assert!(!again, "{from} {verb}");
        }
    }

    #[test]
    fn every_state_can_be_closed_and_none_is_left_without_a_way_on() {
        for state in IncidentState::ALL {
            assert!(TRANSITIONS.iter().any(|(from, _, _)| *from == state), "{state}");
            assert!(state == IncidentState::Closed || state.transition(Verb::Close).is_ok(), "{state}");
        }
    }

    #[test]
    fn names_in_data_are_the_names_in_text() {
        for verdict in Verdict::ALL {
            assert_eq!(serde_json::to_string(&verdict).unwrap(), format!("\"{verdict}\""));
            assert_eq!(verdict.as_str().parse(), Ok(verdict));
        }
        for state in IncidentState::ALL {
            assert_eq!(serde_json::to_string(&state).unwrap(), format!("\"{state}\""));
            assert_eq!(state.as_str().parse(), Ok(state));
        }
        assert_eq!("fp".parse(), Ok(Verdict::FalsePositive));
        assert!("done".parse::<IncidentState>().is_err());
    }
}
