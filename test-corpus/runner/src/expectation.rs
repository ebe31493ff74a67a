//! What a case expects, what the engine said, and how the two differ.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use canh_incident::{Detection, DetectionKind};
use serde::Deserialize;

/// One line of `expected.ndjson`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expectation {
    /// The rule's id.
    pub rule: String,
    /// `event` or `correlation`.
    pub kind: String,
    /// A correlation's group; empty for an event.
    pub group: BTreeMap<String, String>,
    /// How many; missing where nothing is counted.
    pub count: Option<u64>,
}

/// Reads the lines of `expected.ndjson`.
///
/// # Errors
/// A line that is no expectation.
pub fn expected_of(text: &str) -> Result<Vec<Expectation>> {
    let parse = |(number, line): (usize, &str)| {
        serde_json::from_str(line).with_context(|| format!("while reading line {} of expected.ndjson", number + 1))
    };
    let mut lines: Vec<Expectation> = text.lines().enumerate().map(parse).collect::<Result<_>>()?;
    lines.sort();
    Ok(lines)
}

/// Sums up what an engine said in the form of expectations: see `test-corpus/README.md`.
pub fn raised_of(detections: &[Detection]) -> Vec<Expectation> {
    // A detection that grows is taken once, with its last count.
    let mut last: BTreeMap<&str, &Detection> = BTreeMap::new();
    for detection in detections {
        last.insert(detection.id.as_str(), detection);
    }
    let mut raised: BTreeMap<(String, String, BTreeMap<String, String>), Option<u64>> = BTreeMap::new();
    for detection in last.values() {
        let (kind, group, count) = match detection.kind {
            DetectionKind::Event => ("event", BTreeMap::new(), Some(detection.count)),
            DetectionKind::Correlation => {
                ("correlation", detection.group_key.iter().cloned().collect(), correlation_count(detection))
            }
        };
        let key = (detection.rule_id.clone(), kind.to_owned(), group);
        let slot = raised.entry(key).or_insert(count.map(|_| 0));
        *slot = match (*slot, count) {
            (Some(known), Some(count)) if kind == "event" => Some(known + count),
            (known, count) => known.max(count),
        };
    }
    let lines = raised.into_iter();
    lines.map(|((rule, kind, group), count)| Expectation { rule, kind, group, count }).collect()
}

fn correlation_count(detection: &Detection) -> Option<u64> {
    match detection.why.condition.as_str() {
        "temporal" | "temporal_ordered" => None,
        "value_count" => detection.why.distinct_values,
        _ => Some(detection.count),
    }
}

/// Returns how the two differ, in words; nothing if they are the same.
pub fn differences(expected: &[Expectation], raised: &[Expectation]) -> Vec<String> {
    let missing = expected.iter().filter(|line| !raised.contains(line)).map(|line| format!("missing: {line:?}"));
    let extra = raised.iter().filter(|line| !expected.contains(line)).map(|line| format!("not expected: {line:?}"));
    missing.chain(extra).collect()
}
