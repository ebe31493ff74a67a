//! How a connection goes: what has been seen of it so far, in two bytes, and Zeek's word for that.
//!
//! ```text
//!            SYN                 SYN-ACK              ACK
//!  begun ───────────► asked ───────────────► answered ─────► open ──FIN, FIN or RST──► closed
//!                       └───────────────── RST ───────────────────────────────────────────┘
//! ```
//!
//! Only flags are looked at, not sequence numbers: a forged reset closes a flow here as it would
//! on a host that is careless. The words follow `conn_state` of Zeek's `base/protocols/conn`.

use crate::protocol::{ConnectionState, Protocol, TcpFlags};

/// What has been seen of a connection since its beginning, whichever record it was in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen(u16);

/// Which side of a flow a packet is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// The side that began.
    Source,
    /// The side that was called.
    Destination,
}

/// How far a connection is; it decides how long its flow waits for the next packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Not known to be open: a question, a datagram, a scan.
    Pending,
    /// A TCP connection that both sides have agreed to.
    Open,
    /// A TCP connection that was ended or reset.
    Closed,
}

impl Seen {
    /// The source sent anything.
    const SENT: Self = Self(1);
    /// The destination sent anything.
    const RETURNED: Self = Self(1 << 1);
    /// The source sent a SYN.
    const ASKED: Self = Self(1 << 2);
    /// The destination sent a SYN-ACK.
    const ANSWERED: Self = Self(1 << 3);
    /// The source acknowledged the SYN-ACK, or sent on after it.
    const CONFIRMED: Self = Self(1 << 4);
    const SOURCE_FIN: Self = Self(1 << 5);
    const DESTINATION_FIN: Self = Self(1 << 6);
    const SOURCE_RST: Self = Self(1 << 7);
    const DESTINATION_RST: Self = Self(1 << 8);

    const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    fn note(&mut self, when: bool, what: Self) {
        if when {
            self.0 |= what.0;
        }
    }

    /// Takes note of a packet.
    pub(crate) fn observe(&mut self, side: Side, protocol: Protocol, flags: TcpFlags) {
        let is_source = side == Side::Source;
        let was_answered = self.has(Self::ANSWERED);
        self.note(true, if is_source { Self::SENT } else { Self::RETURNED });
        if protocol != Protocol::TCP {
            return;
        }
        let (syn, ack) = (flags.has(TcpFlags::SYN), flags.has(TcpFlags::ACK));
        self.note(syn && !ack && is_source, Self::ASKED);
        self.note(syn && ack && !is_source, Self::ANSWERED);
        self.note(is_source && ack && !syn && was_answered, Self::CONFIRMED);
        self.note(flags.has(TcpFlags::FIN), if is_source { Self::SOURCE_FIN } else { Self::DESTINATION_FIN });
        // A reset after both have closed breaks nothing off: many stacks send one.
        let is_closed = self.has(Self::SOURCE_FIN) && self.has(Self::DESTINATION_FIN);
        let resets = flags.has(TcpFlags::RST) && !is_closed;
        self.note(resets, if is_source { Self::SOURCE_RST } else { Self::DESTINATION_RST });
    }

    /// Returns how far the connection is.
    pub(crate) fn phase(self, protocol: Protocol) -> Phase {
        if protocol != Protocol::TCP {
            return Phase::Pending;
        }
        let is_reset = self.has(Self::SOURCE_RST) || self.has(Self::DESTINATION_RST);
        if is_reset || (self.has(Self::SOURCE_FIN) && self.has(Self::DESTINATION_FIN)) {
            return Phase::Closed;
        }
        // A connection whose beginning was missed is open once both sides have been heard.
        let is_missed = !self.has(Self::ASKED) && self.has(Self::SENT) && self.has(Self::RETURNED);
        if self.has(Self::CONFIRMED) || is_missed { Phase::Open } else { Phase::Pending }
    }

    /// Returns whether a packet cannot belong to the connection any more: a bare SYN asks for a
    /// new one once this one is closed, or so far on that the SYN is no repetition.
    pub(crate) fn is_over_before(self, protocol: Protocol, flags: TcpFlags) -> bool {
        let asks = protocol == Protocol::TCP && flags.has(TcpFlags::SYN) && !flags.has(TcpFlags::ACK);
        asks && self.phase(protocol) != Phase::Pending
    }

    /// Returns Zeek's word for what has been seen.
    pub(crate) fn state(self, protocol: Protocol) -> ConnectionState {
        match protocol {
            Protocol::TCP => self.tcp_state(),
            Protocol::UDP => match (self.has(Self::SENT), self.has(Self::RETURNED)) {
                (true, true) => ConnectionState::SF,
                (true, false) => ConnectionState::S0,
                (false, _) => ConnectionState::SHR,
            },
            _ => ConnectionState::OTH,
        }
    }

