//! Which rules an event's logsource brings into play.

use canh_event::Logsource;

use crate::program::bits::BitSet;
use crate::program::ids::FieldId;
use crate::rule::RuleLogsource;

/// The rules of one logsource, as rules write it.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    pub(crate) logsource: RuleLogsource,
    pub(crate) rules: BitSet,
    /// The fields these rules look at.
    pub(crate) fields: BitSet,
    /// Those of the rules that have no witness.
    pub(crate) always: Vec<u32>,
}

/// The rules in play for events of one logsource.
#[derive(Clone, Debug)]
pub(crate) struct Scope {
    rules: BitSet,
    fields: BitSet,
    always: Vec<u32>,
}

impl Scope {
    /// Returns the rules in play for a logsource, or all of them.
    pub(crate) fn new(groups: &[Group], logsource: Option<&Logsource>) -> Self {
        // All groups' sets have the same bounds.
        let bound =
            |set: fn(&Group) -> &BitSet| groups.first().map_or_else(BitSet::default, |group| set(group).emptied());
        let mut scope =
            Self { rules: bound(|group| &group.rules), fields: bound(|group| &group.fields), always: Vec::new() };
        for group in groups {
            if logsource.is_none_or(|logsource| group.logsource.applies_to(logsource)) {
                scope.rules.add_all(&group.rules);
                scope.fields.add_all(&group.fields);
                scope.always.extend_from_slice(&group.always);
            }
        }
        scope.always.sort_unstable();
        scope
    }

    /// Returns whether a rule is in play.
    pub(crate) fn has_rule(&self, rule: u32) -> bool {
        self.rules.contains(rule)
    }

    /// Returns whether a rule in play looks at a field.
    pub(crate) fn wants(&self, field: FieldId) -> bool {
        self.fields.contains(field.0)
    }

    /// Returns the rules in play that must be looked at for every event.
    pub(crate) fn always(&self) -> &[u32] {
        &self.always
    }
}
