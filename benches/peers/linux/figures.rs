//! What was measured, and what follows from it.

use std::collections::BTreeMap;

use super::{
    load::Errors,
    peer::{Peer, Sort},
};

/// A column of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Figure {
    TunnelRate,
    TunnelCpu,
    BulkRate,
    BulkCpu,
    Latency,
    RequestRate,
    RequestCpu,
    Idle,
    Start,
    Resident,
}

/// A way that was measured: the number of hops, and the place of the peer in [`Results::peers`].
pub(super) type Way = (usize, usize);

/// Everything that is told of a run.
#[derive(Debug)]
pub(super) struct Results {
    pub(super) peers: Vec<Peer>,
    /// Programs that this machine does not have.
    pub(super) missing: Vec<&'static str>,
    pub(super) rounds: usize,
    pub(super) idle_tunnels: u64,
    /// What went wrong, in words.
    pub(super) remarks: Vec<String>,
    samples: BTreeMap<(Way, Figure), Vec<f64>>,
    errors: BTreeMap<Way, u64>,
}

impl Figure {
    pub(super) const ALL: [Self; 10] = [
        Self::TunnelRate,
        Self::TunnelCpu,
        Self::BulkRate,
        Self::BulkCpu,
        Self::Latency,
        Self::RequestRate,
        Self::RequestCpu,
        Self::Idle,
        Self::Start,
        Self::Resident,
    ];

    pub(super) fn title(self) -> &'static str {
        match self {
            Self::TunnelRate => "tunnels/s",
            Self::TunnelCpu => "CPU µs/tunnel",
            Self::BulkRate => "GB/s",
            Self::BulkCpu => "CPU s/GB",
            Self::Latency => "added µs",
            Self::RequestRate => "requests/s",
            Self::RequestCpu => "CPU µs/request",
            Self::Idle => "KiB/idle tunnel",
            Self::Start => "start ms",
            Self::Resident => "RSS MB",
        }
    }

    pub(super) fn decimals(self) -> usize {
        match self {
            Self::TunnelRate | Self::TunnelCpu | Self::RequestRate => 0,
            Self::Latency | Self::RequestCpu | Self::Idle | Self::Start | Self::Resident => 1,
            Self::BulkRate | Self::BulkCpu => 2,
        }
    }

    fn is_rate(self) -> bool {
        matches!(self, Self::TunnelRate | Self::BulkRate | Self::RequestRate)
    }
}

impl Results {
    pub(super) fn new(rounds: usize, idle_tunnels: u64) -> Self {
        let (peers, missing) = Peer::all();
        Self {
            peers,
            missing,
            rounds,
            idle_tunnels,
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
    pub(super) fn fail(&mut self, way: Way, what: &str, errors: &Errors) {
        let count = self.errors.entry(way).or_default();
        *count += errors.count;
        if let Some(error) = &errors.first
            && *count == errors.count
        {
            let (hops, name) = (way.0, self.peers[way.1].name);
            self.remarks.push(format!("{name} through {hops} hops, {what}: {error}"));
        }
    }

    /// `None` for a way that was not measured.
    pub(super) fn errors(&self, way: Way) -> Option<u64> {
        self.errors.get(&way).copied()
    }

    pub(super) fn median(&self, way: Way, figure: Figure) -> Option<f64> {
        median(self.samples.get(&(way, figure))?.iter().copied())
    }

    /// The median of the ratios of ours to `other`'s, round by round.
    pub(super) fn ratio(&self, hops: usize, other: usize, figure: Figure) -> Option<f64> {
        let ours = self.samples.get(&((hops, self.place(Sort::Ours)?), figure))?;
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
        [Sort::Limit, Sort::Ours].into_iter().all(|sort| {
            self.place(sort).is_some_and(|place| {
                (0..=HOPS_MAX).all(|hops| self.errors((hops, place)) == Some(0))
            })
        })
    }
}

fn median(samples: impl Iterator<Item = f64>) -> Option<f64> {
    let mut samples: Vec<f64> = samples.filter(|sample| sample.is_finite()).collect();
    samples.sort_unstable_by(f64::total_cmp);
    samples.get(samples.len() / 2).copied()
}

pub(super) const HOPS_MAX: usize = 2;
