//! Holds `docs/reference/sigma-support.md` to the engine: every modifier and every type of
//! correlation has a row, and every row is one the engine knows.

#![expect(clippy::unwrap_used, reason = "the functions here are tests or part of one")]

use std::collections::BTreeSet;
use std::path::Path;

use canh_sigma::{CorrelationKind, RuleFile, RuleSet};

fn read(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)).unwrap()
}

/// The words in backquotes that begin the rows of a section's table.
fn rows(section: &str) -> BTreeSet<String> {
    let page = read("docs/reference/sigma-support.md");
    let section = page.split("\n## ").find(|part| part.starts_with(section)).unwrap().to_owned();
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` |"));
    rows.map(|(word, _)| word.to_owned()).collect()
}

/// The engine's own list; it is not public, so its source is read.
fn known_modifiers() -> BTreeSet<String> {
    let source = read("rules/engine/src/modifier.rs");
    let (_, list) = source.split_once("const KNOWN:").unwrap();
    let (list, _) = list.split_once("];").unwrap();
    list.lines().filter_map(|line| line.trim().strip_prefix('"')?.strip_suffix("\",")).map(str::to_owned).collect()
}

fn loads(key: &str, value: &str) -> bool {
    let text = format!("title: t\nlogsource: {{product: p}}\ndetection: {{s: {{'{key}': {value}}}, condition: s}}\n");
    RuleSet::load([RuleFile { path: "r.yml".to_owned(), text }]).refused.is_empty()
}

#[test]
fn every_modifier_has_a_row_and_every_row_is_a_modifier() {
    let known = known_modifiers();
    assert!(known.len() >= 34, "{known:?}");
    assert_eq!(rows("Modifiers"), known);
}

#[test]
fn the_engine_takes_every_modifier_of_the_page() {
    for word in rows("Modifiers") {
        let (key, value) = match word.as_str() {
            "i" | "ignorecase" | "m" | "multiline" | "s" | "dotall" => (format!("F|re|{word}"), "'abc'"),
            "exists" => (format!("F|{word}"), "true"),
            "cidr" => (format!("F|{word}"), "10.0.0.0/8"),
            "lt" | "lte" | "gt" | "gte" | "minute" | "hour" | "day" | "week" | "month" | "year" => {
                (format!("F|{word}"), "5")
            }
            _ => (format!("F|{word}"), "'abc'"),
        };
        assert!(loads(&key, value), "{key}: {value}");
    }
    assert!(!loads("F|nosuch", "'abc'"));
}

#[test]
fn every_type_of_correlation_has_a_row() {
    let known: BTreeSet<String> = CorrelationKind::ALL.iter().map(|kind| kind.as_str().to_owned()).collect();
    assert_eq!(rows("Correlations"), known);
}

/// Statements of the page that a change of the engine would make untrue.
#[test]
fn what_the_page_says_is_refused_is_refused() {
    for (key, value) in [
        ("F|re", "'(?=x)'"),
        ("F|exists|neq", "true"),
        ("F|contains|endswith", "x"),
        ("F|base64", "'a*'"),
        ("F|i", "x"),
        ("|neq", "x"),
        ("|cidr", "10.0.0.0/8"),
        ("F|windash", "'-a -b -c -d -e'"),
        ("F", "[]"),
        ("F", "{a: 1}"),
    ] {
        assert!(!loads(key, value), "{key}: {value}");
    }
    for (key, value) in
        [("|all", "[a, b]"), ("|cased", "a"), ("|re|i", "a"), ("|base64offset", "abc"), ("|windash", "'-a'")]
    {
        assert!(loads(key, value), "{key}: {value}");
    }
}
