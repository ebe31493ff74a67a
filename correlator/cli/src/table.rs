//! Lays out rows of text in columns by how wide a terminal shows them, not by how many bytes or
//! characters they have: Vietnamese in composed and in decomposed form, and wide East Asian text,
//! line up all the same.
//!
//! Comes in: cells that are already safe to show. Goes out: lines. The last column takes what room
//! is left and is cut with `…` if the width is known and too small.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use crate::style::{Paint, Style};

const GAP: &str = "  ";
/// The last column is never squeezed below this, however narrow the terminal says it is.
const MIN_LAST_COLUMN: usize = 16;

/// One cell: its text and how to paint it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cell {
    text: String,
    paint: Paint,
}

/// Rows under a heading.
#[derive(Debug)]
pub(crate) struct Table {
    heading: Vec<&'static str>,
    rows: Vec<Vec<Cell>>,
}

impl Cell {
    /// Returns a cell of text that is safe to show and is painted in `paint`.
    pub(crate) fn painted(text: impl Into<String>, paint: Paint) -> Self {
        Self { text: text.into(), paint }
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::painted(text, Paint::Plain)
    }
}

impl Table {
    /// Returns a table without rows.
    pub(crate) fn new(heading: &[&'static str]) -> Self {
        Self { heading: heading.to_vec(), rows: Vec::new() }
    }

    /// Adds a row.
    pub(crate) fn push(&mut self, row: Vec<Cell>) {
        debug_assert_eq!(row.len(), self.heading.len(), "a row has a cell for each column");
        self.rows.push(row);
    }

    /// Appends the table as lines no wider than `width`, if a width is given.
    pub(crate) fn render(&self, style: Style, width: Option<usize>, out: &mut String) {
        let widths = self.widths();
        let last = self.heading.len().saturating_sub(1);
        let taken: usize = widths.iter().take(last).map(|column| column + GAP.len()).sum();
        let room = width.map(|width| width.saturating_sub(taken).max(MIN_LAST_COLUMN));
        let heading: Vec<Cell> = self.heading.iter().map(|name| Cell::painted(*name, Paint::Faint)).collect();
        for row in std::iter::once(&heading).chain(&self.rows) {
            render_row(row, &widths, room, style, out);
        }
    }

    fn widths(&self) -> Vec<usize> {
        let mut widths: Vec<usize> = self.heading.iter().map(|name| name.width()).collect();
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.text.width());
            }
        }
        widths
    }
}

fn render_row(row: &[Cell], widths: &[usize], room: Option<usize>, style: Style, out: &mut String) {
    let last = row.len().saturating_sub(1);
    for (index, (cell, width)) in row.iter().zip(widths).enumerate() {
        if index == last {
            let text = room.map_or_else(|| cell.text.clone(), |room| fit(&cell.text, room));
            style.paint(cell.paint, &text, out);
        } else {
            style.paint(cell.paint, &cell.text, out);
            let padding = width.saturating_sub(cell.text.width()) + GAP.len();
            out.extend(std::iter::repeat_n(' ', padding));
        }
    }
    while out.ends_with(' ') {
        out.pop();
    }
    out.push('\n');
}

/// Returns the text cut to a width, with `…` where something is missing.
pub(crate) fn fit(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut kept = String::new();
    let mut taken = 0;
    for character in text.chars() {
        taken += character.width().unwrap_or(0);
        if taken >= width {
            break;
        }
        kept.push(character);
    }
    kept.truncate(kept.trim_end().len());
    kept.push('…');
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rendered(rows: &[[&str; 2]], width: Option<usize>) -> String {
        let mut table = Table::new(&["A", "B"]);
        for row in rows {
            table.push(row.iter().map(|text| Cell::from(*text)).collect());
        }
        let mut out = String::new();
        table.render(Style::PLAIN, width, &mut out);
        out
    }

    #[test]
    fn composed_decomposed_and_wide_text_line_up() {
        let shown = rendered(&[["Nguyễn", "1"], ["Nguye\u{302}\u{303}n", "2"], ["日本", "3"], ["x", "4"]], None);
        assert_eq!(shown, "A       B\nNguyễn  1\nNguye\u{302}\u{303}n  2\n日本    3\nx       4\n");
    }

    #[test]
    fn last_column_is_cut_to_the_width() {
        let shown = rendered(&[["x", "a title much longer than the terminal"]], Some(24));
        assert_eq!(shown, "A  B\nx  a title much longer…\n");
    }

    #[test]
    fn no_line_ends_in_blanks() {
        assert_eq!(rendered(&[["x", ""]], None), "A  B\nx\n");
    }

    proptest! {
        #[test]
        fn fitted_text_is_never_wider_than_asked(text in "\\PC{0,40}", width in 1usize..30) {
            prop_assert!(fit(&text, width).width() <= width.max(1));
        }
    }
}
