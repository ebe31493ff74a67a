//! Reads the collector's journal from a position on and hands its events to the matchers.
//!
//! Comes in: journal records, durable ones only. Goes out: [`Read`]s, to the matchers in turn. What
//! cannot be read (undecodable, damaged on disk, dropped before it was read) is counted by reason
//! and said, and reading goes on behind it; only a journal that is another one ends the daemon.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::thread;
use std::time::{Duration, Instant};

use canh_event::StoredBatch;
use canh_journal::{Lsn, ReadError, Reader};
use canh_service::notify::Pulse;
use canh_service::signals::Shutdown;
use tokio::sync::watch;

use crate::metrics::Metrics;
use crate::passage::{Progress, Read, gauge, get, set};
use crate::rules::Rules;

/// The kind of a journal record that holds a batch of events; others are the collector's own.
const BATCH_KIND: u8 = 1;
/// How long to wait for the next record once all have been read. The collector syncs every few ms.
const POLL: Duration = Duration::from_millis(20);
/// How long to wait for a journal that is not there yet.
const WAIT_FOR_JOURNAL: Duration = Duration::from_millis(250);
/// How often to look how long the journal has become while there is always more to read.
const MEASURE_EVERY: Duration = Duration::from_millis(250);
/// A journal that stays behind our position for so long is not the one we know.
const BEHIND_FOR: Duration = Duration::from_secs(10);

/// The room that reads.
#[derive(Debug)]
pub(crate) struct Follow {
    pub(crate) journal: PathBuf,
    /// The first position to read.
    pub(crate) from: u64,
    pub(crate) rules: watch::Receiver<Arc<Rules>>,
    pub(crate) matchers: Vec<SyncSender<Read>>,
    pub(crate) metrics: Metrics,
    pub(crate) progress: Arc<Progress>,
    pub(crate) pulse: Pulse,
    pub(crate) shutdown: Shutdown,
}

impl Follow {
    /// Reads until the shutdown, or until the matchers are gone.
    ///
    /// # Errors
    /// [`ReadError`] that no reading on helps against.
    pub(crate) fn run(mut self) -> Result<(), ReadError> {
        let Some(mut reader) = self.open()? else { return Ok(()) };
        self.go_to(&mut reader, Lsn(self.from))?;
        let mut turn = 0;
        let mut measured = Instant::now();
        let mut idle_since: Option<Instant> = None;
        while !self.shutdown.is_requested() {
            self.pulse.beat();
            let step = self.read(&mut reader)?;
            if matches!(step, Step::End) || measured.elapsed() > MEASURE_EVERY {
                self.measure(&mut reader, idle_since)?;
                measured = Instant::now();
            }
            match step {
                Step::Batch(read) => {
                    idle_since = None;
                    let count = self.matchers.len().max(1);
                    let Some(matcher) = self.matchers.get(turn % count) else { return Ok(()) };
                    // An error says that the matcher has ended: it has said why.
                    if matcher.send(*read).is_err() {
                        return Ok(());
                    }
                    turn += 1;
                }
                Step::Other => {}
                Step::End => {
                    idle_since.get_or_insert_with(Instant::now);
                    thread::sleep(POLL);
                }
            }
        }
        Ok(())
    }

    /// Waits for the journal; nothing at the shutdown.
    fn open(&self) -> Result<Option<Reader>, ReadError> {
        let mut is_said = false;
        while !self.shutdown.is_requested() {
            self.pulse.beat();
            match Reader::open(&self.journal) {
                Err(ReadError::NoJournal { dir }) => {
                    if !is_said {
                        tracing::warn!(dir = %dir.display(), "no journal yet, waiting for the collector");
                        is_said = true;
                    }
                    thread::sleep(WAIT_FOR_JOURNAL);
                }
                opened => return opened.map(Some),
            }
        }
        Ok(None)
    }

    /// Moves to a position; if that has been dropped, to the oldest one kept, counting what is lost.
    fn go_to(&self, reader: &mut Reader, wanted: Lsn) -> Result<(), ReadError> {
        let mut goal = wanted;
        loop {
            match reader.seek(goal) {
                Err(ReadError::Dropped { wanted, oldest }) => {
                    tracing::error!(%wanted, %oldest, "journal records were dropped before they were correlated");
                    self.skipped("dropped", oldest.0.saturating_sub(wanted.0));
                    goal = oldest;
                }
                done => return done,
            }
        }
    }

    fn read(&mut self, reader: &mut Reader) -> Result<Step, ReadError> {
        match reader.next() {
            Ok(None) => Ok(Step::End),
            Ok(Some(entry)) if entry.kind != BATCH_KIND => Ok(Step::Other),
            Ok(Some(entry)) => match StoredBatch::decode(entry.body) {
                Ok(stored) => {
                    let rules = Arc::clone(&self.rules.borrow());
                    Ok(Step::Batch(Box::new(Read { position: entry.lsn.0, batch: stored.batch, rules })))
                }
                Err(error) => {
                    let before = self.metrics.records_skipped.with_label_values(&["undecodable"]).get();
                    // The 1st, 2nd, 4th, 8th, ...: a journal of another release must not fill the log.
                    if (before + 1).is_power_of_two() {
                        let count = before + 1;
                        tracing::error!(%error, position = %entry.lsn, count, "journal record cannot be decoded, skipped");
                    }
                    self.skipped("undecodable", 1);
                    Ok(Step::Other)
                }
            },
            Err(error @ ReadError::Damaged(_)) => {
                tracing::error!(%error, "journal is damaged, going on behind it");
                let lost = reader.skip_damage().map_or(0, |lost| (lost.to.0 + 1).saturating_sub(lost.from.0));
                self.skipped("damaged", lost);
                Ok(Step::Other)
            }
            Err(ReadError::Dropped { wanted, .. }) => self.go_to(reader, wanted).map(|()| Step::Other),
            Err(error) => Err(error),
        }
    }

    fn measure(&self, reader: &mut Reader, idle_since: Option<Instant>) -> Result<(), ReadError> {
        let durable = reader.durable()?.map_or(0, |lsn| lsn.0);
        set(&self.progress.journal, durable);
        self.metrics.lag_records.set(gauge(durable.saturating_sub(get(&self.progress.position))));
        let idle = idle_since.map_or(Duration::ZERO, |since| since.elapsed());
        // The second bound lets it be said once: the next look comes one poll later.
        if reader.position().0 > durable + 1 && idle > BEHIND_FOR && idle <= BEHIND_FOR + 2 * POLL {
            let (position, dir) = (reader.position().0, self.journal.display());
            tracing::error!(position, durable, %dir, "the journal ends before what was read of it, is it another one?");
        }
        Ok(())
    }

    fn skipped(&self, reason: &str, records: u64) {
        self.metrics.records_skipped.with_label_values(&[reason]).inc_by(records);
    }
}

enum Step {
    /// A batch of events.
    Batch(Box<Read>),
    /// A record that is no batch, or none any more.
    Other,
    /// No further record yet.
    End,
}

#[cfg(test)]
mod tests;
