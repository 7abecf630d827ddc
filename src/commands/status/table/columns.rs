//! Writes tables whose columns are aligned.

use std::io::{self, Write};

use super::{BOLD, RESET};

/// Writes an empty line and a table.
pub(super) fn write_section(
    head: &[&str],
    rows: Vec<Vec<String>>,
    out: &mut dyn Write,
) -> io::Result<()> {
    writeln!(out)?;
    write_table(head, rows.iter().map(|row| row.iter().map(String::as_str)), out)
}

/// Writes a table. Words are aligned to the left, numbers to the right.
pub(in crate::commands) fn write_table<'a>(
    head: &[&str],
    rows: impl Iterator<Item: IntoIterator<Item = &'a str>> + Clone,
    out: &mut dyn Write,
) -> io::Result<()> {
    let columns = head.iter().enumerate().map(|(index, name)| TableColumn {
        width: name.len(),
        // By the heading and not by the cell: a name may begin with a digit.
        is_words: index == 0 || WORDS.contains(name),
    });
    let mut columns: Vec<_> = columns.collect();
    for row in rows.clone() {
        for (column, cell) in columns.iter_mut().zip(row) {
            column.width = column.width.max(chars(cell));
        }
    }
    let mut text = BOLD.to_owned();
    push_line(&mut text, &columns, head.iter().copied());
    text.push_str(RESET);
    out.write_all(text.as_bytes())?;
    // Apart from the heading, which has a style, and in one piece, since standard output would be written to the system
    // line by line.
    text.clear();
    for row in rows {
        text.push('\n');
        push_line(&mut text, &columns, row.into_iter());
    }
    text.push('\n');
    out.write_all(text.as_bytes())
}

/// The layout of a column.
struct TableColumn {
    width: usize,
    is_words: bool,
}

/// Adds a line of a table, without spaces at its end. A table may have ten thousand lines, so nothing is allocated for each.
fn push_line<'a>(text: &mut String, columns: &[TableColumn], cells: impl Iterator<Item = &'a str>) {
    for (column, cell) in columns.iter().zip(cells) {
        let padding = column.width.saturating_sub(chars(cell));
        if column.is_words {
            text.push_str(cell);
            push_spaces(text, padding);
        } else {
            push_spaces(text, padding);
            text.push_str(cell);
        }
        text.push_str("  ");
    }
    text.truncate(text.trim_end_matches(' ').len());
}

fn push_spaces(text: &mut String, mut count: usize) {
    const SPACES: &str = "                                ";
    while count > 0 {
        let some = count.min(SPACES.len());
        text.push_str(&SPACES[..some]);
        count -= some;
    }
}

fn chars(text: &str) -> usize {
    if text.is_ascii() { text.len() } else { text.chars().count() }
}

/// The columns that contain words, besides the first one.
const WORDS: [&str; 14] = [
    "since",
    "stage",
    "error",
    "client",
    "process",
    "protocol",
    "target",
    "chain",
    "hops",
    "session",
    "member",
    "state",
    "address",
    "requests beyond it",
];
