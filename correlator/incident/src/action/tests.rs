use super::*;
use crate::change::{GroupedBy, Grouping};
use crate::samples::detection;

fn book() -> (IncidentBook, IncidentNumber) {
    let mut book = IncidentBook::new();
    let detection = Box::new(detection("r", "10.0.0.7", 100, 10));
    let number = book.next_number(detection.time);
    let grouping = Grouping { by: GroupedBy::Nothing, text: String::new(), shared: Vec::new() };
    let kind = ChangeKind::Opened { detection, grouping, related: Vec::new() };
    book.apply(&Change::of_correlator(number, Timestamp::EPOCH, kind)).unwrap();
    (book, number)
}

fn plan(
    book: &IncidentBook,
    number: IncidentNumber,
    action: Action,
    details: &ActionDetails,
) -> Result<Option<Change>, ActionError> {
    let actor = Actor::User { name: "lan".to_owned(), uid: None };
    plan_action(book, number, action, details, actor, Timestamp::from_secs(200), "unix")
}

fn details() -> ActionDetails {
    ActionDetails {
        verdict: Some(Verdict::FalsePositive),
        note: Some("ghi chú".to_owned()),
        ..ActionDetails::default()
    }
}

#[test]
fn what_is_planned_can_be_applied_in_every_state() {
    let (start, number) = book();
    for first in Action::ALL {
        for second in Action::ALL {
            let mut book = start.clone();
            for action in [first, second] {
                if let Ok(Some(change)) = plan(&book, number, action, &details()) {
                    book.apply(&change).unwrap();
                }
            }
        }
    }
}

#[test]
fn acknowledging_twice_changes_nothing_but_a_note_is_kept() {
    let (mut book, number) = book();
    let plain = ActionDetails::default();
    book.apply(&plan(&book, number, Action::Acknowledge, &plain).unwrap().unwrap()).unwrap();
    assert_eq!(plan(&book, number, Action::Acknowledge, &plain), Ok(None));
    let noted = plan(&book, number, Action::Acknowledge, &details()).unwrap().unwrap();
    assert_eq!(noted.kind, ChangeKind::Commented { note: "ghi chú".to_owned() });
}

#[test]
fn of_two_people_only_the_first_wins_with_if_version() {
    let (mut book, number) = book();
    let seen = ActionDetails { if_version: Some(1), to: Some("lan".to_owned()), ..ActionDetails::default() };
    book.apply(&plan(&book, number, Action::Assign, &seen).unwrap().unwrap()).unwrap();
    let late = ActionDetails { to: Some("minh".to_owned()), ..seen };
    let refused = plan(&book, number, Action::Assign, &late);
    assert!(matches!(refused, Err(ActionError::Conflict { version: 2, wanted: 1, .. })), "{refused:?}");
}

#[test]
fn what_lacks_something_or_is_not_allowed_is_refused_by_name() {
    let (mut book, number) = book();
    let nothing = ActionDetails::default();
    for (action, needs) in [(Action::Close, "a verdict"), (Action::Comment, "a note")] {
        let refused = plan(&book, number, action, &nothing);
        assert_eq!(refused, Err(ActionError::Missing { action: action.as_str(), needs }));
    }
    assert!(matches!(plan(&book, number, Action::Reopen, &nothing), Err(ActionError::Illegal { .. })));
    let long = ActionDetails { note: Some("a".repeat(MAX_NOTE_BYTES + 1)), ..ActionDetails::default() };
    assert!(matches!(plan(&book, number, Action::Comment, &long), Err(ActionError::BadText { .. })));
    let forged = ActionDetails { to: Some("lan\x1b[2J".to_owned()), ..ActionDetails::default() };
    assert!(matches!(plan(&book, number, Action::Assign, &forged), Err(ActionError::BadText { .. })));
    book.apply(&plan(&book, number, Action::Close, &details()).unwrap().unwrap()).unwrap();
    assert!(matches!(plan(&book, number, Action::Contain, &nothing), Err(ActionError::Illegal { .. })));
    let unknown = IncidentNumber::new(Timestamp::EPOCH, 99);
    assert_eq!(plan(&book, unknown, Action::Close, &nothing), Err(ActionError::NotFound { number: unknown }));
}
