//! Detection + book → change: which incident a detection belongs to, or a new one, and why.
//!
//! Asked in this order; the first that holds decides:
//!
//! 1. *the same detection, grown*: its incident, whatever its state. Nothing if it has not grown.
//! 2. *built on*: a correlation of correlations goes where what it is built on went.
//! 3. *same group*: the rule was met by the same group not long ago.
//! 4. *shared entity*: it is about something an open incident is about, within a span.
//! 5. *nothing*: it opens an incident, if its level is one that does.
//!
//! The over-merge guard stands before 3 and 4: never over agencies, never past so many detections
//! or so long a span, and never by an entity that is too common to mean anything: local addresses,
//! addresses of our own, accounts every host has, whatever is in many incidents already.
//!
//! A pure function: the same book and detection give the same change.

use std::collections::BTreeMap;
use std::time::Duration;

use canh_event::AgencyId;
use canh_incident::{
    Change, ChangeKind, Detection, Entity, EntityKind, EntityRole, GroupedBy, Grouping, Incident, IncidentBook,
    IncidentNumber, Severity,
};

/// Accounts that every host has; sharing one says nothing.
const COMMON_ACCOUNTS: [&str; 14] = [
    "root",
    "admin",
    "administrator",
    "system",
    "localsystem",
    "local service",
    "network service",
    "anonymous logon",
    "daemon",
    "nobody",
    "www-data",
    "apache",
    "nginx",
    "guest",
];

/// How detections are grouped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grouper {
    /// Detections below this level open no incident; they may join one.
    pub opens_from: Severity,
    /// The same rule and group join within this time of the incident's last event.
    pub same_group_span: Duration,
    /// What shares an entity joins within this time of the incident's events.
    pub shared_entity_span: Duration,
    /// No incident takes in more detections than this.
    pub most_detections: u32,
    /// No incident spans more time than this.
    pub longest_span: Duration,
    /// An entity that is in more open incidents than this joins nothing.
    pub common_after: usize,
    /// Entities that join nothing, by value: the collector's own addresses, the proxy, the scanner.
    pub never_join: Vec<String>,
}

/// What becomes of a detection.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    /// An incident is opened or grows.
    Change(Box<Change>),
    /// The book knows it already, with this count or a higher one.
    Known,
    /// Its level opens no incident, and it joins none.
    TooMinor,
}

impl Default for Grouper {
    fn default() -> Self {
        Self {
            opens_from: Severity::Low,
            same_group_span: Duration::from_secs(24 * 3_600),
            shared_entity_span: Duration::from_secs(3_600),
            most_detections: 200,
            longest_span: Duration::from_secs(7 * 24 * 3_600),
            common_after: 8,
            never_join: Vec::new(),
        }
    }
}

impl Grouper {
    /// Returns what becomes of a detection.
    pub fn decide(&self, book: &IncidentBook, detection: &Detection) -> Decision {
        if let Some(seat) = book.seat_of(&detection.id) {
            if detection.count <= seat.count {
                return Decision::Known;
            }
            let text = format!("the same detection goes on: {} events, {} before", detection.count, seat.count);
            return grown(seat.number, detection, grouping(GroupedBy::SameDetection, text));
        }
        let mut related = Vec::new();
        if let Some(incident) = self.built_on(book, detection, &mut related) {
            let text = "it is built on a detection of this incident".to_owned();
            return grown(incident.number, detection, grouping(GroupedBy::BuiltOn, text));
        }
        if let Some(incident) = self.same_group(book, detection, &mut related) {
            let group = if detection.group_key.is_empty() { "" } else { " by the same group" };
            let text = format!("the same rule was met{group} {}", ago(incident, detection));
            return grown(incident.number, detection, grouping(GroupedBy::SameGroup, text));
        }
        let mut common = Vec::new();
        if let Some((incident, shared)) = self.shared_entity(book, detection, &mut common) {
            let names: Vec<String> = shared.iter().map(ToString::to_string).collect();
            let text = format!("it is about {}, as this incident {}", names.join(" and "), ago(incident, detection));
            let number = incident.number;
            return grown(number, detection, Grouping { by: GroupedBy::SharedEntity, text, shared });
        }
        if detection.level < self.opens_from {
            return Decision::TooMinor;
        }
        related.sort();
        related.dedup();
        opened(book, detection, related, &common)
    }

