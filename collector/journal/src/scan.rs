//! Walks one segment record by record, and finds the next good record behind a bad one.
//!
//! Comes in: a segment's file, and up to where its bytes are final. Goes out: records whose
//! checksum and place are right. Nothing is decided here about what a bad record means; that
//! depends on who asks ([`crate::recover`], [`crate::reader`]).

use std::io;

use crate::fs::FsFile;
use crate::lsn::Lsn;
use crate::record::{HEADER_BYTES, RecordHeader, Salt};
use crate::segment::{SEGMENT_HEADER_BYTES, read_full};
use crate::window::Window;

/// Most bytes that are checksummed in search of the next good record. Bytes made to look like
/// headers of long records could otherwise cost the square of the segment's length.
const SEARCH_BUDGET_BYTES: usize = 1 << 30;

/// How much is looked at a time in search of the last byte that is not zero.
const CHUNK_BYTES: usize = 256 << 10;

/// A good record of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) lsn: Lsn,
    pub(crate) kind: u8,
    /// The highest place that was surely on disk when it was written.
    pub(crate) durable_before: Lsn,
    body: u64,
    length: usize,
}

/// What stands at the walker's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// The record that belongs there; the walker has moved behind it.
    Record(Found),
    /// The end of the bytes, or zeroes.
    End,
    /// Something that is not the record that belongs there.
    Bad,
}

/// Walks a segment.
#[derive(Debug)]
pub(crate) struct SegmentScan<H> {
    file: H,
    salt: Salt,
    window: Window,
    /// Where the next record begins.
    pub(crate) offset: u64,
    /// Which record that is.
    pub(crate) expected: Lsn,
}

impl<H: FsFile> SegmentScan<H> {
    /// Returns a walker at the first record of a segment.
    pub(crate) fn new(file: H, salt: Salt, first: Lsn) -> Self {
        Self { file, salt, window: Window::default(), offset: SEGMENT_HEADER_BYTES, expected: first }
    }

    /// Looks at the next record, up to `limit`.
    pub(crate) fn step(&mut self, limit: u64) -> io::Result<Step> {
        let start = self.offset;
        let bytes = self.window.from(&self.file, start, HEADER_BYTES, limit)?;
        let head = bytes.get(..HEADER_BYTES).unwrap_or(bytes);
        let Some(header) = RecordHeader::parse(head) else {
            return Ok(if head.iter().all(|byte| *byte == 0) { Step::End } else { Step::Bad });
        };
        let bytes = self.window.from(&self.file, start, header.total(), limit)?;
        let Some(body) = bytes.get(HEADER_BYTES..header.total()) else {
            return Ok(Step::Bad);
        };
        if header.lsn != self.expected || !header.holds(self.salt, body) {
            return Ok(Step::Bad);
        }
        self.offset = start + header.total() as u64;
        self.expected = header.lsn.next();
        Ok(Step::Record(Found {
            lsn: header.lsn,
            kind: header.kind,
            durable_before: header.durable_before(),
            body: start + HEADER_BYTES as u64,
            length: header.length,
        }))
    }

    /// Returns the body of the record that the last step found.
    pub(crate) fn body(&self, found: &Found) -> &[u8] {
        self.window.slice(found.body, found.length)
    }

    /// Finds the first good record behind the walker's place that does not come before the one
    /// expected here, and moves to it.
    pub(crate) fn find_next(&mut self, limit: u64) -> io::Result<Option<Lsn>> {
        let rest = self.rest(limit)?;
        let highest = self.expected.0.saturating_add((rest.len() / HEADER_BYTES) as u64);
        let mut budget = SEARCH_BUDGET_BYTES;
        for at in 1..rest.len() {
            let bytes = rest.get(at..).unwrap_or_default();
            let Some(header) = RecordHeader::parse(bytes) else { continue };
            let Some(body) = bytes.get(HEADER_BYTES..header.total()) else { continue };
            if header.lsn < self.expected || header.lsn.0 > highest {
                continue;
            }
            let Some(left) = budget.checked_sub(body.len()) else { break };
            budget = left;
            if header.holds(self.salt, body) {
                self.offset += at as u64;
                self.expected = header.lsn;
                return Ok(Some(header.lsn));
            }
        }
        Ok(None)
    }

    /// Returns how many bytes there are from the walker's place to the last that is not zero.
    pub(crate) fn litter(&self, limit: u64) -> io::Result<u64> {
        let mut chunk = vec![0; CHUNK_BYTES];
        let (mut offset, mut litter) = (self.offset, 0);
        while offset < limit {
            let want = usize::try_from(limit - offset).unwrap_or(CHUNK_BYTES).min(CHUNK_BYTES);
            let count = read_full(&self.file, chunk.get_mut(..want).unwrap_or_default(), offset)?;
            let bytes = chunk.get(..count).unwrap_or_default();
            if let Some(last) = bytes.iter().rposition(|byte| *byte != 0) {
                litter = offset - self.offset + last as u64 + 1;
            }
            if count < want {
                break;
            }
            offset += count as u64;
        }
        Ok(litter)
    }

    fn rest(&self, limit: u64) -> io::Result<Vec<u8>> {
        let mut rest = vec![0; usize::try_from(limit.saturating_sub(self.offset)).unwrap_or(0)];
        let count = read_full(&self.file, &mut rest, self.offset)?;
        rest.truncate(count);
        Ok(rest)
    }

    /// Returns the file's length in bytes.
    pub(crate) fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    /// Gives the file back.
    pub(crate) fn into_file(self) -> H {
        self.file
    }
}
