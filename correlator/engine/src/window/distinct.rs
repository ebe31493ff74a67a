//! Value count: the distinct values of a group inside the rule's timespan, counted without going
//! over the window again.
//!
//! Each value has the time it was last seen at; the window ends at the group's newest event and
//! values last seen before it are forgotten. An event that comes out of order counts if it falls
//! into that window. Few values lie in a sorted list; more go to a tree and a table, so an event
//! costs the logarithm of the number of values, whatever the window holds.

use std::collections::BTreeSet;

use hashbrown::HashMap;
use serde::{Deserialize, Serialize};

use crate::nanos::Nanos;
use crate::siphash::Key;

/// Up to this many values the sorted list is faster and far smaller.
const FEW: usize = 16;

/// The distinct values of one group, by the time each was last seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "Vec<(Nanos, Key)>", from = "Vec<(Nanos, Key)>")]
pub(crate) enum Distinct {
    /// Sorted by time.
    Few(Vec<(Nanos, Key)>),
    Many(Box<Table>),
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Table {
    by_time: BTreeSet<(Nanos, Key)>,
    last_seen: HashMap<Key, Nanos>,
}

impl Default for Distinct {
    fn default() -> Self {
        Self::Few(Vec::new())
    }
}

impl Distinct {
    /// Returns how many distinct values the window holds.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Few(values) => values.len(),
            Self::Many(table) => table.by_time.len(),
        }
    }

    /// Returns the oldest time at which a value of the window was last seen.
    pub(crate) fn first(&self) -> Option<Nanos> {
        match self {
            Self::Few(values) => values.first().map(|(time, _)| *time),
            Self::Many(table) => table.by_time.first().map(|(time, _)| *time),
        }
    }

    /// Returns the newest time.
    pub(crate) fn last(&self) -> Option<Nanos> {
        match self {
            Self::Few(values) => values.last().map(|(time, _)| *time),
            Self::Many(table) => table.by_time.last().map(|(time, _)| *time),
        }
    }

    /// Returns roughly how many bytes are on the heap.
    pub(crate) fn heap_bytes(&self) -> usize {
        const ENTRY: usize = size_of::<(Nanos, Key)>();
        match self {
            Self::Few(values) => values.len() * ENTRY,
            // A tree node is two thirds full on average, a table seven eighths at most.
            Self::Many(table) => table.by_time.len() * ENTRY * 3,
        }
    }

    /// Counts a value seen at `time`. Returns whether it is new to the window; `None` if the event
    /// lies before the window.
    pub(crate) fn add(&mut self, time: Nanos, value: Key, span: Nanos, most: usize) -> Option<bool> {
        let newest = self.last().map_or(time, |last| last.max(time));
        let start = newest.saturating_sub(span);
        if time < start {
            return None;
        }
        self.forget_before(start);
        let is_new = self.put(time, value);
        if self.len() > most.max(1) {
            self.forget_oldest();
        }
        if let Self::Few(values) = self
            && values.len() > FEW
        {
            let table = Table {
                by_time: values.iter().copied().collect(),
                last_seen: values.iter().map(|(time, value)| (*value, *time)).collect(),
            };
            *self = Self::Many(Box::new(table));
        }
        Some(is_new)
    }

    fn put(&mut self, time: Nanos, value: Key) -> bool {
        match self {
            Self::Few(values) => {
                let known = values.iter().position(|(_, known)| *known == value);
                let mut latest = time;
                if let Some(place) = known {
                    let (before, _) = values.remove(place);
                    latest = latest.max(before);
                }
                let place = values.partition_point(|entry| *entry < (latest, value));
                values.insert(place, (latest, value));
                known.is_none()
            }
            Self::Many(table) => {
                let before = table.last_seen.get(&value).copied();
                let latest = before.map_or(time, |before| before.max(time));
                if let Some(before) = before {
                    table.by_time.remove(&(before, value));
                }
                table.by_time.insert((latest, value));
                table.last_seen.insert(value, latest);
                before.is_none()
            }
        }
    }

    fn forget_before(&mut self, start: Nanos) {
        match self {
            Self::Few(values) => {
                let old = values.partition_point(|(time, _)| *time < start);
                values.drain(..old);
            }
            Self::Many(_) => {
                while self.first().is_some_and(|first| first < start) {
                    self.forget_oldest();
                }
            }
        }
    }

    fn forget_oldest(&mut self) {
        match self {
            Self::Few(values) if values.is_empty() => {}
            Self::Few(values) => drop(values.remove(0)),
            Self::Many(table) => {
                if let Some((_, value)) = table.by_time.pop_first() {
                    table.last_seen.remove(&value);
                }
            }
        }
    }
}

impl From<Distinct> for Vec<(Nanos, Key)> {
    fn from(distinct: Distinct) -> Self {
        match distinct {
            Distinct::Few(values) => values,
            Distinct::Many(table) => table.by_time.into_iter().collect(),
        }
    }
}

impl From<Vec<(Nanos, Key)>> for Distinct {
    fn from(values: Vec<(Nanos, Key)>) -> Self {
        if values.len() <= FEW {
            return Self::Few(values);
        }
        let last_seen = values.iter().map(|(time, value)| (*value, *time)).collect();
        Self::Many(Box::new(Table { by_time: values.into_iter().collect(), last_seen }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_value_seen_again_is_one_value_and_stays() {
        let mut distinct = Distinct::default();
        let value = |number| Key([number, 0]);
        assert_eq!(distinct.add(0, value(1), 10, 99), Some(true));
        assert_eq!(distinct.add(6, value(1), 10, 99), Some(false));
        assert_eq!(distinct.add(16, value(2), 10, 99), Some(true));
        assert_eq!(distinct.len(), 2, "seen at 6 and 16: both ends of the window count");
        assert_eq!(distinct.add(17, value(2), 10, 99), Some(false));
        assert_eq!(distinct.len(), 1);
        assert_eq!(distinct.add(6, value(3), 10, 99), None, "before the window");
    }

    #[test]
    fn values_are_bounded_and_the_oldest_goes() {
        let mut distinct = Distinct::default();
        for number in 0..1_000 {
            distinct.add(number, Key([number.cast_unsigned(), 0]), 1_000_000, 100);
        }
        assert_eq!((distinct.len(), distinct.first()), (100, Some(900)));
    }

    proptest! {
        #[test]
        fn the_count_is_that_of_the_plain_twin(
            steps in proptest::collection::vec((0..4_i64, 0..6_i64, 0..60_u64), 1..300),
            span in 1..80_i64,
        ) {
            let (mut distinct, mut all, mut newest) = (Distinct::default(), Vec::new(), 0_i64);
            for (forward, back, value) in steps {
                let time = (newest + forward - back).max(0);
                newest = newest.max(time);
                if time >= newest - span {
                    all.push((time, value));
                }
                distinct.add(time, Key([value, 1]), span, usize::MAX);
                let mut inside: Vec<u64> =
                    all.iter().filter(|(time, _)| *time >= newest - span).map(|(_, value)| *value).collect();
                inside.sort_unstable();
                inside.dedup();
                prop_assert_eq!(distinct.len(), inside.len());
            }
            let bytes = postcard::to_allocvec(&distinct).unwrap();
            let again: Distinct = postcard::from_bytes(&bytes).unwrap();
            prop_assert_eq!(postcard::to_allocvec(&again).unwrap(), bytes);
        }
    }
}
