//! The threads between connections and journal: each unpacks, makes events, and hands them on.
//!
//! ```text
//!  session ──► bounded queue ──► thread (chosen by agent and stream) ──► CommitHandle
//!     ▲                             duplicates end here                     │
//!     └──────── woken ◄──────────── mark settled ◄── callback after sync ◄──┘
//! ```
//!
//! A stream always meets the same thread, so its order is kept and this is the one place that
//! decides what of it is new. What cannot be unpacked is refused, and so is everything the session
//! sent behind it: a hole is never stored. It also keeps the stream's book, and holds what the agent states
//! against it.

use std::hash::BuildHasher;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use canh_event::{AgencyId, RecordBatch, RecordSequence, StoredGap, Timestamp};
use canh_journal::{CommitError, CommitHandle, Lsn};
use canh_service::notify::Pulse;
use canh_wire::{Account, Batch, Gap, Nack, NackCode, Place, UnpackError, Unpacker};
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use crate::events::{EventMaker, Piece, Sender};
use crate::journal::Settled;
use crate::kinds::{KIND_ACCOUNT, KIND_EVENTS, KIND_GAP};
use crate::losses::{LossOutbox, is_loss};
use crate::metrics::{Metrics, OTHER_RECORDS};
use crate::retry::retry_after;
use crate::streams::{Digest, Mark, SessionSignal};
use crate::throttle::Throttle;

/// Jobs waiting for one thread; each holds at most one packed batch, and all are in the budget.
const QUEUE: usize = 64;

/// At most one log line of a kind in this time.
const TALK_SPAN: Duration = Duration::from_secs(1);

/// The memory of a batch longer than this is given back after it.
const KEPT_RAW_BYTES: usize = 2 << 20;

/// What a session hands over.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) mark: Arc<Mark>,
    pub(crate) agency: AgencyId,
    pub(crate) session: Arc<SessionSignal>,
    pub(crate) work: Work,
    /// Held until it is durable.
    pub(crate) memory: Option<OwnedSemaphorePermit>,
    /// When it was read whole.
    pub(crate) read_at: Instant,
}

/// A batch, a gap or an account.
#[derive(Debug)]
pub(crate) enum Work {
    Batch(Batch),
    Gap { gap: Gap, received: Timestamp },
    Account { account: Account, received: Timestamp },
}

#[derive(Debug)]
enum Message {
    Job(Box<Job>),
    /// Has an idle thread show that it lives.
    Beat,
}

/// What every thread hands its results to.
#[derive(Clone, Debug)]
pub(crate) struct Onward {
    pub(crate) commit: CommitHandle,
    pub(crate) settled: Arc<Settled>,
    pub(crate) losses: LossOutbox,
    pub(crate) metrics: Metrics,
}

/// The doors to all threads.
#[derive(Clone, Debug)]
pub(crate) struct Normalisers {
    queues: Arc<[mpsc::Sender<Message>]>,
    hasher: std::hash::RandomState,
}

/// The running threads, to be joined.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) threads: Vec<JoinHandle<()>>,
    pub(crate) pulses: Vec<Pulse>,
}

/// All threads have ended, which they do only when the daemon does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the normalisers have ended")]
pub(crate) struct Ended;

impl Normalisers {
    /// Starts `count` threads.
    ///
    /// # Errors
    /// A thread or a decoder cannot be made.
    pub(crate) fn spawn(count: usize, onward: &Onward) -> anyhow::Result<(Self, Running)> {
        let mut running = Running { threads: Vec::new(), pulses: Vec::new() };
        let mut queues = Vec::new();
        for index in 0..count.max(1) {
            let (sender, receiver) = mpsc::channel(QUEUE);
            let pulse = Pulse::new();
            let thread = Normaliser {
                unpacker: Unpacker::try_new()?,
                records: RecordBatch::new(),
                maker: EventMaker::new(),
                onward: onward.clone(),
                talk: Talk::default(),
            };
            let beats = pulse.clone();
            let builder = thread::Builder::new().name(format!("normalise-{index}"));
            running.threads.push(builder.spawn(move || thread.run(receiver, &beats))?);
            running.pulses.push(pulse);
            queues.push(sender);
        }
        Ok((Self { queues: queues.into(), hasher: std::hash::RandomState::new() }, running))
    }

