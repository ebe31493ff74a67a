//! The header of a zstd frame, read before anything is unpacked (RFC 8878 section 3.1.1).
//!
//! The decoder is not asked how much memory it would like: the window and the length are read
//! here and held against the bounds first.

use canh_event::{ByteReader, DecodeError};

use crate::limits::WINDOW_LOG_MAX;

const MAGIC: u32 = 0xFD2F_B528;

/// What the header of a zstd frame says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ZstdHead {
    /// Bytes of window a decoder must keep.
    pub(crate) window_bytes: u64,
    /// Bytes once unpacked, if stated.
    pub(crate) content_bytes: Option<u64>,
}

impl ZstdHead {
    /// Reads a header.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = ByteReader::new(bytes);
        if reader.u32("zstd magic")? != MAGIC {
            return Err(DecodeError::Invalid { what: "zstd magic", offset: 0 });
        }
        let descriptor = reader.u8("zstd frame descriptor")?;
        let is_single_segment = descriptor & 0b10_0000 != 0;
        if descriptor & 0b1000 != 0 {
            return Err(DecodeError::Invalid { what: "zstd reserved bit", offset: 4 });
        }
        if descriptor & 0b11 != 0 {
            return Err(DecodeError::Invalid { what: "zstd dictionary", offset: 4 });
        }
        let window = if is_single_segment { None } else { Some(window_bytes(reader.u8("zstd window")?)) };
        let content_bytes = match (descriptor >> 6, is_single_segment) {
            (0, false) => None,
            (0, true) => Some(u64::from(reader.u8("zstd content length")?)),
            // 256 is added: RFC 8878 section 3.1.1.1.4.
            (1, _) => Some(u64::from(reader.u16("zstd content length")?) + 256),
            (2, _) => Some(u64::from(reader.u32("zstd content length")?)),
            _ => Some(reader.u64("zstd content length")?),
        };
        // A single segment's window is its content.
        Ok(Self { window_bytes: window.or(content_bytes).unwrap_or(0), content_bytes })
    }

    /// Returns whether the window is one we are ready to keep.
    pub(crate) fn is_window_fair(self) -> bool {
        self.window_bytes <= 1 << WINDOW_LOG_MAX
    }
}

/// RFC 8878 section 3.1.1.1.2.
fn window_bytes(descriptor: u8) -> u64 {
    let base = 1_u64 << (10 + u32::from(descriptor >> 3));
    base + base / 8 * u64::from(descriptor & 0b111)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_encoder_writes_is_read_back() {
        for length in [0_usize, 1, 255, 256, 300, 65_791, 65_792, 1 << 20] {
            let packed = zstd::bulk::compress(&vec![7; length], 3).unwrap();
            let head = ZstdHead::parse(&packed).unwrap();
            assert_eq!(head.content_bytes, Some(length as u64));
            assert!(head.is_window_fair());
        }
    }

    #[test]
    fn window_of_two_gigabytes_is_seen_without_unpacking() {
        let mut bytes = MAGIC.to_le_bytes().to_vec();
        bytes.extend([0b1000_0000, 21 << 3, 1, 0, 0, 0]);
        let head = ZstdHead::parse(&bytes).unwrap();
        assert_eq!(head.window_bytes, 1 << 31);
        assert!(!head.is_window_fair());
    }

    #[test]
    fn dictionaries_and_cut_headers_are_refused() {
        let packed = zstd::bulk::compress(b"text", 3).unwrap();
        for cut in 0..5 {
            assert!(ZstdHead::parse(&packed[..cut]).is_err());
        }
        let mut with_dictionary = packed;
        with_dictionary[4] |= 1;
        assert!(ZstdHead::parse(&with_dictionary).is_err());
    }
}
