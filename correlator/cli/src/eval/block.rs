//! What is handed from the reader of files to a judge, and from a judge to the report.

use canh_sigma::RuleIndex;

use crate::eval::span::Span;

/// About how many bytes are judged at once.
pub(super) const BLOCK_BYTES: usize = 1 << 20;
/// Most reasons kept of one block's refusals.
const MAX_REASONS: usize = 5;

/// A part of a file.
#[derive(Debug)]
pub(super) struct Block {
    /// The file's place on the command line.
    pub(super) file: usize,
    pub(super) load: Load,
}

/// What a block brings.
#[derive(Debug)]
pub(super) enum Load {
    /// The lines that begin in a part of a file.
    Span(Span),
    /// Whole lines; only a file's last may lack its end.
    Lines(Vec<u8>),
    /// Whole chunks of an event log; only a file's last may be cut off.
    Chunks(Vec<u8>),
    /// A line that was too long to be kept.
    LongLine,
    /// The file could not be opened, or not be read on.
    Fault(Box<str>),
}

/// What came of a block. Records are counted from the beginning of the block.
#[derive(Debug, Default)]
pub(super) struct Judged {
    pub(super) file: usize,
    /// Lines or records, whatever they are.
    pub(super) records: u64,
    /// Those that were events.
    pub(super) events: u64,
    pub(super) bytes: u64,
    pub(super) hits: Vec<FoundHit>,
    /// The events' own times, as they stand there.
    pub(super) times: String,
    pub(super) refused: u64,
    /// Why the first of them were.
    pub(super) reasons: Vec<Refused>,
    pub(super) fault: Option<Box<str>>,
    /// The block's buffer, to be filled anew.
    pub(super) spent: Vec<u8>,
}

/// A rule that fits a record.
#[derive(Clone, Copy, Debug)]
pub(super) struct FoundHit {
    pub(super) index: u64,
    pub(super) rule: RuleIndex,
    /// `EventRecordID`, if the file is an event log.
    pub(super) number: Option<u64>,
    /// Where its time is in `times`.
    pub(super) time: (usize, usize),
}

/// A record that was no event.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) index: u64,
    pub(super) why: String,
}

impl Judged {
    /// Counts a record that was no event; the first few are named.
    pub(super) fn refuse(&mut self, index: u64, why: &dyn std::fmt::Display) {
        self.refused += 1;
        if self.reasons.len() < MAX_REASONS {
            self.reasons.push(Refused { index, why: why.to_string() });
        }
    }
}
