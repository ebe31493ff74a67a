use canh_incident::{DetectionKind, IncidentBook, Severity};
use proptest::prelude::*;

use super::*;
use crate::decide::{Decision, Grouper};
use crate::testing::{TestEvent, at, batch, correlation, detect, detect_cut, detect_with, rules, without_places};

fn guessing() -> RuleSet {
    rules(&correlation("guessing", "event_count", "failed", "60s", "gte: 5"))
}

fn counts(detections: &[Detection]) -> Vec<u64> {
    detections.iter().map(|detection| detection.count).collect()
}

#[test]
fn the_rule_fires_at_the_crossing_and_says_why() {
    let events: Vec<_> = (0..5).map(|secs| at(100 + secs * 10, "failed").ip(7).with("User", "lan")).collect();
    assert!(detect(&guessing(), &events[..4]).is_empty());
    let found = detect(&guessing(), &events);
    let [detection] = &found[..] else { panic!("{found:?}") };
    assert_eq!((detection.rule_id.as_str(), detection.level, detection.count), ("guessing", Severity::High, 5));
    assert_eq!(detection.kind, DetectionKind::Correlation);
    assert_eq!(detection.group_key, [("SourceIp".to_owned(), "203.0.113.7".to_owned())]);
    assert_eq!((detection.window.first.secs(), detection.window.last.secs()), (100, 140));
    let expected = "5 events of \"SSH failed\" in 40 s with the same SourceIp; \
                    the rule asks for event_count >= 5 within 1 min";
    assert_eq!(detection.why.text, expected);
    assert_eq!(detection.why.members[0].count, 5);
    assert_eq!(detection.evidence.len(), 5);
    assert_eq!(detection.evidence[0].event.to_string(), "1.0");
    assert_eq!(detection.evidence[0].rule_id, "failed");
    let entities: Vec<String> = detection.entities.iter().map(ToString::to_string).collect();
    assert_eq!(entities, ["ip 203.0.113.7", "user lan", "agent web-01"]);
    assert_eq!(detection.agency.as_ref().unwrap().as_str(), "so-tttt");
}

#[test]
fn the_border_of_the_window_belongs_to_it() {
    let times = |last| [0, 15, 30, 45, last].map(|secs| at(1_000 + secs, "failed").ip(7));
    assert_eq!(detect(&guessing(), &times(60)).len(), 1);
    assert_eq!(detect(&guessing(), &times(61)).len(), 0);
}

#[test]
fn groups_are_counted_apart_and_events_without_the_field_belong_to_none() {
    let rules = guessing();
    let mut events: Vec<_> = (0..8).map(|secs| at(secs, "failed").ip(u8::try_from(secs % 2).unwrap())).collect();
    events.push(at(9, "failed"));
    let mut correlator = Correlator::new(&rules, Limits::default());
    let (batch, hits) = batch(&rules, &events);
    let mut found = Vec::new();
    correlator.observe(&batch, 1, &hits, &mut found);
    assert!(found.is_empty(), "four each");
    let (_, counters) = correlator.rule_counters().next().unwrap();
    assert_eq!((counters.events, counters.ungrouped, counters.groups), (8, 1, 2));
}

#[test]
fn a_long_attack_is_one_detection_that_grows() {
    let events: Vec<_> = (0..500).map(|step| at(1_000 + step * 20, "failed").ip(7)).collect();
    let rules = rules(&correlation("guessing", "event_count", "failed", "10m", "gte: 5"));
    let found = detect(&rules, &events);
    assert!(found.iter().all(|detection| detection.id == found[0].id));
    assert!(counts(&found).is_sorted_by(|before, after| before < after), "{:?}", counts(&found));
    assert!(found.len() < 60, "{} updates", found.len());
    let last = found.last().unwrap().count;
    assert!(last > 430, "{last}");
    assert!(found[1].evidence.iter().all(|piece| piece.time > found[0].window.last), "updates bring new evidence");
}

