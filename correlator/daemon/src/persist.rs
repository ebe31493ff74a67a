//! The one owner of the store. All who touch incidents ask it, one after the other, so the order
//! of the ledger is what happened.
//!
//! ```text
//! decide ─ Record ───► group against the book ─► one ledger record ─┐
//!          Snapshot ─► saved: the ledger has all it rests on        ├─► durable, then book and view
//! api ──── Act ──────► plan against the book ──► one ledger record ─┘
//!          List, Show ─► answered from book and view
//! ```
//!
//! What was found up to the ledger's position is not written again: a replay only brings the
//! correlator's state back. A ledger that cannot be written ends the daemon; the next start reads
//! on from what is durable.

use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use canh_correlate::{Decision, Grouper};
use canh_event::Timestamp;
use canh_incident::api::{ActionOutcome, ActionRequest, ActionResult, IncidentDetail, OutcomeKind};
use canh_incident::{Actor, Change, ChangeError, ChangeKind, Detection, IncidentBook, IncidentNumber, plan_action};
use canh_store::{LedgerRecord, Store, StoreError};
use tokio::sync::mpsc;

use crate::census::Census;
use crate::command::{Finding, Request, Shown, Wanted};
use crate::metrics::Metrics;
use crate::passage::{Progress, gauge, get, set};

/// From where a person's change comes: the API has one door.
const FROM: &str = "unix";

