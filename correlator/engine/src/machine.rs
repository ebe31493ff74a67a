//! One rule being run: an event comes in with its group key, and the machine says whether the rule
//! is met by it.
//!
//! ```text
//!            ┌──────────── event within the span ────────────┐
//!            ▼                                               │
//!  gathering ──── window meets the rule ────► episode (Fired) ┴─► Growing, Growing, ...
//!      ▲                                        │ event past the span, sweep, or eviction
//!      └────────────────────────────────────────┘ said once more if it grew since
//! ```

use canh_incident::DetectionId;
use serde::{Deserialize, Serialize};

use crate::bank::{Bank, Window};
use crate::episode::{Episode, Identity, Tally};
use crate::groups::Group;
use crate::limits::MAX_BUILT_ON;
use crate::nanos::Nanos;
use crate::plan::{MachineKind, MachinePlan};
use crate::shelf::LinkNumber;
use crate::siphash::Key;
use crate::window::{Anchored, ClosedWindow, CountTest, Distinct, MemberTest, Occurrences, Times};

/// The state of one machine, by kind.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Machine {
    Idle,
    Count(Bank<Times>),
    Values(Bank<Distinct>),
    Temporal(Bank<Meeting>),
    AtClose(Bank<Closing>),
}

/// What a group of a temporal machine remembers.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Meeting {
    occurrences: Occurrences,
    built_on: Vec<(u16, DetectionId)>,
}

/// What a group of a machine that judges at the close remembers.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Closing {
    windows: Anchored,
    identity: Identity,
}

/// One event for one machine.
pub(crate) struct Input<'a> {
    pub(crate) key: Key,
    pub(crate) value: Option<Key>,
    pub(crate) time: Nanos,
    pub(crate) member: u16,
    pub(crate) built_on: Option<&'a DetectionId>,
    /// Times before it can matter to nothing that may still come.
    pub(crate) floor: Nanos,
    pub(crate) lateness: Nanos,
    pub(crate) most_values: usize,
    pub(crate) identity: &'a dyn Fn() -> Identity,
    /// Puts the event on the shelf behind the group's last one.
    pub(crate) shelve: &'a mut dyn FnMut(LinkNumber) -> LinkNumber,
}

/// What became of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The rule is not met.
    Waiting,
    /// The rule is met just now.
    Fired,
    /// The rule was met before and is so still.
    Growing,
}

/// An episode that is over, to be said once more if it has news.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) episode: Box<Episode>,
    pub(crate) chain: LinkNumber,
}

/// What an event led to.
#[derive(Debug)]
pub(crate) struct Stepped {
    pub(crate) outcome: Outcome,
    pub(crate) place: u32,
    pub(crate) ended: Option<Ended>,
}

/// A window that made a machine judge when it was over.
#[derive(Debug)]
pub(crate) struct Judged {
    pub(crate) window: ClosedWindow,
    pub(crate) identity: Identity,
    pub(crate) chain: LinkNumber,
}

