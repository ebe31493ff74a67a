//! The frames, as values. Encoding and decoding are beside; who may send which when is the state
//! machines' business.

use std::time::Duration;

use canh_event::{Epoch, GapReason, RecordSequence, SourceAccount, SourceLoss, StreamName, Timestamp};

use crate::body::Packed;
use crate::credential::{Credential, Denied, Enrol, Renew};
use crate::kind::FrameKind;
use crate::version::Versions;

/// One frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// The agent says who it is and where its streams stand.
    Hello(Hello),
    /// The collector says where they go on and on what terms.
    Welcome(Welcome),
    /// Records.
    Batch(Batch),
    /// Records up to here are durable.
    Ack(Ack),
    /// No.
    Nack(Nack),
    /// The window has changed.
    Credit(Credit),
    /// Are you there?
    Ping(Ping),
    /// Yes.
    Pong(Pong),
    /// Records that will never come.
    Gap(Gap),
    /// The sender sends no more.
    Bye(Bye),
    /// A host would like its first certificate.
    Enrol(Enrol),
    /// Here is the certificate.
    Credential(Credential),
    /// An agent would like its next certificate.
    Renew(Renew),
    /// There is no certificate.
    Denied(Denied),
    /// What the agent says it produced.
    Account(Account),
}

/// Where one stream of an agent stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamState {
    /// The stream.
    pub stream: StreamName,
    /// The life of its spool.
    pub epoch: Epoch,
    /// The oldest record the spool still has; one past `last` if it has none.
    pub oldest: RecordSequence,
    /// The last record spooled; 0 if there was none yet.
    pub last: RecordSequence,
}

/// The first frame of an agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// The versions the agent speaks.
    pub versions: Versions,
    /// The host's boot id.
    pub boot: u128,
    /// The agent's clock.
    pub clock: Timestamp,
    /// The agent's software and version, such as `canh-log-agent 0.1.0`; at most 63 bytes.
    pub software: Box<str>,
    /// Bits for abilities beyond the version; none is defined yet.
    pub capabilities: u32,
    /// The streams that will be sent; at most 16, no name twice.
    pub streams: Vec<StreamState>,
}

/// Up to where one stream is durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamMark {
    /// The stream.
    pub stream: StreamName,
    /// The epoch, as the HELLO had it.
    pub epoch: Epoch,
    /// The last durable record of that epoch; 0 if there is none.
    pub durable: RecordSequence,
}

/// What a collector allows on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// The window: raw bytes that may be under way unacknowledged.
    pub window: u64,
    /// Longest body on the wire.
    pub max_body_bytes: u32,
    /// Longest batch once unpacked.
    pub max_raw_bytes: u32,
    /// Most records of a batch.
    pub max_records: u32,
    /// How often a quiet agent should send a PING.
    pub ping_interval: Duration,
    /// How long the agent may be silent before the collector hangs up.
    pub idle_timeout: Duration,
}

/// The first frame of a collector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Welcome {
    /// The version of every frame after this one.
    pub version: u8,
    /// The id of the collector's store: a different one means that durable sequences start anew.
    pub store: u128,
    /// The collector's clock.
    pub clock: Timestamp,
    /// What the collector allows.
    pub terms: Terms,
    /// For each stream of the HELLO, in its order, up to where it is durable.
    pub marks: Vec<StreamMark>,
}

/// Records `first` to `first + count - 1` of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// The stream.
    pub stream: StreamName,
    /// The life of its spool.
    pub epoch: Epoch,
    /// The sequence of the first record.
    pub first: RecordSequence,
    /// How many records there are; at least one.
    pub count: u32,
    /// The encoded `RecordBatch`, packed.
    pub body: Packed,
}

/// Every record up to `durable` is on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ack {
    /// The stream.
    pub stream: StreamName,
    /// The epoch.
    pub epoch: Epoch,
    /// The last durable record.
    pub durable: RecordSequence,
}

