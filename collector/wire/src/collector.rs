//! The collector's end of a connection: what may come when, and what is owed for it.
//!
//! ```text
//!  WaitingForHello ── HELLO ──► Welcoming ── WELCOME ──► Receiving ── BATCH, GAP; ACK ──► BYE
//! ```
//!
//! Holds what a hostile agent could bend: the order of sequences, the window, the streams and
//! epochs that were announced. What is durable is said to it from outside.

use std::collections::VecDeque;

use canh_event::{Epoch, RecordSequence, StreamName, Timestamp};

use crate::credential::Renew;
use crate::frame::{
    Account, Ack, Batch, ByeReason, Credit, Frame, Gap, Hello, Nack, NackCode, Place, Pong, StreamMark, Terms, Welcome,
};
use crate::kind::FrameKind;
use crate::limits::MAX_UNDER_WAY;
use crate::version::Versions;

/// The collector's end; `S` is the state it is in.
#[derive(Debug)]
pub struct CollectorSession<S> {
    state: S,
}

/// Waits for the HELLO.
#[derive(Debug)]
pub struct WaitingForHello {
    versions: Versions,
}

/// Has a HELLO to answer.
#[derive(Debug)]
pub struct Welcoming {
    hello: Hello,
    version: u8,
}

/// Receives.
#[derive(Debug)]
pub struct Receiving {
    version: u8,
    /// The largest window ever announced: a smaller one may still be on its way.
    window: u64,
    under_way: u64,
    streams: Vec<Received>,
    agent_said_bye: bool,
}

/// One stream of a session.
#[derive(Debug)]
struct Received {
    stream: StreamName,
    epoch: Epoch,
    /// The last record received without a hole before it.
    last: RecordSequence,
    durable: RecordSequence,
    /// The last sequence and the raw bytes of each batch and gap that is not acknowledged.
    held: VecDeque<(RecordSequence, u64)>,
}

/// A batch that follows what was received before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// The batch, as it came.
    pub batch: Batch,
    /// How many of its first records were received before: they must not be stored again.
    pub skip: u32,
}

/// What a frame from the agent means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CollectorEvent {
    /// Store these records, then [`CollectorSession::acknowledge`].
    Batch(Accepted),
    /// Store that these records will never come, then acknowledge. Cut down to what is new.
    Gap(Gap),
    /// Everything in it was received before. Send this ACK; if it does not reach up to the
    /// duplicate yet, a later one will.
    Duplicate(Ack),
    /// Hold this against what was counted up to just this place, and store it.
    Account(Account),
    /// Send this answer (to a PING).
    Answer(Frame),
    /// Our PING was answered.
    Heard(Pong),
    /// Answer with a CREDENTIAL or a DENIED.
    Renew(Renew),
    /// The agent sends no more.
    Bye(ByeReason),
}

/// A frame of the agent that may not come now, and so the end of the connection. The agent's fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CollectorSessionError {
    /// A frame of this kind may not come in this state.
    #[error("a {} frame may not come while {state}", got.as_str())]
    Unexpected {
        /// The kind of frame.
        got: FrameKind,
        /// What the session is doing.
        state: &'static str,
    },
    /// There is no version in common.
    #[error("the agent speaks versions {oldest} to {newest}, none of them ours")]
    Version {
        /// The oldest version the agent speaks.
        oldest: u8,
        /// The newest version the agent speaks.
        newest: u8,
    },
    /// The stream was not in the HELLO, or had another epoch there.
    #[error("stream {} was not announced with epoch {}", place.stream, place.epoch)]
    Stream {
        /// What was sent.
        place: Place,
    },
    /// An account is of another place than the one its stream has come to.
    #[error("an account of stream {} is as of record {}, {received} were received", place.stream, place.first.0)]
    Account {
        /// What was sent; its `first` is the account's position.
        place: Place,
        /// The last record received.
        received: u64,
    },
    /// Records are missing before it and no GAP says so.
    #[error("record {expected} of stream {} must come next, not {}", place.stream, place.first.0)]
    SequenceGap {
        /// What was sent.
        place: Place,
        /// The sequence that must come next.
        expected: u64,
    },
    /// More is under way than the window allows.
    #[error("{under_way} bytes are under way, the window is {window}")]
    Credit {
        /// What was sent.
        place: Place,
        /// What would be under way.
        under_way: u64,
        /// The window.
        window: u64,
    },
}

