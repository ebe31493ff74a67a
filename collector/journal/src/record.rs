//! One record as bytes.
//!
//! ```text
//! length u32 │ crc32c u32 │ lsn u64 │ behind u32 │ kind u8 │ zero u8×3 │ body
//!                                                              24 bytes ┘   length bytes
//! ```
//!
//! The checksum covers the journal's uuid, every other byte of the header, and the body. The uuid
//! is random and never leaves the disk, so nobody who only gets to choose what is logged can write
//! a line that passes for a record.
//!
//! `behind` says how many places back the last record stood that was surely on disk when this one
//! was written. A bad record that a later one knows to have been on disk is damage; any other bad
//! record at the end was never acknowledged and is a torn tail ([`crate::recover`]).

use crate::lsn::Lsn;

/// Bytes of a record's header.
pub(crate) const HEADER_BYTES: usize = 24;

/// Longest body of a record, in bytes: well past the largest batch of events (8 MiB of raw bytes)
/// and short enough to be held in memory.
pub const MAX_BODY_BYTES: usize = 16 << 20;

/// A journal's uuid as the start of every checksum in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Salt(u32);

/// A record's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RecordHeader {
    pub(crate) length: usize,
    crc: u32,
    pub(crate) lsn: Lsn,
    pub(crate) behind: u32,
    pub(crate) kind: u8,
}

impl Salt {
    pub(crate) fn new(uuid: &[u8; 16]) -> Self {
        Self(crc32c::crc32c(uuid))
    }

    /// Returns the checksum of bytes in parts.
    pub(crate) fn checksum(self, parts: &[&[u8]]) -> u32 {
        parts.iter().fold(self.0, |crc, part| crc32c::crc32c_append(crc, part))
    }
}

impl RecordHeader {
    /// Reads a header; nothing if the bytes cannot be one. The checksum is not looked at.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let (header, _) = bytes.split_first_chunk::<HEADER_BYTES>()?;
        let [l0, l1, l2, l3, c0, c1, c2, c3, n0, n1, n2, n3, n4, n5, n6, n7, b0, b1, b2, b3, kind, 0, 0, 0] = *header
        else {
            return None;
        };
        let length = usize::try_from(u32::from_le_bytes([l0, l1, l2, l3])).ok()?;
        let lsn = Lsn(u64::from_le_bytes([n0, n1, n2, n3, n4, n5, n6, n7]));
        let crc = u32::from_le_bytes([c0, c1, c2, c3]);
        let behind = u32::from_le_bytes([b0, b1, b2, b3]);
        (length <= MAX_BODY_BYTES && lsn != Lsn::ZERO).then_some(Self { length, crc, lsn, behind, kind })
    }

    /// Returns whether the checksum fits this header and `body`.
    pub(crate) fn holds(&self, salt: Salt, body: &[u8]) -> bool {
        self.crc == checksum(salt, self, body)
    }

    /// Returns the highest place that was surely on disk when this record was written.
    pub(crate) fn durable_before(&self) -> Lsn {
        Lsn(self.lsn.0.saturating_sub(u64::from(self.behind)))
    }

    /// Returns the bytes of the whole record.
    pub(crate) fn total(&self) -> usize {
        HEADER_BYTES + self.length
    }
}

/// Appends a record to `out`.
///
/// # Contract
/// `body` is at most [`MAX_BODY_BYTES`] long and `durable` is before `lsn`.
pub(crate) fn encode(out: &mut Vec<u8>, salt: Salt, lsn: Lsn, durable: Lsn, kind: u8, body: &[u8]) {
    debug_assert!(body.len() <= MAX_BODY_BYTES && durable < lsn, "the caller has checked both");
    let behind = u32::try_from(lsn.0.saturating_sub(durable.0)).unwrap_or(u32::MAX);
    let mut header = RecordHeader { length: body.len(), crc: 0, lsn, behind, kind };
    header.crc = checksum(salt, &header, body);
    out.extend_from_slice(&length_bytes(&header));
    out.extend_from_slice(&header.crc.to_le_bytes());
    out.extend_from_slice(&place_bytes(&header));
    out.extend_from_slice(body);
}

fn checksum(salt: Salt, header: &RecordHeader, body: &[u8]) -> u32 {
    salt.checksum(&[&length_bytes(header), &place_bytes(header), body])
}

fn length_bytes(header: &RecordHeader) -> [u8; 4] {
    u32::try_from(header.length).unwrap_or(u32::MAX).to_le_bytes()
}

fn place_bytes(header: &RecordHeader) -> [u8; 16] {
    let [n0, n1, n2, n3, n4, n5, n6, n7] = header.lsn.0.to_le_bytes();
    let [b0, b1, b2, b3] = header.behind.to_le_bytes();
    [n0, n1, n2, n3, n4, n5, n6, n7, b0, b1, b2, b3, header.kind, 0, 0, 0]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flipped_bit_is_seen() {
        let salt = Salt::new(&[7; 16]);
        let mut bytes = Vec::new();
        encode(&mut bytes, salt, Lsn(9), Lsn(4), 3, b"body");
        let header = RecordHeader::parse(&bytes).unwrap();
        assert_eq!((header.length, header.lsn, header.kind), (4, Lsn(9), 3));
        assert_eq!(header.durable_before(), Lsn(4));
        assert!(header.holds(salt, b"body"));
        assert!(!header.holds(Salt::new(&[8; 16]), b"body"), "a record of another journal");
        for bit in 0..bytes.len() * 8 {
            let mut changed = bytes.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            let holds = RecordHeader::parse(&changed).is_some_and(|header| {
                changed.get(HEADER_BYTES..header.total()).is_some_and(|body| header.holds(salt, body))
            });
            assert!(!holds, "bit {bit}");
        }
    }

    #[test]
    fn zeroes_are_no_record() {
        assert_eq!(RecordHeader::parse(&[0; 64]), None);
    }
}
