//! The results as aligned Markdown tables.

use std::{fmt::Write as _, ops::RangeInclusive};

use super::{
    figures::Figure,
    growth::Grown,
    login::LoginScheme,
    peer::{Peer, Side, Sort},
    results::Results,
};

/// A kind of table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Table {
    /// Costs and throughput.
    Ways,
    /// Costs and throughput with TLS before or behind the proxy.
    Secure,
    /// The cost of a login to the hop.
    Login,
    /// The time to open a tunnel if the first hop is far away.
    Opening,
    /// The effect of a great many tunnels on a process.
    Crowd,
    /// The slowest messages and openings beside many busy tunnels.
    Tail,
}

impl Table {
    pub(super) const ALL: [Self; 6] =
        [Self::Ways, Self::Secure, Self::Login, Self::Opening, Self::Crowd, Self::Tail];

    /// Returns the numbers of hops in this table.
    pub(super) fn hops(self) -> RangeInclusive<usize> {
        match self {
            Self::Ways => 0..=2,
            Self::Secure => 0..=1,
            Self::Login => 1..=1,
            Self::Opening => 2..=2,
            Self::Crowd | Self::Tail => 0..=0,
        }
    }

    /// Returns whether this table shows peers of this sort.
    pub(super) fn has(self, sort: Sort) -> bool {
        match self {
            Self::Ways => !matches!(
                sort,
                Sort::Warm | Sort::TlsListener(_) | Sort::TlsHop(_) | Sort::Login(..)
            ),
            Self::Secure => matches!(sort, Sort::TlsListener(_) | Sort::TlsHop(_)),
            Self::Login => matches!(sort, Sort::Login(..)),
            Self::Opening => {
                matches!(sort, Sort::Limit | Sort::Passage | Sort::Ours | Sort::Warm | Sort::Other)
            }
            Self::Crowd => matches!(sort, Sort::Limit | Sort::Ours),
            Self::Tail => matches!(sort, Sort::Limit | Sort::Passage | Sort::Ours | Sort::Other),
        }
    }

    /// Returns the indexes of the peers in this table that support this number of hops.
    pub(super) fn places(self, peers: &[Peer], hops: usize) -> Vec<usize> {
        let is_there = |place: &usize| {
            let peer = &peers[*place];
            let is_fit = hops > 0 || !matches!(peer.sort, Sort::TlsHop(_));
            self.has(peer.sort) && is_fit && hops <= peer.hops_max
        };
        (0..peers.len()).filter(is_there).collect()
    }

