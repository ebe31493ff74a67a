//! Everything the correlator remembers, and a snapshot holds.

use serde::{Deserialize, Serialize};

use crate::clock::Clock;
use crate::counters::{Counters, RuleCounters};
use crate::machine::Machine;
use crate::nanos::Nanos;
use crate::plan::Plan;
use crate::shelf::Shelf;
use crate::siphash::{Key, Seed};

/// The group a machine counted last, and by which event, counted over all.
type LastCounted = Option<(u64, Key)>;

/// Everything a snapshot holds.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct State {
    pub(crate) seed: Seed,
    pub(crate) clock: Clock,
    pub(crate) shelf: Shelf,
    pub(crate) machines: Vec<Machine>,
    pub(crate) rule_counters: Vec<RuleCounters>,
    pub(crate) counters: Counters,
    pub(crate) swept_at: Nanos,
    /// The group each machine counted last, with its event: an event that meets two members of one
    /// count is counted once. Within one event only, so a snapshot need not hold it.
    #[serde(skip)]
    pub(crate) last_counted: Vec<LastCounted>,
}

impl State {
    /// Returns the state before the first event.
    pub(crate) fn new(plan: &Plan, seed: Seed) -> Self {
        let machines: Vec<Machine> = plan.machines.iter().map(|machine| Machine::new(&machine.kind)).collect();
        Self {
            seed,
            clock: Clock::default(),
            shelf: Shelf::default(),
            rule_counters: vec![RuleCounters::default(); machines.len()],
            last_counted: vec![None; machines.len()],
            machines,
            counters: Counters::default(),
            swept_at: Nanos::MIN,
        }
    }

    /// Makes again what a snapshot does not hold.
    pub(crate) fn complete(&mut self) {
        self.last_counted = vec![None; self.machines.len()];
        self.clock.reindex();
    }
}
