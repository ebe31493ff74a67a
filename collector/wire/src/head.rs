//! The 24 bytes before every frame's body: written, and read with every limit held before a byte
//! of the body is waited for.

use canh_event::{ByteReader, ByteWriter, DecodeError};

use crate::kind::FrameKind;
use crate::limits::{FRAME_HEAD_BYTES, MAX_BODY_BYTES, MAX_RATIO, MAX_RAW_BODY_BYTES};

const MAGIC: [u8; 4] = *b"CANH";
const CRC_AT: std::ops::Range<usize> = 16..20;

/// The body of a BATCH is packed with zstd.
pub(crate) const FLAG_ZSTD: u16 = 1;

/// Bytes that are no frame. Always the peer's fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// The bytes are of another protocol.
    #[error("the bytes do not begin like a frame")]
    Magic,
    /// The version is not the one settled on, or 0.
    #[error("frame has version {got}, settled is {settled:?}")]
    Version {
        /// The version in the header.
        got: u8,
        /// The version settled on, if one is.
        settled: Option<u8>,
    },
    /// The kind is not known.
    #[error("frame kind {got} is not known")]
    Kind {
        /// The kind in the header.
        got: u8,
    },
    /// A flag is not known or does not belong to this kind.
    #[error("flags {got:#06x} do not belong to a {} frame", kind.as_str())]
    Flags {
        /// The kind of frame.
        kind: FrameKind,
        /// The flags in the header.
        got: u16,
    },
    /// The header is not valid otherwise.
    #[error("frame header is not valid")]
    Head {
        /// What is wrong and where.
        #[source]
        source: DecodeError,
    },
    /// The body is longer than its kind allows.
    #[error("a {} frame announces {got} bytes, limit is {limit}", kind.as_str())]
    BodyLength {
        /// The kind of frame.
        kind: FrameKind,
        /// The length announced.
        got: usize,
        /// The bound.
        limit: usize,
    },
    /// The body is longer than allowed once unpacked.
    #[error("frame announces {got} bytes unpacked, limit is {limit}")]
    RawLength {
        /// The length announced.
        got: usize,
        /// The bound.
        limit: usize,
    },
    /// The body is packed more tightly than allowed.
    #[error("frame announces {raw} bytes from {packed}, limit is {limit} to one")]
    Ratio {
        /// The length announced once unpacked.
        raw: usize,
        /// The length of the body.
        packed: usize,
        /// The bound.
        limit: usize,
    },
    /// The frame was damaged.
    #[error("checksum of a {} frame is wrong", kind.as_str())]
    Checksum {
        /// The kind of frame.
        kind: FrameKind,
    },
    /// The body is not what its kind says.
    #[error("body of a {} frame is not valid", kind.as_str())]
    Body {
        /// The kind of frame.
        kind: FrameKind,
        /// What is wrong and where.
        #[source]
        source: DecodeError,
    },
}

/// A header whose every field is within its bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHead {
    /// The version of the frame.
    pub version: u8,
    /// Its kind.
    pub kind: FrameKind,
    /// Whether the body is packed with zstd.
    pub is_zstd: bool,
    /// Bytes of the body.
    pub body_bytes: usize,
    /// Bytes of a BATCH's records once unpacked; 0 for other kinds.
    pub raw_bytes: usize,
    pub(crate) checksum: u32,
}

