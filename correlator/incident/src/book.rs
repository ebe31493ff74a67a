//! The book of incidents: a pure fold of changes.
//!
//! ```text
//! Change ─► IncidentBook::apply ─► Applied { number, seat of the detection, history line? }
//! ```
//!
//! The book holds the head of every incident and the indexes grouping needs. Detections with
//! their evidence and the history lines are not held: [`Applied`] says what a store has to write.
//! A change that is not allowed is refused and leaves the book as it was.

use std::collections::{BTreeMap, HashMap};

use canh_event::Timestamp;

use crate::change::{Change, ChangeKind};
use crate::detection::{Detection, DetectionId};
use crate::entity::{Entity, EntityKind};
use crate::incident::{HistoryEntry, Incident, MAX_RELATED, Stamp};
use crate::number::IncidentNumber;
use crate::state::{IllegalTransition, IncidentState, Verb};

/// Most incidents remembered for one entity, the latest: past that it is common, and common
/// entities join nothing.
pub const MAX_INCIDENTS_PER_ENTITY: usize = 64;

/// A change the book refuses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChangeError {
    /// There is no such incident.
    #[error("there is no incident {number}")]
    Unknown {
        /// The number given.
        number: IncidentNumber,
    },
    /// The life cycle does not allow it.
    #[error("incident {number} cannot be changed so")]
    Illegal {
        /// The incident.
        number: IncidentNumber,
        /// Why.
        #[source]
        source: IllegalTransition,
    },
    /// Only an open incident can be given to somebody.
    #[error("incident {number} is closed, reopen it first")]
    IsClosed {
        /// The incident.
        number: IncidentNumber,
    },
    /// An incident is opened with a number that is not the next one.
    #[error("incident {number} cannot be opened, the next counter is {next}")]
    WrongNumber {
        /// The number given.
        number: IncidentNumber,
        /// The counter it must have.
        next: u32,
    },
    /// An incident is opened by a detection that is in one already.
    #[error("the detection is in incident {number} already")]
    DetectedBefore {
        /// The incident that has it.
        number: IncidentNumber,
    },
}

/// Where a detection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seat {
    /// Its incident.
    pub number: IncidentNumber,
    /// Its place among the incident's detections, from 0.
    pub place: u32,
    /// The highest count it was seen with.
    pub count: u64,
}

/// What a change did, for a store to write down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// The incident whose head changed.
    pub number: IncidentNumber,
    /// The detection that joined or grew: its place, and whether it is new there.
    pub detection: Option<AppliedDetection>,
    /// The line of history to add.
    pub history: Option<HistoryEntry>,
}

/// What a change did to a detection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AppliedDetection {
    /// Its place among the incident's detections.
    pub place: u32,
    /// Whether it joined just now; else it is an update to absorb.
    pub is_new: bool,
}

/// The heads of all incidents, and what grouping asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IncidentBook {
    incidents: BTreeMap<u32, Incident>,
    next_counter: u32,
    seats: HashMap<DetectionId, Seat>,
    by_group: HashMap<String, IncidentNumber>,
    by_entity: EntityIndex,
}

impl IncidentBook {
    /// Returns an empty book; the first incident has the counter 1.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the book that has these heads and seats, each seat with its detection's
    /// [`Detection::group_text`]: what a store wrote down of a fold. It equals the fold.
    pub fn from_parts(
        heads: impl IntoIterator<Item = Incident>,
        seats: impl IntoIterator<Item = (DetectionId, Seat, String)>,
    ) -> Self {
        let mut book = Self::default();
        for incident in heads {
            for entity in &incident.entities {
                index_entity(&mut book.by_entity, incident.number, entity);
            }
            book.next_counter = book.next_counter.max(incident.number.counter());
            book.incidents.insert(incident.number.counter(), incident);
        }
        for (id, seat, group) in seats {
            book.index_group(seat.number, group);
            book.seats.insert(id, seat);
        }
        book
    }

