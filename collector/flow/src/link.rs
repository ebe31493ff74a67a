//! Takes the link's header off a frame: what is left begins with IP.
//!
//! Comes in: a frame as captured, and the kind of link. Goes out: the IP packet, the VLAN tags on
//! the way, and how many bytes of the frame came before IP; or why the frame holds no IP packet.

use crate::record::VlanTags;
use crate::unreadable::Unreadable;

/// Most VLAN tags of one frame: QinQ has two, and some providers add a third.
const MAX_VLAN_TAGS: usize = 4;

const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_IPV6: u16 = 0x86dd;
/// IEEE 802.1Q, 802.1ad, and the older number for the outer tag of QinQ.
const ETHERTYPES_VLAN: [u16; 3] = [0x8100, 0x88a8, 0x9100];
/// `AF_INET` everywhere; `AF_INET6` of Linux, NetBSD and OpenBSD, FreeBSD, macOS.
const NULL_FAMILIES: [u32; 5] = [2, 10, 24, 28, 30];

/// How the packets of a capture are framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LinkType {
    /// Ethernet, with or without VLAN tags.
    Ethernet,
    /// Linux cooked capture, version 1: the device `any`.
    LinuxCooked,
    /// Linux cooked capture, version 2.
    LinuxCookedV2,
    /// IP without a header before it.
    RawIp,
    /// BSD loopback: an address family in the byte order of the capturing host.
    Null,
    /// OpenBSD loopback: an address family in network byte order.
    Loop,
}

/// What is under the link's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Network<'a> {
    /// The IP packet, perhaps cut short, perhaps with padding after it.
    pub(crate) bytes: &'a [u8],
    /// Bytes of the frame before it.
    pub(crate) offset: usize,
    /// The tags on the way.
    pub(crate) vlan: VlanTags,
}

impl LinkType {
    /// Returns the kind of link of a libpcap number, either as `pcap_datalink` gives it or as it
    /// stands in a capture file; `None` for a link this crate cannot read.
    /// Source: <https://www.tcpdump.org/linktypes.html>.
    pub const fn from_number(number: i32) -> Option<Self> {
        match number {
            0 => Some(Self::Null),
            1 => Some(Self::Ethernet),
            // Raw IP has a number in files, others in live captures, and one for each version.
            12 | 14 | 101 | 228 | 229 => Some(Self::RawIp),
            108 => Some(Self::Loop),
            113 => Some(Self::LinuxCooked),
            276 => Some(Self::LinuxCookedV2),
            _ => None,
        }
    }
}

/// Takes the link's header off.
pub(crate) fn strip(link: LinkType, frame: &[u8]) -> Result<Network<'_>, Unreadable> {
    match link {
        LinkType::Ethernet => under_ethertype(frame, 12),
        // The protocol is at the end of the header of version 1, at the start of version 2.
        LinkType::LinuxCooked => under_ethertype(frame, 14),
        LinkType::LinuxCookedV2 => match be16(frame, 0) {
            Some(ETHERTYPE_IPV4 | ETHERTYPE_IPV6) => at(frame, 20, VlanTags::default()),
            Some(_) => Err(Unreadable::NotIp),
            None => Err(Unreadable::TruncatedLink),
        },
        LinkType::RawIp => at(frame, 0, VlanTags::default()),
        LinkType::Null | LinkType::Loop => {
            let family = frame.first_chunk().ok_or(Unreadable::TruncatedLink)?;
            let (little, big) = (u32::from_le_bytes(*family), u32::from_be_bytes(*family));
            let is_ip = NULL_FAMILIES.contains(&big) || (link == LinkType::Null && NULL_FAMILIES.contains(&little));
            if is_ip { at(frame, 4, VlanTags::default()) } else { Err(Unreadable::NotIp) }
        }
    }
}

/// Follows an EtherType at `offset` through VLAN tags to IP.
fn under_ethertype(frame: &[u8], mut offset: usize) -> Result<Network<'_>, Unreadable> {
    let mut vlan = VlanTags::default();
    for _ in 0..=MAX_VLAN_TAGS {
        let ethertype = be16(frame, offset).ok_or(Unreadable::TruncatedLink)?;
        if ethertype == ETHERTYPE_IPV4 || ethertype == ETHERTYPE_IPV6 {
            return at(frame, offset + 2, vlan);
        }
        if !ETHERTYPES_VLAN.contains(&ethertype) {
            return Err(Unreadable::NotIp);
        }
        // The lower twelve bits are the VLAN; 0 is a priority without a VLAN, 4095 is reserved.
        let tag = be16(frame, offset + 2).ok_or(Unreadable::TruncatedLink)? & 0x0fff;
        match vlan {
            _ if tag == 0 || tag == 0x0fff => {}
            VlanTags { outer: 0, .. } => vlan.outer = tag,
            VlanTags { inner: 0, .. } => vlan.inner = tag,
            VlanTags { .. } => {}
        }
        offset += 4;
    }
    Err(Unreadable::NotIp)
}

