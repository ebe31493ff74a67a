//! Buffered reads of one segment: a window of its bytes that moves forward.
//!
//! A record costs no system call of its own; the file is read a quarter of a megabyte at a time,
//! more only for a record that is longer. Bytes are read once and kept, so a reader must not ask
//! past what is known to be final (`limit`).

use std::io;

use crate::content::Content;
use crate::fs::FsFile;

/// How much is read at a time: enough to make the system calls vanish, small beside a cache.
const CHUNK_BYTES: usize = 256 << 10;

/// A window longer than this is given back once it is not needed.
const KEPT_BYTES: usize = 2 << 20;

/// A window of a segment's bytes.
#[derive(Debug, Default)]
pub(crate) struct Window {
    bytes: Vec<u8>,
    /// Where in the segment the window begins.
    base: u64,
    filled: usize,
}

impl Window {
    /// Makes the bytes from `offset` on available, at least `need` of them unless `limit` or the
    /// end comes first, and returns them all.
    pub(crate) fn from<H: FsFile>(
        &mut self,
        content: &mut Content<H>,
        offset: u64,
        need: usize,
        limit: u64,
    ) -> io::Result<&[u8]> {
        let have = self.available(offset);
        let room = usize::try_from(limit.saturating_sub(offset)).unwrap_or(usize::MAX);
        if have < need.min(room) {
            self.shift(offset, have);
            self.fill(content, need.max(CHUNK_BYTES).min(room))?;
        }
        let start = self.position(offset).unwrap_or(self.filled);
        let bytes = self.bytes.get(start..self.filled).unwrap_or_default();
        Ok(bytes.get(..room).unwrap_or(bytes))
    }

    /// Returns `len` bytes from `offset` that an earlier call made available.
    pub(crate) fn slice(&self, offset: u64, len: usize) -> &[u8] {
        let start = self.position(offset).unwrap_or(self.filled);
        self.bytes.get(start..start.saturating_add(len)).unwrap_or_default()
    }

    fn position(&self, offset: u64) -> Option<usize> {
        let start = usize::try_from(offset.checked_sub(self.base)?).ok()?;
        (start <= self.filled).then_some(start)
    }

    fn available(&self, offset: u64) -> usize {
        self.position(offset).map_or(0, |start| self.filled - start)
    }

    /// Moves the last `keep` bytes to the front; the window then begins at `offset`.
    fn shift(&mut self, offset: u64, keep: usize) {
        self.bytes.copy_within(self.filled - keep..self.filled, 0);
        self.filled = keep;
        self.base = offset;
    }

    fn fill<H: FsFile>(&mut self, content: &mut Content<H>, want: usize) -> io::Result<()> {
        if self.bytes.len() < want {
            self.bytes.resize(want, 0);
        } else if self.bytes.len() > KEPT_BYTES && want <= CHUNK_BYTES {
            // A long record has passed; its room is given back.
            self.bytes.truncate(want);
            self.bytes.shrink_to_fit();
        }
        while let Some(room) = self.bytes.get_mut(self.filled..want).filter(|room| !room.is_empty()) {
            match content.read_at(room, self.base + self.filled as u64)? {
                0 => break,
                count => self.filled += count,
            }
        }
        Ok(())
    }
}
