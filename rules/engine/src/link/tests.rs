use super::*;
use crate::correlation::{CorrelationKind, MemberCondition, Threshold};
use crate::detection::Condition;
use crate::rule_set::RuleFile;

fn load(texts: &[&str]) -> Loaded {
    let file = |(index, text): (usize, &&str)| RuleFile { path: format!("{index}.yml"), text: (*text).to_owned() };
    RuleSet::load(texts.iter().enumerate().map(file))
}

fn rule(name: &str) -> String {
    format!("title: {name}\nname: {name}\nlogsource: {{product: linux}}\ndetection:\n  s:\n    a: 1\n  condition: s\n")
}

/// Sigma correlation rules specification 2.1, "Failed Logins Followed by Successful Login", in the
/// order the specification has it: the correlations first.
const CHAIN: &str = "
title: Correlation - Multiple Failed Logins Followed by Successful Login
id: b180ead8-d58f-40b2-ae54-c8940995b9b6
correlation:
    type: temporal_ordered
    rules:
        - multiple_failed_login
        - successful_login
    group-by:
        - User
    timespan: 10m
level: high
---
title: Multiple failed logons
id: a8418a5a-5fc4-46b5-b23b-6c73beb19d41
name: multiple_failed_login
correlation:
    type: event_count
    rules:
        - failed_login
    group-by:
        - User
    timespan: 10m
    condition:
        gte: 10
---
title: Single failed login
id: 53ba33fd-3a50-4468-a5ef-c583635cfa92
name: failed_login
logsource: {product: windows, service: security}
detection:
    selection:
        EventID:
            - 529
            - 4625
    condition: selection
---
title: Successful login
id: 4d0a2c83-c62c-4ed4-b475-c7e23a9269b8
name: successful_login
logsource: {product: windows, service: security}
detection:
    selection:
        EventID: [528, 4624]
    condition: selection
";

#[test]
fn a_member_stands_before_whoever_watches_it() {
    let loaded = load(&[CHAIN]);
    assert_eq!(loaded.refused, []);
    let set = loaded.rules;
    assert_eq!(set.rules().len(), 2);
    let [count, ordered] = set.correlations() else { panic!("two correlations") };
    assert_eq!(count.kind, CorrelationKind::EventCount);
    assert_eq!(count.members, [set.find("failed_login").unwrap()]);
    assert_eq!(count.threshold, Some(Threshold::new(crate::comparison::Comparison::GreaterOrEqual, 10.0)));
    assert_eq!(ordered.kind, CorrelationKind::TemporalOrdered);
    assert_eq!(ordered.members, [Member::Correlation(CorrelationIndex(0)), Member::Detection(RuleIndex(1))]);
    assert_eq!(set.find("b180ead8-d58f-40b2-ae54-c8940995b9b6"), Some(Member::Correlation(CorrelationIndex(1))));
}

#[test]
fn a_circle_is_refused() {
    let correlation = |name: &str, of: &str| {
        format!(
            "title: {name}\nname: {name}\ncorrelation:\n  type: event_count\n  rules: [{of}]\n  group-by: [x]\n  \
             timespan: 1m\n  condition: {{gte: 1}}\n"
        )
    };
    let loaded = load(&[&correlation("a", "b"), &correlation("b", "a"), &correlation("c", "c")]);
    assert_eq!(loaded.refused.len(), 3);
    assert!(loaded.refused.iter().all(|refused| refused.message.contains("watches itself")));
}

#[test]
fn a_member_that_is_not_there_is_named_with_its_line() {
    let text = "title: t\ncorrelation:\n  type: temporal\n  rules:\n    - a\n    - nobody\n  timespan: 1m\n";
    let loaded = load(&[&rule("a"), text]);
    assert_eq!(loaded.refused.len(), 1);
    assert_eq!((loaded.refused[0].line, loaded.refused[0].column), (6, 7));
}

#[test]
fn of_two_rules_with_one_id_the_later_is_refused() {
    let loaded = load(&[&rule("a"), &rule("a")]);
    assert_eq!(loaded.rules.rules().len(), 1);
    assert!(loaded.refused[0].to_string().contains("is that of 0.yml:1"), "{}", loaded.refused[0]);
}

#[test]
fn documents_of_one_global_share_its_id() {
    let text = "action: global\ntitle: t\nid: i\ndetection: {condition: s}\n---\nlogsource: {product: a}\n\
                detection: {s: {x: 1}}\n---\nlogsource: {product: b}\ndetection: {s: {x: 2}}\n";
    let loaded = load(&[text]);
    assert_eq!((loaded.refused.len(), loaded.rules.rules().len()), (0, 2));
}

