//! Events being taken in: each hit goes to the machines it feeds and up from there, what is met is
//! said, what is over is ended, and memory is kept within its bounds.

use canh_incident::{Detection, DetectionId};
use canh_sigma::Hit;

use crate::counters::RuleCounters;
use crate::episode::{Episode, Identity};
use crate::limits::Limits;
use crate::machine::{Ended, Input, Judged, Machine, Outcome};
use crate::nanos::{Nanos, nanos_of};
use crate::plan::{CORRELATION_BIT, ClosedFeed, Feed, MachinePlan, Plan};
use crate::report::say;
use crate::shelf::{LinkNumber, ToShelve};
use crate::siphash::Key;
use crate::state::State;
use crate::view::View;

/// Groups are looked through for what is over each time event time has moved this far.
const SWEEP_EVERY: Nanos = 1_000_000_000;

/// One batch being taken in: the correlator's parts, lent apart.
#[derive(Debug)]
pub(crate) struct Run<'r> {
    pub(crate) plan: &'r Plan,
    pub(crate) limits: &'r Limits,
    pub(crate) state: &'r mut State,
    pub(crate) out: &'r mut Vec<Detection>,
}

impl Run<'_> {
    /// Takes one hit in.
    pub(crate) fn hit(&mut self, view: &mut View<'_>, hit: Hit, time: Nanos, is_late: bool) {
        let plan = self.plan;
        self.state.counters.hits += 1;
        for feed in plan.leaves.get(hit.rule.0 as usize).into_iter().flatten() {
            let is_correlation = plan.machines.get(feed.machine).is_some_and(|machine| machine.kind_name != "event");
            if is_late && is_correlation {
                // Its window may be gone. A detection rule's own hit is never too late.
                self.count_rule(feed.machine, |counters| counters.late += 1);
                continue;
            }
            self.feed(feed, view, Cause { row: hit.row, time, built_on: None, is_firing: true });
        }
    }

    fn count_rule(&mut self, machine: usize, count: impl FnOnce(&mut RuleCounters)) {
        if let Some(counters) = self.state.rule_counters.get_mut(machine) {
            count(counters);
        }
    }

    /// Feeds one machine with an event at hand, and those above it if it is met.
    fn feed(&mut self, feed: &Feed, view: &mut View<'_>, cause: Cause) {
        let plan = self.plan;
        let Some(machine) = plan.machines.get(feed.machine) else { return };
        let Cause { row, time, built_on, is_firing } = cause;
        if !is_firing && !machine.kind.is_temporal() {
            // A count of a correlation counts how often it is met, not how long it lasts.
            return;
        }
        let Some(key) = view.group_key(plan, feed, row) else {
            self.count_rule(feed.machine, |counters| counters.ungrouped += 1);
            return;
        };
        let value = if feed.values.is_empty() { None } else { view.joint_value(plan, &feed.values, row) };
        if value.is_none() && !feed.values.is_empty() {
            self.count_rule(feed.machine, |counters| counters.without_value += 1);
            return;
        }
        let number = self.state.clock.events();
        let counted = Some((number, key));
        if let Some(last) = self.state.last_counted.get_mut(feed.machine).filter(|_| !machine.kind.is_temporal()) {
            if *last == counted {
                return;
            }
            *last = counted;
        }
        view.prepare_evidence(plan, row);
        let raw = view.row(row).map(|row| row.raw()).unwrap_or_default();
        let event = view.event(row);
        let to_shelve = ToShelve { number, event, time, source: view.source(row), raw, fields: view.evidence_fields() };
        let identity = || view.identity(plan, feed, row);
        let (place, member, rule) = (feed.machine, feed.member, feed.rule);
        let give = Give { machine: place, member, rule, key, value, time, built_on };
        let met = self.step(machine, &give, Some(to_shelve), &identity);
        let (Some((outcome, place)), false) = (met, feed.then.is_empty()) else { return };
        let id = self.id_of(feed.machine, place);
        for above in &feed.then {
            let is_firing = outcome == Outcome::Fired;
            self.feed(above, view, Cause { row, time, built_on: id.clone(), is_firing });
        }
    }

    fn id_of(&mut self, machine: usize, place: u32) -> Option<DetectionId> {
        let machine = self.state.machines.get_mut(machine)?;
        machine.with_episode(place, |episode, _| episode.id.clone())
    }

    /// Lets a machine take an event in and says what is to be said. Returns the outcome and the
    /// group's place if the rule is met.
    fn step(
        &mut self,
        machine_plan: &MachinePlan,
        give: &Give,
        to_shelve: Option<ToShelve<'_>>,
        identity: &dyn Fn() -> Identity,
    ) -> Option<(Outcome, u32)> {
        let lateness = nanos_of(self.limits.lateness);
        let floor = self.state.clock.low().saturating_sub(machine_plan.span.saturating_add(lateness));
        let (shelf, limit) = (&mut self.state.shelf, self.limits.evidence_bytes);
        let mut shelve = |previous: LinkNumber| match to_shelve {
            Some(event) => shelf.link(event, give.rule, previous, limit),
            None => previous,
        };
        let mut input = Input {
            key: give.key,
            value: give.value,
            time: give.time,
            member: give.member,
            built_on: give.built_on.as_ref(),
            floor,
            lateness,
            most_values: self.limits.values_per_group,
            identity,
            shelve: &mut shelve,
        };
        let machine = self.state.machines.get_mut(give.machine)?;
        let before = machine.bytes();
        let stepped = machine.step(machine_plan, &mut input);
        let after = machine.bytes();
        self.state.counters.state_bytes =
            (self.state.counters.state_bytes + after as u64).saturating_sub(before as u64);
        self.count_rule(give.machine, |counters| counters.events += 1);
        let met = stepped.and_then(|stepped| {
            if let Some(ended) = stepped.ended {
                self.say_ended(give.machine, ended);
            }
            match stepped.outcome {
                Outcome::Waiting => None,
                outcome => {
                    self.say_episode(give.machine, stepped.place, outcome);
                    Some((outcome, stepped.place))
                }
            }
        });
        self.keep_within_bounds(give.machine);
        met
    }

    fn say_episode(&mut self, machine: usize, place: u32, outcome: Outcome) {
        let (Some(plan), Some(state)) = (self.plan.machines.get(machine), self.state.machines.get_mut(machine)) else {
            return;
        };
        let shelf = &self.state.shelf;
        let said = state.with_episode(place, |episode, chain| {
            let is_due = outcome == Outcome::Fired || episode.is_worth_saying();
            is_due.then(|| say(self.plan, plan, episode, chain, shelf))
        });
        if let Some(Some(detection)) = said {
            self.push(machine, detection, outcome == Outcome::Fired);
        }
    }

    fn say_ended(&mut self, machine: usize, ended: Ended) {
        let Ended { mut episode, chain } = ended;
        let Some(plan) = self.plan.machines.get(machine).filter(|_| episode.has_news()) else { return };
        let detection = say(self.plan, plan, &mut episode, chain, &self.state.shelf);
        self.push(machine, detection, false);
    }

    fn push(&mut self, machine: usize, detection: Detection, is_new: bool) {
        if is_new {
            self.state.counters.detections += 1;
            self.count_rule(machine, |counters| counters.detections += 1);
        } else {
            self.state.counters.updates += 1;
        }
        self.out.push(detection);
    }

    /// Drops the machine's oldest groups while there are too many, or too many bytes in all.
    fn keep_within_bounds(&mut self, machine: usize) {
        loop {
            let Some(state) = self.state.machines.get(machine) else { return };
            let is_over = state.len() > self.limits.groups_per_rule.max(1);
            let is_heavy = self.state.counters.state_bytes > self.limits.state_bytes as u64;
            let victim = match (is_over, is_heavy) {
                (true, _) => machine,
                (false, true) if state.len() > 1 => machine,
                // The one that grows has nothing to give: the heaviest gives.
                (false, true) => self.heaviest(),
                (false, false) => return,
            };
            if !self.drop_oldest(victim) {
                return;
            }
        }
    }

    fn heaviest(&self) -> usize {
        let machines = self.state.machines.iter().enumerate();
        machines.max_by_key(|(place, machine)| (machine.bytes(), usize::MAX - place)).map_or(0, |(place, _)| place)
    }

    fn drop_oldest(&mut self, machine: usize) -> bool {
        let (was_there, ended) = self.with_account(machine, Machine::drop_oldest).unwrap_or_default();
        if was_there {
            self.state.counters.groups_dropped += 1;
            self.count_rule(machine, |counters| counters.groups_dropped += 1);
        }
        if let Some(ended) = ended {
            self.say_ended(machine, ended);
        }
        was_there
    }

    /// Changes a machine and keeps the account of all bytes.
    fn with_account<R>(&mut self, machine: usize, change: impl FnOnce(&mut Machine) -> R) -> Option<R> {
        let machine = self.state.machines.get_mut(machine)?;
        let before = machine.bytes() as u64;
        let result = change(machine);
        let after = machine.bytes() as u64;
        self.state.counters.state_bytes = (self.state.counters.state_bytes + after).saturating_sub(before);
        Some(result)
    }

    /// Ends what is over, once event time has moved on.
    pub(crate) fn sweep_if_due(&mut self) {
        let low = self.state.clock.low();
        if low < self.state.swept_at.saturating_add(SWEEP_EVERY) {
            return;
        }
        self.state.swept_at = low;
        let lateness = nanos_of(self.limits.lateness);
        for place in 0..self.plan.machines.len() {
            let Some(machine) = self.plan.machines.get(place) else { continue };
            if machine.kind.is_at_close() {
                self.judge_closed(place, machine, low, lateness);
                continue;
            }
            let before = low.saturating_sub(machine.span.saturating_add(lateness));
            loop {
                let (was_there, ended) =
                    self.with_account(place, |machine| machine.drop_expired(before)).unwrap_or_default();
                if let Some(ended) = ended {
                    self.say_ended(place, ended);
                }
                if !was_there {
                    break;
                }
            }
        }
    }

    fn judge_closed(&mut self, place: usize, machine: &MachinePlan, low: Nanos, lateness: Nanos) {
        while let Some(Some(judged)) = self.with_account(place, |state| state.judge_closed(machine, low, lateness)) {
            let Judged { window, identity, chain } = judged;
            let mut episode = Episode::of_closed(&machine.rule_id, machine.members.len(), identity, window);
            let detection = say(self.plan, machine, &mut episode, chain, &self.state.shelf);
            self.push(place, detection, true);
            self.feed_closed(place, &episode, Outcome::Fired);
        }
    }

    /// Feeds the machines above one that was met without an event at hand.
    fn feed_closed(&mut self, below: usize, episode: &Episode, outcome: Outcome) {
        let plan = self.plan;
        for feed in plan.closed_feeds.get(below).into_iter().flatten() {
            let Some(machine) = plan.machines.get(feed.machine) else { continue };
            let counts_values = !machine.value_fields.is_empty();
            if counts_values || (outcome != Outcome::Fired && !machine.kind.is_temporal()) {
                continue;
            }
            let Some((key, identity)) = closed_key(self.state.seed, feed, machine, episode) else {
                self.count_rule(feed.machine, |counters| counters.ungrouped += 1);
                continue;
            };
            let give = Give {
                machine: feed.machine,
                member: feed.member,
                rule: u32::try_from(below).unwrap_or(0) | CORRELATION_BIT,
                key,
                value: None,
                time: episode.last,
                built_on: Some(episode.id.clone()),
            };
            let met = self.step(machine, &give, None, &|| identity.clone());
            let Some((outcome, place)) = met else { continue };
            let state = self.state.machines.get_mut(feed.machine);
            let above = state.and_then(|state| state.with_episode(place, |episode, _| episode.clone()));
            if let Some(above) = above {
                self.feed_closed(feed.machine, &above, outcome);
            }
        }
    }
}

/// Why a machine is fed: the event at hand, and what was met by it below.
struct Cause {
    row: u16,
    time: Nanos,
    built_on: Option<DetectionId>,
    /// Whether what is below is met just now, not still.
    is_firing: bool,
}

/// What a machine is given, but for the event itself.
struct Give {
    machine: usize,
    member: u16,
    rule: u32,
    key: Key,
    value: Option<Key>,
    time: Nanos,
    built_on: Option<DetectionId>,
}

/// Returns the group of `machine` that a correlation met in its own group belongs to.
fn closed_key(seed: [u64; 2], feed: &ClosedFeed, machine: &MachinePlan, below: &Episode) -> Option<(Key, Identity)> {
    let mut identity = Identity { group: Vec::new(), ..below.identity.clone() };
    let mut hashes = Vec::new();
    for (name, place) in machine.group_by.iter().zip(&feed.key) {
        let (_, value) = below.identity.group.get((*place)?)?;
        hashes.push(Key::of(seed, value.as_bytes()));
        identity.push(name, value);
    }
    let key = match hashes[..] {
        [hash] => hash,
        _ => Key::of_parts(seed, hashes.into_iter().map(Some)),
    };
    Some((key, identity))
}
