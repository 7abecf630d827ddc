//! How much is done.

use std::time::Duration;

use super::usage;

/// How much of everything is done.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    pub(super) rounds: usize,
    pub(super) tunnels: u64,
    /// Down each stream.
    pub(super) bulk_bytes: u64,
    pub(super) messages: u64,
    pub(super) requests: u64,
    pub(super) idle_tunnels: u64,
    pub(super) starts: usize,
    /// Tunnels opened on a long line, by everyone.
    pub(super) openings: usize,
    pub(super) crowds: usize,
    pub(super) crowd_tunnels: u64,
    /// How long some of a crowd talk.
    pub(super) crowd_talk: Duration,
    /// How long after a crowd has gone its proxy is looked at.
    pub(super) crowd_rest: Duration,
}

impl Plan {
    /// What figures are made with.
    pub(super) const FULL: Self = Self {
        rounds: 7,
        tunnels: 1500,
        bulk_bytes: 512 << 20,
        messages: 3000,
        requests: 6000,
        idle_tunnels: 9000,
        starts: 9,
        openings: 25,
        crowds: 3,
        crowd_tunnels: 10_000,
        crowd_talk: Duration::from_secs(5),
        crowd_rest: Duration::from_secs(3),
    };

    /// Enough to see that everything works.
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
    };

    /// The same with no more tunnels than this process and its children may open files for.
    pub(super) fn allowed(self) -> Self {
        let files = usage::open_files_max() as u64;
        // A tunnel has two in a proxy, and squid keeps a hundred for itself.
        let idle_tunnels = self.idle_tunnels.min(files.saturating_sub(500) / 2);
        let crowd_tunnels = self.crowd_tunnels.min(files.saturating_sub(200) / 2);
        Self { idle_tunnels, crowd_tunnels, ..self }
    }
}
