//! A detection: a rule that was met, with the events it rests on and why it was met.
//!
//! A detection is not over when it is made. While the attack goes on the engine says the same
//! detection again, with the same [`DetectionId`], a higher count and a longer window:
//! [`Detection::absorb`] takes such an update in.

use std::fmt;
use std::time::Duration;

use canh_event::{AgencyId, AgentId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::entity::{Entity, add_entity};
use crate::evidence::Evidence;
use crate::severity::Severity;

/// Most events kept as evidence of one detection: the first half are the first ones seen, the
/// second half the latest.
pub const MAX_EVIDENCE: usize = 8;

/// Longest value of a group key kept, in bytes.
pub const MAX_GROUP_VALUE_BYTES: usize = 255;

/// Longest id of a detection, in bytes; what a reader of one may rely on.
pub const MAX_DETECTION_ID_BYTES: usize = 2_048;

/// Which detection: rule, start of its window and group key, as one text. The same input gives the
/// same id, so what is detected again after a restart is seen to be the same.
///
/// The text is for machines; the group key in it is an attacker's and stands escaped.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DetectionId(String);

/// Whether one event met the rule or several together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DetectionKind {
    /// A detection rule; repetitions about the same things are one detection that grows.
    Event,
    /// A correlation rule.
    Correlation,
}

/// From the first event to the last, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// Time of the first event.
    #[serde(with = "crate::as_text")]
    pub first: Timestamp,
    /// Time of the last event.
    #[serde(with = "crate::as_text")]
    pub last: Timestamp,
}

/// Why a rule was met: in words, and as data for those who write other words.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Why {
    /// One English sentence. It holds text of the rule's author, none of the attacker's.
    pub text: String,
    /// The kind of condition: `event`, `event_count`, `value_count`, `temporal`, `temporal_ordered`.
    pub condition: String,
    /// What the count is compared with: `>= 10`; empty if nothing is counted.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub threshold: String,
    /// The field whose distinct values are counted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub value_fields: Vec<String>,
    /// How many distinct values there were, for a value count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub distinct_values: Option<u64>,
    /// The rule's timespan in seconds; 0 for a detection rule.
    #[serde(default)]
    pub timespan_secs: u64,
    /// How often each rule the correlation refers to was met.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub members: Vec<WhyMember>,
}

/// One rule a correlation refers to, and how often it was met.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WhyMember {
    /// The rule's id.
    pub rule_id: String,
    /// The rule's title.
    pub rule_title: String,
    /// How many events met it.
    pub count: u64,
    /// Time of the first such event.
    #[serde(with = "crate::as_text")]
    pub first: Timestamp,
    /// Time of the last such event.
    #[serde(with = "crate::as_text")]
    pub last: Timestamp,
}

/// A rule that was met.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Detection {
    /// Which detection.
    pub id: DetectionId,
    /// The rule's id.
    pub rule_id: String,
    /// The rule's title.
    pub rule_title: String,
    /// How bad the rule's author says it is.
    pub level: Severity,
    /// One event or several.
    pub kind: DetectionKind,
    /// Event time at which the rule was met, or at which it was last seen to be met still.
    #[serde(with = "crate::as_text")]
    pub time: Timestamp,
    /// From the first event to the last.
    pub window: Window,
    /// What the events have in common: (field, value), in the rule's order; attackers' text.
    #[serde(default)]
    pub group_key: Vec<(String, String)>,
    /// Who and what it is about.
    #[serde(default)]
    pub entities: Vec<Entity>,
    /// The agency of the event that completed it.
    #[serde(with = "crate::as_text::option", default, skip_serializing_if = "Option::is_none")]
    pub agency: Option<AgencyId>,
    /// The agent of the event that completed it.
    #[serde(with = "crate::as_text::option", default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentId>,
    /// How many events so far, from the first of the window on.
    pub count: u64,
    /// The detections this one is built upon: a correlation of correlations.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub built_on: Vec<DetectionId>,
    /// Events it rests on, oldest first, at most [`MAX_EVIDENCE`].
    #[serde(default)]
    pub evidence: Vec<Evidence>,
    /// Why the rule was met.
    pub why: Why,
    /// The rule's tags, such as `attack.t1110`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
}

impl DetectionId {
    /// Returns the id of a rule met by a group of events whose window begins at `start`.
    pub fn new(rule_id: &str, start: Timestamp, group_key: &[(String, String)]) -> Self {
        let mut text = format!("{rule_id}@{}", start.nanos());
        for (field, value) in group_key {
            // `{:?}` quotes and escapes: no value can look like another field.
            text.push_str(&format!(" {field}={value:?}"));
        }
        if text.len() > MAX_DETECTION_ID_BYTES {
            let digest = fnv1a(text.as_bytes());
            text.truncate(text.floor_char_boundary(MAX_DETECTION_ID_BYTES - 17));
            text.push_str(&format!("#{digest:016x}"));
        }
        Self(text)
    }

    /// Returns the id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DetectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// FNV-1a, 64 bits. Only keeps two over-long ids apart that are not made to collide; somebody who
/// makes them collide hides an attack of his own behind another attack of his own.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

impl Window {
    /// Returns the window of one moment.
    pub const fn at(time: Timestamp) -> Self {
        Self { first: time, last: time }
    }

    /// Returns the window made longer to hold `other` too.
    pub fn join(self, other: Self) -> Self {
        Self { first: self.first.min(other.first), last: self.last.max(other.last) }
    }

    /// Returns how long it is.
    pub fn span(self) -> Duration {
        self.last.since(self.first)
    }
}

impl Detection {
    /// Returns the key of "the same rule about the same things", whatever the window.
    pub fn group_text(&self) -> String {
        DetectionId::new(&self.rule_id, Timestamp::EPOCH, &self.group_key).0
    }

    /// Takes in an update of the same detection: higher count, longer window, newer evidence. The
    /// first pieces of evidence stay, the latest follow them. An update that is older or the same
    /// changes nothing, so a replay is harmless.
    ///
    /// # Contract
    /// `update` has the same id.
    pub fn absorb(&mut self, update: &Self) {
        debug_assert_eq!(self.id, update.id, "only an update of the same detection can be absorbed");
        if update.count <= self.count {
            return;
        }
        self.count = update.count;
        self.time = self.time.max(update.time);
        self.window = self.window.join(update.window);
        self.why = update.why.clone();
        for entity in &update.entities {
            add_entity(&mut self.entities, Some(entity.clone()));
        }
        for id in &update.built_on {
            if !self.built_on.contains(id) {
                self.built_on.push(id.clone());
            }
        }
        for evidence in &update.evidence {
            self.add_evidence(evidence.clone());
        }
    }

    /// Adds one piece of evidence that is not there yet; past the bound the oldest of the latest
    /// half makes room.
    pub fn add_evidence(&mut self, evidence: Evidence) {
        if self.evidence.iter().any(|known| known.event == evidence.event) {
            return;
        }
        if self.evidence.len() >= MAX_EVIDENCE {
            self.evidence.remove(MAX_EVIDENCE / 2);
        }
        self.evidence.push(evidence);
    }
}

#[cfg(test)]
mod tests;
