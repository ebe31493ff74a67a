//! What a flow needs to know of one packet.
//!
//! Comes in: a captured frame, often only its first hundred bytes. Goes out: addresses, protocol,
//! ports, TCP flags and length. etherparse slices the IP headers; ports and flags are taken from
//! their fixed places, because a short capture may end in the middle of a TCP header whose ports
//! are all there.
//!
//! A packet whose ports are not there (a fragment after the first, a cut header, a protocol
//! without any) is counted all the same, to the flow of its addresses and protocol.

use etherparse::{Ipv6ExtensionSlice, LaxIpSlice, err};

use crate::community_id::{icmp_ports, is_one_way};
use crate::link::{LinkType, strip};
use crate::protocol::{Protocol, TcpFlags};
use crate::record::VlanTags;
use crate::unreadable::Unreadable;

/// An address as a flow table keeps it: IPv4 in the last four of sixteen bytes.
pub(crate) type AddressBytes = [u8; 16];

/// One packet, as far as flows are concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Packet {
    pub(crate) source: AddressBytes,
    pub(crate) destination: AddressBytes,
    pub(crate) is_v6: bool,
    pub(crate) vlan: VlanTags,
    pub(crate) protocol: Protocol,
    /// Source and destination port, or what stands for them with ICMP.
    pub(crate) ports: Option<(u16, u16)>,
    /// Whether its flow can have this direction only.
    pub(crate) is_one_way: bool,
    pub(crate) tcp_flags: TcpFlags,
    /// Length from the IP header on.
    pub(crate) ip_bytes: u64,
}

/// What follows the IP headers.
struct Payload<'a> {
    protocol: Protocol,
    bytes: &'a [u8],
    /// Whether the transport header is elsewhere: a fragment after the first.
    is_later_fragment: bool,
}

impl Packet {
    /// Reads a frame. `wire_len` is its length before it was cut.
    pub(crate) fn parse(link: LinkType, frame: &[u8], wire_len: u32) -> Result<Self, Unreadable> {
        let network = strip(link, frame)?;
        let (ip, stopped) = LaxIpSlice::from_slice(network.bytes).map_err(|error| match error {
            err::ip::LaxHeaderSliceError::Len(_) => Unreadable::TruncatedIp,
            err::ip::LaxHeaderSliceError::Content(_) => Unreadable::MalformedIp,
        })?;
        let mut payload = payload_of(&ip, stopped.is_none());
        if stopped.is_some() {
            // The chain of extension headers broke off: nothing past it can be trusted.
            payload.bytes = &[];
        }
        let (source, destination, is_v6) = addresses_of(&ip);
        let (ports, tcp_flags) = if payload.is_later_fragment { (None, TcpFlags(0)) } else { ports_of(&payload) };
        let on_wire = u64::from(wire_len).max(frame.len() as u64).saturating_sub(network.offset as u64);
        Ok(Self {
            source,
            destination,
            is_v6,
            vlan: network.vlan,
            protocol: payload.protocol,
            ports,
            is_one_way: ports.is_some_and(|(first, second)| is_one_way(payload.protocol, first, second)),
            tcp_flags,
            ip_bytes: ip_bytes_of(&ip, on_wire),
        })
    }
}

fn addresses_of(ip: &LaxIpSlice<'_>) -> (AddressBytes, AddressBytes, bool) {
    let widen = |[a, b, c, d]: [u8; 4]| [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, a, b, c, d];
    match ip {
        LaxIpSlice::Ipv4(ip) => (widen(ip.header().source()), widen(ip.header().destination()), false),
        LaxIpSlice::Ipv6(ip) => (ip.header().source(), ip.header().destination(), true),
    }
}

/// Returns the packet's length as its header says, held to what was on the wire: a header can
/// claim more to fake a volume, and says 0 for jumbograms and for packets a network card has yet
/// to segment.
fn ip_bytes_of(ip: &LaxIpSlice<'_>, on_wire: u64) -> u64 {
    let said = match ip {
        LaxIpSlice::Ipv4(ip) => u64::from(ip.header().total_len()),
        LaxIpSlice::Ipv6(ip) => match ip.header().payload_length() {
            0 => 0,
            payload => 40 + u64::from(payload),
        },
    };
    if said == 0 { on_wire } else { said.min(on_wire) }
}

/// `is_whole` says that the chain of extension headers was read to its end. Where it was not, the
/// headers must not be walked again: etherparse 0.21's iterator over a chain cut short reads past its
/// slice. Nothing is lost by that: such a packet has an empty payload, and so no ports.
fn payload_of<'a>(ip: &LaxIpSlice<'a>, is_whole: bool) -> Payload<'a> {
    let is_later_fragment = match ip {
        LaxIpSlice::Ipv4(ip) => ip.header().fragments_offset().value() != 0,
        LaxIpSlice::Ipv6(ip) => {
            let is_later = |header| matches!(header, Ipv6ExtensionSlice::Fragment(fragment) if fragment.fragment_offset().value() != 0);
            is_whole && ip.is_payload_fragmented() && ip.extensions().clone().into_iter().any(is_later)
        }
    };
    let payload = ip.payload();
    Payload { protocol: Protocol(payload.ip_number.0), bytes: payload.payload, is_later_fragment }
}

fn ports_of(payload: &Payload<'_>) -> (Option<(u16, u16)>, TcpFlags) {
    match payload.protocol {
        Protocol::TCP | Protocol::UDP | Protocol::SCTP => {
            let Some([a, b, c, d]) = payload.bytes.first_chunk() else { return (None, TcpFlags(0)) };
            let ports = (u16::from_be_bytes([*a, *b]), u16::from_be_bytes([*c, *d]));
            // RFC 9293 section 3.1: the flags are the fourteenth byte of the header.
            let flags = payload.bytes.get(13).filter(|_| payload.protocol == Protocol::TCP);
            (Some(ports), TcpFlags(flags.copied().unwrap_or_default()))
        }
        Protocol::ICMP | Protocol::ICMP_V6 => {
            let message = payload.bytes.first_chunk();
            (message.map(|[kind, code]| icmp_ports(payload.protocol, *kind, *code)), TcpFlags(0))
        }
        _ => (None, TcpFlags(0)),
    }
}

#[cfg(test)]
pub(crate) mod tests;
