//! What each kind of test means, one claim a test.

use canh_event::{BatchBuilder, EventBatch, Logsource, Origin, RowHeader, TimeQuality, Timestamp, Value};

use crate::reference::{explain, matches};
use crate::rule::Rule;
use crate::rule_set::{RuleFile, RuleSet};

fn rule(detection: &str) -> Rule {
    let text = format!("title: t\nlogsource: {{product: windows}}\ndetection:\n{detection}\n");
    let loaded = RuleSet::load([RuleFile { path: "t.yml".to_owned(), text }]);
    assert_eq!(loaded.refused, []);
    loaded.rules.rules()[0].clone()
}

fn event(fields: &[(&str, Value<'_>)]) -> EventBatch {
    let mut builder = BatchBuilder::new();
    let origin = builder.origin(&Origin::unknown()).unwrap();
    let logsource = builder.logsource(&Logsource::new("windows", &["security"], &[]).unwrap()).unwrap();
    let time = Timestamp::EPOCH;
    let header = RowHeader { time, time_quality: TimeQuality::Stated, received: time, origin, logsource };
    let mut row = builder.begin_row(header, b"").unwrap();
    for (name, value) in fields {
        row.field(name, *value).unwrap();
    }
    row.commit();
    builder.finish()
}

/// Whether a search `s` with one field line holds for an event.
fn fits(search: &str, fields: &[(&str, Value<'_>)]) -> bool {
    let batch = event(fields);
    matches(&rule(&format!("  s:\n    {search}\n  condition: s")), batch.row(0).unwrap())
}

fn text(text: &str) -> Value<'_> {
    Value::text(text)
}

#[test]
fn text_is_compared_without_case_unless_cased() {
    assert!(fits("A: cmd.EXE", &[("A", text("CMD.exe"))]));
    assert!(!fits("A|cased: cmd.EXE", &[("A", text("CMD.exe"))]));
    assert!(fits("A|contains: NHẬP", &[("A", text("đăng nhập thất bại"))]));
    assert!(!fits("A: cmd", &[("a", text("cmd"))]), "field names are taken as they are");
}

#[test]
fn numbers_are_compared_by_value_and_as_text() {
    for value in [Value::number("4104"), text("4104"), Value::number("4104.0")] {
        assert!(fits("A: 4104", &[("A", value)]));
    }
    assert!(fits("A: '4104'", &[("A", Value::number("4104"))]));
    assert!(!fits("A: 4104", &[("A", text("41041"))]));
    assert!(fits("A|gte: 10", &[("A", text("10"))]));
    assert!(!fits("A|lt: 10", &[("A", text("abc"))]));
    assert!(fits("A: true", &[("A", Value::bool(true))]));
}

/// Sigma rules specification 2.1, "Special Field Values" and "Field Existence".
#[test]
fn nothing_empty_and_absent_are_told_apart() {
    let none: &[(&str, Value<'_>)] = &[];
    assert!(fits("A: null", none));
    assert!(fits("A: null", &[("A", Value::NULL)]));
    assert!(!fits("A: null", &[("A", text(""))]));
    assert!(fits("A: ''", &[("A", text(""))]));
    assert!(!fits("A: ''", none));
    assert!(!fits("A: ''", &[("A", Value::NULL)]));
    assert!(!fits("A: '*'", &[("A", Value::NULL)]));
    assert!(fits("A|exists: true", &[("A", Value::NULL)]));
    assert!(fits("A|exists: false", none));
    assert!(!fits("A|exists: false", &[("A", text(""))]));
}

#[test]
fn neq_needs_the_field() {
    assert!(fits("A|neq: [x, y]", &[("A", text("z"))]));
    assert!(!fits("A|neq: [x, y]", &[("A", text("Y"))]));
    assert!(!fits("A|neq: x", &[]));
}

#[test]
fn a_list_matches_by_one_of_its_values() {
    let list = [("A", text("x")), ("A", text("y"))];
    assert!(fits("A: y", &list));
    assert!(fits("A|contains|all: [x, y]", &list));
    assert!(!fits("A|contains|all: [x, z]", &list));
    assert!(!fits("A|neq: y", &list));
}

#[test]
fn other_fields_are_compared_with() {
    let fields = [("A", text("C:\\x\\Cmd.exe")), ("B", text("cmd.EXE"))];
    assert!(fits("A|fieldref|endswith: B", &fields));
    assert!(!fits("A|fieldref: B", &fields));
    assert!(!fits("A|fieldref|endswith|cased: B", &fields));
    assert!(fits("A|fieldref|neq: B", &fields));
    assert!(!fits("A|fieldref: C", &fields));
}

#[test]
fn addresses_dates_and_expressions() {
    assert!(fits("A|cidr: 10.0.0.0/8", &[("A", text("10.9.8.7"))]));
    assert!(fits("A|cidr: 10.0.0.0/8", &[("A", text("::ffff:10.9.8.7"))]));
    assert!(fits("A|cidr: 'fe80::/10'", &[("A", text("fe80::1%eth0"))]));
    assert!(!fits("A|cidr: 10.0.0.0/8", &[("A", text("10.9.8"))]));
    assert!(fits("A|hour|gte: 22", &[("A", text("2024-05-01T23:00:00Z"))]));
    assert!(fits("A|re: 'c.d$'", &[("A", text("x cmd"))]));
    assert!(!fits("A|re: 'c.d$'", &[("A", text("x CMD"))]));
}

#[test]
fn keywords_are_looked_for_in_every_value() {
    let batch = event(&[("A", text("x")), ("B", text("run MimiKatz now")), ("C", Value::number("517"))]);
    let row = batch.row(0).unwrap();
    assert!(matches(&rule("  k: [nothing, mimikatz]\n  condition: k"), row));
    assert!(matches(&rule("  k: {'|all': [mimikatz, run]}\n  condition: k"), row));
    assert!(!matches(&rule("  k: {'|all': [mimikatz, nothing]}\n  condition: k"), row));
    assert!(matches(&rule("  k: ['run*now']\n  condition: k"), row));
    assert!(matches(&rule("  k: [517]\n  condition: k"), row));
    assert!(matches(&rule("  k: mimikatz\n  condition: k"), row));
}

#[test]
fn lists_of_maps_are_or_and_maps_are_and() {
    let batch = event(&[("A", text("1")), ("B", text("2"))]);
    let row = batch.row(0).unwrap();
    assert!(matches(&rule("  s:\n    - A: 9\n    - B: 2\n  condition: s"), row));
    assert!(!matches(&rule("  s:\n    A: 1\n    B: 9\n  condition: s"), row));
    assert!(matches(&rule("  s: {A: 9}\n  t: {B: 2}\n  condition:\n    - s\n    - t"), row));
}

#[test]
fn an_explanation_says_what_was_seen() {
    let batch = event(&[("A", text("C:\\x\u{1b}[31m"))]);
    let rule = rule("  s:\n    A|endswith: ['\\cmd.exe', '\\y']\n  f: {B: null}\n  condition: s and not f");
    let explanation = explain(&rule, batch.row(0).unwrap());
    assert!(!explanation.matches && explanation.applies);
    let written = explanation.to_string();
    assert!(written.contains("no    s\n"), "{written}");
    assert!(written.contains("A|endswith is one of 2 values"), "{written}");
    assert!(written.contains("B is absent or null"), "{written}");
    assert!(!written.contains('\u{1b}'), "{written}");
}
