//! Records into events: what an agent read becomes what a rule can look at.
//!
//! Comes in: a batch of records and where it stands in its stream. Goes out: journal records, each
//! the encoding of a `StoredBatch`, in order, one row a record, none left out. A batch that has too
//! many fields or values for one event batch becomes several; a record that a parser cannot take,
//! or that breaks it, is kept with its raw bytes.

use std::panic::{AssertUnwindSafe, catch_unwind};

use canh_event::{
    AgencyId, AgentId, BatchBuilder, BuildError, Epoch, Logsource, LogsourceId, Origin, OriginId, RECORD_CUT_FIELD,
    Record, RecordBatch, RecordSequence, RowHeader, Source, StoredHead, StreamName, TimeQuality, Value,
};
use canh_flow::FlowRecord;
use canh_journal::MAX_BODY_BYTES;
use canh_parse::Parser;

/// Raw bytes after which an event batch is closed: with its fields it then is far below the longest
/// journal record, and a matcher gets work in even portions.
const PIECE_RAW_BYTES: usize = 2 << 20;

/// Room that a journal record may be given beyond twice its raw bytes.
const LEAST_ROOM: usize = 16 << 10;

/// The format whose records are flow records.
const FLOW: &str = "flow";
/// What a record is counted under that no parser could take.
const UNPARSED: &str = "unparsed";
/// What a record is counted under whose fields do not fit.
const TOO_LARGE: &str = "too_large";
/// What a record is counted under that broke its parser: a bug of ours.
const PARSER_FAILED: &str = "parser_failed";

/// Whose records they are.
#[derive(Clone, Debug)]
pub(crate) struct Sender {
    pub(crate) agent: AgentId,
    pub(crate) agency: AgencyId,
    pub(crate) stream: StreamName,
    pub(crate) epoch: Epoch,
}

/// One journal record.
#[derive(Debug)]
pub(crate) struct Piece {
    /// The sequence of its last row.
    pub(crate) last: RecordSequence,
    /// The encoded `StoredBatch`.
    pub(crate) body: Vec<u8>,
}

/// How many records each parser claimed.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    formats: Vec<(&'static str, u64)>,
    /// Records their agent had cut.
    pub(crate) cut: u64,
}

/// Makes events; keeps parser and builder from one batch to the next.
#[derive(Debug, Default)]
pub(crate) struct EventMaker {
    parser: Parser,
    builder: BatchBuilder,
    counts: Counts,
    /// How long the last journal record was.
    body_bytes: usize,
}

/// The rows to be filled next.
#[derive(Clone, Copy, Debug)]
struct Portion {
    from: usize,
    most_rows: usize,
    /// Whether fields are looked for, or raw bytes are all that is kept.
    is_parsed: bool,
}

impl Counts {
    fn add(&mut self, format: &'static str) {
        match self.formats.iter_mut().find(|(known, _)| *known == format) {
            Some((_, count)) => *count += 1,
            None => self.formats.push((format, 1)),
        }
    }

    /// Returns the counts by format.
    pub(crate) fn formats(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.formats.iter().copied()
    }
}

impl EventMaker {
    /// Returns a maker.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Returns what was counted since the last call.
    pub(crate) fn take_counts(&mut self) -> Counts {
        std::mem::take(&mut self.counts)
    }

    /// Gives back the memory that the batches so far have needed.
    pub(crate) fn give_back(&mut self) {
        (self.builder, self.body_bytes) = (BatchBuilder::new(), 0);
    }

    /// Makes journal records of the records from `skip` on; the first record of the batch has the
    /// sequence `first`.
    pub(crate) fn make(
        &mut self,
        sender: &Sender,
        first: RecordSequence,
        records: &RecordBatch,
        skip: usize,
        mut piece: impl FnMut(Piece),
    ) {
        let mut portion = Portion { from: skip, most_rows: usize::MAX, is_parsed: true };
        while portion.from < records.len() {
            let counts = std::mem::take(&mut self.counts);
            self.fill_safely(sender, records, portion);
            let rows = self.builder.len();
            let filled = std::mem::replace(&mut self.counts, counts);
            let at = RecordSequence(first.0.saturating_add(portion.from as u64));
            let head = StoredHead { agent: &sender.agent, stream: &sender.stream, epoch: sender.epoch, first: at };
            let batch = self.builder.batch();
            // The last one's length and some more, for a stream's batches are much alike; but not what a
            // long one took for a short one.
            let likely = self.body_bytes + self.body_bytes / 8;
            let mut body = Vec::with_capacity(likely.min(2 * batch.raw_bytes() + LEAST_ROOM));
            head.encode(batch, &mut body);
            self.body_bytes = body.len();
            if body.len() > MAX_BODY_BYTES {
                portion.most_rows = rows / 2;
                portion.is_parsed = rows > 1;
                continue;
            }
            self.counts.merge(&filled);
            let last = RecordSequence(at.0.saturating_add(rows as u64).saturating_sub(1));
            piece(Piece { last, body });
            portion = Portion { from: portion.from + rows, most_rows: usize::MAX, is_parsed: true };
        }
    }

