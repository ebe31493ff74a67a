use std::fs;
use std::time::{Duration, Instant};

use canh_event::EventRef;
use canh_incident::{
    Action, ActionDetails, Actor, ChangeKind, Detection, DetectionId, DetectionKind, Entity, EntityKind, EntityRole,
    Evidence, GroupedBy, Grouping, IncidentState, RawRecord, Severity, Verdict, Why, Window, plan_action,
};
use canh_journal::{Chain, JournalOptions};
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::ledger::LedgerError;

fn detection(rule: &str, ip: &str, secs: i64, count: u64) -> Detection {
    let time = Timestamp::from_secs(1_795_000_000 + secs);
    let group_key = vec![("SourceIp".to_owned(), ip.to_owned())];
    let piece = Evidence {
        event: EventRef { record: count, row: 3 },
        time,
        source: "web-01:/var/log/auth.log".to_owned(),
        rule_id: "refused".to_owned(),
        raw: RawRecord::new(b"Failed password for \xff\xfe from 203.0.113.7\x1b[2J"),
        fields: vec![("User".to_owned(), "Nguyễn".to_owned())],
    };
    Detection {
        id: DetectionId::new(rule, time, &group_key),
        rule_id: rule.to_owned(),
        rule_title: format!("Title of {rule}"),
        level: Severity::High,
        kind: DetectionKind::Correlation,
        time,
        window: Window::at(time),
        entities: Entity::new(EntityKind::Ip, ip, EntityRole::Actor).into_iter().collect(),
        group_key,
        agency: "so-tttt".parse().ok(),
        agent: "web-01".parse().ok(),
        count,
        built_on: Vec::new(),
        evidence: vec![piece],
        why: Why { text: "because".to_owned(), ..Why::default() },
        tags: Vec::new(),
    }
}

/// What a simple correlator would change: the same detection grows, a known one is nothing, a new
/// one opens an incident.
fn change_for(book: &IncidentBook, detection: &Detection) -> Option<Change> {
    let grouping = |by| Grouping { by, text: String::new(), shared: Vec::new() };
    let body = Box::new(detection.clone());
    match book.seat_of(&detection.id) {
        Some(seat) if detection.count <= seat.count => None,
        Some(seat) => {
            let kind = ChangeKind::Grown { detection: body, grouping: grouping(GroupedBy::SameDetection) };
            Some(Change::of_correlator(seat.number, detection.time, kind))
        }
        None => {
            let kind =
                ChangeKind::Opened { detection: body, grouping: grouping(GroupedBy::Nothing), related: Vec::new() };
            Some(Change::of_correlator(book.next_number(detection.time), detection.time, kind))
        }
    }
}

fn now() -> Timestamp {
    Timestamp::from_secs(1_796_000_000)
}

fn open(dir: &TempDir) -> (Store, Opened) {
    Store::open(&dir.path().join("store"), StoreOptions::default()).unwrap()
}

fn detect(store: &mut Store, position: u64, detection: &Detection) {
    let changes = change_for(store.book(), detection).into_iter().collect();
    store.append(&LedgerRecord::new(position, now(), changes)).unwrap();
}

fn act(store: &mut Store, counter: u32, action: Action) -> Result<u64, StoreError> {
    let number = store.book().by_counter(counter).unwrap().number;
    let who = Actor::User { name: "lan".to_owned(), uid: Some(1000) };
    let details = ActionDetails {
        note: Some("ghi chú".to_owned()),
        verdict: Some(Verdict::TruePositive),
        to: Some("minh".to_owned()),
        if_version: None,
    };
    let change = plan_action(store.book(), number, action, &details, who, now(), "unix").unwrap();
    store.append_changes(now(), change.into_iter().collect())
}

/// Three incidents, one of which grew, was worked on and closed.
fn fill(store: &mut Store) {
    for (position, ip) in ["203.0.113.7", "203.0.113.8", "203.0.113.9"].into_iter().enumerate() {
        detect(store, position as u64 + 1, &detection("guessing", ip, 0, 10));
    }
    for count in 11..40 {
        detect(store, 4, &detection("guessing", "203.0.113.8", 0, count));
    }
    for action in [Action::Acknowledge, Action::Assign, Action::Comment, Action::Close] {
        act(store, 2, action).unwrap();
    }
}

