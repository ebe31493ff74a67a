//! Walks one segment record by record, and finds the next good record behind a bad one.
//!
//! Comes in: a segment's bytes, and up to where they are final. Goes out: records whose
//! checksum and place are right. Nothing is decided here about what a bad record means; that
//! depends on who asks ([`crate::recover`], [`crate::reader`]).

use std::io;

use crate::content::Content;
use crate::fs::FsFile;
use crate::header::SEGMENT_HEADER_BYTES;
use crate::lsn::Lsn;
use crate::record::{HEADER_BYTES, RecordHeader, Salt};
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
    content: Content<H>,
    salt: Salt,
    window: Window,
    /// Where the next record begins.
    pub(crate) offset: u64,
    /// Which record that is.
    pub(crate) expected: Lsn,
}

impl<H: FsFile> SegmentScan<H> {
    /// Returns a walker at the first record of a segment.
    pub(crate) fn new(content: Content<H>, salt: Salt, first: Lsn) -> Self {
        Self { content, salt, window: Window::default(), offset: SEGMENT_HEADER_BYTES, expected: first }
    }

    /// Looks at the next record, up to `limit`.
    pub(crate) fn step(&mut self, limit: u64) -> io::Result<Step> {
        let start = self.offset;
        let bytes = self.window.from(&mut self.content, start, HEADER_BYTES, limit)?;
        let head = bytes.get(..HEADER_BYTES).unwrap_or(bytes);
        let Some(header) = RecordHeader::parse(head) else {
            return Ok(if head.iter().all(|byte| *byte == 0) { Step::End } else { Step::Bad });
        };
        let bytes = self.window.from(&mut self.content, start, header.total(), limit)?;
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

    /// Returns the whole of the record that the last step found, as it was written.
    pub(crate) fn record(&self, found: &Found) -> &[u8] {
        self.window.slice(found.body - HEADER_BYTES as u64, HEADER_BYTES + found.length)
    }

    /// Moves closer to a record that lies ahead, as far as that costs no reading.
    pub(crate) fn skip_towards(&mut self, lsn: Lsn) {
        if let Some((offset, expected)) = self.content.before(lsn).filter(|(offset, _)| *offset > self.offset) {
            (self.offset, self.expected) = (offset, expected);
        }
    }

    /// Finds the first good record behind the walker's place that does not come before the one
    /// expected here, and moves to it.
    pub(crate) fn find_next(&mut self, limit: u64) -> io::Result<Option<Lsn>> {
        let room = limit.saturating_sub(self.offset) / HEADER_BYTES as u64;
        let highest = self.expected.0.saturating_add(room);
        let (mut budget, mut at) = (SEARCH_BUDGET_BYTES, self.offset + 1);
        while let Some((start, header)) = self.next_header(at, limit, highest)? {
            at = start + 1;
            let bytes = self.window.from(&mut self.content, start, header.total(), limit)?;
            let Some(body) = bytes.get(HEADER_BYTES..header.total()) else { continue };
            let Some(left) = budget.checked_sub(body.len()) else { break };
            budget = left;
            if header.holds(self.salt, body) {
                (self.offset, self.expected) = (start, header.lsn);
                return Ok(Some(header.lsn));
            }
        }
        Ok(None)
    }

    /// Returns the first header from `at` on whose place can be right, and where it begins. The window
    /// moves with it, so a search takes no more memory than a walk.
    fn next_header(&mut self, at: u64, limit: u64, highest: u64) -> io::Result<Option<(u64, RecordHeader)>> {
        let mut at = at;
        loop {
            let bytes = self.window.from(&mut self.content, at, HEADER_BYTES, limit)?;
            for (ahead, header) in bytes.windows(HEADER_BYTES).enumerate() {
                let header = RecordHeader::parse(header);
                if let Some(header) = header.filter(|header| (self.expected.0..=highest).contains(&header.lsn.0)) {
                    return Ok(Some((at + ahead as u64, header)));
                }
            }
            if bytes.len() < HEADER_BYTES {
                return Ok(None);
            }
            at += (bytes.len() - HEADER_BYTES + 1) as u64;
        }
    }

    /// Returns how many bytes there are from the walker's place to the last that is not zero.
    pub(crate) fn litter(&mut self, limit: u64) -> io::Result<u64> {
        let mut chunk = vec![0; CHUNK_BYTES];
        let (mut offset, mut litter) = (self.offset, 0);
        while offset < limit {
            let want = usize::try_from(limit - offset).unwrap_or(CHUNK_BYTES).min(CHUNK_BYTES);
            let count = self.content.read_at(chunk.get_mut(..want).unwrap_or_default(), offset)?;
            let bytes = chunk.get(..count).unwrap_or_default();
            if let Some(last) = bytes.iter().rposition(|byte| *byte != 0) {
                litter = offset - self.offset + last as u64 + 1;
            }
            if count == 0 {
                break;
            }
            offset += count as u64;
        }
        Ok(litter)
    }

    /// Returns how many bytes the segment has.
    pub(crate) fn len(&self) -> io::Result<u64> {
        self.content.len()
    }

    /// Gives the segment's bytes back.
    pub(crate) fn into_content(self) -> Content<H> {
        self.content
    }
}
