//! Data and parts for the tests of several rooms.

use std::sync::Arc;

use canh_event::{
    BatchBuilder, Epoch, EventBatch, Logsource, Origin, RecordSequence, RowHeader, StoredBatch, TimeQuality, Timestamp,
    Value,
};
use canh_incident::{Detection, DetectionId, DetectionKind, Entity, EntityKind, EntityRole, Severity, Why, Window};
use canh_service::metrics::Metrics as Registry;

use crate::metrics::Metrics;
use crate::rules::Rules;
use crate::rules::tests::{FAILED_LOGIN, folder};

pub(crate) fn metrics() -> Metrics {
    Metrics::register(&Registry::new("canh-correlator", "0.0.0").unwrap()).unwrap()
}

/// One rule: failed logins of sshd.
pub(crate) fn rules(generation: u64) -> Arc<Rules> {
    let dir = folder(&[("a.yml", FAILED_LOGIN)]);
    Arc::new(Rules::load(&[dir.path().to_owned()], generation).unwrap())
}

/// A batch of so many failed logins.
pub(crate) fn failed_logins(count: i64) -> EventBatch {
    let mut builder = BatchBuilder::new();
    let origin = builder.origin(&Origin::unknown()).unwrap();
    let logsource = builder.logsource(&Logsource::new("linux", &["sshd"], &[]).unwrap()).unwrap();
    for second in 0..count {
        let time = Timestamp::from_secs(1_795_489_200 + second);
        let header = RowHeader { time, time_quality: TimeQuality::Stated, received: time, origin, logsource };
        let mut row = builder.begin_row(header, b"Failed password").unwrap();
        row.field("EventOutcome", Value::text("failure")).unwrap();
        row.commit();
    }
    builder.finish()
}

/// The same as a record of the collector's journal.
pub(crate) fn record(count: i64) -> Vec<u8> {
    let stored = StoredBatch {
        agent: "web-01".parse().unwrap(),
        stream: "log".parse().unwrap(),
        epoch: Epoch(1),
        first: RecordSequence(1),
        batch: failed_logins(count),
    };
    let mut body = Vec::new();
    stored.encode(&mut body);
    body
}

/// A detection of a rule about an address.
pub(crate) fn detection(rule: &str, address: &str, count: u64) -> Detection {
    let time = Timestamp::from_secs(1_795_489_200);
    let group_key = vec![("SourceIp".to_owned(), address.to_owned())];
    Detection {
        id: DetectionId::new(rule, time, &group_key),
        rule_id: rule.to_owned(),
        rule_title: format!("Title of {rule}"),
        level: Severity::High,
        kind: DetectionKind::Correlation,
        time,
        window: Window::at(time),
        group_key,
        entities: Entity::new(EntityKind::Ip, address, EntityRole::Actor).into_iter().collect(),
        agency: None,
        agent: None,
        count,
        built_on: Vec::new(),
        evidence: Vec::new(),
        why: Why::default(),
        tags: Vec::new(),
    }
}
