//! Temporal: which members of a correlation occurred when, and whether they met within the rule's
//! timespan, in any order or in the rule's.
//!
//! ```text
//! time    ──1────2──────1───────3──►     members by place; 1 and 2 and 3 must meet
//!                 └─────timespan─────┘    the window may begin at any occurrence
//! ```

use serde::{Deserialize, Serialize};

use crate::limits::MAX_OCCURRENCES;
use crate::nanos::Nanos;

/// The occurrences of one group, sorted by time; at most [`MAX_OCCURRENCES`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Occurrences(Vec<(Nanos, u16)>);

/// What a temporal correlation asks of its members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum MemberTest {
    /// All of so many members.
    AllOf(u16),
    /// All of so many members, each not before the one named before it.
    InOrder(u16),
    /// At least so many different ones.
    AtLeast(u16),
    /// An expression of its own.
    Expression(MemberExpression),
}

/// A boolean expression over members by place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum MemberExpression {
    All(Vec<MemberExpression>),
    Any(Vec<MemberExpression>),
    Not(Box<MemberExpression>),
    Member(u16),
}

impl MemberExpression {
    fn holds(&self, has: &impl Fn(u16) -> bool) -> bool {
        match self {
            Self::All(parts) => parts.iter().all(|part| part.holds(has)),
            Self::Any(parts) => parts.iter().any(|part| part.holds(has)),
            Self::Not(part) => !part.holds(has),
            Self::Member(place) => has(*place),
        }
    }
}

impl MemberTest {
    fn is_met_by(&self, window: &[(Nanos, u16)]) -> bool {
        let has = |member: u16| window.iter().any(|(_, known)| *known == member);
        match self {
            Self::AllOf(count) => (0..*count).all(has),
            Self::InOrder(count) => is_in_order(window, *count),
            Self::AtLeast(count) => {
                let mut members: Vec<u16> = window.iter().map(|(_, member)| *member).collect();
                members.sort_unstable();
                members.dedup();
                members.len() >= usize::from(*count)
            }
            Self::Expression(expression) => expression.holds(&has),
        }
    }
}

/// Returns whether the window holds an occurrence of each member, none before that of the member
/// named before it. Occurrences of one moment may stand in any order.
fn is_in_order(window: &[(Nanos, u16)], count: u16) -> bool {
    let mut reached = Nanos::MIN;
    for member in 0..count {
        let next = window.iter().find(|(time, known)| *known == member && *time >= reached);
        match next {
            Some((time, _)) => reached = *time,
            None => return false,
        }
    }
    true
}

impl Occurrences {
    /// Returns the newest time.
    pub(crate) fn last(&self) -> Option<Nanos> {
        self.0.last().map(|(time, _)| *time)
    }

    /// Returns how many bytes are on the heap.
    pub(crate) fn heap_bytes(&self) -> usize {
        self.0.len() * size_of::<(Nanos, u16)>()
    }

    /// Adds an occurrence; those before `floor` can matter to nothing that may still come. Returns
    /// the occurrences of a window that holds this one and meets the test.
    pub(crate) fn add(
        &mut self,
        time: Nanos,
        member: u16,
        test: &MemberTest,
        span: Nanos,
        floor: Nanos,
    ) -> Option<Vec<(Nanos, u16)>> {
        let old = self.0.partition_point(|(known, _)| *known < floor.min(time));
        self.0.drain(..old);
        let place = self.0.partition_point(|known| *known <= (time, member));
        self.0.insert(place, (time, member));
        let met = self.window_that_meets(time, test, span);
        if self.0.len() > MAX_OCCURRENCES {
            self.thin_out(time);
        }
        met
    }

    fn window_that_meets(&self, time: Nanos, test: &MemberTest, span: Nanos) -> Option<Vec<(Nanos, u16)>> {
        let earliest = time.saturating_sub(span);
        for (start, (first, _)) in self.0.iter().enumerate() {
            if *first > time {
                break;
            }
            if *first < earliest {
                continue;
            }
            let end = self.0.partition_point(|(known, _)| *known <= first.saturating_add(span));
            let window = self.0.get(start..end).unwrap_or_default();
            if test.is_met_by(window) {
                return Some(window.to_vec());
            }
        }
        None
    }

