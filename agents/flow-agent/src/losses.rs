//! What was lost before it came to the spool, until it is told there: finished flows by reason, and packets
//! the kernel or the interface dropped.
//!
//! The capture's thread notes, the forwarder takes: what it takes gets a place in the stream, and the
//! collector is told by a gap.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use canh_event::{Figure, GapReason, SourceName, Timestamp};
use canh_ship::Loss;

use crate::capture::Dropped;
use crate::metrics::FlowDrop;

/// What was lost and is not told yet.
#[derive(Clone, Debug, Default)]
pub(crate) struct FlowLosses(Arc<Mutex<Pending>>);

#[derive(Debug, Default)]
struct Pending {
    flows: BTreeMap<GapReason, (u64, Timestamp, Timestamp)>,
    by_kernel: u64,
    by_interface: u64,
}

impl FlowDrop {
    /// Returns the reason the collector is told.
    const fn gap_reason(self) -> GapReason {
        match self {
            Self::QueueFull => GapReason::QueueFull,
            Self::SpoolFull => GapReason::SpoolFull,
            Self::Stopped => GapReason::Stopped,
        }
    }
}

impl FlowLosses {
    /// Notes flows that were dropped.
    pub(crate) fn note(&self, reason: FlowDrop, count: u64, at: Timestamp) {
        let mut pending = self.lock();
        let (sum, _, last) = pending.flows.entry(reason.gap_reason()).or_insert((0, at, at));
        *sum = sum.saturating_add(count);
        *last = at.max(*last);
    }

    /// Notes packets dropped between two counts, which wrap around.
    pub(crate) fn note_packets(&self, before: Dropped, now: Dropped) {
        let mut pending = self.lock();
        pending.by_kernel += u64::from(now.by_kernel.wrapping_sub(before.by_kernel));
        pending.by_interface += u64::from(now.by_interface.wrapping_sub(before.by_interface));
    }

    /// Takes everything out, to be told of a source.
    pub(crate) fn take(&self, source: &SourceName) -> (Vec<Loss>, Vec<(SourceName, Figure, u64)>) {
        let Pending { flows, by_kernel, by_interface } = std::mem::take(&mut *self.lock());
        let losses = flows.into_iter().filter(|(_, (count, ..))| *count > 0);
        let losses =
            losses.map(|(reason, (count, first, last))| Loss { source: source.clone(), reason, count, first, last });
        let figures = [(Figure::KernelPackets, by_kernel), (Figure::InterfacePackets, by_interface)];
        let figures = figures.into_iter().filter(|(_, count)| *count > 0);
        (losses.collect(), figures.map(|(figure, count)| (source.clone(), figure, count)).collect())
    }

    fn lock(&self) -> MutexGuard<'_, Pending> {
        // What the lock holds is whole after every statement.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_are_summed_by_reason_and_taken_once() {
        let (losses, source): (_, SourceName) = (FlowLosses::default(), "eth0".parse().unwrap());
        for at in [5, 3, 9] {
            losses.note(FlowDrop::QueueFull, 2, Timestamp::from_secs(at));
        }
        losses.note(FlowDrop::Stopped, 1, Timestamp::from_secs(9));
        let before = Dropped { by_kernel: u32::MAX - 1, by_interface: 5 };
        losses.note_packets(before, Dropped { by_kernel: 3, by_interface: 5 });
        let (told, figures) = losses.take(&source);
        let shown: Vec<_> = told.iter().map(|it| (it.reason, it.count, it.first.secs(), it.last.secs())).collect();
        assert_eq!(shown, [(GapReason::QueueFull, 6, 5, 9), (GapReason::Stopped, 1, 9, 9)]);
        assert_eq!(figures, [(source.clone(), Figure::KernelPackets, 5)]);
        assert_eq!(losses.take(&source), (Vec::new(), Vec::new()));
    }
}
