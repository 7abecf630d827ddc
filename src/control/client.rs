//! The commands' side of the control socket: finds the right proxy, and asks it.

mod exchange;

use std::{
    fmt,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Serialize, de::DeserializeOwned};
use thiserror::Error;

pub(crate) use self::exchange::NoAnswer;
use super::{
    api::{LostSettings, ProxyIdentity},
    endpoint::{directories, path_of, sockets},
    server::socket_name,
};
use crate::config::{Environment, Source, source};

/// A running proxy that was found.
#[derive(Debug)]
pub(crate) struct Control {
    socket: PathBuf,
    /// How it describes itself.
    pub identity: ProxyIdentity,
    /// Whether the command named it, and no other proxy that fits is shutting down.
    pub is_named: bool,
    /// Whether it is exactly the proxy that was wanted, and not only the one that comes closest.
    pub is_exact: bool,
    /// The other proxies of this user.
    pub others: Vec<ProxyIdentity>,
}

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

/// The reason why no proxy was found.
#[derive(Debug, Error)]
pub(crate) enum NoProxy {
    /// There is no proxy with the wanted configuration.
    #[error("no proxy runs with this configuration{}", OtherProxies(.0))]
    NotRunning(Vec<ProxyIdentity>),
    /// There is no proxy at the wanted address, or with the wanted number.
    #[error("none of your proxies {}{}", .0, OtherProxies(.1))]
    Missing(&'static str, Vec<ProxyIdentity>),
    /// A proxy that does not answer may be the wanted one.
    #[error(
        "one of your proxies does not answer within {} s, and may be the one you mean:{}\nIf it was stopped, `kill \
         -CONT PROCESS` resumes it. If it hangs, end it with `kill -9 PROCESS`, and start it again{}",
        GREETING.as_secs(), SilentProxies(.silent),
        OtherProxies(.others)
    )]
    Silent {
        /// The proxies that do not answer.
        silent: Vec<SilentProxy>,
        /// The proxies that answer.
        others: Vec<ProxyIdentity>,
    },
    /// Several proxies fit.
    #[error("several proxies run with this configuration; choose one with `--address` or `--pid`{}", OtherProxies(.0))]
    Ambiguous(Vec<ProxyIdentity>),
}

/// A proxy that accepts on its control socket, and does not answer.
#[derive(Clone, Debug)]
pub(crate) struct SilentProxy {
    socket: PathBuf,
    /// Its process, if the system tells.
    process: Option<u32>,
}

/// Lists proxies that do not answer.
struct SilentProxies<'a>(&'a [SilentProxy]);

/// Lists the proxies that run.
pub(crate) struct OtherProxies<'a>(pub &'a [ProxyIdentity]);

impl Control {
    /// Finds the proxy of this user that `wanted` describes.
    ///
    /// # Errors
    /// There is none, or more than one.
    pub(crate) fn find(wanted: &WantedProxy, environment: &Environment) -> Result<Self, NoProxy> {
        let is_named = !matches!(wanted, WantedProxy::Usual(_));
        // Every proxy is asked, since the name of a socket does not say which configuration its proxy has.
        let (mut running, silent) = Self::running(wanted, is_named, environment);
        // Two that fit are an error and no reason to guess: `kill` or `reload` of the wrong proxy can't be taken
        // back.
        let fitting = |fits: &dyn Fn(&ProxyIdentity) -> bool| -> Vec<usize> {
            let fitting = running.iter().enumerate().filter(|(_, one)| fits(&one.identity));
            fitting.map(|(position, _)| position).collect()
        };
        let exact = fitting(&|proxy| wanted.fits(proxy));
        let is_exact = !exact.is_empty();
        // To take the next best one instead would give an order to the wrong proxy.
        if !is_exact && !silent.is_empty() {
            let others = running.into_iter().map(|control| control.identity).collect();
            return Err(NoProxy::Silent { silent, others });
        }
        let fits = if is_exact { exact } else { fitting(&|proxy| wanted.allows(proxy)) };
        // After an upgrade, the old process drains beside the new one, which has its place.
        let is_staying = |position: &usize| !running[*position].identity.draining;
        let staying: Vec<_> = fits.iter().copied().filter(is_staying).collect();
        let is_only = staying.is_empty() || staying.len() == fits.len();
        let found = if staying.is_empty() { fits } else { staying };
        // `Usual` allows every proxy. That several run says nothing about which of them is meant.
        let is_ambiguous = found.len() > 1 && (is_exact || is_named);
        if is_ambiguous {
            // Only those that can be meant, so that one of them is chosen.
            let fitting = found.into_iter().map(|position| running[position].identity.clone());
            return Err(NoProxy::Ambiguous(fitting.collect()));
        }
        let only =
            if let [position] = found[..] { Some(running.swap_remove(position)) } else { None };
        let others = running.into_iter().map(|control| control.identity).collect();
        match only {
            Some(control) => {
                Ok(Self { is_named: is_named && is_only, is_exact, others, ..control })
            }
            None => Err(wanted.missing(others)),
        }
    }