/// The batch or gap a NACK is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The stream.
    pub stream: StreamName,
    /// The epoch.
    pub epoch: Epoch,
    /// The first sequence of what was refused.
    pub first: RecordSequence,
}

/// A refusal. The connection ends with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nack {
    /// Why.
    pub code: NackCode,
    /// How long to wait before the next connection.
    pub retry_after: Duration,
    /// The batch or gap it is about; `None` if it is about the connection.
    pub place: Option<Place>,
}

/// The window has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Credit {
    /// Raw bytes that may be under way from now on; 0 is a pause.
    pub window: u64,
}

/// Asks for a [`Pong`] with the same token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ping {
    /// Comes back in the answer.
    pub token: u64,
    /// The sender's clock.
    pub clock: Timestamp,
}

/// Answers a [`Ping`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pong {
    /// The token of the PING.
    pub token: u64,
    /// The sender's clock.
    pub clock: Timestamp,
}

/// Records `from` to `from + count - 1` will never come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The stream.
    pub stream: StreamName,
    /// The epoch.
    pub epoch: Epoch,
    /// The first record that is missing.
    pub from: RecordSequence,
    /// How many are missing; at least one.
    pub count: u64,
    /// Why.
    pub reason: GapReason,
    /// Of which sources they are, in order and at most 256; what is missing to `count` is of sources
    /// nobody knows.
    pub sources: Vec<SourceLoss>,
}

/// What the agent says of its sources, as of a place in a stream at the end of a batch or gap. It
/// takes no place in the stream and is not acknowledged: the next one says the same and more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// The stream.
    pub stream: StreamName,
    /// The epoch.
    pub epoch: Epoch,
    /// The last record that was sent before it, to which all of it applies.
    pub position: RecordSequence,
    /// The last record in the spool.
    pub spooled: RecordSequence,
    /// When it was made, by the agent's clock.
    pub stated: Timestamp,
    /// Whether every source the agent has is named, or only those with news.
    pub is_whole: bool,
    /// The sources, at most 256.
    pub sources: Vec<SourceAccount>,
}

/// The last frame of its sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bye {
    /// Why.
    pub reason: ByeReason,
}

