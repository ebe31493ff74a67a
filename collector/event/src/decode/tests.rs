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
    assert_eq!(text, "an event batch has version 9, this release reads 1");
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