    /// Fills one event batch; a parser that panics costs its batch the fields, not the records.
    fn fill_safely(&mut self, sender: &Sender, records: &RecordBatch, portion: Portion) {
        match catch_unwind(AssertUnwindSafe(|| self.fill(sender, records, portion))) {
            Ok(()) => {}
            Err(_) => {
                tracing::error!(agent = %sender.agent, "a parser failed, its records are kept without fields");
                *self = Self::new();
                self.fill(sender, records, Portion { is_parsed: false, ..portion });
            }
        }
    }

    fn fill(&mut self, sender: &Sender, records: &RecordBatch, portion: Portion) {
        self.builder.clear();
        let mut origins = Origins { sender, last: None };
        let mut raw_bytes = 0;
        let last = portion.from.saturating_add(portion.most_rows.max(1)).min(records.len());
        for index in portion.from..last {
            let Some(record) = records.get(index) else { return };
            raw_bytes += record.bytes.len();
            if raw_bytes > PIECE_RAW_BYTES && !self.builder.is_empty() {
                return;
            }
            let Ok(header) = header_of(&mut self.builder, &mut origins, &record) else { return };
            if self.add(header, &record, portion.is_parsed).is_err() {
                return;
            }
            self.counts.cut += u64::from(record.is_cut);
        }
    }

    /// Adds a row.
    ///
    /// # Errors
    /// The batch is full and has no trace of the record, which goes into the next one.
    fn add(&mut self, header: RowHeader, record: &Record<'_>, is_parsed: bool) -> Result<(), BuildError> {
        #[cfg(test)]
        assert!(!is_parsed || record.source.format.as_str() != tests::FORMAT_THAT_PANICS, "a parser's bug");
        let is_first = self.builder.is_empty();
        let mut row = self.builder.begin_row(header, record.bytes)?;
        let (format, refused) = if !is_parsed {
            let text = String::from_utf8_lossy(record.bytes);
            // Without room for it the raw bytes are still there.
            let _ = row.field("Message", Value::text(&text));
            (PARSER_FAILED, None)
        } else if record.source.format.as_str() == FLOW {
            fill_flow(record, &mut row)
        } else {
            let parsed = self.parser.parse(record.source.format.as_str(), record, &mut row);
            (parsed.format, parsed.refused)
        };
        if let Some(error @ BuildError::Full { .. }) = refused
            && !is_first
        {
            return Err(error);
        }
        if record.is_cut {
            // Without room for it the counter still tells, and the ledger.
            let _ = row.field(RECORD_CUT_FIELD, Value::bool(true));
        }
        row.commit();
        self.counts.add(format);
        Ok(())
    }
}

impl Counts {
    fn merge(&mut self, other: &Self) {
        for (format, count) in other.formats() {
            match self.formats.iter_mut().find(|(known, _)| *known == format) {
                Some((_, sum)) => *sum += count,
                None => self.formats.push((format, count)),
            }
        }
        self.cut += other.cut;
    }
}

fn fill_flow(record: &Record<'_>, row: &mut canh_event::RowBuilder<'_>) -> (&'static str, Option<BuildError>) {
    let Ok(flow) = FlowRecord::from_json(record.bytes) else {
        let text = String::from_utf8_lossy(record.bytes);
        // Without room for it the raw bytes are still there.
        let _ = row.field("Message", Value::text(&text));
        return (UNPARSED, None);
    };
    match flow.fill(row) {
        Ok(()) => (FLOW, None),
        Err(error) => {
            row.clear_fields();
            (TOO_LARGE, Some(error))
        }
    }
}

/// The origin of the last record: nearly always that of the next one.
struct Origins<'a> {
    sender: &'a Sender,
    last: Option<(&'a Source, OriginId, LogsourceId)>,
}

fn header_of<'a>(
    builder: &mut BatchBuilder,
    origins: &mut Origins<'a>,
    record: &Record<'a>,
) -> Result<RowHeader, BuildError> {
    let (origin, logsource) = match origins.last {
        Some((source, origin, logsource)) if std::ptr::eq(source, record.source) => (origin, logsource),
        _ => {
            let origin = builder.origin(&Origin {
                agent: Some(origins.sender.agent.clone()),
                agency: Some(origins.sender.agency.clone()),
                host: record.source.host.clone(),
                source: Some(record.source.name.clone()),
            })?;
            let logsource = builder.logsource(&Logsource::unknown())?;
            origins.last = Some((record.source, origin, logsource));
            (origin, logsource)
        }
    };
    let (time, received) = (record.received, record.received);
    Ok(RowHeader { time, time_quality: TimeQuality::Received, received, origin, logsource })
}

#[cfg(test)]
mod tests;