/// Declares an enum that stands for a number on the wire, with a word for labels and texts.
macro_rules! wire_enum {
    (
        $(#[$doc:meta])* $name:ident: $number:ty { $( $(#[$vdoc:meta])* $variant:ident = $code:literal, $word:literal; )+ }
    ) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum $name { $( $(#[$vdoc])* $variant, )+ }

        impl $name {
            /// Every value, in order of its number.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// Returns the number on the wire.
            pub const fn code(self) -> $number {
                match self { $(Self::$variant => $code,)+ }
            }

            /// Returns the value a number on the wire stands for.
            pub const fn from_code(code: $number) -> Option<Self> {
                match code { $($code => Some(Self::$variant),)+ _ => None }
            }

            /// Returns its one word, for metric labels and texts.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }
        }
    };
}

wire_enum! {
    /// Why a collector refuses.
    NackCode: u16 {
        /// No version in common.
        Version = 1, "version";
        /// The frame or its order breaks the protocol.
        Protocol = 2, "protocol";
        /// The batch or gap does not follow what was received before.
        SequenceGap = 3, "sequence_gap";
        /// The batch cannot be unpacked or is no record batch.
        Unreadable = 4, "unreadable";
        /// More was sent than the window allows.
        CreditExceeded = 5, "credit_exceeded";
        /// Too many connections, or too little memory: come back later.
        Overload = 6, "overload";
        /// The agent's quota is used up: come back later.
        Quota = 7, "quota";
        /// The collector cannot store: its disk is full or broken.
        Storage = 8, "storage";
        /// Another connection of the same agent has taken the stream over.
        Superseded = 9, "superseded";
        /// The agent's certificate is not accepted any more.
        Revoked = 10, "revoked";
    }
}

wire_enum! {
    /// Why an end says no more.
    ByeReason: u8 {
        /// The end stops.
        Stopping = 1, "stopping";
        /// The end starts anew, with another configuration or certificate.
        Restarting = 2, "restarting";
        /// The other end was silent for too long.
        Idle = 3, "idle";
        /// The other end said BYE first.
        Answering = 4, "answering";
    }
}

/// What an agent does about a NACK.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Advice {
    /// Connects again after the time stated and goes on from where the WELCOME says.
    ComeBack,
    /// Gives the batch up, says so by a GAP ([`GapReason::Refused`]), and goes on after it.
    Skip,
    /// Connects again, seldom: only a person can change the cause.
    Stop,
}

impl NackCode {
    /// Returns what an agent does about it.
    pub const fn advice(self) -> Advice {
        match self {
            Self::Unreadable => Advice::Skip,
            Self::Version | Self::Protocol | Self::CreditExceeded | Self::Revoked => Advice::Stop,
            Self::SequenceGap | Self::Overload | Self::Quota | Self::Storage | Self::Superseded => Advice::ComeBack,
        }
    }
}

impl Batch {
    /// Returns the sequence of the last record.
    pub fn last(&self) -> RecordSequence {
        RecordSequence(self.first.0.saturating_add(u64::from(self.count)).saturating_sub(1))
    }

    /// Returns where it stands, for a NACK about it.
    pub fn place(&self) -> Place {
        Place { stream: self.stream.clone(), epoch: self.epoch, first: self.first }
    }
}

impl Gap {
    /// Returns a gap of records nobody knows the sources of.
    pub fn new(stream: StreamName, epoch: Epoch, from: RecordSequence, count: u64, reason: GapReason) -> Self {
        Self { stream, epoch, from, count, reason, sources: Vec::new() }
    }

    /// Returns the sequence of the last record that is missing.
    pub fn last(&self) -> RecordSequence {
        RecordSequence(self.from.0.saturating_add(self.count).saturating_sub(1))
    }

    /// Takes the first `count` records away from it. Of which sources they were nobody knows, so then
    /// nobody knows it of the rest either, unless all of it is of one source.
    ///
    /// # Contract
    /// `count` is less than there are.
    pub fn cut_front(&mut self, count: u64) {
        debug_assert!(count < self.count, "something is left of a gap");
        if count == 0 {
            return;
        }
        self.from = RecordSequence(self.from.0.saturating_add(count));
        self.count = self.count.saturating_sub(count);
        match self.sources.as_mut_slice() {
            [only] if only.count == self.count.saturating_add(count) => only.count = self.count,
            _ => self.sources.clear(),
        }
    }

    /// Returns where it stands, for a NACK about it.
    pub fn place(&self) -> Place {
        Place { stream: self.stream.clone(), epoch: self.epoch, first: self.from }
    }
}

impl Frame {
    /// Returns which kind of frame it is.
    pub const fn kind(&self) -> FrameKind {
        match self {
            Self::Hello(_) => FrameKind::Hello,
            Self::Welcome(_) => FrameKind::Welcome,
            Self::Batch(_) => FrameKind::Batch,
            Self::Ack(_) => FrameKind::Ack,
            Self::Nack(_) => FrameKind::Nack,
            Self::Credit(_) => FrameKind::Credit,
            Self::Ping(_) => FrameKind::Ping,
            Self::Pong(_) => FrameKind::Pong,
            Self::Gap(_) => FrameKind::Gap,
            Self::Bye(_) => FrameKind::Bye,
            Self::Enrol(_) => FrameKind::Enrol,
            Self::Credential(_) => FrameKind::Credential,
            Self::Renew(_) => FrameKind::Renew,
            Self::Denied(_) => FrameKind::Denied,
            Self::Account(_) => FrameKind::Account,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_on_the_wire_come_back_and_are_distinct() {
        for code in NackCode::ALL {
            assert_eq!(NackCode::from_code(code.code()), Some(*code));
        }
        for reason in ByeReason::ALL {
            assert_eq!(ByeReason::from_code(reason.code()), Some(*reason));
        }
        assert_eq!(NackCode::from_code(0), None);
    }
}
