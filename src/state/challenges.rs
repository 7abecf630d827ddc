//! Tells clients that never send credentials from those that send them once they are asked.
//!
//! Browsers, git and other clients send a first request without credentials, are asked for them, and send the request
//! again on another connection. So a request without credentials is a mistake only if the client does not ask for the same
//! target with the right ones soon after.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use mooltiroute_hops::Authority;
use tokio::time::Instant;

/// The requests without credentials whose clients may still come back with them.
#[derive(Debug, Default)]
pub(crate) struct Challenges {
    open: Mutex<Vec<Challenge>>,
    /// The length of `open`, so that most requests take no lock.
    count: AtomicUsize,
}

/// A client that was asked for credentials.
#[derive(Debug)]
struct Challenge {
    /// The connection that waits for the outcome.
    peer: SocketAddr,
    target: Authority,
    requests: u64,
    since: Instant,
}

/// A client that did not come back with credentials.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Unanswered {
    /// The target that it asked for.
    pub target: Authority,
    /// How often it asked for that without credentials.
    pub requests: u64,
}

impl Challenges {
    /// Notes that the client at `peer` was asked for credentials. Returns whether there was room for it.
    pub(crate) fn begin(&self, peer: SocketAddr, target: &Authority) -> bool {
        let mut open = self.lock();
        // A connection that was cut has left its challenge behind.
        open.retain(|one| one.since.elapsed() < FORGOTTEN);
        let has_room = open.len() < OPEN_MAX;
        let same = open.iter_mut().find(|one| one.is_of(peer.ip(), target));
        let is_noted = same.is_some() || has_room;
        match same {
            Some(one) => one.requests += 1,
            None if has_room => {
                let since = Instant::now();
                open.push(Challenge { peer, target: target.clone(), requests: 1, since });
            }
            None => {}
        }
        self.count.store(open.len(), Relaxed);
        is_noted
    }

    /// Notes that a client at `address` has asked for `target` with the right credentials.
    pub(crate) fn answer(&self, address: IpAddr, target: &Authority) {
        if self.count.load(Relaxed) > 0 {
            let mut open = self.lock();
            open.retain(|one| !one.is_of(address, target));
            self.count.store(open.len(), Relaxed);
        }
    }

    /// Returns whether the connection of `peer` has to wait for an outcome.
    pub(crate) fn concerns(&self, peer: SocketAddr) -> bool {
        self.count.load(Relaxed) > 0 && self.lock().iter().any(|one| one.peer == peer)
    }

    /// Ends the wait of the connection of `peer`. Returns `None` if the client has come back with credentials.
    pub(crate) fn end(&self, peer: SocketAddr) -> Option<Unanswered> {
        let mut open = self.lock();
        let place = open.iter().position(|one| one.peer == peer)?;
        let Challenge { target, requests, .. } = open.swap_remove(place);
        self.count.store(open.len(), Relaxed);
        Some(Unanswered { target, requests })
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Challenge>> {
        // Changed in one step, so it is valid even after a panic of another holder.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Challenge {
    fn is_of(&self, address: IpAddr, target: &Authority) -> bool {
        self.peer.ip() == address && self.target == *target
    }
}

/// How long a client has to come back with credentials, after its connection has closed.
pub(crate) const ANSWER_TIME: Duration = Duration::from_secs(2);

/// How many challenges are kept. Those beyond are taken for unanswered at once.
const OPEN_MAX: usize = 64;

/// Longer than a connection takes to close, with [`ANSWER_TIME`] after it.
const FORGOTTEN: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use tokio::time;

    use super::*;

    fn peer(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    fn target(name: &str) -> Authority {
        format!("{name}:443").parse().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn only_the_same_client_and_target_answer_a_challenge() {
        let challenges = Challenges::default();
        assert!(!challenges.concerns(peer(1)));
        assert!(challenges.begin(peer(1), &target("a")));
        assert!(challenges.begin(peer(2), &target("a")));
        assert!(challenges.begin(peer(3), &target("b")));
        assert!(challenges.concerns(peer(1)) && !challenges.concerns(peer(2)));
        challenges.answer([127, 0, 0, 2].into(), &target("a"));
        challenges.answer([127, 0, 0, 1].into(), &target("c"));
        let unanswered = Unanswered { target: target("a"), requests: 2 };
        assert_eq!(challenges.end(peer(1)), Some(unanswered));
        challenges.answer([127, 0, 0, 1].into(), &target("b"));
        assert_eq!(challenges.end(peer(3)), None);
        assert!(!challenges.concerns(peer(3)));
    }

    #[tokio::test(start_paused = true)]
    async fn challenges_are_limited_and_do_not_stay() {
        let challenges = Challenges::default();
        for port in 1..=64 {
            assert!(challenges.begin(peer(port), &target(&format!("a{port}"))));
        }
        assert!(!challenges.begin(peer(65), &target("b")));
        time::advance(FORGOTTEN).await;
        assert!(challenges.begin(peer(65), &target("b")));
        assert_eq!(challenges.end(peer(1)), None);
    }
}
