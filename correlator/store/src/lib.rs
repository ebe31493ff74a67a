//! The store of incidents: a ledger that is the truth, and a view that is fast.
//!
//! ```text
//! LedgerRecord { position, time, changes }
//!      │ check: what the life cycle forbids is written nowhere
//!      ▼
//! ledger/   hash-chained journal, fdatasync ──► true from here on
//!      │ fold
//!      ▼
//! book      heads of all incidents, in memory: lists, grouping
//! view/     sled: heads, detections with evidence, history; progress in the same transaction
//! ```
//!
//! * [`Store::append`] is durable before it returns. sled 0.34.7 never fsyncs, so nothing is
//!   trusted to it: a view that is missing, behind, ahead, of another ledger or corrupt is caught
//!   up or made again from the ledger when the store is opened; the old one is kept aside.
//! * [`Store::rebuild`] makes the view again and [`Store::export`] then writes the same bytes;
//!   [`Store::verify`] walks the chain and compares view and ledger incident by incident.
//! * [`Store::position`] is the highest journal position in the ledger. A correlator that replays
//!   the journal after a crash writes nothing for positions up to it, so nothing is doubled;
//!   [`Store::save_snapshot`] keeps its state beside the ledger.
//!
//! This is the only crate that says `sled`.
//!
//! # Example
//!
//! ```
//! use canh_event::Timestamp;
//! use canh_store::{LedgerRecord, Store, StoreOptions};
//!
//! let dir = tempfile::tempdir()?;
//! let now = Timestamp::from_secs(1_800_000_000);
//! let (mut store, opened) = Store::open(dir.path(), StoreOptions::default())?;
//! assert_eq!(opened.incidents, 0);
//! store.append(&LedgerRecord::new(17, now, Vec::new()))?;
//! drop(store);
//!
//! let (store, _) = Store::open(dir.path(), StoreOptions::default())?;
//! assert_eq!(store.position(), 17);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod error;
mod fault;
mod fold;
mod ledger;
mod open;
mod opened;
mod record;
mod rows;
mod sled_view;
mod snapshot;
mod store;
mod view;

pub use error::StoreError;
pub use fault::SledFault;
pub use fold::FoldError;
pub use ledger::LedgerError;
pub use opened::{Opened, RebuildReason, StoreOptions, VerifyReport, ViewState};
pub use record::LedgerRecord;
pub use snapshot::{SnapshotFileError, StoredSnapshot};
pub use store::Store;
pub use view::ViewError;
