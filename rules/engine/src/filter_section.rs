//! Filter documents: a condition laid beside those of other rules.
//!
//! A rule a filter applies to fires only if the filter's condition holds as well, so a filter that
//! leaves events out says `condition: not selection`; that is pySigma's reading of the Sigma filters
//! specification 2.1, which leaves it open. A filter without any `not` is remarked on.

use crate::detection::{Condition, Detection, Search};
use crate::diagnostic::{Fault, Mark};
use crate::item::Checking;
use crate::metadata::{Metadata, logsource};
use crate::rule::{Rule, RuleLogsource};
use crate::search;
use crate::yaml::{Map, Scalar};

/// A filter, checked but not yet applied.
#[derive(Clone, Debug)]
pub(crate) struct FilterDraft {
    pub(crate) title: String,
    pub(crate) logsource: RuleLogsource,
    /// The rules it is for; `None` for all of its logsource.
    pub(crate) rules: Option<Vec<Scalar>>,
    pub(crate) detection: Detection,
}

/// Reads a filter document.
pub(crate) fn read(
    document: &Map,
    metadata: &Metadata,
    mark: Mark,
    checking: &mut Checking<'_>,
) -> Result<FilterDraft, Fault> {
    let section = match document.get("filter") {
        Some(node) => node.as_map("filter")?,
        None => return Err(Fault::new(mark, "there is no filter")),
    };
    let named: Vec<Scalar> = match section.get("rules") {
        Some(node) => node.as_scalars("rules")?.into_iter().cloned().collect(),
        None => Vec::new(),
    };
    let is_for_all = named.is_empty() || named.iter().any(|name| name.text == "any");
    let at = document.mark_of("filter");
    let read = search::read(section, &["rules"], at, checking)?;
    if read.aggregation.is_some() {
        return Err(Fault::new(section.mark_of("condition"), "a filter takes no aggregation"));
    }
    if !negates(&read.detection.condition) {
        let remark = Fault::new(section.mark_of("condition"), "the filter keeps only the events it matches");
        checking.warnings.push(remark.hint("to leave them out write condition: not selection"));
    }
    Ok(FilterDraft {
        title: metadata.title.clone(),
        logsource: logsource(document, mark)?,
        rules: if is_for_all { None } else { Some(named) },
        detection: read.detection,
    })
}

impl FilterDraft {
    /// Returns whether a rule is one the filter is for, by `reference` or as one of all. The events
    /// of a rule with an aggregation count as the rule.
    pub(crate) fn is_for(&self, rule: &Rule, reference: Option<&str>) -> bool {
        let is_named = |name: &str| {
            rule.id == name
                || rule.name.as_deref() == Some(name)
                || rule.title == name
                || rule.id.split_once('#').is_some_and(|(id, _)| id == name)
        };
        self.logsource.covers(&rule.logsource) && reference.is_none_or(is_named)
    }

    /// Lays the filter beside a rule's condition.
    pub(crate) fn apply(&self, rule: &mut Rule) {
        let offset = rule.detection.searches.len();
        rule.detection.searches.extend(
            self.detection.searches.iter().map(|search| Search {
                name: format!("{} ({})", search.name, self.title),
                clause: search.clause.clone(),
            }),
        );
        let own = std::mem::replace(&mut rule.detection.condition, Condition::All(Vec::new()));
        rule.detection.condition = Condition::All(vec![own, moved(&self.detection.condition, offset)]);
    }
}

fn moved(condition: &Condition, offset: usize) -> Condition {
    let each = |parts: &[Condition]| parts.iter().map(|part| moved(part, offset)).collect();
    match condition {
        Condition::All(parts) => Condition::All(each(parts)),
        Condition::Any(parts) => Condition::Any(each(parts)),
        Condition::Not(part) => Condition::Not(Box::new(moved(part, offset))),
        Condition::Search(place) => Condition::Search(place + offset),
    }
}

fn negates(condition: &Condition) -> bool {
    match condition {
        Condition::All(parts) | Condition::Any(parts) => parts.iter().any(negates),
        Condition::Not(_) => true,
        Condition::Search(_) => false,
    }
}