impl FrameHead {
    /// Appends the header with room for the checksum; [`seal`] fills it.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        let mut writer = ByteWriter::new(out);
        writer.raw(&MAGIC);
        writer.u8(self.version);
        writer.u8(self.kind.code());
        writer.u16(if self.is_zstd { FLAG_ZSTD } else { 0 });
        writer.count(self.body_bytes);
        writer.count(self.raw_bytes);
        writer.u32(0);
        writer.u32(0);
    }

    /// Reads a header and holds it against every limit.
    ///
    /// `settled` is the version a WELCOME has settled on. Before it any version may come: HELLO,
    /// WELCOME, NACK and BYE are laid out the same in all of them.
    pub(crate) fn parse(bytes: &[u8], settled: Option<u8>) -> Result<Self, FrameError> {
        let mut reader = ByteReader::new(bytes);
        let head = Self::read(&mut reader, settled)?;
        head.check_lengths()?;
        Ok(head)
    }

    fn read(reader: &mut ByteReader<'_>, settled: Option<u8>) -> Result<Self, FrameError> {
        let body = |source| FrameError::Head { source };
        if reader.take(MAGIC.len(), "frame magic").map_err(body)? != MAGIC {
            return Err(FrameError::Magic);
        }
        let version = reader.u8("frame version").map_err(body)?;
        if version == 0 || settled.is_some_and(|settled| settled != version) {
            return Err(FrameError::Version { got: version, settled });
        }
        let code = reader.u8("frame kind").map_err(body)?;
        let kind = FrameKind::from_code(code).ok_or(FrameError::Kind { got: code })?;
        let flags = reader.u16("frame flags").map_err(body)?;
        let is_zstd = flags == FLAG_ZSTD && kind == FrameKind::Batch;
        if flags != 0 && !is_zstd {
            return Err(FrameError::Flags { kind, got: flags });
        }
        let body_bytes = length(reader.u32("body length").map_err(body)?);
        let raw_bytes = length(reader.u32("raw length").map_err(body)?);
        let checksum = reader.u32("frame checksum").map_err(body)?;
        let reserved = reader.u32("reserved field").map_err(body)?;
        if reserved != 0 {
            return Err(FrameError::Head { source: DecodeError::Invalid { what: "reserved field", offset: 20 } });
        }
        Ok(Self { version, kind, is_zstd, body_bytes, raw_bytes, checksum })
    }

    fn check_lengths(&self) -> Result<(), FrameError> {
        let limit = self.kind.limit();
        if self.body_bytes > limit {
            return Err(FrameError::BodyLength { kind: self.kind, got: self.body_bytes, limit });
        }
        let raw_limit = if self.kind == FrameKind::Batch { MAX_RAW_BODY_BYTES } else { 0 };
        if self.raw_bytes > raw_limit {
            return Err(FrameError::RawLength { got: self.raw_bytes, limit: raw_limit });
        }
        if !is_ratio_fair(self.raw_bytes, self.body_bytes) {
            return Err(FrameError::Ratio { raw: self.raw_bytes, packed: self.body_bytes, limit: MAX_RATIO });
        }
        Ok(())
    }
}

/// Returns whether a batch may be packed this tightly: any batch that could have come unpacked
/// may, a longer one up to [`MAX_RATIO`].
pub(crate) fn is_ratio_fair(raw: usize, packed: usize) -> bool {
    raw <= MAX_BODY_BYTES || raw <= packed.saturating_mul(MAX_RATIO)
}

/// Returns the CRC-32C of a frame, its own field as zeros.
pub(crate) fn checksum(head: &[u8], body: &[u8]) -> u32 {
    let before = head.get(..CRC_AT.start).unwrap_or_default();
    let after = head.get(CRC_AT.end..FRAME_HEAD_BYTES).unwrap_or_default();
    let crc = crc32c::crc32c_append(crc32c::crc32c(before), &[0; 4]);
    crc32c::crc32c_append(crc32c::crc32c_append(crc, after), body)
}

/// Writes the checksum of the frame that fills `frame` into its header.
pub(crate) fn seal(frame: &mut [u8]) {
    let Some((head, body)) = frame.split_at_checked(FRAME_HEAD_BYTES) else { return };
    let crc = checksum(head, body).to_le_bytes();
    if let Some(place) = frame.get_mut(CRC_AT) {
        place.copy_from_slice(&crc);
    }
}

fn length(value: u32) -> usize {
    // A length past the address space is past every limit too.
    usize::try_from(value).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::CONTROL_LIMIT;

    fn head(kind: FrameKind, is_zstd: bool, body_bytes: usize, raw_bytes: usize) -> Result<FrameHead, FrameError> {
        let mut bytes = Vec::new();
        FrameHead { version: 1, kind, is_zstd, body_bytes, raw_bytes, checksum: 0 }.write(&mut bytes);
        FrameHead::parse(&bytes, None)
    }

    #[test]
    fn lengths_past_their_limits_are_refused() {
        assert!(head(FrameKind::Batch, true, MAX_BODY_BYTES, MAX_RAW_BODY_BYTES).is_ok());
        let long = head(FrameKind::Batch, true, MAX_BODY_BYTES + 1, 0);
        assert!(matches!(long, Err(FrameError::BodyLength { .. })));
        let raw = head(FrameKind::Batch, true, MAX_BODY_BYTES, MAX_RAW_BODY_BYTES + 1);
        assert!(matches!(raw, Err(FrameError::RawLength { .. })));
        assert!(matches!(head(FrameKind::Ping, false, CONTROL_LIMIT + 1, 0), Err(FrameError::BodyLength { .. })));
        assert!(matches!(head(FrameKind::Ping, false, 16, 1), Err(FrameError::RawLength { .. })));
    }

    #[test]
    fn a_bomb_is_refused_by_its_header() {
        assert!(matches!(head(FrameKind::Batch, true, 1_000, MAX_RAW_BODY_BYTES), Err(FrameError::Ratio { .. })));
        assert!(head(FrameKind::Batch, true, 100, MAX_BODY_BYTES).is_ok());
    }

    #[test]
    fn only_a_batch_may_be_packed() {
        assert!(matches!(head(FrameKind::Ping, true, 16, 0), Err(FrameError::Flags { .. })));
    }
}
