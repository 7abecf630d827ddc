//! The proxy that a command means.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use super::no_proxy::{NoProxy, SilentProxy};
use crate::{config::source, control::api::ProxyIdentity};

/// The proxy that a command means.
#[derive(Debug)]
pub(crate) enum WantedProxy {
    /// The one that listens on one of these addresses.
    Listener(Vec<SocketAddr>),
    /// The process with this number.
    Process(u32),
    /// The one that was started with this configuration. `None` is the built-in one.
    Config(Option<PathBuf>),
    /// As `Config`, or else the only one that runs.
    Usual(Option<PathBuf>),
    /// The one that was started with `config`, or else the only one whose configuration has `file`.
    ReaderOf {
        /// The path of a configuration.
        config: PathBuf,
        /// One of its files, without links in its path.
        file: PathBuf,
    },
}

impl WantedProxy {
    pub(super) fn fits(&self, proxy: &ProxyIdentity) -> bool {
        match self {
            Self::Listener(addresses) => proxy
                .listeners
                .iter()
                .any(|listener| addresses.iter().any(|address| leads_to(*address, *listener))),
            Self::Process(pid) => proxy.pid == *pid,
            // Hops of a command line are not a configuration that another command could read.
            Self::Config(None) => has_config(proxy, None) && !proxy.has_hops_of_command_line,
            Self::Config(path) | Self::Usual(path) => has_config(proxy, path.as_deref()),
            Self::ReaderOf { config, .. } => has_config(proxy, Some(config)),
        }
    }

    /// Returns whether `proxy` may be meant. Of one that does not answer, no more is known than its process.
    pub(super) fn may_be(&self, proxy: &SilentProxy) -> bool {
        match (self, proxy.process) {
            (Self::Process(pid), Some(process)) => *pid == process,
            _ => true,
        }
    }

    /// Returns the error that says that this proxy does not run, while `others` do.
    pub(super) fn missing(&self, others: Vec<ProxyIdentity>) -> NoProxy {
        match self {
            Self::Listener(_) => NoProxy::Missing("listens at this address", others),
            Self::Process(_) => NoProxy::Missing("has this process number", others),
            Self::Config(_) | Self::Usual(_) | Self::ReaderOf { .. } => NoProxy::NotRunning(others),
        }
    }

    /// Returns whether `proxy` is meant if no proxy fits.
    pub(super) fn allows(&self, proxy: &ProxyIdentity) -> bool {
        match self {
            Self::Listener(_) | Self::Process(_) | Self::Config(_) => false,
            Self::Usual(_) => true,
            // A directory and a file of it are two names of what may be one configuration.
            Self::ReaderOf { file, .. } => {
                let config = proxy.config.as_deref().map(Path::new);
                config.is_some_and(|config| source::is_read_from(config, file))
            }
        }
    }
}

fn has_config(proxy: &ProxyIdentity, path: Option<&Path>) -> bool {
    // Two without a path are equal: both have the built-in configuration.
    let theirs = proxy.config.as_deref().map(|path| resolved(Path::new(path)));
    theirs == path.map(resolved)
}

/// Returns whether a connection to `address` reaches `listener`.
pub(crate) fn leads_to(address: SocketAddr, listener: SocketAddr) -> bool {
    // `0.0.0.0` means every address of this machine, on either side.
    let is_same_host = listener.ip() == address.ip()
        || listener.ip().is_unspecified()
        || address.ip().is_unspecified();
    is_same_host && listener.port() == address.port()
}

/// Returns `path` without links, so that two names of one configuration are equal.
fn resolved(path: &Path) -> PathBuf {
    path.canonicalize().or_else(|_| std::path::absolute(path)).unwrap_or_else(|_| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_leads_to_the_listener_on_all_addresses_too() {
        let check = |address: &str, listener: &str| {
            leads_to(address.parse().unwrap(), listener.parse().unwrap())
        };
        assert!(check("127.0.0.1:8888", "127.0.0.1:8888"));
        assert!(check("127.0.0.1:8888", "0.0.0.0:8888"));
        assert!(!check("127.0.0.1:8888", "127.0.0.1:8889"));
        assert!(!check("127.0.0.1:8888", "127.0.0.2:8888"));
    }
}
