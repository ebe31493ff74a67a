//! What is known of a segment without reading its records: its borders, its form, its times.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::lsn::Lsn;

/// A segment of a journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentInfo {
    /// The place of its first record.
    pub first: Lsn,
    /// The place of its last durable record; nothing if it has none. Of a segment with damage, the
    /// last place that belongs to it.
    pub last: Option<Lsn>,
    /// Its length on disk in bytes, reserved room included.
    pub bytes: u64,
    /// Its length in bytes as it was written, before it was compressed.
    pub written_bytes: u64,
    /// What has become of it so far.
    pub state: SegmentState,
    /// When it was begun: none of its records was synced before. Nothing if the release that wrote
    /// it did not note it.
    pub since: Option<SystemTime>,
    /// When its last record was synced; of the segment being written, the last sync as far as this
    /// process knows.
    pub until: Option<SystemTime>,
}

/// What has become of a segment so far; it only ever goes down this list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SegmentState {
    /// It is being written.
    Open,
    /// It is written no more.
    Sealed,
    /// It is written no more, and its records are in zstd frames.
    Compressed,
}

/// Returns a time as nanoseconds since 1970, as it stands in files; 0 stands for "not known".
pub(crate) fn time_to_nanos(time: Option<SystemTime>) -> u64 {
    let since_epoch = time.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    since_epoch.map_or(0, |since| u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}

/// Returns the time that stands in a file.
pub(crate) fn time_from_nanos(nanos: u64) -> Option<SystemTime> {
    (nanos > 0).then(|| UNIX_EPOCH + Duration::from_nanos(nanos))
}
