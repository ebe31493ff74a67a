//! Keeps the journal: gauges, marks and retention, once a second on a thread of its own.
//!
//! The order of a checkpoint is what makes it safe: first how far all marks are known is noted
//! (`Settled`), then books and marks are taken, then the marks are made durable in the journal, and with
//! them everything the books tell of, then copies of losses and the books, and only then the cursor moves,
//! to right behind what was noted. What came between is read again at the next start, and the highest counts.

use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant, UNIX_EPOCH};

use canh_journal::{CommitHandle, CommitStats, Lsn, Retention, SegmentInfo, SegmentState};

use crate::books;
use crate::journal::{Kept, Settled};
use crate::kinds::KIND_MARKS;
use crate::losses::LossOutbox;
use crate::marks;
use crate::metrics::Metrics;
use crate::streams::Streams;

const TICK: Duration = Duration::from_secs(1);
/// A start reads at most about this much of the journal.
const CHECKPOINT_BYTES: u64 = 64 << 20;
/// Marks are kept this often even if little was written.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(60);
/// How long a checkpoint waits for the journal: longer than any sync, shorter than forever.
const CHECKPOINT_DEADLINE: Duration = Duration::from_secs(30);

/// States of segments, as the metric names them.
const STATES: [(SegmentState, &str); 3] =
    [(SegmentState::Open, "open"), (SegmentState::Sealed, "sealed"), (SegmentState::Compressed, "compressed")];

/// The keeper's parts.
#[derive(Debug)]
pub(crate) struct Keeper {
    commit: CommitHandle,
    settled: Arc<Settled>,
    losses: LossOutbox,
    kept: Kept,
    retention: Retention,
    streams: Arc<Streams>,
    metrics: Metrics,
    shown: CommitStats,
    /// When marks were last looked at, and how much had been written then.
    looked: (Instant, u64),
}

impl Keeper {
    /// Returns the keeper of an open journal.
    pub(crate) fn new(
        commit: CommitHandle,
        settled: Arc<Settled>,
        losses: LossOutbox,
        kept: Kept,
        retention: Retention,
        streams: Arc<Streams>,
        metrics: Metrics,
    ) -> Self {
        let (shown, looked) = (CommitStats::default(), (Instant::now(), 0));
        Self { commit, settled, losses, kept, retention, streams, metrics, shown, looked }
    }

    /// Keeps the journal until the sender of `stop` is dropped, and then once more.
    pub(crate) fn run(mut self, stop: &Receiver<()>) {
        while let Err(RecvTimeoutError::Timeout) = stop.recv_timeout(TICK) {
            self.tick();
        }
        self.copy_losses();
        self.keep_marks();
        self.show(self.commit.stats());
    }

    /// Does what is due.
    pub(crate) fn tick(&mut self) {
        let stats = self.commit.stats();
        self.show(stats);
        self.copy_losses();
        let (at, bytes) = self.looked;
        let is_due = stats.bytes.saturating_sub(bytes) >= CHECKPOINT_BYTES || at.elapsed() >= CHECKPOINT_EVERY;
        if is_due && !stats.is_waiting_for_space {
            self.keep_marks();
        }
        self.drop_oldest();
    }

    /// Copies gaps and accounts for those who ask for losses; false if it cannot be done now.
    fn copy_losses(&mut self) -> bool {
        match self.kept.losses.flush(&self.losses, &self.kept.dir) {
            Ok(()) => true,
            Err(error) => {
                let error = format!("{error:#}");
                tracing::error!(error, "gaps and accounts are not copied; a restart reads them from the journal");
                false
            }
        }
    }

    fn show(&mut self, stats: CommitStats) {
        let gauge = |lsn: Lsn| i64::try_from(lsn.0).unwrap_or(i64::MAX);
        self.metrics.journal_durable.set(gauge(stats.durable));
        self.show_segments();
        self.metrics.journal_waits_for_space.set(i64::from(stats.is_waiting_for_space));
        self.metrics.journal_records.inc_by(stats.records.saturating_sub(self.shown.records));
        self.metrics.journal_bytes.inc_by(stats.bytes.saturating_sub(self.shown.bytes));
        self.metrics.journal_syncs.inc_by(stats.groups.saturating_sub(self.shown.groups));
        self.shown = stats;
    }

    fn show_segments(&self) {
        let segments = self.kept.segments.list();
        let gauge = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        let sum = |bytes: fn(&SegmentInfo) -> u64| gauge(segments.iter().map(bytes).sum());
        self.metrics.journal_size_bytes.set(sum(|segment| segment.bytes));
        self.metrics.journal_saved_bytes.set(sum(|segment| segment.written_bytes.saturating_sub(segment.bytes)));
        for (state, name) in STATES {
            let count = segments.iter().filter(|segment| segment.state == state).count();
            self.metrics.journal_segments.with_label_values(&[name]).set(gauge(count as u64));
        }
        let Some(oldest) = segments.first() else { return };
        self.metrics.journal_oldest.set(gauge(oldest.first.0));
        let since = oldest.since.and_then(|since| since.duration_since(UNIX_EPOCH).ok());
        self.metrics.journal_oldest_time.set(gauge(since.unwrap_or_default().as_secs()));
    }

    /// Writes all marks into the journal and moves the cursor, if anything has happened since.
    pub(crate) fn keep_marks(&mut self) {
        let known = self.settled.last();
        let Some(books) = books::encode(&self.streams, self.kept.store) else { return };
        let states = self.streams.durable();
        self.metrics.streams.set(i64::try_from(states.len()).unwrap_or(i64::MAX));
        self.looked = (Instant::now(), self.commit.stats().bytes);
        // The marks themselves are records too; with nothing else since, they are not written again.
        if known <= self.kept.up_to || states.is_empty() {
            return;
        }
        let Some(last) = self.write(marks::encode(&states)) else { return };
        if !self.copy_losses() {
            return;
        }
        if let Err(error) = books::save(&self.kept.books, &books) {
            tracing::warn!(%error, "the books were not kept");
            return;
        }
        if let Err(error) = self.kept.cursor.set(known.next(), &self.kept.store.to_le_bytes()) {
            tracing::warn!(error = &error as &dyn std::error::Error, "the place of the marks was not kept");
            return;
        }
        self.kept.up_to = last;
        tracing::debug!(streams = states.len(), from = %known.next(), "places of streams kept");
    }

    /// Returns the place of the last record once all are durable.
    fn write(&self, records: Vec<Vec<u8>>) -> Option<Lsn> {
        let count = records.len();
        let (sender, receiver) = mpsc::channel();
        for body in records {
            let (sender, settled) = (sender.clone(), Arc::clone(&self.settled));
            self.commit.submit_control(KIND_MARKS, body, move |result| {
                match &result {
                    Ok(lsn) => settled.settle(*lsn),
                    Err(error) => settled.fail(error.clone()),
                }
                // The keeper may have given up waiting.
                let _ = sender.send(result.ok());
            });
        }
        let mut last = None;
        for _ in 0..count {
            last = Some(receiver.recv_timeout(CHECKPOINT_DEADLINE).ok().flatten()?);
        }
        last
    }

    /// Drops the journal's oldest segments as the rule says. What the next start reads is kept whatever
    /// the rule is.
    fn drop_oldest(&self) {
        let Some((needed, _)) = self.kept.cursor.get() else { return };
        match self.kept.segments.retain(&self.retention, needed) {
            Ok(count) => self.metrics.journal_dropped_segments.inc_by(count as u64),
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "the journal's oldest segments were not dropped"
                );
            }
        }
    }
}
