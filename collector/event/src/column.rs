//! One field of a batch: its distinct values and which row has which.

use crate::dictionary::Dictionary;
use crate::value::Value;

/// One (row, value) pair of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cell {
    /// The row.
    pub row: u16,
    /// The code of the value in the column's dictionary.
    pub code: u16,
}

/// One field of a batch. Cells are sorted by row; a list is several cells of one row, in the
/// order of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    pub(crate) name: Box<str>,
    pub(crate) dictionary: Dictionary,
    pub(crate) cells: Vec<Cell>,
}

impl Column {
    /// Returns the field's name; nested fields are joined with dots.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns how many distinct values there are; codes are below it.
    pub fn value_count(&self) -> usize {
        self.dictionary.len()
    }

    /// Returns the value of a code.
    pub fn value(&self, code: u16) -> Option<Value<'_>> {
        self.dictionary.get(usize::from(code))
    }

    /// Returns the distinct values in the order of their codes.
    pub fn values(&self) -> impl Iterator<Item = Value<'_>> {
        (0..self.dictionary.len()).filter_map(|code| self.dictionary.get(code))
    }

    /// Returns all cells, sorted by row.
    pub fn cells(&self) -> &[Cell] {
        &self.cells
    }

    /// Returns the cells of one row: none if the row has no such field, several for a list.
    pub fn cells_of(&self, row: u16) -> &[Cell] {
        let start = self.cells.partition_point(|cell| cell.row < row);
        let rest = self.cells.get(start..).unwrap_or_default();
        let count = rest.iter().take_while(|cell| cell.row == row).count();
        rest.get(..count).unwrap_or_default()
    }
}