#[test]
fn an_attack_after_a_pause_is_another_detection_and_the_first_is_said_to_its_end() {
    let mut events: Vec<_> = (0..7).map(|secs| at(1_000 + secs, "failed").ip(7)).collect();
    events.extend((0..5).map(|secs| at(1_100 + secs, "failed").ip(7)));
    let found = detect(&guessing(), &events);
    assert_eq!(counts(&found), [5, 6, 7, 5]);
    assert_eq!(found[0].id, found[2].id);
    assert_ne!(found[0].id, found[3].id);
}

#[test]
fn what_grew_unsaid_is_said_when_time_has_passed() {
    let mut events: Vec<_> = (0..12).map(|step| at(1_000 + step / 4, "failed").ip(7)).collect();
    events.push(at(2_000, "other"));
    let found = detect(&guessing(), &events);
    let guessed: Vec<u64> = found.iter().filter(|found| found.rule_id == "guessing").map(|found| found.count).collect();
    assert_eq!(guessed, [5, 6, 7, 8, 10, 12]);
}

#[test]
fn late_events_are_counted_and_not_correlated() {
    let rules = guessing();
    let limits = Limits { lateness: std::time::Duration::from_secs(30), ..Limits::default() };
    let mut events: Vec<_> = (0..4).map(|secs| at(1_000 + secs, "failed").ip(7)).collect();
    events.push(at(1_031, "other").ip(9));
    events.push(at(1_001, "failed").ip(7));
    let fired = |events: &[TestEvent]| {
        let found = detect_with(&rules, events, limits.clone());
        found.iter().any(|found| found.rule_id == "guessing")
    };
    assert!(fired(&events), "exactly as late as allowed");
    events[5].millis -= 1;
    assert!(!fired(&events));
}

#[test]
fn an_agent_an_hour_ahead_makes_nobody_else_late() {
    let mut events = vec![at(4_600, "failed").ip(9).by("ahead")];
    for secs in 0..5 {
        events.push(at(1_000 + secs, "failed").ip(7));
        events.push(at(4_601 + secs, "other").by("ahead"));
    }
    let found = detect(&guessing(), &events);
    assert!(found.iter().any(|found| found.rule_id == "guessing" && found.window.last.secs() == 1_004));
}

#[test]
fn the_members_of_a_count_are_counted_together_and_an_event_that_meets_both_once() {
    let rules = rules(&correlation("both", "event_count", "failed, other", "60s", "gte: 5"));
    let mut events: Vec<_> = (0..4).map(|secs| at(secs, if secs == 0 { "other" } else { "failed" }).ip(7)).collect();
    events[3] = events[3].clone().also("other");
    assert!(detect(&rules, &events).is_empty());
    events.push(at(5, "other").ip(7));
    let found = detect(&rules, &events);
    assert_eq!(counts(&found), [5]);
    let members: Vec<_> = found[0].why.members.iter().map(|member| (member.rule_id.as_str(), member.count)).collect();
    assert_eq!(members, [("failed", 3), ("other", 2)]);
}

#[test]
fn batches_that_all_claim_one_place_in_the_journal_are_still_counted_whole() {
    let rules = guessing();
    let mut correlator = Correlator::new(&rules, Limits::default());
    let mut found = Vec::new();
    for secs in 0..5 {
        let (batch, hits) = batch(&rules, &[at(secs, "failed").ip(7)]);
        correlator.observe(&batch, 0, &hits, &mut found);
    }
    assert_eq!((counts(&found), found[0].evidence.len()), (vec![5], 5));
}

