//! The system's limit of open files, and how many clients fit below it.
//!
//! Each client needs a descriptor for itself and one for its upstream connection. A proxy that accepts until the limit
//! is reached has none left for upstream connections and answers everything with an error. So accepting stops while
//! descriptors for both are not free, and further clients wait in the queue of the listener.

/// Raises this process's limit as far as allowed, and logs it if `connections` clients would not fit.
pub(crate) fn raise(connections: usize) {
    #[cfg(unix)]
    unix::raise(connections);
    #[cfg(not(unix))]
    let _ = connections;
}

/// Whether a descriptor that serves speed alone, such as that of a pipe, leaves enough of them for sockets.
#[cfg(target_os = "linux")]
pub(crate) fn leave_room_beside(descriptor: &impl std::os::fd::AsRawFd) -> bool {
    // The system hands out the lowest free number, so a high one means that nearly all are in use.
    let number = u64::try_from(descriptor.as_raw_fd()).unwrap_or(u64::MAX);
    unix::limit().is_none_or(|limit| number < limit / 4 * 3)
}

/// The descriptors that are not for clients and their upstream connections.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reserved(u64);

impl Reserved {
    /// Counts what is open now, before there are clients, and adds some for reloads and name look-ups.
    pub(crate) fn measure() -> Self {
        #[cfg(unix)]
        return Self(unix::in_use() + SPARE);
        #[cfg(not(unix))]
        Self(SPARE)
    }

    /// Returns how many clients fit below the limit as it is now, beside `spares` spare upstream connections. One
    /// always does.
    pub(crate) fn clients_that_fit(self, spares: usize) -> usize {
        #[cfg(unix)]
        let limit = unix::limit();
        #[cfg(not(unix))]
        let limit: Option<u64> = None;
        let Some(limit) = limit else { return usize::MAX };
        // Without room for a single client, the proxy would never accept one. So one is let in, and may fail.
        let left = limit.saturating_sub(self.0).saturating_sub(spares as u64);
        usize::try_from(left / PER_CLIENT).unwrap_or(usize::MAX).max(1)
    }
}

/// The client's socket and the upstream's.
const PER_CLIENT: u64 = 2;
/// For the files of a reload, and for the second attempt of a race between addresses.
const SPARE: u64 = 4;

#[cfg(unix)]
mod unix {
    use std::fs;

    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    use tracing::{info, warn};

    use super::PER_CLIENT;

    pub(super) fn raise(connections: usize) {
        let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
        // The soft limit is often 1024. A process may raise it to the hard limit without privileges.
        let raised = Rlimit { current: maximum, maximum };
        // Some systems refuse "no limit" here; then the limit stays as it was.
        let limit = if setrlimit(Resource::Nofile, raised).is_ok() { maximum } else { current };
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

    #[test]
    fn clients_fit_in_pairs_of_descriptors_below_the_limit() {
        let Some(limit) = unix::limit() else { return };
        let fit = |reserved, spares| Reserved(reserved).clients_that_fit(spares) as u64;
        assert_eq!(fit(0, 0), limit / 2);
        assert_eq!(fit(limit - 21, 0), 10);
        assert_eq!(fit(limit - 21, 11), 5);
        assert_eq!((fit(limit, 0), fit(limit * 2, 7)), (1, 1));
    }
}
