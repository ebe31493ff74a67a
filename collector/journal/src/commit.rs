//! Group commit: one thread, one sync for everything that came in meanwhile.
//!
//! ```text
//! submit ──► queue ──► group ──► append, append, ... ──► one sync ──► done(lsn), done(lsn), ...
//!  waits      bounded   closed at max_bytes, or when its oldest record has waited max_wait
//! ```
//!
//! A sync costs milliseconds whatever it syncs, so the path's speed is the size of its groups.
//! While a sync runs the next group fills, and it goes at once if its oldest record has waited
//! long enough.
//!
//! `done` runs on the committer's thread, after the sync that made its record durable, in the
//! order of their places, once for each record. If there is no room on disk the committer waits for
//! it and nothing is refused: the queue fills, `submit` waits, and so does whoever feeds it. Control
//! records get through meanwhile, as long as the room kept for them lasts. After any other failure it
//! stops, and nothing is ever acknowledged again.
//!
//! Nothing but appending and syncing happens here: segments are compressed and dropped through
//! [`crate::Segments`], on other threads.

use std::collections::VecDeque;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tracing::{error, info, warn};

use crate::fs::{DiskFs, Fs};
use crate::journal::{Journal, Synced};
use crate::lsn::Lsn;
use crate::queue::{CommitError, CommitPolicy, CommitReport, CommitStats, Done, Item, Queue, Refusal, Urgency};
use crate::segment::JournalError;

/// How long the committer waits before it asks a full disk again.
const SPACE_RETRY: Duration = Duration::from_secs(1);

/// A record that [`CommitHandle::try_submit`] did not take.
#[derive(Debug)]
pub struct NotSubmitted<D> {
    /// Its kind.
    pub kind: u8,
    /// Its body.
    pub body: Vec<u8>,
    /// Its callback, which has not run.
    pub done: D,
    /// Why: nothing means that the queue is full.
    pub error: Option<CommitError>,
}

/// The maker of the group commit thread.
#[derive(Debug)]
pub struct Committer;

/// What a committer's thread gives back: the journal, or why it stopped.
pub type CommitOutcome<F = DiskFs> = Result<Journal<F>, CommitError>;

/// Submits records to a committer. The committer ends when the last handle is gone and the queue
/// is empty.
#[derive(Clone, Debug)]
pub struct CommitHandle {
    queue: Arc<Queue>,
    /// Closes the queue when the last handle drops it.
    _open: Arc<CloseOnDrop>,
}

#[derive(Debug)]
struct CloseOnDrop(Arc<Queue>);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl Committer {
    /// Starts a thread that owns the journal, and gives it back when it ends.
    ///
    /// # Errors
    /// [`CommitError::Thread`].
    pub fn spawn<F: Fs>(
        journal: Journal<F>,
        policy: CommitPolicy,
    ) -> Result<(CommitHandle, JoinHandle<CommitOutcome<F>>), CommitError> {
        Self::spawn_observed(journal, policy, |_| ())
    }

    /// Starts a thread as [`Committer::spawn`] does, and lets somebody look at every sync.
    ///
    /// # Errors
    /// [`CommitError::Thread`].
    ///
    /// # Contract
    /// `observe` does not panic and does not wait: it runs on the committer's thread.
    pub fn spawn_observed<F: Fs>(
        journal: Journal<F>,
        policy: CommitPolicy,
        observe: impl FnMut(&CommitReport) + Send + 'static,
    ) -> Result<(CommitHandle, JoinHandle<CommitOutcome<F>>), CommitError> {
        let stats = CommitStats { durable: journal.durable().unwrap_or(Lsn::ZERO), ..CommitStats::default() };
        let queue = Arc::new(Queue::new(policy, stats));
        let (observe, reported) = (Box::new(observe), journal.synced());
        let (waiting, blocked) = (Vec::new(), VecDeque::new());
        let worker = Worker { journal, queue: Arc::clone(&queue), bytes: 0, waiting, observe, blocked, reported };
        let thread = thread::Builder::new()
            .name("journal-commit".to_owned())
            .spawn(move || worker.run())
            .map_err(|error| CommitError::Thread(Arc::new(error)))?;
        Ok((CommitHandle { _open: Arc::new(CloseOnDrop(Arc::clone(&queue))), queue }, thread))
    }
}

impl CommitHandle {
    /// Submits a record, and waits while the queue is full. `done` runs exactly once: with the
    /// record's place once it is durable, or with the reason why it never will be.
    ///
    /// # Contract
    /// `done` does not panic and does not wait: the next sync waits for it.
    pub fn submit(&self, kind: u8, body: Vec<u8>, done: impl FnOnce(Result<Lsn, CommitError>) + Send + 'static) {
        self.push(Item { urgency: Urgency::Ordinary, kind, body, done: Box::new(done) });
    }

    /// Submits a record that must be written even when the disk is full: it goes into the room kept for
    /// such ([`crate::JournalOptions::reserve_bytes`]), and may overtake records that wait.
    ///
    /// # Contract
    /// As [`CommitHandle::submit`]. Its meaning does not depend on records submitted before it.
    pub fn submit_control(
        &self,
        kind: u8,
        body: Vec<u8>,
        done: impl FnOnce(Result<Lsn, CommitError>) + Send + 'static,
    ) {
        self.push(Item { urgency: Urgency::Control, kind, body, done: Box::new(done) });
    }

    fn push(&self, item: Item) {
        if let Err((item, error)) = self.queue.push(item) {
            (item.done)(Err(error));
        }
    }