#[test]
fn distinct_values_are_counted_in_the_window() {
    let text = correlation("spraying", "value_count", "failed", "60s", "field: User\n    gte: 4");
    let rules = rules(&text);
    let tries = |users: &[&str]| -> Vec<TestEvent> {
        let users = users.iter().zip(1_000..);
        users.map(|(user, secs)| at(secs, "failed").ip(7).with("User", user)).collect()
    };
    assert!(detect(&rules, &tries(&["a", "b", "a", "c", "b"])).is_empty());
    let found = detect(&rules, &tries(&["a", "b", "a", "c", "d"]));
    assert_eq!(found[0].why.distinct_values, Some(4));
    assert!(found[0].why.text.starts_with("4 different values of User in 3 s"), "{}", found[0].why.text);
}

const CHAIN: &str = "title: SSH guessing, then success
name: chain
level: critical
correlation:
  type: temporal
  rules: [guessing, success]
  group-by: [SourceIp]
  timespan: 10m
---
";

fn chain() -> RuleSet {
    rules(&format!("{}{CHAIN}", correlation("guessing", "event_count", "failed", "60s", "gte: 5")))
}

#[test]
fn guessing_then_success_is_built_on_the_guessing() {
    let mut events: Vec<_> = (0..6).map(|secs| at(1_000 + secs, "failed").ip(7)).collect();
    events.push(at(1_300, "success").ip(7).with("User", "lan"));
    let found = detect(&chain(), &events);
    let ids: Vec<&str> = found.iter().map(|found| found.rule_id.as_str()).collect();
    assert_eq!(ids, ["guessing", "guessing", "chain"], "a success alone is no detection: it is a member");
    let last = found.last().unwrap();
    assert_eq!((last.level, &last.built_on), (Severity::Critical, &vec![found[0].id.clone()]));
    let members: Vec<_> = last.why.members.iter().map(|member| (member.rule_id.as_str(), member.count)).collect();
    assert_eq!(members, [("guessing", 2), ("success", 1)]);
}

#[test]
fn a_success_long_after_the_first_guess_but_during_the_guessing_is_seen() {
    let mut events: Vec<_> = (0..200).map(|step| at(1_000 + step * 30, "failed").ip(7)).collect();
    let rules = rules(&format!("{}{CHAIN}", correlation("guessing", "event_count", "failed", "5m", "gte: 5")));
    events.push(at(7_000, "success").ip(7));
    assert!(detect(&rules, &events).iter().any(|found| found.rule_id == "chain"));
    events.last_mut().unwrap().millis = 20_000_000;
    assert!(!detect(&rules, &events).iter().any(|found| found.rule_id == "chain"));
}

#[test]
fn generate_lets_the_members_speak() {
    let quiet = rules(&correlation("guessing", "event_count", "failed", "60s", "gte: 5"));
    let loud = rules(
        &correlation("guessing", "event_count", "failed", "60s", "gte: 5")
            .replace("  type:", "  generate: true\n  type:"),
    );
    let events = [at(1, "failed").ip(7), at(2, "other").ip(7)];
    let ids = |rules| -> Vec<String> { detect(rules, &events).into_iter().map(|found| found.rule_id).collect() };
    assert_eq!(ids(&quiet), ["other"]);
    assert_eq!(ids(&loud), ["failed", "other"]);
}

#[test]
fn repetitions_of_a_detection_rule_are_one_detection() {
    let events: Vec<_> = (0..100).map(|secs| at(secs, "other").ip(7).with("User", "lan")).collect();
    let found = detect(&guessing(), &events);
    assert!(found.iter().all(|one| one.id == found[0].id && one.kind == DetectionKind::Event));
    assert!(found.len() < 25 && found.last().unwrap().count > 80, "{:?}", counts(&found));
    assert_eq!(detect(&guessing(), &[at(1, "other").ip(7), at(1, "other").ip(8)]).len(), 2);
    let on_two_hosts = detect(&guessing(), &[at(1, "other"), at(1, "other").by("db-01")]);
    assert_eq!(on_two_hosts.len(), 2, "of what else they say nothing, only the agents differ");
    assert_ne!(on_two_hosts[0].id, on_two_hosts[1].id);
}