fn exported(store: &Store) -> String {
    let mut bytes = Vec::new();
    store.export(&mut bytes).unwrap();
    String::from_utf8(bytes).unwrap()
}

fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_dir(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[test]
fn what_was_appended_is_there_after_opening_again() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, opened) = open(&dir);
    assert!(matches!(opened.view, ViewState::Rebuilt { reason: None, records: 0, .. }), "{opened:?}");
    fill(&mut store);
    let (before, position) = (exported(&store), store.position());
    let book = store.book().clone();
    drop(store);
    let (store, opened) = open(&dir);
    assert!(matches!(opened.view, ViewState::Current), "{opened:?}");
    assert_eq!((exported(&store), store.position(), opened.incidents), (before, position, 3));
    assert_eq!(*store.book(), book);
    assert!(store.verify().unwrap().is_sound());
}

#[test]
fn an_incident_in_full_has_its_evidence_and_its_history() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, _) = open(&dir);
    fill(&mut store);
    let number = store.book().by_counter(2).unwrap().number;
    let detail = store.detail(number).unwrap();
    assert_eq!(detail.incident.state, IncidentState::Closed);
    assert_eq!((detail.detections.len(), detail.detections[0].count), (1, 39));
    assert_eq!(detail.detections[0].evidence.len(), 8);
    assert_eq!(detail.detections[0].evidence[0].raw.bytes(), b"Failed password for \xff\xfe from 203.0.113.7\x1b[2J");
    let what: Vec<&str> = detail.history.iter().map(|entry| entry.what.as_str()).collect();
    assert_eq!(what, ["opened", "acknowledged", "assigned", "commented", "closed"]);
    let unknown = IncidentNumber::new(now(), 99);
    assert!(matches!(store.detail(unknown), Err(StoreError::NotFound { .. })));
}

#[test]
fn a_rebuild_gives_the_same_bytes_and_keeps_the_old_view_aside() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, _) = open(&dir);
    fill(&mut store);
    let before = exported(&store);
    let state = store.rebuild().unwrap();
    let ViewState::Rebuilt { quarantine: Some(aside), records, .. } = state else { panic!("{state:?}") };
    assert!(aside.exists());
    assert_eq!((exported(&store), records), (before, store.ledger_lsn()));
    detect(&mut store, 9, &detection("guessing", "203.0.113.10", 0, 10));
    assert_eq!(store.book().len(), 4);
}

#[test]
fn a_view_that_is_missing_is_made_again() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, _) = open(&dir);
    fill(&mut store);
    let before = exported(&store);
    drop(store);
    fs::remove_dir_all(dir.path().join("store/view")).unwrap();
    let (store, opened) = open(&dir);
    assert!(matches!(opened.view, ViewState::Rebuilt { reason: None, .. }), "{opened:?}");
    assert_eq!(exported(&store), before);
}

#[test]
fn a_kill_between_ledger_and_view_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, _) = open(&dir);
    fill(&mut store);
    let next = detection("scan", "203.0.113.7", 50, 3);
    let change = change_for(store.book(), &next).unwrap();
    drop(store);
    // The record is durable, and the process is gone before it touched the view.
    let (mut chain, _) = Chain::open(&dir.path().join("store/ledger"), JournalOptions::default()).unwrap();
    let record = LedgerRecord::new(7, now(), vec![change]);
    chain.append(1, &serde_json::to_vec(&record).unwrap()).unwrap();
    chain.sync().unwrap();
    drop(chain);
    let (store, opened) = open(&dir);
    assert!(matches!(opened.view, ViewState::CaughtUp { records: 1 }), "{opened:?}");
    assert_eq!((store.book().len(), store.position()), (4, 7));
    assert!(store.verify().unwrap().is_sound());
}

