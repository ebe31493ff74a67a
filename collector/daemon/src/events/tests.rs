use canh_event::{MAX_RECORD_BYTES, StoredBatch, Timestamp};
use proptest::prelude::*;

use super::*;

/// Stands for a parser with a bug.
pub(super) const FORMAT_THAT_PANICS: &str = "panics";

fn sender() -> Sender {
    Sender {
        agent: "web-01".parse().unwrap(),
        agency: "so-tttt".parse().unwrap(),
        stream: "log".parse().unwrap(),
        epoch: Epoch(7),
    }
}

fn batch_of(format: &str, records: &[&[u8]]) -> RecordBatch {
    let mut batch = RecordBatch::new();
    let source = Source {
        name: "/var/log/auth.log".parse().unwrap(),
        host: "web-01".into(),
        format: format.parse().unwrap(),
        utc_offset_secs: 0,
    };
    let id = batch.source(&source).unwrap();
    for record in records {
        batch.push(id, Timestamp::from_secs(1_795_489_623), record).unwrap();
    }
    batch
}

fn make(records: &RecordBatch, skip: usize) -> (Vec<StoredBatch>, Counts) {
    let mut maker = EventMaker::new();
    let mut stored = Vec::new();
    maker.make(&sender(), RecordSequence(100), records, skip, |piece| {
        let batch = StoredBatch::decode(&piece.body).unwrap();
        assert_eq!(batch.last(), piece.last);
        stored.push(batch);
    });
    (stored, maker.take_counts())
}

#[test]
fn every_row_says_where_it_comes_from_and_keeps_its_bytes() {
    let line = b"Nov 24 10:07:03 web-01 sshd[7]: Failed password for root from 10.0.0.7 port 22 ssh2";
    let (stored, counts) = make(&batch_of("auto", &[line, b"\xff no log line"]), 0);
    let [stored] = &stored[..] else { panic!("{}", stored.len()) };
    assert_eq!((stored.first, stored.last()), (RecordSequence(100), RecordSequence(101)));
    let row = stored.batch.row(0).unwrap();
    assert_eq!(row.value("SourceIp"), Some(Value::text("10.0.0.7")));
    let origin = row.origin();
    assert_eq!(origin.agent.as_ref().map(AgentId::as_str), Some("web-01"));
    assert_eq!(origin.agency.as_ref().map(AgencyId::as_str), Some("so-tttt"));
    assert_eq!(stored.batch.row(1).unwrap().raw(), b"\xff no log line");
    assert_eq!(counts.formats().map(|(_, count)| count).sum::<u64>(), 2);
}

#[test]
fn records_stored_before_are_skipped() {
    let (stored, _) = make(&batch_of("raw", &[b"a", b"b", b"c"]), 2);
    assert_eq!(stored[0].first, RecordSequence(102));
    assert_eq!(stored[0].batch.row(0).unwrap().raw(), b"c");
}

#[test]
fn a_flow_record_that_is_none_is_kept_unparsed() {
    let (stored, counts) = make(&batch_of("flow", &[b"{\"no\": \"flow\"}"]), 0);
    assert_eq!(stored[0].batch.row(0).unwrap().raw(), b"{\"no\": \"flow\"}");
    assert_eq!(counts.formats().collect::<Vec<_>>(), [(UNPARSED, 1)]);
}

#[test]
fn a_batch_with_too_many_fields_becomes_several_and_no_field_is_lost() {
    let lines: Vec<String> = (0..40).map(|line| object_with_fields(line, 60)).collect();
    let records: Vec<&[u8]> = lines.iter().map(String::as_bytes).collect();
    let (stored, counts) = make(&batch_of("json", &records), 0);
    assert!(stored.len() > 1);
    let mut next = 100;
    for batch in &stored {
        assert_eq!(batch.first.0, next);
        next = batch.last().0 + 1;
        for row in batch.batch.rows() {
            assert_eq!(row.fields().count(), 60);
        }
    }
    assert_eq!(next, 140);
    assert_eq!(counts.formats().collect::<Vec<_>>(), [("json", 40)]);
}

#[test]
fn a_parser_that_panics_costs_fields_and_no_record() {
    let mut batch = batch_of("auto", &[b"before"]);
    let mut source = batch.get(0).unwrap().source.clone();
    source.format = FORMAT_THAT_PANICS.parse().unwrap();
    let id = batch.source(&source).unwrap();
    batch.push(id, Timestamp::EPOCH, b"the line that does it").unwrap();
    let (stored, counts) = make(&batch, 0);
    let rows: Vec<&[u8]> = stored.iter().flat_map(|stored| stored.batch.rows().map(|row| row.raw())).collect();
    assert_eq!(rows, [b"before".as_slice(), b"the line that does it"]);
    assert_eq!(counts.formats().collect::<Vec<_>>(), [(PARSER_FAILED, 2)]);
}

fn object_with_fields(line: usize, count: usize) -> String {
    let fields: Vec<String> = (0..count).map(|field| format!("\"field_{line}_{field}\":{field}")).collect();
    format!("{{{}}}", fields.join(","))
}

#[test]
fn eight_records_of_a_megabyte_are_journal_records_each() {
    let long = vec![b'x'; MAX_RECORD_BYTES];
    let records: Vec<&[u8]> = (0..7).map(|_| long.as_slice()).collect();
    let (stored, _) = make(&batch_of("auto", &records), 0);
    assert_eq!(stored.iter().map(|batch| batch.batch.len()).sum::<usize>(), 7);
    assert!(stored.iter().all(|batch| batch.batch.raw_bytes() <= PIECE_RAW_BYTES));
}

proptest! {
    #[test]
    fn one_record_is_one_row_whatever_it_is(
        records in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..120), 1..30),
        format in proptest::sample::select(vec!["auto", "syslog", "json", "access", "flow", "raw", "unheard-of"]),
        skip in 0..30_usize,
    ) {
        let slices: Vec<&[u8]> = records.iter().map(Vec::as_slice).collect();
        let (stored, counts) = make(&batch_of(format, &slices), skip);
        let rows: Vec<Vec<u8>> =
            stored.iter().flat_map(|batch| batch.batch.rows().map(|row| row.raw().to_vec()).collect::<Vec<_>>()).collect();
        let expected = records.get(skip..).unwrap_or_default();
        prop_assert_eq!(&rows[..], expected);
        prop_assert_eq!(counts.formats().map(|(_, count)| count).sum::<u64>(), expected.len() as u64);
    }
}
