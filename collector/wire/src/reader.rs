//! Bytes in, frames out, however the bytes are split.
//!
//! The reader holds at most one frame that is not complete and what was read behind it. A header
//! is checked before its body is waited for, so a lie about a length costs 24 bytes. After an
//! error nothing more is read: where the next frame begins is no longer known.

use crate::decode::decode_body;
use crate::frame::Frame;
use crate::head::{FrameError, FrameHead, checksum};
use crate::limits::FRAME_HEAD_BYTES;

/// How much is read at once while no long frame is under way: small, because it is what each of
/// thousands of quiet connections keeps.
const READ_STEP: usize = 2 << 10;
/// A buffer longer than this is given back once it is empty.
const KEPT_CAPACITY: usize = 4 << 10;

/// Takes bytes as they come and gives frames as they are complete.
#[derive(Debug, Default)]
pub struct FrameReader {
    buffer: Vec<u8>,
    /// Bytes before this are used up.
    start: usize,
    /// Bytes from this on are room for the next read, not read yet.
    end: usize,
    head: Option<FrameHead>,
    settled: Option<u8>,
    failed: Option<FrameError>,
}

impl FrameReader {
    /// Returns a reader at the start of a connection.
    pub fn new() -> Self {
        Self::default()
    }

    /// Accepts only frames of this version from now on: the one a WELCOME has settled on.
    pub fn settle(&mut self, version: u8) {
        self.settled = Some(version);
    }

    /// Returns the room for the next read; say with [`FrameReader::filled`] how much was read
    /// into it. Never empty.
    pub fn room(&mut self) -> &mut [u8] {
        self.tidy();
        let wanted = self.missing().max(READ_STEP);
        let target = self.end + wanted;
        if self.buffer.len() < target {
            self.buffer.resize(target, 0);
        }
        self.buffer.get_mut(self.end..).unwrap_or_default()
    }

    /// Says that the first `count` bytes of the room have been read into.
    ///
    /// # Contract
    /// `count` is at most the length of the room.
    pub fn filled(&mut self, count: usize) {
        debug_assert!(self.end + count <= self.buffer.len(), "more was filled than there was room");
        self.end = (self.end + count).min(self.buffer.len());
    }

    /// Appends bytes that were read elsewhere.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.tidy();
        self.buffer.truncate(self.end);
        self.buffer.extend_from_slice(bytes);
        self.end = self.buffer.len();
    }

    /// Returns the next complete frame; `None` if more bytes are needed.
    ///
    /// # Errors
    /// [`FrameError`], and the same one ever after.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, FrameError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let result = self.advance();
        if let Err(error) = &result {
            self.failed = Some(error.clone());
            self.buffer = Vec::new();
            (self.start, self.end, self.head) = (0, 0, None);
        }
        result
    }

    /// Returns the header of the frame whose body is not complete yet, as of the last
    /// [`FrameReader::next_frame`]: what to set memory aside for before reading on.
    pub fn under_way(&self) -> Option<&FrameHead> {
        self.head.as_ref()
    }

    /// Returns whether a frame has begun that is not complete.
    pub fn has_begun(&self) -> bool {
        self.start < self.end
    }

    fn unread(&self) -> &[u8] {
        self.buffer.get(self.start..self.end).unwrap_or_default()
    }

    fn missing(&self) -> usize {
        let needed = FRAME_HEAD_BYTES + self.head.map_or(0, |head| head.body_bytes);
        needed.saturating_sub(self.end - self.start)
    }

    fn advance(&mut self) -> Result<Option<Frame>, FrameError> {
        let head = match self.head {
            Some(head) => head,
            None => {
                let Some(bytes) = self.unread().get(..FRAME_HEAD_BYTES) else { return Ok(None) };
                let head = FrameHead::parse(bytes, self.settled)?;
                self.head = Some(head);
                head
            }
        };
        let length = FRAME_HEAD_BYTES + head.body_bytes;
        let Some(frame) = self.unread().get(..length) else { return Ok(None) };
        let (head_bytes, body) = frame.split_at_checked(FRAME_HEAD_BYTES).unwrap_or_default();
        if checksum(head_bytes, body) != head.checksum {
            return Err(FrameError::Checksum { kind: head.kind });
        }
        let frame = decode_body(&head, body).map_err(|source| FrameError::Body { kind: head.kind, source })?;
        self.start += length;
        self.head = None;
        Ok(Some(frame))
    }

    /// Moves what is unread to the front, and gives a long buffer back once it is empty.
    fn tidy(&mut self) {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
            if self.buffer.capacity() > KEPT_CAPACITY && self.head.is_none() {
                self.buffer = Vec::new();
            }
        } else if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
    }
}

#[cfg(test)]
mod tests;
