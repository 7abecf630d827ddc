//! Finds mistakes that can be told from one line.
//!
//! A plain text goes on in the next line if that is indented far enough, and a line that is not a key can only be the
//! rest of one. So the parser takes a faulty line for a part of the text above it, and stops a line later. The line at
//! which it stopped and its neighbours are searched for such a line.

use super::{At, SyntaxFault};
use crate::config::report::{
    known_keys::{key_without_colon, key_without_space},
    problem::is_name,
};

/// Returns the mistake of a line at or beside `at`, and its place.
pub(super) fn find(text: &str, at: At) -> Option<(SyntaxFault, At)> {
    let lines: Vec<&str> = text.lines().take(at.0 + 1).collect();
    // The marks are never a part of a configuration, so one of them explains a fault that is far below.
    if let Some(index) = lines.iter().position(|line| is_conflict_mark(line)) {
        return Some((SyntaxFault::ConflictMark, (index + 1, 1)));
    }
    let is_content = |line: &str| !line.trim().is_empty() && !line.trim_start().starts_with('#');
    let before = (0..at.0.saturating_sub(1))
        .rev()
        .find(|index| lines.get(*index).is_some_and(|line| is_content(line)));
    let around = before.into_iter().chain([at.0.saturating_sub(1), at.0]);
    let found = around.filter_map(|index| lines.get(index).map(|line| (index, line))).find_map(
        |(index, line)| {
            let indent = line.chars().take_while(|one| *one == ' ').count();
            let fault = match line.chars().nth(indent)? {
                '\t' if is_content(line) => SyntaxFault::Tab,
                '\u{a0}' | '\u{202f}' | '\u{2007}' | '\u{3000}' => SyntaxFault::OddBlank,
                '-' if is_item_without_space(line) => SyntaxFault::MissingDashSpace,
                _ => SyntaxFault::MissingSpace(key_without_space(line)?.to_owned()),
            };
            Some((fault, (index + 1, indent + 1)))
        },
    );
    found
        .or_else(|| before.and_then(|index| mixed(&lines, index, at)))
        .or_else(|| before.and_then(|index| without_colon(&lines, index, at)))
}

/// Returns the mistake if the lines at `index` and of `at` begin in one column, one as a key and the other as an item.
fn mixed(lines: &[&str], index: usize, at: At) -> Option<(SyntaxFault, At)> {
    let (line, next) = (lines.get(index)?, lines.get(at.0 - 1)?);
    let indent = |line: &str| line.len() - line.trim_start().len();
    let is_item = |line: &str| line.trim_start().starts_with("- ");
    let is_key = |line: &str| {
        !is_item(line) && line.split_once(": ").is_some_and(|(key, _)| is_name(key.trim()))
    };
    let (number, next_number, column) = (index + 1, at.0, indent(next) + 1);
    let fault = match indent(line) == indent(next) {
        true if is_key(line) && is_item(next) => {
            SyntaxFault::Mixed { key: number, item: next_number }
        }
        true if is_item(line) && is_key(next) => {
            SyntaxFault::Mixed { key: next_number, item: number }
        }
        _ => return None,
    };
    Some((fault, (next_number, column)))
}

/// Returns the mistake if the line of `at` is a key that is indented below a key with a value, and so more of that value.
pub(super) fn deeper(text: &str, at: At) -> Option<(SyntaxFault, At)> {
    let lines: Vec<&str> = text.lines().take(at.0).collect();
    let (line, before) = lines.split_last()?;
    let indent = |line: &str| line.len() - line.trim_start().len();
    let is_content = |line: &str| !line.trim().is_empty() && !line.trim_start().starts_with('#');
    let above = before.iter().rposition(|line| is_content(line))?;
    // The parser stopped at the colon of the line's first word, which is a key, and the line above has a value.
    let key = line.chars().take(at.1 - 1).collect::<String>();
    let has_value = before[above]
        .trim_start()
        .trim_start_matches("- ")
        .split_once(": ")
        .is_some_and(|(key, value)| is_name(key) && !value.trim().is_empty());
    let is_deeper = is_name(key.trim()) && has_value && indent(line) > indent(before[above]);
    is_deeper
        .then(|| (SyntaxFault::Deeper { line: at.0, above: above + 1 }, (at.0, indent(line) + 1)))
}

/// Returns whether `line` begins with a `-` that a list or a mapping follows without a space.
fn is_item_without_space(line: &str) -> bool {
    line.trim_start().strip_prefix('-').is_some_and(|rest| rest.starts_with(['{', '[']))
}

/// Returns the mistake if the line at `index` is a key without its colon, and the parser stopped in the line after it.
fn without_colon(lines: &[&str], index: usize, at: At) -> Option<(SyntaxFault, At)> {
    let (line, next) = (lines.get(index)?, lines.get(at.0 - 1)?);
    let bare = line.trim_start().strip_prefix("- ").unwrap_or(line).trim();
    let column = line.find(bare).map(|start| line[..start].chars().count() + 1)?;
    let at = (index + 1, column);
    if let Some(key) = key_without_colon(bare) {
        return Some((SyntaxFault::MissingColon(Some(key.to_owned())), at));
    }
    // A word alone, with keys below it, is the name of a hop or a chain. It may also be the rest of a secret.
    let indent = |line: &str| line.len() - line.trim_start().len();
    let has_keys = indent(next) > indent(line) && next.contains(": ");
    (is_name(bare) && has_keys).then_some((SyntaxFault::MissingColon(None), at))
}

/// Returns whether `line` is one of the marks that git leaves around two versions of some lines.
fn is_conflict_mark(line: &str) -> bool {
    ["<<<<<<< ", "||||||| ", ">>>>>>> "].iter().any(|mark| line.starts_with(mark))
        || line == "======="
}
