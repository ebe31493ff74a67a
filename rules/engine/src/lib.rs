//! Sigma 2.1: rules from YAML, all of them one program, matched against batches of events.
//!
//! ```text
//! RuleFile ─► nodes with their places ─► Document ─► Rule, CorrelationRule ─► RuleSet
//!   yaml/           document.rs        search.rs, item.rs, ...      load.rs, link.rs
//!                                                                      │
//!                    EventBatch ─► Matcher (one a thread) ◄─ Program ◄─┘
//!                                   run/  │                program/
//!                                         └─► Hit { row, rule }, sorted
//! ```
//!
//! [`RuleSet::load`] reads every document of every file. What is wrong is refused with path, line,
//! column and what to do; what is right is linked: filters are laid beside the rules they name,
//! correlations find their members. The result is as checked, and nothing after it can fail.
//!
//! [`Program::compile`] makes all detection rules one program. A predicate, one of some tests of
//! one field, is shared by all rules that ask it. A [`Matcher`] looks at each distinct value once,
//! remembers what it fired, and looks at a rule only for an event of its logsource on which a
//! predicate has fired that the rule cannot do without. [`Feed`] does the same for a single event
//! whose values come one after another.
//!
//! [`mod@reference`] is the plain twin: it lays a rule against an event straight off the rule, and
//! says why it fits or not. It is where the specification's open choices are made and written down;
//! differential tests hold the program to it.
//!
//! Correlations are read and linked here and run in `canh-correlate`.
//!
//! This crate is pure: no file, socket, clock, thread or global. All bounds are in `limits.rs` and
//! `run/memory.rs`.
//!
//! # Example
//!
//! ```
//! use canh_event::{BatchBuilder, Logsource, Origin, RowHeader, TimeQuality, Timestamp, Value};
//! use canh_sigma::{Matcher, Program, Routing, RuleFile, RuleSet, reference};
//!
//! let text = "
//! title: Download piped to a shell
//! logsource:
//!     product: linux
//!     category: process_creation
//! detection:
//!     selection:
//!         Image|endswith: '/bash'
//!         CommandLine|contains|all:
//!             - 'curl '
//!             - '| sh'
//!     condition: selection
//! level: high
//! ";
//! let loaded = RuleSet::load([RuleFile { path: "shell.yml".into(), text: text.into() }]);
//! assert!(loaded.refused.is_empty());
//!
//! let mut builder = BatchBuilder::new();
//! let origin = builder.origin(&Origin::unknown())?;
//! let logsource = builder.logsource(&Logsource::new("linux", &[], &["process_creation"])?)?;
//! let at = Timestamp::from_secs(1_800_000_000);
//! let header = RowHeader { time: at, time_quality: TimeQuality::Stated, received: at, origin, logsource };
//! let mut row = builder.begin_row(header, b"")?;
//! row.field("Image", Value::text("/usr/bin/bash"))?;
//! row.field("CommandLine", Value::text("bash -c 'CURL http://x | sh'"))?;
//! row.commit();
//! let batch = builder.finish();
//!
//! let program = Program::compile(&loaded.rules);
//! let mut matcher = Matcher::new(&program);
//! let mut hits = Vec::new();
//! matcher.run(&batch, Routing::ByLogsource, &mut hits);
//! let rule = loaded.rules.rule(hits[0].rule).ok_or("the rule fits")?;
//! assert_eq!(rule.title, "Download piped to a shell");
//! assert!(reference::explain(rule, batch.row(0).ok_or("one row")?).matches);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod aggregation;
mod calendar;
mod comparison;
mod condition;
mod correlation;
mod correlation_section;
mod detection;
mod diagnostic;
mod document;
mod draft;
mod encoding;
mod filter_section;
mod fold;
mod item;
mod limits;
mod link;
mod load;
mod metadata;
mod modifier;
mod number;
mod pattern;
mod placeholder;
mod program;
pub mod reference;
mod rule;
mod rule_set;
mod run;
mod search;
mod yaml;

pub use calendar::CalendarPart;
pub use comparison::Comparison;
pub use correlation::{Alias, CorrelationIndex, CorrelationKind, CorrelationRule, Member, MemberCondition, Threshold};
pub use detection::{Clause, Condition, Detection, Expression, Item, Join, Relation, Search, Target, Test};
pub use diagnostic::Diagnostic;
pub use number::Number;
pub use pattern::{Pattern, Piece, Shape};
pub use placeholder::Placeholders;
pub use program::{FieldId, Program};
pub use rule::{Level, Related, Rule, RuleIndex, RuleLogsource, Status};
pub use rule_set::{Loaded, RuleFile, RuleSet};
pub use run::{Feed, Form, Hit, Matcher, MemoryCounts, MemoryLimits, Routing, Written};
