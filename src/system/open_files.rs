//! The system's limit of open files, and how many clients fit below it.
//!
//! Each client needs a descriptor for itself and one for its upstream connection. A proxy that accepts until the limit
//! is reached has none left for upstream connections and answers everything with an error. So accepting stops while
//! descriptors for both are not free, and further clients wait in the queue of the listener.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Raises this process's limit as far as allowed.
pub(crate) fn raise() {
    #[cfg(unix)]
    unix::raise();
}

/// Returns whether so few descriptors are left that another task may have taken the last one a moment ago. Reads a directory.
pub(crate) fn are_scarce() -> bool {
    #[cfg(unix)]
    return limit().is_some_and(|limit| limit.saturating_sub(unix::in_use()) < FEW);
    #[cfg(not(unix))]
    false
}

/// Returns the limit in force, which another process may change; `None` if there is none.
fn limit() -> Option<u64> {
    #[cfg(unix)]
    return unix::limit();
    #[cfg(not(unix))]
    None
}

/// Logs it if `connections` clients don't fit below the limit.
pub(crate) fn tell_of_limit(connections: usize) {
    #[cfg(unix)]
    unix::tell_of_limit(connections);
    #[cfg(not(unix))]
    let _ = connections;
}

/// The two descriptors of a pipe, which only saves copying. They are counted until this is dropped.
#[cfg(target_os = "linux")]
#[derive(Debug)]
pub(crate) struct PipeDescriptors(&'static PipeCount);

#[cfg(target_os = "linux")]
impl PipeDescriptors {
    /// Counts one more pipe. Returns `None` if all pipes together would take more than their share.
    pub(crate) fn take() -> Option<Self> {
        PIPES.take(limit())
    }
}

#[cfg(target_os = "linux")]
impl Drop for PipeDescriptors {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Relaxed);
    }
}

/// The number of pipes.
#[derive(Debug)]
struct PipeCount(AtomicU64);

impl PipeCount {
    /// Counts one more pipe below this limit of open files.
    #[cfg(target_os = "linux")]
    fn take(&'static self, limit: Option<u64>) -> Option<PipeDescriptors> {
        let before = self.0.fetch_add(1, Relaxed);
        // Dropped if there is no room, which takes it off the count.
        let counted = PipeDescriptors(self);
        let most = limit.map_or(u64::MAX, |limit| limit / PIPE_SHARE / PER_PIPE);
        (before < most).then_some(counted)
    }

    fn descriptors(&self) -> u64 {
        self.0.load(Relaxed) * PER_PIPE
    }
}

/// The descriptors that are not for clients and their upstream connections.
#[derive(Debug)]
pub(crate) struct Reserved {
    /// The number of descriptors that were open before there were clients.
    measured: u64,
    /// How many of these are sockets to accept on.
    measured_acceptors: AtomicU64,
    /// The sockets to accept on now. Each worker has its own duplicate of each listener.
    acceptors: AtomicU64,
    /// The threads that accept.
    workers: AtomicU64,
}

impl Reserved {
    /// Counts what is open now, before there are clients.
    pub(crate) fn measure() -> Self {
        #[cfg(unix)]
        let measured = unix::in_use();
        #[cfg(not(unix))]
        let measured = 0;
        Self {
            measured,
            measured_acceptors: AtomicU64::new(0),
            acceptors: AtomicU64::new(0),
            workers: AtomicU64::new(1),
        }
    }

    /// Notes that so many sockets to accept on were open when it was measured, and how many threads accept.
    pub(crate) fn note(&self, measured_acceptors: usize, workers: usize) {
        self.measured_acceptors.store(measured_acceptors as u64, Relaxed);
        self.workers.store(workers as u64, Relaxed);
    }

    /// Counts another socket to accept on.
    pub(crate) fn add_acceptor(&self) {
        self.acceptors.fetch_add(1, Relaxed);
    }

    /// Takes one socket to accept on off the count.
    pub(crate) fn remove_acceptor(&self) {
        self.acceptors.fetch_sub(1, Relaxed);
    }

    /// Returns how many clients fit below the limit as it is now, beside the spare upstream connections that fit of `wanted`
    /// ones. One client always does.
    pub(crate) fn clients_that_fit(&self, wanted: usize) -> usize {
        limit().map_or(usize::MAX, |limit| {
            self.clients_below(limit, &PIPES, self.spares_below(limit, &PIPES, wanted))
        })
    }

    /// Returns how many of `wanted` spare upstream connections fit below the limit as it is now. Without spares the proxy works
    /// too, so all of them together get a share of the descriptors that clients need.
    pub(crate) fn spares_that_fit(&self, wanted: usize) -> usize {
        limit().map_or(wanted, |limit| self.spares_below(limit, &PIPES, wanted))
    }

    fn spares_below(&self, limit: u64, pipes: &PipeCount, wanted: usize) -> usize {
        let room = limit.saturating_sub(self.now() + pipes.descriptors());
        wanted.min(usize::try_from(room / SPARES_SHARE).unwrap_or(usize::MAX))
    }

    fn clients_below(&self, limit: u64, pipes: &PipeCount, spares: usize) -> usize {
        let others = self.now() + pipes.descriptors() + spares as u64;
        // Without room for a single client, the proxy would never accept one. So one is let in, and may fail.
        let fitting = limit.saturating_sub(others) / PER_CLIENT;
        usize::try_from(fitting).unwrap_or(usize::MAX).max(1)
    }

    /// Returns how many there are at the moment, without those of pipes.
    fn now(&self) -> u64 {
        let more =
            self.acceptors.load(Relaxed).saturating_sub(self.measured_acceptors.load(Relaxed));
        // Workers that look for room at the same time may each take the last one.
        let at_once = (self.workers.load(Relaxed) - 1) * PER_CLIENT;
        self.measured + more + at_once + SPARE
    }
}

