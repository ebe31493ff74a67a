//! The owner with a real store: what is written, what is not written again, what is refused.

use super::*;

use std::path::Path;

use canh_incident::api::{IncidentQuery, IncidentSummary};
use canh_incident::{Action, IncidentState};
use canh_store::StoreOptions;

use crate::testing::{detection, metrics};

fn owner(dir: &Path) -> Persist {
    let (store, _) = Store::open(dir, StoreOptions::default()).unwrap();
    Persist::new(store, metrics(), Arc::new(Progress::at(0)))
}

fn incidents(owner: &Persist) -> Vec<IncidentSummary> {
    owner.store.list(&IncidentQuery::default()).incidents
}

fn request(ids: &[&str], action: Action) -> ActionRequest {
    let ids = ids.iter().map(|id| id.parse().unwrap()).collect();
    ActionRequest { ids, action, note: None, verdict: None, to: None, if_version: None }
}

fn lan() -> Actor {
    Actor::User { name: "lan".to_owned(), uid: Some(1_001) }
}

fn outcomes(result: &ActionResult) -> Vec<OutcomeKind> {
    result.results.iter().map(|outcome| outcome.outcome).collect()
}

#[test]
fn what_one_record_leads_to_is_one_ledger_record_and_each_detection_sees_those_before_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut owner = owner(dir.path());
    let detections =
        [detection("a", "203.0.113.7", 5), detection("b", "203.0.113.7", 5), detection("c", "203.0.113.8", 5)];
    owner.found(3, &detections).unwrap();
    assert_eq!((owner.store.ledger_lsn(), owner.store.position()), (1, 3));
    let found = incidents(&owner);
    assert_eq!(found.iter().map(|incident| incident.detections).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(owner.store.book(), &owner.ahead);
}

#[test]
fn a_replay_writes_nothing_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut first = owner(dir.path());
    first.found(3, &[detection("a", "203.0.113.7", 5)]).unwrap();
    let expected = incidents(&first);
    drop(first);
    let mut again = owner(dir.path());
    again.found(2, &[detection("b", "203.0.113.9", 5)]).unwrap();
    again.found(3, &[detection("a", "203.0.113.7", 5)]).unwrap();
    // Even past the ledger's position, the same detection with the same count is known.
    again.found(4, &[detection("a", "203.0.113.7", 5)]).unwrap();
    assert_eq!((again.store.ledger_lsn(), incidents(&again)), (1, expected));
}

#[test]
fn an_action_on_many_says_what_became_of_each_and_is_one_ledger_record() {
    let dir = tempfile::tempdir().unwrap();
    let mut owner = owner(dir.path());
    owner.found(1, &[detection("a", "203.0.113.7", 5), detection("a", "203.0.113.8", 5)]).unwrap();
    let ids = ["INC-26-000001", "INC-26-000009", "INC-26-000001", "INC-26-000002"];
    let (result, stored) = owner.act(&request(&ids, Action::Acknowledge), &lan());
    stored.unwrap();
    assert_eq!(
        outcomes(&result),
        [OutcomeKind::Done, OutcomeKind::NotFound, OutcomeKind::Unchanged, OutcomeKind::Done]
    );
    assert_eq!((owner.store.ledger_lsn(), owner.store.position()), (2, 1), "a person's change moves no position");
    assert!(incidents(&owner).iter().all(|incident| incident.state == IncidentState::Acknowledged));
    let (result, stored) = owner.act(&request(&["INC-26-000001"], Action::Reopen), &lan());
    stored.unwrap();
    assert_eq!(outcomes(&result), [OutcomeKind::Illegal]);
    assert_eq!(owner.store.ledger_lsn(), 2, "what is refused is not written");
}

#[test]
fn an_old_version_is_a_conflict() {
    let dir = tempfile::tempdir().unwrap();
    let mut owner = owner(dir.path());
    owner.found(1, &[detection("a", "203.0.113.7", 5)]).unwrap();
    let request = ActionRequest { if_version: Some(1), ..request(&["INC-26-000001"], Action::Acknowledge) };
    assert_eq!(outcomes(&owner.act(&request, &lan()).0), [OutcomeKind::Done]);
    assert_eq!(outcomes(&owner.act(&request, &lan()).0), [OutcomeKind::Conflict]);
}

#[test]
fn gauges_are_those_of_the_book_after_every_step_and_after_a_start() {
    let dir = tempfile::tempdir().unwrap();
    let mut first = owner(dir.path());
    first.found(1, &[detection("a", "203.0.113.7", 5), detection("a", "203.0.113.8", 5)]).unwrap();
    first.act(&request(&["INC-26-000002"], Action::Investigate), &lan()).1.unwrap();
    let gauge = |owner: &Persist, state| owner.metrics.incidents.with_label_values(&[state, "high"]).get();
    assert_eq!((gauge(&first, "new"), gauge(&first, "investigating")), (1, 1));
    drop(first);
    let again = owner(dir.path());
    assert_eq!((gauge(&again, "new"), gauge(&again, "investigating")), (1, 1));
    assert_eq!((get(&again.progress.incidents), get(&again.progress.incidents_open)), (2, 2));
}
