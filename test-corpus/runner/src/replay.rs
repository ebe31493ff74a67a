//! Takes records the way the daemons take them: parse, match, correlate, group.

use anyhow::{Context, Result};
use canh_correlate::{Correlator, Decision, Grouper, Limits};
use canh_event::{BatchBuilder, EventBatch, Logsource, Origin, Record, RecordBatch, RowHeader, TimeQuality};
use canh_flow::FlowRecord;
use canh_incident::{Detection, IncidentBook};
use canh_parse::Parser;
use canh_sigma::{Hit, Matcher, Routing};

use crate::pack::LoadedPack;

/// What came of the records.
#[derive(Debug)]
pub struct Replayed {
    /// Every detection the engine said, updates included, in order.
    pub detections: Vec<Detection>,
    /// The incidents they became.
    pub incidents: IncidentBook,
    /// The parser that claimed each record.
    pub formats: Vec<&'static str>,
}

/// Replays batches of records from one origin.
///
/// # Errors
/// A record that does not fit a batch, a flow that is none, or a change that the life cycle refuses.
pub fn replay(pack: &LoadedPack, origin: &Origin, records: &[RecordBatch]) -> Result<Replayed> {
    let mut matcher = Matcher::new(&pack.program);
    let mut correlator = Correlator::new(&pack.rules, Limits::default());
    let grouper = Grouper::default();
    let mut parser = Parser::new();
    let mut replayed = Replayed { detections: Vec::new(), incidents: IncidentBook::new(), formats: Vec::new() };
    let mut hits: Vec<Hit> = Vec::new();
    for (index, batch) in records.iter().enumerate() {
        let events = understand(&mut parser, origin, batch, &mut replayed.formats)?;
        hits.clear();
        matcher.run(&events, Routing::ByLogsource, &mut hits);
        let said_before = replayed.detections.len();
        correlator.observe(&events, index as u64 + 1, &hits, &mut replayed.detections);
        for detection in replayed.detections.iter().skip(said_before) {
            if let Decision::Change(change) = grouper.decide(&replayed.incidents, detection) {
                replayed.incidents.apply(&change).context("while applying a change")?;
            }
        }
    }
    Ok(replayed)
}

fn understand(
    parser: &mut Parser,
    origin: &Origin,
    records: &RecordBatch,
    formats: &mut Vec<&'static str>,
) -> Result<EventBatch> {
    let mut builder = BatchBuilder::new();
    let origin = builder.origin(origin)?;
    let logsource = builder.logsource(&Logsource::unknown())?;
    for record in records.iter() {
        let received = record.received;
        let header = RowHeader { time: received, time_quality: TimeQuality::Received, received, origin, logsource };
        let mut row = builder.begin_row(header, record.bytes)?;
        if record.source.format.as_str() == "flow" {
            flow_of(&record)?.fill(&mut row)?;
            formats.push("flow");
        } else {
            formats.push(parser.parse(record.source.format.as_str(), &record, &mut row).format);
        }
        row.commit();
    }
    Ok(builder.finish())
}

fn flow_of(record: &Record<'_>) -> Result<FlowRecord> {
    FlowRecord::from_json(record.bytes).context("while reading a flow record")
}
