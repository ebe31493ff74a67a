//! Rule set → plan: which machines there are, and what each detection rule's hits feed.
//!
//! A correlation that cannot run is named with its reason and runs no part; nothing is skipped
//! silently. Field names are resolved here once: through the aliases of every correlation on the
//! way from the event up.

use canh_incident::{ENTITY_FIELDS, Severity};
use canh_sigma::{
    Comparison, CorrelationIndex, CorrelationKind, CorrelationRule, Member, MemberCondition, Rule, RuleIndex, RuleSet,
    Threshold,
};

use crate::limits::Limits;
use crate::nanos::nanos_of;
use crate::plan::{CORRELATION_BIT, ClosedFeed, Feed, FieldSlot, KeyPart, MachineKind, MachinePlan, Plan, UnarmedRule};
use crate::siphash::Key;
use crate::view::MAX_KEY_PARTS;
use crate::window::{MemberExpression, MemberTest};

/// Deepest nesting of correlations.
const MAX_NESTING: usize = 8;

/// Most members of a correlation.
const MAX_MEMBERS: usize = 1_000;

/// What repetitions of a detection rule's hits must share to be one detection, besides the agent:
/// the host, the account, the address; each the first of these fields the event has.
const REPEAT_KEY: [&[&str]; 3] = [
    &["Hostname", "Computer", "host.name"],
    &["User", "SubjectUserName", "user.name", "cs-username"],
    &["SourceIp", "c-ip", "IpAddress", "source.ip"],
];

/// Compiles a rule set.
pub(crate) fn compile(rules: &RuleSet, limits: &Limits) -> Plan {
    let mut plan = Plan::default();
    for (name, _, _) in ENTITY_FIELDS {
        let slot = slot_of(&mut plan.fields, name);
        plan.evidence_fields.push(slot);
    }
    for correlation in rules.correlations() {
        let machine = correlation_machine(rules, &plan, correlation);
        let machine = machine.unwrap_or_else(|reason| {
            plan.unarmed.push(unarmed(correlation, reason));
            MachinePlan { kind: MachineKind::Unarmed, ..bare_machine(correlation) }
        });
        plan.machines.push(machine);
    }
    for correlation in rules.correlations() {
        for name in correlation.group_by.iter().chain(&correlation.field) {
            let slot = slot_of(&mut plan.fields, name);
            if !plan.evidence_fields.contains(&slot) {
                plan.evidence_fields.push(slot);
            }
        }
    }
    for (place, rule) in rules.rules().iter().enumerate() {
        let number = u32::try_from(place).unwrap_or(u32::MAX);
        let member = Member::Detection(RuleIndex(number));
        let mut feeds = Vec::new();
        if speaks_for_itself(rules, member) {
            let machine = plan.machines.len();
            plan.machines.push(rule_machine(rule, limits));
            feeds.push(own_feed(&mut plan, machine, number));
        }
        feeds.extend(feeds_of(rules, &mut plan, &mut Vec::new(), member, number));
        plan.leaves.push(feeds);
        plan.leaf_ids.push(rule.id.clone());
    }
    for machine in 0..plan.machines.len() {
        let feeds = closed_feeds_of(rules, &plan, machine);
        plan.closed_feeds.push(feeds);
    }
    plan
}

fn unarmed(correlation: &CorrelationRule, reason: String) -> UnarmedRule {
    UnarmedRule { id: correlation.id.clone(), path: correlation.path.clone(), line: correlation.line, reason }
}

/// A detection rule that is a member of a correlation gives no detection of its own, unless a
/// correlation it is a member of says `generate`.
fn speaks_for_itself(rules: &RuleSet, member: Member) -> bool {
    let mut users = rules.correlations().iter().filter(|correlation| correlation.members.contains(&member)).peekable();
    users.peek().is_none() || users.any(|correlation| correlation.generate)
}

fn slot_of(fields: &mut Vec<String>, name: &str) -> FieldSlot {
    let place = fields.iter().position(|known| known == name).unwrap_or_else(|| {
        fields.push(name.to_owned());
        fields.len() - 1
    });
    FieldSlot::try_from(place).unwrap_or(FieldSlot::MAX)
}

fn bare_machine(correlation: &CorrelationRule) -> MachinePlan {
    MachinePlan {
        rule_id: correlation.id.clone(),
        title: correlation.title.clone(),
        level: severity_of(correlation.level.as_str()),
        tags: correlation.tags.clone(),
        kind: MachineKind::Unarmed,
        kind_name: correlation.kind.as_str(),
        span: nanos_of(correlation.timespan),
        threshold: correlation.threshold.map(|threshold| threshold.to_string()).unwrap_or_default(),
        group_by: correlation.group_by.clone(),
        value_fields: correlation.field.clone(),
        members: Vec::new(),
        fingerprint: [0; 2],
    }
}

fn severity_of(word: &str) -> Severity {
    word.parse().unwrap_or_default()
}