#[test]
fn a_record_that_was_never_acknowledged_and_is_torn_is_cut_off() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, _) = open(&dir);
    fill(&mut store);
    let before = (exported(&store), store.ledger_lsn());
    drop(store);
    let ledger = dir.path().join("store/ledger");
    let (mut chain, _) = Chain::open(&ledger, JournalOptions::default()).unwrap();
    // Its first bytes reached the disk, the rest and the word that it is durable did not.
    let durable = fs::read(ledger.join("durable")).unwrap();
    chain.append(1, b"{\"torn\":\"MARK\"}").unwrap();
    chain.sync().unwrap();
    drop(chain);
    fs::write(ledger.join("durable"), durable).unwrap();
    tear(&ledger, b"MARK");
    let (mut store, opened) = open(&dir);
    assert!(opened.ledger.torn.is_some() && opened.ledger.is_whole(), "{opened:?}");
    assert!(matches!(opened.view, ViewState::Current), "{opened:?}");
    assert_eq!((exported(&store), store.ledger_lsn()), before);
    detect(&mut store, 9, &detection("guessing", "203.0.113.10", 0, 10));
    assert!(store.verify().unwrap().is_sound());
}

/// Zeroes what follows `mark` in the newest segment, as a power cut would leave it.
fn tear(ledger: &Path, mark: &[u8]) {
    let paths = fs::read_dir(ledger).unwrap().map(|entry| entry.unwrap().path());
    let newest = paths.filter(|path| path.extension().is_some_and(|end| end == "seg")).max().unwrap();
    let mut bytes = fs::read(&newest).unwrap();
    let place = bytes.windows(mark.len()).position(|window| window == mark).expect("the record was written");
    bytes[place..].fill(0);
    fs::write(newest, bytes).unwrap();
}

#[test]
fn a_view_that_is_behind_catches_up_and_one_that_is_ahead_is_made_again() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, _) = open(&dir);
    detect(&mut store, 1, &detection("guessing", "203.0.113.1", 0, 10));
    drop(store);
    let (root, early) = (dir.path().join("store"), dir.path().join("early"));
    copy_dir(&root, &early);
    let (mut store, _) = open(&dir);
    fill_from(&mut store, 2);
    let before = exported(&store);
    drop(store);
    let late = dir.path().join("late");
    copy_dir(&root, &late);

    fs::remove_dir_all(root.join("view")).unwrap();
    copy_dir(&early.join("view"), &root.join("view"));
    let (store, opened) = open(&dir);
    assert!(matches!(opened.view, ViewState::CaughtUp { records: 5 }), "{opened:?}");
    assert_eq!(exported(&store), before);
    drop(store);

    // The ledger of before with the view of after, as a careless restore leaves it.
    fs::remove_dir_all(&root).unwrap();
    copy_dir(&late, &root);
    fs::remove_dir_all(root.join("ledger")).unwrap();
    copy_dir(&early.join("ledger"), &root.join("ledger"));
    let (store, opened) = open(&dir);
    let reason = RebuildReason::NotOfThisLedger { view: 6, ledger: 1 }.to_string();
    let ViewState::Rebuilt { reason: Some(found), quarantine: Some(_), .. } = &opened.view else {
        panic!("{opened:?}")
    };
    assert_eq!((found.to_string(), store.book().len()), (reason, 1));
}

fn fill_from(store: &mut Store, position: u64) {
    for step in 0..5 {
        detect(store, position + step, &detection("scan", &format!("203.0.113.{}", 50 + step), 0, 10));
    }
}

#[test]
fn a_view_of_another_ledger_is_seen_by_the_hash_at_its_place() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for (dir, ip) in [(&one, "203.0.113.1"), (&other, "203.0.113.2")] {
        let (mut store, _) = open(dir);
        detect(&mut store, 1, &detection("guessing", ip, 0, 10));
    }
    fs::remove_dir_all(one.path().join("store/view")).unwrap();
    copy_dir(&other.path().join("store/view"), &one.path().join("store/view"));
    let (store, opened) = open(&one);
    assert!(matches!(opened.view, ViewState::Rebuilt { reason: Some(_), .. }), "{opened:?}");
    assert_eq!(store.book().incidents().next().unwrap().entities[0].value, "203.0.113.1");
}

