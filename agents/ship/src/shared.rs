//! What those who submit and the one who sends share: the spool, and how far each has come.
//!
//! The spool is only touched on the runtime's blocking threads: a sync takes milliseconds.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use canh_event::RecordSequence;
use tokio::sync::watch;
use tokio::task::spawn_blocking;

use crate::dropped::DroppedIndex;
use crate::metrics::ShipMetrics;
use crate::spool::{self, Spool, SpoolError};

/// What submitting and sending share.
#[derive(Debug)]
pub(crate) struct Shared {
    spool: Arc<Mutex<Spool>>,
    /// The last record in the spool.
    pub(crate) spooled: watch::Sender<RecordSequence>,
    /// The last record acknowledged, or given up and said so.
    pub(crate) acknowledged: watch::Sender<RecordSequence>,
    /// Changes whenever there may be room again.
    pub(crate) room: watch::Sender<u64>,
    /// Which acknowledged record lets a segment be dropped.
    drops_at: Arc<AtomicU64>,
    /// The turn of the spool's last record: it changes with whatever is spooled.
    turn: Arc<AtomicU64>,
    dropped: Arc<Mutex<DroppedIndex>>,
    pub(crate) metrics: ShipMetrics,
}

impl Shared {
    pub(crate) fn new(spool: Spool, metrics: ShipMetrics) -> Self {
        let shared = Self {
            spooled: watch::Sender::new(spool.last()),
            acknowledged: watch::Sender::new(spool.acknowledged()),
            room: watch::Sender::new(0),
            drops_at: Arc::new(AtomicU64::new(drops_at(&spool))),
            turn: Arc::new(AtomicU64::new(spool.turn())),
            dropped: spool.dropped(),
            spool: Arc::new(Mutex::new(spool)),
            metrics,
        };
        shared.show_backlog();
        shared
    }

    /// Runs a step on the spool, on a blocking thread. The step runs to its end even if nobody
    /// waits for it any more.
    pub(crate) async fn with_spool<T: Send + 'static>(&self, step: impl FnOnce(&mut Spool) -> T + Send + 'static) -> T {
        let (spool, bytes) = (Arc::clone(&self.spool), self.metrics.spool_bytes.clone());
        let (at, turn) = (Arc::clone(&self.drops_at), Arc::clone(&self.turn));
        run_blocking(move || {
            let mut spool = lock(&spool);
            let result = step(&mut spool);
            at.store(drops_at(&spool), Ordering::Relaxed);
            turn.store(spool.turn(), Ordering::Relaxed);
            bytes.set(i64::try_from(spool.size_bytes()).unwrap_or(i64::MAX));
            result
        })
        .await
    }

    /// Runs a short step that only looks, on this thread.
    pub(crate) fn look<T>(&self, step: impl FnOnce(&Spool) -> T) -> T {
        step(&lock(&self.spool))
    }

    /// Runs a short step on what was dropped, on this thread.
    pub(crate) fn with_dropped<T>(&self, step: impl FnOnce(&mut DroppedIndex) -> T) -> T {
        step(&mut spool::lock(&self.dropped))
    }

    /// Returns the turn of the spool's last record.
    pub(crate) fn turn(&self) -> u64 {
        self.turn.load(Ordering::Relaxed)
    }

    /// Notes that everything up to a record is in the spool.
    pub(crate) fn note_spooled(&self, last: RecordSequence) {
        self.spooled.send_if_modified(|now| raise(now, last));
        self.show_backlog();
    }

    /// Notes that a store has acknowledged everything up to a record, and drops what can be dropped.
    pub(crate) async fn acknowledge(&self, store: u128, durable: RecordSequence) -> Result<(), SpoolError> {
        let has_told = self.with_dropped(|dropped| dropped.has_news(durable));
        let may_drop = has_told || durable.0 >= self.drops_at.load(Ordering::Relaxed);
        let is_last = durable >= *self.spooled.borrow();
        // The spool is told when it matters: a segment can go, or nothing is left to wait for.
        if may_drop || is_last {
            self.with_spool(move |spool| spool.acknowledge(store, durable)).await?;
            self.room.send_modify(|changes| *changes = changes.wrapping_add(1));
        }
        self.acknowledged.send_if_modified(|now| raise(now, durable));
        self.show_backlog();
        Ok(())
    }

    fn show_backlog(&self) {
        let left = self.spooled.borrow().0.saturating_sub(self.acknowledged.borrow().0);
        self.metrics.spool_records.set(i64::try_from(left).unwrap_or(i64::MAX));
    }
}

/// Runs a step on a blocking thread; a panic in it goes on here.
pub(crate) async fn run_blocking<T: Send + 'static>(step: impl FnOnce() -> T + Send + 'static) -> T {
    match spawn_blocking(step).await {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime is shutting down, and this task with it.
            Err(_) => std::future::pending().await,
        },
    }
}

fn lock(spool: &Mutex<Spool>) -> MutexGuard<'_, Spool> {
    // A step that panicked has left the journal stopped or whole, never in between.
    spool.lock().unwrap_or_else(PoisonError::into_inner)
}

fn drops_at(spool: &Spool) -> u64 {
    spool.drops_at().map_or(u64::MAX, |sequence| sequence.0)
}

/// Raises a mark, and returns whether it was lower.
fn raise(mark: &mut RecordSequence, to: RecordSequence) -> bool {
    let is_higher = to > *mark;
    *mark = to.max(*mark);
    is_higher
}
