//! The results as one table, which is Markdown and aligned.

use std::fmt::Write as _;

use super::{
    figures::{Figure, HOPS_MAX, Results},
    peer::Sort,
};

/// The table, and below it what it leaves out.
pub(super) fn render(results: &Results) -> String {
    let mut rows = vec![titles()];
    let mut remarks = results.remarks.clone();
    for hops in 0..=HOPS_MAX {
        for (place, peer) in results.peers.iter().enumerate() {
            if hops > peer.hops_max {
                remarks.push(format!("{} can't be told to go through {hops} hops", peer.name));
            } else if let Some(errors) = results.errors((hops, place)) {
                let cell = |figure: Figure| {
                    let median = results.median((hops, place), figure);
                    median.map_or_else(dash, |median| format!("{median:.*}", figure.decimals()))
                };
                rows.push(row(hops, peer.name, cell, errors.to_string()));
            }
        }
        let limit = results.place(Sort::Limit);
        rows.push(row(hops, TO_LIMIT, |figure| ratio(results, hops, limit, figure), dash()));
        let best = |figure: Figure| ratio(results, hops, results.best_other(hops, figure), figure);
        rows.push(row(hops, TO_BEST, best, dash()));
    }
    if !results.missing.is_empty() {
        remarks.push(format!("not installed: {}", results.missing.join(", ")));
    }
    let mut text = aligned(&rows);
    for remark in remarks {
        let _ = write!(text, "\n- {remark}");
    }
    text
}

fn titles() -> Vec<String> {
    let figures = Figure::ALL.map(|figure| figure.title().to_owned());
    let first = ["hops", "through"].map(String::from);
    first.into_iter().chain(figures).chain(["errors".to_owned()]).collect()
}

fn row(hops: usize, name: &str, cell: impl Fn(Figure) -> String, errors: String) -> Vec<String> {
    let first = [hops.to_string(), name.to_owned()];
    first.into_iter().chain(Figure::ALL.map(cell)).chain([errors]).collect()
}

/// Ours to that of the peer at `other`.
fn ratio(results: &Results, hops: usize, other: Option<usize>, figure: Figure) -> String {
    let ratio = other.and_then(|other| results.ratio(hops, other, figure));
    ratio.map_or_else(dash, |ratio| format!("×{ratio:.2}"))
}

fn aligned(rows: &[Vec<String>]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: Vec<usize> = (0..rows[0].len()).filter_map(width).collect();
    let mut text = String::new();
    for (number, row) in rows.iter().enumerate() {
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            let _ = match column {
                NAME => write!(text, "| {cell:<width$} "),
                _ => write!(text, "| {cell:>width$} "),
            };
        }
        text.push_str("|\n");
        if number == 0 {
            for (column, width) in widths.iter().enumerate() {
                let rule = "-".repeat(*width);
                let _ = match column {
                    NAME => write!(text, "| {rule} "),
                    _ => write!(text, "| {rule}:"),
                };
            }
            text.push_str("|\n");
        }
    }
    text
}

fn dash() -> String {
    "–".to_owned()
}

/// The column that holds words.
const NAME: usize = 1;
const TO_LIMIT: &str = "*Mooltiroute to the bare relay*";
const TO_BEST: &str = "*Mooltiroute to the best proxy*";