    /// Hands a job to its stream's thread; waits while its queue is full.
    ///
    /// # Errors
    /// The threads have ended.
    pub(crate) async fn submit(&self, job: Job) -> Result<(), Ended> {
        let hash = self.hasher.hash_one((job.mark.agent(), job.mark.stream()));
        let count = self.queues.len() as u64;
        let index = usize::try_from(hash.checked_rem(count).unwrap_or(0)).unwrap_or(0);
        let queue = self.queues.get(index).ok_or(Ended)?;
        queue.send(Message::Job(Box::new(job))).await.map_err(|_| Ended)
    }

    /// Has every thread that is not busy show that it lives.
    pub(crate) fn ask_for_beats(&self) {
        for queue in &*self.queues {
            // A full queue belongs to a thread that beats with every job.
            let _ = queue.try_send(Message::Beat);
        }
    }
}

struct Normaliser {
    unpacker: Unpacker,
    /// Memory for the batch that is looked at.
    records: RecordBatch,
    maker: EventMaker,
    onward: Onward,
    talk: Talk,
}

/// What holds back log lines that agents cause: each kind for itself, so that nobody can silence an alarm
/// by causing another line just before.
#[derive(Debug)]
struct Talk {
    refusals: Throttle,
    gaps: Throttle,
    clones: Throttle,
    disagreements: Throttle,
}

impl Default for Talk {
    fn default() -> Self {
        let [refusals, gaps, clones, disagreements] = std::array::from_fn(|_| Throttle::new(TALK_SPAN));
        Self { refusals, gaps, clones, disagreements }
    }
}

/// What of a run of records is new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Novelty {
    /// Everything from this many records on.
    From(u64),
    /// Nothing.
    Nothing,
    /// All of it, but something before it is missing: what stood there was refused.
    BehindAHole,
}

fn novelty(first: RecordSequence, last: RecordSequence, submitted: RecordSequence) -> Novelty {
    let expected = submitted.0.saturating_add(1);
    if last <= submitted {
        Novelty::Nothing
    } else if first.0 > expected {
        Novelty::BehindAHole
    } else {
        Novelty::From(expected - first.0)
    }
}

impl Normaliser {
    fn run(mut self, mut jobs: mpsc::Receiver<Message>, pulse: &Pulse) {
        while let Some(message) = jobs.blocking_recv() {
            pulse.beat();
            if let Message::Job(job) = message {
                let Job { mark, agency, session, work, memory, read_at } = *job;
                let under_way = UnderWay { mark, session, memory, read_at };
                match work {
                    Work::Batch(batch) => self.take_batch(under_way, &agency, &batch),
                    Work::Gap { gap, received } => self.take_gap(under_way, agency, gap, received),
                    Work::Account { account, received } => self.take_account(under_way, &agency, account, received),
                }
            }
        }
    }

