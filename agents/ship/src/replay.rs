//! What a start must know of the spool, read from its end: cursors, epoch, the next sequence.
//!
//! Comes in: the journal, just opened. The last checkpoint is found by reading the last segment,
//! then the one before, and so on; from it on every batch is looked at.

use canh_event::RecordSequence;
use canh_journal::{Journal, Lsn, ReadError, Reader};
use tracing::error;

use crate::spooled::{Checkpoint, KIND_CHECKPOINT, KIND_RECORDS, SpooledBatch, merge};

/// Where a segment begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentStart {
    pub(crate) lsn: Lsn,
    /// The sequence of its first record, or of the first to come.
    pub(crate) sequence: RecordSequence,
}

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Replayed {
    pub(crate) state: Checkpoint,
    /// The last checkpoint; nothing if the spool is new, or has lost all of them.
    pub(crate) checkpoint: Option<Lsn>,
    pub(crate) starts: Vec<SegmentStart>,
    /// Whether the last records are lost: then nobody knows which sequences have been given out.
    pub(crate) is_end_lost: bool,
}

/// Walks over what can be read.
struct Walk {
    reader: Reader,
    /// Whether something was lost since the last record that could be read.
    is_lost: bool,
}

/// One record of the spool.
enum Spooled {
    Batch(SpooledBatch),
    Checkpoint(Checkpoint),
}

/// Reads what a start must know.
pub(crate) fn replay(journal: &Journal) -> Result<Replayed, ReadError> {
    let mut walk = Walk { reader: Reader::open(journal.dir())?, is_lost: false };
    let segments: Vec<Lsn> = journal.segments().map(|segment| segment.first).collect();
    let mut replayed = Replayed::default();
    for first in segments.iter().rev() {
        let (state, checkpoint) = walk.replay_from(*first)?;
        replayed.is_end_lost = walk.is_lost;
        if checkpoint.is_some() || state.next > replayed.state.next {
            (replayed.state, replayed.checkpoint) = (state, checkpoint);
        }
        if checkpoint.is_some() {
            break;
        }
    }
    for first in segments {
        walk.reader.seek(first)?;
        if let Some((lsn, spooled)) = walk.next()? {
            let sequence = match spooled {
                Spooled::Batch(batch) => batch.first,
                Spooled::Checkpoint(checkpoint) => checkpoint.next,
            };
            // What is damaged at the start of a segment is passed over: the next one may follow.
            if replayed.starts.last().is_none_or(|last| last.lsn < lsn && last.sequence <= sequence) {
                replayed.starts.push(SegmentStart { lsn: first, sequence });
            }
        }
    }
    Ok(replayed)
}

impl Walk {
    /// Reads from a place to the end.
    fn replay_from(&mut self, first: Lsn) -> Result<(Checkpoint, Option<Lsn>), ReadError> {
        self.reader.seek(first)?;
        self.is_lost = false;
        let (mut state, mut last) = (Checkpoint::default(), None);
        while let Some((lsn, spooled)) = self.next()? {
            match spooled {
                Spooled::Batch(batch) => {
                    state.next = state.next.max(batch.next());
                    merge(&mut state.cursors, &batch.cursors);
                }
                Spooled::Checkpoint(checkpoint) => (state, last) = (checkpoint, Some(lsn)),
            }
        }
        Ok((state, last))
    }

    /// Returns the next record that can be read; what cannot is logged and passed over.
    fn next(&mut self) -> Result<Option<(Lsn, Spooled)>, ReadError> {
        loop {
            match self.reader.next() {
                Ok(Some(entry)) => {
                    let spooled = match entry.kind {
                        KIND_RECORDS => SpooledBatch::decode(entry.body).map(Spooled::Batch),
                        KIND_CHECKPOINT => Checkpoint::decode(entry.body).map(Spooled::Checkpoint),
                        // Of a later release.
                        _ => continue,
                    };
                    self.is_lost = spooled.is_err();
                    match spooled {
                        Ok(spooled) => return Ok(Some((entry.lsn, spooled))),
                        Err(error) => error!(lsn = %entry.lsn, %error, "spooled record cannot be read"),
                    }
                }
                Ok(None) => return Ok(None),
                Err(ReadError::Damaged(damage)) => {
                    error!(from = %damage.from, to = %damage.to, "spool is damaged");
                    self.is_lost = true;
                    self.reader.skip_damage();
                }
                Err(error) => return Err(error),
            }
        }
    }
}
