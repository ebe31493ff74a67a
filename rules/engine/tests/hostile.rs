//! Rule files made to hurt are refused with a clear error, each within its bound.

use std::time::{Duration, Instant};

use canh_sigma::{Diagnostic, Matcher, Placeholders, Program, RuleFile, RuleSet};
use proptest::prelude::*;

/// Far above what any of these takes, far below what an unbounded reader would.
const WITHIN: Duration = Duration::from_secs(10);

#[expect(clippy::disallowed_methods, reason = "the test asks how long it took")]
fn refusal(text: String) -> Diagnostic {
    let began = Instant::now();
    let mut loaded = RuleSet::load([RuleFile { path: "hostile.yml".to_owned(), text }]);
    assert!(began.elapsed() < WITHIN);
    assert_eq!(loaded.rules.rules().len(), 0);
    assert_eq!(loaded.refused.len(), 1);
    loaded.refused.remove(0)
}

fn with_condition(condition: &str) -> String {
    format!("title: t\nlogsource: {{product: x}}\ndetection:\n  s: {{a: 1}}\n  condition: {condition}\n")
}

fn with_item(item: &str) -> String {
    format!("title: t\nlogsource: {{product: x}}\ndetection:\n  s:\n    {item}\n  condition: s\n")
}

#[test]
fn an_alias_bomb_is_refused() {
    let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..30 {
        let of = vec![format!("*a{}", level - 1); 10].join(", ");
        text.push_str(&format!("a{level}: &a{level} [{of}]\n"));
    }
    assert!(refusal(text).message.contains("more than 400000 nodes"));
}

#[test]
fn twenty_thousand_nested_lists_are_refused() {
    refusal(with_item(&format!("a: {}{}", "[".repeat(20_000), "]".repeat(20_000))));
    refusal("- ".repeat(20_000));
    refusal(format!("a: {}", "{a: ".repeat(20_000)));
    refusal((0..2_000).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect());
}

#[test]
fn five_thousand_nots_are_refused() {
    let refused = refusal(with_condition(&format!("{}s", "not ".repeat(5_000))));
    assert!(refused.message.contains("nested deeper than 64"));
    assert_eq!(refused.line, 5);
    refusal(with_condition(&format!("{}s{}", "(".repeat(20_000), ")".repeat(20_000))));
    refusal(with_condition(&format!("s{}", " or s".repeat(200_000))));
}

#[test]
fn a_regular_expression_of_a_megabyte_is_refused() {
    assert!(refusal(with_item(&format!("a|re: '{}'", "a".repeat(1 << 20)))).message.contains("limit is 8192"));
    refusal(with_item(&format!("a|re: '{}'", "(".repeat(4_000))));
    refusal(with_item("a|re: '((a{100}){100}){100}'"));
    refusal(with_item(r"a|re: '(\w{100}){100}'"));
}

#[test]
fn a_line_of_sixty_four_megabytes_is_refused() {
    assert!(refusal(format!("title: {}", "x".repeat(64 << 20))).message.contains("limit is 4194304"));
}

#[test]
fn values_that_multiply_are_refused() {
    refusal(with_item("a|windash: '-a -b -c -d -e -f -g -h'"));
    refusal(with_item(&format!("a{}: x", "|windash".repeat(9))));
    refusal(with_item("a|windash|windash|windash|windash|windash: '-a -b -c -d'"));
}

#[test]
fn a_long_chain_of_correlations_is_linked_in_good_time() {
    let mut text = String::new();
    for index in 0..3_000 {
        let of = index + 1;
        text.push_str(&format!(
            "title: c{index}\nname: c{index}\ncorrelation: {{type: event_count, rules: [c{of}], timespan: 1m, condition: {{gte: 1}}}}\n---\n"
        ));
    }
    text.push_str("title: d\nname: c3000\nlogsource: {product: x}\ndetection: {s: {a: 1}, condition: s}\n");
    let loaded = RuleSet::load([RuleFile { path: "chain.yml".to_owned(), text }]);
    assert_eq!(loaded.refused, []);
    assert_eq!(loaded.rules.correlations().len(), 3_000);
}

const WHOLE: &str = "action: global
title: t
id: 1
---
logsource: {product: windows, service: security, definition: x}
detection:
  selection:
    - A|contains|all|windash: [' -a', 'b*?\\\\c']
      B|re|i: 'a(b|c)+'
    - 'key word'
  filter_1: {C|cidr: '10.0.0.0/8', D|base64offset|contains: abc, E|hour|gte: 3, F|fieldref: G, H: null}
  timeframe: 5m
  condition: (selection and not 1 of filter_*) | count(A) by B > 5
level: high
---
title: c
correlation: {type: value_count, rules: [1], group-by: [x], timespan: 1h, condition: {field: y, gte: 3}}
";

fn load(text: &str) {
    let loaded = RuleSet::load([RuleFile { path: "any.yml".to_owned(), text: text.to_owned() }]);
    let program = Program::compile(&loaded.rules);
    drop(Matcher::new(&program));
    for refused in loaded.refused.iter().chain(&loaded.warnings) {
        assert!(refused.line > 0 && !refused.message.is_empty(), "{refused:?}");
        assert!(!refused.to_string().contains('\u{1b}'), "{refused:?}");
    }
}

#[test]
fn the_rule_that_is_mutilated_below_is_right() {
    let loaded = RuleSet::load([RuleFile { path: "whole.yml".to_owned(), text: WHOLE.to_owned() }]);
    assert_eq!(loaded.refused, []);
    assert_eq!(loaded.rules.correlations().len(), 2);
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in any::<String>()) {
        load(&text);
        prop_assert!(Placeholders::parse("p.yml", &text).is_ok() || !text.is_empty());
    }

    #[test]
    fn a_mutilated_rule_is_read_or_refused(
        at in 0..WHOLE.len(),
        cut in 0..40_usize,
        insert in "[a-z|*?:{}\\[\\]\\\\'\"&\u{1b}\n -]{0,6}",
    ) {
        let end = (at + cut).min(WHOLE.len());
        load(&format!("{}{insert}{}", WHOLE.get(..at).unwrap_or_default(), WHOLE.get(end..).unwrap_or_default()));
    }

    #[test]
    fn any_condition_is_read_or_refused(words in "((not|and|or|1 of|all of|s|s\\*|them|\\(|\\)|\\||near|count\\(\\)) ?){0,12}") {
        load(&with_condition(&format!("'{words}'")));
    }
}
