//! The loss ledger for whoever reads it: a small journal with a copy of every gap and account of the
//! collector's journal, so that nobody has to read all events to find them, and losses are remembered
//! longer than events.
//!
//! ```text
//!  journal's callbacks, in order ──► outbox ──► keeper, once a second ──► losses/ ──► canh loss
//!  start: what the journal has behind the last entry is copied from there
//! ```
//!
//! The collector's journal is the truth and this is a view of it: the cursor of the marks moves only
//! when the copies are durable, so a start finds what is missing behind it.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context;
use canh_event::LossEntry;
use canh_journal::{Journal, JournalOptions, Lsn, ReadError, Reader};

use crate::kinds::{KIND_ACCOUNT, KIND_GAP};

/// The kind of every record of this journal: a `LossEntry`.
const KIND_ENTRY: u8 = 1;
/// Length of a segment, which is the least that is dropped at once.
const SEGMENT_BYTES: u64 = 4 << 20;
/// Most bytes that wait for the keeper; past it what is missing is read from the journal.
const OUTBOX_BYTES: usize = 16 << 20;

/// Records that wait to be copied.
#[derive(Clone, Debug, Default)]
pub(crate) struct LossOutbox(Arc<Mutex<Outbox>>);

#[derive(Debug, Default)]
struct Outbox {
    waiting: Vec<(Lsn, Vec<u8>)>,
    bytes: usize,
    /// The first record that had no room.
    missed: Option<Lsn>,
}

/// The journal of losses, open for writing.
#[derive(Debug)]
pub(crate) struct Losses {
    journal: Journal,
    max_bytes: u64,
    /// The last record of the collector's journal that is copied.
    last: Lsn,
}

/// Returns whether a record of the collector's journal belongs to the loss ledger.
pub(crate) const fn is_loss(kind: u8) -> bool {
    matches!(kind, KIND_GAP | KIND_ACCOUNT)
}

impl LossOutbox {
    /// Puts in a record that is durable. Called in journal order.
    pub(crate) fn push(&self, lsn: Lsn, body: Vec<u8>) {
        let mut outbox = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if outbox.missed.is_some() || outbox.bytes + body.len() > OUTBOX_BYTES {
            outbox.missed.get_or_insert(lsn);
        } else {
            outbox.bytes += body.len();
            outbox.waiting.push((lsn, body));
        }
    }

