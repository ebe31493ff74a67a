//! What a start must know of the spool, read from its end: cursors, accounts, epoch, the next sequence.
//!
//! Comes in: the journals, just opened. The last checkpoint is found by reading the main journal's last
//! segment, then the one before, and so on; from its turn on every batch of every journal is looked at,
//! in the order of their turns.

use canh_journal::{Journal, Lsn, ReadError, Reader};
use tracing::error;

use crate::lane::SegmentStart;
use crate::spooled::{Checkpoint, KIND_CHECKPOINT, KIND_RECORDS, MAX_ACCOUNTS, SpooledBatch, merge};

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Replayed {
    pub(crate) state: Checkpoint,
    /// The last checkpoint and its turn; nothing if the spool is new, or has lost all of them.
    pub(crate) checkpoint: Option<(Lsn, u64)>,
    /// The segments of each journal, in the order they were given.
    pub(crate) starts: Vec<Vec<SegmentStart>>,
    /// Whether the last records are lost: then nobody knows which sequences have been given out.
    pub(crate) is_end_lost: bool,
}

/// Walks over what can be read of one journal.
struct Walk {
    reader: Reader,
    segments: Vec<Lsn>,
    /// Whether something was lost since the last record that could be read.
    is_lost: bool,
}

/// One record of the spool.
enum Spooled {
    Batch(Box<SpooledBatch>),
    Checkpoint(Box<Checkpoint>),
}

/// Reads what a start must know; the first journal is the one with the checkpoints.
pub(crate) fn replay(journals: &[&Journal]) -> Result<Replayed, ReadError> {
    let mut walks = Vec::new();
    for journal in journals {
        walks.push(Walk::open(journal)?);
    }
    let mut replayed = Replayed::default();
    if let Some(main) = walks.first_mut()
        && let Some((lsn, checkpoint)) = main.last_checkpoint()?
    {
        replayed.checkpoint = Some((lsn, checkpoint.turn));
        replayed.state = checkpoint;
    }
    let from = replayed.checkpoint;
    for (index, walk) in walks.iter_mut().enumerate() {
        match from {
            Some((lsn, _)) if index == 0 => walk.reader.seek(lsn)?,
            Some((_, turn)) => walk.seek_turn(turn)?,
            None => walk.seek_oldest()?,
        }
    }
    apply_in_turn(&mut walks, &mut replayed)?;
    replayed.is_end_lost = walks.iter().any(|walk| walk.is_lost);
    for walk in &mut walks {
        replayed.starts.push(walk.starts()?);
    }
    Ok(replayed)
}

/// Applies the batches behind the checkpoint, whichever journal they are in, in the order of turns.
fn apply_in_turn(walks: &mut [Walk], replayed: &mut Replayed) -> Result<(), ReadError> {
    let mut heads: Vec<Option<Box<SpooledBatch>>> = Vec::new();
    for walk in walks.iter_mut() {
        walk.is_lost = false;
        heads.push(walk.next_batch_after(replayed.state.turn)?);
    }
    loop {
        let turns = heads.iter().enumerate().filter_map(|(index, head)| Some((head.as_ref()?.turn, index)));
        let Some((_, index)) = turns.min() else { return Ok(()) };
        let (Some(head), Some(walk)) = (heads.get_mut(index), walks.get_mut(index)) else { return Ok(()) };
        if let Some(batch) = head.take() {
            apply(&mut replayed.state, *batch);
        }
        *head = walk.next_batch_after(replayed.state.turn)?;
    }
}

fn apply(state: &mut Checkpoint, batch: SpooledBatch) {
    state.turn = state.turn.max(batch.turn);
    state.next = state.next.max(batch.next());
    merge(&mut state.cursors, &batch.cursors);
    for tally in batch.tallies {
        if state.accounts.len() < MAX_ACCOUNTS || state.accounts.contains_key(&tally.account.source) {
            state.accounts.insert(tally.account.source.clone(), tally.account);
        }
    }
}

impl Walk {
    fn open(journal: &Journal) -> Result<Self, ReadError> {
        let segments = journal.segments().map(|segment| segment.first).collect();
        Ok(Self { reader: Reader::open(journal.dir())?, segments, is_lost: false })
    }

    /// Returns the last checkpoint that can be read.
    fn last_checkpoint(&mut self) -> Result<Option<(Lsn, Checkpoint)>, ReadError> {
        let mut found = None;
        for first in self.segments.clone().into_iter().rev() {
            self.reader.seek(first)?;
            while let Some((lsn, spooled)) = self.next()? {
                if let Spooled::Checkpoint(checkpoint) = spooled {
                    found = Some((lsn, *checkpoint));
                }
            }
            if found.is_some() {
                break;
            }
        }
        Ok(found)
    }

    /// Moves to the last segment that begins no later than a turn.
    fn seek_turn(&mut self, turn: u64) -> Result<(), ReadError> {
        for first in self.segments.clone().into_iter().rev() {
            self.reader.seek(first)?;
            let begins = match self.next()? {
                Some((_, Spooled::Batch(batch))) => batch.turn,
                _ => u64::MAX,
            };
            if begins <= turn {
                return self.reader.seek(first);
            }
        }
        self.seek_oldest()
    }

    fn seek_oldest(&mut self) -> Result<(), ReadError> {
        let oldest = self.reader.oldest()?;
        self.reader.seek(oldest)
    }

    fn next_batch_after(&mut self, turn: u64) -> Result<Option<Box<SpooledBatch>>, ReadError> {
        while let Some((_, spooled)) = self.next()? {
            match spooled {
                Spooled::Batch(batch) if batch.turn > turn => return Ok(Some(batch)),
                _ => {}
            }
        }
        Ok(None)
    }

    /// Returns where each segment begins.
    fn starts(&mut self) -> Result<Vec<SegmentStart>, ReadError> {
        let mut starts: Vec<SegmentStart> = Vec::new();
        for first in self.segments.clone() {
            self.reader.seek(first)?;
            if let Some((lsn, spooled)) = self.next()? {
                let (sequence, turn) = match spooled {
                    Spooled::Batch(batch) => (batch.first, batch.turn),
                    Spooled::Checkpoint(checkpoint) => (checkpoint.next, checkpoint.turn),
                };
                // What is damaged at the start of a segment is passed over: the next one may follow.
                if starts.last().is_none_or(|last| last.lsn < lsn && last.sequence <= sequence) {
                    starts.push(SegmentStart { lsn: first, sequence, turn });
                }
            }
        }
        Ok(starts)
    }

    /// Returns the next record that can be read; what cannot is logged and passed over.
    fn next(&mut self) -> Result<Option<(Lsn, Spooled)>, ReadError> {
        loop {
            match self.reader.next() {
                Ok(Some(entry)) => {
                    let spooled = match entry.kind {
                        KIND_RECORDS => SpooledBatch::decode(entry.body).map(Box::new).map(Spooled::Batch),
                        KIND_CHECKPOINT => Checkpoint::decode(entry.body).map(Box::new).map(Spooled::Checkpoint),
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
