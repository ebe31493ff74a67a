//! Whether a source can feed a rule: could any event of the source make the rule fire?
//!
//! A field that a source never has decides some tests for good: `Image|endswith` can then never
//! hold, `Image: null` always does. What is undecided may go either way, so a rule counts as fed
//! unless it can be shown that it never fires.
//!
//! ```text
//! field fed ───► item may hold or not ─┐
//! field absent ► item never (always)  ─┴─► condition: can it hold at all?
//! ```

use std::collections::BTreeSet;

use canh_sigma::{
    Clause, Condition, CorrelationRule, Detection, Item, Join, Member, Rule, RuleLogsource, RuleSet, Target, Test,
};

use crate::rules::sources::Feed;

/// Deepest chain of correlations of correlations that is followed.
const MAX_DEPTH: usize = 16;

/// Whether a rule can fire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Readiness {
    /// Every field it looks at is fed.
    Armed,
    /// It can fire, but these fields never come: a part of it (a search, a filter) is idle.
    Partial(Missing),
    /// It can never fire.
    Unfed(Missing),
}

/// What is missing for a rule to be fed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Missing {
    /// A part of its logsource, or their combination: `service auditd`.
    Logsource(String),
    /// Fields, of the source that has most of them.
    Fields {
        /// The source.
        source: String,
        /// The fields.
        fields: Vec<String>,
    },
    /// Rules that a correlation watches.
    Members(Vec<String>),
    /// The correlator's ability to run it: why it cannot.
    Support(String),
}

/// What a part of a condition can come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Outcomes {
    can_hold: bool,
    can_fail: bool,
}

/// Returns whether a detection rule can fire on what is fed.
pub(crate) fn of_rule(rule: &Rule, feeds: &[Feed]) -> Readiness {
    of_detection(&rule.logsource, &rule.detection, feeds)
}

fn of_detection(logsource: &RuleLogsource, detection: &Detection, feeds: &[Feed]) -> Readiness {
    let mut best: Option<(bool, Vec<String>, &Feed)> = None;
    for feed in feeds.iter().filter(|feed| feed.is_for(logsource)) {
        let absent = detection.field_names().into_iter().filter(|name| !feed.has(name));
        let absent: Vec<String> = absent.map(str::to_owned).collect();
        let can_fire = condition(&detection.condition, detection, feed).can_hold;
        let is_better = best.as_ref().is_none_or(|(fires, missing, _)| {
            (can_fire, std::cmp::Reverse(absent.len())) > (*fires, std::cmp::Reverse(missing.len()))
        });
        if is_better {
            best = Some((can_fire, absent, feed));
        }
    }
    match best {
        None => Readiness::Unfed(Missing::Logsource(missing_logsource(logsource, feeds))),
        Some((true, absent, _)) if absent.is_empty() => Readiness::Armed,
        Some((can_fire, fields, feed)) => {
            let missing = Missing::Fields { source: feed.name.clone(), fields };
            if can_fire { Readiness::Partial(missing) } else { Readiness::Unfed(missing) }
        }
    }
}

/// Says which parts of a logsource nothing has; if each is there, but never together, all of them.
fn missing_logsource(wanted: &RuleLogsource, feeds: &[Feed]) -> String {
    let any = |has: &dyn Fn(&Feed) -> bool| feeds.iter().any(has);
    // A service is one of its product: that some other product has one of this name helps nobody.
    let of_product = |feed: &Feed| wanted.product.is_none() || feed.product() == wanted.product.as_deref();
    let mut missing = Vec::new();
    let mut named = Vec::new();
    if let Some(product) = &wanted.product {
        named.push(format!("product {product}"));
        if !any(&|feed| feed.product() == Some(product)) {
            return format!("product {product}");
        }
    }
    if let Some(service) = &wanted.service {
        named.push(format!("service {service}"));
        if !any(&|feed| of_product(feed) && feed.has_service(service)) {
            missing.push(format!("service {service}"));
        }
    }
    if let Some(category) = &wanted.category {
        named.push(format!("category {category}"));
        if !any(&|feed| of_product(feed) && feed.has_category(category)) {
            missing.push(format!("category {category}"));
        }
    }
    let words = if missing.is_empty() { named.join(" with ") } else { missing.join(", ") };
    match &wanted.product {
        Some(product) if !missing.is_empty() => format!("{words} of {product}"),
        _ => words,
    }
}

fn condition(part: &Condition, detection: &Detection, feed: &Feed) -> Outcomes {
    match part {
        Condition::All(parts) => Outcomes::all(parts.iter().map(|part| condition(part, detection, feed))),
        Condition::Any(parts) => Outcomes::any(parts.iter().map(|part| condition(part, detection, feed))),
        Condition::Not(part) => condition(part, detection, feed).negated(),
        Condition::Search(place) => match detection.searches.get(*place) {
            Some(search) => clause(&search.clause, feed),
            None => Outcomes::NEVER,
        },
    }
}

fn clause(part: &Clause, feed: &Feed) -> Outcomes {
    match part {
        Clause::All(parts) => Outcomes::all(parts.iter().map(|part| clause(part, feed))),
        Clause::Any(parts) => Outcomes::any(parts.iter().map(|part| clause(part, feed))),
        Clause::Item(item) => of_item(item, feed),
    }
}