fn correlation_machine(rules: &RuleSet, plan: &Plan, correlation: &CorrelationRule) -> Result<MachinePlan, String> {
    let mut machine = bare_machine(correlation);
    if correlation.members.len() > MAX_MEMBERS {
        return Err(format!("it names {} rules, limit is {MAX_MEMBERS}", correlation.members.len()));
    }
    if correlation.group_by.len().max(correlation.field.len()) > MAX_KEY_PARTS {
        return Err(format!("it groups by or counts more than {MAX_KEY_PARTS} fields"));
    }
    for member in &correlation.members {
        machine.members.push(name_of(rules, *member));
        if let Member::Correlation(index) = member
            && plan.machines.get(index.0 as usize).is_none_or(|machine| machine.kind == MachineKind::Unarmed)
        {
            let id = &name_of(rules, *member).0;
            return Err(format!("it builds on the correlation {id}, which is not armed"));
        }
    }
    if nesting(rules, correlation) > MAX_NESTING {
        return Err(format!("it builds on correlations more than {MAX_NESTING} deep"));
    }
    machine.kind = kind_of(correlation)?;
    machine.fingerprint = fingerprint(correlation, &machine.members);
    Ok(machine)
}

fn name_of(rules: &RuleSet, member: Member) -> (String, String) {
    match member {
        Member::Detection(index) => rules.rule(index).map(|rule| (rule.id.clone(), rule.title.clone())),
        Member::Correlation(index) => rules.correlation(index).map(|rule| (rule.id.clone(), rule.title.clone())),
    }
    .unwrap_or_default()
}

fn nesting(rules: &RuleSet, correlation: &CorrelationRule) -> usize {
    // Members stand before their users, so this ends; depth past the bound is not followed.
    fn depth(rules: &RuleSet, correlation: &CorrelationRule, budget: usize) -> usize {
        if budget == 0 {
            return 1;
        }
        let below = correlation.members.iter().filter_map(|member| match member {
            Member::Correlation(index) => rules.correlation(*index),
            Member::Detection(_) => None,
        });
        1 + below.map(|child| depth(rules, child, budget - 1)).max().unwrap_or(0)
    }
    depth(rules, correlation, MAX_NESTING + 1)
}

fn kind_of(correlation: &CorrelationRule) -> Result<MachineKind, String> {
    let members = u16::try_from(correlation.members.len()).unwrap_or(u16::MAX);
    let needs_threshold = || correlation.threshold.ok_or_else(|| "it has no threshold".to_owned());
    match correlation.kind {
        CorrelationKind::EventCount => Ok(match (needs_threshold()?, least_of(needs_threshold()?)) {
            (_, Some(at_least)) => MachineKind::Count { at_least },
            (threshold, None) => MachineKind::CountAtClose { threshold },
        }),
        CorrelationKind::ValueCount if correlation.field.is_empty() => Err("it names no field to count".to_owned()),
        CorrelationKind::ValueCount => Ok(match (needs_threshold()?, least_of(needs_threshold()?)) {
            (_, Some(at_least)) => MachineKind::Values { at_least },
            (threshold, None) => MachineKind::ValuesAtClose { threshold },
        }),
        CorrelationKind::TemporalOrdered => Ok(MachineKind::Temporal { test: MemberTest::InOrder(members) }),
        CorrelationKind::Temporal => Ok(MachineKind::Temporal { test: member_test(correlation, members) }),
        other => Err(format!("{other} is not supported by this release")),
    }
}

fn member_test(correlation: &CorrelationRule, members: u16) -> MemberTest {
    if let Some(condition) = &correlation.condition {
        return MemberTest::Expression(expression_of(condition));
    }
    match correlation.threshold.and_then(least_of) {
        Some(at_least) => MemberTest::AtLeast(u16::try_from(at_least).unwrap_or(u16::MAX)),
        None => MemberTest::AllOf(members),
    }
}

fn expression_of(condition: &MemberCondition) -> MemberExpression {
    match condition {
        MemberCondition::All(parts) => MemberExpression::All(parts.iter().map(expression_of).collect()),
        MemberCondition::Any(parts) => MemberExpression::Any(parts.iter().map(expression_of).collect()),
        MemberCondition::Not(part) => MemberExpression::Not(Box::new(expression_of(part))),
        MemberCondition::Member(place) => MemberExpression::Member(u16::try_from(*place).unwrap_or(u16::MAX)),
    }
}

