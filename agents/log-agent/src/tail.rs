//! One file's reading: from an offset to whole lines, and what to do when the file is no longer the
//! one that was read before.
//!
//! Comes in: the content of a file and its size. Goes out: each line once, in order, to a [`Sink`].
//!
//! ```text
//!   0            offset-64    offset        scanned        size
//!   ├──── head ───┼── before ──┼─ held part ──┼──── new ────┤
//! ```
//!
//! * Everything before `offset` has been handed over. From there to `scanned` is the beginning of a
//!   line whose end has not been written yet: it stays in the file and is read again with its end,
//!   so that thousands of files cost no memory.
//! * The bytes just before the offset are read again with each new run. If they are others, or the
//!   file has become shorter than the offset, it was truncated (copytruncate) and maybe written
//!   anew: reading starts over, and that is counted. A file that was written and has its old length is
//!   polled for that alone.
//! * A line longer than [`MAX_RECORD_BYTES`] is handed over cut, and its rest is skipped.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use canh_event::MAX_RECORD_BYTES;

use crate::position::{FileId, Position, Print};

/// Bytes before the offset that are compared with each run.
const OVERLAP_BYTES: usize = 64;

/// First bytes of a file that tell it from others.
const HEAD_BYTES: usize = 256;

/// Bytes read at a time while lines are of ordinary length.
pub(crate) const SMALL_BUFFER_BYTES: usize = 64 << 10;

/// Bytes read at a time at most: the overlap, the longest line and its end.
const LARGE_BUFFER_BYTES: usize = OVERLAP_BYTES + MAX_RECORD_BYTES + 1;

/// The bytes of a file.
pub(crate) trait Content {
    /// Reads at an offset, as pread(2) does: fewer bytes than asked for are no error.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;
}

/// Where lines go.
pub(crate) trait Sink {
    /// Takes a line without its end, or says that there is no room for it now.
    fn take(&mut self, line: &[u8], is_cut: bool) -> bool;
}

/// What one poll did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Polled {
    /// Bytes the offset moved over.
    pub(crate) consumed: u64,
    /// Bytes of over-long lines that were skipped.
    pub(crate) skipped: u64,
    /// How often the file was found to be another one than before.
    pub(crate) truncations: u64,
    /// Whether the sink had no room; the file is to be polled again.
    pub(crate) is_full: bool,
}

/// How far a file has been read.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tail {
    offset: u64,
    scanned: u64,
    is_skipping: bool,
    head: Print,
    before: Vec<u8>,
}

enum Step {
    More,
    Stop,
}

impl Content for File {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        FileExt::read_at(self, buffer, offset)
    }
}

impl Tail {
    /// Returns a tail at a position, if the file still is the one the position was taken of.
    pub(crate) fn resume(position: &Position, content: &impl Content) -> io::Result<Option<Self>> {
        let head = read_run(content, 0, usize::from(position.head.length))?;
        let length = usize::from(position.before.length);
        let before = read_run(content, position.offset.saturating_sub(length as u64), length)?;
        if Print::of(&head) != position.head || Print::of(&before) != position.before {
            return Ok(None);
        }
        let Position { offset, is_skipping, head, .. } = *position;
        Ok(Some(Self { offset, scanned: offset, is_skipping, head, before }))
    }

    /// Returns a tail that gives only what is written after now; a line that has begun is skipped.
    pub(crate) fn at_end(content: &impl Content, size: u64) -> io::Result<Self> {
        let length = usize::try_from(size).unwrap_or(usize::MAX).min(OVERLAP_BYTES);
        let before = read_run(content, size - length as u64, length)?;
        let is_skipping = before.last().is_some_and(|byte| *byte != b'\n');
        let mut tail = Self { offset: size, scanned: size, is_skipping, head: Print::default(), before };
        tail.refresh_head(content)?;
        Ok(tail)
    }

    /// Returns the position to resume from; the file's times are the caller's to add.
    pub(crate) fn position(&self, file: FileId) -> Position {
        let (head, before) = (self.head, Print::of(&self.before));
        let (offset, is_skipping) = (self.offset, self.is_skipping);
        Position { offset, is_skipping, head, before, ..Position::start(file) }
    }

    /// Returns up to where the file has been looked at: a file of this size has nothing new.
    pub(crate) fn end(&self) -> u64 {
        self.scanned
    }

    /// Hands over the whole lines up to `size`, which is the file's size or less.
    pub(crate) fn poll(
        &mut self,
        content: &impl Content,
        size: u64,
        buffer: &mut Vec<u8>,
        sink: &mut impl Sink,
    ) -> io::Result<Polled> {
        let mut polled = Polled::default();
        if size < self.offset {
            self.restart(&mut polled);
        } else if size < self.scanned {
            // Part of the held line was taken back; what is left is looked at again.
            self.scanned = self.offset;
        } else if size == self.scanned && !self.holds(content)? {
            self.restart(&mut polled);
        }
        while size > self.scanned {
            match self.step(content, size, buffer, sink, &mut polled)? {
                Step::More => {}
                Step::Stop => break,
            }
        }
        self.refresh_head(content)?;
        Ok(polled)
    }