    fn built_on<'b>(
        &self,
        book: &'b IncidentBook,
        detection: &Detection,
        related: &mut Vec<IncidentNumber>,
    ) -> Option<&'b Incident> {
        let mut open = Vec::new();
        for id in &detection.built_on {
            let Some(incident) = book.seat_of(id).and_then(|seat| book.get(seat.number)) else { continue };
            if incident.state.is_open() {
                open.push(incident);
            } else {
                related.push(incident.number);
            }
        }
        // Built on several: the one opened first holds the beginning of the story.
        open.sort_by_key(|incident| incident.number);
        related.extend(open.iter().skip(1).map(|incident| incident.number));
        open.first().copied()
    }

    fn same_group<'b>(
        &self,
        book: &'b IncidentBook,
        detection: &Detection,
        related: &mut Vec<IncidentNumber>,
    ) -> Option<&'b Incident> {
        let incident = book.last_of_group(detection)?;
        if gap(incident, detection) > self.same_group_span || incident.agency != detection.agency {
            return None;
        }
        if incident.state.is_open() && self.has_room(incident, detection) {
            return Some(incident);
        }
        related.push(incident.number);
        None
    }

    /// Returns the open incident that shares most with the detection, and what. Entities that are
    /// too common are put into `common`.
    fn shared_entity<'b>(
        &self,
        book: &'b IncidentBook,
        detection: &Detection,
        common: &mut Vec<Entity>,
    ) -> Option<(&'b Incident, Vec<Entity>)> {
        let mut shared: BTreeMap<IncidentNumber, (&Incident, Vec<Entity>)> = BTreeMap::new();
        for entity in detection.entities.iter().filter(|entity| self.can_join(entity)) {
            let is_near =
                |incident: &&Incident| incident.state.is_open() && gap(incident, detection) <= self.shared_entity_span;
            let near: Vec<&Incident> = book.of_entity(entity.kind, &entity.value).filter(is_near).collect();
            if near.len() > self.common_after {
                common.push(entity.clone());
                continue;
            }
            for incident in near {
                let is_same_host = entity.kind != EntityKind::User || shares_host(incident, detection);
                if is_same_host && is_same_agency(&incident.agency, detection) && self.has_room(incident, detection) {
                    shared.entry(incident.number).or_insert((incident, Vec::new())).1.push(entity.clone());
                }
            }
        }
        let most = |(_, (incident, entities)): &(IncidentNumber, (&Incident, Vec<Entity>))| {
            (entities.len(), incident.seen.last, std::cmp::Reverse(incident.number))
        };
        shared.into_iter().max_by_key(most).map(|(_, found)| found)
    }

    fn has_room(&self, incident: &Incident, detection: &Detection) -> bool {
        incident.detections < self.most_detections && incident.seen.join(detection.window).span() <= self.longest_span
    }

    /// Whether sharing this entity means anything: who did it, which file, which name. Hosts and
    /// targets do not count: everything that happens on a busy server shares those.
    fn can_join(&self, entity: &Entity) -> bool {
        if self.never_join.contains(&entity.value) {
            return false;
        }
        match entity.kind {
            EntityKind::Ip => entity.role == EntityRole::Actor && entity.ip().is_some_and(|ip| !is_local(ip)),
            EntityKind::User => {
                let name = entity.value.to_lowercase();
                entity.role == EntityRole::Actor && !COMMON_ACCOUNTS.contains(&name.as_str())
            }
            EntityKind::Hash | EntityKind::Domain => true,
            EntityKind::Host | EntityKind::Agent => false,
        }
    }
}

fn grouping(by: GroupedBy, text: String) -> Grouping {
    Grouping { by, text, shared: Vec::new() }
}

fn grown(number: IncidentNumber, detection: &Detection, grouping: Grouping) -> Decision {
    let kind = ChangeKind::Grown { detection: Box::new(detection.clone()), grouping };
    Decision::Change(Box::new(Change::of_correlator(number, detection.time, kind)))
}

fn opened(book: &IncidentBook, detection: &Detection, related: Vec<IncidentNumber>, common: &[Entity]) -> Decision {
    let mut text = "no open incident has to do with it".to_owned();
    if !related.is_empty() {
        let numbers: Vec<String> = related.iter().map(ToString::to_string).collect();
        text = format!("it has to do with {}, closed or full", numbers.join(", "));
    }
    if !common.is_empty() {
        let names: Vec<String> = common.iter().map(ToString::to_string).collect();
        text.push_str(&format!("; too common to join by: {}", names.join(", ")));
    }
    let number = book.next_number(detection.time);
    let (detection_body, at) = (Box::new(detection.clone()), detection.time);
    let kind = ChangeKind::Opened { detection: detection_body, grouping: grouping(GroupedBy::Nothing, text), related };
    Decision::Change(Box::new(Change::of_correlator(number, at, kind)))
}

/// Returns how far apart the events of incident and detection are; zero if they overlap.
fn gap(incident: &Incident, detection: &Detection) -> Duration {
    let after = detection.window.first.since(incident.seen.last);
    let before = incident.seen.first.since(detection.window.last);
    after.max(before)
}

fn ago(incident: &Incident, detection: &Detection) -> String {
    match gap(incident, detection).as_secs() {
        0 => "at the same time".to_owned(),
        secs if detection.window.first > incident.seen.last => format!("{secs} s before"),
        secs => format!("{secs} s after"),
    }
}

fn is_same_agency(agency: &Option<AgencyId>, detection: &Detection) -> bool {
    *agency == detection.agency
}

fn shares_host(incident: &Incident, detection: &Detection) -> bool {
    let is_host = |kind| matches!(kind, EntityKind::Host | EntityKind::Agent);
    let mut hosts = detection.entities.iter().filter(|entity| is_host(entity.kind));
    hosts.any(|host| incident.has_entity(host.kind, &host.value))
}

fn is_local(ip: std::net::IpAddr) -> bool {
    match ip {
        std::net::IpAddr::V4(ip) => {
            ip.is_loopback() || ip.is_unspecified() || ip.is_link_local() || ip.is_broadcast() || ip.is_multicast()
        }
        std::net::IpAddr::V6(ip) => {
            ip.is_loopback() || ip.is_unspecified() || ip.is_unicast_link_local() || ip.is_multicast()
        }
    }
}

#[cfg(test)]
mod tests;
