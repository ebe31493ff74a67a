//! On real events the program answers as the plain twin does, for any batch borders.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "the functions here are tests or part of one")]

mod support;

use canh_event::EventBatch;
use canh_sigma::{Hit, Matcher, Program, Routing, RuleIndex, RuleSet, reference};
use support::telemetry::{batches, events};

fn run(matcher: &mut Matcher, batch: &EventBatch, routing: Routing) -> Vec<Hit> {
    let mut hits = Vec::new();
    matcher.run(batch, routing, &mut hits);
    hits
}

/// What the twin says, rule by rule.
fn plainly(rules: &RuleSet, batch: &EventBatch, routing: Routing) -> Vec<Hit> {
    let mut hits = Vec::new();
    for row in batch.rows() {
        for (index, rule) in (0..).map(RuleIndex).zip(rules.rules()) {
            let applies = routing == Routing::Everything || rule.logsource.applies_to(row.logsource());
            if applies && reference::matches(rule, row) {
                hits.push(Hit { row: row.index(), rule: index });
            }
        }
    }
    hits
}

fn compare(step: usize) {
    let (Some(rules), Some(telemetry)) = (support::corpus("sigma-rules"), support::corpus("attack-telemetry")) else {
        return;
    };
    let rules = RuleSet::load(support::rule_files(&rules)).rules;
    let program = Program::compile(&rules);
    let mut matcher = Matcher::new(&program);
    let events = events(&telemetry);
    let mut count = 0;
    for batch in batches(events.iter().step_by(step), 512) {
        for routing in [Routing::ByLogsource, Routing::Everything] {
            let hits = run(&mut matcher, &batch, routing);
            count += hits.len();
            let expected = plainly(&rules, &batch, routing);
            let wrong = hits.iter().find(|hit| !expected.contains(hit));
            if let Some(hit) = wrong.or_else(|| expected.iter().find(|hit| !hits.contains(hit))) {
                let rule = rules.rule(hit.rule).unwrap();
                let row = batch.row(usize::from(hit.row)).unwrap();
                let verb = if wrong.is_some() { "must not fit" } else { "must fit" };
                panic!("{} {verb}\n{}", rule.path, reference::explain(rule, row));
            }
            assert_eq!(hits, expected, "hits are sorted by row, then rule");
        }
    }
    println!("{count} hits on {} events", events.len().div_ceil(step));
    assert!(count > 0);
}

#[test]
fn program_answers_as_the_twin_does_on_a_sample_of_events() {
    compare(401);
}

#[test]
#[ignore = "every event against every rule by the twin takes minutes; run it in release"]
fn program_answers_as_the_twin_does_on_every_event() {
    compare(1);
}

#[test]
fn batch_borders_and_memory_change_nothing() {
    let (Some(rules), Some(telemetry)) = (support::corpus("sigma-rules"), support::corpus("attack-telemetry")) else {
        return;
    };
    let rules = RuleSet::load(support::rule_files(&rules)).rules;
    let program = Program::compile(&rules);
    let events = events(&telemetry);
    let rules_by_event = |rows: usize, fresh: bool| {
        let mut matcher = Matcher::new(&program);
        let mut found = Vec::new();
        let mut first = 0;
        for batch in batches(events.iter().step_by(5), rows) {
            if fresh {
                matcher = Matcher::new(&program);
            }
            let hits = run(&mut matcher, &batch, Routing::ByLogsource);
            found.extend(hits.iter().map(|hit| (first + usize::from(hit.row), hit.rule)));
            first += batch.len();
        }
        found
    };
    let whole = rules_by_event(4_096, false);
    assert!(!whole.is_empty());
    assert_eq!(rules_by_event(7, false), whole);
    assert_eq!(rules_by_event(1_000, true), whole);
}