#[test]
fn aliases_name_the_field_of_each_member() {
    let text = "title: aliased
name: aliased
correlation:
  type: temporal
  rules: [failed, success]
  aliases:
    address:
      failed: SourceIp
      success: c-ip
  group-by: [address]
  timespan: 60s
";
    let events = [at(1, "failed").ip(7), at(2, "success").with("c-ip", "203.0.113.7")];
    let found = detect(&rules(text), &events);
    assert_eq!(found[0].group_key, [("address".to_owned(), "203.0.113.7".to_owned())]);
}

#[test]
fn order_counts_where_the_rule_says_so() {
    let rules = rules(&correlation("ordered", "temporal_ordered", "failed, success", "60s", ""));
    assert_eq!(detect(&rules, &[at(1, "failed").ip(7), at(2, "success").ip(7)]).len(), 1);
    assert_eq!(detect(&rules, &[at(1, "success").ip(7), at(2, "failed").ip(7)]).len(), 0);
}

#[test]
fn a_condition_with_an_upper_bound_is_judged_when_the_window_is_over() {
    let rules = rules(&correlation("few", "event_count", "failed", "60s", "lt: 3"));
    let mut events: Vec<_> = (0..5).map(|secs| at(1_000 + secs, "failed").ip(7)).collect();
    events.push(at(1_002, "failed").ip(8));
    assert!(detect(&rules, &events).is_empty());
    events.push(at(1_002 + 60 + 300, "other"));
    assert!(!detect(&rules, &events).iter().any(|found| found.rule_id == "few"), "something late could still come");
    events.push(at(1_004 + 60 + 300, "other"));
    let found = detect(&rules, &events);
    let few: Vec<_> = found.iter().filter(|found| found.rule_id == "few").collect();
    assert_eq!(few.len(), 1);
    assert_eq!((few[0].group_key[0].1.as_str(), few[0].count), ("203.0.113.8", 1));
}

#[test]
fn groups_are_bounded_the_oldest_goes_and_its_count_is_said() {
    let limits = Limits { groups_per_rule: 10, ..Limits::default() };
    let rules = guessing();
    let mut events: Vec<_> = (0..6).map(|_| at(1_000, "failed").ip(200)).collect();
    events.extend((0..50).map(|step| at(1_001, "failed").ip(step)));
    let mut correlator = Correlator::new(&rules, limits);
    let (batch, hits) = batch(&rules, &events);
    let mut found = Vec::new();
    correlator.observe(&batch, 1, &hits, &mut found);
    assert_eq!(counts(&found), [5, 6]);
    let counters = correlator.counters();
    assert_eq!((counters.groups, counters.groups_dropped), (10, 41));
    assert!(counters.state_bytes > 0 && counters.state_bytes < 2_000, "{}", counters.state_bytes);
}

#[test]
fn bytes_are_bounded_over_all_rules() {
    let limits = Limits { state_bytes: 10_000, ..Limits::default() };
    let rules = guessing();
    let events: Vec<_> = (0..4_000)
        .map(|step| {
            at(1_000, if step % 2 == 0 { "failed" } else { "other" })
                .with("SourceIp", format!("10.0.{}.{}", step / 200, step % 200))
        })
        .collect();
    let mut correlator = Correlator::new(&rules, limits);
    let (batch, hits) = batch(&rules, &events);
    correlator.observe(&batch, 1, &hits, &mut Vec::new());
    let counters = correlator.counters();
    assert!(counters.state_bytes <= 10_000 && counters.groups > 10, "{counters:?}");
}

#[test]
fn groups_that_are_over_are_forgotten() {
    let rules = guessing();
    let mut correlator = Correlator::new(&rules, Limits::default());
    for record in 0..200_i64 {
        let (batch, hits) = batch(&rules, &[at(record * 100, "failed").with("SourceIp", record)]);
        correlator.observe(&batch, record.cast_unsigned(), &hits, &mut Vec::new());
    }
    assert!(correlator.counters().groups <= 5, "{}", correlator.counters().groups);
    assert_eq!(correlator.counters().groups_dropped, 0);
}

