//! What a case expects, what was raised, and how the two differ: `test-corpus/README.md`,
//! "expected.ndjson".

use std::collections::BTreeMap;

use canh_incident::{Detection, DetectionKind};
use serde::{Deserialize, Serialize};

use crate::exit::Failure;

/// One line of `expected.ndjson`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Expectation {
    /// The rule's id.
    pub(crate) rule: String,
    /// One event or several.
    pub(crate) kind: DetectionWord,
    /// A correlation's group; empty for an event.
    pub(crate) group: BTreeMap<String, String>,
    /// How many; missing where nothing is counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) count: Option<u64>,
}

/// What kind of rule raises it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum DetectionWord {
    /// A detection rule.
    Event,
    /// A correlation.
    Correlation,
}

impl Expectation {
    /// Reads the lines of `expected.ndjson`, sorted.
    pub(crate) fn parse_all(text: &str) -> Result<Vec<Self>, Failure> {
        let mut lines = Vec::new();
        for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let refused = || Failure::usage(format!("line {} of expected.ndjson cannot be used", index + 1));
            lines.push(serde_json::from_str(line).map_err(|error| refused().because(&error))?);
        }
        lines.sort();
        Ok(lines)
    }

    /// Sums up what was raised in the form of expectations.
    pub(crate) fn of(detections: &[Detection]) -> Vec<Self> {
        // A detection that grows is taken once, with its last count.
        let last: BTreeMap<&str, &Detection> =
            detections.iter().map(|detection| (detection.id.as_str(), detection)).collect();
        let mut raised: BTreeMap<(String, DetectionWord, BTreeMap<String, String>), Option<u64>> = BTreeMap::new();
        for detection in last.into_values() {
            let (kind, group, count) = match detection.kind {
                DetectionKind::Event => (DetectionWord::Event, BTreeMap::new(), Some(detection.count)),
                DetectionKind::Correlation => {
                    let group = detection.group_key.iter().cloned().collect();
                    (DetectionWord::Correlation, group, correlation_count(detection))
                }
            };
            let known = raised.entry((detection.rule_id.clone(), kind, group)).or_insert(count.map(|_| 0));
            *known = match (kind, *known, count) {
                (DetectionWord::Event, Some(known), Some(count)) => Some(known + count),
                (_, known, count) => known.max(count),
            };
        }
        raised.into_iter().map(|((rule, kind, group), count)| Self { rule, kind, group, count }).collect()
    }
}

fn correlation_count(detection: &Detection) -> Option<u64> {
    match detection.why.condition.as_str() {
        "temporal" | "temporal_ordered" => None,
        "value_count" => detection.why.distinct_values,
        _ => Some(detection.count),
    }
}

/// Returns how the two differ, in words; nothing if they are the same.
pub(crate) fn differences(expected: &[Expectation], raised: &[Expectation]) -> Vec<String> {
    // What is written is a struct of texts and numbers: it always can be.
    let shown = |line: &Expectation| serde_json::to_string(line).unwrap_or_default();
    let missing = expected.iter().filter(|line| !raised.contains(line));
    let extra = raised.iter().filter(|line| !expected.contains(line));
    let missing = missing.map(|line| format!("not raised: {}", shown(line)));
    missing.chain(extra.map(|line| format!("not expected: {}", shown(line)))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(rule: &str, count: u64) -> Expectation {
        let kind = DetectionWord::Event;
        Expectation { rule: rule.to_owned(), kind, group: BTreeMap::new(), count: Some(count) }
    }

    #[test]
    fn differences_name_what_is_missing_and_what_is_too_much() {
        assert!(differences(&[line("a", 1)], &[line("a", 1)]).is_empty());
        assert_eq!(
            differences(&[line("a", 1)], &[line("a", 2)]),
            [
                "not raised: {\"rule\":\"a\",\"kind\":\"event\",\"group\":{},\"count\":1}",
                "not expected: {\"rule\":\"a\",\"kind\":\"event\",\"group\":{},\"count\":2}"
            ]
        );
    }

    #[test]
    fn a_line_that_is_none_is_refused() {
        assert!(Expectation::parse_all("{\"rule\":\"a\",\"kind\":\"event\",\"group\":{}}\n\n").is_ok());
        assert!(Expectation::parse_all("{\"rule\":\"a\",\"kind\":\"other\",\"group\":{}}\n").is_err());
        assert!(Expectation::parse_all("{\"rule\":\"a\",\"kind\":\"event\",\"group\":{},\"x\":1}\n").is_err());
    }
}
