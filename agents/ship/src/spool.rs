//! The spool: batches that are not acknowledged, on disk, with the cursors of their sources.
//!
//! Comes in: packed batches and cursors; acknowledgements. Goes out: the place of each batch in
//! the stream, once it is durable. The spool is bounded in bytes; what does not fit waits outside.
//!
//! ```text
//!  segment           segment           segment (being written)
//!  │K│ R R R R R R │ │R│K│ R R R R R │ │R│K│ R R
//!   ▲ checkpoint: all cursors, epoch, next sequence; one near the start of each segment
//! ```
//!
//! Acknowledged segments are dropped whole, never the one with the last checkpoint, so that a start
//! finds every cursor in the last segment or two.

use std::path::{Path, PathBuf};

use canh_event::{Epoch, RecordSequence, SourceName, StreamName};
use canh_journal::{DiskFs, Fs, FsError, Journal, JournalError, JournalOptions, Lsn, ReadError, Recovery};
use canh_wire::StreamState;
use tracing::{error, info};

use crate::replay::{Replayed, SegmentStart, replay};
use crate::spooled::{
    Checkpoint, Cursors, KIND_CHECKPOINT, KIND_RECORDS, MAX_CURSOR_BYTES, MAX_CURSORS, MAX_CURSORS_BYTES, Part,
    SpooledBatch, encoded_len, merge,
};

/// A segment is an eighth of the spool, within these bounds: acknowledged disk is given back in
/// small steps, and a start reads little.
const SEGMENT_BYTES: std::ops::RangeInclusive<u64> = (64 << 10)..=(16 << 20);

