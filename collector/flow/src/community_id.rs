//! Community ID version 1: one short text by which every tool knows the same flow.
//!
//! Comes in: protocol, addresses, ports. Goes out: `1:` and the SHA-1 of
//!
//! ```text
//! seed u16 │ address A │ address B │ protocol u8 │ 0 u8 │ [port A u16 │ port B u16]     big endian
//! ```
//!
//! in base64, where A is the smaller of (address, port) so that both directions give one text.
//! Source: Community ID specification version 1, <https://github.com/corelight/community-id-spec>.
//! SHA-1 is only a name here, nothing is trusted to it.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use crate::protocol::Protocol;

/// Longest hashed text: seed, two IPv6 addresses, protocol, padding, two ports.
const MAX_INPUT_BYTES: usize = 2 + 32 + 2 + 4;
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
/// `1:` and twenty bytes in base64.
const TEXT_BYTES: usize = 30;

/// The Community ID of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommunityId([u8; 20]);

/// A text that is no Community ID of version 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a community id of version 1")]
pub struct CommunityIdError;

impl CommunityId {
    /// Returns the id of a flow; `seed` is 0 unless a site sets its own.
    ///
    /// `ports` are source and destination port; for ICMP the type and the type of its answer
    /// (see `icmp_ports`); `None` for a protocol without ports and for a fragment without them.
    pub fn new(seed: u16, protocol: Protocol, source: IpAddr, destination: IpAddr, ports: Option<(u16, u16)>) -> Self {
        let one_way = ports.is_some_and(|(kind, answer)| is_one_way(protocol, kind, answer));
        let (first_port, second_port) = ports.unwrap_or_default();
        let keeps_order = one_way || (source, first_port) <= (destination, second_port);
        let (low, high) = if keeps_order { (source, destination) } else { (destination, source) };
        let ports = ports.map(|(first, second)| if keeps_order { (first, second) } else { (second, first) });

        let mut input = Input { bytes: [0; MAX_INPUT_BYTES], len: 0 };
        input.push(&seed.to_be_bytes());
        input.push_address(low);
        input.push_address(high);
        input.push(&[protocol.0, 0]);
        if let Some((low_port, high_port)) = ports {
            input.push(&low_port.to_be_bytes());
            input.push(&high_port.to_be_bytes());
        }
        let mut hash = sha1_smol::Sha1::new();
        hash.update(input.bytes.get(..input.len).unwrap_or_default());
        Self(hash.digest().bytes())
    }

    /// Returns the hash as it is, without version and base64.
    pub const fn hash(&self) -> [u8; 20] {
        self.0
    }
}

/// Bytes to be hashed, on the stack: one is made for every flow.
struct Input {
    bytes: [u8; MAX_INPUT_BYTES],
    len: usize,
}

impl Input {
    fn push(&mut self, bytes: &[u8]) {
        if let Some(room) = self.bytes.get_mut(self.len..self.len + bytes.len()) {
            room.copy_from_slice(bytes);
            self.len += bytes.len();
        }
    }

    fn push_address(&mut self, address: IpAddr) {
        match address {
            IpAddr::V4(address) => self.push(&address.octets()),
            IpAddr::V6(address) => self.push(&address.octets()),
        }
    }
}

/// Returns what stands for the ports of an ICMP message: its type, and the type of the answer to
/// it; its code instead of the latter if there is no such answer.
pub(crate) fn icmp_ports(protocol: Protocol, kind: u8, code: u8) -> (u16, u16) {
    (u16::from(kind), u16::from(icmp_counterpart(protocol, kind).unwrap_or(code)))
}

/// Returns whether the flow can have one direction only: an ICMP message that knows no answer.
pub(crate) fn is_one_way(protocol: Protocol, first_port: u16, second_port: u16) -> bool {
    let is_icmp = protocol == Protocol::ICMP || protocol == Protocol::ICMP_V6;
    let answer = u8::try_from(first_port).ok().and_then(|kind| icmp_counterpart(protocol, kind));
    is_icmp && answer.map(u16::from) != Some(second_port)
}

/// The message that answers a message, and back: RFC 792, 950, 1256; RFC 4443, 4861, 2710, 4620, 6275.
fn icmp_counterpart(protocol: Protocol, kind: u8) -> Option<u8> {
    const V4: [(u8, u8); 5] = [(8, 0), (13, 14), (15, 16), (10, 9), (17, 18)];
    const V6: [(u8, u8); 6] = [(128, 129), (133, 134), (135, 136), (130, 131), (139, 140), (144, 145)];
    let pairs: &[(u8, u8)] = if protocol == Protocol::ICMP_V6 { &V6 } else { &V4 };
    pairs.iter().find_map(|(ask, answer)| match kind {
        kind if kind == *ask => Some(*answer),
        kind if kind == *answer => Some(*ask),
        _ => None,
    })
}

impl fmt::Display for CommunityId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = *b"1:                          =    ";
        let (mut bits, mut held, mut at) = (0_u32, 0_u32, 2);
        for byte in self.0.iter().chain(std::iter::once(&0)) {
            bits = (bits << 8) | u32::from(*byte);
            held += 8;
            while held >= 6 && at < TEXT_BYTES - 1 {
                held -= 6;
                if let (Some(slot), Some(letter)) = (text.get_mut(at), ALPHABET.get(((bits >> held) & 63) as usize)) {
                    *slot = *letter;
                }
                at += 1;
            }
        }
        if let Some(slot) = text.get_mut(TEXT_BYTES - 1) {
            *slot = b'=';
        }
        f.write_str(text.get(..TEXT_BYTES).and_then(|text| std::str::from_utf8(text).ok()).unwrap_or_default())
    }
}

