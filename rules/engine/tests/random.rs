//! On random rules and events the program answers as the plain twin does.
//!
//! Values and patterns are made of few letters, so that they meet; rules are made as text, so that
//! the front end takes part. Each case lays some ten rules against some forty events, in batches
//! with random borders: the 300 cases of a run are more than 100,000 pairs.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "the functions here are tests or part of one")]

use std::fmt::Write as _;

use canh_event::{BatchBuilder, EventBatch, Logsource, Origin, RowHeader, TimeQuality, Timestamp, Value, ValueKind};
use canh_sigma::{
    Form, Hit, Matcher, MemoryLimits, Program, Routing, RuleFile, RuleIndex, RuleSet, Written, reference,
};
use proptest::collection::vec;
use proptest::prelude::*;

const FIELDS: [&str; 4] = ["A", "B", "C", "D.e"];
const PRODUCTS: [&str; 3] = ["", "linux", "windows"];
const CATEGORIES: [&str; 3] = ["", "process_creation", "file_event"];

/// A key with its values, as YAML. `windash` and the encodings stand for every transforming modifier.
fn item() -> impl Strategy<Value = String> {
    let word = "[abAB\\\\*?đĐ1 ./-]{0,5}";
    let text = vec(word, 1..4).prop_map(|words| quoted(&words));
    let texts = vec(word, 2..4).prop_map(|words| quoted(&words));
    let number = prop_oneof![Just("1"), Just("11"), Just("1.5"), Just("-1"), Just("0")];
    let field = 0..FIELDS.len();
    prop_oneof![
        6 => (field.clone(), prop_oneof![Just(""), Just("|contains"), Just("|startswith"), Just("|endswith")],
              prop_oneof![4 => Just(""), 1 => Just("|cased"), 1 => Just("|neq"), 1 => Just("|windash")], text.clone())
            .prop_map(|(field, place, more, values)| format!("{}{place}{more}: {values}", FIELDS[field])),
        2 => (field.clone(), prop_oneof![Just("|contains"), Just(""), Just("|contains|windash")], texts)
            .prop_map(|(field, place, values)| format!("{}{place}|all: {values}", FIELDS[field])),
        1 => (field.clone(), number.clone()).prop_map(|(field, number)| format!("{}: {number}", FIELDS[field])),
        1 => (field.clone(), prop_oneof![Just("lt"), Just("lte"), Just("gt"), Just("gte")], number)
            .prop_map(|(field, how, number)| format!("{}|{how}: {number}", FIELDS[field])),
        1 => (field.clone(), prop_oneof![Just("a+b"), Just("(?i)ab|ba"), Just("^a.*b$"), Just("[ab]{2}1"), Just("đ")])
            .prop_map(|(field, regex)| format!("{}|re: '{regex}'", FIELDS[field])),
        1 => (field.clone(), prop_oneof![Just("null"), Just("''"), Just("[null, 'a*']"), Just("'*'"), Just("true")])
            .prop_map(|(field, value)| format!("{}: {value}", FIELDS[field])),
        1 => (field.clone(), any::<bool>()).prop_map(|(field, there)| format!("{}|exists: {there}", FIELDS[field])),
        1 => (field.clone(), 0..FIELDS.len(), prop_oneof![Just(""), Just("|startswith"), Just("|contains|neq"), Just("|cased")])
            .prop_map(|(field, other, how)| format!("{}|fieldref{how}: {}", FIELDS[field], FIELDS[other])),
        1 => (field.clone(), prop_oneof![Just("10.0.0.0/8"), Just("::/0"), Just("10.1.0.0/16")])
            .prop_map(|(field, network)| format!("{}|cidr: {network}", FIELDS[field])),
        1 => field.prop_map(|field| format!("{}|hour|gte: 12", FIELDS[field])),
        1 => text.prop_map(|values| format!("'': {values}")),
    ]
}

fn quoted(words: &[String]) -> String {
    let each: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
    format!("[{}]", each.join(", "))
}

/// A search: a map of at most three keys, or a list of maps or keywords.
fn search() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => vec(item(), 1..4).prop_map(|items| {
            let mut names = Vec::new();
            let mut text = String::new();
            for item in items {
                let name = item.split(':').next().unwrap_or_default().to_owned();
                if !names.contains(&name) {
                    write!(text, "\n      {item}").unwrap();
                    names.push(name);
                }
            }
            text
        }),
        1 => vec(item(), 1..3).prop_map(|items| items.iter().map(|item| format!("\n      - {item}")).collect()),
        1 => vec("[abđ1 ]{1,3}", 1..3).prop_map(|words| words.iter().map(|word| format!("\n      - '{word}'")).collect()),
    ]
}

fn condition() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        4 => (0..3_usize).prop_map(|search| format!("s{search}")),
        1 => Just("1 of s*".to_owned()),
        1 => Just("all of them".to_owned()),
    ];
    leaf.prop_recursive(3, 8, 3, |part| {
        prop_oneof![
            (part.clone(), part.clone()).prop_map(|(one, other)| format!("({one} and {other})")),
            (part.clone(), part.clone()).prop_map(|(one, other)| format!("({one} or {other})")),
            part.prop_map(|part| format!("not {part}")),
        ]
    })
}

