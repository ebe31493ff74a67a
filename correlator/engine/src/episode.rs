//! A rule that was met and is being met still: one detection that grows.
//!
//! ```text
//! events  ● ● ● ● ●          ●    ●  ●        ●
//!         └ 5 within span ┘  └ each no longer than the span after the one before ┘
//!                         ▲  ▲       ▲        ▲
//!                     said at 5,   then whenever the count grew by a quarter or some time
//!                                  passed, and once more, exactly, when it is over
//! ```
//!
//! When to say it again depends on counts and event times alone, never on where a batch ends, so
//! the same events make the same detections however they are cut (promise P9).

use canh_event::Timestamp;
use canh_incident::{DetectionId, MAX_GROUP_VALUE_BYTES, cut_text};
use serde::{Deserialize, Serialize};

use crate::limits::{GROWTH_DIVISOR, LEAST_UPDATE_GAP, MAX_BUILT_ON, UPDATE_GAP_DIVISOR};
use crate::nanos::{Nanos, nanos_of};
use crate::shelf::LinkNumber;
use crate::window::ClosedWindow;

/// Which group it is and where its last event came from, in words.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    pub(crate) group: Vec<(String, String)>,
    pub(crate) agency: Option<String>,
    pub(crate) agent: Option<String>,
}

/// How often one member of a correlation was met.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Tally {
    pub(crate) count: u64,
    pub(crate) first: Nanos,
    pub(crate) last: Nanos,
}

/// A detection under way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Episode {
    pub(crate) id: DetectionId,
    pub(crate) identity: Identity,
    pub(crate) first: Nanos,
    pub(crate) last: Nanos,
    pub(crate) count: u64,
    /// The most distinct values the window held, for value counts.
    pub(crate) distinct: u64,
    pub(crate) members: Vec<Tally>,
    pub(crate) built_on: Vec<DetectionId>,
    pub(crate) said_count: u64,
    pub(crate) said_at: Nanos,
    pub(crate) said_link: LinkNumber,
}

impl Identity {
    /// Adds one part of the group key, its value cut at a bound.
    pub(crate) fn push(&mut self, field: &str, value: &str) {
        self.group.push((field.to_owned(), cut_text(value, MAX_GROUP_VALUE_BYTES)));
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        self.group.iter().map(|(field, value)| field.len() + value.len() + 2 * size_of::<String>()).sum()
    }
}

impl Tally {
    /// Counts one more.
    pub(crate) fn add(&mut self, time: Nanos) {
        let is_first = self.count == 0;
        self.count += 1;
        self.first = if is_first { time } else { self.first.min(time) };
        self.last = if is_first { time } else { self.last.max(time) };
    }
}

impl Episode {
    /// Returns the episode of a window that was judged when it was over; it grows no more.
    pub(crate) fn of_closed(rule_id: &str, members: usize, identity: Identity, window: ClosedWindow) -> Self {
        let ClosedWindow { first, last, events, counted } = window;
        let mut tallies = vec![Tally::default(); members];
        if let [tally] = &mut tallies[..] {
            *tally = Tally { count: events, first, last };
        }
        Self {
            id: DetectionId::new(rule_id, Timestamp::from_nanos(first), &identity.group),
            identity,
            first,
            last,
            count: events,
            distinct: counted,
            members: tallies,
            built_on: Vec::new(),
            said_count: 0,
            said_at: last,
            said_link: 0,
        }
    }

    /// Returns roughly how many bytes it takes.
    pub(crate) fn heap_bytes(&self) -> usize {
        let built_on: usize = self.built_on.iter().map(|id| id.as_str().len() + size_of::<DetectionId>()).sum();
        let members = self.members.len() * size_of::<Tally>();
        size_of::<Self>() + self.id.as_str().len() + self.identity.heap_bytes() + members + built_on
    }

    /// Counts one more event.
    pub(crate) fn grow(&mut self, time: Nanos, member: u16, built_on: Option<&DetectionId>) {
        self.count += 1;
        self.first = self.first.min(time);
        self.last = self.last.max(time);
        if let Some(tally) = self.members.get_mut(usize::from(member)) {
            tally.add(time);
        }
        if let Some(id) = built_on
            && self.built_on.len() < MAX_BUILT_ON
            && !self.built_on.contains(id)
        {
            self.built_on.push(id.clone());
        }
    }

    /// Returns whether it has grown enough to be said again.
    pub(crate) fn is_worth_saying(&self) -> bool {
        let growth = (self.said_count / GROWTH_DIVISOR).max(1);
        let lasted = self.last.saturating_sub(self.first);
        let gap = nanos_of(LEAST_UPDATE_GAP).max(lasted / UPDATE_GAP_DIVISOR);
        self.count >= self.said_count.saturating_add(growth) || self.last >= self.said_at.saturating_add(gap)
    }

    /// Returns whether something was counted since it was last said.
    pub(crate) fn has_news(&self) -> bool {
        self.count > self.said_count
    }
}
