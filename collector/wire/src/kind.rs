//! Which kinds of frame there are, their numbers on the wire and their limits.

use crate::limits::{CONTROL_LIMIT, LEDGER_LIMIT, MAX_BODY_BYTES};

/// Which kind of frame follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FrameKind {
    /// HELLO.
    Hello,
    /// WELCOME.
    Welcome,
    /// BATCH.
    Batch,
    /// ACK.
    Ack,
    /// NACK.
    Nack,
    /// CREDIT.
    Credit,
    /// PING.
    Ping,
    /// PONG.
    Pong,
    /// GAP.
    Gap,
    /// BYE.
    Bye,
    /// ENROL.
    Enrol,
    /// CREDENTIAL.
    Credential,
    /// RENEW.
    Renew,
    /// DENIED.
    Denied,
    /// ACCOUNT.
    Account,
}

impl FrameKind {
    const ALL: [Self; 15] = [
        Self::Hello,
        Self::Welcome,
        Self::Batch,
        Self::Ack,
        Self::Nack,
        Self::Credit,
        Self::Ping,
        Self::Pong,
        Self::Gap,
        Self::Bye,
        Self::Enrol,
        Self::Credential,
        Self::Renew,
        Self::Denied,
        Self::Account,
    ];

    /// Returns the number on the wire.
    pub const fn code(self) -> u8 {
        match self {
            Self::Hello => 1,
            Self::Welcome => 2,
            Self::Batch => 3,
            Self::Ack => 4,
            Self::Nack => 5,
            Self::Credit => 6,
            Self::Ping => 7,
            Self::Pong => 8,
            Self::Gap => 9,
            Self::Bye => 10,
            Self::Enrol => 16,
            Self::Credential => 17,
            Self::Renew => 18,
            Self::Denied => 19,
            Self::Account => 20,
        }
    }

    pub(crate) fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.code() == code)
    }

    /// Returns its name in lower case, for texts and labels.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hello => "hello",
            Self::Welcome => "welcome",
            Self::Batch => "batch",
            Self::Ack => "ack",
            Self::Nack => "nack",
            Self::Credit => "credit",
            Self::Ping => "ping",
            Self::Pong => "pong",
            Self::Gap => "gap",
            Self::Bye => "bye",
            Self::Enrol => "enrol",
            Self::Credential => "credential",
            Self::Renew => "renew",
            Self::Denied => "denied",
            Self::Account => "account",
        }
    }

    /// Returns the longest body a frame of this kind may have.
    pub const fn limit(self) -> usize {
        match self {
            Self::Batch => MAX_BODY_BYTES,
            Self::Gap | Self::Account => LEDGER_LIMIT,
            _ => CONTROL_LIMIT,
        }
    }
}