#[test]
fn a_corrupt_view_never_stops_the_store_and_never_lies() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, _) = open(&dir);
    fill(&mut store);
    let before = exported(&store);
    drop(store);
    let whole = dir.path().join("whole");
    copy_dir(&dir.path().join("store"), &whole);
    let size = fs::metadata(whole.join("view/db")).unwrap().len();
    let mut rebuilt = 0;
    for step in 0..12 {
        let root = dir.path().join("store");
        fs::remove_dir_all(&root).unwrap();
        copy_dir(&whole, &root);
        let path = root.join("view/db");
        let mut bytes = fs::read(&path).unwrap();
        let begin = usize::try_from(size / 12 * step).unwrap();
        let end = (begin + 4_096).min(bytes.len());
        bytes[begin..end].iter_mut().for_each(|byte| *byte ^= 0x5a);
        fs::write(&path, bytes).unwrap();
        let (store, opened) = open(&dir);
        rebuilt += u32::from(matches!(opened.view, ViewState::Rebuilt { .. } | ViewState::CaughtUp { .. }));
        assert_eq!(exported(&store), before, "damage at {begin}");
        drop(store);
    }
    assert!(rebuilt > 0, "no damage was seen at all");
}

#[test]
fn what_the_life_cycle_forbids_is_written_nowhere() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, _) = open(&dir);
    fill(&mut store);
    let before = (exported(&store), store.ledger_lsn());
    let number = store.book().by_counter(2).unwrap().number;
    let kind = ChangeKind::Contained { note: None };
    let actor = Actor::User { name: "lan".to_owned(), uid: None };
    let closed = Change { schema_version: 1, number, at: now(), actor, from: String::new(), kind };
    let good = change_for(store.book(), &detection("scan", "203.0.113.7", 0, 1)).unwrap();
    let refused = store.append_changes(now(), vec![good, closed]);
    assert!(matches!(refused, Err(StoreError::Refused(_))), "{refused:?}");
    let back = store.append(&LedgerRecord::new(1, now(), Vec::new()));
    assert!(matches!(back, Err(StoreError::PositionGoesBack { got: 1, have: 4 })), "{back:?}");
    assert_eq!((exported(&store), store.ledger_lsn()), before);
}

#[test]
fn one_store_has_one_owner() {
    let dir = tempfile::tempdir().unwrap();
    let (_store, _) = open(&dir);
    let second = Store::open(&dir.path().join("store"), StoreOptions::default());
    assert!(matches!(second, Err(StoreError::Ledger(LedgerError::Open(_)))), "{second:?}");
}

#[test]
fn a_record_too_large_is_cut_and_the_position_moves_with_the_last_part() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, _) = open(&dir);
    detect(&mut store, 3, &detection("guessing", "203.0.113.7", 0, 10));
    let mut changes = Vec::new();
    let mut book = store.book().clone();
    for step in 0..300 {
        let mut large = detection("scan", &format!("203.0.113.{step}"), step, 10);
        large.tags = vec!["x".repeat(80_000)];
        let change = change_for(&book, &large).unwrap();
        book.apply(&change).unwrap();
        changes.push(change);
    }
    let last = store.append(&LedgerRecord::new(8, now(), changes)).unwrap();
    assert_eq!((store.position(), store.book().len()), (8, 301));
    let mut positions = Vec::new();
    store
        .ledger
        .for_each_after(1, |_, _, record| {
            positions.push(record.position);
            Ok::<(), LedgerError>(())
        })
        .unwrap();
    assert_eq!(positions.len() as u64, last - 1);
    assert!(positions.len() > 1 && positions[..positions.len() - 1].iter().all(|position| *position == 3));
    assert_eq!(positions.last(), Some(&8));
    assert!(store.verify().unwrap().is_sound());
}

#[test]
fn verify_names_the_incident_the_view_tells_otherwise() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, _) = open(&dir);
    fill(&mut store);
    let number = store.book().by_counter(3).unwrap().number;
    let view = store.view.as_mut().unwrap();
    let mut detection: Detection = read_row(view, &RowKey::detection(number, 0)).unwrap().unwrap();
    detection.rule_title = "nothing to see here".to_owned();
    let mut writes = Vec::new();
    let json = serde_json::to_vec(&detection).unwrap();
    crate::rows::write_row(view, &RowKey::detection(number, 0), &json, &mut writes).unwrap();
    view.write(writes).unwrap();
    let report = store.verify().unwrap();
    assert_eq!(report.difference, Some(number.to_string()));
    assert!(report.ledger.broken.is_none() && !report.is_sound());
    store.rebuild().unwrap();
    assert!(store.verify().unwrap().is_sound());
}

