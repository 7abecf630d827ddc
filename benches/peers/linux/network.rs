//! The hops and the origin behind the proxies.

use std::net::SocketAddr;

use super::{process::Process, role::Role};

/// The hops and the origin, while they run.
#[derive(Debug)]
pub(super) struct Network {
    _processes: Vec<Process>,
    hops: Vec<SocketAddr>,
    origin: SocketAddr,
}

impl Network {
    pub(super) fn start() -> Self {
        let parts =
            [Role::Hop(vec![]), Role::Hop(vec![]), Role::Origin].map(|role| Process::part(&role));
        let (processes, mut addresses): (Vec<_>, Vec<_>) = parts.into_iter().unzip();
        let origin = addresses.pop().unwrap();
        Self { _processes: processes, hops: addresses, origin }
    }

    /// The hops and the origin at the end of a slow line, which ends with this value.
    pub(super) fn far(&self) -> Self {
        let (process, link) = Process::part(&Role::Link(self.hops[0]));
        let hops = [link].into_iter().chain(self.hops[1..].iter().copied()).collect();
        Self { _processes: vec![process], hops, origin: self.origin }
    }

    pub(super) fn origin(&self) -> SocketAddr {
        self.origin
    }

    /// Returns the first `count` hops.
    pub(super) fn hops(&self, count: usize) -> &[SocketAddr] {
        &self.hops[..count]
    }

    /// Returns the first `hops` hops and the origin after them.
    pub(super) fn stops(&self, hops: usize) -> Vec<SocketAddr> {
        self.hops(hops).iter().copied().chain([self.origin]).collect()
    }
}
