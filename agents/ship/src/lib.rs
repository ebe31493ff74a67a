//! How an agent gets its records to a collector: keeps them on disk, sends them, and lets them go
//! only when they are acknowledged. Both agents use it; what they read is their own business.
//!
//! ```text
//!   submit(batch, cursors)              ┌─ spool: one journal record each ─┐
//!  ─────────────────────► pack ────────►│ first sequence, cursors, batch   │   dropped once
//!   returns when durable                └───────────────┬──────────────────┘   acknowledged
//!                                                       ▼                            ▲
//!                                  feed ─► conversation (TLS 1.3) ─► BATCH ... ACK ──┘
//! ```
//!
//! What it promises: a batch whose [`Shipper::submit`] has returned is on disk together with the
//! cursors of its sources, and arrives once and in order, whatever is killed or unplugged
//! meanwhile. A source that goes on from its cursor ([`Shipper::cursors`]) neither loses nor
//! repeats a record. What cannot arrive any more (a damaged or full spool, a record lost before it was
//! spooled, a batch the collector refuses for good) has its place in the stream all the same: it is
//! reported to the collector as a GAP with its reason, its sources and its times.
//!
//! The spool is bounded. While it is full, records of low priority are dropped, oldest first; then
//! `submit` waits, and with it whoever reads the source, or drops more, as [`WhenFull`] says. A
//! record is numbered when it is spooled; the numbers belong to the spool's epoch, which ends if
//! the spool turns out to have been rolled back.
//!
//! A host becomes an agent by [`enrol_command`]: its key is made on it, and a one-use token gets it a
//! certificate, which from then on is followed by another over the session before it expires.
//!
//! How much each source has produced is kept beside its cursor, and stated to the collector now and
//! then (ACCOUNT), so that it can hold its own count against it: the loss ledger.
//!
//! Everything runs on the caller's tokio runtime, a current-thread one too; files are only touched
//! on its blocking threads.

mod backoff;
mod config;
mod connect;
mod conversation;
mod dropped;
mod enrol;
mod enrol_command;
mod feed;
mod identity;
mod keys;
mod lane;
mod ledger;
mod metrics;
mod parts;
mod priority;
mod renew;
mod replay;
mod sender;
mod shared;
mod shipper;
mod spool;
mod spooled;
mod statement;
mod submission;

pub use config::{RetryPolicy, ShipConfig};
pub use connect::CredentialsError;
pub use enrol::{EnrolError, EnrolOrder, Enrolled, enrol};
pub use enrol_command::{EnrolCommandError, EnrolTexts, enrol_command};
pub use identity::IdentityFilesError;
pub use keys::{BatchLimits, SHIP_KEY_COUNT, ShipKeyTexts, batch_limits, ship_config, ship_keys};
pub use priority::{Priority, WhenFull};
pub use shipper::{NotDrained, PackedBatch, ShipError, Shipper, Submitter};
pub use spool::SpoolError;
pub use spooled::{Checkpoint, Content, Dropped, KIND_CHECKPOINT, KIND_RECORDS, Part, SpooledBatch, Tally};
pub use submission::{Loss, Submission};