/// The pipes of all workers, each of which keeps some.
static PIPES: PipeCount = PipeCount(AtomicU64::new(0));
const PER_PIPE: u64 = 2;
/// Pipes may take one in so many descriptors. Without one, a tunnel works by copying.
#[cfg(target_os = "linux")]
const PIPE_SHARE: u64 = 8;
/// Spares may take one in so many of the descriptors that are left for clients.
const SPARES_SHARE: u64 = 4;
/// The client's socket and the upstream's.
const PER_CLIENT: u64 = 2;
/// For the control socket, the watch of the network, the files of a reload, and the second attempt of a race between
/// addresses.
const SPARE: u64 = 8;

/// As many as come and go within a moment.
#[cfg(unix)]
const FEW: u64 = 32;

#[cfg(unix)]
mod unix {
    use std::fs;

    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    use tracing::{info, warn};

    use super::PER_CLIENT;

    pub(super) fn raise() {
        let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
        // The soft limit is often 1024. A process may raise it to the hard limit without privileges.
        let raised = Rlimit { current: maximum, maximum };
        // Some systems refuse "no limit" here; then the limit stays as it was.
        let _ = setrlimit(Resource::Nofile, raised);
    }

    pub(super) fn tell_of_limit(connections: usize) {
        let limit = limit();
        let needed = connections as u64 * PER_CLIENT + OTHERS;
        if limit.is_some_and(|limit| limit < needed) {
            let limit = limit.unwrap_or_default();
            let fitting = limit.saturating_sub(OTHERS) / PER_CLIENT;
            let mut advice = format!(
                "raise the limit to {needed} (`ulimit -Hn {needed}`, or `LimitNOFILE={needed}` for systemd)"
            );
            if fitting > 0 {
                advice += &format!(", or lower `limits.connections` to {fitting}");
            }
            // Most machines never have that many clients, and nothing is wrong there: further ones would wait.
            if fitting < MANY_CLIENTS {
                warn!(
                    limit,
                    needed,
                    fitting,
                    advice,
                    "too few open files are allowed for `limits.connections`"
                );
            } else {
                info!(
                    limit,
                    needed,
                    fitting,
                    advice,
                    "too few open files are allowed for `limits.connections`"
                );
            }
        }
    }

    /// Returns the limit in force, which another process may change; `None` if there is none.
    pub(super) fn limit() -> Option<u64> {
        getrlimit(Resource::Nofile).current
    }

    pub(super) fn in_use() -> u64 {
        let directory = if cfg!(target_os = "linux") { "/proc/self/fd" } else { "/dev/fd" };
        // The directory itself is open while it is read.
        fs::read_dir(directory).map_or(OTHERS, |entries| (entries.count() as u64).saturating_sub(1))
    }

    /// Listeners, the runtime, the log, name look-ups: more than they usually need.
    const OTHERS: u64 = 64;
    /// More clients than the programs of one user have.
    const MANY_CLIENTS: u64 = 1000;
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    fn reserved(measured: u64) -> Reserved {
        Reserved { measured, ..Reserved::measure() }
    }

    #[test]
    fn clients_fit_in_pairs_of_descriptors_below_the_limit() {
        let (limit, count) = (1024, PipeCount(AtomicU64::new(3)));
        let pipes = count.descriptors();
        let fit = |measured, spares| reserved(measured).clients_below(limit, &count, spares) as u64;
        assert_eq!(fit(0, 0), (limit - SPARE - pipes) / 2);
        assert_eq!(fit(limit - SPARE - pipes - 21, 0), 10);
        assert_eq!(fit(limit - SPARE - pipes - 21, 11), 5);
        assert_eq!((fit(limit, 0), fit(limit * 2, 7)), (1, 1));
    }

    #[test]
    fn spares_get_a_share_of_what_is_left_for_clients() {
        let count = PipeCount(AtomicU64::new(3));
        let others = 20 + SPARE + count.descriptors();
        let fit = |limit, wanted| reserved(20).spares_below(limit, &count, wanted);
        assert_eq!((fit(1024, 8), fit(1024, 0)), (8, 0));
        assert_eq!(fit(others + 31, 8), 7);
        assert_eq!((fit(others + 3, 8), fit(others, 8), fit(1, 8)), (0, 0, 0));
    }

    #[test]
    fn each_worker_needs_room_for_its_listeners_and_for_a_client_that_it_accepts() {
        let reserved = reserved(20);
        let before = reserved.now();
        // One worker with the two listeners that were measured needs no more.
        reserved.note(2, 1);
        reserved.add_acceptor();
        reserved.add_acceptor();
        assert_eq!(reserved.now(), before);
        // Three more workers have a duplicate of each, and may each accept one client too many.
        reserved.note(2, 4);
        (0..6).for_each(|_| reserved.add_acceptor());
        assert_eq!(reserved.now(), before + 6 + 3 * PER_CLIENT);
        // A reload closes one listener.
        (0..4).for_each(|_| reserved.remove_acceptor());
        assert_eq!(reserved.now(), before + 2 + 3 * PER_CLIENT);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn pipes_take_no_more_than_their_share() {
        static COUNT: PipeCount = PipeCount(AtomicU64::new(0));
        let (limit, most) = (1024, 1024 / PIPE_SHARE / PER_PIPE);
        let taken: Vec<_> = (0..=most).map_while(|_| COUNT.take(Some(limit))).collect();
        assert!(taken.len() as u64 == most && COUNT.take(Some(limit)).is_none());
        assert_eq!(COUNT.descriptors(), most * PER_PIPE);
        assert!(COUNT.take(None).is_some(), "without a limit");
        drop(taken);
        assert!(COUNT.take(Some(limit)).is_some());
    }
}
