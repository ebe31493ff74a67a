//! A log line in every format: it is always one row that keeps its bytes.
//!
//! The lines of an input are records of one source, one after another, so that what a parser remembers
//! is tried too.

#![no_main]

use canh_event::{BatchBuilder, EventBatch};
use canh_fuzz::{FORMATS, parse_lines, walk_events};
use canh_parse::Parser;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let mut parser = Parser::new();
    let mut builder = BatchBuilder::new();
    let lines: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').take(64).collect();
    for format in FORMATS {
        parse_lines(&mut parser, &mut builder, format, &lines);
    }
    let batch = builder.finish();
    assert_eq!(batch.len(), lines.len() * FORMATS.len(), "one record is one row");
    for (row, line) in batch.rows().zip(lines.iter().cycle()) {
        assert_eq!(row.raw(), *line, "a row keeps its bytes");
    }
    walk_events(&batch);
    let mut encoded = Vec::new();
    batch.encode(&mut encoded);
    assert_eq!(EventBatch::decode(&encoded), Ok(batch), "what is built can be read back");
});