    /// Finds all proxies of this user that `wanted` describes, without those that are shutting down if another one fits
    /// too.
    ///
    /// # Errors
    /// There is none, and one that does not answer may be wanted.
    pub(crate) fn all(
        wanted: &WantedProxy,
        environment: &Environment,
    ) -> Result<Vec<Self>, NoProxy> {
        let (running, silent) = Self::running(wanted, true, environment);
        let is_exact = running.iter().any(|one| wanted.fits(&one.identity));
        let fits = |one: &Self| match is_exact {
            true => wanted.fits(&one.identity),
            false => wanted.allows(&one.identity),
        };
        let mut fitting: Vec<_> = running.into_iter().filter(fits).collect();
        if fitting.iter().any(|one| !one.identity.draining) {
            fitting.retain(|one| !one.identity.draining);
        }
        match fitting.is_empty() && !silent.is_empty() {
            true => Err(NoProxy::Silent { silent, others: Vec::new() }),
            false => Ok(fitting.into_iter().map(|one| Self { is_exact, ..one }).collect()),
        }
    }

    /// Returns every proxy of this user that answers, and those that do not and may be `wanted`.
    fn running(
        wanted: &WantedProxy,
        is_named: bool,
        environment: &Environment,
    ) -> (Vec<Self>, Vec<SilentProxy>) {
        let (mut running, mut silent) = (Vec::new(), Vec::new());
        for socket in endpoints(wanted, environment) {
            match exchange::exchange(&socket, "GET", "/v1/proxy", None, GREETING) {
                Ok(identity) => {
                    let (is_exact, others) = (true, Vec::new());
                    running.push(Self { socket, identity, is_named, is_exact, others });
                }
                Err(NoAnswer::Silent { process, .. }) => {
                    silent.push(SilentProxy { socket, process });
                }
                // It is dead, or is shutting down.
                Err(_) => {}
            }
        }
        silent.retain(|proxy| wanted.may_be(proxy));
        (running, silent)
    }

    /// Returns a sentence that names this proxy, and the others of this user.
    pub(crate) fn introduction(&self) -> String {
        let also = match self.others.is_empty() {
            true => String::new(),
            false => {
                format!(
                    "; name another one with `-c`, `--address` or `--pid`{}",
                    OtherProxies(&self.others)
                )
            }
        };
        format!("asked {}{also}", self.identity)
    }

    /// Returns words for the end of a result, which name this proxy if the command did not: a command that changes
    /// something must say what it has changed. They begin with a space.
    pub(crate) fn place(&self) -> String {
        if self.is_named { String::new() } else { format!(" in {}", self.identity) }
    }

