use canh_sigma::RuleFile;

use super::*;
use crate::rules::sources;

const TABLE: &str = "shipped = false\n\
    [[source]]\nname = \"shell\"\nproduct = \"linux\"\nservices = [\"sh\", \"*\"]\nfields = [\"User\", \"Command*\"]\n\
    [[source]]\nname = \"web\"\ncategories = [\"webserver\"]\nfields = [\"c-ip\"]\n";

fn feeds() -> Vec<Feed> {
    sources::parse(TABLE, "a.toml").unwrap()
}

fn rules(text: &str) -> RuleSet {
    let loaded = RuleSet::load([RuleFile { path: "r.yml".to_owned(), text: text.to_owned() }]);
    assert!(loaded.refused.is_empty(), "{:?}", loaded.refused);
    loaded.rules
}

fn readiness(logsource: &str, detection: &str) -> Readiness {
    let rules = rules(&format!("title: t\nlogsource: {{{logsource}}}\ndetection: {{{detection}}}\n"));
    of_rule(&rules.rules()[0], &feeds())
}

fn fields(names: &[&str]) -> Missing {
    Missing::Fields { source: "shell".to_owned(), fields: names.iter().map(|name| (*name).to_owned()).collect() }
}

#[test]
fn a_field_that_never_comes_disarms_what_needs_it() {
    let linux = "product: linux";
    for (detection, expected) in [
        ("s: {User: root, CommandLine: x}, condition: s", Readiness::Armed),
        ("s: {User: root, Image: x}, condition: s", Readiness::Unfed(fields(&["Image"]))),
        ("s: {User: root}, f: {Image: x}, condition: s and not f", Readiness::Partial(fields(&["Image"]))),
        ("a: {User: root}, b: {Image: x}, condition: 1 of them", Readiness::Partial(fields(&["Image"]))),
        ("a: {User: root}, b: {Image: x}, condition: all of them", Readiness::Unfed(fields(&["Image"]))),
        ("s: {Image: null}, condition: s", Readiness::Partial(fields(&["Image"]))),
        ("s: {Image: null}, condition: not s", Readiness::Unfed(fields(&["Image"]))),
        ("s: {Image|exists: true}, condition: s", Readiness::Unfed(fields(&["Image"]))),
        ("s: {Image|exists: false}, condition: s", Readiness::Partial(fields(&["Image"]))),
        ("s: {Image|neq: x}, condition: s", Readiness::Unfed(fields(&["Image"]))),
        ("s: {User|fieldref: Image}, condition: s", Readiness::Unfed(fields(&["Image"]))),
        ("s: ['keyword'], condition: s", Readiness::Armed),
    ] {
        assert_eq!(readiness(linux, detection), expected, "{detection}");
    }
}

#[test]
fn the_missing_part_of_a_logsource_is_named() {
    let detection = "s: {User: x}, condition: s";
    for (logsource, missing) in [
        ("product: aws, service: cloudtrail", "product aws"),
        ("product: linux, category: process_creation", "category process_creation of linux"),
        ("category: proxy", "category proxy"),
        ("product: linux, category: webserver", "category webserver of linux"),
    ] {
        let expected = Readiness::Unfed(Missing::Logsource(missing.to_owned()));
        assert_eq!(readiness(logsource, detection), expected, "{logsource}");
    }
    // Any program is a service.
    assert_eq!(readiness("product: linux, service: vsftpd", detection), Readiness::Armed);
}

fn correlation(kind: &str, group_by: &str) -> Readiness {
    let text = format!(
        "title: a\nname: a\nlogsource: {{product: linux}}\ndetection: {{s: {{User: x}}, condition: s}}\n---\n\
         title: b\nname: b\nlogsource: {{product: aws}}\ndetection: {{s: {{User: x}}, condition: s}}\n---\n\
         title: c\nid: c\ncorrelation:\n  type: {kind}\n  rules: [a, b]\n  group-by: [{group_by}]\n  timespan: 1m\n"
    );
    let text = if kind == "event_count" { format!("{text}  condition: {{gte: 2}}\n") } else { text };
    let rules = rules(&text);
    of_correlation(&rules.correlations()[0], &rules, &feeds())
}

#[test]
fn a_correlation_needs_one_member_or_all_and_its_groups() {
    let members = |names: &[&str]| Missing::Members(names.iter().map(|name| (*name).to_owned()).collect());
    assert_eq!(correlation("event_count", "User"), Readiness::Partial(members(&["b"])));
    assert_eq!(correlation("temporal", "User"), Readiness::Unfed(members(&["b"])));
    assert_eq!(correlation("event_count", "SourceIp"), Readiness::Unfed(members(&["a", "b"])));
}
