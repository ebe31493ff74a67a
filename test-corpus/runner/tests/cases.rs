//! Every case of `test-corpus/cases`, and what the pack as a whole promises.

#![expect(clippy::unwrap_used, reason = "a test that fails says where")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use canh_corpus::{Case, differences, expected_of, load_pack, raised_of, replay};
use canh_event::{Origin, RecordBatch, Source, Timestamp};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap().to_path_buf()
}

fn cases() -> Vec<Case> {
    let folders = Case::folders(&root().join("test-corpus/cases")).unwrap();
    folders.iter().map(|folder| Case::load(folder).unwrap()).collect()
}

#[test]
fn every_case_raises_what_it_expects_and_nothing_else() {
    let pack = load_pack(&root().join("rules/packs/canh-core")).unwrap();
    let mut failed = Vec::new();
    let cases = cases();
    assert!(cases.len() >= 2 * 28, "there are {} cases", cases.len());
    for case in &cases {
        let replayed = replay(&pack, &case.origin, &case.records).unwrap();
        let expected = expected_of(&case.expectation).unwrap();
        let mut wrong = differences(&expected, &raised_of(&replayed.detections));
        let unclaimed = replayed.formats.iter().filter(|format| matches!(**format, "unparsed" | "too_large")).count();
        if unclaimed > 0 {
            wrong.push(format!("{unclaimed} records are claimed by no parser"));
        }
        let has = |id: &String| expected.iter().any(|line| line.rule == *id);
        wrong.extend(case.expected.iter().filter(|id| !has(id)).map(|id| format!("{id} has no line")));
        wrong.extend(case.absent.iter().filter(|id| has(id)).map(|id| format!("{id} is absent and has a line")));
        if !wrong.is_empty() {
            failed.push(format!("{} ({}):\n    {}", case.name, case.claim, wrong.join("\n    ")));
        }
    }
    assert!(failed.is_empty(), "{} of {} cases differ:\n  {}", failed.len(), cases.len(), failed.join("\n  "));
}

#[test]
fn every_rule_that_raises_something_has_a_case_for_and_one_against() {
    let pack = load_pack(&root().join("rules/packs/canh-core")).unwrap();
    let cases = cases();
    let positive: BTreeSet<&str> = cases.iter().flat_map(|case| &case.expected).map(String::as_str).collect();
    let negative: BTreeSet<&str> = cases.iter().flat_map(|case| &case.absent).map(String::as_str).collect();
    let raising = |id: &str| positive.contains(id) && negative.contains(id);
    let detections = pack.rules.rules().iter().filter(|rule| raising(&rule.id)).count();
    let correlations: Vec<&str> = pack.rules.correlations().iter().map(|rule| rule.id.as_str()).collect();
    let without: Vec<&&str> = correlations.iter().filter(|id| !raising(id)).collect();
    assert!(without.is_empty(), "correlations without cases: {without:?}");
    assert!(
        detections >= 20 && correlations.len() >= 8,
        "{detections} detections, {} correlations",
        correlations.len()
    );
}

/// The demo's day: guessing, then success, from one address.
#[test]
fn guessing_then_success_is_one_incident_that_says_so() {
    let pack = load_pack(&root().join("rules/packs/canh-core")).unwrap();
    let text = std::fs::read_to_string(root().join("test-corpus/demo/auth.log")).unwrap();
    let received: Timestamp = "2026-11-24T02:00:00Z".parse().unwrap();
    let mut records = RecordBatch::new();
    let source = Source {
        name: "/var/log/auth.log".parse().unwrap(),
        host: Box::from("web-01"),
        format: "syslog".parse().unwrap(),
        utc_offset_secs: 25_200,
    };
    let id = records.source(&source).unwrap();
    for line in text.lines() {
        records.push(id, received, line.as_bytes()).unwrap();
    }
    let origin = Origin { agent: "web-01".parse().ok(), host: Box::from("web-01"), ..Origin::unknown() };
    let replayed = replay(&pack, &origin, &[records]).unwrap();
    let guessing: Vec<&str> = replayed
        .incidents
        .incidents()
        .filter(|incident| incident.entities.iter().any(|entity| entity.value == "203.0.113.45"))
        .map(|incident| incident.title.as_str())
        .collect();
    assert_eq!(guessing.len(), 1, "{guessing:?}");
    assert!(guessing[0].to_lowercase().contains("guess"), "{guessing:?}");
}
