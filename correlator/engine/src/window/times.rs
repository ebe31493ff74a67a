//! Event count: the times of a group's events, sorted, and whether any window of the rule's
//! timespan holds enough of them.
//!
//! Up to three times are kept in place, which is what nearly every group of a big table has; more
//! go to the heap. Only times that can still matter are kept: an uncrossed window holds at most `n - 1`
//! events and an event may come `lateness` late, so `(n - 1) * (lateness / span + 2) + 1` are enough.

use serde::{Deserialize, Serialize};

use crate::limits::MAX_TIMES;
use crate::nanos::Nanos;

/// The sorted times of one group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "Vec<Nanos>", from = "Vec<Nanos>")]
pub(crate) enum Times {
    #[default]
    Empty,
    One(Nanos),
    Two([Nanos; 2]),
    Three([Nanos; 3]),
    /// The first `len` entries count.
    Many {
        len: u32,
        times: Box<[Nanos]>,
    },
}

/// A window that holds enough events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Crossing {
    pub(crate) first: Nanos,
    pub(crate) last: Nanos,
    pub(crate) count: u64,
}

/// What an event count asks for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CountTest {
    pub(crate) at_least: usize,
    pub(crate) span: Nanos,
    pub(crate) lateness: Nanos,
}

impl CountTest {
    fn most_times(self) -> usize {
        let windows = self.lateness.div_euclid(self.span.max(1)).saturating_add(2);
        let windows = usize::try_from(windows).unwrap_or(MAX_TIMES);
        (self.at_least.saturating_sub(1)).saturating_mul(windows).saturating_add(1).min(MAX_TIMES)
    }
}

impl Times {
    pub(crate) fn as_slice(&self) -> &[Nanos] {
        match self {
            Self::Empty => &[],
            Self::One(time) => std::slice::from_ref(time),
            Self::Two(times) => times,
            Self::Three(times) => times,
            Self::Many { len, times } => times.get(..*len as usize).unwrap_or_default(),
        }
    }

    /// Returns the newest time.
    pub(crate) fn last(&self) -> Option<Nanos> {
        self.as_slice().last().copied()
    }

    /// Returns roughly how many bytes are on the heap; a function of the times alone.
    pub(crate) fn heap_bytes(&self) -> usize {
        match self {
            Self::Many { len, .. } => *len as usize * size_of::<Nanos>() + 16,
            _ => 0,
        }
    }

    /// Adds the time of an event. Times before `floor` can matter to nothing that may still come
    /// and are forgotten once room is needed. Returns a window that holds the event and enough
    /// others.
    pub(crate) fn add(&mut self, time: Nanos, test: CountTest, floor: Nanos) -> Option<Crossing> {
        let place = self.insert(time, test, floor);
        crossing(self.as_slice(), place, test)
    }

    fn insert(&mut self, time: Nanos, test: CountTest, floor: Nanos) -> usize {
        self.make_room(time, test, floor);
        let len = self.as_slice().len();
        let place = self.as_slice().partition_point(|known| *known <= time);
        match self {
            Self::Empty => *self = Self::One(time),
            Self::One(known) => *self = Self::Two([time.min(*known), time.max(*known)]),
            Self::Two([first, second]) => {
                let mut times = [*first, *second, time];
                times.sort_unstable();
                *self = Self::Three(times);
            }
            Self::Three(known) => {
                let mut times = vec![0; 6].into_boxed_slice();
                for (slot, known) in times.iter_mut().zip(known.iter()) {
                    *slot = *known;
                }
                put(&mut times, 3, place, time);
                *self = Self::Many { len: 4, times };
            }
            Self::Many { len: count, times } => {
                if times.len() == len {
                    let mut larger = std::mem::take(times).into_vec();
                    larger.resize((len + len / 2).min(MAX_TIMES + 1), 0);
                    *times = larger.into_boxed_slice();
                }
                put(times, len, place, time);
                *count += 1;
            }
        }
        place
    }

    /// Forgets what is before `floor` once that is half of all or the bound is reached, and if that
    /// is not enough the time farthest from the new one. What is forgotten depends on the times alone, not on how much room there
    /// happens to be, so a restart changes nothing.
    fn make_room(&mut self, time: Nanos, test: CountTest, floor: Nanos) {
        let known = self.as_slice();
        let is_half_old = known.len() >= 3 && known.get(known.len() / 2).is_some_and(|middle| *middle < floor);
        let most = test.most_times();
        if !is_half_old && known.len() < most {
            return;
        }
        let mut times = known.to_vec();
        times.retain(|known| *known >= floor);
        while !times.is_empty() && times.len() >= most {
            let first = times.first().map_or(0, |first| first.abs_diff(time));
            let last = times.last().map_or(0, |last| last.abs_diff(time));
            if last > first {
                times.pop();
            } else {
                times.remove(0);
            }
        }
        let room = times.len() + times.len() / 2;
        *self = Self::with_room(&times, room);
    }

