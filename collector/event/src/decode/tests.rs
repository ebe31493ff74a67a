use super::*;
use crate::builder::{BatchBuilder, RowHeader};
use crate::value::Value;
use proptest::prelude::*;

type Fields = Vec<(String, ValueKind, String)>;

fn build(rows: &[(i64, Vec<u8>, Fields)]) -> EventBatch {
    let mut builder = BatchBuilder::new();
    for (nanos, raw, fields) in rows {
        let origin = Origin { host: Box::from("h"), agent: "a".parse().ok(), ..Origin::unknown() };
        let header = RowHeader {
            time: Timestamp::from_nanos(*nanos),
            time_quality: TimeQuality::Assumed,
            received: Timestamp::from_nanos(nanos.wrapping_add(1)),
            origin: builder.origin(&origin).unwrap(),
            logsource: builder.logsource(&Logsource::new("linux", &["auth", "sshd"], &["x", "y"]).unwrap()).unwrap(),
        };
        let mut row = builder.begin_row(header, raw).unwrap();
        for (name, kind, text) in fields {
            row.field(name, Value { kind: *kind, text }).unwrap();
        }
        row.commit();
    }
    builder.finish()
}

fn bytes_of(batch: &EventBatch) -> Vec<u8> {
    let mut bytes = Vec::new();
    batch.encode(&mut bytes);
    bytes
}

fn kind() -> impl Strategy<Value = ValueKind> {
    prop_oneof![Just(ValueKind::Text), Just(ValueKind::Number), Just(ValueKind::Bool), Just(ValueKind::Null)]
}

fn rows() -> impl Strategy<Value = Vec<(i64, Vec<u8>, Fields)>> {
    let field = ("[a-e]{1,2}", kind(), ".{0,8}");
    let fields = proptest::collection::vec(field, 0..8);
    proptest::collection::vec((any::<i64>(), proptest::collection::vec(any::<u8>(), 0..40), fields), 0..20)
}

proptest! {
    #[test]
    fn every_batch_comes_back_as_it_was(rows in rows()) {
        let batch = build(&rows);
        prop_assert_eq!(EventBatch::decode(&bytes_of(&batch)).unwrap(), batch);
    }

    #[test]
    fn bytes_cut_or_changed_never_panic(rows in rows(), cut in any::<prop::sample::Index>(), at in any::<prop::sample::Index>(), flip in 1..=255u8) {
        let mut bytes = bytes_of(&build(&rows));
        let cut = cut.index(bytes.len());
        prop_assert!(EventBatch::decode(&bytes[..cut]).is_err());
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        if let Ok(batch) = EventBatch::decode(&bytes) {
            // What decodes must be safe to walk whole.
            for row in batch.rows() {
                let _ = (row.origin(), row.logsource(), row.raw().len(), row.fields().count());
            }
        }
    }

    #[test]
    fn noise_is_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(EventBatch::decode(&bytes).is_err());
    }
}

#[test]
fn lie_about_a_count_is_refused_before_memory_is_taken() {
    let mut bytes = bytes_of(&EventBatch::default());
    bytes[4..8].copy_from_slice(&u32::MAX.to_le_bytes());
    let refused = DecodeError::OverLimit { what: "row count", got: u64::from(u32::MAX), limit: MAX_BATCH_ROWS as u64 };
    assert_eq!(EventBatch::decode(&bytes), Err(refused));
}

#[test]
fn newer_version_is_named() {
    let mut bytes = bytes_of(&EventBatch::default());
    bytes[3] = 9;
    let text = EventBatch::decode(&bytes).unwrap_err().to_string();
    assert_eq!(text, "an event batch has version 9, this release reads 2");
}

#[test]
fn bytes_after_the_end_are_refused() {
    let mut bytes = bytes_of(&EventBatch::default());
    bytes.push(0);
    assert!(EventBatch::decode(&bytes).is_err());
}

