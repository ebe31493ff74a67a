//! The collector's journal as a reader sees it: which line is in it how often.
//!
//! Beside the lines it looks at the streams: the records of each must follow each other without a
//! hole and without an overlap, and no gap may have been reported but for files that were taken away.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, ensure};
use canh_event::{GapReason, StoredBatch, StoredGap};
use canh_journal::{Lsn, Reader};

use crate::line::{digest, id_of};

/// The kind of journal records that hold events.
const KIND_EVENTS: u8 = 1;
/// The kind of those that say what will never come.
const KIND_GAP: u8 = 2;
/// A number past this is none of ours.
const MAX_ID: u64 = 1 << 32;

/// What was read of a journal.
#[derive(Debug, Default)]
pub(crate) struct View {
    counts: Vec<u8>,
    digests: Vec<u64>,
    read: Lsn,
    last_batch: Lsn,
    rows: u64,
    /// Gaps for which nothing here is a reason.
    gaps: u64,
    /// Gaps that tell of a log file taken away unread.
    lost_files: u64,
    /// The first line that has no number.
    stranger: Option<String>,
    /// Up to where each stream is.
    streams: BTreeMap<(String, String, u128), u64>,
    /// The first place where a stream does not follow itself.
    broken: Option<String>,
}

impl View {
    /// Reads a journal from its beginning.
    ///
    /// # Errors
    /// It cannot be read whole.
    pub(crate) fn of(dir: &Path) -> anyhow::Result<Self> {
        let mut view = Self::default();
        view.read_on(dir)?;
        Ok(view)
    }

    /// Reads what has come since the last call; a journal that is not there yet is empty.
    ///
    /// # Errors
    /// It cannot be read, or something of it has been dropped.
    pub(crate) fn read_on(&mut self, dir: &Path) -> anyhow::Result<()> {
        let mut reader = Reader::open(dir).context("while opening the journal")?;
        // The first time it stands at the oldest record kept: what is not there is missing.
        if self.read != Lsn::ZERO {
            reader.seek(self.read.next()).context("while looking for the place in the journal")?;
        }
        while let Some(entry) = reader.next().context("while reading the journal")? {
            self.read = entry.lsn;
            match entry.kind {
                KIND_EVENTS => {
                    self.last_batch = entry.lsn;
                    self.take(&StoredBatch::decode(entry.body).context("while decoding a batch")?);
                }
                KIND_GAP => self.take_gap(&StoredGap::decode(entry.body).context("while decoding a gap")?),
                _ => {}
            }
        }
        Ok(())
    }

    /// Returns how often a line is there and what its last text was.
    pub(crate) fn line(&self, id: u64) -> (u8, u64) {
        let index = usize::try_from(id).unwrap_or(usize::MAX);
        let count = self.counts.get(index).copied().unwrap_or(0);
        (count, self.digests.get(index).copied().unwrap_or(0))
    }

    /// Returns a number past all lines that are there.
    pub(crate) fn end(&self) -> u64 {
        self.counts.len() as u64
    }

    /// Returns how many rows there are.
    pub(crate) fn rows(&self) -> u64 {
        self.rows
    }

    /// Returns how many files were told of as taken away unread.
    pub(crate) fn lost_files(&self) -> u64 {
        self.lost_files
    }

    /// Returns the place of the last batch.
    pub(crate) fn last_batch(&self) -> u64 {
        self.last_batch.0
    }

    /// Fails if there is what should not be there at all.
    ///
    /// # Errors
    /// A line without a number, a reported gap, a stream that does not follow itself.
    pub(crate) fn must_be_whole(&self) -> anyhow::Result<()> {
        ensure!(self.stranger.is_none(), "the journal has a line nobody wrote: {:?}", self.stranger);
        ensure!(self.gaps == 0, "{} gaps were reported, nothing may be lost here", self.gaps);
        ensure!(self.broken.is_none(), "a stream does not follow itself: {:?}", self.broken);
        Ok(())
    }

    fn take(&mut self, stored: &StoredBatch) {
        let key = (stored.agent.to_string(), stored.stream.to_string(), stored.epoch.0);
        self.follow(key, stored.first.0, stored.last().0);
        stored.batch.rows().for_each(|row| self.note(row.raw()));
    }

    /// A gap takes places in its stream as records do.
    fn take_gap(&mut self, gap: &StoredGap) {
        match gap.reason {
            GapReason::FileLost => self.lost_files += 1,
            _ => self.gaps += 1,
        }
        let key = (gap.agent.to_string(), gap.stream.to_string(), gap.epoch.0);
        self.follow(key, gap.from.0, gap.from.0 + gap.count.saturating_sub(1));
    }

    fn follow(&mut self, key: (String, String, u128), first: u64, last: u64) {
        let place = format!("{} {}: {first}", key.0, key.1);
        let before = self.streams.insert(key, last);
        if before.is_some_and(|before| before + 1 != first) {
            self.broken.get_or_insert(format!("{place} after {before:?}"));
        }
    }

    /// Notes one line.
    pub(crate) fn note(&mut self, line: &[u8]) {
        self.rows += 1;
        let Some(id) = id_of(line).filter(|id| *id < MAX_ID) else {
            let text = String::from_utf8_lossy(line).chars().take(120).collect();
            self.stranger.get_or_insert(text);
            return;
        };
        let index = usize::try_from(id).unwrap_or(usize::MAX);
        if self.counts.len() <= index {
            self.counts.resize(index + 1, 0);
            self.digests.resize(index + 1, 0);
        }
        if let (Some(count), Some(kept)) = (self.counts.get_mut(index), self.digests.get_mut(index)) {
            *count = count.saturating_add(1);
            *kept = digest(line);
        }
    }
}
