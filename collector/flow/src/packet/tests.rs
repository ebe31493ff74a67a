//! Packets made by hand, whole and broken.

use proptest::prelude::*;

use super::*;

/// An IPv4 packet: protocol, last byte of either address, fragment field, what it carries.
pub(crate) fn ipv4(protocol: u8, source: u8, destination: u8, fragment: u16, payload: &[u8]) -> Vec<u8> {
    let total = u16::try_from(20 + payload.len()).unwrap().to_be_bytes();
    let fragment = fragment.to_be_bytes();
    let header = [0x45, 0, total[0], total[1], 0, 1, fragment[0], fragment[1], 64, protocol, 0, 0];
    [&header[..], &[10, 0, 0, source], &[10, 0, 0, destination], payload].concat()
}

/// An IPv6 packet: next header, last byte of either address, what it carries.
pub(crate) fn ipv6(next_header: u8, source: u8, destination: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).unwrap().to_be_bytes();
    let mut packet = vec![0x60, 0, 0, 0, length[0], length[1], next_header, 64];
    for last in [source, destination] {
        packet.extend_from_slice(&[0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last]);
    }
    packet.extend_from_slice(payload);
    packet
}

/// A TCP header of twenty bytes.
pub(crate) fn tcp(source: u16, destination: u16, flags: u8) -> Vec<u8> {
    let (source, destination) = (source.to_be_bytes(), destination.to_be_bytes());
    let mut header = vec![source[0], source[1], destination[0], destination[1]];
    header.extend_from_slice(&[0, 0, 0, 1, 0, 0, 0, 0, 0x50, flags, 0x20, 0, 0, 0, 0, 0]);
    header
}

/// A UDP datagram.
pub(crate) fn udp(source: u16, destination: u16, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(8 + payload.len()).unwrap();
    let words = [source, destination, length, 0];
    [words.map(u16::to_be_bytes).concat(), payload.to_vec()].concat()
}

fn parse(packet: &[u8]) -> Result<Packet, Unreadable> {
    Packet::parse(LinkType::RawIp, packet, u32::try_from(packet.len()).unwrap())
}

#[test]
fn tcp_over_ipv4_is_read() {
    let packet = parse(&ipv4(6, 1, 2, 0, &tcp(50_000, 22, 0x12))).unwrap();
    assert_eq!(packet.ports, Some((50_000, 22)));
    assert_eq!((packet.protocol, packet.tcp_flags, packet.ip_bytes), (Protocol::TCP, TcpFlags(0x12), 40));
    assert_eq!((packet.source[15], packet.destination[15], packet.is_v6), (1, 2, false));
}

#[test]
fn extension_headers_of_ipv6_are_passed() {
    // Hop-by-hop, destination options, routing: eight bytes each; then UDP.
    let options = |next| vec![next, 0, 1, 4, 0, 0, 0, 0];
    let payload = [options(60), options(43), vec![17, 0, 0, 0, 0, 0, 0, 0], udp(5_353, 53, b"q")].concat();
    let packet = parse(&ipv6(0, 1, 2, &payload)).unwrap();
    assert_eq!((packet.protocol, packet.ports, packet.is_v6), (Protocol::UDP, Some((5_353, 53)), true));
    assert_eq!(packet.ip_bytes, 40 + 24 + 9);
}

#[test]
fn later_fragments_have_no_ports() {
    let more = 0x2000;
    assert_eq!(parse(&ipv4(17, 1, 2, more, &udp(9, 53, b"x"))).unwrap().ports, Some((9, 53)));
    assert_eq!(parse(&ipv4(17, 1, 2, more | 185, &udp(9, 53, b"x"))).unwrap().ports, None);
    let fragment = |offset: u16| [vec![17, 0], (offset << 3 | 1).to_be_bytes().to_vec(), vec![0; 4], udp(9, 53, b"x")];
    assert_eq!(parse(&ipv6(44, 1, 2, &fragment(0).concat())).unwrap().ports, Some((9, 53)));
    let later = parse(&ipv6(44, 1, 2, &fragment(185).concat())).unwrap();
    assert_eq!((later.ports, later.protocol), (None, Protocol::UDP));
}

#[test]
fn messages_of_icmp_have_types_for_ports() {
    let echo = parse(&ipv4(1, 1, 2, 0, &[8, 0, 0, 0, 0, 1, 0, 1])).unwrap();
    assert_eq!((echo.ports, echo.is_one_way), (Some((8, 0)), false));
    let unreachable = parse(&ipv4(1, 1, 2, 0, &[3, 1, 0, 0, 0, 0, 0, 0])).unwrap();
    assert_eq!((unreachable.ports, unreachable.is_one_way), (Some((3, 1)), true));
    let solicit = parse(&ipv6(58, 1, 2, &[135, 0, 0, 0])).unwrap();
    assert_eq!((solicit.ports, solicit.is_one_way), (Some((135, 136)), false));
}

