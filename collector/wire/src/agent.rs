//! The agent's end of a connection: what it may say when, and what it makes of the answers.
//!
//! ```text
//!  Greeting ── HELLO, WELCOME ──► Open ── BATCH, GAP; ACK, CREDIT ──► Leaving ── BYE; ACK ──► over
//! ```
//!
//! Holds the order of sequences and the window, so a sender cannot break either by mistake.

use std::collections::VecDeque;

use canh_event::{Epoch, GapReason, RecordSequence, SourceAccount, StreamName, Timestamp};

use crate::credential::{Credential, Denied, Renew};
use crate::frame::{
    Account, Ack, Batch, Bye, ByeReason, Frame, Gap, Hello, Nack, Ping, Pong, StreamMark, StreamState, Welcome,
};
use crate::kind::FrameKind;
use crate::limits::MAX_UNDER_WAY;

/// The agent's end; `S` is the state it is in.
#[derive(Debug)]
pub struct AgentSession<S> {
    state: S,
}

/// Has said HELLO, or is about to, and waits for a WELCOME.
#[derive(Debug)]
pub struct Greeting {
    hello: Hello,
}

/// Sends.
#[derive(Debug)]
pub struct Open {
    version: u8,
    window: u64,
    under_way: u64,
    streams: Vec<Sending>,
}

/// Has said BYE, and waits for the last acknowledgements.
#[derive(Debug)]
pub struct Leaving {
    open: Open,
}

/// One stream of an open session.
#[derive(Debug)]
struct Sending {
    stream: StreamName,
    epoch: Epoch,
    /// The sequence that must be sent next; `None` if the spool is behind the collector.
    next: Option<RecordSequence>,
    durable: RecordSequence,
    /// The last sequence and the raw bytes of each batch and gap under way.
    sent: VecDeque<(RecordSequence, u64)>,
}

/// How a stream goes on after a WELCOME.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resume {
    /// Everything up to before `next` is durable and may leave the spool; send from `next` on.
    From {
        /// The stream.
        stream: StreamName,
        /// The first record to send.
        next: RecordSequence,
    },
    /// The collector lacks records the spool has let go: send this GAP, then the oldest record.
    AfterGap(Gap),
    /// The collector has more than was ever spooled: the spool was rolled back. It must begin a
    /// new epoch and connect again; nothing can be sent on this stream now.
    SpoolBehind {
        /// The stream.
        stream: StreamName,
        /// What the collector has.
        durable: RecordSequence,
    },
}

/// What a WELCOME has led to.
#[derive(Debug)]
pub struct Welcomed {
    /// The session, ready to send.
    pub session: AgentSession<Open>,
    /// What the collector said.
    pub welcome: Welcome,
    /// How each stream of the HELLO goes on, in its order.
    pub resume: Vec<Resume>,
}

/// What a frame from the collector means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AgentEvent {
    /// Everything up to here is durable and may leave the spool.
    Acknowledged(Ack),
    /// The window has changed; there may be room now.
    Window(u64),
    /// Send this answer (to a PING).
    Answer(Frame),
    /// Our PING was answered.
    Heard(Pong),
    /// The next certificate, as asked for by [`AgentSession::renew`].
    Renewed(Credential),
    /// There is none; the session goes on.
    NotRenewed(Denied),
    /// The collector refuses and hangs up; see `NackCode::advice`.
    Refused(Nack),
    /// The collector says no more. What is not acknowledged is sent on the next connection.
    Bye(ByeReason),
}

/// A frame of the collector that may not come now. The collector's fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AgentSessionError {
    /// A frame of this kind may not come in this state.
    #[error("a {} frame may not come while {state}", got.as_str())]
    Unexpected {
        /// The kind of frame.
        got: FrameKind,
        /// What the session is doing.
        state: &'static str,
    },
    /// The collector answers the HELLO with a refusal.
    #[error("the collector refuses: {}", nack.code.as_str())]
    Refused {
        /// The refusal.
        nack: Nack,
    },
    /// The collector answers the HELLO with a BYE.
    #[error("the collector says bye: {}", reason.as_str())]
    Bye {
        /// Its reason.
        reason: ByeReason,
    },
    /// The WELCOME settles on a version that was not offered.
    #[error("the collector settles on version {got}, which was not offered")]
    Version {
        /// The version.
        got: u8,
    },
    /// The WELCOME's marks are not those of the HELLO's streams.
    #[error("the welcome does not answer the streams of the hello")]
    Marks,
    /// An ACK is for a stream or epoch that is not open.
    #[error("an acknowledgement is for a stream that is not open")]
    Stream,
    /// An ACK is for records that were not sent.
    #[error("record {durable} is acknowledged, the last one sent is {sent}")]
    AckAhead {
        /// What the ACK says.
        durable: u64,
        /// The last record sent.
        sent: u64,
    },
}

