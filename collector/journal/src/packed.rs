//! The format of a compressed segment.
//!
//! ```text
//! header 64 (header.rs, version 2)
//! block:   "CBLK" │ crc32c u32 │ frame bytes u32 │ raw bytes u32 │ first lsn u64 │ zstd frame
//! ...                                                                24 bytes ┘
//! index:   for each block: frame bytes u32 │ raw bytes u32 │ first lsn u64
//! seal 48: "CANHSEAL" │ crc32c u32 │ blocks u32 │ last lsn u64 │ length as written u64
//!          │ begun u64 │ last sync u64                             both in ns since 1970
//! ```
//!
//! A block holds whole records, as they were written, header and checksum included; blocks in order
//! are the segment as it was written, from behind its header on. So a place in the written segment,
//! a damaged record and its borders mean the same in either form, and the same walk reads both.
//!
//! Every block is a frame of its own: a place is found by the index and one frame is unpacked. A
//! block's checksum covers its fields and its frame, the seal's covers the index; both begin with the
//! journal's uuid, as a record's does. If the seal is damaged, the blocks are walked instead.
//!
//! Bounds are held before anything is unpacked: no block is longer than the longest record, or its
//! frame than zstd makes of that, and there are at most [`MAX_BLOCKS`].

use std::io;
use std::time::SystemTime;

use crate::fs::{FsFile, read_full};
use crate::header::SEGMENT_HEADER_BYTES;
use crate::info::{time_from_nanos, time_to_nanos};
use crate::lsn::Lsn;
use crate::record::{HEADER_BYTES, MAX_BODY_BYTES, Salt};

/// Bytes of records that make a block; a longer record has one to itself. Larger ones shorten logs
/// by a few per cent more and make every seek unpack more.
pub(crate) const BLOCK_BYTES: usize = 256 << 10;
/// Most blocks of a segment: sixteen times what the longest segment (1 GiB) needs, and few enough
/// for an index that fits in memory.
pub(crate) const MAX_BLOCKS: usize = 1 << 16;
/// Most bytes of a block once unpacked.
pub(crate) const MAX_RAW_BYTES: usize = HEADER_BYTES + MAX_BODY_BYTES;
/// Most bytes of a frame: what zstd makes of the longest block if it cannot shorten it.
const MAX_FRAME_BYTES: usize = MAX_RAW_BYTES + (MAX_RAW_BYTES >> 8) + 64;

const BLOCK_MAGIC: &[u8; 4] = b"CBLK";
const BLOCK_HEAD_BYTES: usize = 24;
const ENTRY_BYTES: usize = 16;
const SEAL_MAGIC: &[u8; 8] = b"CANHSEAL";
const SEAL_BYTES: usize = 48;

/// One block: where it is in the file, and what it stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Block {
    /// Where its head begins in the file.
    at: u64,
    frame_bytes: u32,
    pub(crate) raw_bytes: u32,
    /// The place of its first record.
    pub(crate) first: Lsn,
    /// Where its bytes began in the segment as it was written.
    pub(crate) offset: u64,
}

/// What a compressed segment's end says of the whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seal {
    pub(crate) last: Lsn,
    pub(crate) since: Option<SystemTime>,
    pub(crate) until: Option<SystemTime>,
}

/// The blocks of a compressed segment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Index {
    pub(crate) blocks: Vec<Block>,
    /// Nothing if the end of the file is damaged and the blocks were walked.
    pub(crate) seal: Option<Seal>,
}

impl Index {
    /// Returns how long the segment was as it was written.
    pub(crate) fn end(&self) -> u64 {
        self.blocks.last().map_or(SEGMENT_HEADER_BYTES, Block::end)
    }

    /// Returns where in the file the next block goes.
    fn file_end(&self) -> u64 {
        self.blocks.last().map_or(SEGMENT_HEADER_BYTES, |block| block.frame_at() + u64::from(block.frame_bytes))
    }

    /// Returns the number of the block that holds a place in the segment as it was written.
    pub(crate) fn block_at(&self, offset: u64) -> Option<usize> {
        let number = self.blocks.partition_point(|block| block.offset <= offset).checked_sub(1)?;
        self.blocks.get(number).filter(|block| offset < block.end()).map(|_| number)
    }

    /// Returns the last block that does not begin behind a record.
    pub(crate) fn block_of(&self, lsn: Lsn) -> Option<&Block> {
        let number = self.blocks.partition_point(|block| block.first <= lsn).checked_sub(1)?;
        self.blocks.get(number)
    }

    /// Adds a block; false if its lengths or its place cannot be right.
    #[must_use]
    pub(crate) fn push(&mut self, frame_bytes: u32, raw_bytes: u32, first: Lsn) -> bool {
        let is_fair = (HEADER_BYTES..=MAX_RAW_BYTES).contains(&(raw_bytes as usize))
            && (1..=MAX_FRAME_BYTES).contains(&(frame_bytes as usize))
            && self.blocks.last().map_or(Lsn::ZERO, |block| block.first) < first
            && self.blocks.len() < MAX_BLOCKS;
        if is_fair {
            self.blocks.push(Block { at: self.file_end(), frame_bytes, raw_bytes, first, offset: self.end() });
        }
        is_fair
    }

