//! The commands' side of the control socket: finds the right proxy, and asks it.

mod exchange;

use std::{
    fmt,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Serialize, de::DeserializeOwned};
use thiserror::Error;

pub(crate) use self::exchange::NoAnswer;
use super::{
    api::ProxyIdentity,
    endpoint::{directories, sockets},
};
use crate::config::Environment;

/// A running proxy that was found.
#[derive(Debug)]
pub(crate) struct Control {
    socket: PathBuf,
    /// How it describes itself.
    pub identity: ProxyIdentity,
}

/// The proxy that a command means.
#[derive(Debug)]
pub(crate) enum WantedProxy {
    /// The one that listens on one of these addresses.
    Listener(Vec<SocketAddr>),
    /// The one that was started with this configuration. `None` is the built-in one.
    Config(Option<PathBuf>),
    /// As `Config`, or else the only one that runs.
    Usual(Option<PathBuf>),
}

/// The reason why no proxy was found.
#[derive(Debug, Error)]
pub(crate) enum NoProxy {
    /// There is no such proxy.
    #[error("no proxy runs with this configuration{}", OtherProxies(.0))]
    NotRunning(Vec<ProxyIdentity>),
    /// Several proxies fit.
    #[error("several proxies run with this configuration; choose one with --address{}", OtherProxies(.0))]
    Ambiguous(Vec<ProxyIdentity>),
}

/// Lists the proxies that run.
struct OtherProxies<'a>(&'a [ProxyIdentity]);

impl Control {
    /// Finds the proxy of this user that `wanted` describes.
    ///
    /// # Errors
    /// There is none, or more than one.
    pub(crate) fn find(wanted: &WantedProxy, environment: &Environment) -> Result<Self, NoProxy> {
        let mut running: Vec<Self> = sockets(&directories(environment))
            .into_iter()
            .filter_map(|socket| {
                // One that does not answer is dead, or about to end.
                let identity =
                    exchange::exchange(&socket, "GET", "/v1/proxy", None, GREETING).ok()?;
                Some(Self { socket, identity })
            })
            .collect();
        let fits = |control: &Self| wanted.fits(&control.identity);
        let count = running.iter().filter(|control| fits(control)).count();
        let is_only_one = matches!(wanted, WantedProxy::Usual(_)) && running.len() == 1;
        let position = match count {
            0 if is_only_one => Some(0),
            1 => running.iter().position(fits),
            _ => None,
        };
        if let Some(position) = position {
            return Ok(running.swap_remove(position));
        }
        let others = running.into_iter().map(|control| control.identity).collect();
        Err(if count > 1 { NoProxy::Ambiguous(others) } else { NoProxy::NotRunning(others) })
    }

    /// Asks for the resource at `path`.
    ///
    /// # Errors
    /// The reason why there is no answer.
    pub(crate) fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, NoAnswer> {
        exchange::exchange(&self.socket, "GET", path, None, PATIENCE)
    }

    /// Sends `order` to `path`.
    ///
    /// # Errors
    /// The reason why there is no answer.
    pub(crate) fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        order: &impl Serialize,
    ) -> Result<T, NoAnswer> {
        let body = serde_json::to_vec(order).map_err(NoAnswer::Unreadable)?;
        exchange::exchange(&self.socket, "POST", path, Some(&body), PATIENCE)
    }
}

impl WantedProxy {
    fn fits(&self, proxy: &ProxyIdentity) -> bool {
        match self {
            Self::Listener(addresses) => proxy
                .listeners
                .iter()
                .any(|listener| addresses.iter().any(|address| leads_to(*address, *listener))),
            Self::Config(path) | Self::Usual(path) => {
                let theirs = proxy.config.as_deref().map(|path| resolved(Path::new(path)));
                theirs == path.as_deref().map(resolved)
            }
        }
    }
}

/// Whether a connection to `address` reaches `listener`.
fn leads_to(address: SocketAddr, listener: SocketAddr) -> bool {
    let is_same_host = listener.ip() == address.ip() || listener.ip().is_unspecified();
    is_same_host && listener.port() == address.port()
}

/// Returns `path` without links, so that two names of one configuration are equal.
fn resolved(path: &Path) -> PathBuf {
    path.canonicalize().or_else(|_| std::path::absolute(path)).unwrap_or_else(|_| path.to_owned())
}

impl fmt::Display for OtherProxies<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return Ok(());
        }
        f.write_str("\nthese run:")?;
        for ProxyIdentity { pid, config, listeners, .. } in self.0 {
            let listeners: Vec<_> = listeners.iter().map(SocketAddr::to_string).collect();
            let config = config.as_deref().unwrap_or("the built-in configuration");
            write!(f, "\n  process {pid} on {}, with {config}", listeners.join(", "))?;
        }
        Ok(())
    }
}

/// How long a proxy may take to say which one it is.
const GREETING: Duration = Duration::from_secs(3);
/// How long an answer may take. A reload waits half a minute for a program that is writing to a file.
const PATIENCE: Duration = Duration::from_secs(60);

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
