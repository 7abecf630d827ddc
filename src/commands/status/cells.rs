//! The cells of a long table.

use std::fmt::{self, Write as _};

/// The cells of a table of `COLUMNS` columns, in one piece of memory. A text of its own for each cell would cost more than
/// the rest of a table with ten thousand lines.
#[derive(Debug, Default)]
pub(in crate::commands) struct Cells<const COLUMNS: usize> {
    text: String,
    /// The end of each cell in `text`.
    ends: Vec<usize>,
}

impl<const COLUMNS: usize> Cells<COLUMNS> {
    /// Returns an empty table with room for `rows`.
    pub(in crate::commands) fn with_capacity(rows: usize) -> Self {
        Self {
            text: String::with_capacity(rows * ROW_BYTES),
            ends: Vec::with_capacity(rows * COLUMNS),
        }
    }

    /// Adds the next cell.
    pub(in crate::commands) fn push(&mut self, cell: &str) {
        self.text.push_str(cell);
        self.ends.push(self.text.len());
    }

    /// Adds the next cell, which has a number.
    pub(in crate::commands) fn push_number(&mut self, number: u64) {
        self.push(itoa::Buffer::new().format(number));
    }

    /// Adds the next cell, which shows `value`.
    pub(in crate::commands) fn push_shown(&mut self, value: impl fmt::Display) {
        // Nothing can fail: it is written to memory.
        let _ = write!(self.text, "{value}");
        self.ends.push(self.text.len());
    }

    /// Returns the rows, without one that has too few cells.
    pub(in crate::commands) fn rows(&self) -> impl Iterator<Item = [&str; COLUMNS]> + Clone {
        self.ends.chunks_exact(COLUMNS).scan(0, |start, ends| {
            let cell = |end: &usize| {
                let cell = self.text.get(*start..*end).unwrap_or_default();
                *start = *end;
                cell
            };
            let mut cells = ends.iter().map(cell);
            Some(std::array::from_fn(|_| cells.next().unwrap_or_default()))
        })
    }
}

/// The usual length of a row.
const ROW_BYTES: usize = 96;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_have_the_cells_in_their_order() {
        let mut cells = Cells::<3>::with_capacity(1);
        assert_eq!(cells.rows().count(), 0);
        for row in [["a", "", "öl"], ["", "", ""]] {
            row.into_iter().for_each(|cell| cells.push(cell));
        }
        cells.push_number(17);
        cells.push_shown(1.5);
        assert_eq!(cells.rows().collect::<Vec<_>>(), [["a", "", "öl"], ["", "", ""]]);
        cells.push("end");
        assert_eq!(cells.rows().last(), Some(["17", "1.5", "end"]));
    }
}
