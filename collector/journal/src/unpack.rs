//! Reads a compressed segment as if it were as it was written, one block in memory at a time.
//!
//! A block that is not what was written reads as bytes that are no record: the walk over it
//! (`scan.rs`) then does what it does with any damage, and finds the next record behind it.

use std::fmt;
use std::io;

use crate::fs::FsFile;
use crate::lsn::Lsn;
use crate::packed::Index;
use crate::record::Salt;

/// Stands for bytes that are lost: no record's header begins like this, and it is not zero.
const LOST: u8 = 0xff;
/// Buffers longer than this are given back once they are not needed.
const KEPT_BYTES: usize = 2 << 20;

/// A compressed segment open for reading.
pub(crate) struct Unpacked<H> {
    file: H,
    salt: Salt,
    index: Index,
    /// The number of the block in `raw`.
    loaded: Option<usize>,
    raw: Vec<u8>,
    frame: Vec<u8>,
    decompressor: zstd::bulk::Decompressor<'static>,
}

impl<H: FsFile> Unpacked<H> {
    /// Opens a compressed segment.
    pub(crate) fn open(file: H, salt: Salt) -> io::Result<Self> {
        let (index, decompressor) = (Index::read(&file, salt)?, zstd::bulk::Decompressor::new()?);
        Ok(Self { file, salt, index, loaded: None, raw: Vec::new(), frame: Vec::new(), decompressor })
    }

    /// Reads some bytes at an offset of the segment as it was written; 0 means its end.
    pub(crate) fn read_at(&mut self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let Some(number) = self.index.block_at(offset) else { return Ok(0) };
        self.load(number)?;
        let begin = self.index.blocks.get(number).map_or(0, |block| block.offset);
        let from = usize::try_from(offset - begin).unwrap_or(usize::MAX);
        let bytes = self.raw.get(from..).unwrap_or_default();
        let count = bytes.len().min(buffer.len());
        if let Some((to, from)) = buffer.get_mut(..count).zip(bytes.get(..count)) {
            to.copy_from_slice(from);
        }
        Ok(count)
    }

    /// Returns how long the segment was as it was written.
    pub(crate) fn len(&self) -> u64 {
        self.index.end()
    }

    /// Returns where to begin reading to find a record: offset and place of a record before it.
    pub(crate) fn before(&self, lsn: Lsn) -> Option<(u64, Lsn)> {
        self.index.block_of(lsn).map(|block| (block.offset, block.first))
    }

    fn load(&mut self, number: usize) -> io::Result<()> {
        let Some(block) = self.index.blocks.get(number).filter(|_| self.loaded != Some(number)) else {
            return Ok(());
        };
        self.loaded = None;
        let raw_bytes = block.raw_bytes as usize;
        self.raw.clear();
        for buffer in [&mut self.raw, &mut self.frame] {
            buffer.shrink_to(KEPT_BYTES);
        }
        self.raw.reserve_exact(raw_bytes);
        // Unpacked in one go into what is reserved here: no window, whatever the frame asks for, and
        // no byte past the length that the index bounds.
        let is_whole = block.read_frame(&self.file, self.salt, &mut self.frame)?
            && self.decompressor.decompress_to_buffer(&self.frame, &mut self.raw).is_ok_and(|count| count == raw_bytes);
        if !is_whole {
            self.raw.clear();
            self.raw.resize(raw_bytes, LOST);
        }
        self.loaded = Some(number);
        Ok(())
    }
}

impl<H: fmt::Debug> fmt::Debug for Unpacked<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unpacked").field("file", &self.file).field("loaded", &self.loaded).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
