//! The correlator: hits in, detections out, a deterministic fold.
//!
//! Rows are taken one by one in the order of the journal, hits of a row in the order of the rules.
//! What is done depends on the events so far and on nothing else: not on where a batch ends, not
//! on a clock on the wall.

use canh_event::{EventBatch, Timestamp};
use canh_incident::Detection;
use canh_sigma::{Hit, RuleSet};

use crate::clock::Patience;
use crate::compile::compile;
use crate::counters::{Counters, RuleCounters};
use crate::limits::Limits;
use crate::nanos::nanos_of;
use crate::plan::{Plan, UnarmedRule};
use crate::run::Run;
use crate::state::State;
use crate::view::View;

/// Runs the correlations of a rule set over events in journal order.
#[derive(Debug)]
pub struct Correlator {
    plan: Plan,
    limits: Limits,
    pub(crate) state: State,
}

impl Correlator {
    /// Returns a correlator that has seen nothing. Correlations it cannot run are in
    /// [`Correlator::unarmed`].
    pub fn new(rules: &RuleSet, limits: Limits) -> Self {
        let plan = compile(rules, &limits);
        let state = State::new(&plan, limits.seed);
        Self { plan, limits, state }
    }

    /// Returns the correlations that cannot run, and why.
    pub fn unarmed(&self) -> &[UnarmedRule] {
        &self.plan.unarmed
    }

    pub(crate) fn plan(&self) -> &Plan {
        &self.plan
    }

    pub(crate) fn set_state(&mut self, state: State) {
        self.state = state;
        self.state.complete();
    }

    /// Returns what was counted so far, and how much memory the groups take.
    pub fn counters(&self) -> Counters {
        let machines = &self.state.machines;
        Counters {
            events: self.state.clock.events(),
            groups: machines.iter().map(|machine| machine.len() as u64).sum(),
            state_bytes: machines.iter().map(|machine| machine.bytes() as u64).sum(),
            evidence_bytes: self.state.shelf.held_bytes() as u64,
            ..self.state.counters
        }
    }

    /// Returns what was counted for each rule that is run: its id, and the counts.
    pub fn rule_counters(&self) -> impl Iterator<Item = (&str, RuleCounters)> {
        let machines = self.plan.machines.iter().zip(&self.state.machines);
        machines.zip(&self.state.rule_counters).map(|((plan, machine), counters)| {
            (plan.rule_id.as_str(), RuleCounters { groups: machine.len() as u64, ..*counters })
        })
    }

    /// Returns the newest event time, if there was any event.
    pub fn event_time(&self) -> Option<Timestamp> {
        self.state.clock.newest()
    }

    /// Takes a batch in. `record` is its place in the journal, `hits` are sorted by row. What is
    /// detected is appended to `out`: new detections, and detections that have grown.
    ///
    /// # Contract
    /// Batches come in the order of the journal, each once.
    pub fn observe(&mut self, batch: &EventBatch, record: u64, hits: &[Hit], out: &mut Vec<Detection>) {
        debug_assert!(hits.is_sorted_by_key(|hit| hit.row), "hits are sorted by row");
        let mut run = Run { plan: &self.plan, limits: &self.limits, state: &mut self.state, out };
        let mut view = View::new(batch, record, run.plan, run.state.seed);
        let sources: Vec<usize> = batch.origins().iter().map(|origin| run.state.clock.source_of(origin)).collect();
        let patience = Patience { lateness: nanos_of(run.limits.lateness), max_ahead: nanos_of(run.limits.max_ahead) };
        let mut hits = hits.iter().peekable();
        for row in batch.rows() {
            let origin = batch.row_origins().get(usize::from(row.index())).copied().unwrap_or_default();
            let source = sources.get(usize::from(origin)).copied().unwrap_or_default();
            let moment = run.state.clock.note(source, row.time().nanos(), row.received().nanos(), patience);
            run.state.counters.late += u64::from(moment.is_late);
            run.state.counters.from_future += u64::from(moment.is_from_future);
            run.sweep_if_due();
            while let Some(hit) = hits.next_if(|hit| hit.row == row.index()) {
                run.hit(&mut view, *hit, moment.time, moment.is_late);
            }
        }
    }
}

#[cfg(test)]
mod tests;
