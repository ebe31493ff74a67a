//! What a matcher is asked and what it answers.

use crate::rule::RuleIndex;

/// A rule that fits an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hit {
    /// The event's row in its batch.
    pub row: u16,
    /// The rule.
    pub rule: RuleIndex,
}

/// Which rules are laid against an event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Routing {
    /// Those whose logsource applies to it.
    #[default]
    ByLogsource,
    /// All, whatever their logsource.
    Everything,
}
