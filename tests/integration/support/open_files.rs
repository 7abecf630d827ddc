//! The limit of open files of this process, which holds both ends of all connections through the proxy.

/// Raises the limit to `needed`, or as far as this process may, if it is lower.
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
