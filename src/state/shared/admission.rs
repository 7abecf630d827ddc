//! The count of client connections, and the limit of them.

use std::sync::{Arc, atomic::Ordering};

use super::Shared;
use crate::system::workers::WorkerConnection;

/// One connection that counts against `limits.connections`, until it is dropped.
#[derive(Debug)]
pub(crate) struct Admission {
    shared: Arc<Shared>,
    number: u64,
    is_over_limit: bool,
    /// Counts it for the worker that serves it.
    worker: WorkerConnection,
}

impl Admission {
    /// Counts one connection more: as one that is served if there is room for it, otherwise as one that is turned away.
    ///
    /// Workers call this at the same time, so looking for room and taking it is one step. Those that are turned away
    /// take no room from others, however long they stay.
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        let limit = shared.live.current().limits.connections;
        let take = |served| (served < limit).then_some(served + 1);
        let taken = shared.served.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take);
        let is_over_limit = taken.is_err();
        if is_over_limit {
            shared.turned_away.fetch_add(1, Ordering::Relaxed);
        }
        shared.peaks.rise(shared.open());
        let number = shared.admitted.fetch_add(1, Ordering::Relaxed) + 1;
        Self { shared, number, is_over_limit, worker: WorkerConnection::default() }
    }

    /// Keeps `worker` as long as this lasts.
    #[must_use]
    pub(crate) fn served_by(mut self, worker: WorkerConnection) -> Self {
        self.worker = worker;
        self
    }

    /// Returns the number of the connection, which no other connection of this process has.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// Returns the state that its session shares with the others.
    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Returns whether the limit was reached before it.
    pub(crate) fn is_over_limit(&self) -> bool {
        self.is_over_limit
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        let shared = &self.shared;
        let count = if self.is_over_limit { &shared.turned_away } else { &shared.served };
        count.fetch_sub(1, Ordering::Relaxed);
        shared.peaks.fall(shared.open());
        // A permit stays if no listener waits now, so the next wait sees that there is room.
        shared.ended.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use mooltiroute_hops::kinds;

    use super::*;
    use crate::{
        config::{Environment, Loader, Overrides, Source},
        state::generation::Generation,
        system::shutdown::Shutdown,
    };

    fn limited_to(limit: usize) -> Arc<Shared> {
        let yaml = format!("limits: {{ connections: {limit} }}\nchains: {{ default: [] }}\n");
        let source = Source::Text(yaml.into());
        let environment = Environment::new(|_| None, Path::new(""));
        let overrides = Overrides::default();
        let loader = Loader::new(source.clone(), overrides, kinds::builtin(), environment);
        let first = Generation::new(1, loader.load().unwrap(), vec![]);
        Shared::new(first, source, Shutdown::default())
    }

    #[test]
    fn threads_together_admit_exactly_as_many_as_the_limit() {
        const LIMIT: usize = 1000;
        let shared = limited_to(LIMIT);
        let admit =
            || -> Vec<_> { (0..LIMIT).map(|_| Admission::new(Arc::clone(&shared))).collect() };
        let admitted: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(admit)).collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
        });
        let served = admitted.iter().filter(|admission| !admission.is_over_limit()).count();
        assert_eq!((served, shared.open(), shared.turned_away()), (LIMIT, 4 * LIMIT, 3 * LIMIT));
        drop(admitted);
        assert_eq!((shared.open(), shared.turned_away()), (0, 0));
    }

    #[test]
    fn a_connection_counts_until_it_is_dropped() {
        let shared = limited_to(2);
        let mut admitted: Vec<_> = (0..3).map(|_| Admission::new(Arc::clone(&shared))).collect();
        let over: Vec<_> = admitted.iter().map(Admission::is_over_limit).collect();
        assert_eq!((over.as_slice(), shared.open()), ([false, false, true].as_slice(), 3));
        admitted.remove(0);
        let next = Admission::new(Arc::clone(&shared));
        assert!(!next.is_over_limit(), "one that is turned away takes no room");
        assert!(Admission::new(Arc::clone(&shared)).is_over_limit());
        drop(next);
        drop(admitted);
        assert_eq!(shared.open(), 0);
    }
}