impl CollectorSession<WaitingForHello> {
    /// Returns the session of a new connection; `versions` is `SPOKEN` but in tests.
    pub fn new(versions: Versions) -> Self {
        Self { state: WaitingForHello { versions } }
    }

    /// Takes the agent's first frame.
    ///
    /// # Errors
    /// [`CollectorSessionError`]: answer with its NACK and hang up.
    pub fn receive(self, frame: Frame) -> Result<CollectorSession<Welcoming>, CollectorSessionError> {
        let hello = match frame {
            Frame::Hello(hello) => hello,
            other => {
                return Err(CollectorSessionError::Unexpected { got: other.kind(), state: "waiting for a hello" });
            }
        };
        let Versions { oldest, newest } = hello.versions;
        let version = self.state.versions.settle(hello.versions);
        let version = version.ok_or(CollectorSessionError::Version { oldest, newest })?;
        Ok(CollectorSession { state: Welcoming { hello, version } })
    }
}

impl CollectorSession<Welcoming> {
    /// Returns what the agent said.
    pub fn hello(&self) -> &Hello {
        &self.state.hello
    }

    /// Answers the HELLO. `durable` has, for each of its streams, the last durable record of that
    /// epoch. Encode the frame in [`CollectorSession::version`] and settle the reader on it.
    ///
    /// # Contract
    /// `durable` is as long as the HELLO's streams and in their order.
    pub fn welcome(
        self,
        store: u128,
        clock: Timestamp,
        terms: Terms,
        durable: &[RecordSequence],
    ) -> (CollectorSession<Receiving>, Frame) {
        let Welcoming { hello, version } = self.state;
        debug_assert_eq!(durable.len(), hello.streams.len(), "one mark a stream");
        let mut marks = Vec::new();
        let mut streams = Vec::new();
        for (state, durable) in hello.streams.into_iter().zip(durable.iter().copied()) {
            let (stream, epoch) = (state.stream, state.epoch);
            marks.push(StreamMark { stream: stream.clone(), epoch, durable });
            streams.push(Received { stream, epoch, last: durable, durable, held: VecDeque::new() });
        }
        let receiving = Receiving { version, window: terms.window, under_way: 0, streams, agent_said_bye: false };
        let welcome = Frame::Welcome(Welcome { version, store, clock, terms, marks });
        (CollectorSession { state: receiving }, welcome)
    }
}

impl CollectorSession<Receiving> {
    /// Returns the version every frame is encoded in.
    pub fn version(&self) -> u8 {
        self.state.version
    }

    /// Takes a frame of the agent; `clock` is our clock, for an answer.
    ///
    /// # Errors
    /// [`CollectorSessionError`]: send its NACK and hang up. What was accepted before stays so.
    pub fn receive(&mut self, frame: Frame, clock: Timestamp) -> Result<CollectorEvent, CollectorSessionError> {
        if self.state.agent_said_bye {
            return Err(CollectorSessionError::Unexpected { got: frame.kind(), state: "over: the agent said bye" });
        }
        match frame {
            Frame::Batch(batch) => self.state.receive_batch(batch),
            Frame::Gap(gap) => self.state.receive_gap(gap),
            Frame::Account(account) => self.state.receive_account(account),
            Frame::Ping(ping) => Ok(CollectorEvent::Answer(Frame::Pong(Pong { token: ping.token, clock }))),
            Frame::Pong(pong) => Ok(CollectorEvent::Heard(pong)),
            Frame::Renew(renew) => Ok(CollectorEvent::Renew(renew)),
            Frame::Bye(bye) => {
                self.state.agent_said_bye = true;
                Ok(CollectorEvent::Bye(bye.reason))
            }
            other => Err(CollectorSessionError::Unexpected { got: other.kind(), state: "receiving" }),
        }
    }

    /// Says that a stream is durable up to a record; returns the ACK to send, if it says more than
    /// the one before. A record past what this session received is held back to what it received.
    pub fn acknowledge(&mut self, stream: &StreamName, durable: RecordSequence) -> Option<Frame> {
        let Receiving { streams, under_way, .. } = &mut self.state;
        let received = streams.iter_mut().find(|received| received.stream == *stream)?;
        let durable = durable.min(received.last);
        if durable <= received.durable {
            return None;
        }
        received.durable = durable;
        while received.held.front().is_some_and(|(last, _)| *last <= durable) {
            let (_, raw_bytes) = received.held.pop_front().unwrap_or_default();
            *under_way = under_way.saturating_sub(raw_bytes);
        }
        Some(Frame::Ack(received.ack()))
    }