#[test]
fn a_filter_is_laid_beside_the_rules_it_names() {
    let filter = "title: f\nlogsource: {product: linux}\nfilter:\n  rules: [a, gone]\n  selection: {User: root}\n  \
                  condition: not selection\n";
    let loaded = load(&[&rule("a"), &rule("b"), filter]);
    assert_eq!(loaded.refused, []);
    assert_eq!(loaded.warnings.len(), 1);
    let [a, b] = loaded.rules.rules() else { panic!("two rules") };
    let expected = Condition::All(vec![Condition::Search(0), Condition::Not(Box::new(Condition::Search(1)))]);
    assert_eq!(a.detection.condition, expected);
    assert_eq!(b.detection.condition, Condition::Search(0));
}

#[test]
fn a_filter_of_another_logsource_touches_nothing_and_one_without_not_is_remarked_on() {
    let filter =
        "title: f\nlogsource: {product: windows}\nfilter:\n  selection: {User: root}\n  condition: selection\n";
    let loaded = load(&[&rule("a"), filter]);
    assert_eq!(loaded.rules.rules()[0].detection.condition, Condition::Search(0));
    assert!(loaded.warnings[0].message.contains("keeps only"));
}

#[test]
fn an_aggregation_becomes_a_correlation_with_the_rules_id() {
    let text = "title: t\nid: i\nlogsource: {product: a}\ndetection:\n  s: {x: 1}\n  timeframe: 5m\n  \
                condition: s | count(User) by Host > 10\n";
    let loaded = load(&[text]);
    assert_eq!(loaded.refused, []);
    assert_eq!(loaded.rules.rules()[0].id, "i#events");
    let correlation = &loaded.rules.correlations()[0];
    assert_eq!((correlation.id.as_str(), correlation.kind), ("i", CorrelationKind::ValueCount));
    assert_eq!(correlation.members, [Member::Detection(RuleIndex(0))]);
}

#[test]
fn near_becomes_a_temporal_correlation_over_its_searches() {
    let text = "title: t\nid: i\nlogsource: {product: a}\ndetection:\n  s: {x: 1}\n  b: {x: 2}\n  c: {x: 3}\n  \
                timeframe: 5m\n  condition: s | near b and not c\n";
    let loaded = load(&[text]);
    assert_eq!(loaded.refused, []);
    let ids: Vec<&str> = loaded.rules.rules().iter().map(|rule| rule.id.as_str()).collect();
    assert_eq!(ids, ["i#events", "i#b", "i#c"]);
    use MemberCondition::{All, Member, Not};
    let expected = All(vec![Member(0), All(vec![Member(1), Not(Box::new(Member(2)))])]);
    assert_eq!(loaded.rules.correlations()[0].condition, Some(expected));
}

#[test]
fn aliases_are_resolved_to_members() {
    let text = "title: t\ncorrelation:\n  type: temporal\n  rules: [a, b]\n  group-by: [ip]\n  timespan: 10s\n  \
                aliases:\n    ip:\n      a: source.ip\n      b: destination.ip\n  condition: a and b\n";
    let loaded = load(&[&rule("a"), &rule("b"), text]);
    assert_eq!(loaded.refused, []);
    let correlation = &loaded.rules.correlations()[0];
    assert_eq!(correlation.aliases[0].fields[1], (Member::Detection(RuleIndex(1)), "destination.ip".to_owned()));
    assert!(correlation.condition.is_some());
}

#[test]
fn every_kind_of_correlation_is_read() {
    for kind in CorrelationKind::ALL {
        let condition = match kind {
            CorrelationKind::EventCount => "{gt: 100, lte: 200}",
            CorrelationKind::ValuePercentile => "{field: x, percentile: 95, gte: 1.5}",
            _ if kind.is_temporal() => "{gte: 1}",
            _ => "{field: [x, y], eq: 3}",
        };
        let text = format!(
            "title: t\ncorrelation:\n  type: {kind}\n  rules: [a]\n  group-by: [ip]\n  timespan: 1h\n  condition: {condition}\n"
        );
        let loaded = load(&[&rule("a"), &text]);
        assert_eq!(loaded.refused, [], "{kind}");
        assert_eq!(loaded.rules.correlations()[0].kind, kind);
    }
    for wrong in
        ["type: value_count\n  condition: {gte: 1}", "type: event_count", "type: event_cuont", "typ: event_count"]
    {
        let text = format!("title: t\ncorrelation:\n  {wrong}\n  rules: [a]\n  timespan: 1h\n");
        assert_eq!(load(&[&rule("a"), &text]).refused.len(), 1, "{wrong}");
    }
}
