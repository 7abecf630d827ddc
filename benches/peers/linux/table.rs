//! The results as aligned Markdown tables.

use std::{fmt::Write as _, ops::RangeInclusive};

use super::{
    figures::Figure,
    peer::{Peer, Sort},
    results::Results,
};

/// A kind of table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Table {
    /// Costs and throughput.
    Ways,
    /// The time to open a tunnel if the first hop is far away.
    Opening,
    /// The effect of very many tunnels on a process.
    Crowd,
}

impl Table {
    pub(super) const ALL: [Self; 3] = [Self::Ways, Self::Opening, Self::Crowd];

    /// The numbers of hops in this table.
    pub(super) fn hops(self) -> RangeInclusive<usize> {
        match self {
            Self::Ways => 0..=2,
            Self::Opening => 2..=2,
            Self::Crowd => 0..=0,
        }
    }

    /// Whether this table shows peers of this sort.
    pub(super) fn has(self, sort: Sort) -> bool {
        match self {
            Self::Ways => sort != Sort::Warm,
            Self::Opening => !matches!(sort, Sort::Least | Sort::OursSocks | Sort::OtherSocks),
            Self::Crowd => matches!(sort, Sort::Limit | Sort::Ours),
        }
    }

    /// Returns the indexes of the peers in this table that can go through so many hops.
    pub(super) fn places(self, peers: &[Peer], hops: usize) -> Vec<usize> {
        let is_there =
            |place: &usize| self.has(peers[*place].sort) && hops <= peers[*place].hops_max;
        (0..peers.len()).filter(is_there).collect()
    }

    fn title(self) -> &'static str {
        match self {
            Self::Ways => "Through 0, 1 and 2 hops",
            Self::Opening => "Until a tunnel is open, with 50 ms a round trip",
            Self::Crowd => "Many tunnels, one of a hundred active",
        }
    }

    fn figures(self) -> &'static [Figure] {
        match self {
            Self::Ways => &[
                Figure::TunnelRate,
                Figure::TunnelCpu,
                Figure::BulkRate,
                Figure::BulkCpu,
                Figure::Latency,
                Figure::RequestRate,
                Figure::RequestCpu,
                Figure::Idle,
                Figure::Start,
                Figure::Resident,
            ],
            Self::Opening => &[Figure::Opening, Figure::RoundTrips],
            Self::Crowd => &[
                Figure::Open,
                Figure::MessageRate,
                Figure::ResidentOpen,
                Figure::ResidentUsed,
                Figure::Growth,
                Figure::ResidentClosed,
            ],
        }
    }

    fn rows(self, results: &Results) -> Vec<Vec<String>> {
        let mut rows = vec![self.titles()];
        for hops in self.hops() {
            for place in self.places(&results.peers, hops) {
                let Some(errors) = results.errors(self, (hops, place)) else { continue };
                let cell = |figure: Figure| {
                    let median = results.median((hops, place), figure);
                    median.map_or_else(dash, |median| format!("{median:.*}", figure.decimals()))
                };
                rows.push(self.row(hops, results.peers[place].name, cell, errors.to_string()));
            }
            for sort in [Sort::Ours, Sort::Warm].into_iter().filter(|sort| self.has(*sort)) {
                rows.extend(self.comparisons(results, hops, sort));
            }
            rows.extend(self.protocols(results, hops));
        }
        rows
    }

    /// Returns rows with the ratios of the peer of this sort to others, if there are any.
    fn comparisons(self, results: &Results, hops: usize, sort: Sort) -> Vec<Vec<String>> {
        let Some(place) = results.place(sort) else { return Vec::new() };
        let name = results.peers[place].name;
        let ratio = |other: Option<usize>, figure| {
            let ratio = other.and_then(|other| results.ratio((hops, place), other, figure));
            ratio.map_or_else(dash, |ratio| format!("×{ratio:.2}"))
        };
        let mut rows = Vec::new();
        for bare in [Sort::Limit, Sort::Least].into_iter().filter(|bare| self.has(*bare)) {
            let Some(place) = results.place(bare) else { continue };
            let to_bare = |figure| ratio(Some(place), figure);
            let title = format!("*{name} to the {}*", results.peers[place].name);
            rows.push(self.row(hops, &title, to_bare, dash()));
        }
        if self.has(Sort::Other) {
            let to_best = |figure| ratio(results.best_other(hops, figure), figure);
            rows.push(self.row(hops, &format!("*{name} to the best proxy*"), to_best, dash()));
        }
        rows
    }

    /// Returns a row with the ratios of a SOCKS5 client to one that speaks HTTP, both through Mooltiroute.
    fn protocols(self, results: &Results, hops: usize) -> Option<Vec<String>> {
        let place = results.place(Sort::OursSocks).filter(|_| self.has(Sort::OursSocks))?;
        let http = results.place(Sort::Ours)?;
        let (socks, ours) = (results.peers[place].name, results.peers[http].name);
        let ratio = |figure| {
            let ratio = results.ratio((hops, place), http, figure);
            ratio.map_or_else(dash, |ratio| format!("×{ratio:.2}"))
        };
        Some(self.row(hops, &format!("*{socks} to {ours}*"), ratio, dash()))
    }

    fn titles(self) -> Vec<String> {
        let figures = self.figures().iter().map(|figure| figure.title().to_owned());
        let first = ["hops", "through"].map(String::from);
        first.into_iter().chain(figures).chain(["errors".to_owned()]).collect()
    }

    fn row(
        self,
        hops: usize,
        name: &str,
        cell: impl Fn(Figure) -> String,
        errors: String,
    ) -> Vec<String> {
        let first = [hops.to_string(), name.to_owned()];
        let figures = self.figures().iter().map(|figure| cell(*figure));
        first.into_iter().chain(figures).chain([errors]).collect()
    }
}

/// Returns all tables, and below them a list of what is left out.
pub(super) fn render(results: &Results) -> String {
    let mut text = String::new();
    for table in Table::ALL {
        let _ = writeln!(text, "### {}\n\n{}", table.title(), aligned(&table.rows(results)));
    }
    let mut remarks = results.remarks.clone();
    for hops in Table::Ways.hops() {
        let unable = results.peers.iter().filter(|peer| hops > peer.hops_max);
        remarks.extend(
            unable.map(|peer| format!("{} can't be told to go through {hops} hops", peer.name)),
        );
    }
    if !results.missing.is_empty() {
        remarks.push(format!("not installed: {}", results.missing.join(", ")));
    }
    for remark in remarks {
        let _ = writeln!(text, "- {remark}");
    }
    text.trim_end().to_owned()
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

/// The column that holds names.
const NAME: usize = 1;
