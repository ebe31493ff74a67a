//! One flow as it was metered: who talked to whom, when, how much, and how it went.
//!
//! A record comes from the meter or from an agent's JSON (`json.rs`), and goes out as that JSON or
//! as an event (`event.rs`). Several records may be of one flow: the active timeout cuts a long
//! flow into pieces, and `EndReason::Active` says which are not the last.

use std::net::IpAddr;
use std::time::Duration;

use canh_event::{SourceName, Timestamp};

use crate::community_id::CommunityId;
use crate::protocol::{ConnectionState, EndReason, Protocol, TcpFlags};

/// What one side of a flow sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Packets.
    pub packets: u64,
    /// Bytes from the IP header on: what routers count, and what does not change with the link.
    pub bytes: u64,
    /// The flags of all its TCP headers, or-ed.
    pub tcp_flags: TcpFlags,
}

/// The VLAN tags of a flow's frames; 0 where there is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VlanTags {
    /// The tag next to the addresses: the provider's, or the only one.
    pub outer: u16,
    /// The second tag of QinQ (IEEE 802.1ad).
    pub inner: u16,
}

/// One record of a flow. "Source" is the side that began it, as far as was seen: the sender of the
/// first packet, or the receiver of it if that was a TCP SYN-ACK.
///
/// # Contract
/// `end` is not before `start`; both addresses are of one family; both ports are there or none is;
/// at least one packet was sent; a side that sent no packet sent no bytes and no flags; only TCP has
/// flags; an inner VLAN tag has an outer one. The meter and [`FlowRecord::from_json`] make no other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowRecord {
    /// The first packet's time.
    pub start: Timestamp,
    /// The last packet's time.
    pub end: Timestamp,
    /// The side that began.
    pub source_ip: IpAddr,
    /// Its port; for ICMP the type of the message; `None` if the protocol has none, or for
    /// fragments after the first, which do not say.
    pub source_port: Option<u16>,
    /// The other side.
    pub destination_ip: IpAddr,
    /// Its port; for ICMP the type of the answer to the source's message, or that message's code if
    /// it has no answer.
    pub destination_port: Option<u16>,
    /// The protocol over IP.
    pub protocol: Protocol,
    /// The VLAN it was seen in.
    pub vlan: VlanTags,
    /// What the source sent.
    pub sent: Traffic,
    /// What the destination sent back.
    pub returned: Traffic,
    /// How the connection went, from its beginning to the end of this record.
    pub state: ConnectionState,
    /// Why the record was closed.
    pub ended: EndReason,
    /// Where it was metered: an interface, or the name of a capture file.
    pub interface: Option<SourceName>,
}

impl FlowRecord {
    /// Returns the time from the first to the last packet.
    pub fn duration(&self) -> Duration {
        self.end.since(self.start)
    }

    /// Returns source and destination port together.
    pub fn ports(&self) -> Option<(u16, u16)> {
        self.source_port.zip(self.destination_port)
    }

    /// Returns the flow's Community ID, version 1 with seed 0.
    pub fn community_id(&self) -> CommunityId {
        CommunityId::new(0, self.protocol, self.source_ip, self.destination_ip, self.ports())
    }
}
