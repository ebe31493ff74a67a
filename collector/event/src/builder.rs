//! Fills a batch row by row and holds every bound while doing so.
//!
//! Comes in: row headers, raw records, (field, value) pairs. Goes out: a finished [`EventBatch`].
//! A row is either committed whole or leaves no trace, so a parser may give up half-way. A batch
//! that is only looked at ([`BatchBuilder::batch`], then [`BatchBuilder::clear`]) leaves its memory
//! to the next one: in steady state nothing is allocated.

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use std::hash::BuildHasher;

use crate::batch::{EventBatch, Origin};
use crate::column::{Cell, Column};
use crate::dictionary::{Dictionary, DictionaryIndex, NO_PLACE};
use crate::limits::{
    MAX_BATCH_ROWS, MAX_CELLS, MAX_COLUMNS, MAX_DICTIONARY_BYTES, MAX_FIELD_NAME_BYTES, MAX_LIST_VALUES, MAX_RAW_BYTES,
    MAX_RECORD_BYTES, MAX_TABLE_ENTRIES, MAX_VALUE_BYTES, MAX_VALUES_PER_COLUMN,
};
use crate::logsource::Logsource;
use crate::time::{TimeQuality, Timestamp};
use crate::value::Value;

/// What a batch has no room for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The batch is full: finish it and go on with the next. An empty batch is never full.
    #[error("the batch has no room for {what}, limit is {limit}")]
    Full {
        /// What there is no room for.
        what: &'static str,
        /// The bound.
        limit: usize,
    },
    /// The thing itself is too large for any batch: the row must do without it.
    #[error("{what} is {got}, limit is {limit}")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// Its size.
        got: usize,
        /// The bound.
        limit: usize,
    },
}

/// An origin's place in the batch being built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OriginId(u16);

/// A logsource's place in the batch being built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogsourceId(u16);

/// What every row has besides its fields.
#[derive(Clone, Copy, Debug)]
pub struct RowHeader {
    /// The event time.
    pub time: Timestamp,
    /// How the event time came about.
    pub time_quality: TimeQuality,
    /// When the record was read.
    pub received: Timestamp,
    /// Where the event comes from.
    pub origin: OriginId,
    /// What kind of thing wrote it.
    pub logsource: LogsourceId,
}

/// Shortest value that is looked for in its record: below it a place saves nothing.
const MIN_PLACED_BYTES: usize = 16;

/// Fills one batch after another.
#[derive(Debug, Default)]
pub struct BatchBuilder {
    batch: EventBatch,
    /// One for each column of the batch.
    indexes: Vec<DictionaryIndex>,
    by_name: HashTable<u16>,
    hasher: RandomState,
    cells: usize,
    dictionary_bytes: usize,
    touched: Vec<Touched>,
    record: RecordPlace,
}

/// Where the record of the row under way lies: at its owner's, and in the batch.
#[derive(Clone, Copy, Debug, Default)]
struct RecordPlace {
    address: usize,
    start: usize,
    end: usize,
}

/// What a row under way has changed in a column, to take it back if it is abandoned.
#[derive(Clone, Copy, Debug)]
struct Touched {
    column: u16,
    values_before: usize,
    cells_before: usize,
}

/// A row under way. Dropped without [`RowBuilder::commit`], it leaves no trace.
#[derive(Debug)]
#[must_use = "a row that is not committed is dropped"]
pub struct RowBuilder<'a> {
    builder: &'a mut BatchBuilder,
    row: u16,
    committed: bool,
}

impl BatchBuilder {
    /// Returns a builder of an empty batch.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns how many rows are committed.
    pub fn len(&self) -> usize {
        self.batch.len()
    }

    /// Returns whether no row is committed.
    pub fn is_empty(&self) -> bool {
        self.batch.is_empty()
    }

    /// Returns the id of an origin, adding it if it is new.
    ///
    /// # Errors
    /// [`BuildError::Full`] past 4,096 distinct origins.
    pub fn origin(&mut self, origin: &Origin) -> Result<OriginId, BuildError> {
        intern(&mut self.batch.origins, origin, "origins").map(OriginId)
    }

