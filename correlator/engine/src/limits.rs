//! What the correlator may hold, and how patient it is.

use std::time::Duration;

/// Most distinct sources whose watermarks are kept; the one not heard for longest makes room.
pub(crate) const MAX_SOURCES: usize = 65_536;

/// A source counts as live while it was heard within this many events.
pub(crate) const LIVE_WITHIN_EVENTS: u64 = 65_536;

/// Most times kept for one group of an event count. A rule that asks for more counts no further.
pub(crate) const MAX_TIMES: usize = 65_536;

/// Most occurrences kept for one group of a temporal correlation.
pub(crate) const MAX_OCCURRENCES: usize = 64;

/// Most links walked to find the events a correlation rests on.
pub(crate) const MAX_CHAIN_STEPS: usize = 1_024;

/// Most detections a correlation of correlations names as what it is built on.
pub(crate) const MAX_BUILT_ON: usize = 16;

/// A growing detection is said again when its count has grown by this part of itself (1/4) ...
pub(crate) const GROWTH_DIVISOR: u64 = 4;

/// ... or when this much event time has passed since it was last said ...
pub(crate) const LEAST_UPDATE_GAP: Duration = Duration::from_secs(5);

/// ... or this part (1/8) of how long it has lasted, whichever is longer: an attack of a day is
/// said some eighty times, not seventeen thousand.
pub(crate) const UPDATE_GAP_DIVISOR: i64 = 8;

/// The correlator's bounds. The defaults suit a server with 2 GB.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How far behind the newest event of its own source an event may be and still be correlated.
    pub lateness: Duration,
    /// How far ahead of the moment it was read an event may say it is; past that, the moment it
    /// was read stands in. Without it one forged line from the future would make everything after
    /// it late.
    pub max_ahead: Duration,
    /// Repetitions of a detection rule about the same things are one detection while no longer
    /// than this apart.
    pub repeat_span: Duration,
    /// Most groups of one rule; past it the rule's oldest group is dropped and counted.
    pub groups_per_rule: usize,
    /// Most bytes of all groups together, roughly; past it the growing rule's oldest group goes.
    pub state_bytes: usize,
    /// Most distinct values counted in one group; past it the oldest value goes.
    pub values_per_group: usize,
    /// Most bytes of recent events kept for evidence; 0 keeps none.
    pub evidence_bytes: usize,
    /// Secret of the group hashes. It should be drawn at random once for an installation; a
    /// snapshot keeps the one it was made with.
    pub seed: [u64; 2],
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            lateness: Duration::from_secs(300),
            max_ahead: Duration::from_secs(300),
            repeat_span: Duration::from_secs(600),
            groups_per_rule: 1_000_000,
            state_bytes: 256 << 20,
            values_per_group: 65_536,
            evidence_bytes: 8 << 20,
            seed: [0x6361_6e68_2063_616e, 0x6820_6361_6e68_2063],
        }
    }
}
