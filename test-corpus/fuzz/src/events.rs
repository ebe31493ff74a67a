//! Lines in, rows out, and every accessor of a batch called once.

use canh_event::{BatchBuilder, EventBatch, Logsource, Origin, RecordBatch, RowHeader, Source, TimeQuality, Timestamp};
use canh_parse::Parser;

/// Every format a source may name.
pub const FORMATS: [&str; 6] = ["auto", "syslog", "json", "access", "flow", "raw"];

/// When all fuzzed records were read: a day on which a time without a year can lie on either side of
/// the turn of the year.
const RECEIVED: Timestamp = Timestamp::from_secs(1_798_761_600);

/// Parses records of one source into the rows of a batch.
pub fn parse_lines(parser: &mut Parser, builder: &mut BatchBuilder, format: &str, lines: &[&[u8]]) {
    let mut records = RecordBatch::new();
    let source = records
        .source(&Source {
            name: "/var/log/nginx/access.log".parse().expect("a valid name"),
            host: Box::from("web-01"),
            format: format.parse().expect("a valid name"),
            utc_offset_secs: 25_200,
        })
        .expect("one source");
    for line in lines {
        records.push(source, RECEIVED, line).expect("few short lines");
    }
    let origin = builder.origin(&Origin::unknown()).expect("one origin");
    let logsource = builder.logsource(&Logsource::unknown()).expect("one logsource");
    for record in records.iter() {
        let (time, time_quality) = (record.received, TimeQuality::Received);
        let header = RowHeader { time, time_quality, received: record.received, origin, logsource };
        let mut row = builder.begin_row(header, record.bytes).expect("few rows");
        parser.parse(format, &record, &mut row);
        row.commit();
    }
}

/// Calls whatever a reader of a batch may call, and checks that rows and columns tell the same.
pub fn walk_events(batch: &EventBatch) {
    let mut values = 0;
    for row in batch.rows() {
        assert!(row.raw().len() <= batch.raw_bytes());
        let _ = (row.time().to_string(), row.time_quality(), row.received(), row.origin(), row.logsource());
        for (name, value) in row.fields() {
            assert!(row.values(name).any(|other| other == value), "a field's value is found by its name");
            values += 1;
        }
    }
    let mut cells = 0;
    for column in batch.columns() {
        assert_eq!(column.values().count(), column.value_count());
        for cell in column.cells() {
            assert!(usize::from(cell.row) < batch.len() && column.value(cell.code).is_some());
            cells += 1;
        }
    }
    assert_eq!(values, cells, "rows and columns have the same cells");
    assert_eq!(batch.rows().count(), batch.len());
    assert!(batch.row(batch.len()).is_none());
}
