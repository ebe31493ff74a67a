//! What a store can fail at.

use std::io;
use std::path::PathBuf;

use canh_incident::{ChangeError, IncidentNumber};

use crate::fold::FoldError;
use crate::ledger::LedgerError;
use crate::view::ViewError;

/// A store that cannot do what it is asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// A directory cannot be made or moved.
    #[error("cannot {doing} {}", path.display())]
    Dir {
        /// What was being done.
        doing: &'static str,
        /// To which directory.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// The ledger failed: nothing was stored.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// A change is not allowed: nothing was stored.
    #[error("the change is refused")]
    Refused(#[from] ChangeError),
    /// The record's journal position is before the one of the last record: nothing was stored.
    #[error("journal position {got} is before {have}")]
    PositionGoesBack {
        /// The record's.
        got: u64,
        /// The ledger's.
        have: u64,
    },
    /// The view failed. What was appended is safe in the ledger.
    #[error(transparent)]
    View(#[from] ViewError),
    /// The ledger's records do not follow from each other.
    #[error(transparent)]
    Fold(#[from] FoldError),
    /// There is no such incident.
    #[error("there is no incident {number}")]
    NotFound {
        /// The number.
        number: IncidentNumber,
    },
    /// What was asked for cannot be written out.
    #[error("cannot write the export")]
    Export(#[source] io::Error),
}
