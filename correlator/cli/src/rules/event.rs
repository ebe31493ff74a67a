//! From records to events, as a collector would understand them.
//!
//! Comes in: text and where it is from. Goes out: record batches, and for each an event batch whose
//! row i stands for record i. Bounded by what a batch takes.

use canh_event::{
    BatchBuilder, BuildError, EventBatch, Logsource, Origin, Record, RecordBatch, RowBuilder, RowHeader, Source,
    TimeQuality, Timestamp,
};
use canh_flow::FlowRecord;
use canh_parse::Parser;

use crate::exit::{Exit, Failure};

/// Events and how each was read.
#[derive(Debug)]
pub(crate) struct Understood {
    /// The events.
    pub(crate) events: EventBatch,
    /// The parser that claimed each record.
    pub(crate) formats: Vec<&'static str>,
}

/// Puts lines into batches, as one source would send them.
pub(crate) fn batches(lines: &[&str], source: &Source, received: Timestamp) -> Result<Vec<RecordBatch>, Failure> {
    let refused = |error: &canh_event::RecordBatchError| Failure::usage("the event cannot be taken").because(error);
    let mut done = Vec::new();
    let mut batch = RecordBatch::new();
    for line in lines {
        let id = batch.source(source).map_err(|error| refused(&error))?;
        if batch.push(id, received, line.as_bytes()).is_err() {
            done.push(std::mem::take(&mut batch));
            // An empty batch takes any record.
            let id = batch.source(source).map_err(|error| refused(&error))?;
            batch.push(id, received, line.as_bytes()).map_err(|error| refused(&error))?;
        }
    }
    done.push(batch);
    Ok(done)
}

/// Understands a batch of records.
pub(crate) fn understand(parser: &mut Parser, origin: &Origin, records: &RecordBatch) -> Result<Understood, Failure> {
    let refused = |error: &BuildError| Failure::new(Exit::Internal, "the event has no room").because(error);
    let mut builder = BatchBuilder::new();
    let mut formats = Vec::with_capacity(records.len());
    let origin = builder.origin(origin).map_err(|error| refused(&error))?;
    let logsource = builder.logsource(&Logsource::unknown()).map_err(|error| refused(&error))?;
    for record in records.iter() {
        let received = record.received;
        let header = RowHeader { time: received, time_quality: TimeQuality::Received, received, origin, logsource };
        let mut row = builder.begin_row(header, record.bytes).map_err(|error| refused(&error))?;
        formats.push(fill(parser, &record, &mut row)?);
        row.commit();
    }
    Ok(Understood { events: builder.finish(), formats })
}

fn fill(parser: &mut Parser, record: &Record<'_>, row: &mut RowBuilder<'_>) -> Result<&'static str, Failure> {
    if record.source.format.as_str() != "flow" {
        return Ok(parser.parse(record.source.format.as_str(), record, row).format);
    }
    let flow = FlowRecord::from_json(record.bytes)
        .map_err(|error| Failure::usage("the record is no flow record").because(&error))?;
    flow.fill(row).map_err(|error| Failure::new(Exit::Internal, "the event has no room").because(&error))?;
    Ok("flow")
}
