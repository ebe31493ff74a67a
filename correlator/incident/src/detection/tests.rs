use super::*;
use crate::samples::{detection, evidence};

#[test]
fn an_id_tells_rule_window_and_group_apart_whatever_the_values_hold() {
    let at = Timestamp::from_nanos(5);
    let key = |value: &str| vec![("a".to_owned(), value.to_owned())];
    let id = DetectionId::new("r", at, &key("x"));
    assert_eq!(id.as_str(), "r@5 a=\"x\"");
    assert_ne!(id, DetectionId::new("r", Timestamp::from_nanos(6), &key("x")));
    let forged = key("x\" b=\"y");
    let honest = [("a".to_owned(), "x".to_owned()), ("b".to_owned(), "y".to_owned())];
    assert_ne!(DetectionId::new("r", at, &forged), DetectionId::new("r", at, &honest));
}

#[test]
fn an_over_long_id_is_bounded_and_still_tells_groups_apart() {
    let key = |last: char| vec![("a".to_owned(), format!("{}{last}", "ế".repeat(2_000)))];
    let (one, two) =
        (DetectionId::new("r", Timestamp::EPOCH, &key('1')), DetectionId::new("r", Timestamp::EPOCH, &key('2')));
    assert!(one.as_str().len() <= MAX_DETECTION_ID_BYTES);
    assert_ne!(one, two);
}

#[test]
fn an_update_raises_the_count_and_keeps_the_first_and_the_latest_evidence() {
    let mut first = detection("r", "10.0.0.7", 100, 10);
    first.evidence = (0..8).map(|record| evidence(record, 100)).collect();
    let mut update = first.clone();
    update.count = 20;
    update.time = Timestamp::from_secs(160);
    update.window.last = update.time;
    update.evidence = (7..12).map(|record| evidence(record, 160)).collect();
    first.absorb(&update);
    assert_eq!((first.count, first.window.span()), (20, Duration::from_secs(60)));
    let kept: Vec<u64> = first.evidence.iter().map(|piece| piece.event.record).collect();
    assert_eq!(kept, [0, 1, 2, 3, 8, 9, 10, 11]);
}

#[test]
fn absorbing_the_same_update_twice_changes_nothing() {
    let mut once = detection("r", "10.0.0.7", 100, 10);
    let mut update = once.clone();
    update.count = 12;
    update.evidence = vec![evidence(9, 101)];
    once.absorb(&update);
    let mut twice = once.clone();
    twice.absorb(&update);
    assert_eq!(once, twice);
}

#[test]
fn json_and_back_and_unknown_fields_of_a_later_release_are_ignored() {
    let detection = detection("r", "10.0.0.7", 100, 10);
    let mut json = serde_json::to_value(&detection).unwrap();
    assert_eq!(json["window"]["first"], "1970-01-01T00:01:40Z");
    json["added_later"] = 1.into();
    assert_eq!(serde_json::from_value::<Detection>(json).unwrap(), detection);
}