    /// Returns the id of a logsource, adding it if it is new.
    ///
    /// # Errors
    /// [`BuildError::Full`] past 4,096 distinct logsources.
    pub fn logsource(&mut self, logsource: &Logsource) -> Result<LogsourceId, BuildError> {
        intern(&mut self.batch.logsources, logsource, "logsources").map(LogsourceId)
    }

    /// Begins a row.
    ///
    /// # Errors
    /// [`BuildError::Full`] if the batch has 4,096 rows or no room for `raw`;
    /// [`BuildError::TooLarge`] if `raw` is longer than any record may be.
    pub fn begin_row(&mut self, header: RowHeader, raw: &[u8]) -> Result<RowBuilder<'_>, BuildError> {
        if raw.len() > MAX_RECORD_BYTES {
            return Err(BuildError::TooLarge { what: "record length", got: raw.len(), limit: MAX_RECORD_BYTES });
        }
        if self.batch.len() >= MAX_BATCH_ROWS {
            return Err(BuildError::Full { what: "rows", limit: MAX_BATCH_ROWS });
        }
        let raw_end = self.batch.raw.len() + raw.len();
        if raw_end > MAX_RAW_BYTES {
            return Err(BuildError::Full { what: "raw bytes", limit: MAX_RAW_BYTES });
        }
        let row = u16::try_from(self.batch.len()).unwrap_or(u16::MAX);
        self.touched.clear();
        self.batch.times.push(header.time);
        self.batch.qualities.push(header.time_quality);
        self.batch.received.push(header.received);
        self.batch.row_origins.push(header.origin.0);
        self.batch.row_logsources.push(header.logsource.0);
        self.record = RecordPlace { address: raw.as_ptr().addr(), start: self.batch.raw.len(), end: raw_end };
        self.batch.raw.extend_from_slice(raw);
        self.batch.raw_ends.push(u32::try_from(raw_end).unwrap_or(u32::MAX));
        Ok(RowBuilder { builder: self, row, committed: false })
    }

    /// Returns the rows committed so far. A column without cells may be left over from a batch
    /// before.
    ///
    /// # Contract
    /// No row is under way.
    pub fn batch(&self) -> &EventBatch {
        &self.batch
    }

    /// Returns the batch and begins the next one.
    pub fn finish(&mut self) -> EventBatch {
        let mut batch = std::mem::take(&mut self.batch);
        batch.columns.retain(|column| !column.cells.is_empty());
        self.indexes.clear();
        self.clear();
        batch
    }

    /// Forgets the rows so far and begins the next batch, keeping the memory of this one. Columns
    /// that had no cell go: one hostile sender must not fill the table for everybody after it.
    pub fn clear(&mut self) {
        let batch = &mut self.batch;
        batch.times.clear();
        batch.qualities.clear();
        batch.received.clear();
        batch.row_origins.clear();
        batch.row_logsources.clear();
        batch.raw.clear();
        batch.raw_ends.clear();
        batch.origins.clear();
        batch.logsources.clear();
        self.touched.clear();
        self.drop_unused_columns();
        for (column, index) in self.batch.columns.iter_mut().zip(&mut self.indexes) {
            column.dictionary.truncate(0);
            column.cells.clear();
            index.clear();
        }
        if self.batch.columns.is_empty() {
            self.by_name.clear();
        }
        self.cells = 0;
        self.dictionary_bytes = 0;
    }

    /// Drops columns without cells, wherever they stand.
    fn drop_unused_columns(&mut self) {
        let is_used = |column: &Column| !column.cells.is_empty();
        if self.batch.columns.iter().all(is_used) {
            return;
        }
        let mut kept = 0;
        let places: Vec<Option<u16>> =
            self.batch.columns.iter().map(|column| is_used(column).then(|| next(&mut kept))).collect();
        let place_of = |column: u16| places.get(usize::from(column)).copied().flatten();
        self.touched.retain_mut(|touched| match place_of(touched.column) {
            Some(place) => {
                touched.column = place;
                true
            }
            None => false,
        });
        let mut used = places.iter().map(Option::is_some);
        self.indexes.retain(|_| used.next().unwrap_or(false));
        self.batch.columns.retain(is_used);
        self.by_name.clear();
        for index in 0..kept {
            self.add_name(index);
        }
    }

    fn find_column(&self, name: &str) -> Option<u16> {
        let columns = &self.batch.columns;
        let same = |index: &u16| columns.get(usize::from(*index)).is_some_and(|column| &*column.name == name);
        self.by_name.find(self.hasher.hash_one(name), same).copied()
    }

    /// Makes the column at `index` findable by its name.
    fn add_name(&mut self, index: u16) {
        let (columns, hasher) = (&self.batch.columns, &self.hasher);
        let hash = |index: &u16| columns.get(usize::from(*index)).map_or(0, |column| hasher.hash_one(column.name()));
        self.by_name.insert_unique(hash(&index), index, hash);
    }

    fn column_of(&mut self, name: &str) -> Result<u16, BuildError> {
        if let Some(index) = self.find_column(name) {
            return Ok(index);
        }
        if name.is_empty() || name.len() > MAX_FIELD_NAME_BYTES {
            let what = "field name length";
            return Err(BuildError::TooLarge { what, got: name.len(), limit: MAX_FIELD_NAME_BYTES });
        }
        if self.batch.columns.len() >= MAX_COLUMNS {
            // What is left over from a batch before is not to stand in the way of this one.
            self.drop_unused_columns();
        }
        if self.batch.columns.len() >= MAX_COLUMNS {
            return Err(BuildError::Full { what: "columns", limit: MAX_COLUMNS });
        }
        let index = u16::try_from(self.batch.columns.len()).unwrap_or(u16::MAX);
        let column = Column { name: Box::from(name), dictionary: Dictionary::default(), cells: Vec::new() };
        self.batch.columns.push(column);
        self.indexes.push(DictionaryIndex::default());
        self.add_name(index);
        Ok(index)
    }

    fn push(&mut self, row: u16, name: &str, value: Value<'_>) -> Result<(), BuildError> {
        if value.text.len() > MAX_VALUE_BYTES {
            return Err(BuildError::TooLarge { what: "value length", got: value.text.len(), limit: MAX_VALUE_BYTES });
        }
        if self.cells >= MAX_CELLS {
            return Err(BuildError::Full { what: "cells", limit: MAX_CELLS });
        }
        let index = self.column_of(name)?;
        let record = self.record;
        let room = MAX_DICTIONARY_BYTES - self.dictionary_bytes;
        let (Some(column), Some(values)) =
            (self.batch.columns.get_mut(usize::from(index)), self.indexes.get_mut(usize::from(index)))
        else {
            return Ok(());
        };
        let is_first = column.cells.last().is_none_or(|cell| cell.row != row);
        if is_first {
            let (values_before, cells_before) = (column.dictionary.len(), column.cells.len());
            self.touched.push(Touched { column: index, values_before, cells_before });
        } else if column.cells.iter().rev().take_while(|cell| cell.row == row).count() >= MAX_LIST_VALUES {
            let what = "list length";
            return Err(BuildError::TooLarge { what, got: MAX_LIST_VALUES + 1, limit: MAX_LIST_VALUES });
        }
        let code = match values.find(&column.dictionary, value) {
            Some(code) => code,
            None if column.dictionary.len() >= MAX_VALUES_PER_COLUMN => {
                return Err(BuildError::Full { what: "values of one column", limit: MAX_VALUES_PER_COLUMN });
            }
            None if value.text.len() > room => {
                return Err(BuildError::Full { what: "bytes of values", limit: MAX_DICTIONARY_BYTES });
            }
            None => {
                self.dictionary_bytes += value.text.len();
                values.insert(&mut column.dictionary, value, record.place_of(value.text, &self.batch.raw))
            }
        };
        column.cells.push(Cell { row, code });
        self.cells += 1;
        Ok(())
    }

    fn take_back_fields(&mut self) {
        while let Some(touched) = self.touched.pop() {
            let index = usize::from(touched.column);
            let (Some(column), Some(values)) = (self.batch.columns.get_mut(index), self.indexes.get_mut(index)) else {
                continue;
            };
            let bytes_before = column.dictionary.text.len();
            values.truncate(&mut column.dictionary, touched.values_before);
            self.dictionary_bytes -= bytes_before - column.dictionary.text.len();
            self.cells -= column.cells.len() - touched.cells_before;
            column.cells.truncate(touched.cells_before);
        }
        self.drop_empty_columns();
    }

    /// Drops the last columns as long as they are empty: a row that is taken back must not keep its
    /// names in the table. Columns the row created stand at the end.
    fn drop_empty_columns(&mut self) {
        let is_used = |column: &Column| !column.cells.is_empty();
        let used = self.batch.columns.iter().rposition(is_used).map_or(0, |last| last + 1);
        if used < self.batch.columns.len() {
            self.batch.columns.truncate(used);
            self.indexes.truncate(used);
            self.by_name.retain(|index| usize::from(*index) < used);
        }
    }

    fn abandon_row(&mut self, row: u16) {
        self.take_back_fields();
        let rows = usize::from(row);
        self.batch.times.truncate(rows);
        self.batch.qualities.truncate(rows);
        self.batch.received.truncate(rows);
        self.batch.row_origins.truncate(rows);
        self.batch.row_logsources.truncate(rows);
        self.batch.raw_ends.truncate(rows);
        self.batch.raw.truncate(self.batch.raw_ends.last().map_or(0, |end| *end as usize));
    }
}