#[test]
fn unsupported_kinds_are_named_with_what_builds_on_them() {
    let sum = correlation("sum", "value_sum", "failed", "60s", "field: Bytes\n    gte: 100");
    let rules = rules(&format!("{sum}{}", correlation("above", "temporal", "sum, success", "60s", "")));
    let correlator = Correlator::new(&rules, Limits::default());
    let unarmed: Vec<_> = correlator.unarmed().iter().map(|rule| (rule.id.as_str(), rule.reason.as_str())).collect();
    let expected = [
        ("sum", "value_sum is not supported by this release"),
        ("above", "it builds on the correlation sum, which is not armed"),
    ];
    assert_eq!(unarmed, expected);
}

#[test]
fn rules_that_did_not_change_keep_their_state_over_a_reload() {
    let before = guessing();
    let mut correlator = Correlator::new(&before, Limits::default());
    let first: Vec<_> = (0..4).map(|secs| at(1_000 + secs, "failed").ip(7)).collect();
    let (events, hits) = batch(&before, &first);
    correlator.observe(&events, 1, &hits, &mut Vec::new());
    let bytes = correlator.snapshot();

    let same = correlation("guessing", "event_count", "failed", "60s", "gte: 5");
    let added = rules(&format!("{}{same}", correlation("new", "event_count", "success", "60s", "gte: 2")));
    let changed = rules(&correlation("guessing", "event_count", "failed", "61s", "gte: 5"));
    let fires = |rules: &RuleSet| {
        let mut correlator = Correlator::restore(rules, &bytes, Limits::default()).unwrap();
        let (events, hits) = batch(rules, &[at(1_005, "failed").ip(7)]);
        let mut found = Vec::new();
        correlator.observe(&events, 2, &hits, &mut found);
        !found.is_empty()
    };
    assert!(fires(&added));
    assert!(!fires(&changed));
}

#[test]
fn bytes_that_are_no_snapshot_are_refused() {
    let rules = guessing();
    let bytes = Correlator::new(&rules, Limits::default()).snapshot();
    assert!(Correlator::restore(&rules, b"", Limits::default()).is_err());
    assert!(Correlator::restore(&rules, b"CSN\xff", Limits::default()).is_err());
    for cut in 4..bytes.len() {
        assert!(Correlator::restore(&rules, &bytes[..cut], Limits::default()).is_err(), "{cut}");
    }
}

fn any_event() -> impl Strategy<Value = (i64, usize, u8, u8)> {
    (0..2_500_i64, 0..4_usize, 0..3_u8, 0..5_u8)
}

fn stream(steps: &[(i64, usize, u8, u8)]) -> Vec<TestEvent> {
    let mut millis = 1_000_000;
    let mut events = Vec::new();
    for (step, what, group, user) in steps {
        // Some events come out of order, some twice in a moment, some from another agent.
        millis += if step % 7 == 0 { -step } else { *step };
        let rule = ["failed", "failed", "success", "other"][*what];
        let mut event = at(0, rule).ip(*group).with("User", user);
        event.millis = millis;
        events.push(if step % 3 == 0 { event.by("db-01") } else { event });
    }
    events
}

