//! The thread that reads: it ticks the watch, and hands batches over with their cursors.
//!
//! Reading a file may wait for a disk, so it has a thread of its own. What it fills goes through a
//! channel of one batch: when the spool is slow or full the thread waits, and the log files are the
//! buffer. It looks again after 50 ms while there is something to read, and after 250 ms if not.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use canh_event::Timestamp;
use canh_service::notify::Pulse;
use canh_service::signals::Shutdown;
use canh_ship::BatchLimits;
use jiff::tz::TimeZone;
use tokio::sync::mpsc::{Receiver, Sender, channel, error::TrySendError};

use crate::batch::{Batch, Filled, Moment};
use crate::watch::{FileSpec, Tick, Watch};

const BUSY_PAUSE: Duration = Duration::from_millis(50);
const IDLE_PAUSE: Duration = Duration::from_millis(250);

/// How long to wait before a batch that was not taken is offered again: at first, and, twice as long
/// each time, at most.
const OFFER_PAUSE: Duration = Duration::from_micros(250);
const LONGEST_OFFER_PAUSE: Duration = Duration::from_millis(20);

/// Longest time a moved cursor waits for a line to go with.
const CURSOR_WAIT: Duration = Duration::from_secs(2);

/// Batches between the thread and the spool.
const QUEUE_BATCHES: usize = 1;

/// The reading thread, seen from outside.
#[derive(Debug)]
pub(crate) struct Reader {
    thread: JoinHandle<()>,
    pulse: Pulse,
    newer_specs: Arc<Mutex<Option<Vec<FileSpec>>>>,
}

/// The thread ended by a panic: a bug of ours.
#[derive(Debug, thiserror::Error)]
#[error("the reading thread panicked")]
pub(crate) struct ReaderPanic;

impl Moment {
    /// Returns now, by this host's clocks and zone.
    pub(crate) fn now() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let wall = Timestamp::from_nanos(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX));
        let zone = TimeZone::system();
        let offset =
            jiff::Timestamp::from_nanosecond(i128::from(wall.nanos())).map(|now| zone.to_offset(now).seconds());
        Self { instant: Instant::now(), wall, utc_offset_secs: offset.unwrap_or(0) }
    }
}

impl Reader {
    /// Begins to read until the end is asked for or nobody takes the batches any more.
    ///
    /// # Errors
    /// No thread can be had.
    pub(crate) fn spawn(
        watch: Watch,
        limits: BatchLimits,
        shutdown: Shutdown,
    ) -> std::io::Result<(Self, Receiver<Filled>)> {
        let (sender, receiver) = channel(QUEUE_BATCHES);
        let pulse = Pulse::new();
        let newer_specs = Arc::new(Mutex::new(None));
        let batch = Batch::new(limits);
        let now = Instant::now();
        let turn = Turn {
            watch,
            batch,
            sender,
            shutdown,
            pulse: pulse.clone(),
            newer_specs: Arc::clone(&newer_specs),
            handed_over: now,
        };
        let thread = thread::Builder::new().name("read".to_owned()).spawn(move || turn.run())?;
        Ok((Self { thread, pulse, newer_specs }, receiver))
    }

    /// Returns what shows that the thread turns.
    pub(crate) fn pulse(&self) -> Pulse {
        self.pulse.clone()
    }

    /// Gives the thread other patterns; it takes them at its next turn.
    pub(crate) fn set_specs(&self, specs: Vec<FileSpec>) {
        *self.newer_specs.lock().unwrap_or_else(PoisonError::into_inner) = Some(specs);
    }

    /// Waits for the thread to end.
    pub(crate) fn join(self) -> Result<(), ReaderPanic> {
        self.thread.join().map_err(|_| ReaderPanic)
    }
}

/// The thread's side.
struct Turn {
    watch: Watch,
    batch: Batch,
    sender: Sender<Filled>,
    shutdown: Shutdown,
    pulse: Pulse,
    newer_specs: Arc<Mutex<Option<Vec<FileSpec>>>>,
    handed_over: Instant,
}

impl Turn {
    fn run(mut self) {
        loop {
            self.pulse.beat();
            if let Some(specs) = self.newer_specs.lock().unwrap_or_else(PoisonError::into_inner).take() {
                self.watch.set_specs(specs);
            }
            let moment = Moment::now();
            let tick = self.watch.tick(moment, &mut self.batch);
            // Asked for after the tick, so that the last lines of this turn go with it.
            let is_last = self.shutdown.is_requested();
            if (self.wants_hand_over(tick, moment.instant) || is_last) && !self.hand_over(moment.instant) {
                return;
            }
            match tick {
                _ if is_last => return,
                Tick::Full => {}
                Tick::Busy => thread::sleep(BUSY_PAUSE),
                Tick::Idle => thread::sleep(IDLE_PAUSE.min(self.batch.time_left(moment.instant))),
            }
        }
    }

    fn wants_hand_over(&self, tick: Tick, now: Instant) -> bool {
        let is_overdue = self.watch.has_moved() && now.saturating_duration_since(self.handed_over) >= CURSOR_WAIT;
        tick == Tick::Full || self.batch.is_due(now) || is_overdue
    }

    /// Offers the batch until it is taken; false if nobody takes batches any more.
    fn hand_over(&mut self, now: Instant) -> bool {
        self.handed_over = now;
        if self.batch.is_empty() && !self.watch.has_moved() {
            return true;
        }
        let mut filled = self.batch.hand_over(self.watch.news());
        let mut pause = OFFER_PAUSE;
        loop {
            match self.sender.try_send(filled) {
                Ok(()) => return true,
                Err(TrySendError::Closed(_)) => return false,
                Err(TrySendError::Full(back)) => filled = back,
            }
            self.pulse.beat();
            thread::sleep(pause);
            pause = (pause * 2).min(LONGEST_OFFER_PAUSE);
        }
    }
}
