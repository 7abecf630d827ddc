//! The system's limit of open files.

/// Raises this process's limit as far as it may, and says so in the log where `connections` clients would not fit.
pub(crate) fn raise(connections: usize) {
    #[cfg(unix)]
    unix::raise(connections);
    #[cfg(not(unix))]
    let _ = connections;
}

#[cfg(unix)]
mod unix {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    use tracing::warn;

    pub(super) fn raise(connections: usize) {
        let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
        let raised = Rlimit { current: maximum, maximum };
        // Some systems refuse "no limit" here; then it stays as it was.
        let limit = if setrlimit(Resource::Nofile, raised).is_ok() { maximum } else { current };
        let needed = connections as u64 * PER_CONNECTION + OTHERS;
        if limit.is_some_and(|limit| limit < needed) {
            warn!(
                limit,
                needed, "too few open files are allowed for `limits.connections`; see `ulimit -n`"
            );
        }
    }

    /// The client's socket and the upstream's.
    const PER_CONNECTION: u64 = 2;
    /// Listeners, the runtime, the log, look-ups.
    const OTHERS: u64 = 64;
}