/// A batch or gap that may not be sent now.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The window has no room: wait for an ACK or a CREDIT.
    #[error("the window has no room for {raw_bytes} bytes")]
    Window {
        /// The raw length of the batch.
        raw_bytes: u64,
    },
    /// It is not what comes next.
    #[error("record {expected} must be sent next, not {got}")]
    Order {
        /// The next sequence.
        expected: u64,
        /// The sequence of what was to be sent.
        got: u64,
    },
    /// The stream was not in the HELLO, has another epoch, or its spool is behind.
    #[error("the stream is not open")]
    Stream,
}

impl AgentSession<Greeting> {
    /// Returns the session of a new connection.
    pub fn new(hello: Hello) -> Self {
        Self { state: Greeting { hello } }
    }

    /// Returns the frame to send first; encode it in the newest version spoken.
    pub fn hello(&self) -> Frame {
        Frame::Hello(self.state.hello.clone())
    }

    /// Takes the collector's first frame.
    ///
    /// # Errors
    /// [`AgentSessionError`]: the connection is over. `Refused` and `Bye` are answers; the others
    /// are the collector's faults.
    pub fn receive(self, frame: Frame) -> Result<Welcomed, AgentSessionError> {
        let welcome = match frame {
            Frame::Welcome(welcome) => welcome,
            Frame::Nack(nack) => return Err(AgentSessionError::Refused { nack }),
            Frame::Bye(Bye { reason }) => return Err(AgentSessionError::Bye { reason }),
            other => return Err(AgentSessionError::Unexpected { got: other.kind(), state: "waiting for a welcome" }),
        };
        let hello = self.state.hello;
        if !hello.versions.contains(welcome.version) {
            return Err(AgentSessionError::Version { got: welcome.version });
        }
        if hello.streams.len() != welcome.marks.len() {
            return Err(AgentSessionError::Marks);
        }
        let (mut streams, mut resume) = (Vec::new(), Vec::new());
        for (state, mark) in hello.streams.iter().zip(&welcome.marks) {
            let how = resume_of(state, mark)?;
            streams.push(Sending::new(mark, &how));
            resume.push(how);
        }
        let open = Open { version: welcome.version, window: welcome.terms.window, under_way: 0, streams };
        Ok(Welcomed { session: AgentSession { state: open }, welcome, resume })
    }
}

impl AgentSession<Open> {
    /// Returns the version every frame is encoded in.
    pub fn version(&self) -> u8 {
        self.state.version
    }

    /// Returns whether the window has room for a batch of `raw_bytes`.
    pub fn has_room(&self, raw_bytes: usize) -> bool {
        self.state.has_room(raw_bytes as u64)
    }

    /// Returns whether nothing is under way unacknowledged.
    pub fn is_idle(&self) -> bool {
        self.state.is_idle()
    }

    /// Returns the frame of a batch and counts it as under way.
    ///
    /// # Errors
    /// [`SendError`], and nothing has changed.
    pub fn send_batch(&mut self, batch: Batch) -> Result<Frame, SendError> {
        let raw_bytes = batch.body.raw_len() as u64;
        self.state.send(&batch.stream, batch.epoch, batch.first, batch.last(), raw_bytes)?;
        Ok(Frame::Batch(batch))
    }

    /// Returns the frame of a gap and counts it as under way.
    ///
    /// # Errors
    /// [`SendError`], and nothing has changed.
    pub fn send_gap(&mut self, gap: Gap) -> Result<Frame, SendError> {
        self.state.send(&gap.stream, gap.epoch, gap.from, gap.last(), 0)?;
        Ok(Frame::Gap(gap))
    }

    /// Returns the frame of an account as of what was sent last, with the last record in the spool;
    /// nothing if the stream is not open.
    ///
    /// # Contract
    /// At most 256 sources, in order, each once; what they say is as of the last record sent.
    pub fn account(
        &self,
        stream: &StreamName,
        spooled: RecordSequence,
        stated: Timestamp,
        is_whole: bool,
        sources: Vec<SourceAccount>,
    ) -> Option<Frame> {
        let open = self.state.streams.iter().find(|open| open.stream == *stream)?;
        let position = RecordSequence(open.next?.0.saturating_sub(1));
        let (stream, epoch, spooled) = (stream.clone(), open.epoch, spooled.max(position));
        Some(Frame::Account(Account { stream, epoch, position, spooled, stated, is_whole, sources }))
    }

    /// Returns a PING; `token` comes back in the answer.
    pub fn ping(&self, token: u64, clock: Timestamp) -> Frame {
        Frame::Ping(Ping { token, clock })
    }

    /// Returns the frame that asks for the next certificate; `request` is as in [`Renew`].
    pub fn renew(&self, request: Box<[u8]>) -> Frame {
        Frame::Renew(Renew { request })
    }

    /// Takes a frame of the collector; `clock` is our clock, for an answer.
    ///
    /// # Errors
    /// [`AgentSessionError`]: the connection is over.
    pub fn receive(&mut self, frame: Frame, clock: Timestamp) -> Result<AgentEvent, AgentSessionError> {
        self.state.receive(frame, clock)
    }

    /// Says BYE: nothing is sent after the frame this returns, acknowledgements may still come.
    pub fn leave(self, reason: ByeReason) -> (AgentSession<Leaving>, Frame) {
        (AgentSession { state: Leaving { open: self.state } }, Frame::Bye(Bye { reason }))
    }
}