    /// Returns whether everything received is acknowledged.
    pub fn is_idle(&self) -> bool {
        self.state.streams.iter().all(|received| received.held.is_empty())
    }

    /// Returns how many raw bytes are received and not acknowledged.
    pub fn under_way(&self) -> u64 {
        self.state.under_way
    }

    /// Changes the window; returns the CREDIT to send.
    pub fn set_window(&mut self, window: u64) -> Frame {
        self.state.window = self.state.window.max(window);
        Frame::Credit(Credit { window })
    }
}

impl Receiving {
    fn receive_batch(&mut self, batch: Batch) -> Result<CollectorEvent, CollectorSessionError> {
        let raw_bytes = batch.body.raw_len() as u64;
        match self.place(batch.place(), batch.last(), raw_bytes)? {
            Arrival::Duplicate(ack) => Ok(CollectorEvent::Duplicate(ack)),
            Arrival::New { skip } => {
                let skip = u32::try_from(skip).unwrap_or(u32::MAX);
                Ok(CollectorEvent::Batch(Accepted { batch, skip }))
            }
        }
    }

    fn receive_gap(&mut self, mut gap: Gap) -> Result<CollectorEvent, CollectorSessionError> {
        match self.place(gap.place(), gap.last(), 0)? {
            Arrival::Duplicate(ack) => Ok(CollectorEvent::Duplicate(ack)),
            Arrival::New { skip } => {
                gap.cut_front(skip);
                Ok(CollectorEvent::Gap(gap))
            }
        }
    }

    fn receive_account(&self, account: Account) -> Result<CollectorEvent, CollectorSessionError> {
        let place = Place { stream: account.stream.clone(), epoch: account.epoch, first: account.position };
        let open = self.streams.iter().find(|open| open.stream == place.stream && open.epoch == place.epoch);
        match open {
            None => Err(CollectorSessionError::Stream { place }),
            Some(received) if received.last != account.position => {
                Err(CollectorSessionError::Account { place, received: received.last.0 })
            }
            Some(_) => Ok(CollectorEvent::Account(account)),
        }
    }

    /// Finds where a run of records stands against what was received, and takes it in.
    fn place(&mut self, place: Place, last: RecordSequence, raw: u64) -> Result<Arrival, CollectorSessionError> {
        let held: usize = self.streams.iter().map(|received| received.held.len()).sum();
        let open = self.streams.iter_mut().find(|open| open.stream == place.stream && open.epoch == place.epoch);
        let Some(received) = open else { return Err(CollectorSessionError::Stream { place }) };
        let expected = received.last.0.saturating_add(1);
        if place.first.0 > expected {
            return Err(CollectorSessionError::SequenceGap { place, expected });
        }
        if last <= received.last {
            return Ok(Arrival::Duplicate(received.ack()));
        }
        let under_way = self.under_way.saturating_add(raw);
        let is_over = self.under_way > 0 && under_way > self.window;
        if is_over || held >= MAX_UNDER_WAY {
            return Err(CollectorSessionError::Credit { place, under_way, window: self.window });
        }
        let skip = expected - place.first.0;
        received.last = last;
        received.held.push_back((last, raw));
        self.under_way = under_way;
        Ok(Arrival::New { skip })
    }
}

enum Arrival {
    New { skip: u64 },
    Duplicate(Ack),
}

impl Received {
    fn ack(&self) -> Ack {
        Ack { stream: self.stream.clone(), epoch: self.epoch, durable: self.durable }
    }
}

impl CollectorSessionError {
    /// Returns the code of the NACK that says so.
    pub const fn code(&self) -> NackCode {
        match self {
            Self::Unexpected { .. } | Self::Stream { .. } | Self::Account { .. } => NackCode::Protocol,
            Self::Version { .. } => NackCode::Version,
            Self::SequenceGap { .. } => NackCode::SequenceGap,
            Self::Credit { .. } => NackCode::CreditExceeded,
        }
    }

    /// Returns the NACK to answer with.
    pub fn nack(&self, retry_after: std::time::Duration) -> Nack {
        let place = match self {
            Self::Stream { place }
            | Self::Account { place, .. }
            | Self::SequenceGap { place, .. }
            | Self::Credit { place, .. } => Some(place.clone()),
            Self::Unexpected { .. } | Self::Version { .. } => None,
        };
        Nack { code: self.code(), retry_after, place }
    }
}

#[cfg(test)]
mod tests;
