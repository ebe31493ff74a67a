use super::*;
use crate::json_reader::MAX_DEPTH;
use canh_event::{BatchBuilder, EventBatch, Origin, RowHeader, TimeQuality, Timestamp, Value, ValueKind};
use proptest::prelude::*;
use serde_json::Value as Tree;

fn read(text: &str) -> Option<EventBatch> {
    let received: Timestamp = "2026-11-24T04:00:00Z".parse().unwrap();
    let mut builder = BatchBuilder::new();
    let origin = builder.origin(&Origin::unknown()).unwrap();
    let logsource = builder.logsource(&Logsource::unknown()).unwrap();
    let header = RowHeader { time: received, time_quality: TimeQuality::Received, received, origin, logsource };
    let mut row = builder.begin_row(header, text.as_bytes()).unwrap();
    let context = TimeContext { received, utc_offset_secs: 25_200 };
    if !JsonLines::default().fill(text, context, &mut Fields::new(&mut row)) {
        return None;
    }
    row.commit();
    Some(builder.finish())
}

type Flat = Vec<(String, ValueKind, String)>;

fn flat(batch: &EventBatch) -> Flat {
    let fields = batch.row(0).unwrap().fields();
    let mut flat: Flat = fields.map(|(name, value)| (name.to_owned(), value.kind, value.text.to_owned())).collect();
    flat.sort();
    flat
}

/// The plain twin: a tree, then a walk.
fn flatten(path: &str, tree: &Tree, is_outermost: bool, out: &mut Flat) {
    let mut push = |kind, text: String| out.push((if path.is_empty() { "_" } else { path }.to_owned(), kind, text));
    match tree {
        Tree::Null => push(ValueKind::Null, String::new()),
        Tree::Bool(is_true) => push(ValueKind::Bool, is_true.to_string()),
        Tree::Number(number) => push(ValueKind::Number, number.to_string()),
        Tree::String(text) => push(ValueKind::Text, text.clone()),
        Tree::Array(list) if list.is_empty() => push(ValueKind::Null, String::new()),
        Tree::Array(list) => list.iter().for_each(|item| flatten(path, item, false, out)),
        Tree::Object(object) if object.is_empty() && is_outermost => {}
        Tree::Object(object) if object.is_empty() => push(ValueKind::Null, String::new()),
        Tree::Object(object) => {
            for (key, value) in object {
                let name = if is_outermost { key.clone() } else { format!("{path}.{key}") };
                flatten(&name, value, false, out);
            }
        }
    }
}

fn trees() -> impl Strategy<Value = Tree> {
    let leaf = prop_oneof![
        Just(Tree::Null),
        any::<bool>().prop_map(Tree::from),
        any::<i64>().prop_map(Tree::from),
        ".{0,6}".prop_map(Tree::from),
    ];
    let nested = leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Tree::from),
            proptest::collection::btree_map("[a-c\"\\\\é]{0,2}", inner, 0..4)
                .prop_map(|map| Tree::Object(map.into_iter().collect())),
        ]
    });
    proptest::collection::btree_map("[a-c]{0,2}", nested, 0..4).prop_map(|map| Tree::Object(map.into_iter().collect()))
}

proptest! {
    #[test]
    fn agrees_with_the_plain_reader(tree in trees(), is_pretty in any::<bool>()) {
        let text = if is_pretty { serde_json::to_string_pretty(&tree) } else { serde_json::to_string(&tree) }.unwrap();
        let mut expected = Flat::new();
        flatten("", &tree, true, &mut expected);
        expected.sort();
        prop_assert_eq!(flat(&read(&text).unwrap()), expected);
    }

    #[test]
    fn refuses_what_the_plain_reader_refuses(
        tree in trees(), at in any::<prop::sample::Index>(), with in "[\\]\\[{}\",:\\\\0-9a-eu. \n-]{0,2}",
    ) {
        let mut text = serde_json::to_string(&tree).unwrap();
        let at = (0..=at.index(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap();
        let end = text[at..].chars().next().map_or(at, |first| at + first.len_utf8());
        text.replace_range(at..end, &with);
        let plain = serde_json::from_str::<Tree>(&text);
        // Here the two differ on purpose: half a surrogate pair, and a number past what a float holds.
        let is_ours = text.contains("\\ud")
            || plain.as_ref().is_err_and(|error| error.to_string().starts_with("number out of range"));
        let is_object = plain.is_ok_and(|tree| tree.is_object());
        prop_assert!(read(&text).is_some() == is_object || is_ours, "{}", text);
    }
}

#[test]
fn nested_objects_and_lists_share_dotted_names() {
    let batch = read(r#"{"a":{"b":[1,"x",{"c":true}]},"d":[{"e":1.10},{"e":2}],"f":[],"g":{},"h":null,"":1}"#).unwrap();
    let texts = |name: &str| batch.row(0).unwrap().values(name).map(|value| value.text).collect::<Vec<_>>().join("|");
    assert_eq!((texts("a.b"), texts("a.b.c"), texts("d.e")), ("1|x".into(), "true".into(), "1.10|2".into()));
    for name in ["f", "g", "h"] {
        assert_eq!(batch.row(0).unwrap().value(name), Some(Value::NULL));
    }
    assert_eq!(texts("_"), "1");
}

#[test]
fn key_that_comes_twice_is_a_list() {
    let batch = read(r#"{"a":1,"a":2}"#).unwrap();
    assert_eq!(batch.row(0).unwrap().values("a").map(|value| value.text).collect::<Vec<_>>(), ["1", "2"]);
}

#[test]
fn nesting_is_bounded() {
    let nested = |levels: usize| format!("{{\"a\":{}1{}}}", "[".repeat(levels - 1), "]".repeat(levels - 1));
    assert!(read(&nested(MAX_DEPTH)).is_some());
    assert!(read(&nested(MAX_DEPTH + 1)).is_none());
    assert!(read(&"[".repeat(1 << 20)).is_none());
    assert!(read(&"{\"a\":".repeat(1 << 17)).is_none());
}

#[test]
fn surest_time_wins_and_nonsense_is_passed_over() {
    let time = |text| {
        let batch = read(text).unwrap();
        let row = batch.row(0).unwrap();
        (row.time().to_string(), row.time_quality())
    };
    let stated = ("2026-11-24T03:07:03Z".to_owned(), TimeQuality::Stated);
    let assumed = ("2026-11-24T03:07:03Z".to_owned(), TimeQuality::Assumed);
    assert_eq!(time(r#"{"time":1,"@timestamp":"2026-11-24T10:07:03+07:00","timestamp":2}"#), stated);
    assert_eq!(time(r#"{"@timestamp":"soon","timestamp":"2026-11-24T10:07:03 GMT","time":1795489623}"#), stated);
    assert_eq!(time(r#"{"UtcTime":"2026-11-24 03:07:03.000"}"#), assumed);
    assert_eq!(time(r#"{"EventTime":"2026-11-24 10:07:03"}"#), assumed);
    assert_eq!(time(r#"{"a":{"time":1}}"#).1, TimeQuality::Received);
}

#[test]
fn logsource_is_what_the_line_says_if_sigma_could_name_it() {
    let batch = read(r#"{"product":"windows","service":"No Such","category":"process_creation"}"#).unwrap();
    let row = batch.row(0).unwrap();
    assert_eq!(*row.logsource(), Logsource::new("windows", &[], &["process_creation"]).unwrap());
    assert_eq!(row.value("service"), Some(Value::text("No Such")));
    assert_eq!(*read(r#"{"a":1}"#).unwrap().row(0).unwrap().logsource(), Logsource::unknown());
}
