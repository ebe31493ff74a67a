use super::*;
use crate::change::{Actor, GroupedBy, Grouping};
use crate::samples::detection;
use crate::schema::SCHEMA_VERSION;
use crate::severity::Severity;
use crate::state::{TRANSITIONS, Verdict};
use proptest::prelude::*;

fn grouping() -> Grouping {
    Grouping { by: GroupedBy::Nothing, text: String::new(), shared: Vec::new() }
}

fn opened(book: &IncidentBook, detection: Detection) -> Change {
    let number = book.next_number(detection.time);
    let (at, related) = (detection.time, Vec::new());
    Change::of_correlator(
        number,
        at,
        ChangeKind::Opened { detection: Box::new(detection), grouping: grouping(), related },
    )
}

fn grown(number: IncidentNumber, detection: Detection) -> Change {
    let at = detection.time;
    Change::of_correlator(number, at, ChangeKind::Grown { detection: Box::new(detection), grouping: grouping() })
}

fn by_person(number: IncidentNumber, kind: ChangeKind) -> Change {
    let actor = Actor::User { name: "lan".to_owned(), uid: Some(1000) };
    let at = Timestamp::from_secs(1_800_000_000);
    Change { schema_version: SCHEMA_VERSION, number, at, actor, from: "unix".to_owned(), kind }
}

fn verb_change(number: IncidentNumber, verb: Verb) -> Change {
    let note = None;
    by_person(
        number,
        match verb {
            Verb::Acknowledge => ChangeKind::Acknowledged { note },
            Verb::Investigate => ChangeKind::Investigating { note },
            Verb::Contain => ChangeKind::Contained { note },
            Verb::Close => ChangeKind::Closed { verdict: Verdict::Benign, note },
            Verb::Reopen => ChangeKind::Reopened { note },
        },
    )
}

#[test]
fn a_growing_attack_is_counted_once() {
    let mut book = IncidentBook::new();
    let first = opened(&book, detection("guessing", "10.0.0.7", 100, 10));
    book.apply(&first).unwrap();
    let mut update = detection("guessing", "10.0.0.7", 100, 25);
    update.window.last = Timestamp::from_secs(160);
    let applied = book.apply(&grown(first.number, update.clone())).unwrap();
    assert_eq!(applied.detection, Some(AppliedDetection { place: 0, is_new: false }));
    assert!(applied.history.is_none(), "an update is no line of history");
    book.apply(&grown(first.number, update)).unwrap();
    let incident = book.get(first.number).unwrap();
    assert_eq!((incident.detections, incident.events), (1, 25));
    assert_eq!(incident.seen.span().as_secs(), 60);
}

#[test]
fn the_title_is_that_of_the_most_severe_detection() {
    let mut book = IncidentBook::new();
    let first = opened(&book, detection("guessing", "10.0.0.7", 100, 10));
    book.apply(&first).unwrap();
    let mut worse = detection("guessing-then-success", "10.0.0.7", 110, 11);
    worse.level = Severity::Critical;
    book.apply(&grown(first.number, worse)).unwrap();
    let mut lesser = detection("scan", "10.0.0.7", 120, 9);
    lesser.level = Severity::Low;
    book.apply(&grown(first.number, lesser)).unwrap();
    let incident = book.get(first.number).unwrap();
    assert_eq!((incident.title.as_str(), incident.severity), ("Title of guessing-then-success", Severity::Critical));
    assert_eq!((incident.detections, incident.version), (3, 3));
}

#[test]
fn at_the_same_severity_the_detection_that_is_built_on_others_gives_the_title() {
    let mut book = IncidentBook::new();
    let guessing = detection("guessing", "10.0.0.7", 100, 10);
    let first = opened(&book, guessing.clone());
    book.apply(&first).unwrap();
    let mut chain = detection("chain", "10.0.0.7", 110, 2);
    chain.built_on = vec![guessing.id];
    book.apply(&grown(first.number, chain)).unwrap();
    assert_eq!(book.get(first.number).unwrap().rule_id, "chain");
}

#[test]
fn a_detection_opens_no_second_incident() {
    let mut book = IncidentBook::new();
    let first = opened(&book, detection("r", "10.0.0.7", 100, 10));
    book.apply(&first).unwrap();
    let again = opened(&book, detection("r", "10.0.0.7", 100, 10));
    assert_eq!(book.apply(&again), Err(ChangeError::DetectedBefore { number: first.number }));
    assert_eq!(book.apply(&first), Err(ChangeError::WrongNumber { number: first.number, next: 2 }));
    assert_eq!(book.len(), 1);
}

#[test]
fn changes_that_need_each_other_are_checked_together_and_leave_no_trace() {
    let book = IncidentBook::new();
    let first = opened(&book, detection("r", "10.0.0.7", 100, 10));
    let acknowledged = verb_change(first.number, Verb::Acknowledge);
    assert_eq!(book.check(&[first.clone(), acknowledged.clone()]), Ok(()));
    assert!(matches!(book.check(&[first, acknowledged.clone(), acknowledged]), Err(ChangeError::Illegal { .. })));
    assert!(book.is_empty());
}