    /// Returns the index and the seal as bytes.
    pub(crate) fn encode(&self, salt: Salt, seal: &Seal) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.blocks.len() * ENTRY_BYTES + SEAL_BYTES);
        for block in &self.blocks {
            bytes.extend_from_slice(&block.fields());
        }
        let mut fields = u32::try_from(self.blocks.len()).unwrap_or(u32::MAX).to_le_bytes().to_vec();
        for number in [seal.last.0, self.end(), time_to_nanos(seal.since), time_to_nanos(seal.until)] {
            fields.extend_from_slice(&number.to_le_bytes());
        }
        let crc = salt.checksum(&[&bytes, &fields]);
        bytes.extend_from_slice(SEAL_MAGIC);
        bytes.extend_from_slice(&crc.to_le_bytes());
        bytes.extend_from_slice(&fields);
        bytes
    }

    /// Reads the index of a compressed segment: by its seal, or by walking the blocks as far as they
    /// are whole.
    pub(crate) fn read<H: FsFile>(file: &H, salt: Salt) -> io::Result<Self> {
        let len = file.len()?;
        match Self::read_sealed(file, salt, len)? {
            Some(index) => Ok(index),
            None => Self::walk(file, salt, len),
        }
    }

    fn read_sealed<H: FsFile>(file: &H, salt: Salt, len: u64) -> io::Result<Option<Self>> {
        let mut seal = [0; SEAL_BYTES];
        let Some(seal_at) = len.checked_sub(SEAL_BYTES as u64) else { return Ok(None) };
        read_full(file, &mut seal, seal_at)?;
        let Some(rest) = seal.strip_prefix(SEAL_MAGIC) else { return Ok(None) };
        let Some((crc, fields)) = rest.split_first_chunk::<4>() else { return Ok(None) };
        let Some((count, _)) = fields.split_first_chunk::<4>() else { return Ok(None) };
        let count = u32::from_le_bytes(*count) as usize;
        let Some(entries_at) = seal_at.checked_sub((count * ENTRY_BYTES) as u64).filter(|_| count <= MAX_BLOCKS) else {
            return Ok(None);
        };
        let mut entries = vec![0; count * ENTRY_BYTES];
        read_full(file, &mut entries, entries_at)?;
        if salt.checksum(&[&entries, fields]) != u32::from_le_bytes(*crc) {
            return Ok(None);
        }
        Ok(Self::decode(&entries, fields).filter(|index| index.file_end() == entries_at))
    }

    /// Takes an index and a seal apart whose checksum is right.
    fn decode(entries: &[u8], fields: &[u8]) -> Option<Self> {
        let mut index = Self::default();
        for entry in entries.chunks_exact(ENTRY_BYTES) {
            let (frame_bytes, raw_bytes, first) = entry_of(entry)?;
            index.push(frame_bytes, raw_bytes, first).then_some(())?;
        }
        let (_, rest) = fields.split_first_chunk::<4>()?;
        let (numbers, _) = rest.as_chunks::<8>();
        let [last, end, since, until] = <[[u8; 8]; 4]>::try_from(numbers).ok()?.map(u64::from_le_bytes);
        index.seal = Some(Seal { last: Lsn(last), since: time_from_nanos(since), until: time_from_nanos(until) });
        (end == index.end()).then_some(index)
    }

    fn walk<H: FsFile>(file: &H, salt: Salt, len: u64) -> io::Result<Self> {
        let (mut index, mut frame) = (Self::default(), Vec::new());
        loop {
            let mut head = [0; BLOCK_HEAD_BYTES];
            let at = index.file_end();
            read_full(file, &mut head, at)?;
            let Some((frame_bytes, raw_bytes, first)) = head.get(8..).and_then(entry_of) else { break };
            let is_inside = at + BLOCK_HEAD_BYTES as u64 + u64::from(frame_bytes) <= len;
            if !is_inside || !index.push(frame_bytes, raw_bytes, first) {
                break;
            }
            let Some(block) = index.blocks.last() else { break };
            if !block.read_frame(file, salt, &mut frame)? {
                index.blocks.pop();
                break;
            }
        }
        Ok(index)
    }
}

/// Reads what stands of a block in its head and in the index.
fn entry_of(bytes: &[u8]) -> Option<(u32, u32, Lsn)> {
    let (frame_bytes, rest) = bytes.split_first_chunk::<4>()?;
    let (raw_bytes, first) = rest.split_first_chunk::<4>()?;
    let first = Lsn(u64::from_le_bytes(first.try_into().ok()?));
    Some((u32::from_le_bytes(*frame_bytes), u32::from_le_bytes(*raw_bytes), first))
}