/// Why a batch is not in the spool.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SpoolError {
    /// The spool's journal failed; the agent must be started anew.
    #[error("the spool cannot be written")]
    Journal(#[from] JournalError),
    /// The spool cannot be read.
    #[error("the spool cannot be read")]
    Read(#[from] ReadError),
    /// No random number for the spool's epoch.
    #[error("no epoch for the spool")]
    Epoch(#[source] FsError),
    /// A source's cursor is too long, or there are too many.
    #[error("cursors have {got} {what}, limit is {limit}")]
    Cursors {
        /// What there is too much of.
        what: &'static str,
        /// How much there is.
        got: usize,
        /// The bound.
        limit: usize,
    },
}

/// What became of a batch.
#[derive(Debug)]
pub(crate) enum Appended {
    /// It is durable; its last record has this sequence.
    Durable(RecordSequence),
    /// There is no room for it before something is acknowledged or the disk has room; the batch is
    /// given back.
    Full(Vec<Part>),
}

/// The spool, open for writing.
#[derive(Debug)]
pub(crate) struct Spool {
    journal: Journal,
    max_bytes: u64,
    /// What the next checkpoint will say.
    state: Checkpoint,
    /// The last checkpoint written.
    checkpoint: Lsn,
    is_checkpoint_due: bool,
    starts: Vec<SegmentStart>,
}

impl Spool {
    /// Opens the spool in a directory, or makes one.
    pub(crate) fn open(dir: &Path, max_bytes: u64) -> Result<(Self, Recovery), SpoolError> {
        let segment_bytes = (max_bytes / 8).clamp(*SEGMENT_BYTES.start(), *SEGMENT_BYTES.end());
        let (journal, recovery) = Journal::open(dir, JournalOptions { segment_bytes, ..JournalOptions::DEFAULT })?;
        let Replayed { state, checkpoint, starts, is_end_lost } = replay(&journal)?;
        if is_end_lost {
            error!("the end of the spool is lost, what is left is sent in a new epoch");
        }
        let mut spool = Self {
            journal,
            max_bytes,
            state,
            checkpoint: checkpoint.unwrap_or(Lsn::ZERO),
            is_checkpoint_due: false,
            starts,
        };
        if is_end_lost || checkpoint.is_none() {
            spool.renew_epoch()?;
        }
        Ok((spool, recovery))
    }

    /// Begins a new epoch: what is not known to be acknowledged is sent again in it.
    pub(crate) fn renew_epoch(&mut self) -> Result<(), SpoolError> {
        let drawn = DiskFs.random().map_err(|source| FsError {
            action: "draw an epoch for",
            path: self.journal.dir().to_path_buf(),
            source,
        });
        self.state.epoch = Epoch(u128::from_le_bytes(drawn.map_err(SpoolError::Epoch)?));
        self.state.next = self.state.next.max(RecordSequence(1));
        self.state.floor = RecordSequence(self.state.acknowledged.0.saturating_add(1));
        self.write_checkpoint()?;
        self.journal.sync()?;
        info!(epoch = %self.state.epoch, floor = self.state.floor.0, "spool begins a new epoch");
        Ok(())
    }

    /// Appends a batch and makes it durable.
    pub(crate) fn append(
        &mut self,
        parts: Vec<Part>,
        cursors: &[(SourceName, Vec<u8>)],
    ) -> Result<Appended, SpoolError> {
        check_cursors(&self.state.cursors, cursors)?;
        let batch = SpooledBatch { first: self.state.next, cursors: cursors.to_vec(), parts };
        let body = batch.encode();
        if !self.has_room(body.len()) {
            return Ok(Appended::Full(batch.parts));
        }
        let lsn = match self.journal.append(KIND_RECORDS, &body) {
            Err(JournalError::NoSpace { .. }) => return Ok(Appended::Full(batch.parts)),
            appended => appended?,
        };
        self.note_segment(lsn, batch.first);
        self.state.next = batch.next();
        merge(&mut self.state.cursors, cursors);
        if self.is_checkpoint_due {
            match self.write_checkpoint() {
                // It is tried again with the next batch; until then older segments stay.
                Err(SpoolError::Journal(JournalError::NoSpace { .. })) => {}
                written => written?,
            }
        }
        self.journal.sync()?;
        Ok(Appended::Durable(self.last()))
    }

    /// Notes that everything up to a record is acknowledged, and drops the segments that hold
    /// nothing else.
    pub(crate) fn acknowledge(&mut self, sequence: RecordSequence) -> Result<(), SpoolError> {
        self.state.acknowledged = self.state.acknowledged.max(sequence);
        let next = RecordSequence(sequence.0.saturating_add(1));
        let Some(start) = self.starts.iter().rfind(|start| start.sequence <= next) else {
            return Ok(());
        };
        if self.journal.drop_before(start.lsn.min(self.checkpoint))? > 0 {
            let oldest = self.journal.oldest();
            self.starts.retain(|start| start.lsn >= oldest);
        }
        Ok(())
    }

    /// Returns from which acknowledged record on a segment can be dropped; nothing if there is
    /// only the one being written.
    pub(crate) fn drops_at(&self) -> Option<RecordSequence> {
        self.starts.get(1).map(|start| RecordSequence(start.sequence.0.saturating_sub(1)))
    }

    /// Returns where the stream stands, for a HELLO.
    pub(crate) fn stream_state(&self, stream: &StreamName) -> StreamState {
        let oldest = self.starts.first().map_or(self.state.next, |start| start.sequence).max(self.state.floor);
        StreamState { stream: stream.clone(), epoch: self.state.epoch, oldest, last: self.last() }
    }

    /// Returns the epoch that sequences belong to.
    pub(crate) fn epoch(&self) -> Epoch {
        self.state.epoch
    }

    /// Returns from which journal record on the stream must be read to find a sequence.
    pub(crate) fn place_of(&self, sequence: RecordSequence) -> Lsn {
        let start = self.starts.iter().rfind(|start| start.sequence <= sequence).or(self.starts.first());
        start.map_or(self.journal.next(), |start| start.lsn)
    }

    /// Returns the sequence of the last record spooled, 0 if there is none.
    pub(crate) fn last(&self) -> RecordSequence {
        RecordSequence(self.state.next.0.saturating_sub(1))
    }

    /// Returns up to where the spool knows that it is acknowledged.
    pub(crate) fn acknowledged(&self) -> RecordSequence {
        self.state.acknowledged
    }

    /// Returns the cursors of all sources, as of the last batch.
    pub(crate) fn cursors(&self) -> &Cursors {
        &self.state.cursors
    }

    /// Returns the bytes that the spool takes up on disk.
    pub(crate) fn size_bytes(&self) -> u64 {
        self.journal.size_bytes()
    }

    /// Returns the spool's directory.
    pub(crate) fn dir(&self) -> PathBuf {
        self.journal.dir().to_path_buf()
    }

    /// With nothing to wait for, a batch is always taken: it may be longer than the spool.
    fn has_room(&self, body_bytes: usize) -> bool {
        let size = self.journal.size_bytes() + self.journal.growth(body_bytes);
        size <= self.max_bytes || self.state.acknowledged >= self.last()
    }

    fn write_checkpoint(&mut self) -> Result<(), SpoolError> {
        let lsn = self.journal.append(KIND_CHECKPOINT, &self.state.encode())?;
        self.note_segment(lsn, self.state.next);
        self.checkpoint = lsn;
        self.is_checkpoint_due = false;
        Ok(())
    }

    /// Notes where a segment begins; a new one is due a checkpoint.
    fn note_segment(&mut self, lsn: Lsn, sequence: RecordSequence) {
        if self.journal.segments().last().is_some_and(|segment| segment.first == lsn) {
            self.starts.push(SegmentStart { lsn, sequence });
            self.is_checkpoint_due = true;
        }
    }
}

/// Holds the cursors known and those to be added against the bounds; one that replaces another is
/// counted twice, which only makes the bound a little tighter.
fn check_cursors(known: &Cursors, added: &[(SourceName, Vec<u8>)]) -> Result<(), SpoolError> {
    let refuse = |what, got, limit| if got > limit { Err(SpoolError::Cursors { what, got, limit }) } else { Ok(()) };
    let longest = added.iter().map(|(_, cursor)| cursor.len()).max().unwrap_or(0);
    refuse("bytes in one", longest, MAX_CURSOR_BYTES)?;
    refuse("sources", known.len() + added.len(), MAX_CURSORS)?;
    let added_bytes = encoded_len(added.iter().map(|(name, cursor)| (name, cursor)));
    refuse("bytes", encoded_len(known.iter()) + added_bytes, MAX_CURSORS_BYTES)
}

#[cfg(test)]
mod tests;