    fn tcp_state(self) -> ConnectionState {
        let fins = (self.has(Self::SOURCE_FIN), self.has(Self::DESTINATION_FIN));
        match (self.has(Self::ASKED), self.has(Self::ANSWERED)) {
            (false, false) => ConnectionState::OTH,
            (true, false) if self.has(Self::DESTINATION_RST) => ConnectionState::REJ,
            (true, false) if self.has(Self::SOURCE_RST) => ConnectionState::RSTOS0,
            (true, false) if fins.0 => ConnectionState::SH,
            (true, false) if self.has(Self::RETURNED) => ConnectionState::OTH,
            (true, false) => ConnectionState::S0,
            (false, true) if self.has(Self::DESTINATION_RST) => ConnectionState::RSTRH,
            (false, true) if fins.1 => ConnectionState::SHR,
            (false, true) => ConnectionState::OTH,
            (true, true) if self.has(Self::DESTINATION_RST) => ConnectionState::RSTR,
            (true, true) if self.has(Self::SOURCE_RST) => ConnectionState::RSTO,
            (true, true) => match fins {
                (true, true) => ConnectionState::SF,
                (true, false) => ConnectionState::S2,
                (false, true) => ConnectionState::S3,
                (false, false) => ConnectionState::S1,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Plays packets such as `>S` (source, SYN) and `<SA` (destination, SYN and ACK).
    fn after(protocol: Protocol, packets: &str) -> Seen {
        let mut seen = Seen::default();
        for packet in packets.split_whitespace() {
            let side = if packet.starts_with('>') { Side::Source } else { Side::Destination };
            let bit = |letter: char| match letter {
                'F' => 0x01,
                'S' => 0x02,
                'R' => 0x04,
                'A' => 0x10,
                _ => 0,
            };
            seen.observe(side, protocol, TcpFlags(packet.chars().map(bit).sum()));
        }
        seen
    }

    #[test]
    fn words_of_zeek_for_tcp() {
        let cases = [
            (">S", "S0", Phase::Pending),
            (">S >S", "S0", Phase::Pending),
            (">S <SA", "S1", Phase::Pending),
            (">S <SA >A", "S1", Phase::Open),
            (">S <SA >A <A >FA", "S2", Phase::Open),
            (">S <SA >A <FA >A", "S3", Phase::Open),
            (">S <SA >A >FA <FA >A", "SF", Phase::Closed),
            (">S <SA >A >FA <FA >RA", "SF", Phase::Closed),
            (">S <RA", "REJ", Phase::Closed),
            (">S <SA >R", "RSTO", Phase::Closed),
            (">S <SA >A <R", "RSTR", Phase::Closed),
            (">S >R", "RSTOS0", Phase::Closed),
            ("<SA <R", "RSTRH", Phase::Closed),
            (">S >FA", "SH", Phase::Pending),
            ("<SA <FA", "SHR", Phase::Pending),
            ("<SA", "OTH", Phase::Pending),
            (">A", "OTH", Phase::Pending),
            (">A <A", "OTH", Phase::Open),
            (">F", "OTH", Phase::Pending),
            (">A <A >FA <FA", "OTH", Phase::Closed),
            (">", "OTH", Phase::Pending),
        ];
        for (packets, word, phase) in cases {
            let seen = after(Protocol::TCP, packets);
            assert_eq!((seen.state(Protocol::TCP).as_str(), seen.phase(Protocol::TCP)), (word, phase), "{packets}");
        }
    }

    #[test]
    fn words_of_zeek_for_datagrams() {
        for (packets, word) in [(">", "S0"), ("> <", "SF"), ("<", "SHR")] {
            assert_eq!(after(Protocol::UDP, packets).state(Protocol::UDP).as_str(), word);
        }
        assert_eq!(after(Protocol::ICMP, "> <").state(Protocol::ICMP), ConnectionState::OTH);
        assert_eq!(after(Protocol::UDP, "> <").phase(Protocol::UDP), Phase::Pending);
    }

    #[test]
    fn only_a_question_after_the_answer_begins_a_new_connection() {
        let over =
            |packets: &str, flags: u8| after(Protocol::TCP, packets).is_over_before(Protocol::TCP, TcpFlags(flags));
        let (syn, syn_ack) = (0x02, 0x12);
        assert!(over(">S <RA", syn));
        assert!(over(">S <SA >A >FA <FA", syn));
        assert!(over(">S <SA >A", syn));
        assert!(!over(">S", syn));
        assert!(!over(">S <SA", syn));
        assert!(!over(">S <RA", syn_ack));
        assert!(!over(">S <SA >A >FA <FA", 0x10));
    }
}