    fn take_batch(&mut self, under_way: UnderWay, agency: &AgencyId, batch: &Batch) {
        let metrics = &self.onward.metrics;
        let skip = match novelty(batch.first, batch.last(), under_way.mark.submitted()) {
            Novelty::From(skip) => skip,
            Novelty::Nothing => {
                metrics.duplicate_batches.inc();
                metrics.duplicate_records.inc_by(u64::from(batch.count));
                return self.take_again(&under_way, batch);
            }
            Novelty::BehindAHole => return metrics.dropped_batches.with_label_values(&["behind_refused"]).inc(),
        };
        metrics.duplicate_records.inc_by(skip);
        if let Err(error) = self.unpacker.unpack_into(&batch.body, batch.count, &mut self.records) {
            return self.refuse(&under_way, batch.place(), &error);
        }
        metrics.batches.inc();
        let mark = Arc::clone(&under_way.mark);
        let sender = Sender {
            agent: mark.agent().clone(),
            agency: agency.clone(),
            stream: mark.stream().clone(),
            epoch: mark.epoch(),
        };
        let (last, mut under_way) = (batch.last(), Some(under_way));
        let onward = &self.onward;
        let skip = usize::try_from(skip).unwrap_or(usize::MAX);
        mark.note_digest(Digest { first: batch.first, last, crc: digest(&self.records) });
        let mut from = skip;
        let records = &self.records;
        self.maker.make(&sender, batch.first, records, skip, |Piece { last: piece_last, body }| {
            let to = usize::try_from(piece_last.0.saturating_sub(batch.first.0)).map_or(usize::MAX, |index| index + 1);
            let tallies = records.tally(from, to);
            let mut book = mark.book();
            let first = RecordSequence(batch.first.0.saturating_add(from as u64));
            book.note_records(first, tallies.iter().map(|tally| (Some(tally.source), tally.count)));
            from = to;
            mark.set_submitted(piece_last);
            // Memory and the time of the acknowledgement belong to the batch, so to its last piece.
            let whole = if piece_last == last { under_way.take() } else { None };
            onward.commit(KIND_EVENTS, body, Arc::clone(&mark), piece_last, whole);
            drop(book);
        });
        onward.metrics.count_stored(agency, (records.len() - skip.min(records.len())) as u64);
        let counts = self.maker.take_counts();
        for (format, count) in counts.formats() {
            onward.metrics.records.with_label_values(&[format]).inc_by(count);
        }
        onward.metrics.cut_records.inc_by(counts.cut);
        if batch.body.raw_len() > KEPT_RAW_BYTES {
            self.records = RecordBatch::new();
            self.maker.give_back();
        }
    }

    /// Looks at a batch that was received before: it should be the same.
    fn take_again(&mut self, under_way: &UnderWay, batch: &Batch) {
        let known = under_way.mark.digest_of(batch.first, batch.last());
        let again = known.and_then(|known| {
            let records = self.unpacker.unpack(&batch.body, batch.count);
            // What cannot be unpacked is another one too.
            (records.map_or(!known, |records| digest(&records)) != known).then_some(())
        });
        if again.is_none() {
            return under_way.session.wake();
        }
        self.onward.metrics.clone_signs.with_label_values(&[OTHER_RECORDS]).inc();
        if let Some(held_back) = self.talk.clones.pass(Instant::now()) {
            let (agent, stream) = (under_way.mark.agent(), under_way.mark.stream());
            let (first, count) = (batch.first.0, batch.count);
            tracing::error!(%agent, %stream, first, count, held_back, "records sent again are others than before: a cloned agent, or somebody with its key");
        }
        let code = NackCode::Protocol;
        under_way.session.refuse(Nack { code, retry_after: retry_after(code), place: Some(batch.place()) });
    }

    fn take_gap(&mut self, under_way: UnderWay, agency: AgencyId, mut gap: Gap, received: Timestamp) {
        let metrics = &self.onward.metrics;
        let skip = match novelty(gap.from, gap.last(), under_way.mark.submitted()) {
            Novelty::From(skip) => skip,
            Novelty::Nothing => return under_way.session.wake(),
            Novelty::BehindAHole => return metrics.dropped_batches.with_label_values(&["behind_refused"]).inc(),
        };
        gap.cut_front(skip);
        let (reason, last, count) = (gap.reason.as_str(), gap.last(), gap.count);
        metrics.gaps.with_label_values(&[reason]).inc();
        metrics.gap_records.with_label_values(&[reason]).inc_by(count);
        if gap.reason.is_loss() {
            metrics.count_lost(&agency, reason, count);
        }
        let mark = Arc::clone(&under_way.mark);
        if let Some(held_back) = self.talk.gaps.pass(Instant::now()) {
            tracing::warn!(agent = %mark.agent(), stream = %mark.stream(), from = gap.from.0, count, reason, held_back, "records will never come");
        }
        let Gap { stream, epoch, from, count, reason, sources } = gap;
        let (agent, agency) = (mark.agent().clone(), Some(agency));
        let stored = StoredGap { agent, agency, stream, epoch, from, count, reason, received, sources };
        let mut book = mark.book();
        book.note_gap(from, count, reason, &stored.sources);
        mark.set_submitted(last);
        self.onward.commit(KIND_GAP, stored.encode(), Arc::clone(&mark), last, Some(under_way));
        drop(book);
    }

