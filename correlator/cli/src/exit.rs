//! What the process says to its caller: an exit code and, when something went wrong, three lines on
//! stderr: what failed and where, why, and what to do about it.
//!
//! The codes are a promise to scripts; `tests/exit_codes.rs` holds them.

use std::fmt::Display;
use std::io::Write;

use canh_incident::escape_for_terminal;

/// How the process ends. The numbers are stable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// What was asked is done.
    Done = 0,
    /// A fault of ours, or one nobody can act on from here.
    Internal = 1,
    /// The words on the command line make no sense together.
    Usage = 2,
    /// An incident or rule that does not exist, or an empty answer under `--fail-empty`.
    /// `canh rules` also ends so on findings: `check` when it refused a rule, `test` when a case does
    /// not hold, `armed` when nothing feeds a rule.
    NotFound = 3,
    /// This user may not do that.
    Permission = 4,
    /// Somebody else was faster, or the life cycle does not allow the step.
    Conflict = 5,
    /// The daemon cannot be reached or does not answer in time: trying again may help.
    Unreachable = 6,
    /// Some targets went well, some did not; stderr says which.
    Partial = 7,
    /// What must add up does not: a record was lost or doubled without a reason.
    Integrity = 8,
}

/// Why a command did not do what it was asked.
#[derive(Debug)]
pub(crate) struct Failure {
    exit: Exit,
    what: String,
    why: Option<String>,
    hint: Option<String>,
}

impl Exit {
    /// Returns the number the shell sees.
    pub(crate) const fn code(self) -> u8 {
        self as u8
    }
}

impl Failure {
    /// Returns a failure that says what failed, and where.
    pub(crate) fn new(exit: Exit, what: impl Into<String>) -> Self {
        Self { exit, what: what.into(), why: None, hint: None }
    }

    /// Returns a failure of the words on the command line.
    pub(crate) fn usage(what: impl Into<String>) -> Self {
        Self::new(Exit::Usage, what)
    }

    /// Adds why it failed.
    pub(crate) fn why(self, why: impl Display) -> Self {
        Self { why: Some(why.to_string()), ..self }
    }

    /// Adds why it failed: an error and everything that caused it.
    pub(crate) fn because(self, error: &(dyn std::error::Error + 'static)) -> Self {
        let mut chain = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            chain.push_str(": ");
            chain.push_str(&error.to_string());
            cause = error.source();
        }
        self.why(chain)
    }

    /// Adds what to do about it.
    pub(crate) fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// Returns how the process is to end.
    pub(crate) const fn exit(&self) -> Exit {
        self.exit
    }

    /// Writes it for a person. Parts of it may be a stranger's words, so all of it is escaped.
    pub(crate) fn print(&self, talk: &mut dyn Write) {
        // Nobody is left to tell when stderr itself is gone.
        let _ = writeln!(talk, "canh: {}", escape_for_terminal(&self.what));
        if let Some(why) = &self.why {
            let _ = writeln!(talk, "  why: {}", escape_for_terminal(why));
        }
        if let Some(hint) = &self.hint {
            let _ = writeln!(talk, "  do:  {}", escape_for_terminal(hint));
        }
    }
}

impl From<std::io::Error> for Failure {
    /// A failed write of the answer. A reader that has gone away (`canh list | head -1`) is no
    /// failure: the shell sees 0 and nobody hears anything.
    fn from(error: std::io::Error) -> Self {
        if error.kind() == std::io::ErrorKind::BrokenPipe {
            return Self::new(Exit::Done, String::new());
        }
        Self::new(Exit::Internal, "the answer could not be written to stdout").why(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_why_and_what_to_do_and_nothing_hostile() {
        let failure = Failure::new(Exit::NotFound, "no incident \x1b[31mX").why("gone").hint("canh list");
        let mut talk = Vec::new();
        failure.print(&mut talk);
        let talk = String::from_utf8(talk).unwrap();
        assert_eq!(talk, "canh: no incident \\x1b[31mX\n  why: gone\n  do:  canh list\n");
    }

    #[test]
    fn codes_are_those_of_the_manual() {
        let codes = [
            Exit::Done,
            Exit::Internal,
            Exit::Usage,
            Exit::NotFound,
            Exit::Permission,
            Exit::Conflict,
            Exit::Unreachable,
            Exit::Partial,
            Exit::Integrity,
        ];
        assert_eq!(codes.map(Exit::code), [0, 1, 2, 3, 4, 5, 6, 7, 8]);
    }
}
