//! The built correlator beside a real journal: from events to an incident an analyst works, through
//! kills and reloads.

mod daemon;

use std::fs;

use daemon::{House, RULES, run_to_end, until};

const ACTIONS: &str = "/v1/incidents/actions";

#[test]
fn guessing_becomes_one_incident_and_an_acknowledgement_outlives_a_kill() {
    let mut house = House::new("");
    let daemon = house.start();
    // The collector comes later than the correlator, and its first batch is not enough to fire.
    house.failed_logins("203.0.113.7", 0, 4);
    daemon.correlated(1);
    assert!(daemon.incidents().is_empty());
    house.failed_logins("203.0.113.7", 4, 4);
    daemon.correlated(2);
    let incidents = until("the incident", || Some(daemon.incidents()).filter(|found| !found.is_empty()));
    assert_eq!(incidents.len(), 1, "{incidents:?}");
    assert_eq!(incidents[0]["title"], "SSH password guessing");
    assert_eq!(incidents[0]["severity"], "high");
    assert_eq!(incidents[0]["agency"], "so-tttt");
    let number = incidents[0]["number"].as_str().unwrap().to_owned();

    let note = format!(r#"{{"ids":["{number}"],"action":"acknowledge","note":"on it"}}"#);
    let acted = daemon.ask("POST", ACTIONS, &note);
    assert_eq!(acted["results"][0]["outcome"], "done", "{acted}");
    let before = daemon.ask("GET", &format!("/v1/incidents/{number}"), "");
    assert_eq!(before["incident"]["state"], "acknowledged");
    assert!(before["detections"][0]["evidence"][0]["raw"]["text"].as_str().unwrap().contains("Failed password"));
    let entry = before["history"].as_array().unwrap().last().unwrap();
    assert_eq!((&entry["note"], &entry["from"]), (&"on it".into(), &"unix".into()));
    daemon.kill();

    let daemon = house.start();
    daemon.correlated(2);
    assert_eq!(daemon.ask("GET", "/v1/incidents/1", ""), before);

    // The count goes on where it stood: the next event belongs to the same incident.
    house.failed_logins("203.0.113.7", 8, 20);
    let grown = until("the incident to grow", || {
        Some(daemon.incidents()).filter(|found| found[0]["events"].as_u64() > before["incident"]["events"].as_u64())
    });
    assert_eq!((grown.len(), &grown[0]["number"], &grown[0]["state"]), (1, &number.into(), &"acknowledged".into()));
    assert!(daemon.stop().success());
}

#[test]
fn kills_at_any_moment_lead_to_the_same_incidents() {
    let fill = |house: &mut House, round: i64| {
        for address in 0..6 {
            house.failed_logins(&format!("198.51.100.{address}"), round * 30 + address, 3);
        }
    };
    const ROUNDS: i64 = 8;

    let mut plain = House::new("[correlate]\nrepeat_span = \"5m\"\n");
    (0..ROUNDS).for_each(|round| fill(&mut plain, round));
    let daemon = plain.start();
    daemon.correlated(6 * ROUNDS.unsigned_abs());
    let expected = daemon.incidents();
    assert_eq!(expected.len(), 6, "{expected:?}");
    drop(daemon);

    let snapshots = "[correlate]\nrepeat_span = \"5m\"\n[snapshot]\nevery_records = 5\n[match]\nthreads = 3\n";
    let mut killed = House::new(snapshots);
    for round in 0..ROUNDS {
        let daemon = killed.start();
        fill(&mut killed, round);
        // Early, late and in the middle: never at the same place of the work.
        daemon.correlated(6 * round.unsigned_abs() + round.unsigned_abs() % 6);
        daemon.kill();
    }
    let daemon = killed.start();
    daemon.correlated(6 * ROUNDS.unsigned_abs());
    assert_eq!(daemon.incidents(), expected);
}

#[test]
fn an_orderly_stop_leaves_a_snapshot_and_no_socket() {
    let mut house = House::new("");
    house.failed_logins("203.0.113.7", 0, 8);
    let daemon = house.start();
    daemon.correlated(1);
    let before = daemon.incidents();
    assert!(daemon.stop().success());
    assert!(!house.path("socket").exists());
    let daemon = house.start();
    daemon.correlated(1);
    assert_eq!(daemon.incidents(), before);
    assert!(daemon.log().contains("snapshot=1"), "{}", daemon.log());
}

#[test]
fn records_that_cannot_be_decoded_are_counted_and_passed_over() {
    let mut house = House::new("");
    house.append(1, b"no batch at all");
    house.append(9, b"a record of the collector's own");
    house.failed_logins("203.0.113.7", 0, 8);
    let daemon = house.start();
    daemon.correlated(3);
    assert_eq!(daemon.incidents().len(), 1);
    assert!(daemon.log().contains("cannot be decoded"));
    assert!((daemon.metric("canh_correlator_records_skipped_total{reason=\"undecodable\"}") - 1.0).abs() < 0.1);
    assert!((daemon.metric("canh_correlator_rule_hits_total{rule=\"ssh-failed\"}") - 8.0).abs() < 0.1);
    let open = "canh_correlator_incidents{severity=\"high\",state=\"new\"}";
    assert!((daemon.metric(open) - 1.0).abs() < 0.1);
}

#[test]
fn a_reload_takes_new_rules_and_keeps_counts_under_way() {
    let mut house = House::new("");
    house.failed_logins("203.0.113.7", 0, 4);
    let daemon = house.start();
    daemon.correlated(1);
    let other = RULES.split("---").next().unwrap().replace("ssh-failed", "other").replace("ssh_failed", "other");
    fs::write(house.path("rules/other.yml"), other).unwrap();
    fs::write(house.path("rules/broken.yml"), "title: Broken\ndetection:\n  condition: nowhere\n").unwrap();
    daemon.signal("HUP");
    let rules = until("the new rules", || {
        let (_, rules) = daemon.try_ask("GET", "/v1/rules", "")?;
        (rules["rules"].as_array()?.len() == 3).then_some(rules)
    });
    assert_eq!(rules["refused"].as_array().unwrap().len(), 1, "{rules}");
    house.failed_logins("203.0.113.7", 4, 1);
    daemon.correlated(2);
    let titles = until("the incident", || {
        let titles: Vec<_> = daemon.incidents().iter().map(|found| found["title"].clone()).collect();
        titles.contains(&"SSH password guessing".into()).then_some(titles)
    });
    assert_eq!(titles.len(), 1, "the fifth failure completes the count of four before the reload: {titles:?}");

    // A reload that cannot be done keeps the old rules, and says so.
    fs::write(house.path("correlator.toml"), "unheard = \"of\"\n").unwrap();
    daemon.signal("HUP");
    until("the refusal", || daemon.log().contains("reload refused").then_some(()));
    assert_eq!(daemon.ask("GET", "/v1/rules", "")["rules"].as_array().unwrap().len(), 3);
}

#[test]
fn a_second_correlator_on_the_same_state_is_refused() {
    let house = House::new("");
    let daemon = house.start();
    daemon.ask("GET", "/v1/status", "");
    let (code, said) = run_to_end(&[], &house.path("correlator.toml"));
    assert_eq!(code, Some(1), "{said}");
    daemon.ask("GET", "/v1/status", "");
}

#[test]
fn check_names_every_fault_and_ends_with_two() {
    let house = House::new("");
    assert_eq!(run_to_end(&["--check"], &house.path("correlator.toml")).0, Some(0));
    fs::write(house.path("wrong.toml"), "state_dir = 7\nstat_dir = \"/x\"\n[match]\nthreads = 1000\n").unwrap();
    let (code, said) = run_to_end(&["--check"], &house.path("wrong.toml"));
    assert_eq!(code, Some(2), "{said}");
    for part in ["wrong.toml:1", "wrong.toml:2", "wrong.toml:4"] {
        assert!(said.contains(part), "{said}");
    }
}
