use canh_sigma::RuleFile;

use super::*;
use crate::arguments::Format;
use crate::output::View;

const RULE: &str = r#"
title: "Curl piped\e[31m to a shell"
id: 11111111-1111-4111-8111-111111111111
logsource:
    product: linux
    category: process_creation
detection:
    selection:
        Image|endswith: '/bash'
        CommandLine|contains|all:
            - 'curl '
            - '| sh'
    filter:
        ParentImage: '/usr/bin/x'
        User|fieldref: Owner
    condition: selection and not filter
"#;

const EVENT: &str = r#"{"product":"linux","category":"process_creation","Image":"/usr/bin/bash",
 "CommandLine":["bash -c 'CURL http://x | sh'", "\u001b[2J\u202e", null], "parentimage":"/usr/bin/y", "Owner":"root"}"#;

fn now() -> Timestamp {
    "2026-11-24T12:00:00Z".parse().unwrap()
}

fn explained(rule: &str, event: &str, route: Route) -> Answer {
    let loaded = RuleSet::load([RuleFile { path: "r\x1b.yml".to_owned(), text: rule.to_owned() }]);
    assert!(loaded.refused.is_empty(), "{:?}", loaded.refused);
    let event = event_of(event, EventFormat::Auto, None, "line", now()).unwrap();
    answer("1111", &loaded, &event, route).unwrap()
}

fn rendered(answer: &Answer, format: Format) -> String {
    explain_page::render(answer, format, &View::plain_utc()).unwrap()
}

#[test]
fn page_goes_from_routing_to_each_item_with_its_values() {
    let answer = explained(RULE, EVENT, Route::ByLogsource);
    assert_eq!(
        rendered(&answer, Format::Table),
        r#"event   read as json, 2026-11-24T12:00:00Z
        product linux; services none; categories process_creation
        fields product, category, Image, CommandLine, parentimage, Owner

rule    Curl piped\x1b[31m to a shell (11111111-1111-4111-8111-111111111111)
        r\x1b.yml:2
yes logsource
yes   product is linux  <- linux
yes   category is process_creation  <- process_creation
yes all of
yes   selection
yes     all of
yes       Image|endswith is "*/bash"  <- "/usr/bin/bash"
yes       CommandLine|contains|all is all of 2 values  <- "bash -c 'CURL http://x | sh'", "\x1b[2J\u{202e}", null
yes         "*curl *"
yes         "*| sh*"
yes   not
no      filter
no        all of
no          ParentImage is "/usr/bin/x"  <- absent
no          User|fieldref is equal to the value of "Owner"  <- absent  <- Owner "root"
        the event has no field ParentImage, but parentimage: capitals count in names of fields
        the event has no field User
=> fires
"#
    );
}

#[test]
fn logsource_decides_first_unless_it_is_left_out_of_account() {
    let other = EVENT.replace("\"product\":\"linux\"", "\"product\":\"macos\"");
    let routed = explained(RULE, &other, Route::ByLogsource);
    assert!(!routed.fires && routed.rules[0].matches);
    let page = rendered(&routed, Format::Table);
    assert!(page.contains("no  logsource\nno    product is linux  <- macos\n"), "{page}");
    assert!(page.ends_with("=> does not fire: the event is not of the rule's logsource\n"), "{page}");
    let unrouted = explained(RULE, &other, Route::Ignored);
    assert!(unrouted.fires);
    assert!(rendered(&unrouted, Format::Table).contains("--  logsource, left out of account\n"));
}

#[test]
fn json_has_the_whole_values_and_every_format_is_harmless() {
    let long = format!("bash -c 'curl {} | sh'", "x".repeat(1_000));
    let answer = explained(RULE, &EVENT.replace("bash -c 'CURL http://x | sh'", &long), Route::ByLogsource);
    for format in [Format::Table, Format::Tsv, Format::Csv, Format::Json, Format::Ndjson, Format::Ids] {
        let text = rendered(&answer, format);
        assert!(!text.contains(['\x1b', '\u{202e}']), "{format:?}: {text:?}");
    }
    let json: serde_json::Value = serde_json::from_str(&rendered(&answer, Format::Json)).unwrap();
    assert_eq!(json["fires"], true);
    let item = &json["rules"][0]["condition"]["parts"][0]["parts"][0]["parts"][1];
    assert_eq!(item["fields"][0][0], "CommandLine");
    assert_eq!(item["fields"][0][1][0], long.as_str());
    assert_eq!(item["fields"][0][1][2], serde_json::Value::Null);
    assert_eq!(rendered(&answer, Format::Ids), "11111111-1111-4111-8111-111111111111\n");
}

#[test]
fn a_correlation_is_explained_by_its_members() {
    let text = "title: Refused\nname: refused\nlogsource: {product: linux, service: sshd}\n\
                detection: {s: {EventOutcome: failure}, condition: s}\n---\n\
                title: Guessing\nid: 1111\ncorrelation:\n  type: event_count\n  rules: [refused]\n\
                \x20 group-by: [SourceIp, No]\n  timespan: 1m\n  condition: {gte: 3}\n";
    let line = "Nov 24 10:07:03 web-01 sshd[812]: Failed password for root from 10.0.0.7 port 22 ssh2";
    let answer = explained(text, line, Route::ByLogsource);
    assert!(!answer.fires && answer.rules[0].fires);
    let page = rendered(&answer, Format::Table);
    assert!(page.contains("event_count >= 3 within 60 s"), "{page}");
    assert!(page.contains("grouped by SourceIp <- \"10.0.0.7\"\n"), "{page}");
    assert!(page.contains("grouped by No <- absent: it is not counted\n"), "{page}");
}

#[test]
fn the_record_is_the_object_the_line_or_the_line_asked_for() {
    let record = |text, format, line| record_of(text, format, line).map_err(|failure| failure.exit());
    assert_eq!(record("{\n\"a\": 1\n}\n", EventFormat::Json, None), Ok("{\n\"a\": 1\n}"));
    assert_eq!(record("\none line\n", EventFormat::Syslog, None), Ok("one line"));
    assert_eq!(record("{\"a\":1}\n{\"a\":2}\n", EventFormat::Json, None), Err(Exit::Usage));
    assert_eq!(record("{\"a\":1}\n{\"a\":2}\n", EventFormat::Json, Some(2)), Ok("{\"a\":2}"));
    assert_eq!(record("{\"a\":1}\n\n", EventFormat::Json, Some(2)), Err(Exit::NotFound));
    assert_eq!(record("a\n", EventFormat::Raw, Some(u32::MAX)), Err(Exit::NotFound));
    assert_eq!(record(" \n", EventFormat::Auto, None), Err(Exit::Usage));
}

#[test]
fn what_no_parser_claims_is_refused() {
    for (text, format) in [("no log", EventFormat::Syslog), ("[1]", EventFormat::Json), ("{}", EventFormat::Flow)] {
        assert_eq!(event_of(text, format, None, "line", now()).unwrap_err().exit(), Exit::Usage, "{text}");
    }
}