    fn with_room(sorted: &[Nanos], room: usize) -> Self {
        match *sorted {
            [] => Self::Empty,
            [time] => Self::One(time),
            [first, second] => Self::Two([first, second]),
            [first, second, third] => Self::Three([first, second, third]),
            _ => {
                let mut times = Vec::with_capacity(room);
                times.extend_from_slice(sorted);
                times.resize(room.max(sorted.len()), 0);
                let len = u32::try_from(sorted.len()).unwrap_or(u32::MAX);
                Self::Many { len, times: times.into_boxed_slice() }
            }
        }
    }
}

/// Puts `time` at `place` of the first `len` entries, moving those behind it.
fn put(times: &mut [Nanos], len: usize, place: usize, time: Nanos) {
    if place < len && len < times.len() {
        times.copy_within(place..len, place + 1);
    }
    if let Some(slot) = times.get_mut(place) {
        *slot = time;
    }
}

/// Returns the earliest window of the timespan that holds the time at `place` and at least as many
/// as asked for.
fn crossing(times: &[Nanos], place: usize, test: CountTest) -> Option<Crossing> {
    let needed = test.at_least.max(1);
    let earliest = (place + 1).saturating_sub(needed);
    for start in earliest..=place {
        let (Some(first), Some(last_needed)) = (times.get(start), times.get(start + needed - 1)) else { return None };
        let limit = first.saturating_add(test.span);
        if *last_needed > limit {
            continue;
        }
        let end = times.partition_point(|time| *time <= limit);
        let last = end.checked_sub(1).and_then(|index| times.get(index)).copied().unwrap_or(*last_needed);
        return Some(Crossing { first: *first, last, count: (end - start) as u64 });
    }
    None
}

impl From<Times> for Vec<Nanos> {
    fn from(times: Times) -> Self {
        times.as_slice().to_vec()
    }
}

impl From<Vec<Nanos>> for Times {
    fn from(sorted: Vec<Nanos>) -> Self {
        Self::with_room(&sorted, sorted.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn test(at_least: usize, span: Nanos, lateness: Nanos) -> CountTest {
        CountTest { at_least, span, lateness }
    }

    #[test]
    fn both_ends_of_the_window_count() {
        let asked = test(3, 10, 0);
        let mut times = Times::default();
        assert_eq!(times.add(0, asked, 0), None);
        assert_eq!(times.add(5, asked, 0), None);
        let mut late = times.clone();
        assert_eq!(late.add(11, asked, 0), None, "one nanosecond past the timespan");
        assert_eq!(times.add(10, asked, 0), Some(Crossing { first: 0, last: 10, count: 3 }));
    }

    #[test]
    fn events_of_one_moment_are_several() {
        let mut times = Times::default();
        for _ in 0..4 {
            assert_eq!(times.add(7, test(5, 1, 0), 0), None);
        }
        assert_eq!(times.add(7, test(5, 1, 0), 0), Some(Crossing { first: 7, last: 7, count: 5 }));
    }

    #[test]
    fn a_quiet_group_stays_within_its_bound() {
        let asked = test(5, 10, 20);
        let mut times = Times::default();
        for step in 0..1_000 {
            assert_eq!(times.add(step * 11, asked, step * 11 - 30), None);
            assert!(times.as_slice().len() <= 6, "{}", times.as_slice().len());
        }
    }

    proptest! {
        /// The plain twin keeps every time and tries every window.
        #[test]
        fn a_window_is_crossed_exactly_when_the_plain_twin_says_so(
            steps in proptest::collection::vec((0..12_i64, 0..25_i64), 1..120),
            at_least in 1..6_usize,
            span in 1..40_i64,
        ) {
            let lateness = 25;
            let asked = test(at_least, span, lateness);
            let (mut times, mut all, mut newest) = (Times::default(), Vec::new(), 0);
            for (forward, back) in steps {
                newest += forward;
                let time = newest - back;
                all.push(time);
                let enough = |start: &i64| {
                    (*start..=*start + span).contains(&time)
                        && all.iter().filter(|known| (*start..=*start + span).contains(known)).count() >= at_least
                };
                let expected = all.iter().any(enough);
                let found = times.add(time, asked, newest - span - lateness);
                prop_assert_eq!(found.is_some(), expected);
                if let Some(found) = found {
                    prop_assert!(found.last - found.first <= span && found.count >= at_least as u64);
                    times = Times::default();
                    all.clear();
                }
            }
        }
    }
}
