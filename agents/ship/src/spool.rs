//! The spool: batches that are not acknowledged, on disk, with the cursors of their sources.
//!
//! Comes in: packed batches and cursors; acknowledgements. Goes out: the place of each batch in
//! the stream, once it is durable. The spool is bounded in bytes; what does not fit waits outside, or
//! what matters less is dropped for it.
//!
//! ```text
//!  normal  │K│ R R R R R │ │R│K│ R R R R R │ │R│K│ R R     ▲ K: checkpoint, near the start of each segment
//!  low/    │ R R R │ │ R R R │ │ R                         ▲ dropped first, from its front
//!  high/   │ R R
//! ```
//!
//! Sequences run through all journals together. Acknowledged segments are dropped whole, never the
//! one with the last checkpoint, and never one the last checkpoint does not know, so that a start finds
//! every cursor in the last segment or two. What is dropped unacknowledged is first noted in a
//! checkpoint: it becomes a gap, never a silence.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use canh_event::{Counts, Epoch, Figure, GapReason, RecordSequence, SourceAccount, SourceLoss, SourceName};
use canh_event::{StreamName, Timestamp, add_count};
use canh_journal::{DiskFs, Fs, FsError, Journal, JournalError, Lsn, ReadError, Reader, Recovery};
use canh_wire::StreamState;
use tracing::{error, info, warn};

use crate::dropped::{DroppedIndex, add_loss};
use crate::lane::{Lane, lane_dir};
use crate::priority::{Priority, WhenFull};
use crate::replay::{Replayed, replay};
use crate::spooled::{
    Checkpoint, Content, Cursors, KIND_CHECKPOINT, KIND_RECORDS, MAX_ACCOUNTS, MAX_CURSOR_BYTES, MAX_CURSORS,
    MAX_CURSORS_BYTES, MAX_STORES, Part, SpooledBatch, Tally, encoded_len, merge,
};

/// A segment is an eighth of the spool, within these bounds: acknowledged disk is given back in
/// small steps, and a start reads little.
const SEGMENT_BYTES: std::ops::RangeInclusive<u64> = (64 << 10)..=(16 << 20);

/// Of the spool's bound, the part by which it may be exceeded to note what was lost for want of room:
/// 1/16, and at least a segment.
const RESERVE_SHARE: u64 = 16;

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

/// How the spool is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SpoolOptions {
    pub(crate) max_bytes: u64,
    pub(crate) when_full: WhenFull,
}

/// What a batch says of one source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SourceNews {
    pub(crate) source: SourceName,
    /// Records of it in the batch, those lost among them.
    pub(crate) count: u64,
    pub(crate) lost: Counts<GapReason>,
    pub(crate) figures: Counts<Figure>,
    pub(crate) first: Timestamp,
    pub(crate) last: Timestamp,
}

/// A batch ready to be spooled.
#[derive(Clone, Debug, Default)]
pub(crate) struct Prepared {
    pub(crate) priority: Priority,
    pub(crate) parts: Vec<Part>,
    pub(crate) cursors: Vec<(SourceName, Vec<u8>)>,
    pub(crate) news: Vec<SourceNews>,
}

/// What became of a batch.
#[derive(Debug)]
pub(crate) enum Appended {
    /// It is durable; its last record has this sequence.
    Durable(RecordSequence),
    /// There was no room for its records, and they matter least: their loss is durable.
    Dropped(RecordSequence),
    /// There is no room for it before something is acknowledged or the disk has room; the batch is
    /// given back.
    Full(Prepared),
}

/// The spool, open for writing.
#[derive(Debug)]
pub(crate) struct Spool {
    dir: PathBuf,
    options: SpoolOptions,
    segment_bytes: u64,
    main: Lane,
    low: Option<Lane>,
    high: Option<Lane>,
    /// What the next checkpoint will say, but for what was dropped.
    state: Checkpoint,
    dropped: Arc<Mutex<DroppedIndex>>,
    /// The last checkpoint written, and its turn.
    checkpoint: (Lsn, u64),
    is_checkpoint_due: bool,
}

