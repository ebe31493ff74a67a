//! The words of a flow: protocols, TCP flags, Zeek's connection states, why a record was closed.
//!
//! Each is written in one way only, and its reader takes exactly what its writer gives, so a text
//! of a record means one thing wherever it turns up.

use std::fmt::{self, Write};
use std::str::FromStr;

/// A text that is none of the words it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not {what}")]
pub struct WordError {
    what: &'static str,
}

/// An IP protocol number, written by name if it is one of those a flow record knows ports, types
/// or flags of, else as a number. Names are IANA's keywords in lower case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Protocol(pub u8);

/// The flag byte of TCP headers, RFC 9293 section 3.1; several headers or-ed together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TcpFlags(pub u8);

/// How a connection went, in the words of Zeek's `conn_state`. "Source" is the side that opened
/// the connection, as far as was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ConnectionState {
    /// The source asked, nobody answered.
    S0,
    /// Established, not ended.
    S1,
    /// Established, the source has closed its half.
    S2,
    /// Established, the destination has closed its half.
    S3,
    /// Established and ended as it should be; for UDP: both sides sent.
    SF,
    /// The source asked and was refused with a reset.
    REJ,
    /// Established, then reset by the source.
    RSTO,
    /// Established, then reset by the destination.
    RSTR,
    /// The source asked and then reset, no answer seen: what a half-open scan leaves.
    RSTOS0,
    /// The destination answered and then reset, the question was not seen.
    RSTRH,
    /// The source asked and then closed, no answer seen.
    SH,
    /// The destination answered and then closed, the question was not seen.
    SHR,
    /// Anything else: the beginning was not seen, or the protocol has no states.
    OTH,
}

/// Why a record was closed; the first five are `flowEndReason` of RFC 5102 section 5.11.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EndReason {
    /// No packet for as long as the idle timeout.
    Idle,
    /// The flow goes on; the active timeout cut this record off it.
    Active,
    /// The end of the connection was seen.
    Ended,
    /// The meter stopped, or the capture file ended.
    Flushed,
    /// The flow table was full and needed the place.
    Evicted,
}

impl Protocol {
    /// ICMP.
    pub const ICMP: Self = Self(1);
    /// TCP.
    pub const TCP: Self = Self(6);
    /// UDP.
    pub const UDP: Self = Self(17);
    /// ICMP for IPv6.
    pub const ICMP_V6: Self = Self(58);
    /// SCTP.
    pub const SCTP: Self = Self(132);

    const NAMES: [(Self, &'static str); 5] = [
        (Self::ICMP, "icmp"),
        (Self::TCP, "tcp"),
        (Self::UDP, "udp"),
        (Self::ICMP_V6, "ipv6-icmp"),
        (Self::SCTP, "sctp"),
    ];
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Self::NAMES.iter().find(|(protocol, _)| protocol == self) {
            Some((_, name)) => f.write_str(name),
            None => write!(f, "{}", self.0),
        }
    }
}

impl FromStr for Protocol {
    type Err = WordError;

    fn from_str(text: &str) -> Result<Self, WordError> {
        if let Some((protocol, _)) = Self::NAMES.iter().find(|(_, name)| *name == text) {
            return Ok(*protocol);
        }
        let refused = WordError { what: "a protocol: a known name or a number up to 255" };
        let is_plain = text == "0" || text.starts_with(|first: char| ('1'..='9').contains(&first));
        let protocol = text.parse().map(Self).map_err(|_| refused)?;
        let has_name = Self::NAMES.iter().any(|(named, _)| *named == protocol);
        if is_plain && !has_name { Ok(protocol) } else { Err(refused) }
    }
}

impl TcpFlags {
    /// The sender has no more to send.
    pub const FIN: Self = Self(0x01);
    /// The sender begins its sequence numbers.
    pub const SYN: Self = Self(0x02);
    /// The sender breaks the connection off.
    pub const RST: Self = Self(0x04);
    /// The acknowledgement number counts.
    pub const ACK: Self = Self(0x10);

    /// One letter a flag, highest bit first: CWR, ECE, URG, ACK, PSH, RST, SYN, FIN.
    const LETTERS: [char; 8] = ['C', 'E', 'U', 'A', 'P', 'R', 'S', 'F'];

