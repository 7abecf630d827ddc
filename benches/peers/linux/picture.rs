//! Draws the costs of all programs as bars, in multiples of the bare relay.

use std::fmt::Write as _;

use super::{figures::Figure, peer::Sort, results::Results, table::Table};

/// Draws a group of bars for each cost, without hops, as SVG. Programs without a figure have no bar.
pub(super) fn render(results: &Results) -> String {
    let mut body = String::new();
    let mut top = GAP;
    for figure in [Figure::TunnelCpu, Figure::BulkCpu, Figure::RequestCpu] {
        top = group(&mut body, results, figure, top);
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{top}\" \
         viewBox=\"0 0 {WIDTH} {top}\" font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n{body}</svg>\n"
    )
}

/// Draws the bars of one figure from `top` on. Returns the top of the next group.
fn group(body: &mut String, results: &Results, figure: Figure, top: usize) -> usize {
    let Some(limit) = results.place(Sort::Limit) else { return top };
    let places = Table::Ways.places(&results.peers, 0);
    let bars: Vec<_> = places
        .into_iter()
        .filter_map(|place| Some((place, results.ratio((0, place), limit, figure)?)))
        .collect();
    let longest = bars.iter().map(|(_, ratio)| *ratio).fold(1.0, f64::max);
    let _ = writeln!(
        body,
        "<text x=\"{GAP}\" y=\"{}\" font-weight=\"bold\">{}, bare relay = 1</text>",
        top + TEXT,
        figure.title()
    );
    let mut y = top + ROW;
    for (place, ratio) in bars {
        let peer = &results.peers[place];
        let color = match peer.sort {
            Sort::Ours | Sort::OursTwo | Sort::OursSocks | Sort::Before => "#1f6f5c",
            Sort::Limit | Sort::Least | Sort::Passage => "#b0b0b0",
            _ => "#c98b2b",
        };
        let (bar, base) = (ratio / longest * BAR_MAX, y + TEXT);
        let _ = writeln!(
            body,
            "<text x=\"{GAP}\" y=\"{base}\">{}</text>\
             <rect x=\"{NAMES}\" y=\"{}\" width=\"{bar:.1}\" height=\"{BAR}\" fill=\"{color}\"/>\
             <text x=\"{:.1}\" y=\"{base}\">{ratio:.2}</text>",
            peer.name,
            y + (ROW - BAR) / 2,
            NAMES as f64 + bar + 6.0,
        );
        y += ROW;
    }
    y + GAP
}

const WIDTH: usize = 760;
/// The width of the column of names.
const NAMES: usize = 190;
/// The longest bar, which leaves room for its number.
const BAR_MAX: f64 = 500.0;
const ROW: usize = 22;
const BAR: usize = 14;
/// From the top of a row to the base line of its text.
const TEXT: usize = 15;
const GAP: usize = 12;