fn of_item(item: &Item, feed: &Feed) -> Outcomes {
    let Target::Field(name) = &item.target else { return Outcomes::EITHER };
    let is_there = feed.has(name);
    // `neq` needs the field.
    if item.negated {
        return if is_there { Outcomes::EITHER } else { Outcomes::NEVER };
    }
    let tests = item.tests.iter().map(|test| of_test(test, is_there, feed));
    match item.join {
        Join::Any => Outcomes::any(tests),
        Join::Every => Outcomes::all(tests),
    }
}

fn of_test(test: &Test, is_there: bool, feed: &Feed) -> Outcomes {
    match test {
        Test::OneOf(variants) => Outcomes::any(variants.iter().map(|variant| of_test(variant, is_there, feed))),
        Test::Reference { field, .. } if !feed.has(field) => Outcomes::NEVER,
        _ if is_there => Outcomes::EITHER,
        Test::Null | Test::Exists(false) => Outcomes::ALWAYS,
        _ => Outcomes::NEVER,
    }
}

impl Outcomes {
    const EITHER: Self = Self { can_hold: true, can_fail: true };
    const NEVER: Self = Self { can_hold: false, can_fail: true };
    const ALWAYS: Self = Self { can_hold: true, can_fail: false };

    fn all(parts: impl Iterator<Item = Self>) -> Self {
        let join = |all: Self, part: Self| Self {
            can_hold: all.can_hold && part.can_hold,
            can_fail: all.can_fail || part.can_fail,
        };
        parts.fold(Self::ALWAYS, join)
    }

    fn any(parts: impl Iterator<Item = Self>) -> Self {
        let join = |any: Self, part: Self| Self {
            can_hold: any.can_hold || part.can_hold,
            can_fail: any.can_fail && part.can_fail,
        };
        parts.fold(Self::NEVER, join)
    }

    fn negated(self) -> Self {
        Self { can_hold: self.can_fail, can_fail: self.can_hold }
    }
}

/// Returns whether a correlation can be met: one that counts needs one member that is fed, one that
/// waits for its members needs them all, unless it has a condition of its own, which one may do
/// for. An event without a field that is grouped by is not counted.
pub(crate) fn of_correlation(rule: &CorrelationRule, rules: &RuleSet, feeds: &[Feed]) -> Readiness {
    correlation(rule, rules, feeds, MAX_DEPTH)
}

fn correlation(rule: &CorrelationRule, rules: &RuleSet, feeds: &[Feed], depth: usize) -> Readiness {
    let mut unfed = BTreeSet::new();
    let mut fields_missing: Option<Missing> = None;
    let mut fed = 0_usize;
    for member in &rule.members {
        match member_readiness(*member, rule, rules, feeds, depth) {
            (_, Readiness::Armed) => fed += 1,
            (_, Readiness::Partial(missing)) => {
                fed += 1;
                fields_missing.get_or_insert(missing);
            }
            (id, Readiness::Unfed(missing)) => {
                unfed.insert(id);
                fields_missing = fields_missing.or(Some(missing));
            }
        }
    }
    let needs_all = rule.kind.is_temporal() && rule.condition.is_none();
    let members = Missing::Members(unfed.iter().map(|id| (*id).to_owned()).collect());
    match (fields_missing, unfed.is_empty()) {
        (None, _) => Readiness::Armed,
        (Some(missing), true) => Readiness::Partial(missing),
        // Of a single member it is more use to say what that lacks.
        (Some(missing), false) if fed == 0 && rule.members.len() == 1 => Readiness::Unfed(missing),
        (Some(_), false) if fed == 0 || needs_all => Readiness::Unfed(members),
        (Some(_), false) => Readiness::Partial(members),
    }
}

fn member_readiness<'a>(
    member: Member,
    watcher: &CorrelationRule,
    rules: &'a RuleSet,
    feeds: &[Feed],
    depth: usize,
) -> (&'a str, Readiness) {
    let unknown = || ("", Readiness::Armed);
    match member {
        Member::Detection(index) => rules.rule(index).map_or_else(unknown, |rule| {
            let grouped: Vec<&str> =
                watcher.group_by.iter().chain(&watcher.field).map(|name| own_name(watcher, member, name)).collect();
            (rule.id.as_str(), of_grouped(rule, &grouped, feeds))
        }),
        Member::Correlation(index) if depth > 0 => rules
            .correlation(index)
            .map_or_else(unknown, |rule| (rule.id.as_str(), correlation(rule, rules, feeds, depth - 1))),
        Member::Correlation(_) => unknown(),
    }
}

fn own_name<'a>(watcher: &'a CorrelationRule, member: Member, name: &'a str) -> &'a str {
    let alias = watcher.aliases.iter().find(|alias| alias.name == name);
    let field = alias.and_then(|alias| alias.fields.iter().find(|(of, _)| *of == member));
    field.map_or(name, |(_, field)| field)
}

/// Leaves sources out that lack a field a correlation groups by or counts.
fn of_grouped(rule: &Rule, grouped: &[&str], feeds: &[Feed]) -> Readiness {
    let (able, unable): (Vec<Feed>, Vec<Feed>) =
        feeds.iter().cloned().partition(|feed| grouped.iter().all(|field| feed.has(field)));
    let readiness = of_rule(rule, &able);
    match (&readiness, unable.iter().find(|feed| feed.is_for(&rule.logsource))) {
        (Readiness::Unfed(Missing::Logsource(_)), Some(feed)) => {
            let fields = grouped.iter().filter(|field| !feed.has(field)).map(|field| (*field).to_owned()).collect();
            Readiness::Unfed(Missing::Fields { source: feed.name.clone(), fields })
        }
        _ => readiness,
    }
}

#[cfg(test)]
mod tests;
