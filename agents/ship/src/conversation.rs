//! One open connection: sends what the feed gives as far as the window allows, takes
//! acknowledgements, answers, and notices silence. One task does all of it, and never waits for
//! one direction while the other has something.

use std::collections::BTreeSet;
use std::io;
use std::time::Duration;

use canh_event::{Epoch, GapReason, RecordSequence, SourceLoss, StreamName};
use canh_wire::{
    AgentEvent, AgentSession, AgentSessionError, Batch, ByeReason, Frame, FrameError, FrameReader, Gap, Nack, Open,
    SendError, Terms,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::connect::now;
use crate::feed::{Feed, FeedError, Piece};
use crate::ledger::Ledger;
use crate::metrics::SendFailure;
use crate::parts::sources_of;
use crate::renew::Renewal;
use crate::shared::Shared;
use crate::spool::SpoolError;
use crate::spooled::Content;
use crate::statement::{Statement, portions};

/// Frames are made only while fewer bytes than this wait to be written: the window bounds what is
/// under way, this what is held twice.
const MAX_OUTBOX_BYTES: usize = 256 << 10;
/// How long the last acknowledgements may take after our BYE.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(2);
/// Least time between PINGs, whatever a collector asks for.
const MIN_PING_INTERVAL: Duration = Duration::from_secs(1);

/// Why a connection is over.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Ended {
    #[error("asked to stop")]
    Stopped,
    #[error("the certificate was renewed")]
    Renewed,
    #[error("the collector refuses: {}", .0.code.as_str())]
    Refused(Nack),
    #[error("the collector says bye: {}", .0.as_str())]
    Bye(ByeReason),
    #[error("nothing heard for {} s", .0.as_secs())]
    Silence(Duration),
    #[error("connection broke")]
    Broken(#[source] io::Error),
    #[error("the collector sends what is no frame")]
    Frame(#[source] FrameError),
    #[error("the collector breaks the protocol")]
    Session(#[source] AgentSessionError),
    #[error("the next batch cannot be sent")]
    Send(#[source] SendError),
    #[error(transparent)]
    Feed(#[from] FeedError),
    #[error(transparent)]
    Spool(#[from] SpoolError),
}

/// What a connection works with, besides itself.
pub(crate) struct Surroundings<'a> {
    pub(crate) shared: &'a Shared,
    pub(crate) ledger: &'a mut Ledger,
    pub(crate) renewal: &'a mut Renewal,
    /// First sequences of batches that a collector has refused for good.
    pub(crate) refused: &'a BTreeSet<RecordSequence>,
    pub(crate) stop: &'a mut watch::Receiver<bool>,
    /// How often the account is stated, while there is news.
    pub(crate) account_interval: Duration,
}

/// The stream that is sent.
#[derive(Clone, Debug)]
pub(crate) struct StreamPlace {
    pub(crate) stream: StreamName,
    pub(crate) epoch: Epoch,
    /// The collector's store.
    pub(crate) store: u128,
    /// The next sequence to send.
    pub(crate) next: RecordSequence,
    /// The first sequence the spool has, or may have: what comes before it is told as a gap first.
    pub(crate) begins: RecordSequence,
    /// Up to where this store had acknowledged before it was put back to an older copy.
    pub(crate) rolled_back: RecordSequence,
    /// Up to where any store has acknowledged.
    pub(crate) acknowledged: RecordSequence,
}

/// An open connection.
pub(crate) struct Conversation<'a, S> {
    around: Surroundings<'a>,
    read: ReadHalf<S>,
    write: WriteHalf<S>,
    frames: FrameReader,
    session: AgentSession<Open>,
    terms: Terms,
    feed: Feed,
    place: StreamPlace,
    staged: Option<Piece>,
    statement: Statement,
    outbox: Outbox,
    heard: Instant,
    sent: Instant,
    pings: u64,
    /// Whether anything was acknowledged on this connection.
    is_useful: bool,
}

/// Bytes on their way out.
#[derive(Debug, Default)]
struct Outbox {
    bytes: Vec<u8>,
    written: usize,
    needs_flush: bool,
}

/// What happened first.
enum Happened {
    Stop,
    Read(io::Result<usize>),
    Written(io::Result<usize>),
    Flushed(io::Result<()>),
    Piece(Result<Piece, FeedError>),
    Time,
}

impl Ended {
    /// Returns the reason it is counted under; nothing for an orderly end.
    pub(crate) fn failure(&self) -> Option<SendFailure> {
        match self {
            Self::Stopped | Self::Renewed | Self::Bye(_) => None,
            Self::Refused(_) => Some(SendFailure::Refused),
            Self::Silence(_) => Some(SendFailure::Silence),
            Self::Broken(_) => Some(SendFailure::Broken),
            Self::Frame(_) | Self::Session(_) | Self::Send(_) => Some(SendFailure::Protocol),
            Self::Feed(_) | Self::Spool(_) => Some(SendFailure::Spool),
        }
    }
}

impl Outbox {
    fn unwritten(&self) -> &[u8] {
        self.bytes.get(self.written..).unwrap_or_default()
    }

    fn is_empty(&self) -> bool {
        self.unwritten().is_empty()
    }

    fn wrote(&mut self, count: usize) {
        self.written += count;
        self.needs_flush = true;
        if self.is_empty() {
            self.bytes.clear();
            self.written = 0;
        }
    }
}

impl<'a, S: AsyncRead + AsyncWrite> Conversation<'a, S> {
    /// Returns the conversation on a connection just welcomed.
    pub(crate) fn new(
        stream: S,
        session: AgentSession<Open>,
        frames: FrameReader,
        terms: Terms,
        feed: Feed,
        place: StreamPlace,
        around: Surroundings<'a>,
    ) -> Self {
        let (read, write) = tokio::io::split(stream);
        let (heard, sent) = (Instant::now(), Instant::now());
        let (staged, outbox) = (None, Outbox::default());
        let statement = Statement::new(around.account_interval);
        Self {
            around,
            read,
            write,
            frames,
            session,
            terms,
            feed,
            place,
            staged,
            statement,
            outbox,
            heard,
            sent,
            pings: 0,
            is_useful: false,
        }
    }

    /// Talks until the connection is over; returns why, and whether anything was acknowledged.
    pub(crate) async fn run(mut self) -> (Ended, bool) {
        let is_leaving = |ended: &Ended| matches!(ended, Ended::Stopped | Ended::Renewed);
        let ended = self.talk().await.unwrap_or_else(|ended| ended);
        let is_useful = self.is_useful;
        if is_leaving(&ended) {
            if self.statement.has_news(self.around.shared.turn()) {
                self.state_account().await;
            }
            let reason = if matches!(ended, Ended::Renewed) { ByeReason::Restarting } else { ByeReason::Stopping };
            self.leave(reason).await;
        }
        (ended, is_useful)
    }

    /// Talks until asked to stop, or until there is a new certificate to connect with.
    async fn talk(&mut self) -> Result<Ended, Ended> {
        self.take_frames().await?;
        loop {
            while self.send_next()? {
                if self.statement.is_due(self.around.shared.turn()) {
                    self.state_account().await;
                }
            }
            if self.statement.is_due(self.around.shared.turn()) {
                self.state_account().await;
            }
            match self.next_event().await {
                Happened::Stop => return Ok(Ended::Stopped),
                Happened::Read(count) => self.note_read(count).await?,
                Happened::Written(count) => self.note_written(count)?,
                Happened::Flushed(done) => {
                    done.map_err(Ended::Broken)?;
                    self.outbox.needs_flush = false;
                }
                Happened::Piece(piece) => self.staged = Some(piece?),
                Happened::Time => self.note_time()?,
            }
        }
    }

    async fn next_event(&mut self) -> Happened {
        let wakes = self.wakes();
        let has_output = !self.outbox.is_empty() || self.outbox.needs_flush;
        tokio::select! {
            stopped = self.around.stop.wait_for(|is_stopping| *is_stopping) => {
                drop(stopped);
                Happened::Stop
            }
            count = self.read.read(self.frames.room()) => Happened::Read(count),
            happened = push(&mut self.write, self.outbox.unwritten()), if has_output => happened,
            piece = self.feed.next(), if self.staged.is_none() => Happened::Piece(piece),
            () = sleep_until(wakes) => Happened::Time,
        }
    }

    /// Puts the next frame into the outbox, if there is one and room for it.
    fn send_next(&mut self) -> Result<bool, Ended> {
        if self.outbox.unwritten().len() >= MAX_OUTBOX_BYTES {
            return Ok(false);
        }
        if let Some(gap) = self.next_gap() {
            let is_sent = self.send_gap(&gap)?;
            if is_sent {
                self.statement.note_gap(&gap.sources);
            }
            return Ok(is_sent);
        }
        let Some(piece) = &self.staged else { return Ok(false) };
        let (first, next) = (piece.first, piece.next());
        if next <= self.place.next {
            // It was dropped while it was on its way here, and told as a gap.
            self.staged = None;
            return Ok(true);
        }
        let lost = match &piece.part.content {
            Content::Lost { reason, sources } => Some((*reason, sources.clone())),
            Content::Records(_) if self.around.refused.contains(&first) => {
                Some((GapReason::Refused, sources_of(&piece.part)))
            }
            Content::Records(packed) if !self.session.has_room(packed.raw_len()) => return Ok(false),
            Content::Records(_) => None,
        };
        match lost {
            Some((reason, sources)) => self.send_lost(first, next, reason, sources),
            None => self.send_records(first, next),
        }
    }

    /// Sends a gap in the place of the staged piece.
    fn send_lost(
        &mut self,
        first: RecordSequence,
        next: RecordSequence,
        reason: GapReason,
        sources: Vec<SourceLoss>,
    ) -> Result<bool, Ended> {
        let gap = Gap { sources, ..self.gap(first, next.0, reason) };
        let is_sent = self.send_gap(&gap)?;
        if is_sent {
            let closes = self.staged.take().and_then(|piece| piece.closes);
            self.statement.note_lost(closes);
        }
        Ok(is_sent)
    }

    /// Sends the staged piece, unless it was dropped meanwhile.
    fn send_records(&mut self, first: RecordSequence, next: RecordSequence) -> Result<bool, Ended> {
        if !self.around.shared.with_dropped(|dropped| dropped.claim(first, next)) {
            self.staged = None;
            return Ok(true);
        }
        let Some(Piece { first, part, closes }) = self.staged.take() else { return Ok(false) };
        let Content::Records(body) = part.content else { return Ok(false) };
        let StreamPlace { stream, epoch, .. } = self.place.clone();
        let frame = self.session.send_batch(Batch { stream, epoch, first, count: part.count, body });
        let frame = frame.map_err(Ended::Send)?;
        self.place.next = next;
        self.statement.note_sent(closes);
        self.post(&frame);
        Ok(true)
    }

    /// Returns the gap that must be sent next: the spool has not got what comes next, and knows it.
    fn next_gap(&self) -> Option<Gap> {
        let from = self.place.next;
        let (run, next_run) = self.around.shared.with_dropped(|dropped| {
            let run = dropped.run_at(from).map(|(end, sources)| (end, sources.to_vec()));
            (run, dropped.next_after(from))
        });
        if let Some((end, sources)) = run {
            return Some(Gap { sources, ..self.gap(from, end, GapReason::SpoolFull) });
        }
        // A piece that does not follow shows a hole, and so does what is known to be before the spool's first.
        let staged = self.staged.as_ref().map_or(RecordSequence(0), |piece| piece.first);
        let end = staged.max(self.place.begins).0;
        if end <= from.0 {
            return None;
        }
        let end = next_run.map_or(end, |run| run.min(end));
        let StreamPlace { rolled_back, acknowledged, .. } = self.place;
        let (end, reason) = if from <= rolled_back {
            (end.min(rolled_back.0 + 1), GapReason::StoreRolledBack)
        } else if from <= acknowledged {
            (end.min(acknowledged.0 + 1), GapReason::ElsewhereAcknowledged)
        } else {
            (end, GapReason::SpoolCorrupt)
        };
        Some(self.gap(from, end, reason))
    }

    /// Returns a gap from a record up to before another.
    fn gap(&self, from: RecordSequence, end: u64, reason: GapReason) -> Gap {
        let StreamPlace { stream, epoch, .. } = self.place.clone();
        Gap::new(stream, epoch, from, end.saturating_sub(from.0), reason)
    }

    /// Sends a gap; false if the window has no room for it now.
    fn send_gap(&mut self, gap: &Gap) -> Result<bool, Ended> {
        match self.session.send_gap(gap.clone()) {
            Err(SendError::Window { .. }) => Ok(false),
            Err(error) => Err(Ended::Send(error)),
            Ok(frame) => {
                tracing::warn!(from = gap.from.0, count = gap.count, reason = gap.reason.as_str(), "gap reported");
                self.around.ledger.note_gap(gap);
                self.around.shared.with_dropped(|dropped| dropped.note_gap_sent(gap.from));
                self.place.next = RecordSequence(gap.last().0.saturating_add(1));
                self.post(&frame);
                Ok(true)
            }
        }
    }

    /// States the account as of what was sent last: of all sources if nothing spooled is left to send.
    async fn state_account(&mut self) {
        let sent = RecordSequence(self.place.next.0.saturating_sub(1));
        let look = move |spool: &mut crate::spool::Spool| {
            let is_whole = spool.last() == sent;
            let accounts = if is_whole { spool.accounts().cloned().collect() } else { Vec::new() };
            (is_whole.then_some(accounts), spool.last(), spool.turn())
        };
        let (whole, spooled, turn) = self.around.shared.with_spool(look).await;
        let is_whole = whole.is_some();
        let portions = match whole {
            Some(accounts) => {
                self.statement.stated_whole(turn);
                // Nobody has produced anything yet.
                if accounts.is_empty() {
                    return;
                }
                portions(accounts)
            }
            None => self.statement.take_news(),
        };
        let is_whole = is_whole && portions.len() == 1;
        for sources in portions {
            if let Some(frame) = self.session.account(&self.place.stream, spooled, now(), is_whole, sources) {
                self.post(&frame);
            }
        }
    }

    fn post(&mut self, frame: &Frame) {
        frame.encode(self.session.version(), &mut self.outbox.bytes);
        self.sent = Instant::now();
    }

    async fn note_read(&mut self, count: io::Result<usize>) -> Result<(), Ended> {
        match count.map_err(Ended::Broken)? {
            0 => Err(Ended::Broken(io::ErrorKind::UnexpectedEof.into())),
            count => {
                self.heard = Instant::now();
                self.frames.filled(count);
                self.take_frames().await
            }
        }
    }

    fn note_written(&mut self, count: io::Result<usize>) -> Result<(), Ended> {
        let count = count.map_err(Ended::Broken)?;
        if count == 0 {
            return Err(Ended::Broken(io::ErrorKind::WriteZero.into()));
        }
        self.around.shared.metrics.sent_bytes.inc_by(count as u64);
        self.outbox.wrote(count);
        Ok(())
    }

    async fn take_frames(&mut self) -> Result<(), Ended> {
        while let Some(frame) = self.frames.next_frame().map_err(Ended::Frame)? {
            match self.session.receive(frame, now()).map_err(Ended::Session)? {
                AgentEvent::Acknowledged(ack) => {
                    self.is_useful = true;
                    self.around.settle(self.place.store, ack.durable).await?;
                }
                AgentEvent::Answer(frame) => self.post(&frame),
                AgentEvent::Window(window) => tracing::debug!(window, "window changed"),
                AgentEvent::Heard(_) => {}
                AgentEvent::Renewed(credential) => {
                    if self.around.renewal.take(credential, &self.around.shared.metrics).await {
                        return Err(Ended::Renewed);
                    }
                }
                AgentEvent::NotRenewed(denied) => self.around.renewal.refused(denied, &self.around.shared.metrics),
                AgentEvent::Refused(nack) => return Err(Ended::Refused(nack)),
                AgentEvent::Bye(reason) => return Err(Ended::Bye(reason)),
            }
        }
        Ok(())
    }

    fn ping_interval(&self) -> Duration {
        self.terms.ping_interval.max(MIN_PING_INTERVAL)
    }

    /// Returns when a PING is due or the silence too long.
    fn wakes(&self) -> Instant {
        let silent = self.heard + self.terms.idle_timeout.max(self.ping_interval() * 2);
        let pings = silent.min(self.sent.max(self.heard) + self.ping_interval()).min(self.around.renewal.wakes());
        match self.statement.due(self.around.shared.turn()) {
            // In the middle of a batch it waits for the batch's end.
            Some(due) if self.statement.has_news(self.around.shared.turn()) => pings.min(due),
            _ => pings,
        }
    }

    fn note_time(&mut self) -> Result<(), Ended> {
        let silence = self.heard.elapsed();
        if silence >= self.terms.idle_timeout.max(self.ping_interval() * 2) {
            return Err(Ended::Silence(silence));
        }
        if let Some(request) = self.around.renewal.ask() {
            let frame = self.session.renew(request);
            self.post(&frame);
        }
        if self.sent.max(self.heard).elapsed() >= self.ping_interval() {
            self.pings += 1;
            let ping = self.session.ping(self.pings, now());
            self.post(&ping);
        }
        Ok(())
    }

    /// Says BYE and takes the acknowledgements that still come, for a while.
    async fn leave(self, reason: ByeReason) {
        let Self { mut around, mut read, mut write, mut frames, session, mut outbox, place, .. } = self;
        let deadline = Instant::now() + LEAVE_TIMEOUT;
        let version = session.version();
        let (mut session, bye) = session.leave(reason);
        bye.encode(version, &mut outbox.bytes);
        let parting = async {
            write.write_all(outbox.unwritten()).await.ok()?;
            write.flush().await.ok()?;
            while !session.is_idle() {
                match read.read(frames.room()).await.ok()? {
                    0 => return None,
                    count => frames.filled(count),
                }
                while let Some(frame) = frames.next_frame().ok()? {
                    if let AgentEvent::Acknowledged(ack) = session.receive(frame, now()).ok()? {
                        around.settle(place.store, ack.durable).await.ok()?;
                    }
                }
            }
            write.shutdown().await.ok()
        };
        if !matches!(timeout_at(deadline, parting).await, Ok(Some(()))) {
            tracing::debug!("left before everything sent was acknowledged, the rest stays in the spool");
        }
    }
}

/// Writes some bytes, or flushes if there are none left. Safe to cancel.
async fn push<W: AsyncWrite + Unpin>(write: &mut W, bytes: &[u8]) -> Happened {
    if bytes.is_empty() { Happened::Flushed(write.flush().await) } else { Happened::Written(write.write(bytes).await) }
}

impl Surroundings<'_> {
    async fn settle(&mut self, store: u128, durable: RecordSequence) -> Result<(), SpoolError> {
        self.ledger.settle(durable, &self.shared.metrics);
        self.shared.acknowledge(store, durable).await
    }
}

#[cfg(test)]
mod tests;
