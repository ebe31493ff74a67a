//! Streams of events for the tests of this crate: written down with the rules they meet, so that
//! no matcher is needed.

use canh_event::{BatchBuilder, EventBatch, Logsource, Origin, RowHeader, TimeQuality, Timestamp, Value};
use canh_incident::Detection;
use canh_sigma::{Hit, Member, RuleFile, RuleSet};

use crate::correlator::Correlator;
use crate::limits::Limits;

/// One event: when, which rules it meets, its fields, which agent read it.
#[derive(Clone, Debug)]
pub(crate) struct TestEvent {
    pub(crate) millis: i64,
    pub(crate) rules: Vec<&'static str>,
    pub(crate) fields: Vec<(&'static str, String)>,
    pub(crate) agent: &'static str,
}

/// Returns an event at a second.
pub(crate) fn at(secs: i64, rule: &'static str) -> TestEvent {
    TestEvent { millis: secs * 1_000, rules: vec![rule], fields: Vec::new(), agent: "web-01" }
}

impl TestEvent {
    pub(crate) fn with(mut self, field: &'static str, value: impl ToString) -> Self {
        self.fields.push((field, value.to_string()));
        self
    }

    pub(crate) fn ip(self, last: u8) -> Self {
        self.with("SourceIp", format!("203.0.113.{last}"))
    }

    pub(crate) fn by(mut self, agent: &'static str) -> Self {
        self.agent = agent;
        self
    }

    pub(crate) fn also(mut self, rule: &'static str) -> Self {
        self.rules.push(rule);
        self
    }
}

/// Detection rules `failed`, `success`, `other` and the correlations given.
pub(crate) fn rules(correlations: &str) -> RuleSet {
    let mut text = String::new();
    for name in ["failed", "success", "other"] {
        text.push_str(&format!(
            "title: SSH {name}\nname: {name}\nlevel: low\nlogsource:\n  product: linux\ndetection:\n  selection:\n    Action: {name}\n  condition: selection\n---\n"
        ));
    }
    text.push_str(correlations);
    let loaded = RuleSet::load([RuleFile { path: "test.yml".to_owned(), text }]);
    assert!(loaded.refused.is_empty(), "{:?}", loaded.refused);
    loaded.rules
}

/// Returns the text of a correlation.
pub(crate) fn correlation(name: &str, kind: &str, members: &str, span: &str, condition: &str) -> String {
    let condition = if condition.is_empty() { String::new() } else { format!("  condition:\n    {condition}\n") };
    format!(
        "title: {name}\nname: {name}\nlevel: high\ncorrelation:\n  type: {kind}\n  rules: [{members}]\n  group-by: [SourceIp]\n  timespan: {span}\n{condition}---\n"
    )
}

/// Builds one batch and its hits.
pub(crate) fn batch(rules: &RuleSet, events: &[TestEvent]) -> (EventBatch, Vec<Hit>) {
    let (mut builder, mut hits) = (BatchBuilder::new(), Vec::new());
    let logsource = builder.logsource(&Logsource::unknown()).unwrap();
    for (row, event) in events.iter().enumerate() {
        let agency = "so-tttt".parse().ok();
        let origin = Origin { agent: event.agent.parse().ok(), agency, ..Origin::default() };
        let origin = builder.origin(&origin).unwrap();
        let time = Timestamp::from_millis(event.millis);
        let received = Timestamp::EPOCH;
        let header = RowHeader { time, time_quality: TimeQuality::Stated, received, origin, logsource };
        let raw = format!("{} {:?}", event.millis, event.fields);
        let mut builder = builder.begin_row(header, raw.as_bytes()).unwrap();
        for (name, value) in &event.fields {
            builder.field(name, Value::text(value)).unwrap();
        }
        builder.commit();
        let mut met: Vec<Hit> = event
            .rules
            .iter()
            .filter_map(|name| match rules.find(name) {
                Some(Member::Detection(rule)) => Some(Hit { row: u16::try_from(row).unwrap(), rule }),
                _ => None,
            })
            .collect();
        met.sort();
        hits.extend(met);
    }
    (builder.finish(), hits)
}

/// Runs a stream as one batch.
pub(crate) fn detect(rules: &RuleSet, events: &[TestEvent]) -> Vec<Detection> {
    detect_with(rules, events, Limits::default())
}

/// Runs a stream as one batch within limits.
pub(crate) fn detect_with(rules: &RuleSet, events: &[TestEvent], limits: Limits) -> Vec<Detection> {
    let mut correlator = Correlator::new(rules, limits);
    assert!(correlator.unarmed().is_empty(), "{:?}", correlator.unarmed());
    let mut found = Vec::new();
    let (batch, hits) = batch(rules, events);
    correlator.observe(&batch, 1, &hits, &mut found);
    found
}

/// Runs a stream cut into batches of the given lengths (the last goes on to the end), and at each
/// cut that is an odd one takes a snapshot and goes on from it.
pub(crate) fn detect_cut(rules: &RuleSet, events: &[TestEvent], cuts: &[usize], limits: &Limits) -> Vec<Detection> {
    let mut correlator = Correlator::new(rules, limits.clone());
    let (mut found, mut rest, mut record) = (Vec::new(), events, 0);
    for cut in cuts.iter().copied().chain([usize::MAX]) {
        let (part, after) = rest.split_at(cut.min(rest.len()));
        rest = after;
        record += 1;
        let (batch, hits) = batch(rules, part);
        correlator.observe(&batch, record, &hits, &mut found);
        if cut % 2 == 1 && cut != usize::MAX {
            let bytes = correlator.snapshot();
            correlator = Correlator::restore(rules, &bytes, limits.clone()).unwrap();
            assert_eq!(correlator.snapshot(), bytes, "a snapshot read and written again is the same");
        }
    }
    found
}

/// Takes out what names the batches, so that runs with other borders can be compared.
pub(crate) fn without_places(mut detections: Vec<Detection>) -> Vec<Detection> {
    for piece in detections.iter_mut().flat_map(|detection| &mut detection.evidence) {
        piece.event = canh_event::EventRef::default();
    }
    detections
}