impl Spool {
    /// Opens the spool in a directory, or makes one.
    pub(crate) fn open(dir: &Path, options: SpoolOptions) -> Result<(Self, Recovery), SpoolError> {
        let segment_bytes = (options.max_bytes / 8).clamp(*SEGMENT_BYTES.start(), *SEGMENT_BYTES.end());
        let (mut main, mut recovery) = Lane::open(dir, segment_bytes)?;
        let mut side = |priority| {
            let path = lane_dir(dir, priority);
            if !path.is_dir() {
                return Ok(None);
            }
            let (lane, found) = Lane::open(&path, segment_bytes)?;
            recovery.damage.extend(found.damage);
            recovery.quarantined.extend(found.quarantined);
            Ok::<_, SpoolError>(Some(lane))
        };
        let (mut low, mut high) = (side(Priority::Low)?, side(Priority::High)?);
        let journals: Vec<&Journal> =
            [Some(&main), low.as_ref(), high.as_ref()].into_iter().flatten().map(|lane| &lane.journal).collect();
        let Replayed { mut state, checkpoint, starts, is_end_lost } = replay(&journals)?;
        let lanes = [Some(&mut main), low.as_mut(), high.as_mut()].into_iter().flatten();
        lanes.zip(starts).for_each(|(lane, starts)| lane.starts = starts);
        if is_end_lost {
            error!("the end of the spool is lost, what is left is sent in a new epoch");
        }
        let dropped = Arc::new(Mutex::new(DroppedIndex::new(std::mem::take(&mut state.dropped))));
        let mut spool = Self {
            dir: dir.to_path_buf(),
            options,
            segment_bytes,
            main,
            low,
            high,
            state,
            dropped,
            checkpoint: checkpoint.unwrap_or((Lsn::ZERO, 0)),
            is_checkpoint_due: false,
        };
        if is_end_lost || checkpoint.is_none() {
            spool.renew_epoch()?;
        }
        Ok((spool, recovery))
    }

    /// Begins a new epoch: what is not known to be acknowledged is sent again in it.
    pub(crate) fn renew_epoch(&mut self) -> Result<(), SpoolError> {
        let drawn =
            DiskFs.random().map_err(|source| FsError { action: "draw an epoch for", path: self.dir.clone(), source });
        self.state.epoch = Epoch(u128::from_le_bytes(drawn.map_err(SpoolError::Epoch)?));
        self.state.next = self.state.next.max(RecordSequence(1));
        self.state.floor = RecordSequence(self.state.acknowledged.0.saturating_add(1));
        self.state.stores.clear();
        self.write_checkpoint()?;
        info!(epoch = %self.state.epoch, floor = self.state.floor.0, "spool begins a new epoch");
        Ok(())
    }

    /// Appends a batch and makes it durable.
    pub(crate) fn append(&mut self, prepared: Prepared) -> Result<Appended, SpoolError> {
        check_cursors(&self.state.cursors, &prepared.cursors)?;
        let batch = self.number(&prepared);
        let body = batch.encode();
        // What was lost, and how far sources have come, takes little room and is worth more than it.
        let is_bare = prepared.parts.iter().all(|part| matches!(part.content, Content::Lost { .. }));
        let has_room = self.make_room(prepared.priority, body.len())? || (is_bare && self.fits_reserve(body.len()));
        if !has_room {
            // What matters least is no reason to wait.
            return if prepared.priority == Priority::Low && !is_bare {
                self.append_lost(prepared)
            } else {
                Ok(Appended::Full(prepared))
            };
        }
        if self.write(prepared.priority, &batch, &body)? {
            Ok(Appended::Durable(self.last()))
        } else {
            Ok(Appended::Full(prepared))
        }
    }

    /// Appends that the records of a batch are lost, with the cursors that lead behind them.
    fn append_lost(&mut self, mut prepared: Prepared) -> Result<Appended, SpoolError> {
        let given_back = prepared.clone();
        let count = prepared.parts.iter().map(|part| part.count).fold(0, u32::saturating_add);
        let mut sources = Vec::new();
        for news in &mut prepared.news {
            let earlier: u64 = news.lost.iter().map(|(_, count)| *count).sum();
            add_count(&mut news.lost, GapReason::SpoolFull, news.count.saturating_sub(earlier));
            if news.count > 0 {
                let (source, count, first, last) = (news.source.clone(), news.count, news.first, news.last);
                add_loss(&mut sources, SourceLoss { source, count, first, last });
            }
        }
        if count > 0 {
            sources.truncate(canh_event::MAX_LEDGER_SOURCES);
            prepared.parts = vec![Part { count, content: Content::Lost { reason: GapReason::SpoolFull, sources } }];
        }
        prepared.priority = Priority::Normal;
        let batch = self.number(&prepared);
        let body = batch.encode();
        if self.fits_reserve(body.len()) && self.write(Priority::Normal, &batch, &body)? {
            Ok(Appended::Dropped(self.last()))
        } else {
            Ok(Appended::Full(given_back))
        }
    }

