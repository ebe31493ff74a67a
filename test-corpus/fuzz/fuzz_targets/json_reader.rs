//! JSON lines, read one after another by one reader, beside serde_json.
//!
//! Both must take the same texts, but for the bounds on depth and names that are ours, and find the
//! same values in them. The reader remembers the keys of the line before; serde_json does not.
//! Names are those of the text; what the pipeline of Windows events makes of them is not compared.

#![no_main]

use canh_event::ValueKind;
use canh_fuzz::{FlatValue, flatten};
use canh_parse::{JsonError, JsonEvents, JsonReader};
use serde::de::IgnoredAny;

/// serde_json's last digit may differ from the standard library's.
const TOLERANCE: f64 = 1e-12;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let (mut reader, mut events) = (JsonReader::new(), JsonEvents::default());
    for line in text.split('\n').take(64) {
        // `IgnoredAny` looks at the grammar only: surrogates and ranges are no matter of it.
        let is_object = line.trim_start_matches([' ', '\t', '\r']).starts_with('{');
        let is_json = is_object && serde_json::from_str::<IgnoredAny>(line).is_ok();
        let read = reader.read(line).map(|_| ());
        assert_eq!(events.read(line), read, "{line:?}");
        match read {
            Ok(()) => {
                assert!(is_json, "taken, but not by serde_json: {line:?}");
                assert_eq!(events.tokens(), reader.tokens());
                compare(&reader, line);
                let _ = (events.logsource(), events.class_id(), events.also());
            }
            Err(JsonError::TooDeep { .. } | JsonError::TooManyNames { .. }) => {}
            Err(error) => assert!(!is_json, "refused ({error}), but not by serde_json: {line:?}"),
        }
    }
});

fn compare(reader: &JsonReader, line: &str) {
    let mut buffer = String::new();
    let expected = flatten(line);
    if let Some(expected) = &expected {
        assert_eq!(reader.tokens().len(), expected.len(), "{line:?}");
    }
    for (index, token) in reader.tokens().iter().enumerate() {
        let value = token.value(line, &mut buffer);
        let Some((name, other)) = expected.as_ref().and_then(|expected| expected.get(index)) else { continue };
        assert_eq!(reader.name(token.path()), name, "{line:?}");
        let is_same = match (value.kind, other) {
            (ValueKind::Text, FlatValue::Text(text)) => value.text == text,
            (ValueKind::Number, FlatValue::Number(number)) => is_near(value.text, *number),
            (ValueKind::Bool, FlatValue::Bool(truth)) => value.text == truth.to_string(),
            (ValueKind::Null, FlatValue::Null) => value.text.is_empty(),
            _ => false,
        };
        assert!(is_same, "{name}: {value:?} is not {other:?} in {line:?}");
    }
}

fn is_near(digits: &str, number: f64) -> bool {
    let ours: f64 = digits.parse().expect("a number has the digits of one");
    (ours - number).abs() <= TOLERANCE * ours.abs().max(f64::MIN_POSITIVE / TOLERANCE)
}