    /// Submits a record unless the queue is full or closed.
    ///
    /// # Errors
    /// [`NotSubmitted`] with everything given back.
    pub fn try_submit<D>(&self, kind: u8, body: Vec<u8>, done: D) -> Result<(), NotSubmitted<D>>
    where
        D: FnOnce(Result<Lsn, CommitError>) + Send + 'static,
    {
        match self.queue.try_reserve(body.len()) {
            Ok(slot) => {
                slot.fill(Item { urgency: Urgency::Ordinary, kind, body, done: Box::new(done) });
                Ok(())
            }
            Err(Refusal::Full) => Err(NotSubmitted { kind, body, done, error: None }),
            Err(Refusal::Ended(error)) => Err(NotSubmitted { kind, body, done, error: Some(error) }),
        }
    }

    /// Returns what has been done so far.
    pub fn stats(&self) -> CommitStats {
        self.queue.stats()
    }

    /// Takes nothing new from now on, whoever still holds a handle; the thread ends once the
    /// queue is empty.
    pub fn close(&self) {
        self.queue.close();
    }
}

struct Worker<F: Fs> {
    journal: Journal<F>,
    queue: Arc<Queue>,
    /// Body bytes appended and not synced.
    bytes: u64,
    /// Who waits for the next sync.
    waiting: Vec<(Lsn, Done)>,
    observe: Box<dyn FnMut(&CommitReport) + Send>,
    /// Records for which there is no room.
    blocked: VecDeque<Item>,
    /// The last sync that was reported.
    reported: Option<Synced>,
}

/// Why the worker does not go on.
enum Ending {
    Failed(JournalError),
    /// Closed while there was no room.
    NoRoom,
}

impl From<JournalError> for Ending {
    fn from(error: JournalError) -> Self {
        Self::Failed(error)
    }
}

/// Ends the queue when the worker ends, also by a panic in somebody's callback: nobody may wait
/// for a thread that is gone.
struct EndOnDrop(Arc<Queue>);

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        self.0.end(&CommitError::Closed);
    }
}

impl<F: Fs> Worker<F> {
    fn run(mut self) -> CommitOutcome<F> {
        let _end = EndOnDrop(Arc::clone(&self.queue));
        while let Some(mut group) = self.queue.next_group() {
            let Err(ending) = self.commit(&mut group) else { continue };
            let error = match ending {
                Ending::Failed(cause) => {
                    error!(error = &cause as &dyn std::error::Error, "journal failed, nothing more is acknowledged");
                    CommitError::Stopped(Arc::new(cause))
                }
                Ending::NoRoom => CommitError::Closed,
            };
            let waiting = std::mem::take(&mut self.waiting).into_iter().map(|(_, done)| done);
            let blocked = std::mem::take(&mut self.blocked);
            waiting
                .chain(blocked.into_iter().chain(group).map(|item| item.done))
                .for_each(|done| done(Err(error.clone())));
            self.queue.end(&error);
            if matches!(error, CommitError::Stopped(_)) {
                return Err(error);
            }
        }
        Ok(self.journal)
    }

    /// Commits a group. What is left in it or blocked if that fails has not been appended.
    fn commit(&mut self, group: &mut VecDeque<Item>) -> Result<(), Ending> {
        while let Some(item) = group.pop_front() {
            if let Some((item, error)) = self.try_append(item)? {
                warn!(error = &error as &dyn std::error::Error, "journal waits for room on disk");
                self.blocked.push_back(item);
                self.wait_for_room(group)?;
                info!("journal has room again");
            }
        }
        Ok(self.settle()?)
    }

    /// Appends a record, and gives it back if there is no room for it.
    fn try_append(&mut self, item: Item) -> Result<Option<(Item, JournalError)>, Ending> {
        let appended = match item.urgency {
            Urgency::Ordinary => self.journal.append(item.kind, &item.body),
            Urgency::Control => self.journal.append_control(item.kind, &item.body),
        };
        match appended {
            Ok(lsn) => {
                self.bytes += item.body.len() as u64;
                self.waiting.push((lsn, item.done));
            }
            Err(JournalError::TooLarge { bytes }) => (item.done)(Err(CommitError::TooLarge { bytes })),
            Err(error @ JournalError::NoSpace { .. }) => return Ok(Some((item, error))),
            Err(error) => {
                self.blocked.push_front(item);
                return Err(error.into());
            }
        }
        Ok(None)
    }

    /// Waits until there is room for what is blocked. Control records of the same group, and those that
    /// come, do not wait for ordinary ones.
    fn wait_for_room(&mut self, group: &mut VecDeque<Item>) -> Result<(), Ending> {
        let (control, ordinary) = group.drain(..).partition(|item| item.urgency == Urgency::Control);
        *group = ordinary;
        let mut control: VecDeque<Item> = control;
        loop {
            self.blocked.append(&mut control);
            for _ in 0..self.blocked.len() {
                let Some(item) = self.blocked.pop_front() else { break };
                if let Some((item, _)) = self.try_append(item)? {
                    self.blocked.push_back(item);
                }
            }
            if self.blocked.is_empty() {
                self.queue.space_found();
                return Ok(());
            }
            self.settle()?;
            control = self.queue.wait_for_space(SPACE_RETRY).ok_or(Ending::NoRoom)?;
        }
    }

    /// Syncs, and tells everybody whose record is durable by that.
    fn settle(&mut self) -> Result<(), JournalError> {
        let durable = self.journal.sync()?;
        let (bytes, waiting) = (std::mem::take(&mut self.bytes), std::mem::take(&mut self.waiting));
        let records = waiting.len() as u64;
        self.queue.record(durable, records, bytes);
        if let Some(synced) = self.journal.synced().filter(|synced| self.reported != Some(*synced)) {
            self.reported = Some(synced);
            (self.observe)(&CommitReport { durable, records, bytes, synced });
        }
        waiting.into_iter().for_each(|(lsn, done)| done(Ok(lsn)));
        Ok(())
    }
}

#[cfg(test)]
mod tests;
