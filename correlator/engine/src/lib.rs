//! Correlation: hits → detections → incidents, a deterministic fold over the journal.
//!
//! ```text
//! EventBatch + hits                                 IncidentBook
//!      │                                                 │
//!      ▼                                                 ▼
//! Correlator::observe ──► Detection, and again as it ──► Grouper::decide ──► Change (open, grow)
//!      │                  grows, with the same id             │              and why
//!      │                                                      └► Known: nothing to write
//!      ▼
//! snapshot / restore
//! ```
//!
//! * [`Correlator`] runs the correlations of a rule set: event_count, value_count, temporal,
//!   temporal_ordered, correlations of correlations, over sliding windows in event time. Each
//!   source has a watermark of its own; what is later than the lateness allows is counted and not
//!   correlated. Detection rules that belong to no correlation give detections by themselves;
//!   their repetitions about the same host, account and address are one detection that grows.
//! * A rule that is met is said at the crossing, and again while it goes on, with rising counts
//!   and the same id: a long attack is one detection, and so one incident.
//! * [`Grouper`] decides which incident a detection belongs to, with a guard against merging what
//!   has nothing to do with each other; every decision says why.
//! * Memory is bounded for each rule and in all ([`Limits`]); what is dropped is counted.
//!
//! The same events give the same detections for any batch borders, and a correlator restored from
//! a snapshot goes on as if it had never stopped (promise P9).
//!
//! This crate is pure: no file, socket, clock, thread or global; time comes with the events.
//!
//! # Example
//!
//! ```
//! use canh_correlate::{Correlator, Decision, Grouper, Limits};
//! use canh_event::{BatchBuilder, Logsource, Origin, RowHeader, TimeQuality, Timestamp, Value};
//! use canh_incident::IncidentBook;
//! use canh_sigma::{Hit, RuleFile, RuleIndex, RuleSet};
//!
//! let text = "
//! title: Password refused
//! name: refused
//! logsource: { product: linux, service: sshd }
//! detection: { selection: { EventOutcome: failure }, condition: selection }
//! ---
//! title: Password guessing
//! name: guessing
//! level: high
//! correlation:
//!   type: event_count
//!   rules: [refused]
//!   group-by: [SourceIp]
//!   timespan: 1m
//!   condition: { gte: 3 }
//! ";
//! let loaded = RuleSet::load([RuleFile { path: "guessing.yml".to_owned(), text: text.to_owned() }]);
//! let mut correlator = Correlator::new(&loaded.rules, Limits::default());
//!
//! let (mut builder, mut hits) = (BatchBuilder::new(), Vec::new());
//! let (origin, logsource) = (builder.origin(&Origin::unknown())?, builder.logsource(&Logsource::unknown())?);
//! for row in 0..3_u16 {
//!     let time = Timestamp::from_secs(1_800_000_000 + i64::from(row));
//!     let header = RowHeader { time, time_quality: TimeQuality::Stated, received: time, origin, logsource };
//!     let mut event = builder.begin_row(header, b"Failed password for lan")?;
//!     event.field("SourceIp", Value::text("203.0.113.7"))?;
//!     event.commit();
//!     hits.push(Hit { row, rule: RuleIndex(0) });
//! }
//!
//! let mut detections = Vec::new();
//! correlator.observe(&builder.finish(), 1, &hits, &mut detections);
//! assert_eq!(detections[0].count, 3);
//!
//! let mut book = IncidentBook::new();
//! let grouper = Grouper::default();
//! let Decision::Change(change) = grouper.decide(&book, &detections[0]) else { return Ok(()) };
//! book.apply(&change)?;
//! assert_eq!(change.number.to_string(), "INC-27-000001");
//! assert_eq!(grouper.decide(&book, &detections[0]), Decision::Known);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod bank;
mod clock;
mod compile;
mod correlator;
mod counters;
mod decide;
mod episode;
mod groups;
mod limits;
mod machine;
mod nanos;
mod plan;
mod report;
mod run;
mod shelf;
mod siphash;
mod snapshot;
mod state;
#[cfg(test)]
mod testing;
mod view;
mod window;

pub use correlator::Correlator;
pub use counters::{Counters, RuleCounters};
pub use decide::{Decision, Grouper};
pub use limits::Limits;
pub use plan::UnarmedRule;
pub use snapshot::SnapshotError;
