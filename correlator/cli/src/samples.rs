//! Fixed data for tests: two incidents, one of them full of what an attacker would write, and the
//! files their pictures are compared with (`UPDATE_GOLDEN=1` writes them).

use std::path::Path;

use canh_event::{EventRef, Timestamp};
use canh_incident::api::{IncidentDetail, IncidentPage, IncidentSummary};
use canh_incident::{
    Action, ActionDetails, Actor, Applied, Change, ChangeKind, Detection, DetectionId, DetectionKind, Entity,
    EntityKind, EntityRole, Evidence, GroupedBy, Grouping, HistoryEntry, IncidentBook, RawRecord, SCHEMA_VERSION,
    Severity, Verdict, Why, WhyMember, Window, plan_action,
};

/// What an attacker would put into a log: escape sequences, turned text, a formula, several lines.
pub(crate) const HOSTILE: &str = "=cmd|' /C calc'!A0\x1b[2J\x1b]0;owned\x07\u{202e}gpj.exe\u{9b}31m\r\n\tnext";

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn detection(rule: &str, title: &str, level: Severity, user: &str) -> Detection {
    let window = Window { first: time("2026-11-24T03:07:03Z"), last: time("2026-11-24T03:09:11.5Z") };
    let group_key = vec![("SourceIp".to_owned(), "203.0.113.7".to_owned()), ("User".to_owned(), user.to_owned())];
    let entity = |kind, value, role| Entity::new(kind, value, role).unwrap();
    Detection {
        id: DetectionId::new(rule, window.first, &group_key),
        rule_id: rule.to_owned(),
        rule_title: title.to_owned(),
        level,
        kind: DetectionKind::Correlation,
        time: window.last,
        window,
        group_key,
        entities: vec![
            entity(EntityKind::Ip, "203.0.113.7", EntityRole::Actor),
            entity(EntityKind::User, user, EntityRole::Target),
            entity(EntityKind::Host, "web-01", EntityRole::Target),
        ],
        agency: "so-tttt".parse().ok(),
        agent: "web-01".parse().ok(),
        count: 41,
        built_on: Vec::new(),
        evidence: (0..3).map(|row| evidence(row, rule, user)).collect(),
        why: Why {
            text: "41 failed logins from one address within 10 minutes, the rule asks for 10".to_owned(),
            condition: "event_count".to_owned(),
            threshold: ">= 10".to_owned(),
            value_fields: Vec::new(),
            distinct_values: None,
            timespan_secs: 600,
            members: vec![WhyMember {
                rule_id: "ssh-failed".to_owned(),
                rule_title: "SSH login failed".to_owned(),
                count: 41,
                first: window.first,
                last: window.last,
            }],
        },
        tags: vec!["attack.t1110".to_owned()],
    }
}

fn evidence(row: u16, rule: &str, user: &str) -> Evidence {
    let raw = format!("Nov 24 10:07:0{row} web-01 sshd[41]: Failed password for {user} from 203.0.113.7 port 4{row}");
    Evidence {
        event: EventRef { record: 12, row },
        time: Timestamp::from_secs(time("2026-11-24T03:07:03Z").secs() + i64::from(row)),
        source: "web-01:/var/log/auth.log".to_owned(),
        rule_id: rule.to_owned(),
        raw: RawRecord::new(raw.as_bytes()),
        fields: vec![("User".to_owned(), user.to_owned())],
    }
}

fn apply(book: &mut IncidentBook, history: &mut Vec<HistoryEntry>, change: &Change) {
    let Applied { history: line, .. } = book.apply(change).unwrap();
    history.extend(line);
}

/// One incident that was opened, grown, acknowledged and commented by the book's own rules.
pub(crate) fn detail(user: &str, title: &str) -> IncidentDetail {
    let mut book = IncidentBook::new();
    let mut history = Vec::new();
    let guessing = detection("ssh-guessing", title, Severity::High, user);
    let mut success = detection("ssh-guess-success", "SSH guessing, then a success", Severity::Critical, user);
    success.built_on.push(guessing.id.clone());
    success.evidence[0].raw = RawRecord::of_cut(b"\xff\xfe binary \x1b[1m", 5_000);
    let number = book.next_number(guessing.time);
    let grouping = |by, text: &str| Grouping { by, text: text.to_owned(), shared: Vec::new() };
    let opened = ChangeKind::Opened {
        detection: Box::new(guessing.clone()),
        grouping: grouping(GroupedBy::Nothing, "no open incident is about 203.0.113.7"),
        related: Vec::new(),
    };
    apply(&mut book, &mut history, &Change::of_correlator(number, guessing.time, opened));
    let grown = ChangeKind::Grown {
        detection: Box::new(success.clone()),
        grouping: grouping(GroupedBy::BuiltOn, "it is built on a detection of this incident"),
    };
    apply(&mut book, &mut history, &Change::of_correlator(number, success.time, grown));
    let who = Actor::User { name: "lan".to_owned(), uid: Some(1_001) };
    let at = time("2026-11-24T03:20:00Z");
    for (action, note) in [(Action::Acknowledge, None), (Action::Comment, Some(format!("seen: {user}")))] {
        let details = ActionDetails { note, ..ActionDetails::default() };
        let change = plan_action(&book, number, action, &details, who.clone(), at, "unix").unwrap().unwrap();
        apply(&mut book, &mut history, &change);
    }
    IncidentDetail::new(book.get(number).unwrap().clone(), vec![guessing, success], history)
}

/// A page of two incidents: one of every day, closed, and one full of hostile text.
pub(crate) fn page() -> IncidentPage {
    let mut plain = IncidentSummary::of(&detail("Nguyễn", "SSH password guessing").incident);
    plain.verdict = Some(Verdict::FalsePositive);
    plain.owner = Some("lan".to_owned());
    let mut hostile = IncidentSummary::of(&detail(HOSTILE, HOSTILE).incident);
    hostile.title = HOSTILE.to_owned();
    hostile.owner = Some(HOSTILE.to_owned());
    IncidentPage { schema_version: SCHEMA_VERSION, total: 7, next: Some(plain.number), incidents: vec![hostile, plain] }
}

/// Compares a picture with its file in `tests/golden/`.
pub(crate) fn assert_golden(name: &str, picture: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, picture).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(picture, golden, "{name} differs; UPDATE_GOLDEN=1 blesses it");
}
