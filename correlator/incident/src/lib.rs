//! Detections and incidents: what they are, how they live, what the API says of them.
//!
//! ```text
//! engine                          person
//!   │ Detection                     │ Action
//!   ▼                               ▼
//! (grouping, in canh-correlate)  plan_action
//!   │                               │
//!   └──────────► Change ◄───────────┘        one change of one incident, the ledger's record
//!                  │
//!                  ▼ IncidentBook::apply      a pure fold; refuses what the life cycle forbids
//!        Incident (head) + Applied            what a store has to write down
//!                  │
//!                  ▼
//!        api::IncidentSummary, IncidentDetail
//! ```
//!
//! * A [`Detection`] is a rule that was met, with its [`Evidence`] and [`Why`] it was met; while
//!   the attack goes on it grows and keeps its [`DetectionId`].
//! * An [`Incident`] is what people work on. It is moved by [`Change`]s only, by the table
//!   [`TRANSITIONS`]; every change says who, when and from where.
//! * [`api`] holds the shapes of the API's JSON.
//! * Text that comes from logs is an attacker's. It is kept as it is and escaped where it is
//!   shown: [`escape_for_terminal`] and its sisters.
//!
//! Everything written down carries a `schema_version`; fields are only ever added.
//! This crate is pure: no file, socket, clock, thread or global; time is an argument.
//!
//! # Example
//!
//! ```
//! use canh_event::Timestamp;
//! use canh_incident::{
//!     Action, ActionDetails, Actor, Change, ChangeKind, Detection, DetectionId, DetectionKind, GroupedBy, Grouping,
//!     IncidentBook, IncidentState, Severity, Why, Window, plan_action,
//! };
//!
//! let at: Timestamp = "2026-11-24T03:07:03Z".parse()?;
//! let detection = Detection {
//!     id: DetectionId::new("web-scan", at, &[]),
//!     rule_id: "web-scan".to_owned(),
//!     rule_title: "Web server scanned".to_owned(),
//!     level: Severity::Medium,
//!     kind: DetectionKind::Event,
//!     time: at,
//!     window: Window::at(at),
//!     group_key: Vec::new(),
//!     entities: Vec::new(),
//!     agency: None,
//!     agent: None,
//!     count: 1,
//!     built_on: Vec::new(),
//!     evidence: Vec::new(),
//!     why: Why::default(),
//!     tags: Vec::new(),
//! };
//!
//! let mut book = IncidentBook::new();
//! let number = book.next_number(at);
//! assert_eq!(number.to_string(), "INC-26-000001");
//! let grouping = Grouping { by: GroupedBy::Nothing, text: "nothing open fits".to_owned(), shared: Vec::new() };
//! let opened = ChangeKind::Opened { detection: Box::new(detection), grouping, related: Vec::new() };
//! book.apply(&Change::of_correlator(number, at, opened))?;
//!
//! let who = Actor::User { name: "lan".to_owned(), uid: Some(1000) };
//! let change = plan_action(&book, number, Action::Acknowledge, &ActionDetails::default(), who, at, "unix")?;
//! book.apply(&change.ok_or("a new incident can be acknowledged")?)?;
//! assert_eq!(book.get(number).map(|incident| incident.state), Some(IncidentState::Acknowledged));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod action;
pub mod api;
mod as_text;
mod base64;
mod book;
mod change;
mod detection;
mod entity;
mod escape;
mod evidence;
mod incident;
mod number;
#[cfg(test)]
mod samples;
mod schema;
mod severity;
mod state;

pub use action::{Action, ActionDetails, ActionError, plan_action};
pub use book::{Applied, AppliedDetection, ChangeError, IncidentBook, MAX_INCIDENTS_PER_ENTITY, Seat};
pub use change::{Actor, Change, ChangeKind, GroupedBy, Grouping, MAX_NAME_BYTES, MAX_NOTE_BYTES};
pub use detection::{
    Detection, DetectionId, DetectionKind, MAX_DETECTION_ID_BYTES, MAX_EVIDENCE, MAX_GROUP_VALUE_BYTES, Why, WhyMember,
    Window,
};
pub use entity::{
    ENTITY_FIELDS, Entity, EntityKind, EntityRole, MAX_DETECTION_ENTITIES, MAX_ENTITY_BYTES, add_entity,
    extract_entities,
};
pub use escape::{
    escape_bytes_for_terminal, escape_for_csv, escape_for_html, escape_for_markdown, escape_for_terminal,
};
pub use evidence::{
    Evidence, MAX_EVIDENCE_FIELDS, MAX_EVIDENCE_RAW_BYTES, MAX_EVIDENCE_VALUE_BYTES, RawRecord, RawRecordError,
    cut_text, source_text,
};
pub use incident::{HistoryEntry, Incident, MAX_INCIDENT_ENTITIES, MAX_RELATED, Stamp};
pub use number::{IncidentNumber, NumberError};
pub use schema::SCHEMA_VERSION;
pub use severity::{Severity, SeverityError};
pub use state::{IllegalTransition, IncidentState, TRANSITIONS, Verb, Verdict, WordError};
