//! Event time as it stands: a watermark for each source, and the time below which nothing that is
//! still on its way can fall.
//!
//! ```text
//! source a  ──●───●──●        watermark of a: its newest event
//! source b  ────●──●──────●   an event further back than `lateness` of its OWN source is late
//! low       ──────────●       the lowest watermark of the sources that are live
//! ```
//!
//! An agent whose clock is an hour ahead makes nobody else's events late and expires nobody else's
//! groups: only its own watermark moves, and `low` is a minimum. A source that fell silent holds
//! `low` back only until 65,536 events have passed without it. Everything here is a function of
//! the events in their order, so a replay sees the same clock.

use canh_event::{Origin, Timestamp};
use hashbrown::HashMap;
use serde::{Deserialize, Serialize};

use crate::limits::{LIVE_WITHIN_EVENTS, MAX_SOURCES};
use crate::nanos::Nanos;

/// `low` is looked for again after it could have moved this far.
const STEP: Nanos = 1_000_000_000;

/// How often, in events, sources are looked at for whether they are still live.
const LIVENESS_EVERY: u64 = 4_096;

/// When an event counts as having happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Moment {
    pub(crate) time: Nanos,
    pub(crate) is_late: bool,
    pub(crate) is_from_future: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct SourceClock {
    name: String,
    watermark: Nanos,
    heard: u64,
}

/// The watermarks of all sources.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Clock {
    sources: Vec<SourceClock>,
    #[serde(skip)]
    by_name: HashMap<String, usize>,
    events: u64,
    low: Option<Nanos>,
    /// Which source `low` was taken from: while it stands still, so does `low`.
    low_source: usize,
    high: Nanos,
}

/// The bounds a clock judges by, in nanoseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    pub(crate) lateness: Nanos,
    pub(crate) max_ahead: Nanos,
}

impl Clock {
    /// Returns the place of an origin's source, making one if it is new.
    pub(crate) fn source_of(&mut self, origin: &Origin) -> usize {
        let agent = origin.agent.as_ref().map_or("", |agent| agent.as_str());
        let source = origin.source.as_ref().map_or("", |source| source.as_str());
        let name = format!("{agent}\n{}\n{source}", origin.host);
        if let Some(place) = self.by_name.get(&name) {
            return *place;
        }
        let fresh = SourceClock { name: name.clone(), watermark: Nanos::MIN, heard: self.events };
        let place = if self.sources.len() < MAX_SOURCES {
            self.sources.push(fresh);
            self.sources.len() - 1
        } else {
            self.replace_longest_silent(fresh)
        };
        self.by_name.insert(name, place);
        place
    }

    fn replace_longest_silent(&mut self, fresh: SourceClock) -> usize {
        let silent = self.sources.iter().enumerate().min_by_key(|(_, source)| source.heard);
        let place = silent.map_or(0, |(place, _)| place);
        if let Some(slot) = self.sources.get_mut(place) {
            self.by_name.remove(&slot.name);
            *slot = fresh;
        }
        place
    }

    /// Takes note of an event and says when it counts as having happened.
    pub(crate) fn note(&mut self, place: usize, time: Nanos, received: Nanos, patience: Patience) -> Moment {
        self.events += 1;
        // A batch that was read at no known time says so by the epoch.
        let is_from_future = received != 0 && time > received.saturating_add(patience.max_ahead);
        let time = if is_from_future { received } else { time };
        let Some(source) = self.sources.get_mut(place) else {
            return Moment { time, is_late: false, is_from_future };
        };
        let is_late = time < source.watermark.saturating_sub(patience.lateness);
        source.watermark = source.watermark.max(time);
        source.heard = self.events;
        let watermark = source.watermark;
        self.high = self.high.max(watermark);
        let is_lower = self.low.is_none_or(|low| watermark < low);
        let may_move = place == self.low_source && self.low.is_some_and(|low| watermark >= low.saturating_add(STEP));
        if is_lower || may_move || self.events.is_multiple_of(LIVENESS_EVERY) {
            self.find_low();
        }
        Moment { time, is_late, is_from_future }
    }

    fn find_low(&mut self) {
        let oldest = self.events.saturating_sub(LIVE_WITHIN_EVENTS);
        let live = self.sources.iter().enumerate().filter(|(_, source)| source.heard >= oldest);
        let known = live.filter(|(_, source)| source.watermark != Nanos::MIN);
        if let Some((place, source)) = known.min_by_key(|(_, source)| source.watermark) {
            self.low = Some(source.watermark);
            self.low_source = place;
        }
    }

    /// Returns the lowest watermark of the live sources; the least time there is before any event.
    pub(crate) fn low(&self) -> Nanos {
        self.low.unwrap_or(Nanos::MIN)
    }

    /// Returns the newest event time of any source, if there was any event.
    pub(crate) fn newest(&self) -> Option<Timestamp> {
        (self.events > 0).then_some(Timestamp::from_nanos(self.high))
    }

    /// Returns how many events were noted.
    pub(crate) fn events(&self) -> u64 {
        self.events
    }

    /// Makes the index again that a snapshot does not hold.
    pub(crate) fn reindex(&mut self) {
        let names = self.sources.iter().enumerate();
        self.by_name = names.map(|(place, source)| (source.name.clone(), place)).collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Patience = Patience { lateness: 10, max_ahead: 1_000_000 };
    const SECOND: Nanos = STEP;

    fn origin(agent: &str) -> Origin {
        Origin { agent: agent.parse().ok(), ..Origin::default() }
    }

    #[test]
    fn late_is_more_than_the_lateness_behind_its_own_source() {
        let mut clock = Clock::default();
        let (ahead, honest) = (clock.source_of(&origin("ahead")), clock.source_of(&origin("honest")));
        clock.note(ahead, 3_600 * SECOND, 0, PATIENCE);
        assert!(!clock.note(honest, 100, 0, PATIENCE).is_late);
        assert!(!clock.note(honest, 90, 0, PATIENCE).is_late, "exactly the lateness is not late");
        assert!(clock.note(honest, 89, 0, PATIENCE).is_late);
        assert_eq!(clock.low(), 100);
    }

    #[test]
    fn a_line_from_the_future_moves_no_watermark() {
        let mut clock = Clock::default();
        let place = clock.source_of(&origin("a"));
        let forged = clock.note(place, 3_600 * SECOND, 500, PATIENCE);
        assert_eq!(forged, Moment { time: 500, is_late: false, is_from_future: true });
        assert!(!clock.note(place, 495, 500, PATIENCE).is_late);
    }

    #[test]
    fn a_silent_source_holds_the_low_mark_only_for_a_while() {
        let mut clock = Clock::default();
        let (silent, live) = (clock.source_of(&origin("silent")), clock.source_of(&origin("live")));
        clock.note(silent, 0, 0, PATIENCE);
        let live_within = LIVE_WITHIN_EVENTS.cast_signed();
        for step in 1..live_within {
            clock.note(live, step * SECOND, 0, PATIENCE);
        }
        assert_eq!(clock.low(), 0);
        for step in 0..2 * LIVENESS_EVERY.cast_signed() {
            clock.note(live, (live_within + step) * SECOND, 0, PATIENCE);
        }
        assert!(clock.low() > live_within * SECOND);
    }
}
