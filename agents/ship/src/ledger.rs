//! Which records were acknowledged and which were given up, counted once each whatever was sent
//! how often.

use std::collections::BTreeMap;

use canh_event::{GapReason, RecordSequence, SourceLoss};
use canh_wire::Gap;

use crate::metrics::ShipMetrics;

/// The sender's books; they outlive a connection.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// Up to where everything is counted; nothing before the first WELCOME, which tells of records
    /// that an earlier process has counted.
    settled: Option<RecordSequence>,
    /// Gaps sent and not settled, by their first sequence.
    gaps: BTreeMap<RecordSequence, (RecordSequence, GapReason, Vec<SourceLoss>)>,
}

impl Ledger {
    /// Notes what a WELCOME says is durable.
    pub(crate) fn welcome(&mut self, durable: RecordSequence, metrics: &ShipMetrics) {
        if self.settled.is_none() {
            self.settled = Some(durable);
        }
        self.settle(durable, metrics);
    }

    /// Notes a gap that was sent.
    pub(crate) fn note_gap(&mut self, gap: &Gap) {
        self.gaps.insert(gap.from, (gap.last(), gap.reason, gap.sources.clone()));
    }

    /// Counts everything up to `durable` that was not counted yet.
    pub(crate) fn settle(&mut self, durable: RecordSequence, metrics: &ShipMetrics) {
        let before = self.settled.unwrap_or(durable);
        if durable <= before {
            return;
        }
        let mut left = durable.0 - before.0;
        while let Some(entry) = self.gaps.first_entry() {
            if *entry.key() > durable {
                break;
            }
            let (first, (last, reason, sources)) = entry.remove_entry();
            let (first, last) = (first.0.max(before.0 + 1), last.0.min(durable.0));
            let count = (last + 1).saturating_sub(first);
            left = left.saturating_sub(count);
            // What another store has was acknowledged by it.
            if reason.is_loss() {
                metrics.count_dropped(reason, count);
                sources.iter().for_each(|loss| metrics.count_source_dropped(&loss.source, reason, loss.count));
            }
        }
        metrics.acknowledged.inc_by(left);
        self.settled = Some(durable);
    }
}

#[cfg(test)]
mod tests {
    use canh_event::Epoch;
    use canh_service::metrics::Metrics;

    use super::*;

    fn gap(from: u64, count: u64, reason: GapReason) -> Gap {
        Gap::new("log".parse().unwrap(), Epoch(1), RecordSequence(from), count, reason)
    }

    #[test]
    fn every_record_is_counted_once_as_acknowledged_or_dropped() {
        let registry = Metrics::new("canh-test", "0").unwrap();
        let metrics = ShipMetrics::new(&registry).unwrap();
        let mut ledger = Ledger::default();
        ledger.welcome(RecordSequence(100), &metrics);
        assert_eq!(metrics.acknowledged.get(), 0, "an earlier process has counted them");
        ledger.settle(RecordSequence(110), &metrics);
        ledger.note_gap(&gap(113, 5, GapReason::Refused));
        ledger.note_gap(&gap(113, 5, GapReason::Refused));
        // A connection later: the acknowledgement got lost, the WELCOME tells.
        ledger.welcome(RecordSequence(120), &metrics);
        ledger.settle(RecordSequence(90), &metrics);
        ledger.note_gap(&gap(121, 3, GapReason::ElsewhereAcknowledged));
        ledger.settle(RecordSequence(125), &metrics);
        assert_eq!(metrics.acknowledged.get(), 10 + 5 + 2);
        let text = registry.encode().unwrap();
        assert!(text.contains("canh_agent_records_dropped_total{reason=\"refused\"} 5"), "{text}");
        assert!(text.contains("canh_agent_records_dropped_total{reason=\"elsewhere_acknowledged\"} 0"), "{text}");
    }
}
