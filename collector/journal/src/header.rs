//! The header of a segment.
//!
//! ```text
//! "CANHJRNL" │ crc32c u32 │ version u16 │ zero u16 │ uuid 16                       64 bytes
//! first lsn u64 │ previous segment's first lsn u64 │ begun, ns since 1970 u64 │ zero 8
//! ```
//!
//! Version 1 stands before records as they were written (`segment.rs`), version 2 before records in
//! zstd frames (`packed.rs`). A release that knows only the first names the second and stops, and
//! takes it for no damage.

use std::io;
use std::time::SystemTime;

use crate::fs::{FsFile, read_full};
use crate::info::{time_from_nanos, time_to_nanos};
use crate::lsn::Lsn;

/// Bytes of a segment's header.
pub(crate) const SEGMENT_HEADER_BYTES: u64 = HEADER_BYTES as u64;
/// The latest version that this release reads.
pub(crate) const LATEST_VERSION: u16 = 2;

const HEADER_BYTES: usize = 64;
const MAGIC: &[u8; 8] = b"CANHJRNL";
/// Bytes of the header that its checksum covers.
const FIELDS_BYTES: usize = HEADER_BYTES - 12;
const VERSION_RAW: u16 = 1;
const VERSION_PACKED: u16 = LATEST_VERSION;

/// How a segment's records stand in its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// One behind the other.
    Raw,
    /// In zstd frames.
    Packed,
}

/// What a segment's header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub(crate) form: Form,
    pub(crate) uuid: [u8; 16],
    pub(crate) first: Lsn,
    /// The first record of the segment before, [`Lsn::ZERO`] if it is the first ever.
    pub(crate) previous: Lsn,
    /// When it was begun.
    pub(crate) since: Option<SystemTime>,
}

/// Why bytes are no segment header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeaderFault {
    /// They are something else, or damaged.
    NotAHeader,
    /// They are of an unknown version.
    Version(u16),
}

impl SegmentHeader {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let version = match self.form {
            Form::Raw => VERSION_RAW,
            Form::Packed => VERSION_PACKED,
        };
        let mut fields = version.to_le_bytes().to_vec();
        fields.extend_from_slice(&[0, 0]);
        fields.extend_from_slice(&self.uuid);
        for number in [self.first.0, self.previous.0, time_to_nanos(self.since)] {
            fields.extend_from_slice(&number.to_le_bytes());
        }
        fields.resize(FIELDS_BYTES, 0);
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&crc32c::crc32c(&fields).to_le_bytes());
        bytes.extend_from_slice(&fields);
        bytes
    }

    fn decode(bytes: &[u8]) -> Result<Self, HeaderFault> {
        let fault = HeaderFault::NotAHeader;
        let rest = bytes.strip_prefix(MAGIC).ok_or(fault)?;
        let (crc, rest) = rest.split_first_chunk::<4>().ok_or(fault)?;
        let fields = rest.first_chunk::<FIELDS_BYTES>().ok_or(fault)?;
        if crc32c::crc32c(fields) != u32::from_le_bytes(*crc) {
            return Err(fault);
        }
        let (version, rest) = fields.split_first_chunk::<2>().ok_or(fault)?;
        let form = match u16::from_le_bytes(*version) {
            VERSION_RAW => Form::Raw,
            VERSION_PACKED => Form::Packed,
            other => return Err(HeaderFault::Version(other)),
        };
        let (_, rest) = rest.split_first_chunk::<2>().ok_or(fault)?;
        let (uuid, rest) = rest.split_first_chunk::<16>().ok_or(fault)?;
        let (first, rest) = rest.split_first_chunk::<8>().ok_or(fault)?;
        let (previous, rest) = rest.split_first_chunk::<8>().ok_or(fault)?;
        let (since, _) = rest.split_first_chunk::<8>().ok_or(fault)?;
        let [first, previous] = [first, previous].map(|bytes| Lsn(u64::from_le_bytes(*bytes)));
        let since = time_from_nanos(u64::from_le_bytes(*since));
        Ok(Self { form, uuid: *uuid, first, previous, since })
    }

    /// Reads the header of an open segment.
    pub(crate) fn read<H: FsFile>(file: &H) -> io::Result<Result<Self, HeaderFault>> {
        let mut bytes = [0; HEADER_BYTES];
        let count = read_full(file, &mut bytes, 0)?;
        Ok(Self::decode(bytes.get(..count).unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    #[test]
    fn header_comes_back_as_it_was_and_any_flipped_byte_is_seen() {
        let since = Some(UNIX_EPOCH + Duration::from_nanos(1_795_000_000_123_456_789));
        for (form, since) in [(Form::Raw, since), (Form::Packed, since), (Form::Raw, None)] {
            let header = SegmentHeader { form, uuid: [9; 16], first: Lsn(u64::MAX), previous: Lsn(7), since };
            let bytes = header.encode();
            assert_eq!(SegmentHeader::decode(&bytes), Ok(header));
            for at in 0..HEADER_BYTES {
                let mut changed = bytes.clone();
                changed[at] ^= 0x40;
                assert_eq!(SegmentHeader::decode(&changed), Err(HeaderFault::NotAHeader), "byte {at}");
            }
            let mut newer = bytes;
            newer[12] = 3;
            let crc = crc32c::crc32c(&newer[12..]).to_le_bytes();
            newer[8..12].copy_from_slice(&crc);
            assert_eq!(SegmentHeader::decode(&newer), Err(HeaderFault::Version(3)));
        }
    }
}
