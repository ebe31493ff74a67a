//! By what a packet is told to belong to a flow: one key for both directions, 42 bytes.

use std::hash::{Hash, Hasher};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::packet::{AddressBytes, Packet};
use crate::protocol::Protocol;
use crate::record::VlanTags;

const IS_V6: u8 = 1;
const HAS_PORTS: u8 = 2;
/// The low side is the sender, not the smaller address: see [`Packet::is_one_way`].
const IS_ONE_WAY: u8 = 4;

/// Protocol, VLAN and both ends of a flow; the lower end (address, then port) comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FlowKey {
    low: AddressBytes,
    high: AddressBytes,
    low_port: u16,
    high_port: u16,
    vlan: VlanTags,
    protocol: Protocol,
    shape: u8,
}

/// Which end of a key sent a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sender {
    Low,
    High,
}

/// One end of a flow, as a record shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct End {
    pub(crate) address: IpAddr,
    pub(crate) port: Option<u16>,
}

impl Sender {
    /// Returns the other end.
    pub(crate) const fn other(self) -> Self {
        match self {
            Self::Low => Self::High,
            Self::High => Self::Low,
        }
    }
}

impl FlowKey {
    /// Returns the key of a packet's flow, and which end of it sent the packet.
    pub(crate) fn of(packet: &Packet) -> (Self, Sender) {
        let (first_port, second_port) = packet.ports.unwrap_or_default();
        let first = (packet.source, first_port);
        let second = (packet.destination, second_port);
        let keeps_order = packet.is_one_way || first <= second;
        let (low, high) = if keeps_order { (first, second) } else { (second, first) };
        let shape = if packet.is_v6 { IS_V6 } else { 0 }
            | if packet.ports.is_some() { HAS_PORTS } else { 0 }
            | if packet.is_one_way { IS_ONE_WAY } else { 0 };
        let key = Self {
            low: low.0,
            high: high.0,
            low_port: low.1,
            high_port: high.1,
            vlan: packet.vlan,
            protocol: packet.protocol,
            shape,
        };
        (key, if keeps_order { Sender::Low } else { Sender::High })
    }

    /// Returns one end.
    pub(crate) fn end(&self, which: Sender) -> End {
        let (bytes, port) = match which {
            Sender::Low => (self.low, self.low_port),
            Sender::High => (self.high, self.high_port),
        };
        let [.., a, b, c, d] = bytes;
        let address = if self.shape & IS_V6 != 0 {
            IpAddr::V6(Ipv6Addr::from(bytes))
        } else {
            IpAddr::V4(Ipv4Addr::new(a, b, c, d))
        };
        End { address, port: (self.shape & HAS_PORTS != 0).then_some(port) }
    }

    pub(crate) fn protocol(&self) -> Protocol {
        self.protocol
    }

    pub(crate) fn vlan(&self) -> VlanTags {
        self.vlan
    }
}

/// Four wide writes instead of one for each field: this runs for every packet.
impl Hash for FlowKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let ports = u64::from(self.low_port) | u64::from(self.high_port) << 16;
        let vlan = u64::from(self.vlan.outer) << 32 | u64::from(self.vlan.inner) << 48;
        state.write_u128(u128::from_ne_bytes(self.low));
        state.write_u128(u128::from_ne_bytes(self.high));
        state.write_u64(ports | vlan);
        state.write_u16(u16::from_ne_bytes([self.protocol.0, self.shape]));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::LinkType;
    use crate::packet::tests::{ipv4, ipv6, tcp, udp};

    fn key_of(packet: &[u8]) -> (FlowKey, Sender) {
        FlowKey::of(&Packet::parse(LinkType::RawIp, packet, 0).unwrap())
    }

    #[test]
    fn both_directions_have_one_key() {
        let (there, sender) = key_of(&ipv4(6, 9, 2, 0, &tcp(50_000, 22, 2)));
        let (back, answerer) = key_of(&ipv4(6, 2, 9, 0, &tcp(22, 50_000, 18)));
        assert_eq!(there, back);
        assert_eq!((sender, answerer), (Sender::High, Sender::Low));
        assert_eq!(there.end(sender), End { address: "10.0.0.9".parse().unwrap(), port: Some(50_000) });
        assert_eq!(there.end(sender.other()), End { address: "10.0.0.2".parse().unwrap(), port: Some(22) });
    }

    #[test]
    fn flows_that_differ_in_one_thing_have_different_keys() {
        let keys = [
            key_of(&ipv4(17, 1, 2, 0, &udp(5, 53, b""))).0,
            key_of(&ipv4(17, 1, 2, 0, &udp(6, 53, b""))).0,
            key_of(&ipv4(17, 1, 3, 0, &udp(5, 53, b""))).0,
            key_of(&ipv4(132, 1, 2, 0, &udp(5, 53, b""))).0,
            key_of(&ipv4(17, 1, 2, 8, &udp(5, 53, b""))).0,
            key_of(&ipv6(17, 1, 2, &udp(5, 53, b""))).0,
            key_of(&ipv4(1, 1, 2, 0, &[8, 0])).0,
            key_of(&ipv4(1, 1, 2, 0, &[3, 1])).0,
            key_of(&ipv4(1, 2, 1, 0, &[3, 1])).0,
        ];
        for (index, key) in keys.iter().enumerate() {
            assert_eq!(keys.iter().position(|other| other == key), Some(index));
        }
        let mut tagged = Packet::parse(LinkType::RawIp, &ipv4(17, 1, 2, 0, &udp(5, 53, b"")), 0).unwrap();
        tagged.vlan.outer = 12;
        assert_ne!(FlowKey::of(&tagged).0, keys[0]);
    }

    #[test]
    fn port_zero_is_not_the_lack_of_a_port() {
        let with = key_of(&ipv4(17, 1, 2, 0, &udp(0, 0, b""))).0;
        let without = key_of(&ipv4(17, 1, 2, 8, &udp(0, 0, b""))).0;
        assert_ne!(with, without);
        assert_eq!((with.end(Sender::Low).port, without.end(Sender::Low).port), (Some(0), None));
    }
}
