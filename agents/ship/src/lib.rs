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
//! repeats a record. What cannot arrive any more (a damaged spool, a batch the collector refuses
//! for good) is reported to the collector as a GAP and counted.
//!
//! The spool is bounded; `submit` waits while it is full, and with it whoever reads the source. A
//! record is numbered when it is spooled; the numbers belong to the spool's epoch, which ends if
//! the spool turns out to have been rolled back.
//!
//! Everything runs on the caller's tokio runtime, a current-thread one too; files are only touched
//! on its blocking threads.

mod backoff;
mod config;
mod connect;
mod conversation;
mod feed;
mod keys;
mod ledger;
mod metrics;
mod parts;
mod replay;
mod sender;
mod shared;
mod shipper;
mod spool;
mod spooled;

pub use config::{RetryPolicy, ShipConfig};
pub use connect::CredentialsError;
pub use keys::{BatchLimits, SHIP_KEY_COUNT, ShipKeyTexts, batch_limits, ship_config, ship_keys};
pub use shipper::{NotDrained, PackedBatch, ShipError, Shipper, Submitter};
pub use spool::SpoolError;
