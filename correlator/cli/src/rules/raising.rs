//! Which rules raise detections of their own, and not only as a part of a correlation.

use std::collections::BTreeSet;

use canh_sigma::{CorrelationIndex, CorrelationRule, Member, Rule, RuleIndex, RuleSet};

/// A rule that raises detections.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Raiser<'a> {
    /// For one event.
    Detection(&'a Rule),
    /// For several.
    Correlation(&'a CorrelationRule),
}

/// Returns the rules that raise detections, correlations last: those that no correlation has for a
/// member, and those of correlations that say `generate`. Source: Sigma correlation rules
/// specification 2.1, "generate".
pub(crate) fn raising(rules: &RuleSet) -> Vec<Raiser<'_>> {
    let members = |generate: bool| -> BTreeSet<Member> {
        let correlations = rules.correlations().iter().filter(|rule| rule.generate == generate);
        correlations.flat_map(|rule| rule.members.iter().copied()).collect()
    };
    let (loud, quiet) = (members(true), members(false));
    let raises = |member: Member| loud.contains(&member) || !quiet.contains(&member);
    let detections = (0..).zip(rules.rules());
    let detections = detections.filter(|(index, _)| raises(Member::Detection(RuleIndex(*index))));
    let correlations = (0..).zip(rules.correlations());
    let correlations = correlations.filter(|(index, _)| raises(Member::Correlation(CorrelationIndex(*index))));
    let detections = detections.map(|(_, rule)| Raiser::Detection(rule));
    detections.chain(correlations.map(|(_, rule)| Raiser::Correlation(rule))).collect()
}

impl<'a> Raiser<'a> {
    /// Returns its id.
    pub(crate) fn id(self) -> &'a str {
        match self {
            Self::Detection(rule) => &rule.id,
            Self::Correlation(rule) => &rule.id,
        }
    }

    /// Returns its title.
    pub(crate) fn title(self) -> &'a str {
        match self {
            Self::Detection(rule) => &rule.title,
            Self::Correlation(rule) => &rule.title,
        }
    }

    /// Returns its tags.
    pub(crate) fn tags(self) -> &'a [String] {
        match self {
            Self::Detection(rule) => &rule.tags,
            Self::Correlation(rule) => &rule.tags,
        }
    }
}
