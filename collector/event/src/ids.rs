//! Names and numbers that identify things: checked when made, so nothing after has to.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// A text that is no valid name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} must be {rule}, got {got:?}")]
pub struct IdError {
    what: &'static str,
    rule: &'static str,
    got: String,
}

impl IdError {
    pub(crate) fn new(what: &'static str, rule: &'static str, got: &str) -> Self {
        // The text is a stranger's: what is shown of it is bounded, and `{:?}` escapes it.
        Self { what, rule, got: got.chars().take(80).collect() }
    }
}

const LABEL_RULE: &str = "1 to 63 characters of a-z, 0-9, '-', '_' or '.', beginning with a letter or digit";
const PRINTABLE_RULE: &str = "1 to 255 bytes without control characters";

fn is_label(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_' | b'.');
    let starts_well = text.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    text.len() <= 63 && starts_well && text.bytes().all(allowed)
}

fn is_printable(text: &str) -> bool {
    !text.is_empty() && text.len() <= 255 && !text.chars().any(char::is_control)
}

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident, $what:literal, $check:ident, $rule:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Returns the name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                if $check(text) { Ok(Self(Arc::from(text))) } else { Err(IdError::new($what, $rule, text)) }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
    };
}

name_type! {
    /// An agent's name. It comes from the agent's certificate, never from a frame.
    AgentId, "an agent name", is_label, LABEL_RULE
}
name_type! {
    /// The agency (department, commune, office) a host belongs to.
    AgencyId, "an agency name", is_label, LABEL_RULE
}
name_type! {
    /// One ordered sequence of records of an agent: `log` or `flow`.
    StreamName, "a stream name", is_label, LABEL_RULE
}
name_type! {
    /// Where on its host a record was read: a path, `journald`, an interface.
    SourceName, "a source name", is_printable, PRINTABLE_RULE
}

/// The place of a record in its stream, counted from 1 and never reused within an [`Epoch`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordSequence(pub u64);

/// The place of a batch in a queue inside one process; what an acknowledgement inside it carries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BatchSeq(pub u64);

/// The life of one spool: 128 random bits drawn when it was created. Sequences of different
/// epochs are not comparable, so a lost or cloned spool is seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub u128);

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// One event's place in the collector's journal: the journal record that holds its batch, and its
/// row in that batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventRef {
    /// The log sequence number of the journal record.
    pub record: u64,
    /// The row in the batch.
    pub row: u16,
}

impl fmt::Display for EventRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.record, self.row)
    }
}

/// Reads `record.row`, as [`EventRef`] is written.
impl FromStr for EventRef {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let refused = || IdError::new("an event reference", "RECORD.ROW, two numbers", text);
        let (record, row) = text.split_once('.').ok_or_else(refused)?;
        Ok(Self { record: record.parse().map_err(|_| refused())?, row: row.parse().map_err(|_| refused())? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_break_out_of_a_path_or_a_label_are_refused() {
        for text in ["", "..", "a/b", "A", "-a", "a b", "a\n", "é", &"a".repeat(64)] {
            assert!(text.parse::<AgentId>().is_err(), "{text:?}");
        }
        for text in ["a", "web-01.so-tttt", "0_x"] {
            assert_eq!(text.parse::<AgentId>().unwrap().as_str(), text);
        }
    }

    #[test]
    fn source_names_hold_no_control_characters() {
        assert!("/var/log/Nhật ký.log".parse::<SourceName>().is_ok());
        assert!("a\x1b[2J".parse::<SourceName>().is_err());
    }

    #[test]
    fn event_reference_text_and_back() {
        let place = EventRef { record: 7, row: 4_095 };
        assert_eq!(place.to_string().parse(), Ok(place));
        assert!("7".parse::<EventRef>().is_err());
        assert!("7.70000".parse::<EventRef>().is_err());
    }
}
