//! One open connection: sends what the feed gives as far as the window allows, takes
//! acknowledgements, answers, and notices silence. One task does all of it, and never waits for
//! one direction while the other has something.

use std::collections::BTreeSet;
use std::io;
use std::time::Duration;

use canh_event::{Epoch, RecordSequence, StreamName};
use canh_wire::{
    AgentEvent, AgentSession, AgentSessionError, Batch, ByeReason, Frame, FrameError, FrameReader, Gap, GapReason,
    Nack, Open, SendError, Terms,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::connect::now;
use crate::feed::{Feed, FeedError, Piece};
use crate::ledger::Ledger;
use crate::metrics::SendFailure;
use crate::renew::Renewal;
use crate::shared::Shared;
use crate::spool::SpoolError;

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
}

/// The stream that is sent.
#[derive(Clone, Debug)]
pub(crate) struct StreamPlace {
    pub(crate) stream: StreamName,
    pub(crate) epoch: Epoch,
    /// The next sequence to send.
    pub(crate) next: RecordSequence,
    /// What to say first: records the collector lacks and the spool has let go.
    pub(crate) gap: Option<Gap>,
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
            let reason = if matches!(ended, Ended::Renewed) { ByeReason::Restarting } else { ByeReason::Stopping };
            self.leave(reason).await;
        }
        (ended, is_useful)
    }

    /// Talks until asked to stop, or until there is a new certificate to connect with.
    async fn talk(&mut self) -> Result<Ended, Ended> {
        self.take_frames().await?;
        loop {
            while self.send_next()? {}
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
        if let Some(gap) = self.place.gap.take() {
            return if self.send_gap(&gap)? {
                Ok(true)
            } else {
                self.place.gap = Some(gap);
                Ok(false)
            };
        }
        let Some(piece) = &self.staged else { return Ok(false) };
        let (first, next) = (piece.first, piece.next());
        if first > self.place.next {
            let gap = self.gap(self.place.next, first, GapReason::SpoolCorrupt);
            return self.send_gap(&gap);
        }
        if self.around.refused.contains(&first) {
            let gap = self.gap(first, next, GapReason::Refused);
            let is_sent = self.send_gap(&gap)?;
            if is_sent {
                self.staged = None;
            }
            return Ok(is_sent);
        }
        if !self.session.has_room(piece.part.packed.raw_len()) {
            return Ok(false);
        }
        let Some(Piece { first, part }) = self.staged.take() else { return Ok(false) };
        let StreamPlace { stream, epoch, .. } = self.place.clone();
        let batch = Batch { stream, epoch, first, count: part.count, body: part.packed };
        let frame = self.session.send_batch(batch).map_err(Ended::Send)?;
        self.place.next = next;
        self.post(&frame);
        Ok(true)
    }

    fn gap(&self, from: RecordSequence, next: RecordSequence, reason: GapReason) -> Gap {
        let StreamPlace { stream, epoch, .. } = self.place.clone();
        Gap { stream, epoch, from, count: next.0.saturating_sub(from.0), reason }
    }

    /// Sends a gap; false if the window has no room for it now.
    fn send_gap(&mut self, gap: &Gap) -> Result<bool, Ended> {
        match self.session.send_gap(gap.clone()) {
            Err(SendError::Window { .. }) => Ok(false),
            Err(error) => Err(Ended::Send(error)),
            Ok(frame) => {
                tracing::warn!(from = gap.from.0, count = gap.count, reason = gap.reason.as_str(), "gap reported");
                self.around.ledger.note_gap(gap);
                self.place.next = RecordSequence(gap.last().0.saturating_add(1));
                self.post(&frame);
                Ok(true)
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
                    self.around.settle(ack.durable).await?;
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
        silent.min(self.sent.max(self.heard) + self.ping_interval()).min(self.around.renewal.wakes())
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
        let Self { mut around, mut read, mut write, mut frames, session, mut outbox, .. } = self;
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
                        around.settle(ack.durable).await.ok()?;
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
    async fn settle(&mut self, durable: RecordSequence) -> Result<(), SpoolError> {
        self.ledger.settle(durable, &self.shared.metrics);
        self.shared.acknowledge(durable).await
    }
}

#[cfg(test)]
mod tests;