#[test]
fn header_cut_by_a_short_capture_keeps_its_ports() {
    let whole = ipv4(6, 1, 2, 0, &tcp(50_000, 22, 0x02));
    let cut = |len: usize| Packet::parse(LinkType::RawIp, &whole[..len], 40).unwrap();
    assert_eq!((cut(34).ports, cut(34).tcp_flags, cut(34).ip_bytes), (Some((50_000, 22)), TcpFlags::SYN, 40));
    assert_eq!((cut(24).ports, cut(24).tcp_flags), (Some((50_000, 22)), TcpFlags(0)));
    assert_eq!((cut(23).ports, cut(23).protocol, cut(23).ip_bytes), (None, Protocol::TCP, 40));
    assert_eq!(parse(&whole[..19]), Err(Unreadable::TruncatedIp));
}

#[test]
fn length_is_what_the_header_says_but_never_more_than_the_wire_had() {
    let mut packet = ipv4(17, 1, 2, 0, &udp(1, 2, b"abc"));
    // Ethernet pads short frames: the padding is not counted.
    packet.extend_from_slice(&[0; 15]);
    assert_eq!(parse(&packet).unwrap().ip_bytes, 31);
    packet[2..4].copy_from_slice(&[0xff, 0xff]);
    assert_eq!(parse(&packet).unwrap().ip_bytes, 46);
    packet[2..4].copy_from_slice(&[0, 0]);
    assert_eq!(parse(&packet).unwrap().ip_bytes, 46);
    assert_eq!(Packet::parse(LinkType::RawIp, &packet, 9_000).unwrap().ip_bytes, 9_000);
}

#[test]
fn what_is_no_ip_header_says_so() {
    assert_eq!(parse(&[0x50; 60]), Err(Unreadable::MalformedIp));
    assert_eq!(parse(&[0x44; 60]), Err(Unreadable::MalformedIp));
    assert_eq!(parse(&[0x60; 39]), Err(Unreadable::TruncatedIp));
}

#[test]
fn broken_chain_of_extension_headers_gives_no_ports() {
    // A hop-by-hop header that says it is longer than the packet.
    let packet = parse(&ipv6(0, 1, 2, &[17, 9, 0, 0, 0, 0, 0, 0, 0, 9, 0, 53])).unwrap();
    assert_eq!((packet.protocol, packet.ports), (Protocol(0), None));
}

const LINKS: [LinkType; 6] = [
    LinkType::Ethernet,
    LinkType::LinuxCooked,
    LinkType::LinuxCookedV2,
    LinkType::RawIp,
    LinkType::Null,
    LinkType::Loop,
];

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), wire_len in any::<u32>()) {
        for link in LINKS {
            let _ = Packet::parse(link, &bytes, wire_len);
        }
    }

    #[test]
    fn no_bytes_after_an_ip_version_make_it_panic(
        is_v6 in any::<bool>(), next in prop::sample::select(vec![0_u8, 1, 6, 17, 43, 44, 51, 58, 60, 132, 255]),
        payload in proptest::collection::vec(any::<u8>(), 0..200), at in any::<prop::sample::Index>(), flip in any::<u8>(),
    ) {
        let mut packet = if is_v6 { ipv6(next, 1, 2, &payload) } else { ipv4(next, 1, 2, 0, &payload) };
        let at = at.index(packet.len());
        packet[at] ^= flip;
        for len in 0..packet.len() {
            if let Ok(read) = Packet::parse(LinkType::RawIp, &packet[..len], u32::try_from(packet.len()).unwrap()) {
                prop_assert!(read.ip_bytes <= packet.len() as u64);
            }
        }
    }
}

/// Found by fuzzing: an iterator of etherparse 0.21 reads past a chain of extension headers that is cut
/// short, and any host on the network can send one.
#[test]
fn extension_chain_cut_short_is_not_walked_again() {
    for next in [43_u8, 44, 51, 60] {
        for chain in [vec![0, 0, 0, 1, 2, 0, 0, 0], vec![44, 0, 0, 1, 2, 0, 0, 0], vec![next, 0, 0, 1, 2]] {
            let whole = ipv6(next, 1, 2, &chain);
            for end in 40..=whole.len() {
                if let Ok(packet) = parse(&whole[..end]) {
                    assert_eq!(packet.ports, None);
                }
            }
        }
    }
}
