//! A part of a plain file, read by the judge who judges it: nothing is copied from one processor to
//! another, and nobody but the judges has work to do.
//!
//! ```text
//! file   aaaaaa\nbbbbbbbbbbbb\ncc\ndddddddddddddddd\n
//! spans  |         |         |         |         |
//! lines   a, b      c, d                          (none begins in the third)
//! ```
//! A span's lines are those that begin in it; the last one is read to its end, up to
//! [`MAX_LINE_BYTES`].

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

/// Longest line that is read; a longer one is refused.
pub(super) const MAX_LINE_BYTES: usize = 1 << 20;
/// Bytes read at a time to find the end of a span's last line.
const TAIL_BYTES: usize = 16 << 10;

/// A part of a file.
#[derive(Clone, Debug)]
pub(super) struct Span {
    pub(super) file: Arc<File>,
    pub(super) start: u64,
    pub(super) end: u64,
}

/// The lines of a span in a buffer.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct SpanLines {
    /// Where they are.
    pub(super) place: Range<usize>,
    /// Whether one more begins that is too long to be kept.
    pub(super) ends_too_long: bool,
}

impl Span {
    /// Reads the span's lines into a buffer. A file that has become shorter ends where it ends.
    pub(super) fn read(&self, bytes: &mut Vec<u8>) -> io::Result<SpanLines> {
        // The byte before says whether a line begins with the span.
        let from = self.start.saturating_sub(1);
        bytes.clear();
        self.append(bytes, from, usize::try_from(self.end - from).unwrap_or(usize::MAX))?;
        let Some(begin) = self.first_line(bytes) else {
            return Ok(SpanLines { place: 0..0, ends_too_long: false });
        };
        let last = begin + bytes.get(begin..).and_then(last_line).unwrap_or(0);
        let mut searched = bytes.len();
        while !bytes.ends_with(b"\n") || searched < bytes.len() {
            let found = bytes.get(searched..).and_then(|tail| memchr::memchr(b'\n', tail));
            if let Some(found) = found {
                bytes.truncate(searched + found + 1);
                break;
            }
            if bytes.len() - last > MAX_LINE_BYTES {
                return Ok(SpanLines { place: begin..last, ends_too_long: true });
            }
            searched = bytes.len();
            if self.append(bytes, from + searched as u64, TAIL_BYTES)? == 0 {
                break;
            }
        }
        Ok(SpanLines { place: begin..bytes.len(), ends_too_long: false })
    }

    /// Returns where the first line begins, if one does.
    fn first_line(&self, bytes: &[u8]) -> Option<usize> {
        if self.start == 0 {
            return Some(0);
        }
        let (_, before_last) = bytes.split_last()?;
        memchr::memchr(b'\n', before_last).map(|end| end + 1)
    }

    /// Appends up to `count` bytes from a place on; returns how many there were.
    fn append(&self, bytes: &mut Vec<u8>, from: u64, count: usize) -> io::Result<usize> {
        let before = bytes.len();
        bytes.resize(before + count, 0);
        let mut filled = before;
        while filled < bytes.len() {
            let place = from + (filled - before) as u64;
            match self.file.read_at(bytes.get_mut(filled..).unwrap_or_default(), place) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    bytes.truncate(before);
                    return Err(error);
                }
            }
        }
        bytes.truncate(filled);
        Ok(filled - before)
    }
}

/// Returns where the last line of some bytes begins.
fn last_line(bytes: &[u8]) -> Option<usize> {
    let (_, before_last) = bytes.split_last()?;
    memchr::memrchr(b'\n', before_last).map(|end| end + 1)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use proptest::prelude::*;

    use super::*;

    /// Returns each line that the spans of a file have, `None` for one that was too long.
    fn lines(text: &[u8], step: u64) -> Vec<Option<Vec<u8>>> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(text).unwrap();
        let file = Arc::new(file);
        let (mut lines, mut buffer, length) = (Vec::new(), Vec::new(), text.len() as u64);
        for start in (0..length).step_by(usize::try_from(step).unwrap()) {
            let span = Span { file: file.clone(), start, end: (start + step).min(length) };
            let read = span.read(&mut buffer).unwrap();
            lines.extend(buffer[read.place].split_inclusive(|byte| *byte == b'\n').map(|line| Some(line.to_vec())));
            lines.extend(read.ends_too_long.then_some(None));
        }
        lines
    }

    #[test]
    fn a_line_over_many_spans_is_refused_once() {
        let mut text = b"first\n".to_vec();
        text.resize(text.len() + 3 * MAX_LINE_BYTES, b'x');
        text.extend_from_slice(b"\nlast");
        for step in [1 << 20, (1 << 20) + 7, 4 << 20, 300_000] {
            let lines = lines(&text, step);
            assert_eq!(lines.len(), 3, "{step}");
            assert_eq!(lines[0].as_deref(), Some(&b"first\n"[..]));
            assert!(lines[1].as_ref().is_none_or(|line| line.len() > MAX_LINE_BYTES));
            assert_eq!(lines[2].as_deref(), Some(&b"last"[..]));
        }
    }

    proptest! {
        #[test]
        fn every_line_belongs_to_one_span(
            lines_of in prop::collection::vec("[a-z]{0,30}", 0..40), step in 1u64..70, ended in any::<bool>(),
        ) {
            let text = lines_of.join("\n") + if ended { "\n" } else { "" };
            let expected: Vec<_> = text.as_bytes().split_inclusive(|byte| *byte == b'\n').map(|line| Some(line.to_vec())).collect();
            prop_assert_eq!(lines(text.as_bytes(), step), expected);
        }
    }
}
