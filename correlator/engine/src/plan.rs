//! The rules as the correlator runs them: one machine for each correlation and for each detection
//! rule that gives detections of its own, and for each detection rule the machines its hits feed.

use canh_incident::Severity;
use canh_sigma::Threshold;

use crate::nanos::Nanos;
use crate::window::MemberTest;

/// A field's place in [`Plan::fields`].
pub(crate) type FieldSlot = u16;

/// Marks a rule number as a correlation's; without it, it is a detection rule's.
pub(crate) const CORRELATION_BIT: u32 = 1 << 31;

/// Everything the correlator needs to know of a rule set.
#[derive(Clone, Debug, Default)]
pub(crate) struct Plan {
    /// The fields some machine or the evidence asks for.
    pub(crate) fields: Vec<String>,
    /// The fields kept as evidence.
    pub(crate) evidence_fields: Vec<FieldSlot>,
    /// Correlations first, at their index in the rule set; then detection rules.
    pub(crate) machines: Vec<MachinePlan>,
    /// For each detection rule, what its hits feed, in the order of the machines.
    pub(crate) leaves: Vec<Vec<Feed>>,
    /// The id of each detection rule.
    pub(crate) leaf_ids: Vec<String>,
    /// For each machine, what it feeds when it is met without an event at hand.
    pub(crate) closed_feeds: Vec<Vec<ClosedFeed>>,
    /// Correlations that cannot run, and why.
    pub(crate) unarmed: Vec<UnarmedRule>,
}

/// A correlation that is not run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnarmedRule {
    /// The rule's id.
    pub id: String,
    /// The file it stands in.
    pub path: String,
    /// The line its document begins on.
    pub line: u32,
    /// Why.
    pub reason: String,
}

/// One rule that is run.
#[derive(Clone, Debug)]
pub(crate) struct MachinePlan {
    pub(crate) rule_id: String,
    pub(crate) title: String,
    pub(crate) level: Severity,
    pub(crate) tags: Vec<String>,
    pub(crate) kind: MachineKind,
    /// Sigma's word for the kind; `event` for a detection rule.
    pub(crate) kind_name: &'static str,
    pub(crate) span: Nanos,
    /// The threshold in words; empty if nothing is counted.
    pub(crate) threshold: String,
    pub(crate) group_by: Vec<String>,
    pub(crate) value_fields: Vec<String>,
    /// Id and title of each member; of the rule itself for a detection rule.
    pub(crate) members: Vec<(String, String)>,
    /// Tells a changed rule from an unchanged one: state of the first is not restored.
    pub(crate) fingerprint: [u64; 2],
}

/// How a machine judges.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum MachineKind {
    /// Cannot run; keeps the place.
    Unarmed,
    /// At least so many events within the span.
    Count { at_least: u64 },
    /// At least so many distinct values within the span.
    Values { at_least: u64 },
    /// Events of a window, judged when it is over.
    CountAtClose { threshold: Threshold },
    /// Distinct values of a window, judged when it is over.
    ValuesAtClose { threshold: Threshold },
    /// Members that meet.
    Temporal { test: MemberTest },
}

/// A machine that hears of an event: because a detection rule was met, or because a correlation
/// that heard of the event was.
#[derive(Clone, Debug)]
pub(crate) struct Feed {
    pub(crate) machine: usize,
    pub(crate) member: u16,
    /// The number of the rule that was met: a detection rule's, or a correlation's with
    /// [`CORRELATION_BIT`].
    pub(crate) rule: u32,
    pub(crate) key: Vec<KeyPart>,
    /// Whether events of different agents belong to different groups.
    pub(crate) is_by_agent: bool,
    pub(crate) values: Vec<FieldSlot>,
    /// The machines that hear of the event if this one is met.
    pub(crate) then: Vec<Feed>,
}

/// One part of a group key: the first of these fields the event has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KeyPart {
    pub(crate) slots: Vec<FieldSlot>,
    /// Whether an event without any of them belongs to no group; else its part is empty.
    pub(crate) is_required: bool,
    /// The name `group_by` uses; empty for "the field's own".
    pub(crate) name: String,
}

/// A machine that hears of a correlation met without an event: where its group key stands in the
/// key of the one that was met.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ClosedFeed {
    pub(crate) machine: usize,
    pub(crate) member: u16,
    /// `None` if the one that was met does not have the field: then nothing is counted.
    pub(crate) key: Vec<Option<usize>>,
}

impl MachineKind {
    pub(crate) fn is_temporal(&self) -> bool {
        matches!(self, Self::Temporal { .. })
    }

    /// Whether it is judged only when its window is over.
    pub(crate) fn is_at_close(&self) -> bool {
        matches!(self, Self::CountAtClose { .. } | Self::ValuesAtClose { .. })
    }
}

impl Plan {
    /// Returns the id of a rule by its number.
    pub(crate) fn rule_id(&self, rule: u32) -> &str {
        let place = (rule & !CORRELATION_BIT) as usize;
        if rule & CORRELATION_BIT == 0 {
            self.leaf_ids.get(place).map_or("", String::as_str)
        } else {
            self.machines.get(place).map_or("", |machine| machine.rule_id.as_str())
        }
    }
}
