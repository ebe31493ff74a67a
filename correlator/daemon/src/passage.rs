//! What the rooms hand each other, and what they say of themselves while doing so.
//!
//! ```text
//! follow ─Read─► detect (one or several) ─Matched─► decide ─Finding─► persist ◄─Request─ api
//! ```

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use canh_event::{EventBatch, Timestamp};
use canh_sigma::Hit;

use crate::rules::Rules;

/// A journal record as it was read. The rules travel with it, so that a reload takes effect between
/// two records, and between the same two in every room.
#[derive(Clone, Debug)]
pub(crate) struct Read {
    /// Its place in the journal.
    pub(crate) position: u64,
    /// Its events.
    pub(crate) batch: EventBatch,
    /// The rules in force.
    pub(crate) rules: Arc<Rules>,
}

/// A journal record with the rules its events met.
#[derive(Clone, Debug)]
pub(crate) struct Matched {
    /// The record.
    pub(crate) read: Read,
    /// Which event met which rule, sorted.
    pub(crate) hits: Vec<Hit>,
}

/// How far the work is. Each number is written by one room and read by the API; they need not be
/// of one moment.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// The last journal position that was correlated, and is in the ledger if it led to anything.
    pub(crate) position: AtomicU64,
    /// The last durable journal position, as last seen.
    pub(crate) journal: AtomicU64,
    /// The highest event time, in nanoseconds; `i64::MIN` before the first event.
    event_time: AtomicI64,
    /// Events looked at since the start.
    pub(crate) events: AtomicU64,
    /// Events that came too late.
    pub(crate) events_late: AtomicU64,
    /// Groups held.
    pub(crate) groups: AtomicU64,
    /// Groups dropped.
    pub(crate) groups_dropped: AtomicU64,
    /// Incidents.
    pub(crate) incidents: AtomicU64,
    /// Incidents that are not closed.
    pub(crate) incidents_open: AtomicU64,
}

impl Progress {
    /// Returns the state of a daemon that stands at a position.
    pub(crate) fn at(position: u64) -> Self {
        let progress = Self { event_time: AtomicI64::new(i64::MIN), ..Self::default() };
        set(&progress.position, position);
        progress
    }

    /// Takes in the times of a batch.
    pub(crate) fn saw_events(&self, batch: &EventBatch) {
        if let Some(newest) = batch.times().iter().max() {
            self.event_time.fetch_max(newest.nanos(), Ordering::Relaxed);
        }
    }

    /// Returns the highest event time, if there was an event.
    pub(crate) fn event_time(&self) -> Option<Timestamp> {
        let nanos = self.event_time.load(Ordering::Relaxed);
        (nanos != i64::MIN).then(|| Timestamp::from_nanos(nanos))
    }
}

/// Writes one of the numbers.
pub(crate) fn set(number: &AtomicU64, value: u64) {
    number.store(value, Ordering::Relaxed);
}

/// Reads one of the numbers.
pub(crate) fn get(number: &AtomicU64) -> u64 {
    number.load(Ordering::Relaxed)
}

/// Returns a number as a gauge takes it.
pub(crate) fn gauge(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