impl Machine {
    pub(crate) fn new(kind: &MachineKind) -> Self {
        match kind {
            MachineKind::Unarmed => Self::Idle,
            MachineKind::Count { .. } => Self::Count(Bank::default()),
            MachineKind::Values { .. } => Self::Values(Bank::default()),
            MachineKind::Temporal { .. } => Self::Temporal(Bank::default()),
            MachineKind::CountAtClose { .. } | MachineKind::ValuesAtClose { .. } => Self::AtClose(Bank::default()),
        }
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Idle => 0,
            Self::Count(bank) => bank.len(),
            Self::Values(bank) => bank.len(),
            Self::Temporal(bank) => bank.len(),
            Self::AtClose(bank) => bank.len(),
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Idle => 0,
            Self::Count(bank) => bank.bytes(),
            Self::Values(bank) => bank.bytes(),
            Self::Temporal(bank) => bank.bytes(),
            Self::AtClose(bank) => bank.bytes(),
        }
    }

    /// Takes an event in.
    pub(crate) fn step(&mut self, plan: &MachinePlan, input: &mut Input<'_>) -> Option<Stepped> {
        match (self, &plan.kind) {
            (Self::Count(bank), MachineKind::Count { at_least }) => Some(step_count(bank, plan, *at_least, input)),
            (Self::Values(bank), MachineKind::Values { at_least }) => Some(step_values(bank, plan, *at_least, input)),
            (Self::Temporal(bank), MachineKind::Temporal { test }) => Some(step_temporal(bank, plan, test, input)),
            (Self::AtClose(bank), _) => {
                step_at_close(bank, plan, input);
                None
            }
            _ => None,
        }
    }

    /// Changes the episode of a group, if it has one.
    pub(crate) fn with_episode<R>(
        &mut self,
        place: u32,
        change: impl FnOnce(&mut Episode, LinkNumber) -> R,
    ) -> Option<R> {
        fn apply<W: Window, R>(
            bank: &mut Bank<W>,
            place: u32,
            change: impl FnOnce(&mut Episode, LinkNumber) -> R,
        ) -> Option<R> {
            let group = bank.groups.group_mut(place)?;
            let chain = group.chain;
            group.episode.as_mut().map(|episode| change(episode, chain))
        }
        match self {
            Self::Idle | Self::AtClose(_) => None,
            Self::Count(bank) => apply(bank, place, change),
            Self::Values(bank) => apply(bank, place, change),
            Self::Temporal(bank) => apply(bank, place, change),
        }
    }

    /// Drops the group that was touched longest ago. Returns whether there was one, and its
    /// episode if it had one.
    pub(crate) fn drop_oldest(&mut self) -> (bool, Option<Ended>) {
        match self {
            Self::Idle => (false, None),
            Self::Count(bank) => ended_of(bank.drop_oldest()),
            Self::Values(bank) => ended_of(bank.drop_oldest()),
            Self::Temporal(bank) => ended_of(bank.drop_oldest()),
            Self::AtClose(bank) => (bank.drop_oldest().is_some(), None),
        }
    }

    /// Drops the group touched longest ago if nothing that may still come can matter to it.
    pub(crate) fn drop_expired(&mut self, before: Nanos) -> (bool, Option<Ended>) {
        match self {
            Self::Idle | Self::AtClose(_) => (false, None),
            Self::Count(bank) => ended_of(bank.drop_expired(before)),
            Self::Values(bank) => ended_of(bank.drop_expired(before)),
            Self::Temporal(bank) => ended_of(bank.drop_expired(before)),
        }
    }

    /// Takes out a window that is over and meets the rule; windows that do not meet it are
    /// forgotten on the way.
    pub(crate) fn judge_closed(&mut self, plan: &MachinePlan, low: Nanos, lateness: Nanos) -> Option<Judged> {
        let Self::AtClose(bank) = self else { return None };
        let (MachineKind::CountAtClose { threshold } | MachineKind::ValuesAtClose { threshold }) = &plan.kind else {
            return None;
        };
        loop {
            let place = bank.groups.oldest()?;
            let close = |group: &mut Group<Closing>| group.window.windows.close(low, plan.span, lateness);
            let window = bank.change(place, close)??;
            let group = bank.groups.group(place)?;
            let judged = Judged { window, identity: group.window.identity.clone(), chain: group.chain };
            if group.window.windows.first().is_some() {
                bank.groups.touch(place);
            } else {
                bank.remove(place);
            }
            if threshold.is_reached_by_count(window.counted) {
                return Some(judged);
            }
        }
    }
}

fn ended_of<W>(group: Option<Group<W>>) -> (bool, Option<Ended>) {
    let was_there = group.is_some();
    let ended = group.and_then(|group| Some(Ended { episode: group.episode?, chain: group.chain }));
    (was_there, ended)
}

/// Ends the group's episode if the event lies more than a span after it; lets it grow otherwise.
/// Returns the ended one and whether the event was taken by the one that goes on.
fn carry_on<W: Window>(group: &mut Group<W>, span: Nanos, input: &Input<'_>) -> (Option<Ended>, bool) {
    let Some(mut episode) = group.episode.take() else { return (None, false) };
    if input.time > episode.last.saturating_add(span) {
        group.window = W::default();
        return (Some(Ended { episode, chain: group.chain }), false);
    }
    episode.grow(input.time, input.member, input.built_on);
    group.episode = Some(episode);
    (None, true)
}

fn new_episode(plan: &MachinePlan, input: &Input<'_>, first: Nanos, last: Nanos, count: u64) -> Box<Episode> {
    let identity = (input.identity)();
    Box::new(Episode {
        id: DetectionId::new(&plan.rule_id, canh_event::Timestamp::from_nanos(first), &identity.group),
        identity,
        first,
        last,
        count,
        distinct: 0,
        members: vec![Tally::default(); plan.members.len()],
        built_on: input.built_on.cloned().into_iter().collect(),
        said_count: 0,
        said_at: last,
        said_link: 0,
    })
}

fn finish<W: Window>(
    group: &mut Group<W>,
    ended: Option<Ended>,
    outcome: Outcome,
    place: u32,
    input: &mut Input<'_>,
) -> Stepped {
    group.chain = (input.shelve)(group.chain);
    Stepped { outcome, place, ended }
}

fn step_count(bank: &mut Bank<Times>, plan: &MachinePlan, at_least: u64, input: &mut Input<'_>) -> Stepped {
    let place = bank.enter(input.key);
    let test = CountTest {
        at_least: usize::try_from(at_least).unwrap_or(usize::MAX),
        span: plan.span,
        lateness: input.lateness,
    };
    let step = bank.change(place, |group| {
        let (ended, has_grown) = carry_on(group, plan.span, input);
        if has_grown {
            return finish(group, ended, Outcome::Growing, place, input);
        }
        let Some(crossing) = group.window.add(input.time, test, input.floor) else {
            return finish(group, ended, Outcome::Waiting, place, input);
        };
        group.window = Times::default();
        let mut episode = new_episode(plan, input, crossing.first, crossing.last, crossing.count);
        if let [tally] = &mut episode.members[..] {
            *tally = Tally { count: crossing.count, first: crossing.first, last: crossing.last };
        }
        group.episode = Some(episode);
        finish(group, ended, Outcome::Fired, place, input)
    });
    step.unwrap_or(Stepped { outcome: Outcome::Waiting, place, ended: None })
}

