//! Detections for the tests of this crate.

use canh_event::{EventRef, Timestamp};

use crate::detection::{Detection, DetectionId, DetectionKind, Why, Window};
use crate::entity::{Entity, EntityKind, EntityRole};
use crate::evidence::{Evidence, RawRecord};
use crate::severity::Severity;

/// A detection of `rule` about an address at a second, with `count` events.
pub(crate) fn detection(rule: &str, ip: &str, secs: i64, count: u64) -> Detection {
    let time = Timestamp::from_secs(secs);
    let group_key = vec![("SourceIp".to_owned(), ip.to_owned())];
    Detection {
        id: DetectionId::new(rule, time, &group_key),
        rule_id: rule.to_owned(),
        rule_title: format!("Title of {rule}"),
        level: Severity::Medium,
        kind: DetectionKind::Correlation,
        time,
        window: Window::at(time),
        group_key,
        entities: Entity::new(EntityKind::Ip, ip, EntityRole::Actor).into_iter().collect(),
        agency: "so-tttt".parse().ok(),
        agent: "web-01".parse().ok(),
        count,
        built_on: Vec::new(),
        evidence: vec![evidence(1, secs)],
        why: Why { text: "because".to_owned(), condition: "event_count".to_owned(), ..Why::default() },
        tags: Vec::new(),
    }
}

/// One event of a journal record.
pub(crate) fn evidence(record: u64, secs: i64) -> Evidence {
    Evidence {
        event: EventRef { record, row: 0 },
        time: Timestamp::from_secs(secs),
        source: "web-01:/var/log/auth.log".to_owned(),
        rule_id: String::new(),
        raw: RawRecord::new(b"Failed password"),
        fields: vec![("User".to_owned(), "lan".to_owned())],
    }
}
