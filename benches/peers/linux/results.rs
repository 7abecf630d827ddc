//! The samples of a run, and the figures made from them.

use std::collections::BTreeMap;

use super::{
    figures::Figure,
    growth::Grown,
    load::Errors,
    peer::{Peer, Sort},
    plan::Plan,
    table::Table,
};

/// The key of a series of samples: the number of hops, and the index of the peer in [`Results::peers`].
pub(super) type Way = (usize, usize);

/// All samples of a run.
#[derive(Debug)]
pub(super) struct Results {
    pub(super) peers: Vec<Peer>,
    /// The programs that are not installed.
    pub(super) missing: Vec<&'static str>,
    pub(super) plan: Plan,
    /// The errors, as text.
    pub(super) remarks: Vec<String>,
    /// The costs that grow with a count.
    pub(super) growth: Vec<Grown>,
    samples: BTreeMap<(Way, Figure), Vec<f64>>,
    errors: BTreeMap<(Table, Way), u64>,
}

impl Results {
    pub(super) fn new(plan: Plan) -> Self {
        let (peers, missing) = Peer::all();
        Self {
            peers,
            missing,
            plan,
            remarks: Vec::new(),
            growth: Vec::new(),
            samples: BTreeMap::new(),
            errors: BTreeMap::new(),
        }
    }

    /// Adds the sample of one round, or NaN if the round has none.
    pub(super) fn push(&mut self, way: Way, figure: Figure, sample: f64) {
        self.samples.entry((way, figure)).or_default().push(sample);
    }

    /// Adds the number of errors of a series, which may be zero, and the text of the first.
    pub(super) fn fail(&mut self, table: Table, way: Way, what: &str, errors: &Errors) {
        let count = self.errors.entry((table, way)).or_default();
        *count += errors.count;
        if let Some(error) = &errors.first
            && *count == errors.count
        {
            let (hops, name) = (way.0, self.peers[way.1].name);
            self.remarks.push(format!("{name} through {hops} hops, {what}: {error}"));
        }
    }

    /// Returns the number of errors of a series, or `None` if the series has no samples.
    pub(super) fn errors(&self, table: Table, way: Way) -> Option<u64> {
        self.errors.get(&(table, way)).copied()
    }

    pub(super) fn median(&self, way: Way, figure: Figure) -> Option<f64> {
        median(self.samples.get(&(way, figure))?.iter().copied())
    }

    /// Returns the median of the ratios to `other`, round by round.
    pub(super) fn ratio(&self, way: Way, other: usize, figure: Figure) -> Option<f64> {
        let (hops, _) = way;
        let ours = self.samples.get(&(way, figure)).filter(|_| figure.is_compared())?;
        let theirs = self.samples.get(&((hops, other), figure))?;
        median(ours.iter().zip(theirs).map(|(our, their)| our / their))
    }

    /// Returns the index of the best of the other proxies.
    pub(super) fn best_other(&self, hops: usize, figure: Figure) -> Option<usize> {
        let others = (0..self.peers.len()).filter(|place| self.peers[*place].sort == Sort::Other);
        let medians = others.filter_map(|place| Some((place, self.median((hops, place), figure)?)));
        let sign = if figure.is_rate() { -1.0 } else { 1.0 };
        medians
            .min_by(|(_, one), (_, other)| (sign * one).total_cmp(&(sign * other)))
            .map(|best| best.0)
    }

    /// Returns the index of the only peer of this sort.
    pub(super) fn place(&self, sort: Sort) -> Option<usize> {
        self.peers.iter().position(|peer| peer.sort == sort)
    }

    /// Returns whether every row of Mooltiroute and of the limit was measured without an error.
    pub(super) fn is_sound(&self) -> bool {
        let is_sound = |table: Table, hops| {
            let places = table.places(&self.peers, hops).into_iter();
            let mut ours = places.filter(|place| self.peers[*place].sort.is_ours_or_limit());
            ours.all(|place| self.errors(table, (hops, place)) == Some(0))
        };
        let has_grown = self.growth.iter().all(|grown| grown.errors == 0);
        has_grown
            && Table::ALL.into_iter().all(|table| table.hops().all(|hops| is_sound(table, hops)))
    }
}

fn median(samples: impl Iterator<Item = f64>) -> Option<f64> {
    let mut samples: Vec<f64> = samples.filter(|sample| sample.is_finite()).collect();
    samples.sort_unstable_by(f64::total_cmp);
    samples.get(samples.len() / 2).copied()
}
