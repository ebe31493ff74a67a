//! Packets and capture files, byte by byte.
//!
//! Only headers are written: a packet's length on the wire is in its record, as a capture with a
//! short snapshot length has it. IPv4 header checksums are right; transport checksums are zero,
//! since what they would cover is not there.

/// An IPv4 address.
pub(crate) type Address = [u8; 4];

/// One end of a conversation: address and port.
pub(crate) type End = (Address, u16);

pub(crate) const SYN: u8 = 0x02;
pub(crate) const SYN_ACK: u8 = 0x12;
pub(crate) const ACK: u8 = 0x10;
pub(crate) const PSH_ACK: u8 = 0x18;
pub(crate) const FIN_ACK: u8 = 0x11;
pub(crate) const RST: u8 = 0x04;
pub(crate) const RST_ACK: u8 = 0x14;

/// Packets under way to be a capture file. Times are microseconds since the capture's beginning.
#[derive(Default)]
pub(crate) struct Capture {
    packets: Vec<(u64, u64, Vec<u8>)>,
}

impl Capture {
    /// Adds a TCP segment; `payload` is how many bytes it carried, which are not written.
    pub(crate) fn tcp(&mut self, at: u64, from: End, to: End, flags: u8, payload: u64) {
        let mut header = [from.1.to_be_bytes(), to.1.to_be_bytes()].concat();
        header.extend_from_slice(&[
            0,
            0,
            0,
            1,
            0,
            0,
            0,
            u8::from(flags & ACK != 0),
            0x50,
            flags,
            0xfa,
            0xf0,
            0,
            0,
            0,
            0,
        ]);
        self.ipv4(at, 6, from.0, to.0, &header, payload);
    }

    /// Adds a UDP datagram of `payload` bytes.
    pub(crate) fn udp(&mut self, at: u64, from: End, to: End, payload: u64) {
        let length = u16::try_from(8 + payload).unwrap();
        let header = [from.1, to.1, length, 0].map(u16::to_be_bytes).concat();
        self.ipv4(at, 17, from.0, to.0, &header, payload);
    }

    /// Adds an ICMP echo request, or the reply to one.
    pub(crate) fn echo(&mut self, at: u64, from: Address, to: Address, is_reply: bool) {
        self.ipv4(at, 1, from, to, &[if is_reply { 0 } else { 8 }, 0, 0, 0, 0, 7, 0, 1], 56);
    }

    fn ipv4(&mut self, at: u64, protocol: u8, from: Address, to: Address, transport: &[u8], payload: u64) {
        let total = 20 + transport.len() as u64 + payload;
        // A segment too long for the field says 0, as Linux writes it with BIG TCP.
        let [high, low] = u16::try_from(total).unwrap_or(0).to_be_bytes();
        let mut header = vec![0x45, 0, high, low, 0, 0, 0x40, 0, 64, protocol, 0, 0];
        header.extend_from_slice(&[from, to].concat());
        let words = header.chunks_exact(2).map(|word| u32::from(word[0]) << 8 | u32::from(word[1]));
        let sum: u32 = words.sum();
        let folded = (sum & 0xffff) + (sum >> 16);
        let checksum = !u16::try_from((folded & 0xffff) + (folded >> 16)).unwrap();
        header[10..12].copy_from_slice(&checksum.to_be_bytes());
        // Locally administered hardware addresses made from the IP addresses.
        let hardware = |address: Address| [&[0x02, 0x00], &address[..]].concat();
        let frame = [hardware(to), hardware(from), vec![0x08, 0x00], header, transport.to_vec()].concat();
        self.packets.push((at, 14 + total, frame));
    }

    /// Adds a whole TCP connection: handshake, request, reply, both ends closed.
    pub(crate) fn connection(&mut self, at: u64, client: End, server: End, sent: u64, returned: u64, lasts: u64) {
        let turn = 800;
        self.tcp(at, client, server, SYN, 0);
        self.tcp(at + turn, server, client, SYN_ACK, 0);
        self.tcp(at + 2 * turn, client, server, PSH_ACK, sent);
        self.tcp(at + lasts / 2 + 3 * turn, server, client, PSH_ACK, returned);
        self.tcp(at + lasts + 4 * turn, client, server, FIN_ACK, 0);
        self.tcp(at + lasts + 5 * turn, server, client, FIN_ACK, 0);
    }

    /// Returns the capture as a pcap file (microseconds, little endian, Ethernet), beginning at
    /// `epoch_secs`.
    pub(crate) fn into_file(mut self, epoch_secs: u64) -> Vec<u8> {
        const SNAPLEN: u32 = 128;
        self.packets.sort_by_key(|packet| packet.0);
        let mut file = 0xa1b2_c3d4_u32.to_le_bytes().to_vec();
        file.extend_from_slice(&[2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        file.extend_from_slice(&SNAPLEN.to_le_bytes());
        file.extend_from_slice(&1_u32.to_le_bytes());
        for (at, wire_len, frame) in self.packets {
            let words = [epoch_secs + at / 1_000_000, at % 1_000_000, frame.len() as u64, wire_len];
            for word in words {
                file.extend_from_slice(&u32::try_from(word).unwrap().to_le_bytes());
            }
            file.extend_from_slice(&frame);
        }
        file
    }
}

/// SplitMix64: a few lines, and the same numbers everywhere.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    /// Returns a number below `bound`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }

    /// Returns a port a client may have.
    pub(crate) fn port(&mut self) -> u16 {
        u16::try_from(49_152 + self.below(16_000)).unwrap()
    }
}