    /// Holds an account against the book, and stores both.
    fn take_account(&mut self, under_way: UnderWay, agency: &AgencyId, account: Account, received: Timestamp) {
        let mark = Arc::clone(&under_way.mark);
        let book = mark.book();
        let metrics = &self.onward.metrics;
        if account.position != mark.submitted() || account.position != book.position() {
            // Another connection is further, or something before it was refused.
            return metrics.accounts.with_label_values(&["stale"]).inc();
        }
        let position = account.position;
        let stored = book.hold_against(mark.agent(), agency, account, received);
        match stored.disagreement() {
            None => metrics.accounts.with_label_values(&["agrees"]).inc(),
            Some(disagreement) => {
                metrics.accounts.with_label_values(&["disagrees"]).inc();
                metrics.disagreements.inc();
                if let Some(held_back) = self.talk.disagreements.pass(Instant::now()) {
                    let (agent, stream) = (mark.agent(), mark.stream());
                    tracing::error!(%agent, %stream, position = position.0, ?disagreement, held_back, "the loss ledger does not balance");
                }
            }
        }
        self.onward.commit(KIND_ACCOUNT, stored.encode(), Arc::clone(&mark), position, Some(under_way));
        drop(book);
    }

    fn refuse(&self, under_way: &UnderWay, place: Place, error: &UnpackError) {
        self.onward.metrics.dropped_batches.with_label_values(&["unreadable"]).inc();
        if let Some(held_back) = self.talk.refusals.pass(Instant::now()) {
            let agent = under_way.mark.agent();
            let error = error as &dyn std::error::Error;
            tracing::warn!(%agent, first = place.first.0, error, held_back, "a batch cannot be unpacked");
        }
        let code = NackCode::Unreadable;
        under_way.session.refuse(Nack { code, retry_after: retry_after(code), place: Some(place) });
    }
}

/// Returns a digest of records: the same ones give the same, however they were packed.
fn digest(records: &RecordBatch) -> u32 {
    records.iter().fold(0, |crc, record| {
        let crc = crc32c::crc32c_append(crc, &record.received.nanos().to_le_bytes());
        crc32c::crc32c_append(crc, record.bytes)
    })
}

/// What follows a batch, gap or account until it is durable.
#[derive(Debug)]
struct UnderWay {
    mark: Arc<Mark>,
    session: Arc<SessionSignal>,
    memory: Option<OwnedSemaphorePermit>,
    read_at: Instant,
}

impl Onward {
    fn commit(&self, kind: u8, body: Vec<u8>, mark: Arc<Mark>, last: RecordSequence, whole: Option<UnderWay>) {
        let (settled, metrics) = (Arc::clone(&self.settled), self.metrics.clone());
        let submitted = Instant::now();
        let copy = is_loss(kind).then(|| (self.losses.clone(), body.clone()));
        self.commit.submit(kind, body, move |result: Result<Lsn, CommitError>| match result {
            Ok(lsn) => {
                if let Some((losses, body)) = copy {
                    losses.push(lsn, body);
                }
                mark.settle(last);
                settled.settle(lsn);
                metrics.journal_commit_seconds.observe(submitted.elapsed().as_secs_f64());
                if let Some(UnderWay { read_at, memory, .. }) = whole {
                    metrics.ack_seconds.observe(read_at.elapsed().as_secs_f64());
                    drop(memory);
                }
            }
            Err(error) => {
                if let Some(under_way) = whole {
                    let code = NackCode::Storage;
                    under_way.session.refuse(Nack { code, retry_after: retry_after(code), place: None });
                }
                settled.fail(error);
            }
        });
    }
}

#[cfg(test)]
mod tests;
