//! Where every agent's streams stand: up to which record they are handed to the journal, and up to
//! which they are durable.
//!
//! ```text
//!  session ── looks up ──► Mark ◄── submitted ── normaliser (one thread a stream)
//!     ▲                     │  ◄── durable ───── journal's callback, in journal order
//!     └──── is woken ───────┘
//! ```
//!
//! A mark belongs to (agent, stream, epoch) and outlives its connections; a duplicate is told by
//! `submitted`, whoever sent it first. Bounds: 16 streams an agent, four epochs a stream.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use canh_event::{AgentId, Epoch, RecordSequence, StreamName};
use canh_wire::{MAX_STREAMS, Nack, NackCode, StreamState};
use tokio::sync::Notify;

use crate::book::{Book, MAX_ALL_SOURCES, SourceRoom};
use crate::retry::retry_after;

/// Epochs remembered of a stream: the one in use, and some before it in case a machine is rolled back.
const MAX_EPOCHS: usize = 4;

/// How long to wait before a book is asked for again that somebody counts in.
const BOOK_PAUSE: Duration = Duration::from_millis(1);

/// Batches whose digests are remembered of a stream: what a clone or a replay sends again in one window.
const DIGESTS: usize = 32;

/// What a batch was: its first and last sequence, and a digest of its records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Digest {
    pub(crate) first: RecordSequence,
    pub(crate) last: RecordSequence,
    pub(crate) crc: u32,
}

/// One stream of an agent in one life of its spool.
#[derive(Debug)]
pub(crate) struct Mark {
    agent: AgentId,
    stream: StreamName,
    epoch: Epoch,
    submitted: AtomicU64,
    durable: AtomicU64,
    book: Mutex<Book>,
    digests: Mutex<VecDeque<Digest>>,
    /// Whoever waits for it to become durable.
    holder: Mutex<Option<Arc<SessionSignal>>>,
}

/// How others reach a session: they wake it, or end it.
#[derive(Debug, Default)]
pub(crate) struct SessionSignal {
    woken: Notify,
    severed: Notify,
    verdict: Mutex<Option<Nack>>,
}

/// A stream and how far it is durable, to be kept through a restart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MarkState {
    pub(crate) agent: AgentId,
    pub(crate) stream: StreamName,
    pub(crate) epoch: Epoch,
    pub(crate) durable: RecordSequence,
}

/// All marks, and who is connected.
#[derive(Debug)]
pub(crate) struct Streams {
    agents: Mutex<HashMap<AgentId, Agent>>,
    connections_per_agent: usize,
    room: SourceRoom,
}

#[derive(Debug, Default)]
struct Agent {
    connections: usize,
    streams: Vec<Stream>,
}

#[derive(Debug)]
struct Stream {
    name: StreamName,
    /// Most recently used last.
    epochs: Vec<Arc<Mark>>,
    holder: Option<Arc<SessionSignal>>,
}

/// A connection's place among its agent's; gives it back when dropped.
#[derive(Debug)]
pub(crate) struct Admission {
    streams: Arc<Streams>,
    agent: AgentId,
}

/// An agent has more streams than are remembered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("agent {agent} has more than {MAX_STREAMS} streams")]
pub(crate) struct TooManyStreams {
    agent: AgentId,
}

impl Mark {
    fn new(agent: &AgentId, stream: &StreamName, epoch: Epoch, room: SourceRoom) -> Self {
        Self {
            agent: agent.clone(),
            stream: stream.clone(),
            epoch,
            submitted: AtomicU64::new(0),
            durable: AtomicU64::new(0),
            book: Mutex::new(Book::new(room)),
            digests: Mutex::default(),
            holder: Mutex::default(),
        }
    }

