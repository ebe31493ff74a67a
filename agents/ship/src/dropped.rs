//! Which records were dropped from the spool, and what is under way: shared by the spool, which drops,
//! and the conversation, which must not send what is dropped nor have dropped what it sends.
//!
//! ```text
//!  dropped ──gap sent, gap acknowledged──► told ──(many more told since)──► forgotten
//!     └──the collector has it: it was sent before it was dropped──► not lost, forgotten
//! ```

use std::collections::{BTreeMap, BTreeSet};

use canh_event::{RecordSequence, SourceLoss};

use crate::spooled::{Dropped, MAX_DROPPED};

/// Most sources of one run; past it the next run is one of its own.
const SOURCES_PER_RUN: usize = 64;
/// Told runs that are kept, for another collector that lacks them too.
const KEPT_TOLD: usize = 1_024;

/// The runs dropped, and the last record that may be under way.
#[derive(Debug, Default)]
pub(crate) struct DroppedIndex {
    runs: BTreeMap<u64, Dropped>,
    /// First sequences of runs whose gap was sent by this process.
    gaps_sent: BTreeSet<u64>,
    /// The last record handed to the open connection.
    sent: u64,
    is_open: bool,
}

impl DroppedIndex {
    pub(crate) fn new(runs: BTreeMap<u64, Dropped>) -> Self {
        Self { runs, ..Self::default() }
    }

    /// Returns the runs, to be kept in a checkpoint.
    pub(crate) fn runs(&self) -> &BTreeMap<u64, Dropped> {
        &self.runs
    }

    /// Returns whether so many more runs may be dropped.
    pub(crate) fn has_room(&self, runs: usize) -> bool {
        self.runs.len() + runs <= MAX_DROPPED
    }

    /// Returns whether records from `first` on may be dropped: none of them is under way.
    pub(crate) fn may_drop(&self, first: RecordSequence) -> bool {
        !self.is_open || first.0 > self.sent
    }

    /// Notes a connection on which everything up to `durable` is acknowledged. What of the dropped is
    /// there was sent before it was dropped, so it is not lost.
    pub(crate) fn open(&mut self, durable: RecordSequence) {
        (self.is_open, self.sent) = (true, durable.0);
        let next = durable.0.saturating_add(1);
        let before: Vec<u64> = self.runs.range(..next).map(|(first, _)| *first).collect();
        for first in before {
            let Some(run) = self.runs.get(&first) else { continue };
            if run.is_told || self.gaps_sent.contains(&first) {
                continue;
            }
            let end = first.saturating_add(run.count);
            let is_told = run.is_told;
            self.runs.remove(&first);
            if end > next {
                // Of which sources the rest is nobody knows any more.
                self.runs.insert(next, Dropped { count: end - next, is_told, sources: Vec::new() });
            }
        }
    }

    /// Notes that the connection is over.
    pub(crate) fn close(&mut self) {
        self.is_open = false;
    }

    /// Notes that records are about to be sent; false if they were dropped meanwhile.
    pub(crate) fn claim(&mut self, first: RecordSequence, next: RecordSequence) -> bool {
        let is_dropped = self.run_at(first).is_some() || self.runs.range(first.0..next.0).next().is_some();
        if !is_dropped {
            self.sent = self.sent.max(next.0.saturating_sub(1));
        }
        !is_dropped
    }

    /// Returns the end (one past the last) and the sources of the run a record was dropped with.
    pub(crate) fn run_at(&self, sequence: RecordSequence) -> Option<(u64, &[SourceLoss])> {
        let (first, run) = self.runs.range(..=sequence.0).next_back()?;
        let end = first.saturating_add(run.count);
        let sources = if *first == sequence.0 { run.sources.as_slice() } else { &[] };
        (sequence.0 < end).then_some((end, sources))
    }

    /// Returns where the next run begins after a record.
    pub(crate) fn next_after(&self, sequence: RecordSequence) -> Option<u64> {
        self.runs.range(sequence.0.saturating_add(1)..).next().map(|(first, _)| *first)
    }

    /// Notes that the gap of the run at a record was sent.
    pub(crate) fn note_gap_sent(&mut self, sequence: RecordSequence) {
        if let Some((first, _)) = self.runs.range(..=sequence.0).next_back() {
            self.gaps_sent.insert(*first);
        }
    }

    /// Notes what was dropped; a run that follows the one before becomes part of it.
    pub(crate) fn drop_run(&mut self, first: RecordSequence, count: u64, sources: Vec<SourceLoss>) {
        if let Some((start, run)) = self.runs.range_mut(..first.0).next_back() {
            let follows = start.saturating_add(run.count) == first.0 && !run.is_told && !self.gaps_sent.contains(start);
            if follows && run.sources.len() + sources.len() <= SOURCES_PER_RUN {
                run.count += count;
                sources.into_iter().for_each(|loss| add_loss(&mut run.sources, loss));
                return;
            }
        }
        self.runs.insert(first.0, Dropped { count, is_told: false, sources });
    }

