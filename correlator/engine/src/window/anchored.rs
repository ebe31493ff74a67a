//! Conditions with an upper bound (`lt`, `lte`, `eq`, ranges): they can only be judged when the
//! window is over, so each window is anchored at its first event and closed once nothing can fall
//! into it any more.
//!
//! ```text
//! events   ●  ●    ●           ●  ●
//!          └──timespan──┘      └──timespan──┘     counted 3, then 2; judged when
//!                                                 low watermark > end + lateness
//! ```
//!
//! A group without any event has no window: "fewer than 5" is never said of nothing.

use serde::{Deserialize, Serialize};

use crate::nanos::Nanos;
use crate::siphash::Key;
use crate::window::distinct::Distinct;

/// The open windows of one group, oldest first: one, or a few while events come out of order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Anchored {
    windows: Vec<OpenWindow>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct OpenWindow {
    first: Nanos,
    last: Nanos,
    events: u64,
    /// Only for value counts.
    values: Option<Distinct>,
}

/// A window that is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ClosedWindow {
    pub(crate) first: Nanos,
    pub(crate) last: Nanos,
    pub(crate) events: u64,
    /// What the condition counts: events, or distinct values.
    pub(crate) counted: u64,
}

impl Anchored {
    /// Returns when the oldest window began.
    pub(crate) fn first(&self) -> Option<Nanos> {
        self.windows.first().map(|window| window.first)
    }

    /// Returns the newest time.
    pub(crate) fn last(&self) -> Option<Nanos> {
        self.windows.last().map(|window| window.last)
    }

    /// Returns roughly how many bytes are on the heap.
    pub(crate) fn heap_bytes(&self) -> usize {
        let values = |window: &OpenWindow| window.values.as_ref().map_or(0, Distinct::heap_bytes);
        self.windows.len() * size_of::<OpenWindow>() + self.windows.iter().map(values).sum::<usize>()
    }

    /// Counts an event, with its value if values are counted.
    pub(crate) fn add(&mut self, time: Nanos, value: Option<Key>, span: Nanos, most_values: usize) {
        let holds = |window: &OpenWindow| (window.first..=window.first.saturating_add(span)).contains(&time);
        let place = match self.windows.iter().position(holds) {
            Some(place) => place,
            None => {
                let place = self.windows.partition_point(|window| window.first <= time);
                let fresh = OpenWindow { first: time, last: time, events: 0, values: None };
                self.windows.insert(place, fresh);
                place
            }
        };
        let Some(window) = self.windows.get_mut(place) else { return };
        window.last = window.last.max(time);
        window.events += 1;
        if let Some(value) = value {
            // The whole window counts: nothing is too old for it.
            window.values.get_or_insert_default().add(time, value, Nanos::MAX, most_values);
        }
    }

    /// Takes out the oldest window if nothing can fall into it any more.
    pub(crate) fn close(&mut self, low: Nanos, span: Nanos, lateness: Nanos) -> Option<ClosedWindow> {
        let end = self.first()?.saturating_add(span).saturating_add(lateness);
        if low <= end {
            return None;
        }
        let window = self.windows.remove(0);
        let counted = window.values.as_ref().map_or(window.events, |values| values.len() as u64);
        Some(ClosedWindow { first: window.first, last: window.last, events: window.events, counted })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_judged_only_when_nothing_late_can_come() {
        let mut windows = Anchored::default();
        for time in [100, 104, 110, 111] {
            windows.add(time, None, 10, 99);
        }
        assert_eq!(windows.close(115, 10, 5), None);
        windows.add(105, None, 10, 99);
        let closed = ClosedWindow { first: 100, last: 110, events: 4, counted: 4 };
        assert_eq!(windows.close(116, 10, 5), Some(closed));
        assert_eq!(windows.close(126, 10, 5), None);
        assert_eq!(windows.close(127, 10, 5).map(|window| window.events), Some(1));
        assert_eq!(windows.first(), None);
    }

    #[test]
    fn values_are_counted_over_the_whole_window() {
        let mut windows = Anchored::default();
        for (time, value) in [(0, 1), (5, 2), (10, 1)] {
            windows.add(time, Some(Key([value, 0])), 10, 99);
        }
        assert_eq!(windows.close(11, 10, 0).map(|window| (window.events, window.counted)), Some((3, 2)));
    }
}
