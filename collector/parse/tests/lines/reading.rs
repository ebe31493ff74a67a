//! Reads lines the way the collector does: one record, one row.

use canh_event::{BatchBuilder, EventBatch, Logsource, Origin, RecordBatch, RowHeader, Source, TimeQuality, Timestamp};
use canh_parse::{Parsed, Parser};

/// When the lines of these tests were read, unless a test says otherwise.
pub(crate) const RECEIVED: &str = "2026-11-24T04:00:00Z";

pub(crate) fn source(name: &str, format: &str, utc_offset_secs: i32) -> Source {
    Source { name: name.parse().unwrap(), host: Box::from("web-01"), format: format.parse().unwrap(), utc_offset_secs }
}

/// Parses all lines into one batch.
pub(crate) fn parse_all(source: &Source, received: &str, lines: &[&[u8]]) -> (EventBatch, Vec<Parsed>) {
    let received: Timestamp = received.parse().unwrap();
    let mut records = RecordBatch::new();
    let id = records.source(source).unwrap();
    for line in lines {
        records.push(id, received, line).unwrap();
    }
    let mut parser = Parser::new();
    let mut builder = BatchBuilder::new();
    let origin = builder.origin(&Origin::unknown()).unwrap();
    let logsource = builder.logsource(&Logsource::unknown()).unwrap();
    let mut parsed = Vec::new();
    for record in records.iter() {
        let (time, time_quality) = (record.received, TimeQuality::Received);
        let header = RowHeader { time, time_quality, received: time, origin, logsource };
        let mut row = builder.begin_row(header, record.bytes).unwrap();
        parsed.push(parser.parse(record.source.format.as_str(), &record, &mut row));
        row.commit();
    }
    (builder.finish(), parsed)
}

/// Parses one line of an `auto` source in Hanoi.
pub(crate) fn parse_one(line: &[u8]) -> (EventBatch, Parsed) {
    let (batch, mut parsed) = parse_all(&source("/var/log/x", "auto", 25_200), RECEIVED, &[line]);
    (batch, parsed.remove(0))
}
