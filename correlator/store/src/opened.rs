//! How a store is to be run, and what it found when it was opened or checked.

use std::path::PathBuf;
use std::time::Duration;

use canh_journal::{ChainReport, Recovery};

use crate::fold::FoldError;
use crate::view::ViewError;

/// How the store is to be run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreOptions {
    /// Memory for sled's cache.
    pub cache_bytes: u64,
    /// How long sled may take to open before it is given up.
    pub open_deadline: Duration,
    /// After how many records the view is handed to the operating system; what a crash takes from
    /// it is folded in again from the ledger.
    pub flush_every: u32,
}

/// What was found when the store was opened.
#[derive(Debug)]
pub struct Opened {
    /// What opening the ledger found: a torn tail, damage.
    pub ledger: Recovery,
    /// What became of the view.
    pub view: ViewState,
    /// How many incidents there are.
    pub incidents: usize,
    /// The highest journal position in the ledger.
    pub position: u64,
}

/// What became of the view when the store was opened.
#[derive(Debug)]
pub enum ViewState {
    /// It was as the ledger says.
    Current,
    /// It was behind and has taken in so many records.
    CaughtUp {
        /// How many.
        records: u64,
    },
    /// It was made from the ledger.
    Rebuilt {
        /// Why; `None` if there was no view.
        reason: Option<RebuildReason>,
        /// Where the old one was moved.
        quarantine: Option<PathBuf>,
        /// From how many records.
        records: u64,
    },
}

/// Why a view was made again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RebuildReason {
    /// It cannot be read.
    #[error(transparent)]
    Damaged(ViewError),
    /// It is of a ledger that has more records, or other ones.
    #[error("the view is at record {view}, which is not in the ledger of {ledger} records")]
    NotOfThisLedger {
        /// The view's place.
        view: u64,
        /// The ledger's last record.
        ledger: u64,
    },
    /// The records after its place do not follow from it.
    #[error(transparent)]
    DoesNotFollow(FoldError),
    /// Somebody asked for it.
    #[error("it was asked for")]
    Asked,
}

/// What `Store::verify` found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifyReport {
    /// The walk along the chain.
    pub ledger: ChainReport,
    /// How many incidents were compared.
    pub incidents: u64,
    /// The first incident the view tells otherwise than the ledger, or the fault met while
    /// comparing; `None` if they agree.
    pub difference: Option<String>,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self { cache_bytes: 16 << 20, open_deadline: Duration::from_secs(60), flush_every: 256 }
    }
}

impl VerifyReport {
    /// Returns whether ledger and view are whole and agree.
    pub fn is_sound(&self) -> bool {
        self.ledger.broken.is_none() && self.difference.is_none()
    }
}