    fn title(self) -> &'static str {
        match self {
            Self::Ways => "Through 0, 1 and 2 hops",
            Self::Secure => "TLS with clients, and with a hop",
            Self::Login => "A hop that wants a login",
            Self::Opening => "Until a tunnel is open, with 50 ms a round trip",
            Self::Crowd => "Many tunnels, one of a hundred active",
            Self::Tail => "The slowest of many, beside a tunnel that moves as much as it can",
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
            Self::Secure => &[
                Figure::TunnelRate,
                Figure::TunnelCpu,
                Figure::BulkRate,
                Figure::BulkCpu,
                Figure::BulkOthers,
                Figure::Latency,
                Figure::RequestRate,
                Figure::RequestCpu,
                Figure::RequestOthers,
            ],
            Self::Login => &[Figure::TunnelRate, Figure::TunnelCpu],
            Self::Opening => &[Figure::Opening, Figure::RoundTrips],
            Self::Crowd => &[
                Figure::Open,
                Figure::MessageRate,
                Figure::ResidentOpen,
                Figure::ResidentUsed,
                Figure::Growth,
                Figure::ResidentClosed,
            ],
            Self::Tail => &[
                Figure::MessageHalf,
                Figure::Message99,
                Figure::Message999,
                Figure::Opening99,
                Figure::Opening999,
                Figure::BesideRate,
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
            for sort in
                [Sort::Ours, Sort::Warm, Sort::Before].into_iter().filter(|sort| self.has(*sort))
            {
                rows.extend(self.comparisons(results, hops, sort));
            }
            for sort in [Sort::OursTwo, Sort::OursSocks, Sort::Before] {
                rows.extend(self.to_ours(results, hops, sort));
            }
            rows.extend(self.secure(results, hops));
            rows.extend(self.logins(results, hops));
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

    /// Returns a row with the ratios of Mooltiroute used in another way to Mooltiroute with its defaults.
    fn to_ours(self, results: &Results, hops: usize, sort: Sort) -> Option<Vec<String>> {
        let place = results.place(sort).filter(|_| self.has(sort))?;
        Some(self.pair(results, hops, [place, results.place(Sort::Ours)?]))
    }

    /// Returns rows with the ratios of Mooltiroute to haproxy with the same use of TLS, and of two workers to one.
    fn secure(self, results: &Results, hops: usize) -> Vec<Vec<String>> {
        let places = self.places(&results.peers, hops);
        let of = |side| {
            let is_meant = |place: &usize| {
                matches!(results.peers[*place].sort,
                    Sort::TlsListener(found) | Sort::TlsHop(found) if found == side)
            };
            places.iter().copied().filter(is_meant).collect::<Vec<_>>()
        };
        let (ours, passages) = (of(Side::Ours), of(Side::Passage));
        let others = ours.iter().flat_map(|one| passages.iter().map(|other| [*one, *other]));
        let workers = ours.windows(2).map(|pair| [pair[1], pair[0]]);
        others.chain(workers).map(|pair| self.pair(results, hops, pair)).collect()
    }

    /// Returns rows with the ratios of each scheme to Basic, and of Mooltiroute to the others by the same scheme.
    fn logins(self, results: &Results, hops: usize) -> Vec<Vec<String>> {
        let places = self.places(&results.peers, hops);
        let of = |place: usize| match results.peers[place].sort {
            Sort::Login(scheme, side) => Some((place, scheme, side)),
            _ => None,
        };
        let all: Vec<_> = places.into_iter().filter_map(of).collect();
        let (ours, others): (Vec<_>, Vec<_>) =
            all.into_iter().partition(|(_, _, side)| *side == Side::Ours);
        let (basic, schemes): (Vec<_>, Vec<_>) =
            ours.into_iter().partition(|(_, scheme, _)| *scheme == LoginScheme::Basic);
        let to_basic = basic.iter().flat_map(|basic| schemes.iter().map(|one| [one.0, basic.0]));
        let to_others = others.iter().flat_map(|other| {
            let is_same = |one: &&(usize, LoginScheme, Side)| one.1 == other.1;
            schemes.iter().filter(is_same).map(|one| [one.0, other.0])
        });
        to_basic.chain(to_others).map(|pair| self.pair(results, hops, pair)).collect()
    }

    /// Returns a row with the ratios of one peer to another.
    fn pair(self, results: &Results, hops: usize, [one, other]: [usize; 2]) -> Vec<String> {
        let names = [one, other].map(|place| results.peers[place].name);
        let ratio = |figure| {
            let ratio = results.ratio((hops, one), other, figure);
            ratio.map_or_else(dash, |ratio| format!("×{ratio:.2}"))
        };
        self.row(hops, &format!("*{} to {}*", names[0], names[1]), ratio, dash())
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

/// Returns all tables, followed by a list of errors and of rows that are missing.
pub(super) fn render(results: &Results) -> String {
    let mut text = String::new();
    for table in Table::ALL {
        let _ = writeln!(text, "### {}\n\n{}", table.title(), aligned(&table.rows(results)));
    }
    let _ = writeln!(text, "### Growth\n\n{}", aligned(&growth(&results.growth)));
    let mut remarks = results.remarks.clone();
    for hops in Table::Ways.hops() {
        let unable =
            results.peers.iter().filter(|peer| Table::Ways.has(peer.sort) && hops > peer.hops_max);
        remarks.extend(
            unable.map(|peer| format!("{} can't be configured for {hops} hops", peer.name)),
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

/// Returns the rows of the costs that grow with the number of something.
fn growth(all: &[Grown]) -> Vec<Vec<String>> {
    let titles = ["number", "of", "start ms", "CPU µs each", "RSS MB", "errors"];
    let mut rows = vec![titles.map(String::from).to_vec()];
    rows.extend(all.iter().map(|grown| {
        let start = format!("{:.1}", grown.start.as_secs_f64() * 1e3);
        let cpu = format!("{:.0}", grown.cpu.as_secs_f64() * 1e6);
        let resident = format!("{:.1}", grown.resident);
        let (count, errors) = (grown.count.to_string(), grown.errors.to_string());
        vec![count, grown.what.to_owned(), start, cpu, resident, errors]
    }));
    rows
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
