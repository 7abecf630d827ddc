//! The limit of open files that this process has itself, which holds both ends of what goes through the proxy.

/// Raises it to `needed` where it is lower, as far as it may be.
#[cfg(unix)]
pub(crate) fn raise_open_files(needed: u64) {
    use rustix::process::{Resource, getrlimit, setrlimit};

    let mut limit = getrlimit(Resource::Nofile);
    limit.current =
        limit.current.map(|current| current.max(needed).min(limit.maximum.unwrap_or(needed)));
    setrlimit(Resource::Nofile, limit).unwrap();
}

#[cfg(not(unix))]
pub(crate) fn raise_open_files(_: u64) {}