/// Why the owner cannot go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum PersistError {
    #[error("the owner of the store cannot wait for its commands")]
    Start(#[source] std::io::Error),
    #[error("incidents found in journal record {position} cannot be stored")]
    Found { position: u64, source: StoreError },
    #[error("the change that journal record {position} leads to does not fit the book")]
    Misfit { position: u64, source: ChangeError },
    #[error("an analyst's change cannot be stored")]
    Acted(#[source] StoreError),
}

/// The room that owns the store.
#[derive(Debug)]
pub(crate) struct Persist {
    store: Store,
    /// The store's book with the changes that are being decided on: what is found in one journal
    /// record is one ledger record, and each detection has to see what became of those before it.
    ahead: IncidentBook,
    grouper: Grouper,
    census: Census,
    metrics: Metrics,
    progress: Arc<Progress>,
}

/// What there is to do next.
enum Next {
    Finding(Finding),
    Request(Request),
}

impl Persist {
    /// Returns the owner of a store.
    pub(crate) fn new(store: Store, metrics: Metrics, progress: Arc<Progress>) -> Self {
        let ahead = store.book().clone();
        let census = Census::of(&ahead, metrics.clone(), Arc::clone(&progress));
        Self { store, ahead, grouper: Grouper::default(), census, metrics, progress }
    }

    /// Does what it is asked until nobody is left to ask.
    ///
    /// # Errors
    /// [`PersistError`]: the ledger failed. Nothing was acknowledged that is not durable.
    pub(crate) fn run(
        mut self,
        mut findings: mpsc::Receiver<Finding>,
        mut requests: mpsc::Receiver<Request>,
    ) -> Result<(), PersistError> {
        let waiting = tokio::runtime::Builder::new_current_thread().build().map_err(PersistError::Start)?;
        let mut next = || {
            waiting.block_on(async {
                // Whichever is there; if both are, chance decides, so neither starves.
                tokio::select! {
                    Some(finding) = findings.recv() => Some(Next::Finding(finding)),
                    Some(request) = requests.recv() => Some(Next::Request(request)),
                    else => None,
                }
            })
        };
        while let Some(next) = next() {
            match next {
                Next::Finding(finding) => self.take(finding)?,
                Next::Request(request) => self.answer(request)?,
            }
        }
        if let Err(error) = self.store.flush() {
            tracing::warn!(%error, "view could not be flushed, the next start brings it up from the ledger");
        }
        Ok(())
    }

    fn take(&mut self, finding: Finding) -> Result<(), PersistError> {
        match finding {
            Finding::Record { position, newest, detections } => {
                self.found(position, &detections)?;
                set(&self.progress.position, position);
                self.metrics.position.set(gauge(position));
                let lag = get(&self.progress.journal).saturating_sub(position);
                self.metrics.lag_records.set(gauge(lag));
                let behind = newest.filter(|_| lag > 0).map(|newest| now().since(newest));
                self.metrics.lag_seconds.set(behind.unwrap_or_default().as_secs_f64());
            }
            Finding::Snapshot { position, state } => self.save(position, &state),
        }
        Ok(())
    }

    /// An error of a reply says that whoever asked has gone: the answer has no taker.
    fn answer(&mut self, request: Request) -> Result<(), PersistError> {
        match request {
            Request::List { query, reply } => drop(reply.send(self.store.list(&query))),
            Request::Show { wanted, reply } => drop(reply.send(self.show(wanted))),
            Request::Act { request, actor, reply } => {
                let (result, stored) = self.act(&request, &actor);
                drop(reply.send(result));
                stored.map_err(PersistError::Acted)?;
            }
        }
        Ok(())
    }

    fn found(&mut self, position: u64, detections: &[Detection]) -> Result<(), PersistError> {
        if position <= self.store.position() {
            return Ok(());
        }
        let mut changes = Vec::new();
        for detection in detections {
            let Decision::Change(change) = self.grouper.decide(&self.ahead, detection) else { continue };
            self.ahead.apply(&change).map_err(|source| PersistError::Misfit { position, source })?;
            changes.push(*change);
        }
        if changes.is_empty() {
            return Ok(());
        }
        let record = LedgerRecord::new(position, now(), changes);
        self.append(&record).map_err(|source| PersistError::Found { position, source })
    }

    /// Makes a record durable and shows it everywhere; the changes are in `ahead` already.
    fn append(&mut self, record: &LedgerRecord) -> Result<(), StoreError> {
        let begun = Instant::now();
        self.store.append(record)?;
        self.metrics.ledger_append_seconds.observe(begun.elapsed().as_secs_f64());
        for change in &record.changes {
            self.count(change);
        }
        self.census.recount(&self.ahead, record.changes.iter().map(|change| change.number));
        Ok(())
    }

    fn count(&self, change: &Change) {
        match &change.kind {
            ChangeKind::Opened { detection, .. } => {
                self.metrics.incidents_opened.with_label_values(&[detection.level.as_str()]).inc();
                tracing::debug!(incident = %change.number, rule = ?detection.rule_id, "incident opened");
            }
            ChangeKind::Grown { .. } => self.metrics.incidents_grown.inc(),
            _ => {}
        }
    }

    /// A snapshot that cannot be saved loses nothing: the next start reads more of the journal.
    fn save(&self, position: u64, state: &[u8]) {
        let begun = Instant::now();
        match self.store.save_snapshot(position, self.store.ledger_lsn(), state) {
            Ok(()) => {
                self.metrics.snapshot_seconds.observe(begun.elapsed().as_secs_f64());
                self.metrics.snapshot_bytes.set(gauge(state.len() as u64));
            }
            Err(error) => {
                self.metrics.snapshots_failed.inc();
                tracing::error!(%error, position, "snapshot could not be saved");
            }
        }
    }

    fn show(&self, wanted: Wanted) -> Shown {
        let number = match wanted {
            Wanted::Number(number) => Some(number),
            Wanted::Counter(counter) => self.store.book().by_counter(counter).map(|incident| incident.number),
        };
        match number.map(|number| self.store.detail(number)) {
            None | Some(Err(StoreError::NotFound { .. })) => Shown::NotFound,
            Some(Ok(detail)) => Shown::Found(Box::<IncidentDetail>::new(detail)),
            Some(Err(error)) => {
                tracing::error!(%error, "incident cannot be read from the view");
                Shown::Unreadable
            }
        }
    }

    /// Does what a person asks for: all of it is one ledger record, so it is done whole or, if the
    /// ledger fails, not at all.
    fn act(&mut self, request: &ActionRequest, actor: &Actor) -> (ActionResult, Result<(), StoreError>) {
        let at = now();
        let details = request.details();
        let mut changes = Vec::new();
        let mut outcomes = Vec::new();
        for number in &request.ids {
            let planned = plan_action(&self.ahead, *number, request.action, &details, actor.clone(), at, FROM);
            outcomes.push(match planned {
                Ok(None) => self.outcome(*number, OutcomeKind::Unchanged),
                Err(error) => ActionOutcome::refused(*number, &error),
                Ok(Some(change)) => match self.ahead.apply(&change) {
                    Ok(_) => {
                        changes.push(change);
                        self.outcome(*number, OutcomeKind::Done)
                    }
                    Err(error) => {
                        tracing::error!(%error, "a planned change does not fit the book");
                        self.outcome(*number, OutcomeKind::Failed)
                    }
                },
            });
        }
        let stored = if changes.is_empty() {
            Ok(())
        } else {
            self.append(&LedgerRecord::new(self.store.position(), at, changes))
        };
        if stored.is_err() {
            for outcome in outcomes.iter_mut().filter(|outcome| outcome.outcome == OutcomeKind::Done) {
                outcome.outcome = OutcomeKind::Failed;
                outcome.message = Some("it could not be stored, the correlator's log says why".to_owned());
            }
        }
        for outcome in &outcomes {
            self.metrics.actions.with_label_values(&[word(outcome.outcome)]).inc();
        }
        (ActionResult::new(outcomes), stored)
    }

    fn outcome(&self, number: IncidentNumber, outcome: OutcomeKind) -> ActionOutcome {
        let incident = self.ahead.get(number);
        ActionOutcome {
            number,
            outcome,
            version: incident.map(|incident| incident.version),
            state: incident.map(|incident| incident.state),
            message: None,
        }
    }
}

const fn word(outcome: OutcomeKind) -> &'static str {
    match outcome {
        OutcomeKind::Done => "done",
        OutcomeKind::Unchanged => "unchanged",
        OutcomeKind::NotFound => "not_found",
        OutcomeKind::Conflict => "conflict",
        OutcomeKind::Illegal => "illegal",
        OutcomeKind::Invalid => "invalid",
        OutcomeKind::Denied => "denied",
        OutcomeKind::Failed => "failed",
    }
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_nanos(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests;