/// Returns the least count that reaches a threshold which every greater count reaches as well;
/// `None` if there is an upper bound.
pub(crate) fn least_of(threshold: Threshold) -> Option<u64> {
    let bound = |comparison: Comparison, value: f64| match comparison {
        Comparison::Greater => Some(value.floor() + 1.0),
        Comparison::GreaterOrEqual => Some(value.ceil()),
        _ => None,
    };
    let mut least = bound(threshold.comparison, threshold.value)?;
    if let Some((comparison, value)) = threshold.and {
        least = least.max(bound(comparison, value)?);
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to what a u64 holds")]
    Some(least.clamp(1.0, 9e15) as u64)
}

fn rule_machine(rule: &Rule, limits: &Limits) -> MachinePlan {
    MachinePlan {
        rule_id: rule.id.clone(),
        title: rule.title.clone(),
        level: severity_of(rule.level.as_str()),
        tags: rule.tags.clone(),
        kind: MachineKind::Count { at_least: 1 },
        kind_name: "event",
        span: nanos_of(limits.repeat_span),
        threshold: String::new(),
        group_by: Vec::new(),
        value_fields: Vec::new(),
        members: vec![(rule.id.clone(), rule.title.clone())],
        fingerprint: Key::of([0, 0], rule.id.as_bytes()).0,
    }
}

fn own_feed(plan: &mut Plan, machine: usize, rule: u32) -> Feed {
    let mut part = |names: &[&str]| KeyPart {
        slots: names.iter().map(|name| slot_of(&mut plan.fields, name)).collect(),
        is_required: false,
        name: String::new(),
    };
    let key = REPEAT_KEY.map(&mut part).to_vec();
    Feed { machine, member: 0, rule, key, is_by_agent: true, values: Vec::new(), then: Vec::new() }
}

/// One step of the way from the event up: a correlation and which of its members was met.
type Step<'r> = (&'r CorrelationRule, Member);

/// Returns what hears of an event when `member` was met by it.
fn feeds_of<'r>(rules: &'r RuleSet, plan: &mut Plan, way: &mut Vec<Step<'r>>, member: Member, leaf: u32) -> Vec<Feed> {
    let mut feeds = Vec::new();
    let rule = match member {
        Member::Detection(_) => leaf,
        Member::Correlation(index) => index.0 | CORRELATION_BIT,
    };
    for (machine, correlation) in rules.correlations().iter().enumerate() {
        let is_armed = plan.machines.get(machine).is_some_and(|machine| machine.kind != MachineKind::Unarmed);
        let Some(place) = correlation.members.iter().position(|known| *known == member).filter(|_| is_armed) else {
            continue;
        };
        way.push((correlation, member));
        let mut key = Vec::new();
        for name in &correlation.group_by {
            let slots = vec![slot_of(&mut plan.fields, resolve(way, name))];
            key.push(KeyPart { slots, is_required: true, name: name.clone() });
        }
        let values = correlation.field.iter().map(|name| slot_of(&mut plan.fields, resolve(way, name))).collect();
        let index = CorrelationIndex(u32::try_from(machine).unwrap_or(u32::MAX));
        let then = feeds_of(rules, plan, way, Member::Correlation(index), leaf);
        way.pop();
        let member = u16::try_from(place).unwrap_or(u16::MAX);
        feeds.push(Feed { machine, member, rule, key, is_by_agent: false, values, then });
    }
    feeds
}

/// Returns the name a field of the last correlation on the way has in the event: each correlation
/// may give it another name in its member, and a member that is a correlation again if it groups
/// by it.
fn resolve<'n>(way: &[Step<'n>], name: &'n str) -> &'n str {
    let mut name = name;
    for (depth, (correlation, member)) in way.iter().rev().enumerate() {
        if depth > 0 && !correlation.group_by.iter().any(|known| known == name) {
            break;
        }
        name = alias_of(correlation, *member, name);
    }
    name
}

fn alias_of<'n>(correlation: &'n CorrelationRule, member: Member, name: &'n str) -> &'n str {
    let alias = correlation.aliases.iter().find(|alias| alias.name == name);
    let field = alias.and_then(|alias| alias.fields.iter().find(|(of, _)| *of == member));
    field.map_or(name, |(_, field)| field)
}

fn closed_feeds_of(rules: &RuleSet, plan: &Plan, machine: usize) -> Vec<ClosedFeed> {
    let Some(below) = rules.correlations().get(machine) else { return Vec::new() };
    let member = Member::Correlation(CorrelationIndex(u32::try_from(machine).unwrap_or(u32::MAX)));
    let mut feeds = Vec::new();
    for (above, correlation) in rules.correlations().iter().enumerate() {
        let is_armed = plan.machines.get(above).is_some_and(|machine| machine.kind != MachineKind::Unarmed);
        let place = correlation.members.iter().position(|known| *known == member);
        let (Some(place), true) = (place, is_armed) else { continue };
        let place_of = |name: &String| {
            let name = alias_of(correlation, member, name);
            below.group_by.iter().position(|known| known == name)
        };
        let key = correlation.group_by.iter().map(place_of).collect();
        feeds.push(ClosedFeed { machine: above, member: u16::try_from(place).unwrap_or(u16::MAX), key });
    }
    feeds
}

/// What must be the same for a correlation's state to mean the same.
fn fingerprint(correlation: &CorrelationRule, members: &[(String, String)]) -> [u64; 2] {
    let ids: Vec<&str> = members.iter().map(|(id, _)| id.as_str()).collect();
    let aliases: Vec<_> = correlation.aliases.iter().map(|alias| (&alias.name, &alias.fields)).collect();
    let text = format!(
        "{} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {ids:?} {aliases:?}",
        correlation.id,
        correlation.kind,
        correlation.group_by,
        correlation.timespan,
        correlation.threshold,
        correlation.condition,
        correlation.field,
        correlation.percentile,
    );
    Key::of([0, 0], text.as_bytes()).0
}
