//! One journal of the spool: the batches of one priority. What must go first is then whole segments
//! from one journal's front, wherever its records stand in the stream.

use std::path::{Path, PathBuf};

use canh_event::RecordSequence;
use canh_journal::{Journal, JournalError, JournalOptions, Lsn, Recovery};

use crate::priority::Priority;

/// Where a segment begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentStart {
    pub(crate) lsn: Lsn,
    /// The sequence of its first record, or of the first to come.
    pub(crate) sequence: RecordSequence,
    /// The turn of its first record.
    pub(crate) turn: u64,
}

/// One journal.
#[derive(Debug)]
pub(crate) struct Lane {
    pub(crate) journal: Journal,
    pub(crate) starts: Vec<SegmentStart>,
}

/// Returns the directory of a priority's journal.
pub(crate) fn lane_dir(spool: &Path, priority: Priority) -> PathBuf {
    match priority {
        Priority::Normal => spool.to_path_buf(),
        Priority::Low | Priority::High => spool.join(priority.as_str()),
    }
}

impl Lane {
    pub(crate) fn open(dir: &Path, segment_bytes: u64) -> Result<(Self, Recovery), JournalError> {
        let (journal, recovery) = Journal::open(dir, JournalOptions { segment_bytes, ..JournalOptions::DEFAULT })?;
        Ok((Self { journal, starts: Vec::new() }, recovery))
    }

    /// Notes where a segment begins; returns whether a new one does.
    pub(crate) fn note_segment(&mut self, lsn: Lsn, sequence: RecordSequence, turn: u64) -> bool {
        let is_new = self.journal.segments().last().is_some_and(|segment| segment.first == lsn);
        if is_new {
            self.starts.push(SegmentStart { lsn, sequence, turn });
        }
        is_new
    }

    /// Returns the start of the first segment that must stay once everything up to a record may go.
    pub(crate) fn first_kept(&self, sequence: RecordSequence) -> Option<SegmentStart> {
        let next = RecordSequence(sequence.0.saturating_add(1));
        self.starts.iter().rfind(|start| start.sequence <= next).copied()
    }

    /// Drops every segment before one that begins at `lsn` or earlier.
    pub(crate) fn drop_before(&mut self, lsn: Lsn) -> Result<(), JournalError> {
        if self.journal.drop_before(lsn)? > 0 {
            let oldest = self.journal.oldest();
            self.starts.retain(|start| start.lsn >= oldest);
        }
        Ok(())
    }

    /// Returns from which journal record on the lane must be read to find a sequence.
    pub(crate) fn place_of(&self, sequence: RecordSequence) -> Lsn {
        let start = self.starts.iter().rfind(|start| start.sequence <= sequence).or(self.starts.first());
        start.map_or(self.journal.next(), |start| start.lsn)
    }
}
