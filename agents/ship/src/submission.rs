//! What an agent submits: records, how far their sources have been read, and what was lost on the way.

use canh_event::{
    Counts, Figure, GapReason, MAX_LEDGER_SOURCES, RecordBatch, SourceLoss, SourceName, Timestamp, add_count,
};

use crate::priority::Priority;
use crate::spool::{Prepared, SourceNews};
use crate::spooled::{Content, Part};

/// Records of one source that were lost before they could be spooled. They get a place in the stream,
/// behind the records they are submitted with, and the collector is told by a gap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss {
    /// The source.
    pub source: SourceName,
    /// Why.
    pub reason: GapReason,
    /// How many; a file or queue whose records nobody could count is one.
    pub count: u64,
    /// When the first was lost.
    pub first: Timestamp,
    /// When the last was lost.
    pub last: Timestamp,
}

/// One batch and all that belongs to it; what is not given is empty, and the priority normal.
#[derive(Clone, Debug, Default)]
pub struct Submission {
    /// The records. They are all of sources of one priority.
    pub records: RecordBatch,
    /// How far sources have been read with them; an empty cursor forgets its source.
    pub cursors: Vec<(SourceName, Vec<u8>)>,
    /// Records lost.
    pub losses: Vec<Loss>,
    /// What was lost before it was a record, such as packets.
    pub figures: Vec<(SourceName, Figure, u64)>,
    /// How much the records matter when the spool is full.
    pub priority: Priority,
}

impl Submission {
    /// Returns how many records it accounts for, those lost among them.
    pub(crate) fn count(&self) -> u64 {
        self.losses.iter().fold(self.records.len() as u64, |sum, loss| sum.saturating_add(loss.count))
    }

    /// Returns whether it says nothing at all.
    pub(crate) fn is_empty(&self) -> bool {
        self.records.is_empty() && self.cursors.is_empty() && self.losses.is_empty() && self.figures.is_empty()
    }

    /// Makes what is spooled of it; `parts` are its records, packed.
    pub(crate) fn prepare(self, mut parts: Vec<Part>) -> Prepared {
        let mut news = News::default();
        for tally in self.records.tally(0, self.records.len()) {
            let of_source = news.of(tally.source, tally.first, tally.last);
            of_source.count += tally.count;
            if tally.cut > 0 {
                add_count(&mut of_source.figures, Figure::CutRecords, tally.cut);
            }
        }
        for loss in self.losses.iter().filter(|loss| loss.count > 0) {
            let (first, last) = (loss.first.min(loss.last), loss.last.max(loss.first));
            let of_source = news.of(&loss.source, first, last);
            of_source.count = of_source.count.saturating_add(loss.count);
            add_count(&mut of_source.lost, loss.reason, loss.count);
            parts.extend(lost_parts(loss, first, last));
        }
        for (source, figure, count) in self.figures {
            add_count(&mut news.of(&source, Timestamp::EPOCH, Timestamp::EPOCH).figures, figure, count);
        }
        Prepared { priority: self.priority, parts, cursors: self.cursors, news: news.0 }
    }
}

/// A part counts to 2^32: a longer loss is several.
fn lost_parts(loss: &Loss, first: Timestamp, last: Timestamp) -> Vec<Part> {
    let (mut parts, mut left) = (Vec::new(), loss.count);
    while left > 0 {
        let count = u32::try_from(left).unwrap_or(u32::MAX);
        left -= u64::from(count);
        let of_source = SourceLoss { source: loss.source.clone(), count: u64::from(count), first, last };
        parts.push(Part { count, content: Content::Lost { reason: loss.reason, sources: vec![of_source] } });
        if parts.len() >= MAX_LEDGER_SOURCES {
            break;
        }
    }
    parts
}

/// What is known of each source, in order of their names.
#[derive(Default)]
struct News(Vec<SourceNews>);

impl News {
    #[expect(clippy::indexing_slicing, reason = "the index was found or made just above")]
    fn of(&mut self, source: &SourceName, first: Timestamp, last: Timestamp) -> &mut SourceNews {
        let at = match self.0.binary_search_by(|known| known.source.cmp(source)) {
            Ok(at) => {
                if first != Timestamp::EPOCH {
                    self.0[at].first = self.0[at].first.min(first);
                    self.0[at].last = self.0[at].last.max(last);
                }
                at
            }
            Err(at) => {
                let (lost, figures): (Counts<GapReason>, Counts<Figure>) = (Vec::new(), Vec::new());
                self.0.insert(at, SourceNews { source: source.clone(), count: 0, lost, figures, first, last });
                at
            }
        };
        &mut self.0[at]
    }
}

#[cfg(test)]
mod tests {
    use canh_event::Source;

    use super::*;

    fn name(text: &str) -> SourceName {
        text.parse().unwrap()
    }

    #[test]
    fn records_losses_and_figures_are_told_by_source() {
        let mut records = RecordBatch::new();
        for source in ["/b", "/a", "/b"] {
            let format = "auto".parse().unwrap();
            let id =
                records.source(&Source { name: name(source), host: "h".into(), format, utc_offset_secs: 0 }).unwrap();
            records.push(id, Timestamp::from_secs(5), b"x").unwrap();
        }
        records.mark_last_cut();
        let loss = Loss {
            source: name("/c"),
            reason: GapReason::FileLost,
            count: 1,
            first: Timestamp::from_secs(9),
            last: Timestamp::from_secs(9),
        };
        let losses = vec![loss.clone(), Loss { source: name("/b"), count: 1 << 33, ..loss }];
        let figures = vec![(name("/a"), Figure::KernelPackets, 7)];
        let submission = Submission { records, losses, figures, ..Submission::default() };
        assert_eq!(submission.count(), 4 + (1 << 33));
        let prepared = submission.prepare(Vec::new());
        let shown: Vec<_> =
            prepared.news.iter().map(|it| (it.source.as_str(), it.count, it.first.secs(), it.last.secs())).collect();
        assert_eq!(shown, [("/a", 1, 5, 5), ("/b", 2 + (1 << 33), 5, 9), ("/c", 1, 9, 9)]);
        assert_eq!(prepared.news[1].lost, [(GapReason::FileLost, 1 << 33)]);
        assert_eq!(prepared.news[1].figures, [(Figure::CutRecords, 1)]);
        assert_eq!(prepared.news[0].figures, [(Figure::KernelPackets, 7)]);
        assert_eq!(prepared.parts.iter().map(|part| u64::from(part.count)).sum::<u64>(), 1 + (1 << 33));
    }
}
