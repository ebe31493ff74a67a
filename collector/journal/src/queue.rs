//! The bounded queue between those who submit records and the thread that commits them.
//!
//! Comes in: records with a callback. Goes out: groups. It holds at most a number of records and a
//! number of body bytes; beyond either, `push` waits. Control records have a short queue of their own,
//! so that they get through while the others wait for room on disk.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::journal::Synced;
use crate::lsn::Lsn;
use crate::segment::JournalError;

/// Most control records waiting.
const CONTROL_RECORDS: usize = 64;

/// When a group is closed, and how much may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommitPolicy {
    /// Body bytes at which a group is closed without waiting longer.
    pub max_bytes: usize,
    /// Longest time a record waits for others to share its sync.
    pub max_wait: Duration,
    /// Most records waiting in the queue.
    pub queue: usize,
    /// Most body bytes waiting in the queue; a single longer record is taken when it is empty.
    pub queue_bytes: usize,
}

impl Default for CommitPolicy {
    fn default() -> Self {
        Self { max_bytes: 1 << 20, max_wait: Duration::from_millis(3), queue: 4_096, queue_bytes: 32 << 20 }
    }
}

/// Why a record was not made durable.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommitError {
    /// The committer has been closed.
    #[error("the journal's committer is closed")]
    Closed,
    /// The record is longer than a journal takes.
    #[error("record is {bytes} bytes, more than a journal takes")]
    TooLarge {
        /// Its length in bytes.
        bytes: usize,
    },
    /// The journal failed; it takes nothing more. Whether this record is on disk is not known.
    #[error("the journal has stopped")]
    Stopped(#[source] Arc<JournalError>),
    /// The committer's thread could not be started.
    #[error("the committer's thread cannot be started")]
    Thread(#[source] Arc<std::io::Error>),
}

/// What a committer has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CommitStats {
    /// The last durable place.
    pub durable: Lsn,
    /// Syncs made for records.
    pub groups: u64,
    /// Records committed.
    pub records: u64,
    /// Body bytes committed.
    pub bytes: u64,
    /// Whether it waits for room on disk.
    pub is_waiting_for_space: bool,
    /// Whether it has ended: closed, or stopped after a failure.
    pub is_ended: bool,
}

/// One sync that made records durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommitReport {
    /// The last durable place.
    pub durable: Lsn,
    /// Records made durable.
    pub records: u64,
    /// Their body bytes.
    pub bytes: u64,
    /// When the sync ended, and how long it took, it alone.
    pub synced: Synced,
}

/// What runs once a record is durable, or is known never to be.
pub(crate) type Done = Box<dyn FnOnce(Result<Lsn, CommitError>) + Send>;

/// A record waiting to be committed.
pub(crate) struct Item {
    pub(crate) urgency: Urgency,
    pub(crate) kind: u8,
    pub(crate) body: Vec<u8>,
    pub(crate) done: Done,
}

/// Whether a record may wait for room on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Urgency {
    /// It waits.
    Ordinary,
    /// It takes the room kept for such, and overtakes those that wait.
    Control,
}

/// Why a record is not taken just now.
pub(crate) enum Refusal {
    Full,
    Ended(CommitError),
}

/// The queue.
#[derive(Debug)]
pub(crate) struct Queue {
    policy: CommitPolicy,
    state: Mutex<State>,
    /// The committer waits here for work.
    filled: Condvar,
    /// Submitters wait here for room.
    drained: Condvar,
}

#[derive(Debug)]
struct State {
    items: VecDeque<Item>,
    bytes: usize,
    control: VecDeque<Item>,
    /// When the oldest waiting record came.
    since: Option<Instant>,
    phase: Phase,
    stats: CommitStats,
}

#[derive(Debug)]
enum Phase {
    Open,
    /// Nothing new is taken; what waits is still committed.
    Closed,
    /// Nothing is committed any more.
    Ended(CommitError),
}

/// A place in the queue, to be filled at once.
pub(crate) struct Slot<'a> {
    queue: &'a Queue,
    state: MutexGuard<'a, State>,
}

impl fmt::Debug for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Item").field("kind", &self.kind).field("bytes", &self.body.len()).finish_non_exhaustive()
    }
}

impl Slot<'_> {
    /// Puts a record into the queue.
    pub(crate) fn fill(mut self, item: Item) {
        match item.urgency {
            Urgency::Ordinary => {
                self.state.bytes += item.body.len();
                self.state.items.push_back(item);
            }
            Urgency::Control => self.state.control.push_back(item),
        }
        self.state.since.get_or_insert_with(Instant::now);
        self.queue.filled.notify_one();
    }
}

impl State {
    fn admits(&self, policy: &CommitPolicy, urgency: Urgency, bytes: usize) -> bool {
        if urgency == Urgency::Control {
            return self.control.len() < CONTROL_RECORDS;
        }
        let fits = self.items.len() < policy.queue && self.bytes.saturating_add(bytes) <= policy.queue_bytes;
        fits || self.items.is_empty()
    }
}