    /// Returns whether a run is told by an acknowledgement up to `durable`.
    pub(crate) fn has_news(&self, durable: RecordSequence) -> bool {
        self.gaps_sent.iter().any(|first| *first <= durable.0)
    }

    /// Notes that everything up to `durable` is acknowledged; returns what was told with it.
    pub(crate) fn settle(&mut self, durable: RecordSequence) -> Vec<SourceLoss> {
        let mut told = Vec::new();
        let sent: Vec<u64> = self.gaps_sent.iter().copied().filter(|first| *first <= durable.0).collect();
        for first in sent {
            let Some(run) = self.runs.get_mut(&first) else {
                self.gaps_sent.remove(&first);
                continue;
            };
            if first.saturating_add(run.count).saturating_sub(1) <= durable.0 {
                run.is_told = true;
                told.extend(run.sources.iter().cloned());
                self.gaps_sent.remove(&first);
            }
        }
        let mut surplus = self.runs.values().filter(|run| run.is_told).count().saturating_sub(KEPT_TOLD);
        self.runs.retain(|_, run| {
            let goes = run.is_told && surplus > 0;
            surplus -= usize::from(goes);
            !goes
        });
        told
    }
}

/// Adds a loss to those known, by source.
pub(crate) fn add_loss(losses: &mut Vec<SourceLoss>, loss: SourceLoss) {
    match losses.binary_search_by(|known| known.source.cmp(&loss.source)) {
        Ok(at) => {
            if let Some(known) = losses.get_mut(at) {
                known.count = known.count.saturating_add(loss.count);
                known.first = known.first.min(loss.first);
                known.last = known.last.max(loss.last);
            }
        }
        Err(at) => losses.insert(at, loss),
    }
}

#[cfg(test)]
mod tests {
    use canh_event::Timestamp;

    use super::*;

    fn loss(source: &str, count: u64) -> SourceLoss {
        SourceLoss { source: source.parse().unwrap(), count, first: Timestamp::EPOCH, last: Timestamp::from_secs(1) }
    }

    fn index(runs: &[(u64, u64, &str)]) -> DroppedIndex {
        let mut index = DroppedIndex::default();
        for (first, count, source) in runs {
            index.drop_run(RecordSequence(*first), *count, vec![loss(source, *count)]);
        }
        index
    }

    fn runs(index: &DroppedIndex) -> Vec<(u64, u64)> {
        index.runs().iter().map(|(first, run)| (*first, run.count)).collect()
    }

    #[test]
    fn runs_that_follow_each_other_become_one_with_the_sources_of_both() {
        let index = index(&[(5, 5, "/b"), (10, 2, "/a"), (12, 1, "/b"), (20, 3, "/a")]);
        assert_eq!(runs(&index), [(5, 8), (20, 3)]);
        assert_eq!(index.run_at(RecordSequence(5)), Some((13, [loss("/a", 2), loss("/b", 6)].as_slice())));
        assert_eq!(index.run_at(RecordSequence(7)), Some((13, [].as_slice())), "of a part nobody knows the sources");
        assert_eq!(index.run_at(RecordSequence(13)), None);
        assert_eq!(index.next_after(RecordSequence(5)), Some(20));
    }

    #[test]
    fn what_is_under_way_is_not_dropped_and_what_is_dropped_is_not_sent() {
        let mut index = index(&[(20, 3, "/a")]);
        assert!(index.may_drop(RecordSequence(1)), "nothing is under way");
        index.open(RecordSequence(4));
        assert!(index.claim(RecordSequence(5), RecordSequence(9)));
        assert!(!index.may_drop(RecordSequence(8)) && index.may_drop(RecordSequence(9)));
        assert!(!index.claim(RecordSequence(18), RecordSequence(21)));
        assert!(!index.claim(RecordSequence(22), RecordSequence(30)));
        index.close();
        assert!(index.may_drop(RecordSequence(5)), "what becomes of it is told by the next welcome");
    }

    #[test]
    fn what_arrived_before_it_was_dropped_is_not_lost() {
        let mut index = index(&[(5, 5, "/a"), (12, 5, "/a"), (30, 1, "/a")]);
        index.open(RecordSequence(13));
        assert_eq!(runs(&index), [(14, 3), (30, 1)]);
    }

    #[test]
    fn a_gap_is_told_once_it_is_acknowledged_and_stays_known() {
        let mut index = index(&[(5, 5, "/a"), (30, 1, "/b")]);
        index.open(RecordSequence(4));
        assert!(index.settle(RecordSequence(9)).is_empty(), "no gap was sent");
        index.note_gap_sent(RecordSequence(5));
        assert!(index.settle(RecordSequence(8)).is_empty());
        assert_eq!(index.settle(RecordSequence(9)), [loss("/a", 5)]);
        assert!(index.settle(RecordSequence(9)).is_empty(), "once");
        index.open(RecordSequence(9));
        assert_eq!(runs(&index), [(5, 5), (30, 1)], "another collector may lack them too");
    }
}