impl FromStr for CommunityId {
    type Err = CommunityIdError;

    fn from_str(text: &str) -> Result<Self, CommunityIdError> {
        let letters = text.strip_prefix("1:").and_then(|rest| rest.strip_suffix('=')).ok_or(CommunityIdError)?;
        if letters.len() != 27 {
            return Err(CommunityIdError);
        }
        let (mut hash, mut bits, mut held, mut at) = ([0_u8; 20], 0_u32, 0_u32, 0);
        for letter in letters.bytes() {
            let value = ALPHABET.iter().position(|known| *known == letter).ok_or(CommunityIdError)?;
            bits = (bits << 6) | u32::try_from(value).unwrap_or(0);
            held += 6;
            if held >= 8 {
                held -= 8;
                let [.., byte] = (bits >> held).to_be_bytes();
                *hash.get_mut(at).ok_or(CommunityIdError)? = byte;
                at += 1;
            }
        }
        // 27 letters hold two bits more than twenty bytes; they must be zero, so one text is one id.
        if bits & 0b11 == 0 { Ok(Self(hash)) } else { Err(CommunityIdError) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn id(seed: u16, protocol: u8, source: &str, destination: &str, ports: Option<(u16, u16)>) -> String {
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        CommunityId::new(seed, Protocol(protocol), address(source), address(destination), ports).to_string()
    }

    #[test]
    fn ids_of_the_specification() {
        let (a, b) = ("1.2.3.4", "5.6.7.8");
        let (c, d) = ("fe80:1:203:405:607:809:a0b:c0d", "fe80:1011:1213:1415:1617:1819:1a1b:1c1d");
        assert_eq!(id(0, 6, a, b, Some((1122, 3344))), "1:wCb3OG7yAFWelaUydu0D+125CLM=");
        assert_eq!(id(0, 6, b, a, Some((3344, 1122))), "1:wCb3OG7yAFWelaUydu0D+125CLM=");
        assert_eq!(id(1, 6, a, b, Some((1122, 3344))), "1:HhA1B+6CoLbiKPEs5nhNYN4XWfk=");
        assert_eq!(id(0, 17, a, b, Some((1122, 3344))), "1:0Mu9InQx6z4ZiCZM/7HXi2WMhOg=");
        assert_eq!(id(0, 132, b, a, Some((3344, 1122))), "1:EKt4MsxuyaE6mL+hmrEkQ9csDD8=");
        assert_eq!(id(0, 1, a, b, Some((8, 0))), "1:crodRHL2FEsHjbv3UkRrfbs4bZ0=");
        assert_eq!(id(0, 1, b, a, Some((0, 8))), "1:crodRHL2FEsHjbv3UkRrfbs4bZ0=");
        assert_eq!(id(0, 1, a, b, Some((11, 0))), "1:f/YiSyWqczrTgfUCZlBUnvHRcPk=");
        assert_eq!(id(0, 58, c, d, Some((128, 129))), "1:0bf7hyMJUwt3fMED7z8LIfRpBeo=");
        assert_eq!(id(0, 58, d, c, Some((129, 128))), "1:0bf7hyMJUwt3fMED7z8LIfRpBeo=");
        assert_eq!(id(0, 58, c, d, Some((146, 0))), "1:fYC8+pz24E+EhANP1EZhpX0Dw10=");
        assert_eq!(id(0, 46, b, a, None), "1:ikv3kmf89luf73WPz1jOs49S768=");
        assert_eq!(id(0, 46, c, d, None), "1:wQ/2mwrnXP4lmJcHdGL5ePjR+e0=");
    }

    #[test]
    fn types_of_icmp_stand_for_ports() {
        assert_eq!(icmp_ports(Protocol::ICMP, 0, 0), (0, 8));
        assert_eq!(icmp_ports(Protocol::ICMP, 3, 1), (3, 1));
        assert_eq!(icmp_ports(Protocol::ICMP_V6, 135, 0), (135, 136));
    }

    #[test]
    fn text_that_is_no_id_is_refused() {
        for text in ["", "1:", "2:wCb3OG7yAFWelaUydu0D+125CLM=", "1:wCb3OG7yAFWelaUydu0D+125CLN=", "1:wCb3="] {
            assert_eq!(text.parse::<CommunityId>(), Err(CommunityIdError), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn every_id_comes_back_from_its_text(hash in any::<[u8; 20]>()) {
            prop_assert_eq!(CommunityId(hash).to_string().parse(), Ok(CommunityId(hash)));
        }

        #[test]
        fn both_directions_have_one_id(
            a in any::<[u8; 16]>(), b in any::<[u8; 16]>(), ports in any::<(u16, u16)>(), seed in any::<u16>(),
        ) {
            let (a, b) = (IpAddr::from(a), IpAddr::from(b));
            let there = CommunityId::new(seed, Protocol::TCP, a, b, Some(ports));
            let back = CommunityId::new(seed, Protocol::TCP, b, a, Some((ports.1, ports.0)));
            prop_assert_eq!(there, back);
        }
    }
}
