//! What came of a run, and what follows from it.

use std::collections::BTreeMap;

use super::{
    figures::Figure,
    load::Errors,
    peer::{Peer, Sort},
    plan::Plan,
    table::Table,
};

/// A way that was measured: the number of hops, and the place of the peer in [`Results::peers`].
pub(super) type Way = (usize, usize);

/// Everything that is told of a run.
#[derive(Debug)]
pub(super) struct Results {
    pub(super) peers: Vec<Peer>,
    /// Programs that this machine does not have.
    pub(super) missing: Vec<&'static str>,
    pub(super) plan: Plan,
    /// What went wrong, in words.
    pub(super) remarks: Vec<String>,
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
            samples: BTreeMap::new(),
            errors: BTreeMap::new(),
        }
    }

    /// Keeps the sample of one round; not a number where the round has none.
    pub(super) fn push(&mut self, way: Way, figure: Figure, sample: f64) {
        self.samples.entry((way, figure)).or_default().push(sample);
    }

    /// Counts what went wrong on a way, which may be nothing, and remarks how it did first.
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

    /// `None` for a way that was not measured.
    pub(super) fn errors(&self, table: Table, way: Way) -> Option<u64> {
        self.errors.get(&(table, way)).copied()
    }

    pub(super) fn median(&self, way: Way, figure: Figure) -> Option<f64> {
        median(self.samples.get(&(way, figure))?.iter().copied())
    }

    /// The median of the ratios of one's to `other`'s, round by round.
    pub(super) fn ratio(&self, way: Way, other: usize, figure: Figure) -> Option<f64> {
        let (hops, _) = way;
        let ours = self.samples.get(&(way, figure)).filter(|_| figure.is_compared())?;
        let theirs = self.samples.get(&((hops, other), figure))?;
        median(ours.iter().zip(theirs).map(|(our, their)| our / their))
    }

    /// The place of the best of the other proxies.
    pub(super) fn best_other(&self, hops: usize, figure: Figure) -> Option<usize> {
        let others = (0..self.peers.len()).filter(|place| self.peers[*place].sort == Sort::Other);
        let medians = others.filter_map(|place| Some((place, self.median((hops, place), figure)?)));
        let sign = if figure.is_rate() { -1.0 } else { 1.0 };
        medians
            .min_by(|(_, one), (_, other)| (sign * one).total_cmp(&(sign * other)))
            .map(|best| best.0)
    }

    /// The place of the only peer of this sort.
    pub(super) fn place(&self, sort: Sort) -> Option<usize> {
        self.peers.iter().position(|peer| peer.sort == sort)
    }

    /// Whether those that are always there did all that they were asked to.
    pub(super) fn is_sound(&self) -> bool {
        [Sort::Limit, Sort::Ours, Sort::Warm].into_iter().all(|sort| {
            self.place(sort).is_some_and(|place| {
                Table::ALL.into_iter().filter(|table| table.has(sort)).all(|table| {
                    table.hops().all(|hops| self.errors(table, (hops, place)) == Some(0))
                })
            })
        })
    }
}

fn median(samples: impl Iterator<Item = f64>) -> Option<f64> {
    let mut samples: Vec<f64> = samples.filter(|sample| sample.is_finite()).collect();
    samples.sort_unstable_by(f64::total_cmp);
    samples.get(samples.len() / 2).copied()
}
