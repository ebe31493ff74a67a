//! Lines on their way to the spool: the batch that is being filled, and the one that is handed over
//! with the cursors of the files its lines come from.

use std::time::{Duration, Instant};

use canh_event::{Figure, RecordBatch, Source, SourceId, SourceName, Timestamp};
use canh_ship::{BatchLimits, Loss, Priority, Submission};

use crate::tail::Sink;

/// Now, on both clocks: spans are measured on the one, and records carry the other.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    pub(crate) instant: Instant,
    pub(crate) wall: Timestamp,
    /// Seconds east of UTC of the host's own zone.
    pub(crate) utc_offset_secs: i32,
}

/// The batch that is being filled: one of each priority, within limits that hold for all together.
#[derive(Debug)]
pub(crate) struct Batch {
    /// In the order of [`Priority::ALL`].
    records: [RecordBatch; Priority::ALL.len()],
    limits: BatchLimits,
    begun: Option<Instant>,
    cut_lines: u64,
}

/// A cursor that is another one than before; an empty one is of a source that is no more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MovedCursor {
    pub(crate) name: SourceName,
    pub(crate) cursor: Vec<u8>,
    pub(crate) priority: Priority,
}

/// What goes with the lines of a batch.
#[derive(Clone, Debug, Default)]
pub(crate) struct Told {
    pub(crate) cursors: Vec<MovedCursor>,
    pub(crate) losses: Vec<Loss>,
    pub(crate) figures: Vec<(SourceName, Figure, u64)>,
}

/// A batch and the positions its sources are at with it: one record of the spool for each priority.
#[derive(Debug)]
pub(crate) struct Filled {
    pub(crate) submissions: Vec<Submission>,
    pub(crate) cut_lines: u64,
}

/// Writes lines of one source into a batch.
#[derive(Debug)]
pub(crate) struct Pen<'b> {
    batch: &'b mut Batch,
    priority: usize,
    source: SourceId,
    moment: Moment,
}

impl Batch {
    pub(crate) fn new(limits: BatchLimits) -> Self {
        Self { records: Default::default(), limits, begun: None, cut_lines: 0 }
    }

    /// Returns a pen for one source; none if the batch has no room for another source.
    pub(crate) fn pen(&mut self, source: &Source, priority: Priority, moment: Moment) -> Option<Pen<'_>> {
        let priority = Priority::ALL.iter().position(|known| *known == priority)?;
        let source = self.records.get_mut(priority)?.source(source).ok()?;
        Some(Pen { batch: self, priority, source, moment })
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
        self.records.iter().all(RecordBatch::is_empty)
    }

    /// Takes the batch out, with what goes with it, and begins the next. Each cursor goes with the lines
    /// of its priority, so that both are durable together.
    pub(crate) fn hand_over(&mut self, told: Told) -> Filled {
        let next = Self::new(self.limits);
        let Self { records, cut_lines, .. } = std::mem::replace(self, next);
        let Told { cursors, losses, figures } = told;
        let mut submissions: Vec<Submission> = Vec::new();
        // The highest first: it does not wait behind the others while the spool is full.
        for (records, priority) in records.into_iter().zip(Priority::ALL).rev() {
            let cursors = cursors.iter().filter(|moved| moved.priority == priority);
            let cursors: Vec<_> = cursors.map(|moved| (moved.name.clone(), moved.cursor.clone())).collect();
            if !records.is_empty() || !cursors.is_empty() {
                submissions.push(Submission { records, cursors, priority, ..Submission::default() });
            }
        }
        if !losses.is_empty() || !figures.is_empty() {
            // A cursor has moved past what was lost, so there is a submission to go with.
            match submissions.first_mut() {
                Some(first) => (first.losses, first.figures) = (losses, figures),
                None => submissions.push(Submission { losses, figures, ..Submission::default() }),
            }
        }
        Filled { submissions, cut_lines }
    }

    fn has_room(&self, length: usize) -> bool {
        let records: usize = self.records.iter().map(RecordBatch::len).sum();
        let bytes: usize = self.records.iter().map(RecordBatch::byte_len).sum();
        records == 0 || (records < self.limits.records && bytes + length <= self.limits.bytes)
    }
}

impl Sink for Pen<'_> {
    fn take(&mut self, line: &[u8], is_cut: bool) -> bool {
        if !self.batch.has_room(line.len()) {
            return false;
        }
        let Some(records) = self.batch.records.get_mut(self.priority) else { return false };
        if records.push(self.source, self.moment.wall, line).is_err() {
            return false;
        }
        if is_cut {
            records.mark_last_cut();
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
        let mut pen = batch.pen(&source(), Priority::Normal, moment).unwrap();
        assert!(pen.take(b"more than ten bytes", true));
        assert!(!pen.take(b"", false));
        assert!(!batch.is_due(moment.instant) && batch.is_due(moment.instant + Duration::from_secs(1)));
        let filled = batch.hand_over(Told::default());
        let [Submission { records, .. }] = &filled.submissions[..] else { panic!("{filled:?}") };
        assert_eq!((records.len(), filled.cut_lines), (1, 1));
        assert!(records.get(0).unwrap().is_cut);
        let mut pen = batch.pen(&source(), Priority::Normal, moment).unwrap();
        assert!(pen.take(b"a", false) && pen.take(b"b", false) && !pen.take(b"c", false));
    }

    #[test]
    fn each_cursor_goes_with_the_lines_of_its_priority() {
        let moment = Moment { instant: Instant::now(), wall: Timestamp::EPOCH, utc_offset_secs: 0 };
        let mut batch = Batch::new(BatchLimits { records: 3, bytes: 100, wait: Duration::from_secs(1) });
        for priority in [Priority::High, Priority::Low, Priority::High] {
            assert!(batch.pen(&source(), priority, moment).unwrap().take(priority.as_str().as_bytes(), false));
        }
        assert!(!batch.pen(&source(), Priority::Normal, moment).unwrap().take(b"full", false), "limits hold for all");
        let cursor = |name: &str, priority| MovedCursor { name: name.parse().unwrap(), cursor: vec![1], priority };
        let cursors = vec![cursor("/h", Priority::High), cursor("/n", Priority::Normal), cursor("/l", Priority::Low)];
        let at = Timestamp::EPOCH;
        let (source, reason) = ("/l".parse().unwrap(), canh_event::GapReason::FileLost);
        let losses = vec![Loss { source, reason, count: 1, first: at, last: at }];
        let filled = batch.hand_over(Told { cursors, losses, figures: Vec::new() });
        let shown = |it: &Submission| (it.priority, it.records.len(), it.cursors[0].0.to_string(), it.losses.len());
        let shown: Vec<_> = filled.submissions.iter().map(shown).collect();
        let expected = [
            (Priority::High, 2, "/h".to_owned(), 1),
            (Priority::Normal, 0, "/n".to_owned(), 0),
            (Priority::Low, 1, "/l".to_owned(), 0),
        ];
        assert_eq!(shown, expected);
        assert!(batch.is_empty());
    }
}