    fn take(&self) -> Outbox {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Losses {
    /// Opens the journal of losses of a collector whose journal is durable up to `durable`.
    ///
    /// # Errors
    /// It is locked, cannot be read or written.
    pub(crate) fn open(dir: &Path, max_bytes: u64, durable: Lsn) -> anyhow::Result<Self> {
        let opened = Self::open_any(dir, max_bytes)?;
        if opened.last <= durable {
            return Ok(opened);
        }
        // It tells of records the collector's journal has not got: it is another one's.
        drop(opened);
        let aside = aside(dir);
        tracing::warn!(path = %aside.display(), "the losses of another journal are put aside");
        std::fs::rename(dir, &aside).with_context(|| format!("while putting aside {}", dir.display()))?;
        Self::open_any(dir, max_bytes)
    }

    fn open_any(dir: &Path, max_bytes: u64) -> anyhow::Result<Self> {
        let options = JournalOptions { segment_bytes: SEGMENT_BYTES, ..JournalOptions::DEFAULT };
        let (journal, recovery) = Journal::open(dir, options).context("while opening the journal of losses")?;
        for damage in &recovery.damage {
            tracing::error!(from = %damage.from, to = %damage.to, "copies of gaps and accounts are lost");
        }
        let last = last_copied(&journal).context("while reading the journal of losses")?;
        Ok(Self { journal, max_bytes, last })
    }

    /// Returns the last record of the collector's journal that is copied.
    #[cfg(test)]
    pub(crate) fn last(&self) -> Lsn {
        self.last
    }

    /// Copies a record, unless it is copied already; durable after [`Losses::sync`].
    ///
    /// # Errors
    /// It cannot be written.
    pub(crate) fn copy(&mut self, lsn: Lsn, body: &[u8]) -> anyhow::Result<()> {
        if lsn > self.last {
            self.journal.append(KIND_ENTRY, &LossEntry::encode(lsn.0, body))?;
            self.last = lsn;
        }
        Ok(())
    }

    /// Makes the copies durable, and lets the oldest go while there are too many.
    ///
    /// # Errors
    /// It cannot be written.
    pub(crate) fn sync(&mut self) -> anyhow::Result<()> {
        self.journal.sync()?;
        let mut size = self.journal.size_bytes();
        let mut keep_from = None;
        let segments: Vec<_> = self.journal.segments().collect();
        for pair in segments.windows(2) {
            let [oldest, next] = pair else { break };
            if size <= self.max_bytes {
                break;
            }
            size = size.saturating_sub(oldest.bytes);
            keep_from = Some(next.first);
        }
        if let Some(first) = keep_from {
            self.journal.drop_before(first)?;
        }
        Ok(())
    }

    /// Copies what waits; `journal` is the collector's, to be read where the outbox had no room.
    ///
    /// # Errors
    /// It cannot be written, or the collector's journal not read.
    pub(crate) fn flush(&mut self, outbox: &LossOutbox, journal: &Path) -> anyhow::Result<()> {
        let Outbox { waiting, missed, .. } = outbox.take();
        if waiting.is_empty() && missed.is_none() {
            return Ok(());
        }
        for (lsn, body) in &waiting {
            self.copy(*lsn, body)?;
        }
        if let Some(from) = missed {
            tracing::warn!(%from, "more gaps and accounts than the keeper could take, reading them from the journal");
            self.catch_up(&mut Reader::open(journal)?, from)?;
        }
        self.sync()
    }

    /// Copies everything from a place of the collector's journal on.
    fn catch_up(&mut self, reader: &mut Reader, from: Lsn) -> anyhow::Result<()> {
        let oldest = reader.oldest()?;
        reader.seek(from.max(oldest))?;
        loop {
            match reader.next() {
                Ok(Some(entry)) if is_loss(entry.kind) => {
                    let (lsn, body) = (entry.lsn, entry.body.to_vec());
                    self.copy(lsn, &body)?;
                }
                Ok(Some(_)) => {}
                Ok(None) => return Ok(()),
                Err(ReadError::Damaged(_)) => {
                    if reader.skip_damage().is_none() {
                        return Ok(());
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// Returns the place of the last entry that can be read.
fn last_copied(journal: &Journal) -> Result<Lsn, ReadError> {
    let mut reader = Reader::open(journal.dir())?;
    let segments: Vec<Lsn> = journal.segments().map(|segment| segment.first).collect();
    for first in segments.into_iter().rev() {
        reader.seek(first)?;
        let mut last = None;
        loop {
            match reader.next() {
                Ok(Some(entry)) => last = LossEntry::decode_position(entry.body).ok().or(last),
                Ok(None) => break,
                Err(ReadError::Damaged(_)) => {
                    if reader.skip_damage().is_none() {
                        break;
                    }
                }
                Err(error) => return Err(error),
            }
        }
        if let Some(last) = last {
            return Ok(Lsn(last));
        }
    }
    Ok(Lsn::ZERO)
}

fn aside(dir: &Path) -> PathBuf {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    dir.with_extension(format!("old-{seconds}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn positions(dir: &Path) -> Vec<u64> {
        let mut reader = Reader::open(dir).unwrap();
        let mut positions = Vec::new();
        while let Some(entry) = reader.next().unwrap() {
            positions.push(LossEntry::decode_position(entry.body).unwrap());
        }
        positions
    }

    #[test]
    fn every_record_is_copied_once_and_a_start_goes_on_behind_the_last() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("losses");
        let mut losses = Losses::open(&path, 64 << 20, Lsn(10)).unwrap();
        let outbox = LossOutbox::default();
        for lsn in [3, 7, 7, 5] {
            outbox.push(Lsn(lsn), vec![1]);
        }
        losses.flush(&outbox, dir.path()).unwrap();
        drop(losses);
        let mut losses = Losses::open(&path, 64 << 20, Lsn(10)).unwrap();
        assert_eq!(losses.last(), Lsn(7));
        losses.copy(Lsn(7), b"x").unwrap();
        losses.copy(Lsn(9), b"x").unwrap();
        losses.sync().unwrap();
        assert_eq!(positions(&path), [3, 7, 9]);
    }

    #[test]
    fn what_had_no_room_is_read_from_the_journal() {
        let dir = tempfile::tempdir().unwrap();
        let (mut journal, _) = Journal::open(&dir.path().join("journal"), JournalOptions::default()).unwrap();
        let long = vec![7; 9 << 20];
        for (kind, body) in [(KIND_GAP, &long[..]), (1, b"events"), (KIND_GAP, &long), (KIND_ACCOUNT, b"short")] {
            journal.append(kind, body).unwrap();
        }
        journal.sync().unwrap();
        let outbox = LossOutbox::default();
        for (lsn, body) in [(1, &long[..]), (3, &long), (4, b"short")] {
            outbox.push(Lsn(lsn), body.to_vec());
        }
        let path = dir.path().join("losses");
        let mut losses = Losses::open(&path, 64 << 20, Lsn(4)).unwrap();
        losses.flush(&outbox, &dir.path().join("journal")).unwrap();
        let copied = positions(&path);
        assert_eq!(copied, [1, 3, 4], "in the order of the journal, none left out");
    }

    #[test]
    fn losses_of_another_journal_are_put_aside() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("losses");
        let mut losses = Losses::open(&path, 64 << 20, Lsn(10)).unwrap();
        losses.copy(Lsn(9), b"x").unwrap();
        losses.sync().unwrap();
        drop(losses);
        assert_eq!(Losses::open(&path, 64 << 20, Lsn(8)).unwrap().last(), Lsn::ZERO);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2);
    }

    #[test]
    fn oldest_losses_go_when_there_are_too_many() {
        let dir = tempfile::tempdir().unwrap();
        let mut losses = Losses::open(dir.path(), 12 << 20, Lsn(100)).unwrap();
        for lsn in 1..=40 {
            losses.copy(Lsn(lsn), &vec![7; 1 << 20]).unwrap();
            losses.sync().unwrap();
        }
        let kept = positions(dir.path());
        assert!(kept.len() < 15 && kept.ends_with(&[38, 39, 40]), "{kept:?}");
    }
}
