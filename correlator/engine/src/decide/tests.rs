use canh_event::Timestamp;
use canh_incident::{Actor, DetectionId, DetectionKind, IncidentState, SCHEMA_VERSION, Verdict, Why, Window};

use super::*;

fn detection(rule: &str, entities: &[(EntityKind, &str)], secs: i64) -> Detection {
    let time = Timestamp::from_secs(secs);
    let group_key: Vec<_> = entities.iter().map(|(kind, value)| (kind.to_string(), (*value).to_owned())).collect();
    let role = |kind: EntityKind| match kind {
        EntityKind::Host | EntityKind::Agent => EntityRole::Target,
        _ => EntityRole::Actor,
    };
    Detection {
        id: DetectionId::new(rule, time, &group_key),
        rule_id: rule.to_owned(),
        rule_title: rule.to_owned(),
        level: Severity::Medium,
        kind: DetectionKind::Correlation,
        time,
        window: Window::at(time),
        entities: entities.iter().filter_map(|(kind, value)| Entity::new(*kind, value, role(*kind))).collect(),
        group_key,
        agency: "so-tttt".parse().ok(),
        agent: None,
        count: 1,
        built_on: Vec::new(),
        evidence: Vec::new(),
        why: Why::default(),
        tags: Vec::new(),
    }
}

fn ip(rule: &str, address: &str, secs: i64) -> Detection {
    detection(rule, &[(EntityKind::Ip, address)], secs)
}

/// Decides and applies; returns the incident and the reason.
fn put(book: &mut IncidentBook, grouper: &Grouper, detection: &Detection) -> (u32, GroupedBy) {
    let Decision::Change(change) = grouper.decide(book, detection) else { panic!("no change for {}", detection.id) };
    book.apply(&change).unwrap();
    let by = match &change.kind {
        ChangeKind::Opened { grouping, .. } | ChangeKind::Grown { grouping, .. } => grouping.by,
        other => panic!("{other:?}"),
    };
    (change.number.counter(), by)
}

fn close(book: &mut IncidentBook, counter: u32) {
    let number = book.by_counter(counter).unwrap().number;
    let kind = ChangeKind::Closed { verdict: Verdict::TruePositive, note: None };
    let actor = Actor::User { name: "lan".to_owned(), uid: None };
    let at = Timestamp::from_secs(10_000);
    book.apply(&Change { schema_version: SCHEMA_VERSION, number, at, actor, from: String::new(), kind }).unwrap();
}

#[test]
fn guessing_followed_by_a_success_is_one_incident_even_from_a_local_address() {
    let (mut book, grouper) = (IncidentBook::new(), Grouper::default());
    let guessing = ip("ssh-guessing", "127.0.0.1", 100);
    assert_eq!(put(&mut book, &grouper, &guessing), (1, GroupedBy::Nothing));
    let mut success = ip("ssh-guessing-then-success", "127.0.0.1", 130);
    success.level = Severity::Critical;
    success.built_on = vec![guessing.id];
    assert_eq!(put(&mut book, &grouper, &success), (1, GroupedBy::BuiltOn));
    let incident = book.by_counter(1).unwrap();
    assert_eq!((incident.title.as_str(), incident.severity), ("ssh-guessing-then-success", Severity::Critical));
}

#[test]
fn what_shares_the_attacker_joins_within_the_span_and_not_after() {
    let (mut book, grouper) = (IncidentBook::new(), Grouper::default());
    assert_eq!(put(&mut book, &grouper, &ip("scan", "203.0.113.7", 100)).0, 1);
    assert_eq!(put(&mut book, &grouper, &ip("guessing", "203.0.113.7", 3_700)), (1, GroupedBy::SharedEntity));
    assert_eq!(put(&mut book, &grouper, &ip("shell", "203.0.113.7", 3_700 + 3_601)).0, 2);
    assert_eq!(put(&mut book, &grouper, &ip("scan", "203.0.113.8", 100)).0, 3);
}

#[test]
fn the_same_rule_and_group_join_for_a_day() {
    let (mut book, grouper) = (IncidentBook::new(), Grouper::default());
    put(&mut book, &grouper, &ip("scan", "127.0.0.1", 100));
    assert_eq!(put(&mut book, &grouper, &ip("scan", "127.0.0.1", 80_000)), (1, GroupedBy::SameGroup));
    assert_eq!(put(&mut book, &grouper, &ip("scan", "127.0.0.1", 200_000)).0, 2);
}

