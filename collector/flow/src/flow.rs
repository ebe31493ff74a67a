//! One live flow: what the table keeps of it, in two cache lines.

use canh_event::{SourceName, Timestamp};

use crate::connection::{Phase, Seen, Side};
use crate::key::{FlowKey, Sender};
use crate::packet::Packet;
use crate::protocol::{EndReason, TcpFlags};
use crate::record::{FlowRecord, Traffic};

/// A point of the meter's own time in nanoseconds: the packets' time, without steps of the clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct MeterTime(pub(crate) i64);

impl MeterTime {
    /// Returns the nanoseconds from `earlier`, zero if it is later.
    pub(crate) fn since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0).max(0)
    }
}

/// A live flow. 128 bytes, aligned so that it never lies in three cache lines.
#[derive(Clone, Debug)]
#[repr(align(64))]
pub(crate) struct Flow {
    pub(crate) key: FlowKey,
    seen: Seen,
    sent_flags: TcpFlags,
    returned_flags: TcpFlags,
    /// Which end of the key is the source.
    source: Sender,
    sent_packets: u64,
    sent_bytes: u64,
    returned_packets: u64,
    returned_bytes: u64,
    /// The first packet of this record, by the capture's clock and by the meter's.
    started_at: Timestamp,
    started: MeterTime,
    last: MeterTime,
    /// Where the timer wheel has it.
    pub(crate) links: Links,
}

/// A flow's place in a list of the timer wheel; lists are linked by index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Links {
    pub(crate) previous: u32,
    pub(crate) next: u32,
    pub(crate) slot: u32,
}

impl Links {
    /// The index of nothing.
    pub(crate) const NONE: u32 = u32::MAX;
    /// The links of what is in no list.
    pub(crate) const LOOSE: Self = Self { previous: Self::NONE, next: Self::NONE, slot: Self::NONE };
}

impl Flow {
    /// Returns the flow a first packet begins; the packet is not counted yet.
    ///
    /// Its sender is the source, unless the packet answers a question that was missed.
    pub(crate) fn new(key: FlowKey, sender: Sender, packet: &Packet, at: Timestamp, now: MeterTime) -> Self {
        let answers = packet.tcp_flags.has(TcpFlags::SYN.union(TcpFlags::ACK));
        Self {
            key,
            seen: Seen::default(),
            sent_flags: TcpFlags(0),
            returned_flags: TcpFlags(0),
            source: if answers { sender.other() } else { sender },
            sent_packets: 0,
            sent_bytes: 0,
            returned_packets: 0,
            returned_bytes: 0,
            started_at: at,
            started: now,
            last: now,
            links: Links::LOOSE,
        }
    }

    /// Counts a packet.
    pub(crate) fn observe(&mut self, sender: Sender, packet: &Packet, now: MeterTime) {
        let side = if sender == self.source { Side::Source } else { Side::Destination };
        self.seen.observe(side, packet.protocol, packet.tcp_flags);
        match side {
            Side::Source => {
                self.sent_packets += 1;
                self.sent_bytes = self.sent_bytes.saturating_add(packet.ip_bytes);
                self.sent_flags = self.sent_flags.union(packet.tcp_flags);
            }
            Side::Destination => {
                self.returned_packets += 1;
                self.returned_bytes = self.returned_bytes.saturating_add(packet.ip_bytes);
                self.returned_flags = self.returned_flags.union(packet.tcp_flags);
            }
        }
        self.last = self.last.max(now);
        if now < self.started {
            let early = self.started.since(now);
            self.started_at = Timestamp::from_nanos(self.started_at.nanos().saturating_sub(early));
            self.started = now;
        }
    }

    /// Begins the next record of a flow that goes on.
    pub(crate) fn begin_record(&mut self, at: Timestamp, now: MeterTime) {
        (self.sent_packets, self.sent_bytes, self.sent_flags) = (0, 0, TcpFlags(0));
        (self.returned_packets, self.returned_bytes, self.returned_flags) = (0, 0, TcpFlags(0));
        (self.started_at, self.started, self.last) = (at, now, now);
    }

    pub(crate) fn phase(&self) -> Phase {
        self.seen.phase(self.key.protocol())
    }

    /// Returns whether a packet belongs to a new connection between the same ends.
    pub(crate) fn is_over_before(&self, packet: &Packet) -> bool {
        self.seen.is_over_before(packet.protocol, packet.tcp_flags)
    }

    /// Returns the meter's time of the record's first packet.
    pub(crate) fn started(&self) -> MeterTime {
        self.started
    }

    /// Returns the meter's time of the last packet.
    pub(crate) fn last(&self) -> MeterTime {
        self.last
    }

    /// Returns the record of what was counted.
    pub(crate) fn record(&self, ended: EndReason, interface: Option<&SourceName>) -> FlowRecord {
        let (source, destination) = (self.key.end(self.source), self.key.end(self.source.other()));
        let span = self.last.since(self.started);
        FlowRecord {
            start: self.started_at,
            end: Timestamp::from_nanos(self.started_at.nanos().saturating_add(span)),
            source_ip: source.address,
            source_port: source.port,
            destination_ip: destination.address,
            destination_port: destination.port,
            protocol: self.key.protocol(),
            vlan: self.key.vlan(),
            sent: Traffic { packets: self.sent_packets, bytes: self.sent_bytes, tcp_flags: self.sent_flags },
            returned: Traffic {
                packets: self.returned_packets,
                bytes: self.returned_bytes,
                tcp_flags: self.returned_flags,
            },
            state: self.seen.state(self.key.protocol()),
            ended,
            interface: interface.cloned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flow_is_two_cache_lines() {
        assert_eq!(size_of::<Flow>(), 128);
    }
}