    /// Hands over a last line that has no end, because nobody will write it any more. Returns false
    /// if the sink had no room.
    pub(crate) fn finish(&mut self, content: &impl Content, sink: &mut impl Sink) -> io::Result<bool> {
        let length = usize::try_from(self.scanned - self.offset).unwrap_or(0);
        if length == 0 || self.is_skipping {
            return Ok(true);
        }
        let rest = read_run(content, self.offset, length)?;
        if !rest.is_empty() && !sink.take(&rest, false) {
            return Ok(false);
        }
        self.advance(&rest, rest.len());
        Ok(true)
    }

    fn step(
        &mut self,
        content: &impl Content,
        size: u64,
        buffer: &mut Vec<u8>,
        sink: &mut impl Sink,
        polled: &mut Polled,
    ) -> io::Result<Step> {
        let overlap = self.before.len();
        let start = self.offset - overlap as u64;
        if buffer.len() < SMALL_BUFFER_BYTES {
            buffer.resize(SMALL_BUFFER_BYTES, 0);
        }
        let capacity = buffer.len();
        let wanted = usize::try_from(size - start).unwrap_or(usize::MAX).min(capacity);
        let read = fill(content, start, buffer.get_mut(..wanted).unwrap_or_default())?;
        let run = buffer.get(..read).unwrap_or_default();
        let data = match run.split_at_checked(overlap) {
            Some((again, data)) if again == self.before => data,
            _ => {
                self.restart(polled);
                return Ok(Step::More);
            }
        };
        let mut consumed = self.take_lines(data, sink, polled);
        if consumed == 0 && !polled.is_full && data.len() > MAX_RECORD_BYTES {
            consumed = self.cut(data, sink, polled);
        }
        polled.consumed += consumed as u64;
        let is_at_end = start + read as u64 >= size || read < wanted;
        let seen = start + read as u64;
        self.advance(run.get(..overlap + consumed).unwrap_or_default(), consumed);
        if polled.is_full {
            return Ok(Step::Stop);
        }
        if is_at_end {
            self.scanned = self.scanned.max(seen);
            return Ok(Step::Stop);
        }
        if consumed == 0 {
            buffer.resize((capacity * 2).min(LARGE_BUFFER_BYTES), 0);
        }
        Ok(Step::More)
    }

    /// Hands over the whole lines of `data` and returns how many bytes they are.
    fn take_lines(&mut self, data: &[u8], sink: &mut impl Sink, polled: &mut Polled) -> usize {
        let mut start = 0;
        for end in memchr::memchr_iter(b'\n', data) {
            let line = data.get(start..end).unwrap_or_default();
            if self.is_skipping {
                self.is_skipping = false;
                polled.skipped += line.len() as u64;
            } else if !take_bounded(line, sink) {
                polled.is_full = true;
                return start;
            }
            start = end + 1;
        }
        if self.is_skipping {
            polled.skipped += (data.len() - start) as u64;
            start = data.len();
        }
        start
    }

    /// Hands over the beginning of a line that is too long, though its end has not been seen.
    fn cut(&mut self, data: &[u8], sink: &mut impl Sink, polled: &mut Polled) -> usize {
        if sink.take(data.get(..MAX_RECORD_BYTES).unwrap_or(data), true) {
            self.is_skipping = true;
            MAX_RECORD_BYTES
        } else {
            polled.is_full = true;
            0
        }
    }

    /// Moves the offset over `consumed` bytes; `run` is what was read up to there.
    fn advance(&mut self, run: &[u8], consumed: usize) {
        if consumed == 0 {
            return;
        }
        let kept = run.get(run.len().saturating_sub(OVERLAP_BYTES)..).unwrap_or_default();
        self.before.clear();
        self.before.extend_from_slice(kept);
        self.offset += consumed as u64;
        self.scanned = self.scanned.max(self.offset);
    }

    /// Whether the bytes before the offset are still those that were read.
    fn holds(&self, content: &impl Content) -> io::Result<bool> {
        let length = self.before.len();
        Ok(read_run(content, self.offset - length as u64, length)? == self.before)
    }

    fn restart(&mut self, polled: &mut Polled) {
        *self = Self::default();
        polled.truncations += 1;
    }

    fn refresh_head(&mut self, content: &impl Content) -> io::Result<()> {
        let length = usize::try_from(self.offset).unwrap_or(usize::MAX).min(HEAD_BYTES);
        if length > usize::from(self.head.length) {
            self.head = Print::of(&read_run(content, 0, length)?);
        }
        Ok(())
    }
}

fn take_bounded(line: &[u8], sink: &mut impl Sink) -> bool {
    match line.get(..MAX_RECORD_BYTES) {
        Some(kept) if line.len() > MAX_RECORD_BYTES => sink.take(kept, true),
        _ => sink.take(line, false),
    }
}

fn read_run(content: &impl Content, offset: u64, length: usize) -> io::Result<Vec<u8>> {
    let mut run = vec![0; length];
    let read = fill(content, offset, &mut run)?;
    run.truncate(read);
    Ok(run)
}

/// Reads until the buffer is full or the file ends.
fn fill(content: &impl Content, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
    let mut done = 0;
    while let Some(rest) = buffer.get_mut(done..).filter(|rest| !rest.is_empty()) {
        match content.read_at(offset + done as u64, rest) {
            Ok(0) => break,
            Ok(count) => done += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

#[cfg(test)]
mod tests;
