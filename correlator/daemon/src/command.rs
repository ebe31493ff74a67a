//! What the one owner of the store is asked to do. All who touch incidents ask it, so the order in
//! which it takes things up is the order of the ledger.
//!
//! Findings and requests come over channels of their own and are taken in turn: an analyst does not
//! wait for all that a burst has found.

use canh_event::Timestamp;
use canh_incident::api::{ActionRequest, ActionResult, IncidentDetail, IncidentPage, IncidentQuery};
use canh_incident::{Actor, Detection, IncidentNumber};
use tokio::sync::oneshot;

/// Findings that may wait. One may hold a detection for each event of a record, some megabytes.
pub(crate) const MAX_FINDINGS: usize = 2;
/// Requests that may wait; the connections are bounded too.
pub(crate) const MAX_REQUESTS: usize = 16;

/// What the correlator says, in the order of the journal.
#[derive(Debug)]
pub(crate) enum Finding {
    /// A journal record is correlated.
    Record {
        /// The record.
        position: u64,
        /// When its newest event was read at its source.
        newest: Option<Timestamp>,
        /// What was detected, in the order it was; mostly nothing.
        detections: Vec<Detection>,
    },
    /// The state is to be saved. What was found before is in the ledger by then.
    Snapshot {
        /// The last journal position in it.
        position: u64,
        /// The state.
        state: Vec<u8>,
    },
}

/// What somebody asks for, and where the answer goes.
#[derive(Debug)]
pub(crate) enum Request {
    /// List incidents.
    List {
        /// Which.
        query: IncidentQuery,
        /// Where the answer goes.
        reply: oneshot::Sender<IncidentPage>,
    },
    /// Show an incident in full.
    Show {
        /// Which.
        wanted: Wanted,
        /// Where the answer goes.
        reply: oneshot::Sender<Shown>,
    },
    /// Do what a person asks for.
    Act {
        /// What.
        request: ActionRequest,
        /// Who.
        actor: Actor,
        /// Where the answer goes.
        reply: oneshot::Sender<ActionResult>,
    },
}

/// An incident as a person names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// In full.
    Number(IncidentNumber),
    /// By its counter alone.
    Counter(u32),
}

/// What came of showing an incident.
#[derive(Debug)]
pub(crate) enum Shown {
    /// It is this.
    Found(Box<IncidentDetail>),
    /// There is none.
    NotFound,
    /// It could not be read; the reason is in the log.
    Unreadable,
}
