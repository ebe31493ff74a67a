//! All rules of a set of files, checked, linked and indexed.

use hashbrown::HashMap;

use crate::correlation::{CorrelationIndex, CorrelationRule, Member};
use crate::diagnostic::Diagnostic;
use crate::rule::{Rule, RuleIndex};

/// A rule file, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleFile {
    /// How to name it in diagnostics.
    pub path: String,
    /// Its text.
    pub text: String,
}

/// What came of loading.
#[derive(Clone, Debug, Default)]
pub struct Loaded {
    /// The rules that are right.
    pub rules: RuleSet,
    /// Why others were refused, one entry a document, in the order of the files.
    pub refused: Vec<Diagnostic>,
    /// What is doubtful about rules that were not refused.
    pub warnings: Vec<Diagnostic>,
}

/// Detection rules and correlations that are right and refer to each other rightly.
#[derive(Clone, Debug, Default)]
pub struct RuleSet {
    pub(crate) rules: Vec<Rule>,
    pub(crate) correlations: Vec<CorrelationRule>,
    pub(crate) by_reference: HashMap<String, Member>,
}

impl RuleSet {
    /// Returns the detection rules.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Returns the correlations; a member stands before every correlation that watches it.
    pub fn correlations(&self) -> &[CorrelationRule] {
        &self.correlations
    }

    /// Returns a detection rule.
    pub fn rule(&self, index: RuleIndex) -> Option<&Rule> {
        self.rules.get(usize::try_from(index.0).ok()?)
    }

    /// Returns a correlation.
    pub fn correlation(&self, index: CorrelationIndex) -> Option<&CorrelationRule> {
        self.correlations.get(usize::try_from(index.0).ok()?)
    }

    /// Returns the rule with this id or name.
    pub fn find(&self, reference: &str) -> Option<Member> {
        self.by_reference.get(reference).copied()
    }
}