    /// Forgets one occurrence that says least: one that stands between two of its own member, else
    /// the one farthest from `time`.
    fn thin_out(&mut self, time: Nanos) {
        let members: Vec<u16> = self.0.iter().map(|(_, member)| *member).collect();
        let between = members.windows(3).position(|three| matches!(three, [a, b, c] if a == b && b == c));
        if let Some(before) = between {
            self.0.remove(before + 1);
            return;
        }
        let distance = |entry: Option<&(Nanos, u16)>| entry.map_or(0, |(known, _)| known.abs_diff(time));
        if distance(self.0.last()) > distance(self.0.first()) {
            self.0.pop();
        } else {
            self.0.remove(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn meets(test: &MemberTest, span: Nanos, events: &[(Nanos, u16)]) -> Vec<bool> {
        let mut occurrences = Occurrences::default();
        events.iter().map(|(time, member)| occurrences.add(*time, *member, test, span, 0).is_some()).collect()
    }

    #[test]
    fn any_order_will_do_within_the_timespan() {
        assert_eq!(meets(&MemberTest::AllOf(2), 10, &[(0, 1), (10, 0)]), [false, true]);
        assert_eq!(meets(&MemberTest::AllOf(2), 10, &[(0, 1), (11, 0)]), [false, false]);
    }

    #[test]
    fn order_is_by_time_and_not_by_arrival() {
        let ordered = MemberTest::InOrder(3);
        assert_eq!(meets(&ordered, 10, &[(0, 0), (5, 2), (3, 1)]), [false, false, true]);
        assert_eq!(meets(&ordered, 10, &[(0, 1), (1, 0), (2, 2)]), [false, false, false]);
        assert_eq!(meets(&ordered, 10, &[(4, 2), (4, 1), (4, 0)]), [false, false, true], "one moment has no order");
    }

    #[test]
    fn an_expression_of_members_is_asked_of_one_window() {
        use MemberExpression::{All, Any, Member, Not};
        let either = All(vec![Member(0), Any(vec![Member(1), Member(2)])]);
        assert_eq!(meets(&MemberTest::Expression(either), 10, &[(0, 2), (5, 0)]), [false, true]);
        let without = All(vec![Member(0), Not(Box::new(Member(1)))]);
        assert_eq!(meets(&MemberTest::Expression(without), 10, &[(0, 1), (5, 0), (16, 0)]), [false, true, true]);
        assert_eq!(meets(&MemberTest::AtLeast(2), 10, &[(0, 1), (5, 1), (9, 4)]), [false, false, true]);
    }

    #[test]
    fn a_flood_of_one_member_does_not_push_out_the_other() {
        let mut events = vec![(0, 0)];
        events.extend((1..1_000).map(|time| (time, 1)));
        let mut occurrences = Occurrences::default();
        for (time, member) in events {
            occurrences.add(time, member, &MemberTest::AllOf(3), 10_000, 0);
        }
        assert!(occurrences.0.len() <= MAX_OCCURRENCES);
        assert!(occurrences.add(1_000, 2, &MemberTest::AllOf(3), 10_000, 0).is_some());
    }

    proptest! {
        #[test]
        fn what_is_met_is_what_the_plain_twin_meets(
            steps in proptest::collection::vec((0..9_i64, 0..9_i64, 0..3_u16), 1..60),
            span in 1..30_i64,
        ) {
            let (mut occurrences, mut all, mut newest) = (Occurrences::default(), Vec::new(), 100);
            for (forward, back, member) in steps {
                newest += forward;
                let time = newest - back;
                all.push((time, member));
                let starts = all.iter().map(|(start, _)| *start).filter(|start| (*start..=start + span).contains(&time));
                let has = |start: i64, wanted: u16| {
                    all.iter().any(|(time, member)| *member == wanted && (start..=start + span).contains(time))
                };
                let expected = starts.into_iter().any(|start| (0..3).all(|member| has(start, member)));
                let met = occurrences.add(time, member, &MemberTest::AllOf(3), span, newest - 9 - span);
                prop_assert_eq!(met.is_some(), expected);
            }
        }
    }
}