/// Counts on.
fn next(count: &mut u16) -> u16 {
    *count += 1;
    *count - 1
}

impl RecordPlace {
    /// Returns where in the batch's raw bytes a text stands that is part of the record it was found in.
    ///
    /// The addresses only say where to look; the bytes there decide.
    fn place_of(self, text: &str, raw: &[u8]) -> u32 {
        if text.len() < MIN_PLACED_BYTES {
            return NO_PLACE;
        }
        let at = self.start.saturating_add(text.as_ptr().addr().wrapping_sub(self.address));
        let end = at.saturating_add(text.len());
        let is_there = end <= self.end && raw.get(at..end) == Some(text.as_bytes());
        if is_there { u32::try_from(at).unwrap_or(NO_PLACE) } else { NO_PLACE }
    }
}

fn intern<T: Clone + PartialEq>(table: &mut Vec<T>, entry: &T, what: &'static str) -> Result<u16, BuildError> {
    // A batch has a handful of these, and the last one asked for is nearly always asked for again.
    if let Some(index) = table.iter().rposition(|known| known == entry) {
        return Ok(u16::try_from(index).unwrap_or(u16::MAX));
    }
    if table.len() >= MAX_TABLE_ENTRIES {
        return Err(BuildError::Full { what, limit: MAX_TABLE_ENTRIES });
    }
    table.push(entry.clone());
    Ok(u16::try_from(table.len() - 1).unwrap_or(u16::MAX))
}