impl Queue {
    pub(crate) fn new(policy: CommitPolicy, stats: CommitStats) -> Self {
        let state = State {
            items: VecDeque::new(),
            bytes: 0,
            control: VecDeque::new(),
            since: None,
            phase: Phase::Open,
            stats,
        };
        Self { policy, state: Mutex::new(state), filled: Condvar::new(), drained: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change under the lock is whole before anything that could panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a record into the queue, and waits for room if need be.
    pub(crate) fn push(&self, item: Item) -> Result<(), (Item, CommitError)> {
        let mut state = self.lock();
        loop {
            match &state.phase {
                Phase::Open if state.admits(&self.policy, item.urgency, item.body.len()) => break,
                Phase::Open => {}
                Phase::Closed => return Err((item, CommitError::Closed)),
                Phase::Ended(error) => {
                    let error = error.clone();
                    return Err((item, error));
                }
            }
            state = self.drained.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        Slot { queue: self, state }.fill(item);
        Ok(())
    }

    /// Returns a place in the queue if there is one.
    pub(crate) fn try_reserve(&self, bytes: usize) -> Result<Slot<'_>, Refusal> {
        let state = self.lock();
        match &state.phase {
            Phase::Open if state.admits(&self.policy, Urgency::Ordinary, bytes) => Ok(Slot { queue: self, state }),
            Phase::Open => Err(Refusal::Full),
            Phase::Closed => Err(Refusal::Ended(CommitError::Closed)),
            Phase::Ended(error) => Err(Refusal::Ended(error.clone())),
        }
    }

    /// Waits for work and returns what one sync is to make durable; nothing once the queue is closed
    /// and empty.
    pub(crate) fn next_group(&self) -> Option<VecDeque<Item>> {
        let mut state = self.lock();
        while state.items.is_empty() && state.control.is_empty() {
            if !matches!(state.phase, Phase::Open) {
                return None;
            }
            state = self.filled.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state = self.gather(state);
        state.bytes = 0;
        state.since = None;
        let mut group = std::mem::take(&mut state.control);
        group.append(&mut state.items);
        self.drained.notify_all();
        Some(group)
    }

    /// Waits until the group is large enough or its oldest record has waited long enough.
    fn gather<'a>(&self, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        while let Some(since) = state.since {
            let left = self.policy.max_wait.saturating_sub(since.elapsed());
            let is_full = state.bytes >= self.policy.max_bytes || state.items.len() >= self.policy.queue;
            if is_full || left.is_zero() || !matches!(state.phase, Phase::Open) {
                break;
            }
            (state, _) = self.filled.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner);
        }
        state
    }

    /// Waits a while for room on disk, less if control records come, and returns these; nothing if the
    /// queue is closed.
    pub(crate) fn wait_for_space(&self, patience: Duration) -> Option<VecDeque<Item>> {
        let mut state = self.lock();
        state.stats.is_waiting_for_space = true;
        let start = Instant::now();
        while matches!(state.phase, Phase::Open) && state.control.is_empty() {
            let left = patience.saturating_sub(start.elapsed());
            if left.is_zero() {
                break;
            }
            (state, _) = self.filled.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner);
        }
        matches!(state.phase, Phase::Open).then(|| {
            self.drained.notify_all();
            std::mem::take(&mut state.control)
        })
    }

    /// Notes that there is room again.
    pub(crate) fn space_found(&self) {
        self.lock().stats.is_waiting_for_space = false;
    }

    /// Notes a group that was committed.
    pub(crate) fn record(&self, durable: Lsn, records: u64, bytes: u64) {
        let mut state = self.lock();
        let stats = &mut state.stats;
        stats.durable = durable;
        stats.groups += u64::from(records > 0);
        stats.records += records;
        stats.bytes += bytes;
    }

    pub(crate) fn stats(&self) -> CommitStats {
        let state = self.lock();
        CommitStats { is_ended: matches!(state.phase, Phase::Ended(_)), ..state.stats }
    }

    /// Takes nothing new from now on.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        if matches!(state.phase, Phase::Open) {
            state.phase = Phase::Closed;
        }
        self.filled.notify_all();
        self.drained.notify_all();
    }

    /// Commits nothing from now on: whatever waits is refused for the same reason.
    pub(crate) fn end(&self, error: &CommitError) {
        let mut state = self.lock();
        if !matches!(state.phase, Phase::Ended(_)) {
            state.phase = Phase::Ended(error.clone());
        }
        let mut items = std::mem::take(&mut state.control);
        items.append(&mut state.items);
        state.bytes = 0;
        drop(state);
        self.drained.notify_all();
        for item in items {
            (item.done)(Err(error.clone()));
        }
    }
}
