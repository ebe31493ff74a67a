//! Cuts a stream into blocks of whole lines.
//!
//! Comes in: a reader. Goes out: blocks of about [`BLOCK_BYTES`], or of what there is if somebody may be
//! waiting at the other end of a pipe. A line is at most [`MAX_LINE_BYTES`] long: of a longer one nothing
//! is kept but that it was there.

use std::io::{self, Read};

use crate::eval::block::{BLOCK_BYTES, Load};
use crate::eval::sink::Sink;
use crate::eval::span::MAX_LINE_BYTES;

/// Bytes read at a time from a stream that may be slow.
const LIVE_READ_BYTES: usize = 64 << 10;

/// Whether the stream comes as fast as it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pace {
    /// A file: blocks are filled.
    Stored,
    /// A pipe or terminal: what has come is passed on.
    Live,
}

/// Sends a stream's lines on. The error is the stream's; lines before it have been sent.
pub(super) fn send(stream: &mut dyn Read, pace: Pace, sink: &mut Sink) -> io::Result<()> {
    let mut begun = Vec::new();
    let mut is_skipping = false;
    loop {
        let mut bytes = sink.buffer();
        bytes.append(&mut begun);
        let read = fill(stream, pace, &mut bytes);
        let is_end = !matches!(read, Ok(false));
        if is_skipping {
            let end = bytes.iter().position(|byte| *byte == b'\n');
            bytes.drain(..end.map_or(bytes.len(), |end| end + 1));
            if end.is_some() || is_end {
                is_skipping = false;
                sink.send(Load::LongLine);
            }
        }
        match bytes.iter().rposition(|byte| *byte == b'\n') {
            Some(last) if !is_end => begun.extend(bytes.drain(last + 1..)),
            None if !is_end => {
                is_skipping |= bytes.len() > MAX_LINE_BYTES;
                if !is_skipping {
                    begun.extend_from_slice(&bytes);
                }
                bytes.clear();
            }
            _ => {}
        }
        if !bytes.is_empty() {
            sink.send(Load::Lines(bytes));
        }
        if is_end || sink.is_closed() {
            return read.map(drop);
        }
    }
}

/// Appends what comes next; returns whether that was all.
fn fill(stream: &mut dyn Read, pace: Pace, bytes: &mut Vec<u8>) -> io::Result<bool> {
    let goal = bytes.len() + BLOCK_BYTES;
    let step = if pace == Pace::Live { LIVE_READ_BYTES } else { BLOCK_BYTES };
    while bytes.len() < goal {
        let start = bytes.len();
        bytes.resize((start + step).min(goal), 0);
        let read = stream.read(bytes.get_mut(start..).unwrap_or_default());
        bytes.truncate(start + read.as_ref().map_or(0, |count| *count));
        match read {
            Ok(0) => return Ok(true),
            Ok(_) if pace == Pace::Live => return Ok(false),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Hands out at most so many bytes at a time.
    struct Slow<'a>(&'a [u8], usize);

    impl Read for Slow<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let count = self.1.min(buffer.len());
            (&mut self.0).take(count as u64).read(buffer)
        }
    }

    fn blocks(text: &[u8], step: usize, pace: Pace) -> Vec<Option<Vec<u8>>> {
        let (mut sink, loads) = Sink::for_tests();
        send(&mut Slow(text, step), pace, &mut sink).unwrap();
        drop(sink);
        let part = |load| match load {
            Load::Lines(bytes) => Some(bytes),
            _ => None,
        };
        loads.iter().map(|block| part(block.load)).collect()
    }

    #[test]
    fn a_line_too_long_is_one_refusal_and_its_neighbours_stay() {
        for (length, step) in [(MAX_LINE_BYTES + 1, 1 << 19), (5 << 20, 70_000), (9 << 20, 8 << 20)] {
            let mut text = b"first\n".to_vec();
            text.resize(text.len() + length, b'x');
            text.extend_from_slice(b"\nlast");
            for pace in [Pace::Stored, Pace::Live] {
                let mut lines = Vec::new();
                for block in blocks(&text, step, pace) {
                    match block {
                        None => lines.push(None),
                        Some(bytes) => {
                            assert!(bytes.len() <= MAX_LINE_BYTES + BLOCK_BYTES);
                            lines.extend(bytes.split_inclusive(|byte| *byte == b'\n').map(|line| Some(line.to_vec())));
                        }
                    }
                }
                assert_eq!(lines.len(), 3, "{length} {step} {pace:?}");
                assert_eq!(lines[0].as_deref(), Some(&b"first\n"[..]));
                // Either the reader dropped it or the judge will.
                assert!(lines[1].as_ref().is_none_or(|line| line.len() > MAX_LINE_BYTES));
                assert_eq!(lines[2].as_deref(), Some(&b"last"[..]));
            }
        }
    }

    proptest! {
        #[test]
        fn blocks_are_whole_lines_and_together_the_stream(
            lines in prop::collection::vec("[a-z]{0,40}", 0..60), step in 1usize..50, live in any::<bool>(), ended in any::<bool>(),
        ) {
            let text = lines.join("\n") + if ended { "\n" } else { "" };
            let pace = if live { Pace::Live } else { Pace::Stored };
            let blocks: Vec<_> = blocks(text.as_bytes(), step, pace).into_iter().map(Option::unwrap).collect();
            prop_assert_eq!(blocks.concat(), text.as_bytes());
            let whole = blocks.iter().rev().skip(1).all(|block| block.ends_with(b"\n"));
            prop_assert!(whole);
        }
    }
}
