//! Log line in, event out: one file a format.
//!
//! Comes in: a [`Record`](canh_event::Record), the bytes an agent read and what is known of their
//! source. Goes out: the fields, the time and the logsource of one row of an event batch, and the
//! name of the parser that claimed the line.
//!
//! ```text
//!  record ─► format named by its source, or "auto":
//!    ├─ syslog ─► header (RFC 5424 │ RFC 3164 │ rsyslog's ISO times) ─► program ─► body
//!    │              sshd │ sudo │ su │ pam │ account (useradd, usermod, ...) │ cron │ web server │ any
//!    ├─ json   ─► flattened with dots; Windows events named and classified by a pipeline
//!    ├─ access ─► common and combined format of web servers
//!    └─ raw    ─► Message
//! ```
//!
//! # What holds for every line
//! * One record is one row, always. A line that nobody can parse keeps its raw bytes, gets its text
//!   as `Message`, and is counted as `unparsed`.
//! * Text of strangers stays text of strangers. Where an attacker chooses a part of the line (a user
//!   name, a key's name, a directory), it is split from the side he does not control; where both
//!   sides are his, the field is left out rather than guessed.
//! * Bytes that are not UTF-8 become U+FFFD in the fields; the raw record keeps them.
//! * A time without a year or zone takes both from when and where the record was read, and the row
//!   says so (`TimeQuality::Assumed`).
//! * A value the format marks as absent (`-`, an empty `rhost=`) gives no field.
//! * In steady state a line is parsed without an allocation: fields are slices of the line, and what
//!   must be unescaped goes through buffers that the parser keeps.
//!
//! # Words of `EventAction`
//! | parser | words |
//! |---|---|
//! | sshd | `login`, `login_postponed`, `login_denied`, `login_limit`, `invalid_user`, `authentication`, `connect`, `disconnect`, `logout`, `reverse_mapping`, `subsystem`, `listen` |
//! | pam | `authentication`, `invalid_user`, `session_open`, `session_close`, `password_change`, `account_lock` |
//! | sudo, su | `sudo`, `su` |
//! | account | `user_add`, `user_modify`, `user_delete`, `group_add`, `group_delete`, `group_member_add`, `group_member_remove`, `password_change` |
//! | cron | `cron_job`, `cron_job_end`, `cron_job_output`, `cron_mail`, `cron_error`, `crontab_edit`, `crontab_edit_end`, `crontab_replace`, `crontab_delete`, `crontab_list`, `crontab_reload` |
//!
//! `EventOutcome` is `success` or `failure`, or absent where the line does not say.
//!
//! # Choices that rule authors meet
//! * An address that is no IP address (sshd with `UseDNS`, old PAM) goes to `SourceHostname`, never
//!   to `SourceIp`.
//! * `RepeatCount` is set for `message repeated N times: [ ... ]` and `PAM N more authentication
//!   failures`; such a line is still one event.
//! * RFC 5424 structured data: `[ID name="value"]` is the field `sd.ID.name`; an element without
//!   parameters is `sd.ID` with no value. `MSGID` is `MessageId`.
//! * JSON: a key that comes twice is a list of both values, since a stream cannot know the last one;
//!   at most 64 levels. An object's wholly empty name is `_`.
//! * Web requests are what the client sent, percent-encoding and all: only the log's own escapes
//!   (`\"`, `\x22`) are undone.
//!
//! This crate is pure: no file, socket, clock, thread or global; time is an argument.
//!
//! # Example
//!
//! ```
//! use canh_event::{BatchBuilder, Logsource, Origin, RecordBatch, RowHeader, Source, TimeQuality, Timestamp, Value};
//! use canh_parse::Parser;
//!
//! let mut records = RecordBatch::new();
//! let source = records.source(&Source {
//!     name: "/var/log/auth.log".parse()?,
//!     host: Box::from("web-01"),
//!     format: "auto".parse()?,
//!     utc_offset_secs: 25_200,
//! })?;
//! let received: Timestamp = "2026-11-24T03:07:05Z".parse()?;
//! records.push(source, received, b"Nov 24 10:07:03 web-01 sshd[812]: Failed password for root from 10.0.0.7 port 22 ssh2")?;
//!
//! let mut builder = BatchBuilder::new();
//! let origin = builder.origin(&Origin::unknown())?;
//! let logsource = builder.logsource(&Logsource::unknown())?;
//! let mut parser = Parser::new();
//! for record in records.iter() {
//!     let (time, time_quality) = (record.received, TimeQuality::Received);
//!     let header = RowHeader { time, time_quality, received: record.received, origin, logsource };
//!     let mut row = builder.begin_row(header, record.bytes)?;
//!     let parsed = parser.parse(record.source.format.as_str(), &record, &mut row);
//!     assert_eq!(parsed.format, "sshd");
//!     row.commit();
//! }
//! let batch = builder.finish();
//! let row = batch.row(0).ok_or("one row was parsed")?;
//! assert_eq!(row.value("SourceIp"), Some(Value::text("10.0.0.7")));
//! assert_eq!(row.time().to_string(), "2026-11-24T03:07:03Z");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod access;
mod account;
mod address;
mod buffers;
mod cron;
mod evtx;
mod fields;
mod header;
mod json;
mod json_events;
mod json_paths;
mod json_reader;
mod json_text;
mod logsources;
mod pam;
mod parser;
mod pipeline;
mod priority;
mod quoted;
mod rfc3164;
mod rfc5424;
mod sshd;
mod su;
mod sudo;
mod syslog;
mod time;

pub use evtx::{
    EVTX_CHUNK_BYTES, EVTX_HEADER_BYTES, EVTX_MAGIC, EvtxChunk, EvtxError, EvtxReader, EvtxRecord, EvtxRecords,
    evtx_chunks_start,
};
pub use json_events::JsonEvents;
pub use json_paths::PathId;
pub use json_reader::{JsonError, JsonReader, JsonToken};
pub use json_text::unescape;
pub use parser::{Parsed, Parser};
pub use pipeline::{ChannelId, ClassId, EventClass, Pipeline, PipelineError};