impl AgentSession<Leaving> {
    /// Returns whether nothing is under way unacknowledged.
    pub fn is_idle(&self) -> bool {
        self.state.open.is_idle()
    }

    /// Takes a frame of the collector. An answer it asks for is not sent: our BYE was the last.
    ///
    /// # Errors
    /// [`AgentSessionError`]: the connection is over.
    pub fn receive(&mut self, frame: Frame, clock: Timestamp) -> Result<AgentEvent, AgentSessionError> {
        self.state.open.receive(frame, clock)
    }
}

impl Open {
    fn has_room(&self, raw_bytes: u64) -> bool {
        let count: usize = self.streams.iter().map(|stream| stream.sent.len()).sum();
        let fits = self.under_way == 0 || self.under_way.saturating_add(raw_bytes) <= self.window;
        self.window > 0 && fits && count < MAX_UNDER_WAY
    }

    fn is_idle(&self) -> bool {
        self.streams.iter().all(|stream| stream.sent.is_empty())
    }

    fn send(
        &mut self,
        stream: &StreamName,
        epoch: Epoch,
        first: RecordSequence,
        last: RecordSequence,
        raw_bytes: u64,
    ) -> Result<(), SendError> {
        if !self.has_room(raw_bytes) {
            return Err(SendError::Window { raw_bytes });
        }
        let open = self.streams.iter_mut().find(|open| open.stream == *stream && open.epoch == epoch);
        let open = open.ok_or(SendError::Stream)?;
        let next = open.next.ok_or(SendError::Stream)?;
        if first != next {
            return Err(SendError::Order { expected: next.0, got: first.0 });
        }
        open.next = Some(RecordSequence(last.0.saturating_add(1)));
        open.sent.push_back((last, raw_bytes));
        self.under_way += raw_bytes;
        Ok(())
    }

    fn receive(&mut self, frame: Frame, clock: Timestamp) -> Result<AgentEvent, AgentSessionError> {
        match frame {
            Frame::Ack(ack) => self.settle(ack).map(AgentEvent::Acknowledged),
            Frame::Credit(credit) => {
                self.window = credit.window;
                Ok(AgentEvent::Window(credit.window))
            }
            Frame::Ping(ping) => Ok(AgentEvent::Answer(Frame::Pong(Pong { token: ping.token, clock }))),
            Frame::Pong(pong) => Ok(AgentEvent::Heard(pong)),
            Frame::Credential(credential) => Ok(AgentEvent::Renewed(credential)),
            Frame::Denied(denied) => Ok(AgentEvent::NotRenewed(denied)),
            Frame::Nack(nack) => Ok(AgentEvent::Refused(nack)),
            Frame::Bye(bye) => Ok(AgentEvent::Bye(bye.reason)),
            other => Err(AgentSessionError::Unexpected { got: other.kind(), state: "sending" }),
        }
    }

    fn settle(&mut self, ack: Ack) -> Result<Ack, AgentSessionError> {
        let open = self.streams.iter_mut().find(|open| open.stream == ack.stream && open.epoch == ack.epoch);
        let open = open.ok_or(AgentSessionError::Stream)?;
        // Where nothing has been sent yet, what the WELCOME said is the last that can be said again.
        let sent = open.next.map_or(open.durable.0, |next| next.0.saturating_sub(1));
        if ack.durable.0 > sent {
            return Err(AgentSessionError::AckAhead { durable: ack.durable.0, sent });
        }
        open.durable = open.durable.max(ack.durable);
        while open.sent.front().is_some_and(|(last, _)| *last <= ack.durable) {
            let (_, raw_bytes) = open.sent.pop_front().unwrap_or_default();
            self.under_way = self.under_way.saturating_sub(raw_bytes);
        }
        Ok(ack)
    }
}

impl Sending {
    fn new(mark: &StreamMark, resume: &Resume) -> Self {
        let after = RecordSequence(mark.durable.0.saturating_add(1));
        let next = (!matches!(resume, Resume::SpoolBehind { .. })).then_some(after);
        Self { stream: mark.stream.clone(), epoch: mark.epoch, next, durable: mark.durable, sent: VecDeque::new() }
    }
}

fn resume_of(state: &StreamState, mark: &StreamMark) -> Result<Resume, AgentSessionError> {
    if mark.stream != state.stream || mark.epoch != state.epoch {
        return Err(AgentSessionError::Marks);
    }
    let stream = state.stream.clone();
    let next = RecordSequence(mark.durable.0.saturating_add(1));
    if mark.durable > state.last {
        return Ok(Resume::SpoolBehind { stream, durable: mark.durable });
    }
    if next < state.oldest {
        let count = state.oldest.0 - next.0;
        let reason = GapReason::ElsewhereAcknowledged;
        return Ok(Resume::AfterGap(Gap::new(stream, state.epoch, next, count, reason)));
    }
    Ok(Resume::From { stream, next })
}

#[cfg(test)]
mod tests;
