//! Which segments may go: the rule alone, without a disk or a clock.
//!
//! Whole sealed segments go, oldest first, and never one that holds a record still needed. By size
//! the oldest go until the rest fits; by age those whose last record was synced too long ago.

use std::time::{Duration, SystemTime};

use crate::info::{SegmentInfo, SegmentState};
use crate::lsn::Lsn;

/// How much of a journal is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// Most bytes on disk, all segments together; no bound if not set. The segment being written and
    /// those still needed stay, even if they are longer.
    pub max_bytes: Option<u64>,
    /// How long ago the last record of a segment may have been synced; no bound if not set. A segment
    /// whose time is not known stays until the size says otherwise.
    pub max_age: Option<Duration>,
}

impl Retention {
    /// Returns the first record to keep: everything before it may go. `segments` are in order, `needed`
    /// is the first record that somebody still has to read.
    pub fn first_kept(&self, segments: &[SegmentInfo], now: SystemTime, needed: Lsn) -> Lsn {
        let mut bytes: u64 = segments.iter().map(|segment| segment.bytes).sum();
        let mut kept = segments.first().map_or(Lsn::FIRST, |segment| segment.first);
        for pair in segments.windows(2) {
            let [segment, after] = pair else { break };
            let is_due = self.max_bytes.is_some_and(|most| bytes > most) || self.is_too_old(segment, now);
            if !is_due || segment.state == SegmentState::Open || after.first > needed {
                break;
            }
            bytes = bytes.saturating_sub(segment.bytes);
            kept = after.first;
        }
        kept
    }

    fn is_too_old(&self, segment: &SegmentInfo, now: SystemTime) -> bool {
        // A clock that was set back makes nothing old.
        let age = segment.until.and_then(|until| now.duration_since(until).ok());
        self.max_age.zip(age).is_some_and(|(most, age)| age > most)
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);

    fn hours(count: u32) -> SystemTime {
        UNIX_EPOCH + count * HOUR
    }

    /// Segments at 1, 10, 20, 30 of 100 bytes, synced last at hours 1, 2, not known, and the open one.
    fn segments() -> Vec<SegmentInfo> {
        let times = [Some(hours(1)), Some(hours(2)), None, Some(hours(9))];
        let segment = |(n, until): (usize, Option<SystemTime>)| SegmentInfo {
            first: Lsn([1, 10, 20, 30][n]),
            last: Some(Lsn([9, 19, 29, 35][n])),
            bytes: 100,
            written_bytes: 400,
            state: [SegmentState::Compressed, SegmentState::Sealed, SegmentState::Sealed, SegmentState::Open][n],
            since: None,
            until,
        };
        times.into_iter().enumerate().map(segment).collect()
    }

    fn kept(max_bytes: Option<u64>, max_age: Option<Duration>, needed: u64) -> u64 {
        Retention { max_bytes, max_age }.first_kept(&segments(), hours(9), Lsn(needed)).0
    }

    #[test]
    fn without_a_bound_everything_stays() {
        assert_eq!(kept(None, None, u64::MAX), 1);
        assert_eq!(Retention::default().first_kept(&[], hours(9), Lsn(5)), Lsn::FIRST);
    }

    #[test]
    fn the_oldest_go_until_the_rest_fits() {
        for (max_bytes, first) in [(400, 1), (399, 10), (300, 10), (299, 20), (100, 30), (99, 30), (0, 30)] {
            assert_eq!(kept(Some(max_bytes), None, u64::MAX), first, "{max_bytes}");
        }
    }

    #[test]
    fn what_was_synced_too_long_ago_goes_and_what_is_behind_an_unknown_time_stays() {
        for (age, first) in [(9, 1), (8, 1), (7, 10), (6, 20), (1, 20), (0, 20)] {
            assert_eq!(kept(None, Some(age * HOUR), u64::MAX), first, "{age}");
        }
    }

    #[test]
    fn nothing_still_needed_goes_whatever_the_bound() {
        for (needed, first) in [(1, 1), (9, 1), (10, 10), (11, 10), (19, 10), (20, 20), (30, 30), (99, 30)] {
            assert_eq!(kept(Some(0), Some(Duration::ZERO), needed), first, "{needed}");
        }
    }

    #[test]
    fn clock_set_back_makes_nothing_old() {
        let rule = Retention { max_bytes: None, max_age: Some(Duration::ZERO) };
        assert_eq!(rule.first_kept(&segments(), hours(0), Lsn(u64::MAX)), Lsn(1));
    }
}
