//! From the queue of finished flows to the spool: records as JSON, in batches.
//!
//! A batch is handed over when it is full, when its first record has waited long enough, and at the
//! end. A file's batches carry its cursor.

use std::time::{SystemTime, UNIX_EPOCH};

use canh_event::{RecordBatch, RecordBatchError, Source, Timestamp};
use canh_flow::FlowRecord;
use canh_ship::{BatchLimits, Submission};
use tokio::sync::mpsc;
use tokio::time::{Duration, Instant, timeout_at};

/// How long losses wait for flows to go with.
const LOSS_WAIT: Duration = Duration::from_secs(1);

use crate::losses::FlowLosses;
use crate::metrics::{AgentMetrics, FlowDrop};
use crate::progress::FileProgress;

/// Where batches go: the spool, or a test's list.
pub(crate) trait Outlet {
    /// Why nothing can be taken any more.
    type Error;

    /// Takes a batch and all that belongs to it; on return it is durable, unless the agent is stopping and
    /// there was no room.
    async fn submit(&mut self, submission: Submission) -> Result<Taken, Self::Error>;
}

/// Whether a batch was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// It is durable.
    Durable,
    /// There was no room for it, and no more time to wait for room.
    NoRoom,
}

/// Makes batches of flow records.
pub(crate) struct Forwarder<O> {
    outlet: O,
    source: Source,
    limits: BatchLimits,
    metrics: AgentMetrics,
    losses: FlowLosses,
    file: Option<FileProgress>,
    batch: RecordBatch,
    json: Vec<u8>,
}

/// Whether more may be handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    GoOn,
    Stop,
}

/// What came, or did not, while waiting for a flow.
enum Next {
    Record(FlowRecord),
    TimeIsUp,
    Closed,
}

impl<O: Outlet> Forwarder<O> {
    /// Returns a forwarder; `file` is the place to go on from in a capture file, `None` for an interface.
    pub(crate) fn new(
        outlet: O,
        source: Source,
        limits: BatchLimits,
        metrics: AgentMetrics,
        losses: FlowLosses,
        file: Option<FileProgress>,
    ) -> Self {
        Self { outlet, source, limits, metrics, losses, file, batch: RecordBatch::new(), json: Vec::new() }
    }

    /// Forwards until the queue is closed and empty, or a file's batch was not taken: what comes
    /// after it must not be either.
    pub(crate) async fn run(mut self, flows: &mut mpsc::Receiver<FlowRecord>) -> Result<(), O::Error> {
        let mut skip = self.file.map_or(0, |file| file.spooled());
        let mut due = None;
        loop {
            match next(flows, due).await {
                Next::Record(_) if skip > 0 => {
                    skip -= 1;
                    self.metrics.skipped.inc();
                }
                Next::Record(record) => {
                    self.json.clear();
                    record.to_json(&mut self.json);
                    if !self.has_room() {
                        if self.hand_over().await? == Then::Stop {
                            return Ok(());
                        }
                        due = None;
                    }
                    self.add();
                    due = due.or_else(|| Some(Instant::now() + self.limits.wait));
                }
                Next::TimeIsUp => {
                    if self.hand_over().await? == Then::Stop {
                        return Ok(());
                    }
                    due = None;
                }
                Next::Closed => break,
            }
        }
        self.hand_over().await.map(|_| ())
    }

    fn has_room(&self) -> bool {
        let bytes = self.batch.byte_len() + self.json.len();
        self.batch.is_empty() || (self.batch.len() < self.limits.records && bytes <= self.limits.bytes)
    }

    fn add(&mut self) {
        let result = self.batch.source(&self.source).and_then(|id| self.batch.push(id, now(), &self.json));
        // There is one source, and limits are within those of a batch.
        debug_assert_eq!(result, Ok::<(), RecordBatchError>(()));
    }

    /// Hands the batch over with what was lost, and returns whether the next may follow.
    async fn hand_over(&mut self) -> Result<Then, O::Error> {
        let batch = std::mem::take(&mut self.batch);
        let (losses, figures) = self.losses.take(&self.source.name);
        if batch.is_empty() && losses.is_empty() && figures.is_empty() {
            return Ok(Then::GoOn);
        }
        let records = batch.len() as u64;
        let mut cursors = Vec::new();
        if let Some(file) = self.file.as_mut().filter(|_| records > 0) {
            file.advance(records);
            cursors.push((self.source.name.clone(), file.encode()));
        }
        let told = Submission { losses: losses.clone(), figures: figures.clone(), ..Submission::default() };
        let submission = Submission { records: batch, cursors, losses, figures, ..Submission::default() };
        match self.outlet.submit(submission).await? {
            Taken::Durable => {
                self.metrics.batches.inc_by(u64::from(records > 0));
                self.metrics.records.inc_by(records);
                Ok(Then::GoOn)
            }
            Taken::NoRoom if self.file.is_some() => Ok(Then::Stop),
            Taken::NoRoom => {
                self.metrics.drop_flows(FlowDrop::SpoolFull, records);
                self.losses.note(FlowDrop::SpoolFull, records, now());
                self.tell(told).await?;
                Ok(Then::GoOn)
            }
        }
    }

    /// Tells of losses alone, which a full spool still has room for: those given, and what came since.
    async fn tell(&mut self, mut told: Submission) -> Result<(), O::Error> {
        let (losses, figures) = self.losses.take(&self.source.name);
        told.losses.extend(losses);
        told.figures.extend(figures);
        if self.outlet.submit(told).await? == Taken::NoRoom {
            tracing::error!("flows were dropped, and there is no room to say so");
        }
        Ok(())
    }
}

async fn next(flows: &mut mpsc::Receiver<FlowRecord>, due: Option<Instant>) -> Next {
    let due = due.unwrap_or_else(|| Instant::now() + LOSS_WAIT);
    let Ok(received) = timeout_at(due, flows.recv()).await else { return Next::TimeIsUp };
    received.map_or(Next::Closed, Next::Record)
}

/// When the agent read the record; when the flow was is in the record itself.
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_nanos(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests;
