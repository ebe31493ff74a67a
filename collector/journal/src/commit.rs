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
//! order of submission, once for each record. If there is no room on disk the committer waits for
//! it and nothing is refused: the queue fills, `submit` waits, and so does whoever feeds it. After
//! any other failure it stops, and nothing is ever acknowledged again.

use std::collections::VecDeque;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tracing::{error, info, warn};

use crate::fs::{DiskFs, Fs};
use crate::journal::Journal;
use crate::lsn::Lsn;
use crate::queue::{CommitError, CommitPolicy, CommitStats, Done, Group, Item, Queue, Refusal};
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
        let queue = Arc::new(Queue::new(policy, stats_of(&journal)));
        let worker = Worker { journal, queue: Arc::clone(&queue), bytes: 0, waiting: Vec::new() };
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
        let item = Item { kind, body, done: Box::new(done) };
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
                slot.fill(Item { kind, body, done: Box::new(done) });
                Ok(())
            }
            Err(Refusal::Full) => Err(NotSubmitted { kind, body, done, error: None }),
            Err(Refusal::Ended(error)) => Err(NotSubmitted { kind, body, done, error: Some(error) }),
        }
    }

    /// Lets the committer drop sealed segments that hold only records before `lsn`.
    ///
    /// # Contract
    /// As [`Journal::drop_before`].
    pub fn drop_before(&self, lsn: Lsn) {
        self.queue.drop_before(lsn);
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

fn stats_of<F: Fs>(journal: &Journal<F>) -> CommitStats {
    let durable = journal.durable().unwrap_or(Lsn::ZERO);
    CommitStats { durable, oldest: journal.oldest(), size_bytes: journal.size_bytes(), ..CommitStats::default() }
}

struct Worker<F: Fs> {
    journal: Journal<F>,
    queue: Arc<Queue>,
    /// Body bytes appended and not synced.
    bytes: u64,
    /// Who waits for the next sync.
    waiting: Vec<(Lsn, Done)>,
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
            waiting.chain(group.items.into_iter().map(|item| item.done)).for_each(|done| done(Err(error.clone())));
            self.queue.end(&error);
            if matches!(error, CommitError::Stopped(_)) {
                return Err(error);
            }
        }
        Ok(self.journal)
    }

    /// Commits a group. What is left in it if that fails has not been appended.
    fn commit(&mut self, group: &mut Group) -> Result<(), Ending> {
        self.journal.drop_before(group.drop_before)?;
        while let Some(item) = group.items.pop_front() {
            self.append(item, &mut group.items)?;
        }
        Ok(self.settle()?)
    }

    fn append(&mut self, item: Item, rest: &mut VecDeque<Item>) -> Result<(), Ending> {
        match self.append_when_room(&item) {
            Ok(lsn) => {
                self.bytes += item.body.len() as u64;
                self.waiting.push((lsn, item.done));
                Ok(())
            }
            Err(Ending::Failed(JournalError::TooLarge { bytes })) => {
                (item.done)(Err(CommitError::TooLarge { bytes }));
                Ok(())
            }
            Err(ending) => {
                rest.push_front(item);
                Err(ending)
            }
        }
    }

    fn append_when_room(&mut self, item: &Item) -> Result<Lsn, Ending> {
        let mut error = match self.journal.append(item.kind, &item.body) {
            Err(error @ JournalError::NoSpace { .. }) => error,
            done => return Ok(done?),
        };
        warn!(error = &error as &dyn std::error::Error, "journal waits for room on disk");
        self.settle()?;
        while matches!(error, JournalError::NoSpace { .. }) {
            let lsn = self.queue.wait_for_space(SPACE_RETRY).ok_or(Ending::NoRoom)?;
            self.journal.drop_before(lsn)?;
            match self.journal.append(item.kind, &item.body) {
                Ok(lsn) => {
                    self.queue.space_found();
                    info!("journal has room again");
                    return Ok(lsn);
                }
                Err(again) => error = again,
            }
        }
        Err(error.into())
    }

    /// Syncs, and tells everybody whose record is durable by that.
    fn settle(&mut self) -> Result<(), JournalError> {
        self.journal.sync()?;
        let (bytes, waiting) = (std::mem::take(&mut self.bytes), std::mem::take(&mut self.waiting));
        self.queue.record(stats_of(&self.journal), waiting.len() as u64, bytes);
        waiting.into_iter().for_each(|(lsn, done)| done(Ok(lsn)));
        Ok(())
    }
}

#[cfg(test)]
mod tests;