#[test]
fn sources_alone_are_those_of_the_rows() {
    let mut builder = BatchBuilder::new();
    for source in ["/a", "/a", "/b", "", "/a"] {
        let source = source.parse().ok();
        let origin = builder.origin(&Origin { source, ..Origin::unknown() }).unwrap();
        let logsource = builder.logsource(&Logsource::unknown()).unwrap();
        let (time, received) = (Timestamp::EPOCH, Timestamp::EPOCH);
        let header = RowHeader { time, time_quality: TimeQuality::Received, received, origin, logsource };
        builder.begin_row(header, b"raw").unwrap().commit();
    }
    let mut bytes = Vec::new();
    builder.finish().encode(&mut bytes);
    let runs = EventBatch::decode_sources(&bytes).unwrap();
    let shown: Vec<_> = runs.iter().map(|(source, count)| (source.as_ref().map(SourceName::as_str), *count)).collect();
    assert_eq!(shown, [(Some("/a"), 2), (Some("/b"), 1), (None, 1), (Some("/a"), 1)]);
    // An origin of the fifth row's is the last thing that is read: whatever is cut before it is seen.
    let end_of_origins = bytes.len() - 20;
    for cut in 0..end_of_origins {
        assert!(EventBatch::decode_sources(&bytes[..cut]).is_err(), "{cut}");
    }
}
/// Rows whose fields are parts of their records, as a parser finds them.
fn build_from_records(records: &[String]) -> EventBatch {
    let rows: Vec<_> = records.iter().map(|record| (record, record.split(' ').collect::<Vec<_>>())).collect();
    let mut builder = BatchBuilder::new();
    for (record, words) in &rows {
        let header = RowHeader {
            time: Timestamp::EPOCH,
            time_quality: TimeQuality::Received,
            received: Timestamp::EPOCH,
            origin: builder.origin(&Origin::unknown()).unwrap(),
            logsource: builder.logsource(&Logsource::unknown()).unwrap(),
        };
        let mut row = builder.begin_row(header, record.as_bytes()).unwrap();
        row.field("Message", Value::text(record)).unwrap();
        for (place, word) in words.iter().enumerate() {
            row.field(["First", "Second", "Rest"][place.min(2)], Value::text(word)).unwrap();
        }
        row.field("Own", Value::text(&format!("a text that is in no record, {}", words.len()))).unwrap();
        row.commit();
    }
    builder.finish()
}

proptest! {
    #[test]
    fn values_that_stand_in_their_records_come_back_as_they_were(records in proptest::collection::vec("[a-cấ ]{0,60}", 0..20)) {
        let batch = build_from_records(&records);
        let bytes = bytes_of(&batch);
        let again = EventBatch::decode(&bytes).unwrap();
        prop_assert_eq!(bytes_of(&again), bytes);
        prop_assert_eq!(again, batch);
    }

    #[test]
    fn placed_values_cut_or_changed_never_panic(
        records in proptest::collection::vec("[a-cấ ]{0,60}", 1..10), at in any::<prop::sample::Index>(), flip in 1..=255u8,
    ) {
        let mut bytes = bytes_of(&build_from_records(&records));
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        if let Ok(batch) = EventBatch::decode(&bytes) {
            prop_assert_eq!(batch.rows().count(), batch.len());
        }
    }
}

#[test]
fn long_value_is_written_once() {
    let record = "x".repeat(1_000);
    let bytes = bytes_of(&build_from_records(std::slice::from_ref(&record)));
    assert!(bytes.len() < 1_300, "{} bytes", bytes.len());
    let batch = EventBatch::decode(&bytes).unwrap();
    assert_eq!(batch.row(0).unwrap().value("Message").unwrap().text, record);
}

#[test]
fn place_past_the_records_or_inside_a_character_is_refused() {
    for bad in [1_u32, 90, NO_PLACE - 1] {
        let mut batch = build_from_records(&[format!("{}{}", "ấ", "y".repeat(30))]);
        batch.columns[0].dictionary.places[0] = bad;
        assert!(EventBatch::decode(&bytes_of(&batch)).is_err(), "place {bad}");
    }
}

#[test]
fn batch_of_the_release_before_places_is_read() {
    // A column of version 1: one value of two bytes, one cell.
    let batch = build(&[(5, b"raw".to_vec(), vec![("Name".to_owned(), ValueKind::Text, "ab".to_owned())])]);
    let mut bytes = bytes_of(&batch);
    let mark = bytes.len() - 4 - 4 - 2 - 1;
    assert_eq!(bytes.remove(mark), 0, "the mark that version 1 has not");
    bytes[3] = 1;
    assert_eq!(EventBatch::decode(&bytes).unwrap(), batch);
}