    /// Returns its book. Whoever counts in it holds the lock until the journal has been handed what is
    /// counted, so that a book never tells of more than the journal does.
    pub(crate) fn book(&self) -> MutexGuard<'_, Book> {
        lock(&self.book)
    }

    /// Returns its book unless somebody counts in it until the deadline, which who waits for a full disk does.
    pub(crate) fn book_before(&self, deadline: Instant) -> Option<MutexGuard<'_, Book>> {
        loop {
            match self.book.try_lock() {
                Ok(book) => return Some(book),
                Err(TryLockError::Poisoned(poisoned)) => return Some(poisoned.into_inner()),
                Err(TryLockError::WouldBlock) if Instant::now() >= deadline => return None,
                Err(TryLockError::WouldBlock) => std::thread::sleep(BOOK_PAUSE),
            }
        }
    }

    /// Remembers a batch.
    pub(crate) fn note_digest(&self, digest: Digest) {
        let mut digests = lock(&self.digests);
        if digests.len() >= DIGESTS {
            digests.pop_front();
        }
        digests.push_back(digest);
    }

    /// Returns the digest of a batch with these sequences, if it is remembered.
    pub(crate) fn digest_of(&self, first: RecordSequence, last: RecordSequence) -> Option<u32> {
        lock(&self.digests).iter().rfind(|known| known.first == first && known.last == last).map(|known| known.crc)
    }

    /// Returns the agent.
    pub(crate) fn agent(&self) -> &AgentId {
        &self.agent
    }

    /// Returns the stream.
    pub(crate) fn stream(&self) -> &StreamName {
        &self.stream
    }

    /// Returns the epoch.
    pub(crate) fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Returns the last record handed to the journal.
    pub(crate) fn submitted(&self) -> RecordSequence {
        RecordSequence(self.submitted.load(Ordering::Acquire))
    }

    /// Says up to which record the journal has been handed it. Only the stream's one normaliser does.
    pub(crate) fn set_submitted(&self, last: RecordSequence) {
        self.submitted.fetch_max(last.0, Ordering::AcqRel);
    }

    /// Returns the last durable record.
    pub(crate) fn durable(&self) -> RecordSequence {
        RecordSequence(self.durable.load(Ordering::Acquire))
    }

    /// Says up to which record it is durable, and wakes the session.
    pub(crate) fn settle(&self, last: RecordSequence) {
        self.durable.fetch_max(last.0, Ordering::AcqRel);
        if let Some(holder) = &*lock(&self.holder) {
            holder.wake();
        }
    }

    fn restore(&self, last: RecordSequence) {
        self.submitted.fetch_max(last.0, Ordering::AcqRel);
        self.durable.fetch_max(last.0, Ordering::AcqRel);
    }
}

impl SessionSignal {
    /// Has the session look at its marks.
    pub(crate) fn wake(&self) {
        self.woken.notify_one();
    }

    /// Ends the session with a refusal; the first one counts.
    pub(crate) fn refuse(&self, nack: Nack) {
        lock(&self.verdict).get_or_insert(nack);
        self.woken.notify_one();
    }

    /// Ends the session with a refusal, whatever it is doing; false if it was ending already.
    pub(crate) fn sever(&self, nack: Nack) -> bool {
        let is_first = lock(&self.verdict).replace(nack).is_none();
        self.woken.notify_one();
        self.severed.notify_one();
        is_first
    }

    /// Waits until somebody has severed the session. Safe to cancel.
    pub(crate) async fn severed(&self) {
        self.severed.notified().await;
    }

    /// Waits until somebody wakes the session. Safe to cancel.
    pub(crate) async fn woken(&self) {
        self.woken.notified().await;
    }

    /// Returns the refusal the session is to end with.
    pub(crate) fn verdict(&self) -> Option<Nack> {
        lock(&self.verdict).clone()
    }
}

impl Streams {
    /// Returns an empty table.
    pub(crate) fn new(connections_per_agent: usize) -> Self {
        let room = SourceRoom::new(MAX_ALL_SOURCES);
        Self { agents: Mutex::default(), connections_per_agent, room }
    }

    /// Takes in what the journal says: the stream is durable up to this record.
    pub(crate) fn restore(&self, state: &MarkState) -> Arc<Mark> {
        let mark = self.mark(&state.agent, &state.stream, state.epoch);
        mark.restore(state.durable);
        mark
    }

    /// Takes in what was counted of a stream.
    pub(crate) fn restore_book(&self, agent: &AgentId, stream: &StreamName, epoch: Epoch, book: Book) {
        *self.mark(agent, stream, epoch).book() = book;
    }

    fn mark(&self, agent: &AgentId, stream: &StreamName, epoch: Epoch) -> Arc<Mark> {
        let mut agents = lock(&self.agents);
        let entry = agents.entry(agent.clone()).or_default();
        entry.stream(stream).mark(agent, epoch, &self.room)
    }

    /// Returns how many more sources may be counted by name.
    pub(crate) fn source_room(&self) -> &SourceRoom {
        &self.room
    }

    /// Returns the marks of all streams. No book is looked at: who counts in one may wait for the journal,
    /// and nobody else may wait here for that.
    pub(crate) fn marks(&self) -> Vec<Arc<Mark>> {
        let agents = lock(&self.agents);
        let marks = agents.values().flat_map(|agent| &agent.streams).flat_map(|stream| &stream.epochs);
        marks.map(Arc::clone).collect()
    }

