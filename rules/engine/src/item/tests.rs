//! One case a modifier, in the words of the Sigma modifiers appendix 2.1.

use super::*;
use crate::yaml::read_documents;

fn read_item(text: &str) -> Result<Item, Fault> {
    let documents = read_documents(text).unwrap();
    let map = documents[0].as_map("search").unwrap();
    let mut placeholders = Placeholders::new();
    placeholders.insert("Servers", vec!["srv*".to_owned(), "dc1".to_owned()]);
    let (key, value) = &map.entries[0];
    read(key, value, &mut Checking { placeholders: &placeholders, warnings: Vec::new() })
}

fn tests_of(text: &str) -> Vec<String> {
    let shown = |test: &Test| match test {
        Test::Text { pattern, cased } => format!("{}{pattern}", if *cased { "=" } else { "" }),
        Test::Equal(number) => format!("{}", number.as_f64()),
        Test::Compare(comparison, number) => format!("{}{}", comparison.sign(), number.as_f64()),
        Test::Regex(expression) => format!("/{}/", expression.regex.as_str()),
        Test::Network(network) => network.to_string(),
        Test::Calendar(part, comparison, number) => format!("{part:?}{}{}", comparison.sign(), number.as_f64()),
        Test::Null => "null".to_owned(),
        Test::Exists(there) => format!("exists {there}"),
        Test::OneOf(variants) => format!("{} variants", variants.len()),
        Test::Reference { field, relation, cased } => format!("{relation:?} {field} {cased}"),
    };
    read_item(text).unwrap().tests.iter().map(shown).collect()
}

#[test]
fn a_plain_value_is_folded_text_a_number_or_nothing() {
    assert_eq!(tests_of("A: 'Cmd*.EXE'"), ["cmd*.exe"]);
    assert_eq!(tests_of("A: [4104, '4104', null, '', true]"), ["4104", "4104", "null", "", "true"]);
    assert!(matches!(read_item("A: 4104").unwrap().tests[0], Test::Equal(_)));
    assert!(matches!(read_item("A: '4104'").unwrap().tests[0], Test::Text { .. }));
    assert!(matches!(read_item("A: 0x1410").unwrap().tests[0], Test::Text { .. }));
    assert!(matches!(read_item("A: 007").unwrap().tests[0], Test::Text { .. }));
}

#[test]
fn contains_startswith_and_endswith_place_the_value() {
    assert_eq!(tests_of("A|contains: x"), ["*x*"]);
    assert_eq!(tests_of("A|startswith: x"), ["x*"]);
    assert_eq!(tests_of("A|endswith: '\\x'"), ["*\\\\x"]);
    assert_eq!(tests_of("A|contains: 4104"), ["*4104*"]);
}

#[test]
fn all_joins_by_and_and_neq_negates() {
    assert_eq!(read_item("A|contains|all: [x, y]").unwrap().join, Join::Every);
    assert!(read_item("A|neq: [x, y]").unwrap().negated);
    assert_eq!(read_item("A: [x, y]").unwrap().join, Join::Any);
}

#[test]
fn cased_keeps_the_case() {
    assert_eq!(tests_of("A|cased: Cmd"), ["=Cmd"]);
    assert_eq!(tests_of("A|contains|cased: Cmd"), ["=*Cmd*"]);
}

#[test]
fn windash_writes_every_dash() {
    assert_eq!(tests_of("A|contains|windash: ' -f'").len(), 5);
    assert_eq!(tests_of("A|windash: '-f* /s'")[..2], ["-f* -s", "-f* /s"]);
}

#[test]
fn all_over_variants_needs_one_of_each() {
    assert_eq!(tests_of("A|contains|all|windash: [' -a', ' -b']"), ["5 variants", "5 variants"]);
}

#[test]
fn encodings_are_applied_in_order() {
    assert_eq!(tests_of("A|base64: foo"), ["zm9v"]);
    assert_eq!(tests_of("A|base64|cased: foo"), ["=Zm9v"]);
    assert_eq!(tests_of("A|base64offset|contains|cased: foobar"), ["=*Zm9vYmFy*", "=*Zvb2Jhc*", "=*mb29iYX*"]);
    assert_eq!(tests_of("A|wide|base64|cased: ab"), ["=YQBiAA=="]);
    assert_eq!(tests_of("A|utf16be|cased: a"), ["=\u{0}a"]);
    assert_eq!(tests_of("A|utf16|cased: a"), ["=\u{ff}\u{fe}a\u{0}"]);
    assert!(read_item("A|base64: 'a*'").is_err());
    assert_eq!(tests_of("A|base64|cased: 'a\\*'"), ["=YSo="]);
}

#[test]
fn expressions_networks_and_numbers_are_checked_when_read() {
    assert_eq!(tests_of("A|re: 'a.b'"), ["/a.b/"]);
    assert!(matches!(&read_item("A|re|i: 'a.b'").unwrap().tests[0], Test::Regex(it) if it.regex.is_match("AxB")));
    assert!(matches!(&read_item("A|re|s: 'a.b'").unwrap().tests[0], Test::Regex(it) if it.regex.is_match("a\nb")));
    assert!(matches!(&read_item("A|re|m: '^b$'").unwrap().tests[0], Test::Regex(it) if it.regex.is_match("a\nb\nc")));
    assert_eq!(tests_of("A|cidr: [10.0.0.0/8, 'fe80::/10', 127.0.0.1]"), ["10.0.0.0/8", "fe80::/10", "127.0.0.1/32"]);
    assert_eq!(tests_of("A|gte: 10"), [">=10"]);
    assert_eq!(tests_of("A|lt: '1.5'"), ["<1.5"]);
    for wrong in
        ["A|re: '('", "A|cidr: 10.0.0.0/33", "A|gt: x", "A|exists: maybe", "A|re: '(?=a)b'", "A: []", "A: {b: 1}"]
    {
        assert!(read_item(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn parts_of_the_date_take_comparisons() {
    assert_eq!(tests_of("A|hour|gte: 22"), ["Hour>=22"]);
    assert_eq!(tests_of("A|week: 3"), ["Week=3"]);
}

#[test]
fn exists_and_fieldref_need_no_value_of_their_own() {
    assert_eq!(tests_of("A|exists: false"), ["exists false"]);
    assert_eq!(tests_of("A|fieldref: B"), ["Equal B false"]);
    assert_eq!(tests_of("A|fieldref|endswith: B"), ["End B false"]);
}

#[test]
fn expand_takes_the_values_it_is_given() {
    assert_eq!(tests_of("A|expand: '%Servers%'"), ["srv*", "dc1"]);
    assert_eq!(tests_of("A|contains|expand: 'x%Servers%'"), ["*xsrv*", "*xdc1*"]);
    assert_eq!(tests_of("A|expand: '%Nobody%'"), ["%nobody%"]);
}

#[test]
fn a_regular_expression_of_a_megabyte_is_refused() {
    let fault = read_item(&format!("A|re: '{}'", "a?".repeat(500_000))).unwrap_err();
    assert!(fault.message.contains("limit"), "{}", fault.message);
    assert!(read_item("A|re: '(a{100}){100}{100}'").is_err());
}

#[test]
fn a_modifier_that_would_be_without_effect_is_refused() {
    for text in ["'|startswith': [a]", "'|endswith': [a]", "'|neq': [a]", "A|fieldref|expand: '%x%'"] {
        assert!(read_item(text).is_err(), "{text}");
    }
    assert!(read_item("'|contains': [a]").is_ok());
}
