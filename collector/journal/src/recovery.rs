//! What was found when a journal was opened or read: what is gone, and why.

use std::path::PathBuf;

use crate::lsn::Lsn;

/// Records that were on disk and cannot be read any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The first record lost.
    pub from: Lsn,
    /// The last record lost.
    pub to: Lsn,
    /// The segment in which it was noticed.
    pub segment: PathBuf,
    /// Where in the segment, in bytes; its length if the segment ends too early.
    pub offset: u64,
}

/// What a crash left half written at the end of the log. None of it was ever acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TornTail {
    /// The first record that is not whole.
    pub at: Lsn,
    /// How many bytes were cut off.
    pub bytes: u64,
}

/// What opening a journal found and did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Whether the journal was made just now.
    pub is_new: bool,
    /// The last record on disk, [`Lsn::ZERO`] if there is none.
    pub durable: Lsn,
    /// The half-written end that was cut off.
    pub torn: Option<TornTail>,
    /// What was lost, as far as opening looks: the headers of all segments and the last segment's
    /// records. A damaged segment is never written again; the log goes on in a new one.
    pub damage: Vec<Damage>,
    /// Files that have a segment's name but are none of this journal's; they were renamed.
    pub quarantined: Vec<PathBuf>,
}

impl Recovery {
    /// Returns whether nothing that was once acknowledged is missing.
    pub fn is_whole(&self) -> bool {
        self.damage.is_empty() && self.quarantined.is_empty()
    }
}