#[test]
fn a_reopened_incident_has_no_verdict_and_says_how_often() {
    let mut book = IncidentBook::new();
    let first = opened(&book, detection("r", "10.0.0.7", 100, 10));
    book.apply(&first).unwrap();
    for verb in [Verb::Close, Verb::Reopen] {
        book.apply(&verb_change(first.number, verb)).unwrap();
    }
    let incident = book.get(first.number).unwrap();
    assert_eq!((incident.state, incident.verdict, incident.reopened), (IncidentState::Acknowledged, None, 1));
    assert_eq!(incident.acknowledged.as_ref().unwrap().by, "lan");
}

#[test]
fn only_what_is_open_is_given_to_somebody_but_anything_can_be_commented() {
    let mut book = IncidentBook::new();
    let first = opened(&book, detection("r", "10.0.0.7", 100, 10));
    book.apply(&first).unwrap();
    book.apply(&verb_change(first.number, Verb::Close)).unwrap();
    let assigned = ChangeKind::Assigned { to: Some("minh".to_owned()), note: None };
    let refused = book.apply(&by_person(first.number, assigned));
    assert_eq!(refused, Err(ChangeError::IsClosed { number: first.number }));
    book.apply(&by_person(first.number, ChangeKind::Commented { note: "xong".to_owned() })).unwrap();
    assert_eq!(book.get(first.number).unwrap().comments, 1);
}

#[test]
fn related_incidents_know_each_other() {
    let mut book = IncidentBook::new();
    let first = opened(&book, detection("r", "10.0.0.7", 100, 10));
    book.apply(&first).unwrap();
    let mut second = opened(&book, detection("r", "10.0.0.7", 9_000, 10));
    if let ChangeKind::Opened { related, .. } = &mut second.kind {
        related.push(first.number);
    }
    book.apply(&second).unwrap();
    assert_eq!(book.get(first.number).unwrap().related, [second.number]);
    assert_eq!(book.get(second.number).unwrap().related, [first.number]);
}

#[test]
fn a_common_entity_remembers_only_its_latest_incidents() {
    let mut book = IncidentBook::new();
    for index in 0..MAX_INCIDENTS_PER_ENTITY + 5 {
        let rule = format!("r{index}");
        let change = opened(&book, detection(&rule, "10.0.0.7", 100, 1));
        book.apply(&change).unwrap();
    }
    let counters: Vec<u32> =
        book.of_entity(EntityKind::Ip, "10.0.0.7").map(|incident| incident.number.counter()).collect();
    assert_eq!(counters.len(), MAX_INCIDENTS_PER_ENTITY);
    assert_eq!(counters.first(), Some(&6));
}

proptest! {
    /// What a store wrote down makes the same book, indexes included, and a check that passes is kept.
    #[test]
    fn heads_and_seats_make_the_same_book(steps in proptest::collection::vec((0..4_u8, 0..6_u8, 1..200_i64), 1..150)) {
        let mut book = IncidentBook::new();
        let mut rows = HashMap::new();
        for (rule, ip, secs) in steps {
            let found = detection(&format!("r{rule}"), &format!("203.0.113.{ip}"), secs / 40, secs.cast_unsigned());
            let number = match book.seat_of(&found.id) {
                Some(seat) => Some(seat.number),
                None => book.newest_below(None).next().map(|last| last.number).filter(|_| secs % 3 != 0),
            };
            let group = found.group_text();
            let id = found.id.clone();
            let change = number.map_or_else(|| opened(&book, found.clone()), |number| grown(number, found.clone()));
            prop_assert_eq!(book.check(std::slice::from_ref(&change)), Ok(()));
            book.apply(&change).unwrap();
            rows.insert(id.clone(), (book.seat_of(&id).unwrap(), group));
        }
        let seats = rows.into_iter().map(|(id, (seat, group))| (id, seat, group));
        let again = IncidentBook::from_parts(book.incidents().cloned(), seats);
        prop_assert_eq!(again, book);
    }

    /// Whatever is asked, a refused change leaves no trace, and the state is where the table leads.
    #[test]
    fn the_book_is_a_fold_of_what_it_accepted(verbs in proptest::collection::vec(0..Verb::ALL.len(), 0..30)) {
        let mut book = IncidentBook::new();
        let first = opened(&book, detection("r", "10.0.0.7", 100, 10));
        book.apply(&first).unwrap();
        let mut accepted = vec![first.clone()];
        let mut state = IncidentState::New;
        for verb in verbs.into_iter().map(|index| Verb::ALL[index]) {
            let change = verb_change(first.number, verb);
            let before = book.get(first.number).cloned();
            let is_allowed = TRANSITIONS.iter().find(|(from, by, _)| *from == state && *by == verb);
            match (book.apply(&change), is_allowed) {
                (Ok(_), Some((_, _, to))) => {
                    state = *to;
                    accepted.push(change);
                }
                (Err(ChangeError::Illegal { .. }), None) => prop_assert_eq!(book.get(first.number).cloned(), before),
                (result, allowed) => prop_assert!(false, "{result:?} {allowed:?}"),
            }
            prop_assert_eq!(book.get(first.number).unwrap().state, state);
        }
        let mut again = IncidentBook::new();
        for change in &accepted {
            let json = serde_json::to_vec(change).unwrap();
            again.apply(&serde_json::from_slice(&json).unwrap()).unwrap();
        }
        prop_assert_eq!(again, book);
    }
}
