//! The body of a BATCH: an encoded `RecordBatch`, packed with zstd where that makes it shorter.
//!
//! Unpacking takes memory for the length its frame announced and no more; the collector asks its
//! budget for [`Packed::raw_len`] bytes first, and does so only for a peer it has authenticated.

use canh_event::{DecodeError, RecordBatch};

use crate::head::is_ratio_fair;
use crate::limits::{MAX_BODY_BYTES, MAX_RATIO, MAX_RAW_BODY_BYTES, WINDOW_LOG_MAX};
use crate::zstd_frame::ZstdHead;

/// The usual zstd level. On logs level 3 packs a few per cent tighter and costs twice the time, which is
/// most of what an agent spends on a line.
pub const DEFAULT_LEVEL: i32 = 1;
/// Highest level: above it the encoder's window and memory outgrow an agent.
const MAX_LEVEL: i32 = 12;
/// Room for the place in the stream that stands before the packed bytes.
const PLACE_BYTES: usize = 128;
/// A buffer longer than this is given back after use.
const KEPT_CAPACITY: usize = 2 << 20;

/// A batch's records as they cross the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packed {
    is_zstd: bool,
    raw_len: usize,
    bytes: Vec<u8>,
}

/// Why a batch cannot be packed. Ours, or the caller's for making so large a batch.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PackError {
    /// Too long before packing: split the batch.
    #[error("the batch has {got} bytes, limit is {limit}")]
    RawLength {
        /// Its length.
        got: usize,
        /// The bound.
        limit: usize,
    },
    /// Too long after packing: split the batch.
    #[error("the packed batch has {got} bytes, limit is {limit}")]
    PackedLength {
        /// Its length.
        got: usize,
        /// The bound.
        limit: usize,
    },
    /// A long batch packs more tightly than the other end accepts: split the batch.
    #[error("the batch packs {raw} bytes into {packed}, limit is {limit} to one")]
    Ratio {
        /// Its length.
        raw: usize,
        /// Its packed length.
        packed: usize,
        /// The bound.
        limit: usize,
    },
    /// The encoder failed.
    #[error("zstd could not pack the batch")]
    Zstd {
        /// What zstd said.
        #[source]
        source: std::io::Error,
    },
}

/// Why a packed batch is refused. The peer's fault, but for [`UnpackError::Zstd`] when memory ends.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UnpackError {
    /// The zstd frame's header is not valid.
    #[error("the zstd header is not valid")]
    Head {
        /// What is wrong and where.
        #[source]
        source: DecodeError,
    },
    /// The zstd frame wants a larger window than we keep.
    #[error("zstd wants a window of {got} bytes, limit is {limit}")]
    Window {
        /// The window.
        got: u64,
        /// The bound.
        limit: u64,
    },
    /// The zstd frame does not state the length the frame announced.
    #[error("the frame announces {announced} bytes, zstd states {stated:?}")]
    Length {
        /// What the frame's header says.
        announced: usize,
        /// What the zstd frame says.
        stated: Option<u64>,
    },
    /// The bytes are no zstd.
    #[error("zstd could not unpack the batch")]
    Zstd {
        /// What zstd said.
        #[source]
        source: std::io::Error,
    },
    /// The bytes are no record batch.
    #[error("the unpacked bytes are no record batch")]
    Records {
        /// What is wrong and where.
        #[source]
        source: DecodeError,
    },
    /// The batch has another number of records than its frame says.
    #[error("the frame announces {announced} records, the batch has {got}")]
    Count {
        /// What the frame says.
        announced: u32,
        /// How many there are.
        got: usize,
    },
}

/// Packs batches; keeps its encoder and buffer from one to the next.
pub struct Packer {
    compressor: zstd::bulk::Compressor<'static>,
    buffer: Vec<u8>,
}

/// Unpacks batches; keeps its decoder and buffer from one to the next.
pub struct Unpacker {
    decompressor: zstd::bulk::Decompressor<'static>,
    buffer: Vec<u8>,
}

impl Packed {
    /// Returns packed bytes that come from a spool or a frame.
    ///
    /// # Errors
    /// [`PackError`] if their lengths are past a bound or do not fit each other.
    pub fn from_parts(is_zstd: bool, raw_len: usize, bytes: Vec<u8>) -> Result<Self, PackError> {
        if raw_len > MAX_RAW_BODY_BYTES || (!is_zstd && raw_len != bytes.len()) {
            return Err(PackError::RawLength { got: raw_len, limit: MAX_RAW_BODY_BYTES });
        }
        if bytes.len() > MAX_BODY_BYTES {
            return Err(PackError::PackedLength { got: bytes.len(), limit: MAX_BODY_BYTES });
        }
        // The reader judges by the whole body; the place before the packed bytes only helps.
        if !is_ratio_fair(raw_len, bytes.len() + PLACE_BYTES) {
            return Err(PackError::Ratio { raw: raw_len, packed: bytes.len(), limit: MAX_RATIO });
        }
        Ok(Self { is_zstd, raw_len, bytes })
    }

    /// Returns whether the bytes are packed with zstd.
    pub fn is_zstd(&self) -> bool {
        self.is_zstd
    }

    /// Returns how long the records are once unpacked: what a window and a budget count.
    pub fn raw_len(&self) -> usize {
        self.raw_len
    }

