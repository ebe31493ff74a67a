//! Lines on their way to the spool: the batch that is being filled, and the one that is handed over
//! with the cursors of the files its lines come from.

use std::time::{Duration, Instant};

use canh_event::{RecordBatch, Source, SourceId, SourceName, Timestamp};

use canh_ship::BatchLimits;

use crate::tail::Sink;

/// Now, on both clocks: spans are measured on the one, and records carry the other.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    pub(crate) instant: Instant,
    pub(crate) wall: Timestamp,
    /// Seconds east of UTC of the host's own zone.
    pub(crate) utc_offset_secs: i32,
}

/// The batch that is being filled.
#[derive(Debug)]
pub(crate) struct Batch {
    records: RecordBatch,
    limits: BatchLimits,
    begun: Option<Instant>,
    cut_lines: u64,
}

/// A batch and the positions its sources are at with it: one record of the spool.
#[derive(Debug)]
pub(crate) struct Filled {
    pub(crate) records: RecordBatch,
    pub(crate) cursors: Vec<(SourceName, Vec<u8>)>,
    pub(crate) cut_lines: u64,
}

/// Writes lines of one source into a batch.
#[derive(Debug)]
pub(crate) struct Pen<'b> {
    batch: &'b mut Batch,
    source: SourceId,
    moment: Moment,
}

impl Batch {
    pub(crate) fn new(limits: BatchLimits) -> Self {
        Self { records: RecordBatch::new(), limits, begun: None, cut_lines: 0 }
    }

    /// Returns a pen for one source; none if the batch has no room for another source.
    pub(crate) fn pen(&mut self, source: &Source, moment: Moment) -> Option<Pen<'_>> {
        let source = self.records.source(source).ok()?;
        Some(Pen { batch: self, source, moment })
    }

    /// Returns whether the batch has waited long enough.
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        self.begun.is_some_and(|begun| now.saturating_duration_since(begun) >= self.limits.wait)
    }

    /// Returns how long the batch may still wait; the longest wait if it is empty.
    pub(crate) fn time_left(&self, now: Instant) -> Duration {
        let waited = self.begun.map_or(Duration::ZERO, |begun| now.saturating_duration_since(begun));
        self.limits.wait.saturating_sub(waited)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Takes the batch out, with the cursors that go with it, and begins the next.
    pub(crate) fn hand_over(&mut self, cursors: Vec<(SourceName, Vec<u8>)>) -> Filled {
        let next = Self::new(self.limits);
        let Self { records, cut_lines, .. } = std::mem::replace(self, next);
        Filled { records, cursors, cut_lines }
    }

    fn has_room(&self, length: usize) -> bool {
        self.records.is_empty()
            || (self.records.len() < self.limits.records && self.records.byte_len() + length <= self.limits.bytes)
    }
}

impl Sink for Pen<'_> {
    fn take(&mut self, line: &[u8], is_cut: bool) -> bool {
        if !self.batch.has_room(line.len()) || self.batch.records.push(self.source, self.moment.wall, line).is_err() {
            return false;
        }
        if is_cut {
            self.batch.records.mark_last_cut();
            self.batch.cut_lines += 1;
        }
        self.batch.begun.get_or_insert(self.moment.instant);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source() -> Source {
        let (name, format) = ("/a".parse().unwrap(), "auto".parse().unwrap());
        Source { name, host: Box::from("h"), format, utc_offset_secs: 0 }
    }

    #[test]
    fn batch_is_full_by_records_and_by_bytes_and_takes_any_first_line() {
        let moment = Moment { instant: Instant::now(), wall: Timestamp::EPOCH, utc_offset_secs: 0 };
        let mut batch = Batch::new(BatchLimits { records: 2, bytes: 10, wait: Duration::from_secs(1) });
        let mut pen = batch.pen(&source(), moment).unwrap();
        assert!(pen.take(b"more than ten bytes", true));
        assert!(!pen.take(b"", false));
        assert!(!batch.is_due(moment.instant) && batch.is_due(moment.instant + Duration::from_secs(1)));
        let filled = batch.hand_over(Vec::new());
        assert_eq!((filled.records.len(), filled.cut_lines), (1, 1));
        assert!(filled.records.get(0).unwrap().is_cut);
        let mut pen = batch.pen(&source(), moment).unwrap();
        assert!(pen.take(b"a", false) && pen.take(b"b", false) && !pen.take(b"c", false));
    }
}