#[test]
fn a_list_is_paged_newest_first() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, _) = open(&dir);
    for step in 0..7 {
        detect(&mut store, step, &detection("scan", &format!("203.0.113.{step}"), 0, 10));
    }
    act(&mut store, 4, Action::Close).unwrap();
    let mut query = IncidentQuery::from_pairs([("state", "open"), ("limit", "4")]).unwrap();
    let mut seen = Vec::new();
    loop {
        let page = store.list(&query);
        assert_eq!(page.total, 6);
        seen.extend(page.incidents.iter().map(|incident| incident.number.counter()));
        query.after = page.next;
        if page.next.is_none() {
            break;
        }
    }
    assert_eq!(seen, [7, 6, 5, 3, 2, 1]);
}

#[test]
fn a_list_of_100_000_incidents_takes_less_than_50_ms() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, _) = open(&dir);
    detect(&mut store, 1, &detection("scan", "203.0.113.1", 0, 10));
    let head = store.book().incidents().next().unwrap().clone();
    let heads = (1..=100_000_u32).map(|counter| {
        let severity = Severity::ALL[counter as usize % 5];
        Incident { number: IncidentNumber::new(head.opened, counter), severity, ..head.clone() }
    });
    store.book = IncidentBook::from_parts(heads, []);
    let query =
        IncidentQuery::from_pairs([("state", "open"), ("severity", "high"), ("entity", "203.0.113.1")]).unwrap();
    let timed = (0..5).map(|_| {
        let start = Instant::now();
        assert_eq!(store.list(&query).total, 40_000);
        start.elapsed()
    });
    let best = timed.min().unwrap();
    assert!(best < Duration::from_millis(50), "{best:?}");
}

#[test]
fn a_snapshot_stands_beside_the_ledger() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(&dir);
    assert_eq!(store.load_snapshot().unwrap(), None);
    store.save_snapshot(17, 4, b"state").unwrap();
    let expected = StoredSnapshot { position: 17, ledger: 4, bytes: b"state".to_vec() };
    assert_eq!(store.load_snapshot().unwrap(), Some(expected));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    /// Whatever was detected, detecting all of it again opens nothing and changes nothing, and the
    /// view in sled is what the plain twin in memory is.
    #[test]
    fn a_replay_opens_no_incident_twice(
        steps in proptest::collection::vec((0..3_u8, 0..4_u8, 0..3_i64, 1..60_u64, any::<bool>()), 1..40),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let (mut store, _) = open(&dir);
        let mut twin = (IncidentBook::new(), crate::view::MemoryView::default());
        let detections: Vec<Detection> = steps
            .iter()
            .map(|(rule, ip, secs, count, _)| detection(&format!("r{rule}"), &format!("203.0.113.{ip}"), *secs, *count))
            .collect();
        for (position, (detection, step)) in (1..).zip(detections.iter().zip(&steps)) {
            detect(&mut store, position, detection);
            if step.4 {
                drop(store);
                store = open(&dir).0;
            }
        }
        let before = (exported(&store), store.book().len());
        for detection in &detections {
            prop_assert!(change_for(store.book(), detection).is_none());
            if let Some(seat) = store.book().seat_of(&detection.id) {
                let twice = Change::of_correlator(store.book().next_number(detection.time), detection.time, ChangeKind::Opened {
                    detection: Box::new(detection.clone()),
                    grouping: Grouping { by: GroupedBy::Nothing, text: String::new(), shared: Vec::new() },
                    related: Vec::new(),
                });
                let refused = store.append_changes(now(), vec![twice]);
                let is_refused = matches!(
                    refused,
                    Err(StoreError::Refused(canh_incident::ChangeError::DetectedBefore { number })) if number == seat.number
                );
                prop_assert!(is_refused);
            }
        }
        prop_assert_eq!((exported(&store), store.book().len()), before);
        store.ledger.for_each_after(0, |lsn, hash, record| {
            let progress = Progress { lsn, hash, position: record.position };
            let writes = fold(&mut twin.0, &twin.1, &record, &progress).map_err(StoreError::Fold)?;
            twin.1.write(writes).map_err(StoreError::View)
        }).unwrap();
        let rows: Vec<_> = store.view.as_ref().unwrap().scan(b"").map(Result::unwrap).collect();
        prop_assert_eq!(rows, twin.1.0.into_iter().collect::<Vec<_>>());
    }
}