    /// Returns the packed bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl Packer {
    /// Returns a packer; `level` is held between 1 and 12.
    ///
    /// # Errors
    /// [`PackError::Zstd`] if there is no memory for the encoder.
    pub fn try_new(level: i32) -> Result<Self, PackError> {
        let compressor = zstd::bulk::Compressor::new(level.clamp(1, MAX_LEVEL)).map_err(PackError::zstd)?;
        Ok(Self { compressor, buffer: Vec::new() })
    }

    /// Packs a batch.
    ///
    /// # Errors
    /// [`PackError`]; a batch whose encoding has at most `SAFE_BATCH_BYTES` is never too long.
    pub fn pack(&mut self, batch: &RecordBatch) -> Result<Packed, PackError> {
        let mut encoded = std::mem::take(&mut self.buffer);
        encoded.clear();
        batch.encode(&mut encoded);
        let packed = self.pack_encoded(&encoded);
        if encoded.capacity() <= KEPT_CAPACITY {
            self.buffer = encoded;
        }
        packed
    }

    /// Packs a batch that is encoded already, such as one read from a spool.
    ///
    /// # Errors
    /// [`PackError`].
    pub fn pack_encoded(&mut self, encoded: &[u8]) -> Result<Packed, PackError> {
        if encoded.len() > MAX_RAW_BODY_BYTES {
            return Err(PackError::RawLength { got: encoded.len(), limit: MAX_RAW_BODY_BYTES });
        }
        let packed = self.compressor.compress(encoded).map_err(PackError::zstd)?;
        let is_shorter = packed.len() < encoded.len();
        let (is_zstd, bytes) = if is_shorter { (true, packed) } else { (false, encoded.to_vec()) };
        if bytes.len() + PLACE_BYTES > MAX_BODY_BYTES {
            return Err(PackError::PackedLength { got: bytes.len(), limit: MAX_BODY_BYTES - PLACE_BYTES });
        }
        if !is_ratio_fair(encoded.len(), bytes.len()) {
            return Err(PackError::Ratio { raw: encoded.len(), packed: bytes.len(), limit: MAX_RATIO });
        }
        Ok(Packed { is_zstd, raw_len: encoded.len(), bytes })
    }
}

impl PackError {
    fn zstd(source: std::io::Error) -> Self {
        Self::Zstd { source }
    }
}

impl Unpacker {
    /// Returns an unpacker.
    ///
    /// # Errors
    /// [`UnpackError::Zstd`] if there is no memory for the decoder.
    pub fn try_new() -> Result<Self, UnpackError> {
        let decompressor = zstd::bulk::Decompressor::new().map_err(|source| UnpackError::Zstd { source })?;
        Ok(Self { decompressor, buffer: Vec::new() })
    }

    /// Returns the records of a batch of `count`.
    ///
    /// # Errors
    /// [`UnpackError`]; never a panic, never more memory than [`Packed::raw_len`] and the records.
    ///
    /// # Contract
    /// The peer is authenticated and the memory is set aside.
    pub fn unpack(&mut self, body: &Packed, count: u32) -> Result<RecordBatch, UnpackError> {
        let mut records = RecordBatch::new();
        self.unpack_into(body, count, &mut records)?;
        Ok(records)
    }

    /// Unpacks a batch of `count` into the memory of another one, which is forgotten.
    ///
    /// # Errors
    /// As [`Unpacker::unpack`]; what `records` then holds is not said.
    ///
    /// # Contract
    /// As [`Unpacker::unpack`].
    pub fn unpack_into(&mut self, body: &Packed, count: u32, records: &mut RecordBatch) -> Result<(), UnpackError> {
        self.unpack_body(body, records)?;
        if records.len() != usize::try_from(count).unwrap_or(usize::MAX) {
            return Err(UnpackError::Count { announced: count, got: records.len() });
        }
        Ok(())
    }

    fn unpack_body(&mut self, body: &Packed, records: &mut RecordBatch) -> Result<(), UnpackError> {
        let refused = |source| UnpackError::Records { source };
        if !body.is_zstd {
            return records.decode_into(&body.bytes).map_err(refused);
        }
        let head = ZstdHead::parse(&body.bytes).map_err(|source| UnpackError::Head { source })?;
        if !head.is_window_fair() {
            return Err(UnpackError::Window { got: head.window_bytes, limit: 1 << WINDOW_LOG_MAX });
        }
        if head.content_bytes != Some(body.raw_len as u64) {
            return Err(UnpackError::Length { announced: body.raw_len, stated: head.content_bytes });
        }
        let mut raw = std::mem::take(&mut self.buffer);
        raw.clear();
        raw.reserve(body.raw_len);
        let count = self.decompressor.decompress_to_buffer(&body.bytes, &mut raw);
        let count = count.map_err(|source| UnpackError::Zstd { source })?;
        if count != body.raw_len {
            return Err(UnpackError::Length { announced: body.raw_len, stated: Some(count as u64) });
        }
        let decoded = records.decode_into(&raw).map_err(refused);
        if raw.capacity() <= KEPT_CAPACITY {
            self.buffer = raw;
        }
        decoded
    }
}

impl std::fmt::Debug for Packer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Packer").finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Unpacker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Unpacker").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
