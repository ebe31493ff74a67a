//! The store: ledger first, then the book in memory, then the view.
//!
//! ```text
//! append(record)
//!   check against the book ── refused: nothing is written anywhere
//!   ledger.append, fdatasync ── from here on it is true
//!   book.apply
//!   one sled transaction: rows + progress {ledger place, hash, journal position}
//!
//! open
//!   ledger ── torn tail cut off by the journal
//!   view   ── opens? rows whole? heads agree with seats? hash at its place is the ledger's?
//!     all yes: take its book, fold in what the ledger has after it
//!     any no:  move it to quarantine-<n>, fold the whole ledger anew
//! ```

use std::io::Write;
use std::path::{Path, PathBuf};

use canh_event::Timestamp;
use canh_incident::api::{IncidentDetail, IncidentPage, IncidentQuery, IncidentSummary};
use canh_incident::{Change, Incident, IncidentBook, IncidentNumber, SCHEMA_VERSION};

use crate::error::StoreError;
use crate::fold::{FoldError, fold};
use crate::ledger::{Ledger, payloads_of};
use crate::open::{Folded, fold_ledger, make_dir, open_view, rebuild_view, remove_dir};
use crate::opened::{Opened, RebuildReason, StoreOptions, VerifyReport, ViewState};
use crate::record::LedgerRecord;
use crate::rows::{Progress, RowKey, read_detections, read_history, read_row};
use crate::sled_view::SledView;
use crate::snapshot::{self, SnapshotFileError, StoredSnapshot};
use crate::view::{View, ViewError};

/// The incidents: ledger, book and view.
#[derive(Debug)]
pub struct Store {
    dir: PathBuf,
    options: StoreOptions,
    ledger: Ledger,
    book: IncidentBook,
    /// `None` after a write failed: the view is behind, and details cannot be read.
    view: Option<SledView>,
    progress: Progress,
    unflushed: u32,
}

impl Store {
    /// Opens the store in a directory, or makes one. The view is brought up to the ledger, or made
    /// again from it.
    ///
    /// # Errors
    /// [`StoreError`] if the ledger cannot be opened or read, or its records do not follow from
    /// each other. Nothing that is wrong with the view alone is an error.
    pub fn open(dir: &Path, options: StoreOptions) -> Result<(Self, Opened), StoreError> {
        make_dir(dir)?;
        let (ledger, recovery) = Ledger::open(&dir.join("ledger"))?;
        if let Some(torn) = &recovery.torn {
            tracing::warn!(at = torn.at.0, bytes = torn.bytes, "ledger had a torn end, cut off");
        }
        for damage in &recovery.damage {
            let (from, to) = (damage.from.0, damage.to.0);
            tracing::error!(from, to, "ledger records are lost");
        }
        let (folded, state) = open_view(dir, &options, &ledger)?;
        let Folded { book, view, progress } = folded;
        if let ViewState::Rebuilt { reason: Some(reason), quarantine, records } = &state {
            tracing::error!(%reason, ?quarantine, records, "view was not usable, made again from the ledger");
        }
        let opened = Opened { ledger: recovery, view: state, incidents: book.len(), position: progress.position };
        let dir = dir.to_path_buf();
        Ok((Self { dir, options, ledger, book, view: Some(view), progress, unflushed: 0 }, opened))
    }

    /// Appends a record. On return it is durable, and the book and the view have it.
    ///
    /// # Errors
    /// [`StoreError::Refused`], [`StoreError::PositionGoesBack`], [`StoreError::Ledger`]: nothing
    /// was stored. After a failed write of the ledger nothing is stored any more.
    /// A failed write of the view is no error: it is logged, and the view is brought up when the
    /// store is opened again.
    pub fn append(&mut self, record: &LedgerRecord) -> Result<u64, StoreError> {
        let have = self.progress.position;
        if record.position < have {
            return Err(StoreError::PositionGoesBack { got: record.position, have });
        }
        self.book.check(&record.changes)?;
        let mut places = Vec::new();
        for (part, payload) in payloads_of(record, have)? {
            let (lsn, hash) = self.ledger.append(&payload)?;
            places.push((part, Progress { lsn, hash, position: have }));
        }
        self.ledger.sync()?;
        for (part, progress) in places {
            self.progress = Progress { position: part.position, ..progress };
            self.take_in(&part);
        }
        Ok(self.progress.lsn)
    }