impl RowBuilder<'_> {
    /// Adds a value to a field of the row; a second one makes it a list.
    ///
    /// # Errors
    /// [`BuildError::Full`] or [`BuildError::TooLarge`]; the row may be committed without the
    /// value, or dropped.
    pub fn field(&mut self, name: &str, value: Value<'_>) -> Result<(), BuildError> {
        self.builder.push(self.row, name, value)
    }

    /// Sets the row's logsource, once the parser knows better than the header did.
    ///
    /// # Errors
    /// [`BuildError::Full`] past 4,096 distinct logsources.
    pub fn set_logsource(&mut self, logsource: &Logsource) -> Result<(), BuildError> {
        let id = self.builder.logsource(logsource)?;
        if let Some(slot) = self.builder.batch.row_logsources.last_mut() {
            *slot = id.0;
        }
        Ok(())
    }

    /// Sets the row's event time, once the parser has found it.
    pub fn set_time(&mut self, time: Timestamp, quality: TimeQuality) {
        if let (Some(slot), Some(quality_slot)) =
            (self.builder.batch.times.last_mut(), self.builder.batch.qualities.last_mut())
        {
            *slot = time;
            *quality_slot = quality;
        }
    }

    /// Takes back every field added so far; header and raw record stay.
    pub fn clear_fields(&mut self) {
        self.builder.take_back_fields();
    }

    /// Keeps the row.
    pub fn commit(mut self) {
        self.committed = true;
    }
}

impl Drop for RowBuilder<'_> {
    fn drop(&mut self) {
        if !self.committed {
            self.builder.abandon_row(self.row);
        }
    }
}

#[cfg(test)]
mod tests;
