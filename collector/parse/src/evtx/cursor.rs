//! A place in a chunk that moves on as it is read and never leaves the bytes it was given.

use crate::evtx::error::EvtxError;

/// A place in a chunk, and where reading must stop.
#[derive(Clone, Debug)]
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
    end: usize,
}

impl<'a> Cursor<'a> {
    /// Returns a cursor over a part of a chunk; the part is cut to the chunk.
    pub(super) fn new(chunk: &'a [u8], start: usize, end: usize) -> Self {
        let end = end.min(chunk.len());
        Self { bytes: chunk, at: start.min(end), end }
    }

    /// Returns the place, from the start of the chunk.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// Returns whether nothing is left.
    pub(super) fn is_done(&self) -> bool {
        self.at >= self.end
    }

    /// Returns how many bytes are left.
    pub(super) fn rest(&self) -> usize {
        self.end - self.at
    }

    /// Takes some bytes.
    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], EvtxError> {
        let end = self.at.checked_add(count).filter(|end| *end <= self.end);
        let taken = end.and_then(|end| self.bytes.get(self.at..end)).ok_or(EvtxError::Cut { offset: self.at })?;
        self.at += count;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], EvtxError> {
        let offset = self.at;
        self.take(N)?.try_into().map_err(|_| EvtxError::Cut { offset })
    }

    pub(super) fn u8(&mut self) -> Result<u8, EvtxError> {
        self.array::<1>().map(u8::from_le_bytes)
    }

    pub(super) fn u16(&mut self) -> Result<u16, EvtxError> {
        self.array().map(u16::from_le_bytes)
    }

    /// Takes a length or a place.
    pub(super) fn place(&mut self) -> Result<usize, EvtxError> {
        let offset = self.at;
        let number = self.array().map(u32::from_le_bytes)?;
        usize::try_from(number).map_err(|_| EvtxError::Cut { offset })
    }

    pub(super) fn u64(&mut self) -> Result<u64, EvtxError> {
        self.array().map(u64::from_le_bytes)
    }

    /// Takes UTF-16 text that begins with the number of its units.
    pub(super) fn counted_text(&mut self) -> Result<&'a [u8], EvtxError> {
        let units = self.u16()?;
        self.take(usize::from(units) * 2)
    }
}