    /// Checks that changes could be applied one after the other, without applying them.
    ///
    /// # Errors
    /// [`ChangeError`] of the first that could not.
    pub fn check(&self, changes: &[Change]) -> Result<(), ChangeError> {
        let mut excerpt = Self { next_counter: self.next_counter, ..Self::default() };
        for change in changes {
            if let Some(incident) = self.get(change.number) {
                excerpt.incidents.insert(change.number.counter(), incident.clone());
            }
            if let Some(detection) = change.kind.detection()
                && let Some(seat) = self.seat_of(&detection.id)
            {
                excerpt.seats.insert(detection.id.clone(), seat);
            }
        }
        changes.iter().try_for_each(|change| excerpt.apply(change).map(drop))
    }

    /// Returns how many incidents there are.
    pub fn len(&self) -> usize {
        self.incidents.len()
    }

    /// Returns whether there is none.
    pub fn is_empty(&self) -> bool {
        self.incidents.is_empty()
    }

    /// Returns the number the next incident must have.
    pub fn next_number(&self, opened: Timestamp) -> IncidentNumber {
        IncidentNumber::new(opened, self.next_counter + 1)
    }

    /// Returns the head of an incident.
    pub fn get(&self, number: IncidentNumber) -> Option<&Incident> {
        self.incidents.get(&number.counter()).filter(|incident| incident.number == number)
    }

    /// Returns the head of the incident with a counter: what an analyst means by `17`.
    pub fn by_counter(&self, counter: u32) -> Option<&Incident> {
        self.incidents.get(&counter)
    }

    /// Returns every head, oldest first.
    pub fn incidents(&self) -> impl DoubleEndedIterator<Item = &Incident> {
        self.incidents.values()
    }

    /// Returns the heads with a counter below `counter`, newest first; all of them for `None`.
    pub fn newest_below(&self, counter: Option<u32>) -> impl Iterator<Item = &Incident> {
        self.incidents.range(..counter.unwrap_or(u32::MAX)).rev().map(|(_, incident)| incident)
    }

    /// Returns where a detection is, if it is anywhere.
    pub fn seat_of(&self, id: &DetectionId) -> Option<Seat> {
        self.seats.get(id).copied()
    }

    /// Returns the incident a rule was last met in by the same group.
    pub fn last_of_group(&self, detection: &Detection) -> Option<&Incident> {
        self.by_group.get(&detection.group_text()).and_then(|number| self.get(*number))
    }

    /// Returns the incidents that are about an entity, oldest first, at most
    /// [`MAX_INCIDENTS_PER_ENTITY`], the latest.
    pub fn of_entity(&self, kind: EntityKind, value: &str) -> impl Iterator<Item = &Incident> {
        let key = (kind, value.to_owned());
        self.by_entity.get(&key).into_iter().flatten().filter_map(|number| self.get(*number))
    }

    /// Folds one change in.
    ///
    /// # Errors
    /// [`ChangeError`]; the book is then as it was.
    pub fn apply(&mut self, change: &Change) -> Result<Applied, ChangeError> {
        match &change.kind {
            ChangeKind::Opened { detection, related, .. } => self.apply_opened(change, detection, related),
            ChangeKind::Grown { detection, .. } => self.apply_grown(change, detection),
            _ => self.apply_verb(change),
        }
    }

    fn apply_opened(
        &mut self,
        change: &Change,
        detection: &Detection,
        related: &[IncidentNumber],
    ) -> Result<Applied, ChangeError> {
        let number = change.number;
        let next = self.next_counter + 1;
        if number.counter() != next {
            return Err(ChangeError::WrongNumber { number, next });
        }
        if let Some(seat) = self.seat_of(&detection.id) {
            return Err(ChangeError::DetectedBefore { number: seat.number });
        }
        let mut incident = Incident::open(number, change.at, detection);
        incident.related = related.iter().copied().take(MAX_RELATED).collect();
        for other in related {
            if let Some(other) = self.incidents.get_mut(&other.counter()) {
                link(other, number);
            }
        }
        self.incidents.insert(next, incident);
        self.next_counter = next;
        self.apply_grown(change, detection)
    }

