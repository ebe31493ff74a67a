//! Record → book and rows: one step of the fold that makes the view.

use std::collections::BTreeMap;

use canh_incident::{Change, ChangeError, Detection, IncidentBook, IncidentNumber};
use serde::Serialize;

use crate::record::LedgerRecord;
use crate::rows::{Progress, RowKey, SeatRow, read_row, write_row};
use crate::view::{View, ViewError};

/// A record that cannot be folded in.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FoldError {
    /// The book refuses a change. In a record of the ledger that means the ledger was not written
    /// by this store.
    #[error("ledger record {lsn} does not follow from those before it")]
    Refused {
        /// The record.
        lsn: u64,
        /// Why.
        #[source]
        source: ChangeError,
    },
    /// The view failed.
    #[error(transparent)]
    View(#[from] ViewError),
}

/// Rows changed by one record, on top of the view.
struct Pending<'v, V> {
    view: &'v V,
    rows: BTreeMap<RowKey, Vec<u8>>,
}

impl<V: View> Pending<'_, V> {
    fn put(&mut self, key: RowKey, row: &impl Serialize) -> Result<(), ViewError> {
        let json = serde_json::to_vec(row).map_err(|source| ViewError::Json { key: String::new(), source })?;
        self.rows.insert(key, json);
        Ok(())
    }

    fn detection(&self, key: &RowKey) -> Result<Option<Detection>, ViewError> {
        match self.rows.get(key) {
            Some(json) => serde_json::from_slice(json)
                .map(Some)
                .map_err(|source| ViewError::Json { key: "of this record".to_owned(), source }),
            None => read_row(self.view, key),
        }
    }

    fn add(&mut self, book: &IncidentBook, change: &Change, applied: &canh_incident::Applied) -> Result<(), ViewError> {
        if let (Some(at), Some(update)) = (applied.detection, change.kind.detection()) {
            let key = RowKey::detection(applied.number, at.place);
            if at.is_new {
                self.put(key, update)?;
            } else {
                let missing =
                    || ViewError::Inconsistent { what: format!("{} lacks detection {}", applied.number, at.place) };
                let mut detection = self.detection(&key)?.ok_or_else(missing)?;
                detection.absorb(update);
                self.put(key, &detection)?;
            }
            if let Some(seat) = book.seat_of(&update.id) {
                let group = update.group_text();
                let row = SeatRow { number: seat.number, place: seat.place, count: seat.count, group };
                self.put(RowKey::seat(&update.id), &row)?;
            }
        }
        if let Some(entry) = &applied.history {
            self.put(RowKey::history(applied.number, entry.version), entry)?;
        }
        Ok(())
    }
}

/// Folds one record into the book and returns the writes for the view, the progress among them.
pub(crate) fn fold<V: View>(
    book: &mut IncidentBook,
    view: &V,
    record: &LedgerRecord,
    progress: &Progress,
) -> Result<Vec<crate::view::Write>, FoldError> {
    let mut pending = Pending { view, rows: BTreeMap::new() };
    let mut touched: Vec<IncidentNumber> = Vec::new();
    for change in &record.changes {
        let applied = book.apply(change).map_err(|source| FoldError::Refused { lsn: progress.lsn, source })?;
        touched.push(applied.number);
        if let canh_incident::ChangeKind::Opened { related, .. } = &change.kind {
            touched.extend(related);
        }
        pending.add(book, change, &applied)?;
    }
    touched.sort();
    touched.dedup();
    for head in touched.into_iter().filter_map(|number| book.get(number)) {
        pending.put(RowKey::head(head.number), head)?;
    }
    pending.put(RowKey::progress(), progress)?;
    let mut writes = Vec::new();
    for (key, json) in &pending.rows {
        write_row(view, key, json, &mut writes)?;
    }
    Ok(writes)
}
