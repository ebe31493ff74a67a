//! The frame of an event log file: its header, its chunks, and where records begin in them.
//!
//! Files from a machine that went down hard are the rule, not the exception: a record that is broken
//! is reported and the next one is searched for.

use memchr::memmem;

use crate::evtx::cursor::Cursor;
use crate::evtx::error::EvtxError;

/// Length of a file's header, unless it states another.
pub const EVTX_HEADER_BYTES: usize = 4_096;
/// Length of a chunk.
pub const EVTX_CHUNK_BYTES: usize = 65_536;
/// What a file begins with.
pub const EVTX_MAGIC: &[u8] = b"ElfFile\0";

const CHUNK_MAGIC: &[u8] = b"ElfChnk\0";
/// Where the records of a chunk begin: after its header and its tables of names and templates.
const RECORDS_START: usize = 512;
/// Where a chunk's header says where its free space begins.
const FREE_SPACE_AT: usize = 48;
/// Where a file's header says how long it is.
const HEADER_LENGTH_AT: usize = 40;
const RECORD_MAGIC: &[u8] = b"**\0\0";
/// Magic, length, number and time before a record's BinXML, and the length once more after it.
const RECORD_HEADER_BYTES: usize = 24;
const RECORD_FRAME_BYTES: usize = RECORD_HEADER_BYTES + 4;

/// A chunk: records with the names and templates they refer to.
#[derive(Clone, Copy, Debug)]
pub struct EvtxChunk<'a> {
    pub(super) bytes: &'a [u8],
    end: usize,
}

/// Where a record is, and what its frame says of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EvtxRecord {
    /// The number the machine gave it (`EventRecordID`).
    pub number: u64,
    pub(super) start: usize,
    pub(super) end: usize,
}

/// The records of a chunk, one after another.
#[derive(Clone, Debug)]
pub struct EvtxRecords<'a> {
    chunk: EvtxChunk<'a>,
    at: usize,
}

/// Returns where the chunks begin in a file, by the beginning of its header.
///
/// # Errors
/// [`EvtxError::File`] if it is no event log file.
pub fn evtx_chunks_start(header: &[u8]) -> Result<u64, EvtxError> {
    if !header.starts_with(EVTX_MAGIC) {
        return Err(EvtxError::File);
    }
    let stated = Cursor::new(header, HEADER_LENGTH_AT, header.len()).u16().unwrap_or(0);
    // A header shorter than its own fields is a broken one; all known files have 4 KiB.
    Ok(if usize::from(stated) < 128 { EVTX_HEADER_BYTES as u64 } else { u64::from(stated) })
}

impl<'a> EvtxChunk<'a> {
    /// Returns the chunk that these bytes are, or `None` if they were set aside and never written.
    ///
    /// # Errors
    /// [`EvtxError::Chunk`] if they are no chunk.
    pub fn parse(bytes: &'a [u8]) -> Result<Option<Self>, EvtxError> {
        let bytes = bytes.get(..EVTX_CHUNK_BYTES).unwrap_or(bytes);
        if !bytes.starts_with(CHUNK_MAGIC) {
            let is_unwritten = bytes.iter().take(RECORDS_START).all(|byte| *byte == 0);
            return if is_unwritten { Ok(None) } else { Err(EvtxError::Chunk) };
        }
        let free = Cursor::new(bytes, FREE_SPACE_AT, bytes.len()).place().unwrap_or(0);
        let end = if (RECORDS_START..=bytes.len()).contains(&free) { free } else { bytes.len() };
        Ok(Some(Self { bytes, end }))
    }

    /// Returns the records.
    pub fn records(self) -> EvtxRecords<'a> {
        EvtxRecords { chunk: self, at: RECORDS_START }
    }
}

impl EvtxRecords<'_> {
    fn read(&mut self) -> Result<EvtxRecord, EvtxError> {
        let (offset, end) = (self.at, self.chunk.end);
        let mut cursor = Cursor::new(self.chunk.bytes, offset, end);
        if cursor.take(RECORD_MAGIC.len()).map_err(|_| EvtxError::Record { offset })? != RECORD_MAGIC {
            return Err(EvtxError::Record { offset });
        }
        let bytes = cursor.place()?;
        if bytes < RECORD_FRAME_BYTES || bytes > end - offset {
            return Err(EvtxError::RecordLength { offset, bytes });
        }
        let number = cursor.u64()?;
        self.at = offset + bytes;
        Ok(EvtxRecord { number, start: offset + RECORD_HEADER_BYTES, end: offset + bytes - 4 })
    }

    /// Moves on to what looks like the next record.
    fn search_on(&mut self) {
        let from = self.at.saturating_add(RECORD_MAGIC.len());
        let rest = self.chunk.bytes.get(from..self.chunk.end).unwrap_or_default();
        self.at = memmem::find(rest, RECORD_MAGIC).map_or(self.chunk.end, |place| from + place);
    }
}

impl Iterator for EvtxRecords<'_> {
    type Item = Result<EvtxRecord, EvtxError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.at >= self.chunk.end {
            return None;
        }
        let rest = self.chunk.bytes.get(self.at..self.chunk.end).unwrap_or_default();
        // A chunk that was not closed in order does not say where its free space begins.
        if rest.iter().take(RECORD_FRAME_BYTES).all(|byte| *byte == 0) {
            self.at = self.chunk.end;
            return None;
        }
        let record = self.read();
        if record.is_err() {
            self.search_on();
        }
        Some(record)
    }
}