    /// Gives a batch its turn and its place, and brings the accounts of its sources up to it.
    fn number(&self, prepared: &Prepared) -> SpooledBatch {
        let mut tallies = Vec::new();
        let mut strangers = 0;
        for news in &prepared.news {
            let mut account = match self.state.accounts.get(&news.source) {
                Some(account) => account.clone(),
                None if self.state.accounts.len() + strangers < MAX_ACCOUNTS => {
                    strangers += 1;
                    SourceAccount::new(news.source.clone())
                }
                None => continue,
            };
            account.produced = account.produced.saturating_add(news.count);
            news.lost.iter().for_each(|(reason, count)| add_count(&mut account.dropped, *reason, *count));
            news.figures.iter().for_each(|(figure, count)| add_count(&mut account.figures, *figure, *count));
            tallies.push(Tally { count: news.count, first: news.first, last: news.last, account });
        }
        let (cursors, parts) = (prepared.cursors.clone(), prepared.parts.clone());
        SpooledBatch { turn: self.state.turn + 1, first: self.state.next, cursors, tallies, parts }
    }

    /// Writes a batch and makes it durable; false if the disk has no room for it.
    fn write(&mut self, priority: Priority, batch: &SpooledBatch, body: &[u8]) -> Result<bool, SpoolError> {
        let lane = match self.lane_mut(priority) {
            Err(SpoolError::Journal(JournalError::NoSpace { .. })) => return Ok(false),
            lane => lane?,
        };
        let lsn = match lane.journal.append(KIND_RECORDS, body) {
            Err(JournalError::NoSpace { .. }) => return Ok(false),
            appended => appended?,
        };
        let is_new = lane.note_segment(lsn, batch.first, batch.turn);
        if priority != Priority::Normal {
            // Before a checkpoint that knows of it.
            lane.journal.sync()?;
        }
        self.is_checkpoint_due |= is_new;
        (self.state.turn, self.state.next) = (batch.turn, batch.next());
        merge(&mut self.state.cursors, &batch.cursors);
        for tally in &batch.tallies {
            self.state.accounts.insert(tally.account.source.clone(), tally.account.clone());
        }
        if self.is_checkpoint_due {
            match self.append_checkpoint() {
                // It is tried again with the next batch; until then older segments stay.
                Err(SpoolError::Journal(JournalError::NoSpace { .. })) => {}
                written => written?,
            }
        }
        self.main.journal.sync()?;
        Ok(true)
    }

    /// Notes that a store has acknowledged everything up to a record, and drops the segments that hold
    /// nothing else.
    pub(crate) fn acknowledge(&mut self, store: u128, sequence: RecordSequence) -> Result<(), SpoolError> {
        self.state.acknowledged = self.state.acknowledged.max(sequence);
        self.note_store(store, sequence);
        for loss in lock(&self.dropped).settle(sequence) {
            if let Some(account) = self.state.accounts.get_mut(&loss.source) {
                add_count(&mut account.dropped, GapReason::SpoolFull, loss.count);
            }
        }
        let lanes = [Some(&self.main), self.low.as_ref(), self.high.as_ref()];
        let known = self.checkpoint.1;
        let wants_checkpoint = lanes.into_iter().flatten().skip(1).any(|lane| {
            lane.first_kept(sequence).is_some_and(|start| {
                start.turn > known + 1 && lane.starts.first().is_some_and(|first| first.lsn < start.lsn)
            })
        });
        if wants_checkpoint {
            match self.write_checkpoint() {
                Err(SpoolError::Journal(JournalError::NoSpace { .. })) => return Ok(()),
                written => written?,
            }
        }
        let checkpoint = self.checkpoint.0;
        if let Some(start) = self.main.first_kept(sequence) {
            self.main.drop_before(start.lsn.min(checkpoint))?;
        }
        for lane in [self.low.as_mut(), self.high.as_mut()].into_iter().flatten() {
            if let Some(start) = lane.first_kept(sequence) {
                lane.drop_before(start.lsn)?;
            }
        }
        Ok(())
    }

    /// Notes up to where a store is, which may be behind where it was: then it was put back.
    pub(crate) fn welcome(&mut self, store: u128, durable: RecordSequence) -> Option<RecordSequence> {
        let before = self.state.stores.insert(store, durable).filter(|before| *before > durable);
        self.forget_stores();
        before
    }

    fn note_store(&mut self, store: u128, sequence: RecordSequence) {
        let known = self.state.stores.entry(store).or_default();
        *known = sequence.max(*known);
        self.forget_stores();
    }

    fn forget_stores(&mut self) {
        while self.state.stores.len() > MAX_STORES {
            let least = self.state.stores.iter().min_by_key(|(_, sequence)| **sequence).map(|(store, _)| *store);
            least.map(|store| self.state.stores.remove(&store));
        }
    }