    /// Appends changes that have nothing to do with the journal, such as a person's.
    ///
    /// # Errors
    /// As [`Store::append`].
    pub fn append_changes(&mut self, time: Timestamp, changes: Vec<Change>) -> Result<u64, StoreError> {
        self.append(&LedgerRecord::new(self.progress.position, time, changes))
    }

    /// Folds a durable record into book and view.
    fn take_in(&mut self, record: &LedgerRecord) {
        let Some(view) = &mut self.view else {
            for change in &record.changes {
                // Checked before it was written.
                let _ = self.book.apply(change);
            }
            return;
        };
        let mut written = fold(&mut self.book, view, record, &self.progress)
            .and_then(|writes| view.write(writes).map_err(FoldError::View));
        self.unflushed += 1;
        if written.is_ok() && self.unflushed >= self.options.flush_every {
            self.unflushed = 0;
            written = view.flush().map_err(FoldError::View);
        }
        if let Err(error) = written {
            tracing::error!(%error, lsn = self.progress.lsn, "view cannot be written, it is behind the ledger now");
            self.view = None;
            self.refold();
        }
    }

    /// Makes the book again from the ledger: a fold that failed half-way may have left it short.
    fn refold(&mut self) {
        let mut book = IncidentBook::new();
        let refolded = self.ledger.for_each_after(0, |lsn, _, record| {
            let applied = record.changes.iter().try_for_each(|change| book.apply(change).map(drop));
            applied.map_err(|source| StoreError::Fold(FoldError::Refused { lsn, source }))
        });
        match refolded {
            Ok(()) => self.book = book,
            Err(error) => tracing::error!(%error, "ledger cannot be read again"),
        }
    }

    /// Returns the book: the heads of all incidents.
    pub fn book(&self) -> &IncidentBook {
        &self.book
    }

    /// Returns the highest journal position in the ledger: events up to it are dealt with.
    pub fn position(&self) -> u64 {
        self.progress.position
    }

    /// Returns the place of the last ledger record; 0 if there is none.
    pub fn ledger_lsn(&self) -> u64 {
        self.ledger.durable()
    }

    /// Returns the hash of the last ledger record, in hexadecimal: whoever notes it down can prove
    /// later that nothing before it was changed.
    pub fn ledger_head(&self) -> String {
        self.ledger.head()
    }

    /// Returns how many bytes ledger and view take on disk.
    pub fn size_bytes(&self) -> (u64, u64) {
        (self.ledger.size_bytes(), self.view.as_ref().map_or(0, SledView::size_bytes))
    }

    /// Returns a page of incidents, newest first.
    pub fn list(&self, query: &IncidentQuery) -> IncidentPage {
        let matching = |incident: &&Incident| query.matches(incident);
        let total = self.book.incidents().filter(matching).count() as u64;
        let before = query.after.map(IncidentNumber::counter);
        let mut found = self.book.newest_below(before).filter(matching);
        let incidents: Vec<_> = found.by_ref().take(query.limit).map(IncidentSummary::of).collect();
        let next = found.next().and_then(|_| incidents.last().map(|last| last.number));
        IncidentPage { schema_version: SCHEMA_VERSION, total, next, incidents }
    }

    /// Returns one incident in full.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::View`].
    pub fn detail(&self, number: IncidentNumber) -> Result<IncidentDetail, StoreError> {
        let incident = self.book.get(number).ok_or(StoreError::NotFound { number })?.clone();
        let view = self.view.as_ref().ok_or(ViewError::Behind)?;
        let detail = IncidentDetail::new(incident, read_detections(view, number)?, read_history(view, number)?);
        Ok(detail)
    }

    /// Writes every incident in full, one JSON line each, oldest first. The same ledger gives the
    /// same bytes.
    ///
    /// # Errors
    /// [`StoreError::View`], [`StoreError::Export`].
    pub fn export(&self, out: &mut impl Write) -> Result<u64, StoreError> {
        let view = self.view.as_ref().ok_or(ViewError::Behind)?;
        let mut written = 0;
        for incident in self.book.incidents() {
            let line = export_line(view, incident)?;
            out.write_all(line.as_bytes()).map_err(StoreError::Export)?;
            written += 1;
        }
        Ok(written)
    }