fn at(frame: &[u8], offset: usize, vlan: VlanTags) -> Result<Network<'_>, Unreadable> {
    let bytes = frame.get(offset..).filter(|bytes| !bytes.is_empty()).ok_or(Unreadable::TruncatedLink)?;
    Ok(Network { bytes, offset, vlan })
}

fn be16(bytes: &[u8], offset: usize) -> Option<u16> {
    bytes.get(offset..)?.first_chunk().map(|chunk| u16::from_be_bytes(*chunk))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ethernet(after_addresses: &[u8]) -> Vec<u8> {
        [&[0x11; 12], after_addresses].concat()
    }

    fn stripped(link: LinkType, frame: &[u8]) -> Result<(Vec<u8>, usize, u16, u16), Unreadable> {
        strip(link, frame)
            .map(|network| (network.bytes.to_vec(), network.offset, network.vlan.outer, network.vlan.inner))
    }

    #[test]
    fn vlan_tags_are_read_and_passed() {
        let plain = ethernet(&[0x08, 0x00, 0x45]);
        assert_eq!(stripped(LinkType::Ethernet, &plain), Ok((vec![0x45], 14, 0, 0)));
        let one = ethernet(&[0x81, 0x00, 0xe0, 0x0c, 0x86, 0xdd, 0x60]);
        assert_eq!(stripped(LinkType::Ethernet, &one), Ok((vec![0x60], 18, 12, 0)));
        let two = ethernet(&[0x88, 0xa8, 0x00, 0x0c, 0x81, 0x00, 0x00, 0x07, 0x08, 0x00, 0x45]);
        assert_eq!(stripped(LinkType::Ethernet, &two), Ok((vec![0x45], 22, 12, 7)));
        let priority = ethernet(&[0x81, 0x00, 0xe0, 0x00, 0x08, 0x00, 0x45]);
        assert_eq!(stripped(LinkType::Ethernet, &priority), Ok((vec![0x45], 18, 0, 0)));
    }

    #[test]
    fn frames_without_ip_say_so() {
        let arp = ethernet(&[0x08, 0x06, 0x00]);
        assert_eq!(stripped(LinkType::Ethernet, &arp), Err(Unreadable::NotIp));
        let tags_without_end = ethernet(&[0x81, 0x00, 0x00, 0x01].repeat(50));
        assert_eq!(stripped(LinkType::Ethernet, &tags_without_end), Err(Unreadable::NotIp));
        for len in 0..15 {
            let frame = ethernet(&[0x08, 0x00, 0x45]);
            assert_eq!(stripped(LinkType::Ethernet, &frame[..len]), Err(Unreadable::TruncatedLink), "{len}");
        }
    }

    #[test]
    fn cooked_raw_and_loopback_frames_are_read() {
        let cooked = [&[0; 14][..], &[0x08, 0x00, 0x45]].concat();
        assert_eq!(stripped(LinkType::LinuxCooked, &cooked), Ok((vec![0x45], 16, 0, 0)));
        let cooked_v2 = [&[0x86, 0xdd][..], &[0; 18], &[0x60]].concat();
        assert_eq!(stripped(LinkType::LinuxCookedV2, &cooked_v2), Ok((vec![0x60], 20, 0, 0)));
        assert_eq!(stripped(LinkType::RawIp, &[0x45]), Ok((vec![0x45], 0, 0, 0)));
        assert_eq!(stripped(LinkType::Null, &[2, 0, 0, 0, 0x45]), Ok((vec![0x45], 4, 0, 0)));
        assert_eq!(stripped(LinkType::Null, &[0, 0, 0, 30, 0x60]), Ok((vec![0x60], 4, 0, 0)));
        assert_eq!(stripped(LinkType::Loop, &[0, 0, 0, 2, 0x45]), Ok((vec![0x45], 4, 0, 0)));
        assert_eq!(stripped(LinkType::Loop, &[2, 0, 0, 0, 0x45]), Err(Unreadable::NotIp));
    }
}