    /// Counts a connection of an agent; nothing if it has too many.
    pub(crate) fn admit(self: &Arc<Self>, agent: &AgentId) -> Option<Admission> {
        let mut agents = lock(&self.agents);
        let entry = agents.entry(agent.clone()).or_default();
        if entry.connections >= self.connections_per_agent {
            return None;
        }
        entry.connections += 1;
        Some(Admission { streams: Arc::clone(self), agent: agent.clone() })
    }

    /// Hands a session the streams of its HELLO. A session that had one of them before is ended: its
    /// line is most likely dead, and the agent is here now.
    ///
    /// # Errors
    /// [`TooManyStreams`].
    pub(crate) fn open(
        &self,
        agent: &AgentId,
        wanted: &[StreamState],
        session: &Arc<SessionSignal>,
    ) -> Result<Vec<Arc<Mark>>, TooManyStreams> {
        let mut agents = lock(&self.agents);
        let entry = agents.entry(agent.clone()).or_default();
        let is_known = |name: &StreamName| entry.streams.iter().any(|stream| stream.name == *name);
        let new = wanted.iter().filter(|state| !is_known(&state.stream)).count();
        if entry.streams.len() + new > MAX_STREAMS {
            return Err(TooManyStreams { agent: agent.clone() });
        }
        let mut marks = Vec::new();
        for state in wanted {
            let stream = entry.stream(&state.stream);
            if let Some(before) = stream.holder.replace(Arc::clone(session)) {
                let (code, place) = (NackCode::Superseded, None);
                before.refuse(Nack { code, retry_after: retry_after(code), place });
            }
            let mark = stream.mark(agent, state.epoch, &self.room);
            *lock(&mark.holder) = Some(Arc::clone(session));
            marks.push(mark);
        }
        Ok(marks)
    }

    /// Returns how far every stream is durable.
    pub(crate) fn durable(&self) -> Vec<MarkState> {
        let agents = lock(&self.agents);
        let marks = agents.values().flat_map(|agent| &agent.streams).flat_map(|stream| &stream.epochs);
        let states = marks.map(|mark| MarkState {
            agent: mark.agent.clone(),
            stream: mark.stream.clone(),
            epoch: mark.epoch,
            durable: mark.durable(),
        });
        states.filter(|state| state.durable.0 > 0).collect()
    }

    fn leave(&self, agent: &AgentId) {
        let mut agents = lock(&self.agents);
        if let Some(entry) = agents.get_mut(agent) {
            entry.connections = entry.connections.saturating_sub(1);
            if entry.connections == 0 {
                entry.streams.retain_mut(Stream::let_go);
            }
            if entry.connections == 0 && entry.streams.is_empty() {
                agents.remove(agent);
            }
        }
    }
}

impl Agent {
    fn stream(&mut self, name: &StreamName) -> &mut Stream {
        let index = self.streams.iter().position(|stream| stream.name == *name).unwrap_or_else(|| {
            self.streams.push(Stream { name: name.clone(), epochs: Vec::new(), holder: None });
            self.streams.len() - 1
        });
        // The index was found or made just now.
        #[expect(clippy::indexing_slicing, reason = "the index was found or made just above")]
        &mut self.streams[index]
    }
}

impl Stream {
    /// Returns the mark of an epoch, and makes it the most recently used.
    fn mark(&mut self, agent: &AgentId, epoch: Epoch, room: &SourceRoom) -> Arc<Mark> {
        let known = self.epochs.iter().position(|mark| mark.epoch == epoch);
        let mark = match known {
            Some(index) => self.epochs.remove(index),
            None => Arc::new(Mark::new(agent, &self.name, epoch, room.clone())),
        };
        if self.epochs.len() >= MAX_EPOCHS {
            // An epoch nothing was ever stored of is forgotten first.
            let empty = self.epochs.iter().position(is_forgettable);
            self.epochs.remove(empty.unwrap_or(0));
        }
        self.epochs.push(Arc::clone(&mark));
        mark
    }

    /// Forgets the session, and says whether there is anything else to remember.
    fn let_go(&mut self) -> bool {
        self.holder = None;
        self.epochs.retain(|mark| !is_forgettable(mark));
        for mark in &self.epochs {
            *lock(&mark.holder) = None;
        }
        !self.epochs.is_empty()
    }
}

/// Whether nothing was ever stored of it, and nothing is under way: a batch on its way to the journal
/// holds its mark.
fn is_forgettable(mark: &Arc<Mark>) -> bool {
    mark.submitted().0 == 0 && Arc::strong_count(mark) == 1
}

impl Drop for Admission {
    fn drop(&mut self) {
        self.streams.leave(&self.agent);
    }
}

/// What these locks hold is whole after every statement, so a panic elsewhere spoils nothing.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