    /// Returns the configuration that it was started with.
    pub(crate) fn source(&self) -> Source {
        self.identity.config.as_ref().map_or(Source::Embedded, |path| Source::Path(path.into()))
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

impl Control {
    /// Returns whether the proxy answers at once.
    pub(crate) fn is_alive(&self) -> bool {
        let identity = exchange::exchange(&self.socket, "GET", "/v1/proxy", None, GREETING);
        identity.is_ok_and(|ProxyIdentity { pid, .. }| pid == self.identity.pid)
    }

    /// Takes over the sockets on which the proxy listens. It goes on accepting until it [drains](Self::drain).
    ///
    /// # Errors
    /// The reason why there is no answer.
    pub(crate) fn take_listeners(&self) -> Result<Vec<TcpListener>, NoAnswer> {
        exchange::take_listeners(&self.socket, GREETING)
    }

    /// Asks which files have lost settings that the proxy serves. One of an earlier version does not know.
    ///
    /// # Errors
    /// The reason why there is no answer.
    pub(crate) fn lost_settings(&self) -> Result<LostSettings, NoAnswer> {
        match exchange::exchange(&self.socket, "GET", "/v1/lost-settings", None, GREETING) {
            Err(NoAnswer::Refused(_)) => Ok(LostSettings::default()),
            answer => answer,
        }
    }

    /// Makes the proxy end after its open connections, as a signal does.
    ///
    /// # Errors
    /// The reason why there is no answer.
    pub(crate) fn drain(&self) -> Result<(), NoAnswer> {
        let Drained {} = exchange::exchange(&self.socket, "POST", "/v1/drain", None, GREETING)?;
        Ok(())
    }
}

/// Returns the control sockets of this user's proxies, also of those that have ended.
fn endpoints(wanted: &WantedProxy, environment: &Environment) -> Vec<PathBuf> {
    let directories = directories(environment);
    let mut found = sockets(&directories);
    // Wine lists no pipes. There, a proxy is found by the address that a command names, which its pipe is named after.
    if cfg!(windows)
        && let (WantedProxy::Listener(addresses), Some(first)) = (wanted, directories.first())
    {
        for address in addresses {
            let path = path_of(first, &socket_name(&[*address]));
            if !found.contains(&path) {
                found.push(path);
            }
        }
    }
    found
}

/// The answer to an order to drain.
#[derive(Debug, serde::Deserialize)]
struct Drained {}

impl WantedProxy {
    fn fits(&self, proxy: &ProxyIdentity) -> bool {
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
    fn may_be(&self, proxy: &SilentProxy) -> bool {
        match (self, proxy.process) {
            (Self::Process(pid), Some(process)) => *pid == process,
            _ => true,
        }
    }

    /// Returns the error that says that this proxy does not run, while `others` do.
    fn missing(&self, others: Vec<ProxyIdentity>) -> NoProxy {
        match self {
            Self::Listener(_) => NoProxy::Missing("listens at this address", others),
            Self::Process(_) => NoProxy::Missing("has this process number", others),
            Self::Config(_) | Self::Usual(_) | Self::ReaderOf { .. } => NoProxy::NotRunning(others),
        }
    }

    /// Returns whether `proxy` is meant if no proxy fits.
    fn allows(&self, proxy: &ProxyIdentity) -> bool {
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

impl fmt::Display for OtherProxies<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return Ok(());
        }
        f.write_str("\nrunning proxies:")?;
        self.0.iter().try_for_each(|proxy| write!(f, "\n  {proxy}"))
    }
}

impl fmt::Display for SilentProxies<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|SilentProxy { socket, process }| {
            let socket = socket.display();
            match process {
                Some(process) => {
                    write!(f, "\n  process {process}, with the control socket {socket}")
                }
                None => write!(f, "\n  the process with the control socket {socket}"),
            }
        })
    }
}

impl fmt::Display for ProxyIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Everything that is needed to choose it with `--address` or `-c`.
        let listeners: Vec<_> = self.listeners.iter().map(SocketAddr::to_string).collect();
        let config = match self.config.as_deref() {
            Some(path) => path,
            None if self.has_hops_of_command_line => "the hops of its command line (`--hop`)",
            None => "the built-in configuration",
        };
        let state = if self.draining { ", which is shutting down" } else { "" };
        write!(f, "process {} on {}, with {config}{state}", self.pid, listeners.join(", "))
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