    /// Returns whether every flag of `other` is set.
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Returns the flags set in either.
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// Writes the letters of the flags that are set, such as `APSF`; `-` if none is.
impl fmt::Display for TcpFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.write_char('-');
        }
        let is_set = |index: &(usize, &char)| self.0 & (0x80 >> index.0) != 0;
        Self::LETTERS.iter().enumerate().filter(is_set).try_for_each(|(_, letter)| f.write_char(*letter))
    }
}

impl FromStr for TcpFlags {
    type Err = WordError;

    fn from_str(text: &str) -> Result<Self, WordError> {
        let refused = WordError { what: "TCP flags: letters of CEUAPRSF in that order, or '-'" };
        if text == "-" {
            return Ok(Self(0));
        }
        let (mut bits, mut rest) = (0_u8, text);
        for (index, letter) in Self::LETTERS.iter().enumerate() {
            if let Some(after) = rest.strip_prefix(*letter) {
                bits |= 0x80 >> index;
                rest = after;
            }
        }
        if bits != 0 && rest.is_empty() { Ok(Self(bits)) } else { Err(refused) }
    }
}

impl ConnectionState {
    const NAMES: [(Self, &'static str); 13] = [
        (Self::S0, "S0"),
        (Self::S1, "S1"),
        (Self::S2, "S2"),
        (Self::S3, "S3"),
        (Self::SF, "SF"),
        (Self::REJ, "REJ"),
        (Self::RSTO, "RSTO"),
        (Self::RSTR, "RSTR"),
        (Self::RSTOS0, "RSTOS0"),
        (Self::RSTRH, "RSTRH"),
        (Self::SH, "SH"),
        (Self::SHR, "SHR"),
        (Self::OTH, "OTH"),
    ];
}

impl EndReason {
    /// Every reason, in the order of [`EndReason::index`].
    pub const ALL: [Self; 5] = [Self::Idle, Self::Active, Self::Ended, Self::Flushed, Self::Evicted];

    const NAMES: [(Self, &'static str); 5] = [
        (Self::Idle, "idle"),
        (Self::Active, "active"),
        (Self::Ended, "ended"),
        (Self::Flushed, "flushed"),
        (Self::Evicted, "evicted"),
    ];

    /// Returns the reason's place in [`EndReason::ALL`].
    pub const fn index(self) -> usize {
        match self {
            Self::Idle => 0,
            Self::Active => 1,
            Self::Ended => 2,
            Self::Flushed => 3,
            Self::Evicted => 4,
        }
    }
}

macro_rules! words {
    ($name:ident, $what:literal) => {
        impl $name {
            /// Returns the word for it.
            pub fn as_str(self) -> &'static str {
                Self::NAMES.iter().find(|(known, _)| *known == self).map_or("", |(_, name)| name)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = WordError;

            fn from_str(text: &str) -> Result<Self, WordError> {
                let known = Self::NAMES.iter().find(|(_, name)| *name == text);
                known.map(|(word, _)| *word).ok_or(WordError { what: $what })
            }
        }
    };
}

words!(ConnectionState, "a connection state");
words!(EndReason, "an end reason");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_protocol_is_written_in_one_way_only() {
        for number in 0..=255 {
            let text = Protocol(number).to_string();
            assert_eq!(text.parse(), Ok(Protocol(number)));
        }
        for text in ["6", "006", "047", "+47", "256", "TCP", "", "-1"] {
            assert!(text.parse::<Protocol>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn every_flag_byte_is_written_in_one_way_only() {
        for bits in 0..=255 {
            assert_eq!(TcpFlags(bits).to_string().parse(), Ok(TcpFlags(bits)));
        }
        assert_eq!(TcpFlags(0x1b).to_string(), "APSF");
        for text in ["", "SA", "AA", "a", "A-"] {
            assert!(text.parse::<TcpFlags>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn states_and_reasons_text_and_back() {
        for (state, name) in ConnectionState::NAMES {
            assert_eq!((state.as_str(), name.parse()), (name, Ok(state)));
        }
        for (index, reason) in EndReason::ALL.into_iter().enumerate() {
            assert_eq!(reason.as_str().parse(), Ok(reason));
            assert_eq!(reason.index(), index);
        }
    }
}
