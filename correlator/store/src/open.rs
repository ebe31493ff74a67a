//! Bringing the view up to the ledger, or making it again.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use canh_incident::IncidentBook;

use crate::error::StoreError;
use crate::fold::{FoldError, fold};
use crate::ledger::Ledger;
use crate::opened::{RebuildReason, StoreOptions, ViewState};
use crate::record::LedgerRecord;
use crate::rows::{Progress, RowKey, read_heads, read_row, read_seats};
use crate::sled_view::{SledView, quarantine};
use crate::view::{View, ViewError};

/// A view with the book it holds and how far both have come.
#[derive(Debug)]
pub(crate) struct Folded {
    pub(crate) book: IncidentBook,
    pub(crate) view: SledView,
    pub(crate) progress: Progress,
}

impl Folded {
    fn take_in(&mut self, lsn: u64, hash: String, record: &LedgerRecord) -> Result<(), FoldError> {
        let position = self.progress.position.max(record.position);
        self.progress = Progress { lsn, hash, position };
        let writes = fold(&mut self.book, &self.view, record, &self.progress)?;
        self.view.write(writes).map_err(FoldError::View)
    }
}

/// Opens the view of a ledger: as it is, caught up, or made again.
pub(crate) fn open_view(
    dir: &Path,
    options: &StoreOptions,
    ledger: &Ledger,
) -> Result<(Folded, ViewState), StoreError> {
    let path = dir.join("view");
    let is_there = path.exists();
    let reason = match use_view(&path, options, ledger) {
        Ok((folded, records)) if is_there => {
            let state = if records == 0 { ViewState::Current } else { ViewState::CaughtUp { records } };
            return Ok((folded, state));
        }
        Ok((folded, records)) => return Ok((folded, ViewState::Rebuilt { reason: None, quarantine: None, records })),
        Err(Unusable::View(reason)) => reason,
        Err(Unusable::Store(error)) => return Err(error),
    };
    let (folded, quarantine) = rebuild_view(dir, options, ledger)?;
    let records = folded.progress.lsn;
    Ok((folded, ViewState::Rebuilt { reason: Some(reason), quarantine, records }))
}

/// Moves the view aside, if there is one, and makes it from the ledger.
pub(crate) fn rebuild_view(
    dir: &Path,
    options: &StoreOptions,
    ledger: &Ledger,
) -> Result<(Folded, Option<PathBuf>), StoreError> {
    let path = dir.join("view");
    let moved =
        quarantine(&path).map_err(|source| StoreError::Dir { doing: "move aside", path: path.clone(), source })?;
    Ok((fold_ledger(&path, options, ledger)?, moved))
}

/// Makes a view in an empty directory from the whole ledger.
pub(crate) fn fold_ledger(path: &Path, options: &StoreOptions, ledger: &Ledger) -> Result<Folded, StoreError> {
    let view = SledView::open(path, options.cache_bytes, options.open_deadline)?;
    let mut folded = Folded { book: IncidentBook::new(), view, progress: Progress::default() };
    ledger.for_each_after(0, |lsn, hash, record| folded.take_in(lsn, hash, &record).map_err(StoreError::Fold))?;
    folded.view.flush()?;
    Ok(folded)
}

/// Why a view is not used: it is its own fault, or the store's.
enum Unusable {
    View(RebuildReason),
    Store(StoreError),
}

impl From<StoreError> for Unusable {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<crate::ledger::LedgerError> for Unusable {
    fn from(error: crate::ledger::LedgerError) -> Self {
        Self::Store(StoreError::Ledger(error))
    }
}

impl From<ViewError> for Unusable {
    fn from(error: ViewError) -> Self {
        Self::View(RebuildReason::Damaged(error))
    }
}

/// Opens the view, checks it and folds in what the ledger has after it. Returns how many records
/// that were.
fn use_view(path: &Path, options: &StoreOptions, ledger: &Ledger) -> Result<(Folded, u64), Unusable> {
    let view = SledView::open(path, options.cache_bytes, options.open_deadline)?;
    let progress: Progress = read_row(&view, &RowKey::progress())?.unwrap_or_default();
    let hash = ledger.hash_of(progress.lsn)?.unwrap_or_default();
    if progress.lsn > ledger.durable() || hash != progress.hash {
        let (view, ledger) = (progress.lsn, ledger.durable());
        return Err(Unusable::View(RebuildReason::NotOfThisLedger { view, ledger }));
    }
    let book = read_book(&view)?;
    let start = progress.lsn;
    let mut folded = Folded { book, view, progress };
    ledger.for_each_after(start, |lsn, hash, record| {
        folded.take_in(lsn, hash, &record).map_err(|error| Unusable::View(RebuildReason::DoesNotFollow(error)))
    })?;
    let records = folded.progress.lsn.saturating_sub(start);
    Ok((folded, records))
}

/// Reads the book out of the view and checks that heads and seats agree: sled may give back rows
/// that are whole and older than their neighbours.
fn read_book(view: &SledView) -> Result<IncidentBook, ViewError> {
    let (heads, seats) = (read_heads(view)?, read_seats(view)?);
    let mut sums = std::collections::HashMap::new();
    for (_, seat, _) in &seats {
        let (detections, events) = sums.entry(seat.number).or_insert((0_u64, 0_u64));
        *detections += 1;
        *events += seat.count;
    }
    for (place, head) in heads.iter().enumerate() {
        let (detections, events) = sums.remove(&head.number).unwrap_or_default();
        let is_next = head.number.counter() as usize == place + 1;
        if !is_next || (detections, events) != (u64::from(head.detections), head.events) {
            return Err(ViewError::Inconsistent { what: format!("{} and its detections", head.number) });
        }
    }
    match sums.keys().next() {
        Some(number) => Err(ViewError::Inconsistent { what: format!("{number} has detections and no head") }),
        None => Ok(IncidentBook::from_parts(heads, seats)),
    }
}

/// Makes a directory, and the name of it durable.
pub(crate) fn make_dir(dir: &Path) -> Result<(), StoreError> {
    let failed = |source: io::Error| StoreError::Dir { doing: "make", path: dir.to_path_buf(), source };
    fs::create_dir_all(dir).map_err(failed)?;
    if let Some(parent) = dir.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        fs::File::open(parent).and_then(|parent| parent.sync_all()).map_err(failed)?;
    }
    Ok(())
}

/// Removes a directory of our own making, if it is there.
pub(crate) fn remove_dir(dir: &Path) -> Result<(), StoreError> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(StoreError::Dir { doing: "remove", path: dir.to_path_buf(), source: error })
        }
        _ => Ok(()),
    }
}
