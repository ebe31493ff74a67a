//! The capture's own thread: frames through the meter, finished flows into a bounded queue.
//!
//! ```text
//!  Capture ──frame──► Meter ──FlowRecord──► queue (bounded) ──► forward.rs
//! ```
//!
//! An interface does not wait: when the queue is full a flow is dropped and counted. A file waits,
//! and so does what is left when the agent is stopped.

use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use canh_event::{SourceName, Timestamp};
use canh_flow::{FlowRecord, Meter, MeterCounters, MeterLimits};
use canh_service::notify::Pulse;
use canh_service::signals::Shutdown;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};

use crate::capture::{Capture, CaptureError, Dropped, Progress};
use crate::losses::FlowLosses;
use crate::metrics::{AgentMetrics, FlowDrop};

/// How often the meter's counters are added to the metrics, and the kernel is asked for its own.
const PUBLISH_EVERY: Duration = Duration::from_secs(1);

/// How long an interface that is never quiet is read after a stop was asked for.
const LAST_READS: Duration = Duration::from_secs(1);

/// Takes finished flows to where they are forwarded.
#[derive(Debug)]
pub(crate) struct FlowQueue {
    sender: mpsc::Sender<FlowRecord>,
    overflow: Overflow,
    metrics: AgentMetrics,
    losses: FlowLosses,
}

/// What a full queue does, and one that nobody reads any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Overflow {
    /// The flow is dropped and counted: packets do not wait.
    Drop,
    /// The sender waits; if nobody reads any more, the flow is dropped and counted.
    Wait,
    /// The sender waits; if nobody reads any more, nothing is lost: the next run reads the file again.
    WaitInFile,
}

/// The thread's work.
pub(crate) struct Metering {
    capture: Capture,
    meter: Meter,
    queue: FlowQueue,
    metrics: AgentMetrics,
    losses: FlowLosses,
    published: Published,
    shutdown: Shutdown,
    pulse: Pulse,
}

/// What one reading came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    Frames,
    Quiet,
    Ended,
}

/// How a capture ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    /// There is no more to come.
    Whole,
    /// The agent was stopped before the file's end.
    StoppedInFile,
}

/// What the metrics already hold.
#[derive(Debug)]
struct Published {
    at: Instant,
    counters: MeterCounters,
    dropped: Dropped,
}

impl FlowQueue {
    pub(crate) fn new(
        sender: mpsc::Sender<FlowRecord>,
        overflow: Overflow,
        metrics: AgentMetrics,
        losses: FlowLosses,
    ) -> Self {
        Self { sender, overflow, metrics, losses }
    }

    /// Hands a flow over, or drops and counts it.
    pub(crate) fn push(&mut self, record: FlowRecord) {
        let dropped = match self.overflow {
            Overflow::Drop => self.sender.try_send(record).err().map(|error| match error {
                TrySendError::Full(_) => FlowDrop::QueueFull,
                TrySendError::Closed(_) => FlowDrop::Stopped,
            }),
            Overflow::Wait => self.sender.blocking_send(record).err().map(|_| FlowDrop::Stopped),
            Overflow::WaitInFile => {
                let _ = self.sender.blocking_send(record);
                None
            }
        };
        if let Some(reason) = dropped {
            self.metrics.drop_flows(reason, 1);
            self.losses.note(reason, 1, now());
        }
    }
}

impl Metering {
    pub(crate) fn new(
        capture: Capture,
        limits: MeterLimits,
        source: SourceName,
        sender: mpsc::Sender<FlowRecord>,
        metrics: AgentMetrics,
        losses: FlowLosses,
        shutdown: Shutdown,
    ) -> Self {
        let overflow = if capture.is_live() { Overflow::Drop } else { Overflow::WaitInFile };
        metrics.set_table_limit(limits.max_flows);
        Self {
            capture,
            meter: Meter::new(limits, Some(source)),
            queue: FlowQueue::new(sender, overflow, metrics.clone(), losses.clone()),
            metrics,
            losses,
            published: Published {
                at: Instant::now(),
                counters: MeterCounters::default(),
                dropped: Dropped::default(),
            },
            shutdown,
            pulse: Pulse::new(),
        }
    }

    /// Returns the pulse of the thread, if it is one that must never stand still: the reader of a
    /// file waits for the collector as long as it takes.
    pub(crate) fn pulse(&self) -> Option<Pulse> {
        self.capture.is_live().then(|| self.pulse.clone())
    }

    /// Begins the thread. It ends at the end of the file, at a stop, or when the capture fails; the
    /// queue is closed when all flows are in it.
    pub(crate) fn spawn(self) -> std::io::Result<oneshot::Receiver<Result<(), CaptureError>>> {
        let (done, result) = oneshot::channel();
        thread::Builder::new().name("capture".to_owned()).spawn(move || {
            // Nobody listens any more after a stop whose deadline has passed.
            let _ = done.send(self.run());
        })?;
        Ok(result)
    }

    fn run(mut self) -> Result<(), CaptureError> {
        let result = self.capture_all();
        // What was metered is handed over, and now there is time for it. A file that was stopped in
        // its middle is the exception: the next run goes on in it, and would record these flows whole.
        if matches!(result, Ok(Ending::StoppedInFile)) {
            tracing::info!("stopped before the end of the file, give it again to go on in it");
        } else {
            if self.capture.is_live() {
                self.queue.overflow = Overflow::Wait;
            }
            self.meter.flush(&mut |record| self.queue.push(record));
        }
        self.publish();
        result.map(|_| ())
    }

    fn capture_all(&mut self) -> Result<Ending, CaptureError> {
        while !self.shutdown.is_requested() {
            self.pulse.beat();
            if self.turn()? == Turn::Ended {
                return Ok(Ending::Whole);
            }
            if self.published.at.elapsed() >= PUBLISH_EVERY {
                self.publish();
            }
        }
        if !self.capture.is_live() {
            return Ok(Ending::StoppedInFile);
        }
        // What the kernel holds by now still counts; it hands over a block that is not full after
        // a while, and the first quiet turn waits for longer than that.
        let asked = Instant::now();
        while self.turn()? == Turn::Frames && asked.elapsed() < LAST_READS {}
        Ok(Ending::Whole)
    }

    /// Reads once.
    fn turn(&mut self) -> Result<Turn, CaptureError> {
        let link = self.capture.link();
        let (meter, queue) = (&mut self.meter, &mut self.queue);
        let mut finished = |record| queue.push(record);
        let progress = self.capture.read(|frame| {
            meter.observe(link, frame.bytes, frame.wire_len, frame.at, &mut finished);
        })?;
        match progress {
            Progress::Frames => Ok(Turn::Frames),
            Progress::Quiet => {
                meter.expire(now(), &mut finished);
                Ok(Turn::Quiet)
            }
            Progress::End => Ok(Turn::Ended),
            Progress::CutShort(error) => {
                self.metrics.cut_files.inc();
                tracing::warn!(%error, "the capture file breaks off, what it holds before is metered");
                Ok(Turn::Ended)
            }
        }
    }

    fn publish(&mut self) {
        let counters = *self.meter.counters();
        self.metrics.add(&self.published.counters, &counters, self.meter.live_flows());
        let dropped = self.capture.dropped().unwrap_or(self.published.dropped);
        self.metrics.add_dropped(self.published.dropped, dropped);
        self.losses.note_packets(self.published.dropped, dropped);
        self.published = Published { at: Instant::now(), counters, dropped };
    }
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_nanos(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests;