fn everything() -> RuleSet {
    let texts = [
        correlation("guessing", "event_count", "failed", "10s", "gte: 4"),
        correlation("spraying", "value_count", "failed", "10s", "field: User\n    gt: 2"),
        correlation("few", "event_count", "failed, success", "20s", "lt: 3"),
        correlation("range", "value_count", "failed", "5s", "field: User\n    eq: 2"),
        correlation("ordered", "temporal_ordered", "failed, success", "5s", ""),
        CHAIN.to_owned(),
        correlation("twice", "event_count", "guessing", "60s", "gte: 2"),
        correlation("quiet", "temporal", "few, guessing", "60s", ""),
    ];
    rules(&texts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    /// P9: the same events give the same detections for any batch borders and any restarts.
    #[test]
    fn borders_and_restarts_change_nothing(
        steps in proptest::collection::vec(any_event(), 1..250),
        cuts in proptest::collection::vec(0..60_usize, 0..12),
        is_tight in any::<bool>(),
    ) {
        let (rules, events) = (everything(), stream(&steps));
        let mut limits = Limits { lateness: std::time::Duration::from_secs(2), ..Limits::default() };
        if is_tight {
            limits = Limits { groups_per_rule: 2, state_bytes: 6_000, evidence_bytes: 3_000, values_per_group: 3, ..limits };
        }
        let whole = without_places(detect_with(&rules, &events, limits.clone()));
        let cut = without_places(detect_cut(&rules, &events, &cuts, &limits));
        for (place, (left, right)) in whole.iter().zip(&cut).enumerate() {
            prop_assert!(left == right, "{place}: {left:?}\n{right:?}");
        }
        prop_assert_eq!(whole.len(), cut.len());
    }

    /// P2 and P9 to the end: the same book for any borders, and all of it again changes nothing.
    #[test]
    fn the_same_events_make_the_same_incidents_once(
        steps in proptest::collection::vec(any_event(), 1..250),
        cuts in proptest::collection::vec(0..60_usize, 0..12),
    ) {
        let (rules, events, grouper) = (everything(), stream(&steps), Grouper::default());
        let fold = |detections: &[Detection]| {
            let mut book = IncidentBook::new();
            for detection in detections {
                if let Decision::Change(change) = grouper.decide(&book, detection) {
                    book.apply(&change).unwrap();
                }
            }
            book
        };
        let whole = detect(&rules, &events);
        let book = fold(&whole);
        prop_assert_eq!(&fold(&detect_cut(&rules, &events, &cuts, &Limits::default())), &book);
        for detection in &whole {
            let again = grouper.decide(&book, detection);
            prop_assert!(again == Decision::Known, "{again:?}");
        }
    }

    /// A second run over the same events says nothing that was not said before.
    #[test]
    fn the_same_events_again_make_the_same_ids(steps in proptest::collection::vec(any_event(), 1..150)) {
        let (rules, events) = (everything(), stream(&steps));
        prop_assert_eq!(detect(&rules, &events), detect(&rules, &events));
    }

    /// The first detection of a count comes at the event the plain twin says.
    #[test]
    fn a_count_fires_at_the_event_the_plain_twin_fires_at(steps in proptest::collection::vec(any_event(), 1..200)) {
        let rules = rules(&correlation("guessing", "event_count", "failed", "10s", "gte: 4"));
        let events: Vec<_> = stream(&steps).into_iter().filter(|event| event.rules == ["failed"]).collect();
        for group in 0..3 {
            let ip = format!("203.0.113.{group}");
            let of_group: Vec<i64> =
                events.iter().filter(|event| event.fields[0].1 == ip).map(|event| event.millis).collect();
            let fires = (0..of_group.len()).find(|last| {
                let seen = &of_group[..=*last];
                seen.iter().any(|start| {
                    let inside = seen.iter().filter(|time| (*start..=start + 10_000).contains(time)).count();
                    inside >= 4
                })
            });
            let found = detect(&rules, &events);
            let first = found.iter().find(|found| found.group_key[0].1 == ip);
            prop_assert_eq!(first.is_some(), fires.is_some());
            if let (Some(first), Some(last)) = (first, fires) {
                let seen = &of_group[..=last];
                prop_assert!(first.count >= 4);
                prop_assert!(seen.contains(&(first.window.last.nanos() / 1_000_000)));
            }
        }
    }
}