    /// Walks the ledger's chain, makes the view again beside the present one and compares them
    /// incident by incident.
    ///
    /// # Errors
    /// [`StoreError`] if the ledger cannot be read. What does not agree is in the report.
    pub fn verify(&self) -> Result<VerifyReport, StoreError> {
        let ledger = self.ledger.verify()?;
        let mut report = VerifyReport { ledger, incidents: 0, difference: None };
        if report.ledger.broken.is_some() {
            return Ok(report);
        }
        let path = self.dir.join("verify");
        remove_dir(&path)?;
        let compared = self.compare(&path, &mut report);
        remove_dir(&path)?;
        compared?;
        Ok(report)
    }

    fn compare(&self, path: &Path, report: &mut VerifyReport) -> Result<(), StoreError> {
        let fresh = fold_ledger(path, &self.options, &self.ledger)?;
        let Some(view) = &self.view else {
            report.difference = Some(ViewError::Behind.to_string());
            return Ok(());
        };
        if fresh.progress != self.progress || fresh.book != self.book {
            report.difference = Some("the index of incidents".to_owned());
            return Ok(());
        }
        for incident in fresh.book.incidents() {
            let expected = export_line(&fresh.view, incident)?;
            let stored: Result<Option<Incident>, _> = read_row(view, &RowKey::head(incident.number));
            let is_same = matches!(&stored, Ok(Some(head)) if head == incident)
                && export_line(view, incident).is_ok_and(|line| line == expected);
            if !is_same {
                report.difference = Some(incident.number.to_string());
                return Ok(());
            }
            report.incidents += 1;
        }
        Ok(())
    }

    /// Moves the view aside and makes it again from the ledger. Returns from how many records and
    /// where the old one is.
    ///
    /// # Errors
    /// [`StoreError`]; the store then has no view until it is opened again.
    pub fn rebuild(&mut self) -> Result<ViewState, StoreError> {
        // sled lets go of its files only when the last handle is gone.
        drop(self.view.take());
        let (folded, quarantine) = rebuild_view(&self.dir, &self.options, &self.ledger)?;
        let Folded { book, view, progress } = folded;
        let records = progress.lsn;
        (self.book, self.view, self.progress) = (book, Some(view), progress);
        Ok(ViewState::Rebuilt { reason: Some(RebuildReason::Asked), quarantine, records })
    }

    /// Hands the view to the operating system. Not needed for safety: it only shortens the next
    /// opening.
    ///
    /// # Errors
    /// [`StoreError::View`].
    pub fn flush(&mut self) -> Result<(), StoreError> {
        self.unflushed = 0;
        self.view.as_ref().map_or(Ok(()), SledView::flush).map_err(StoreError::View)
    }

    /// Writes a snapshot of the correlator's state, taken at a journal position and a ledger
    /// place; it is durable on return.
    ///
    /// # Errors
    /// [`SnapshotFileError`].
    pub fn save_snapshot(&self, position: u64, ledger: u64, bytes: &[u8]) -> Result<(), SnapshotFileError> {
        snapshot::save(&self.dir, &StoredSnapshot { position, ledger, bytes: bytes.to_vec() })
    }

    /// Returns the last snapshot written, if there is one.
    ///
    /// # Errors
    /// [`SnapshotFileError`]; the state can then be made again from the journal.
    pub fn load_snapshot(&self) -> Result<Option<StoredSnapshot>, SnapshotFileError> {
        snapshot::load(&self.dir)
    }
}

fn export_line(view: &SledView, incident: &Incident) -> Result<String, StoreError> {
    let number = incident.number;
    let detail = IncidentDetail::new(incident.clone(), read_detections(view, number)?, read_history(view, number)?);
    let json = serde_json::to_string(&detail).map_err(|error| StoreError::Export(error.into()))?;
    Ok(json + "\n")
}

#[cfg(test)]
mod tests;
