//! The kinds of records in the collector's journal. A reader skips kinds it does not know.

/// A `StoredBatch` of canh-event: events, and how far they bring their stream.
pub(crate) const KIND_EVENTS: u8 = 1;
/// A `StoredGap`: records that will never come.
pub(crate) const KIND_GAP: u8 = 2;
/// High-water marks of all streams.
pub(crate) const KIND_MARKS: u8 = 3;
/// A `StoredAccount`: what an agent has stated, and the collector's own count.
pub(crate) const KIND_ACCOUNT: u8 = 4;