#[test]
fn entities_that_mean_nothing_join_nothing() {
    let mut book = IncidentBook::new();
    let grouper = Grouper { never_join: vec!["192.0.2.1".to_owned()], ..Grouper::default() };
    let pairs = [
        (EntityKind::Ip, "127.0.0.1"),
        (EntityKind::Ip, "::1"),
        (EntityKind::Ip, "192.0.2.1"),
        (EntityKind::User, "root"),
        (EntityKind::Host, "web-01"),
    ];
    for (place, (kind, value)) in pairs.into_iter().enumerate() {
        let first = detection(&format!("a{place}"), &[(kind, value)], 100);
        let second = detection(&format!("b{place}"), &[(kind, value)], 101);
        assert_ne!(put(&mut book, &grouper, &first).0, put(&mut book, &grouper, &second).0, "{value}");
    }
}

#[test]
fn an_account_joins_only_on_the_same_host() {
    let (mut book, grouper) = (IncidentBook::new(), Grouper::default());
    let on = |rule: &str, host: &str| detection(rule, &[(EntityKind::User, "lan"), (EntityKind::Host, host)], 100);
    assert_eq!(put(&mut book, &grouper, &on("login", "web-01")).0, 1);
    assert_eq!(put(&mut book, &grouper, &on("sudo", "web-01")), (1, GroupedBy::SharedEntity));
    assert_eq!(put(&mut book, &grouper, &on("cron", "web-02")).0, 2);
}

#[test]
fn an_entity_in_many_incidents_is_too_common() {
    let mut book = IncidentBook::new();
    let closed = Grouper { shared_entity_span: Duration::ZERO, ..Grouper::default() };
    for place in 0..9_i64 {
        put(&mut book, &closed, &ip(&format!("r{place}"), "203.0.113.7", 100 + place));
    }
    let grouper = Grouper::default();
    let decision = grouper.decide(&book, &ip("next", "203.0.113.7", 120));
    let Decision::Change(change) = decision else { panic!("{decision:?}") };
    let ChangeKind::Opened { grouping, .. } = &change.kind else { panic!("{change:?}") };
    assert!(grouping.text.contains("too common to join by: ip 203.0.113.7"), "{}", grouping.text);
}

#[test]
fn a_full_or_too_long_incident_takes_in_no_more_and_is_linked() {
    let mut book = IncidentBook::new();
    let grouper = Grouper { most_detections: 2, ..Grouper::default() };
    for secs in [100, 101] {
        assert_eq!(put(&mut book, &grouper, &ip("scan", "203.0.113.7", secs)).0, 1);
    }
    assert_eq!(put(&mut book, &grouper, &ip("scan", "203.0.113.7", 102)).0, 2);
    assert_eq!(book.by_counter(2).unwrap().related, [book.by_counter(1).unwrap().number]);
}

#[test]
fn agencies_are_never_mixed() {
    let (mut book, grouper) = (IncidentBook::new(), Grouper::default());
    put(&mut book, &grouper, &ip("scan", "203.0.113.7", 100));
    let mut other = ip("scan", "203.0.113.7", 101);
    other.agency = "so-yte".parse().ok();
    assert_eq!(put(&mut book, &grouper, &other).0, 2);
}

#[test]
fn what_comes_after_closing_is_a_new_incident_linked_to_the_closed_one() {
    let (mut book, grouper) = (IncidentBook::new(), Grouper::default());
    let first = ip("scan", "203.0.113.7", 100);
    put(&mut book, &grouper, &first);
    close(&mut book, 1);
    let mut still_going = first.clone();
    still_going.count = 5;
    assert_eq!(put(&mut book, &grouper, &still_going), (1, GroupedBy::SameDetection));
    assert_eq!(book.by_counter(1).unwrap().state, IncidentState::Closed);
    assert_eq!(put(&mut book, &grouper, &ip("scan", "203.0.113.7", 200)).0, 2);
    assert_eq!(book.by_counter(2).unwrap().related, [book.by_counter(1).unwrap().number]);
}

#[test]
fn minor_detections_open_nothing_but_join() {
    let (mut book, grouper) = (IncidentBook::new(), Grouper::default());
    let mut minor = ip("login", "203.0.113.7", 100);
    minor.level = Severity::Informational;
    assert_eq!(grouper.decide(&book, &minor), Decision::TooMinor);
    put(&mut book, &grouper, &ip("guessing", "203.0.113.7", 90));
    assert_eq!(put(&mut book, &grouper, &minor), (1, GroupedBy::SharedEntity));
    assert_eq!(grouper.decide(&book, &minor), Decision::Known);
}