fn step_values(bank: &mut Bank<Distinct>, plan: &MachinePlan, at_least: u64, input: &mut Input<'_>) -> Stepped {
    let place = bank.enter(input.key);
    let most = input.most_values.max(usize::try_from(at_least).unwrap_or(usize::MAX));
    let step = bank.change(place, |group| {
        let (ended, has_grown) = carry_on(group, plan.span, input);
        let counted = input.value.and_then(|value| group.window.add(input.time, value, plan.span, most));
        let distinct = group.window.len() as u64;
        if let Some(episode) = group.episode.as_mut().filter(|_| has_grown) {
            episode.distinct = episode.distinct.max(distinct);
            return finish(group, ended, Outcome::Growing, place, input);
        }
        if counted.is_none() || distinct < at_least {
            return finish(group, ended, Outcome::Waiting, place, input);
        }
        let (first, last) = (group.window.first().unwrap_or(input.time), group.window.last().unwrap_or(input.time));
        let mut episode = new_episode(plan, input, first, last, distinct);
        episode.distinct = distinct;
        if let [tally] = &mut episode.members[..] {
            *tally = Tally { count: distinct, first, last };
        }
        group.episode = Some(episode);
        finish(group, ended, Outcome::Fired, place, input)
    });
    step.unwrap_or(Stepped { outcome: Outcome::Waiting, place, ended: None })
}

fn step_temporal(bank: &mut Bank<Meeting>, plan: &MachinePlan, test: &MemberTest, input: &mut Input<'_>) -> Stepped {
    let place = bank.enter(input.key);
    let step = bank.change(place, |group| {
        let (ended, has_grown) = carry_on(group, plan.span, input);
        if has_grown {
            return finish(group, ended, Outcome::Growing, place, input);
        }
        if let Some(id) = input.built_on {
            group.window.remember(input.member, id);
        }
        let met = group.window.occurrences.add(input.time, input.member, test, plan.span, input.floor);
        let Some(window) = met else { return finish(group, ended, Outcome::Waiting, place, input) };
        let first = window.first().map_or(input.time, |(time, _)| *time);
        let last = window.last().map_or(input.time, |(time, _)| *time);
        let mut episode = new_episode(plan, input, first, last, window.len() as u64);
        for (time, member) in &window {
            if let Some(tally) = episode.members.get_mut(usize::from(*member)) {
                tally.add(*time);
            }
        }
        episode.built_on = group.window.built_on_of(&window);
        group.window = Meeting::default();
        group.episode = Some(episode);
        finish(group, ended, Outcome::Fired, place, input)
    });
    step.unwrap_or(Stepped { outcome: Outcome::Waiting, place, ended: None })
}

fn step_at_close(bank: &mut Bank<Closing>, plan: &MachinePlan, input: &mut Input<'_>) {
    let counts_values = matches!(plan.kind, MachineKind::ValuesAtClose { .. });
    if counts_values && input.value.is_none() {
        return;
    }
    // Groups are judged in the order their windows began, so an event does not touch its group.
    let place = bank.enter_in_place(input.key);
    bank.change(place, |group| {
        if group.window.windows.first().is_none() {
            group.window.identity = (input.identity)();
        }
        let value = input.value.filter(|_| counts_values);
        group.window.windows.add(input.time, value, plan.span, input.most_values);
        group.chain = (input.shelve)(group.chain);
    });
}

impl Meeting {
    fn remember(&mut self, member: u16, id: &DetectionId) {
        if self.built_on.iter().any(|(_, known)| known == id) {
            return;
        }
        if self.built_on.len() >= MAX_BUILT_ON {
            self.built_on.remove(0);
        }
        self.built_on.push((member, id.clone()));
    }

    fn built_on_of(&self, window: &[(Nanos, u16)]) -> Vec<DetectionId> {
        let took_part = |member: u16| window.iter().any(|(_, known)| *known == member);
        self.built_on.iter().filter(|(member, _)| took_part(*member)).map(|(_, id)| id.clone()).collect()
    }
}

impl Window for Meeting {
    fn last(&self) -> Option<Nanos> {
        self.occurrences.last()
    }

    fn heap_bytes(&self) -> usize {
        let ids: usize = self.built_on.iter().map(|(_, id)| id.as_str().len() + size_of::<(u16, DetectionId)>()).sum();
        self.occurrences.heap_bytes() + ids
    }
}

impl Window for Closing {
    fn last(&self) -> Option<Nanos> {
        self.windows.last()
    }

    fn heap_bytes(&self) -> usize {
        self.windows.heap_bytes() + self.identity.heap_bytes()
    }
}
