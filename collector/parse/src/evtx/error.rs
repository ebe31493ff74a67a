//! What can be wrong with an event log file.

/// A file, chunk or record that cannot be read. Places are counted from the start of the chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EvtxError {
    /// No header of an event log file.
    #[error("not a Windows event log file")]
    File,
    /// A chunk that does not begin as chunks do.
    #[error("a chunk does not begin with \"ElfChnk\"")]
    Chunk,
    /// Bytes where a record should begin.
    #[error("no record at byte {offset} of its chunk")]
    Record {
        /// The place.
        offset: usize,
    },
    /// A record longer than what is left of the chunk, or shorter than its own header.
    #[error("record at byte {offset} of its chunk states a length of {bytes}")]
    RecordLength {
        /// The place.
        offset: usize,
        /// What it states.
        bytes: usize,
    },
    /// Something that ends too early, or a reference out of the chunk.
    #[error("record is cut off or refers out of its chunk at byte {offset}")]
    Cut {
        /// The place.
        offset: usize,
    },
    /// A byte that is no token of BinXML.
    #[error("record has {token:#04x} at byte {offset}, which is no token")]
    Token {
        /// The place.
        offset: usize,
        /// What stands there.
        token: u8,
    },
    /// A value in the text itself whose kind does not say how long it is.
    #[error("record has a value of kind {kind:#04x} at byte {offset}, which none may have")]
    Value {
        /// The place.
        offset: usize,
        /// The kind.
        kind: u8,
    },
    /// Tokens in an order that makes no document.
    #[error("record's elements are not nested rightly at byte {offset}")]
    Nesting {
        /// The place.
        offset: usize,
    },
    /// Elements or templates nested deeper than any honest event has.
    #[error("record is nested deeper than {limit} levels")]
    TooDeep {
        /// The bound.
        limit: usize,
    },
    /// A record that would become larger than any honest event.
    #[error("record becomes longer than {limit} bytes")]
    TooLong {
        /// The bound.
        limit: usize,
    },
    /// A record, or a chunk's records together, with more tokens than any honest one has.
    #[error("record needs more than {limit} steps to read")]
    TooManySteps {
        /// The bound.
        limit: usize,
    },
}