    /// Returns from which acknowledged record on a segment can be dropped; nothing if there is
    /// only the one being written in each journal.
    pub(crate) fn drops_at(&self) -> Option<RecordSequence> {
        let seconds = self.lanes().filter_map(|lane| lane.starts.get(1));
        seconds.map(|start| RecordSequence(start.sequence.0.saturating_sub(1))).min()
    }

    /// Returns where the stream stands, for a HELLO.
    pub(crate) fn stream_state(&self, stream: &StreamName) -> StreamState {
        let firsts = self.lanes().filter_map(|lane| lane.starts.first()).map(|start| start.sequence);
        let oldest = firsts.min().unwrap_or(self.state.next).min(self.state.next).max(self.state.floor);
        StreamState { stream: stream.clone(), epoch: self.state.epoch, oldest, last: self.last() }
    }

    /// Returns the epoch that sequences belong to.
    pub(crate) fn epoch(&self) -> Epoch {
        self.state.epoch
    }

    /// Returns from which record of each journal on the stream must be read to find a sequence.
    pub(crate) fn places_of(&self, sequence: RecordSequence) -> Vec<(Priority, Lsn)> {
        let lanes = [(Priority::Normal, Some(&self.main)), (Priority::Low, self.low.as_ref())];
        let lanes = lanes.into_iter().chain([(Priority::High, self.high.as_ref())]);
        lanes.filter_map(|(priority, lane)| Some((priority, lane?.place_of(sequence)))).collect()
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

    /// Returns what each source has produced, as of the last batch.
    pub(crate) fn accounts(&self) -> impl Iterator<Item = &SourceAccount> {
        self.state.accounts.values()
    }

    /// Returns the turn of the last record: it changes with whatever is spooled.
    pub(crate) fn turn(&self) -> u64 {
        self.state.turn
    }

    /// Returns what was dropped, shared with whoever sends.
    pub(crate) fn dropped(&self) -> Arc<Mutex<DroppedIndex>> {
        Arc::clone(&self.dropped)
    }

    /// Returns the bytes that the spool takes up on disk.
    pub(crate) fn size_bytes(&self) -> u64 {
        self.lanes().map(|lane| lane.journal.size_bytes()).sum()
    }

    /// Returns the spool's directory.
    pub(crate) fn dir(&self) -> PathBuf {
        self.dir.clone()
    }

    fn lanes(&self) -> impl Iterator<Item = &Lane> {
        [Some(&self.main), self.low.as_ref(), self.high.as_ref()].into_iter().flatten()
    }

    fn lane(&self, priority: Priority) -> Option<&Lane> {
        match priority {
            Priority::Low => self.low.as_ref(),
            Priority::Normal => Some(&self.main),
            Priority::High => self.high.as_ref(),
        }
    }

    fn lane_mut(&mut self, priority: Priority) -> Result<&mut Lane, SpoolError> {
        let side = match priority {
            Priority::Normal => return Ok(&mut self.main),
            Priority::Low => &mut self.low,
            Priority::High => &mut self.high,
        };
        if let Some(lane) = side {
            return Ok(lane);
        }
        let (lane, _) = Lane::open(&lane_dir(&self.dir, priority), self.segment_bytes)?;
        Ok(side.insert(lane))
    }

    /// With nothing to wait for, a batch is always taken: it may be longer than the spool.
    fn has_room(&self, priority: Priority, body_bytes: usize) -> bool {
        let growth = self.lane(priority).map_or(self.segment_bytes, |lane| lane.journal.growth(body_bytes));
        self.size_bytes() + growth <= self.options.max_bytes || self.state.acknowledged >= self.last()
    }

    /// Returns whether something short fits what is kept in reserve.
    fn fits_reserve(&self, body_bytes: usize) -> bool {
        let reserve = (self.options.max_bytes / RESERVE_SHARE).max(self.segment_bytes);
        self.size_bytes() + self.main.journal.growth(body_bytes) <= self.options.max_bytes + reserve
    }

    /// Drops what matters less until a batch fits; false if it does not fit then either.
    fn make_room(&mut self, priority: Priority, body_bytes: usize) -> Result<bool, SpoolError> {
        while !self.has_room(priority, body_bytes) {
            let Some(victim) = self.victim(priority) else { return Ok(false) };
            if !self.drop_oldest(victim)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Returns the lowest priority that has a segment to spare for a batch of this priority.
    fn victim(&self, incoming: Priority) -> Option<Priority> {
        let may_go = |priority: Priority| {
            priority == Priority::Low || (self.options.when_full == WhenFull::Drop && priority <= incoming)
        };
        Priority::ALL.into_iter().filter(|priority| may_go(*priority)).find(|priority| self.has_spare(*priority))
    }

    /// Returns whether the oldest segment of a journal can go: it is not being written, and nothing of it
    /// is under way.
    fn has_spare(&self, priority: Priority) -> bool {
        let Some([first, _, ..]) = self.lane(priority).map(|lane| lane.starts.as_slice()) else { return false };
        let waiting = first.sequence.max(RecordSequence(self.state.acknowledged.0.saturating_add(1)));
        lock(&self.dropped).may_drop(waiting)
    }

    /// Drops the oldest segment of a journal; false if what is lost with it cannot be kept in mind.
    fn drop_oldest(&mut self, priority: Priority) -> Result<bool, SpoolError> {
        let Some([first, second, ..]) = self.lane(priority).map(|lane| lane.starts.as_slice()) else {
            return Ok(false);
        };
        let (first, second) = (*first, *second);
        let runs = runs_between(&lane_dir(&self.dir, priority), first.lsn, second.lsn, self.state.acknowledged)?;
        let mut dropped = lock(&self.dropped);
        if !dropped.has_room(runs.len()) {
            return Ok(false);
        }
        let records: u64 = runs.iter().map(|run| run.1).sum();
        runs.into_iter().for_each(|(first, count, sources)| dropped.drop_run(first, count, sources));
        drop(dropped);
        // The gap is durable before its records are gone.
        match self.write_checkpoint() {
            Err(SpoolError::Journal(JournalError::NoSpace { .. })) => return Ok(false),
            written => written?,
        }
        let until = if priority == Priority::Normal { second.lsn.min(self.checkpoint.0) } else { second.lsn };
        self.lane_mut(priority)?.drop_before(until)?;
        warn!(priority = priority.as_str(), records, from = first.sequence.0, "spool full, oldest segment dropped");
        Ok(true)
    }

    fn append_checkpoint(&mut self) -> Result<(), SpoolError> {
        let dropped = lock(&self.dropped).runs().clone();
        let turn = self.state.turn + 1;
        let state = Checkpoint { turn, dropped, ..self.state.clone() };
        let lsn = self.main.journal.append(KIND_CHECKPOINT, &state.encode())?;
        self.main.note_segment(lsn, self.state.next, turn);
        self.state.turn = turn;
        self.checkpoint = (lsn, turn);
        self.is_checkpoint_due = false;
        Ok(())
    }

    fn write_checkpoint(&mut self) -> Result<(), SpoolError> {
        self.append_checkpoint()?;
        self.main.journal.sync()?;
        Ok(())
    }
}

/// A run of records: its first, how many, of which sources.
type Run = (RecordSequence, u64, Vec<SourceLoss>);

/// Returns the runs of records between two places of a journal that are not acknowledged.
fn runs_between(dir: &Path, from: Lsn, to: Lsn, acknowledged: RecordSequence) -> Result<Vec<Run>, SpoolError> {
    let mut reader = Reader::open(dir)?;
    reader.seek(from)?;
    let mut runs: Vec<Run> = Vec::new();
    loop {
        match reader.next() {
            Ok(Some(entry)) if entry.lsn >= to => return Ok(runs),
            Ok(Some(entry)) if entry.kind == KIND_RECORDS => {
                // What cannot be read is a hole when the rest is sent, and reported as one.
                let Ok(batch) = SpooledBatch::decode(entry.body) else { continue };
                runs.extend(run_of(&batch, acknowledged));
            }
            Ok(Some(_)) => {}
            Ok(None) => return Ok(runs),
            Err(ReadError::Damaged(_)) => {
                reader.skip_damage();
            }
            Err(error) => return Err(error.into()),
        }
    }
}

fn run_of(batch: &SpooledBatch, acknowledged: RecordSequence) -> Option<Run> {
    let known = acknowledged.0.saturating_add(1);
    if batch.next().0 <= known || batch.count() == 0 {
        return None;
    }
    if batch.first.0 < known {
        // Which sources the rest is of is not known.
        return Some((RecordSequence(known), batch.next().0 - known, Vec::new()));
    }
    let mut sources = Vec::new();
    for tally in batch.tallies.iter().filter(|tally| tally.count > 0) {
        let Tally { count, first, last, account } = tally.clone();
        add_loss(&mut sources, SourceLoss { source: account.source, count, first, last });
    }
    sources.truncate(canh_event::MAX_LEDGER_SOURCES);
    Some((batch.first, batch.count(), sources))
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

/// What the lock holds is whole after every statement.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