    fn apply_grown(&mut self, change: &Change, detection: &Detection) -> Result<Applied, ChangeError> {
        let number = change.number;
        let unknown = ChangeError::Unknown { number };
        let seat = self.seat_of(&detection.id);
        if let Some(seat) = seat.filter(|seat| seat.number != number) {
            return Err(ChangeError::DetectedBefore { number: seat.number });
        }
        let Some(incident) = self.incidents.get_mut(&number.counter()).filter(|found| found.number == number) else {
            return Err(unknown);
        };
        incident.version += 1;
        incident.updated = incident.updated.max(change.at);
        incident.take_in(detection);
        let before = seat.map_or(0, |seat| seat.count);
        incident.events += detection.count.saturating_sub(before);
        let place = seat.map_or(incident.detections, |seat| seat.place);
        if seat.is_none() {
            incident.detections += 1;
        }
        let version = incident.version;
        let seat_now = Seat { number, place, count: before.max(detection.count) };
        self.seats.insert(detection.id.clone(), seat_now);
        self.index_group(number, detection.group_text());
        for entity in detection.entities.iter().filter(|entity| is_in_head(&self.incidents, number, entity)) {
            index_entity(&mut self.by_entity, number, entity);
        }
        let is_new = seat.is_none();
        let history = is_new.then(|| HistoryEntry::of_change(change, version));
        Ok(Applied { number, detection: Some(AppliedDetection { place, is_new }), history })
    }

    /// The latest incident counts. An old one that grows on takes nothing back, so the index says
    /// the same whatever the order it was made in.
    fn index_group(&mut self, number: IncidentNumber, group: String) {
        let latest = self.by_group.entry(group).or_insert(number);
        *latest = number.max(*latest);
    }

    fn apply_verb(&mut self, change: &Change) -> Result<Applied, ChangeError> {
        let number = change.number;
        let found = self.incidents.get_mut(&number.counter()).filter(|found| found.number == number);
        let incident = found.ok_or(ChangeError::Unknown { number })?;
        let move_to = |verb| incident.state.transition(verb).map_err(|source| ChangeError::Illegal { number, source });
        let stamp = || Some(Stamp { at: change.at, by: change.actor.name().to_owned() });
        match &change.kind {
            ChangeKind::Acknowledged { .. } => incident.state = move_to(Verb::Acknowledge)?,
            ChangeKind::Investigating { .. } => incident.state = move_to(Verb::Investigate)?,
            ChangeKind::Contained { .. } => incident.state = move_to(Verb::Contain)?,
            ChangeKind::Closed { verdict, .. } => {
                incident.state = move_to(Verb::Close)?;
                incident.verdict = Some(*verdict);
                incident.closed = stamp();
            }
            ChangeKind::Reopened { .. } => {
                incident.state = move_to(Verb::Reopen)?;
                incident.verdict = None;
                incident.reopened += 1;
            }
            ChangeKind::Assigned { .. } if !incident.state.is_open() => return Err(ChangeError::IsClosed { number }),
            ChangeKind::Assigned { to, .. } => incident.owner.clone_from(to),
            ChangeKind::Commented { .. } => incident.comments += 1,
            ChangeKind::Opened { .. } | ChangeKind::Grown { .. } => {}
        }
        if incident.acknowledged.is_none() && incident.state != IncidentState::New {
            incident.acknowledged = stamp();
        }
        incident.version += 1;
        incident.updated = incident.updated.max(change.at);
        let history = Some(HistoryEntry::of_change(change, incident.version));
        Ok(Applied { number, detection: None, history })
    }
}

type EntityIndex = HashMap<(EntityKind, String), Vec<IncidentNumber>>;

/// Keeps the latest incidents of each entity, sorted.
fn index_entity(index: &mut EntityIndex, number: IncidentNumber, entity: &Entity) {
    let numbers = index.entry((entity.kind, entity.value.clone())).or_default();
    let Err(place) = numbers.binary_search(&number) else { return };
    numbers.insert(place, number);
    if numbers.len() > MAX_INCIDENTS_PER_ENTITY {
        numbers.remove(0);
    }
}

fn is_in_head(incidents: &BTreeMap<u32, Incident>, number: IncidentNumber, entity: &Entity) -> bool {
    incidents.get(&number.counter()).is_some_and(|incident| incident.has_entity(entity.kind, &entity.value))
}

fn link(incident: &mut Incident, to: IncidentNumber) {
    if incident.related.len() < MAX_RELATED && !incident.related.contains(&to) {
        incident.related.push(to);
    }
}

#[cfg(test)]
mod tests;
