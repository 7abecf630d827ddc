//! The amount of work in a run.

use std::time::Duration;

use super::usage;

/// The amount of work in a run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    pub(super) rounds: usize,
    pub(super) tunnels: u64,
    /// The bytes down each stream.
    pub(super) bulk_bytes: u64,
    pub(super) messages: u64,
    pub(super) requests: u64,
    pub(super) idle_tunnels: u64,
    pub(super) starts: usize,
    /// How many tunnels each peer opens over the slow line.
    pub(super) openings: usize,
    pub(super) crowds: usize,
    pub(super) crowd_tunnels: u64,
    /// How long the active tunnels of a crowd exchange messages.
    pub(super) crowd_talk: Duration,
    /// How long after the close of a crowd the memory is read.
    pub(super) crowd_rest: Duration,
    pub(super) tails: usize,
    pub(super) tail_tunnels: u64,
    /// How long the clients talk beside the busy tunnel.
    pub(super) tail_talk: Duration,
    /// The largest number of routes, members and tunnels for the costs that grow, and the tunnels that are opened each
    /// time.
    pub(super) growth: (u64, u64),
}

impl Plan {
    /// A run whose figures are published.
    pub(super) const FULL: Self = Self {
        rounds: 5,
        tunnels: 1500,
        bulk_bytes: 512 << 20,
        messages: 3000,
        requests: 6000,
        idle_tunnels: 9000,
        starts: 7,
        openings: 15,
        crowds: 3,
        crowd_tunnels: 10_000,
        crowd_talk: Duration::from_secs(5),
        crowd_rest: Duration::from_secs(3),
        tails: 3,
        tail_tunnels: 200,
        tail_talk: Duration::from_secs(4),
        growth: (10_000, 1000),
    };

    /// A run that shows that everything works.
    pub(super) const QUICK: Self = Self {
        rounds: 1,
        tunnels: 40,
        bulk_bytes: 8 << 20,
        messages: 100,
        requests: 80,
        idle_tunnels: 100,
        starts: 1,
        openings: 3,
        crowds: 1,
        crowd_tunnels: 200,
        crowd_talk: Duration::from_millis(300),
        crowd_rest: Duration::from_millis(300),
        tails: 1,
        tail_tunnels: 20,
        tail_talk: Duration::from_millis(500),
        growth: (100, 40),
    };

    /// Returns this plan with fewer tunnels if this process and its children may not open enough files.
    pub(super) fn allowed(self) -> Self {
        let files = usage::open_files_max() as u64;
        // A tunnel takes two files in a proxy, and squid reserves a hundred.
        let idle_tunnels = self.idle_tunnels.min(files.saturating_sub(500) / 2);
        let crowd_tunnels = self.crowd_tunnels.min(files.saturating_sub(200) / 2);
        Self { idle_tunnels, crowd_tunnels, ..self }
    }
}