fn rule() -> impl Strategy<Value = String> {
    (vec(search(), 3), condition(), 0..PRODUCTS.len(), 0..CATEGORIES.len()).prop_map(
        |(searches, condition, product, category)| {
            let mut text = format!(
                "title: t\nlogsource:\n  product: '{}'\n  category: '{}'\ndetection:\n",
                PRODUCTS[product], CATEGORIES[category]
            );
            for (index, search) in searches.iter().enumerate() {
                writeln!(text, "    s{index}:{search}").unwrap();
            }
            writeln!(text, "    condition: {condition}").unwrap();
            text
        },
    )
}

fn value() -> impl Strategy<Value = (ValueKind, String)> {
    prop_oneof![
        6 => "[abAB\\\\đĐ1 ./–-]{0,8}".prop_map(|text| (ValueKind::Text, text)),
        1 => prop_oneof![Just("1"), Just("11"), Just("1.5"), Just("1.0"), Just("-1")]
            .prop_map(|text| (ValueKind::Number, text.to_owned())),
        1 => prop_oneof![Just("10.1.2.3"), Just("::ffff:10.1.2.3"), Just("fe80::1"), Just("2024-05-01T13:00:00Z")]
            .prop_map(|text| (ValueKind::Text, text.to_owned())),
        1 => Just((ValueKind::Null, String::new())),
        1 => any::<bool>().prop_map(|is_true| (ValueKind::Bool, is_true.to_string())),
    ]
}

type Event = (usize, usize, Vec<(usize, (ValueKind, String))>);

fn event() -> impl Strategy<Value = Event> {
    (0..PRODUCTS.len(), 0..CATEGORIES.len(), vec((0..FIELDS.len(), value()), 0..6))
}

fn batch(events: &[Event]) -> EventBatch {
    let mut builder = BatchBuilder::new();
    for (product, category, fields) in events {
        let origin = builder.origin(&Origin::unknown()).unwrap();
        let logsource = Logsource::new(PRODUCTS[*product], &[], &[CATEGORIES[*category]]).unwrap();
        let logsource = builder.logsource(&logsource).unwrap();
        let time = Timestamp::EPOCH;
        let header = RowHeader { time, time_quality: TimeQuality::Received, received: time, origin, logsource };
        let mut row = builder.begin_row(header, b"").unwrap();
        for (field, (kind, text)) in fields {
            row.field(FIELDS[*field], Value { kind: *kind, text }).unwrap();
        }
        row.commit();
    }
    builder.finish()
}

fn load(texts: &[String]) -> RuleSet {
    let file = |(index, text): (usize, &String)| RuleFile {
        path: format!("{index}.yml"),
        text: format!("id: r{index}\n{text}"),
    };
    let loaded = RuleSet::load(texts.iter().enumerate().map(file));
    assert_eq!(loaded.refused, [], "{texts:?}");
    loaded.rules
}

/// Undoes the escapes of a JSON string without its quotes.
fn from_json(text: &str, out: &mut String) {
    out.push_str(&serde_json::from_str::<String>(&format!("\"{text}\"")).unwrap());
}

/// The hits of a batch whose events are fed value by value.
fn fed(program: &Program, matcher: &mut Matcher, batch: &EventBatch, routing: Routing) -> Vec<Hit> {
    let mut hits = Vec::new();
    for row in batch.rows() {
        let mut rules = Vec::new();
        let (mut text, mut places) = (String::new(), Vec::new());
        for (_, value) in row.fields() {
            let json = serde_json::to_string(value.text).unwrap();
            let start = u32::try_from(text.len() + 1).unwrap();
            text += &json;
            places.push(start..u32::try_from(text.len() - 1).unwrap());
        }
        let written = Written { text: &text, undo: from_json, logsource: row.logsource(), class: None, is_json: true };
        let mut feed = matcher.begin(written, routing);
        for ((name, value), place) in row.fields().zip(places) {
            let field = program.field(name);
            let form = match text[place.start as usize..place.end as usize].contains('\\') {
                _ if value.is_null() => Form::Nothing,
                true => Form::Escaped,
                false => Form::Plain,
            };
            if feed.wants_everything() || field.is_some_and(|field| feed.wants(field)) {
                feed.value(field, place, form);
            }
        }
        feed.finish(&mut rules);
        hits.extend(rules.into_iter().map(|rule| Hit { row: row.index(), rule }));
    }
    hits
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn program_answers_as_the_twin_does(
        texts in vec(rule(), 1..16),
        events in vec(event(), 1..80),
        border in 0..80_usize,
        values in 1..100_usize,
    ) {
        let rules = load(&texts);
        let program = Program::compile(&rules);
        // So few values that it forgets in the middle of a case.
        let mut matcher = Matcher::with_memory(&program, MemoryLimits { values, text_bytes: 8 * values });
        let (head, tail) = events.split_at(border.min(events.len()));
        for events in [head, tail, head] {
            let batch = batch(events);
            for routing in [Routing::ByLogsource, Routing::Everything] {
                let mut hits = Vec::new();
                matcher.run(&batch, routing, &mut hits);
                let mut expected = Vec::new();
                for row in batch.rows() {
                    for (index, rule) in (0..).map(RuleIndex).zip(rules.rules()) {
                        let applies = routing == Routing::Everything || rule.logsource.applies_to(row.logsource());
                        if applies && reference::matches(rule, row) {
                            expected.push(Hit { row: row.index(), rule: index });
                        }
                    }
                }
                prop_assert_eq!(&hits, &expected, "{:?}", texts);
                prop_assert_eq!(fed(&program, &mut matcher, &batch, routing), expected, "{:?}", texts);
            }
        }
    }
}
