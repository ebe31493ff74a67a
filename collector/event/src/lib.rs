//! The event model: what a record is as it was read, and what an event is as it was understood.
//!
//! Everything in Canh that carries log data carries one of two types of this crate:
//!
//! * [`RecordBatch`]: up to 4,096 records *as read*, bytes and nothing else, with a table of the
//!   sources they came from. Agents fill it, the wire carries it, parsers take it apart.
//! * [`EventBatch`]: up to 4,096 events *as understood*, column by column, with the raw record
//!   beside each row. The journal keeps it, the rule engine reads it, evidence is cut from it.
//!
//! ```text
//!            EventBatch (row i stands for record i of the RecordBatch)
//!  row:      0        1        2        3                  one entry a row:
//!  ┌─────────────────────────────────────────┐             time, time quality, received,
//!  │ time     received   origin   logsource  │  header     origin ─► {agent, agency, host, source}
//!  ├─────────────────────────────────────────┤             logsource ─► {product, services, categories}
//!  │ raw bytes                               │
//!  ├──────────────┬──────────────────────────┤
//!  │ "User"       │ dictionary 0:root 1:lan  │  a column: each distinct value once,
//!  │              │ cells (0,0)(1,1)(3,0)    │  and (row, code) cells sorted by row
//!  ├──────────────┼──────────────────────────┤
//!  │ "SourceIp"   │ dictionary 0:10.0.0.7    │  a list in one row is several cells
//!  │              │ cells (0,0)(1,0)         │  with the same row
//!  └──────────────┴──────────────────────────┘
//! ```
//!
//! The column holds each distinct value once, so a rule's predicate is tested on a value, never
//! twice on equal ones; cells are sparse, so a batch that mixes sshd lines with flow records pays
//! only for the fields its rows have. Why this shape and not rows, dense codes or Arrow:
//! `docs/adr/0002-event-batch.md`.
//!
//! What never became an event has its own two records, [`StoredGap`] and [`StoredAccount`]: together
//! they are the loss ledger.
//!
//! A batch is filled through [`BatchBuilder`], which holds every bound (rows, columns, values,
//! bytes), and crosses disk and wire by [`EventBatch::encode`] and [`EventBatch::decode`]; the
//! decoder trusts nothing it reads.
//!
//! This crate is pure: no file, socket, clock, thread or global; time is an argument.
//!
//! # Example
//!
//! ```
//! use canh_event::{BatchBuilder, EventBatch, Logsource, Origin, RowHeader, TimeQuality, Timestamp, Value};
//!
//! let mut builder = BatchBuilder::new();
//! let origin = builder.origin(&Origin::unknown())?;
//! let logsource = builder.logsource(&Logsource::new("linux", &["sshd"], &["authentication"])?)?;
//! let at = Timestamp::from_secs(1_800_000_000);
//! let header = RowHeader { time: at, time_quality: TimeQuality::Stated, received: at, origin, logsource };
//! let mut row = builder.begin_row(header, b"Failed password for root from 10.0.0.7")?;
//! row.field("User", Value::text("root"))?;
//! row.field("SourceIp", Value::text("10.0.0.7"))?;
//! row.commit();
//! let batch = builder.finish();
//!
//! let mut bytes = Vec::new();
//! batch.encode(&mut bytes);
//! let again = EventBatch::decode(&bytes)?;
//! let row = again.row(0).ok_or("one row was written")?;
//! assert_eq!(row.value("User"), Some(Value::text("root")));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod batch;
mod builder;
mod codec;
mod column;
mod decode;
mod dictionary;
mod encode;
mod ids;
mod limits;
mod logsource;
mod loss;
mod loss_entry;
mod record;
mod stored;
mod stored_account;
mod stored_gap;
mod time;
mod value;

pub use batch::{EventBatch, Origin, Row};
pub use builder::{BatchBuilder, BuildError, LogsourceId, OriginId, RowBuilder, RowHeader};
pub use codec::{ByteReader, ByteWriter, DecodeError};
pub use column::{Cell, Column};
pub use ids::{AgencyId, AgentId, BatchSeq, Epoch, EventRef, IdError, RecordSequence, SourceName, StreamName};
pub use limits::{
    MAX_BATCH_ROWS, MAX_COLUMNS, MAX_FIELD_NAME_BYTES, MAX_LIST_VALUES, MAX_RAW_BYTES, MAX_RECORD_BYTES,
    MAX_VALUE_BYTES, MAX_VALUES_PER_COLUMN, RECORD_CUT_FIELD,
};
pub use logsource::Logsource;
pub use loss::{
    Counts, Figure, GapReason, MAX_LEDGER_SOURCES, SourceAccount, SourceLoss, add_count, decode_losses, decode_reasons,
    encode_losses, encode_reasons, sum_counts,
};
pub use loss_entry::{LossEntry, LossRecord};
pub use record::{Record, RecordBatch, RecordBatchError, Source, SourceId, SourceTally};
pub use stored::{StoredBatch, StoredHead};
pub use stored_account::{AccountedSource, Disagreement, StoredAccount};
pub use stored_gap::StoredGap;
pub use time::{TimeQuality, Timestamp, TimestampError};
pub use value::{Value, ValueKind};