impl Block {
    fn end(&self) -> u64 {
        self.offset + u64::from(self.raw_bytes)
    }

    fn frame_at(&self) -> u64 {
        self.at + BLOCK_HEAD_BYTES as u64
    }

    fn fields(&self) -> [u8; ENTRY_BYTES] {
        let mut fields = [0; ENTRY_BYTES];
        let (lengths, first) = fields.split_at_mut(8);
        let (frame_bytes, raw_bytes) = lengths.split_at_mut(4);
        frame_bytes.copy_from_slice(&self.frame_bytes.to_le_bytes());
        raw_bytes.copy_from_slice(&self.raw_bytes.to_le_bytes());
        first.copy_from_slice(&self.first.0.to_le_bytes());
        fields
    }

    /// Returns the block's head, for its frame.
    pub(crate) fn head(&self, salt: Salt, frame: &[u8]) -> Vec<u8> {
        let fields = self.fields();
        [BLOCK_MAGIC.as_slice(), &salt.checksum(&[&fields, frame]).to_le_bytes(), &fields].concat()
    }

    /// Reads the block's frame and says whether it is what was written.
    pub(crate) fn read_frame<H: FsFile>(&self, file: &H, salt: Salt, frame: &mut Vec<u8>) -> io::Result<bool> {
        let mut head = [0; BLOCK_HEAD_BYTES];
        frame.resize(self.frame_bytes as usize, 0);
        let count = read_full(file, &mut head, self.at)? + read_full(file, frame, self.frame_at())?;
        Ok(count == BLOCK_HEAD_BYTES + frame.len() && head.as_slice() == self.head(salt, frame))
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    fn index() -> Index {
        let mut index = Index::default();
        for (frame_bytes, raw_bytes, first) in [(100, 2_000, 7), (1, 24, 9), (50, 300, 10)] {
            assert!(index.push(frame_bytes, raw_bytes, Lsn(first)));
        }
        index
    }

    #[test]
    fn blocks_follow_each_other_in_both_forms() {
        let index = index();
        let places: Vec<_> = index.blocks.iter().map(|block| (block.at, block.offset)).collect();
        assert_eq!(places, [(64, 64), (188, 2_064), (213, 2_088)]);
        assert_eq!((index.file_end(), index.end()), (287, 2_388));
        for (offset, number) in [(64, Some(0)), (2_063, Some(0)), (2_064, Some(1)), (2_387, Some(2)), (2_388, None)] {
            assert_eq!(index.block_at(offset), number, "{offset}");
        }
        assert_eq!(index.block_at(3), None, "the header is in no block");
        for (lsn, first) in [(7, 7), (8, 7), (9, 9), (10, 10), (99, 10)] {
            assert_eq!(index.block_of(Lsn(lsn)).map(|block| block.first), Some(Lsn(first)));
        }
        assert_eq!(index.block_of(Lsn(6)), None);
    }

    #[test]
    fn block_that_cannot_be_is_refused() {
        let longest = u32::try_from(MAX_RAW_BYTES).unwrap();
        let frame = u32::try_from(MAX_FRAME_BYTES).unwrap();
        for (frame_bytes, raw_bytes, first) in [
            (0, 300, 11),
            (10, 23, 11),
            (10, longest + 1, 11),
            (frame + 1, 300, 11),
            (10, 300, 10),
            (u32::MAX, u32::MAX, 11),
        ] {
            assert!(!index().push(frame_bytes, raw_bytes, Lsn(first)), "{frame_bytes} {raw_bytes} {first}");
        }
        assert!(index().push(frame, longest, Lsn(11)));
        assert!(zstd::zstd_safe::compress_bound(MAX_RAW_BYTES) <= MAX_FRAME_BYTES);
    }

    #[test]
    fn index_comes_back_as_it_was_and_any_flipped_byte_is_seen() {
        let (salt, times) = (Salt::new(&[3; 16]), [5, 9].map(|secs| Some(UNIX_EPOCH + Duration::from_secs(secs))));
        let [since, until] = times;
        let bytes = index().encode(salt, &Seal { last: Lsn(12), since, until });
        let decode = |bytes: &[u8]| {
            let (entries, seal) = bytes.split_at(3 * ENTRY_BYTES);
            let rest = seal.strip_prefix(SEAL_MAGIC)?;
            let (crc, fields) = rest.split_first_chunk::<4>()?;
            (salt.checksum(&[entries, fields]) == u32::from_le_bytes(*crc)).then_some(())?;
            Index::decode(entries, fields)
        };
        let read = decode(&bytes).unwrap();
        assert_eq!(read.blocks, index().blocks);
        assert_eq!(read.seal, Some(Seal { last: Lsn(12), since, until }));
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 0x20;
            assert_eq!(decode(&changed), None, "byte {at}");
        }
    }
}
