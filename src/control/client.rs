//! The commands' side of the control socket: finds the right proxy, and asks it.

mod exchange;
mod no_proxy;
mod wanted;

use std::{net::TcpListener, path::PathBuf, time::Duration};

use serde::{Serialize, de::DeserializeOwned};

use self::no_proxy::SilentProxy;
pub(crate) use self::{
    exchange::NoAnswer,
    no_proxy::{NoProxy, OtherProxies},
    wanted::{WantedProxy, leads_to},
};
use super::{
    api::{LostSettings, ProxyIdentity},
    endpoint::{directories, path_of, sockets},
    server::socket_name,
};
use crate::config::{Environment, Source};

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

/// How long a proxy may take to say which one it is.
const GREETING: Duration = Duration::from_secs(3);
/// How long an answer may take. A reload waits half a minute for a program that is writing to a file.
const PATIENCE: Duration = Duration::from_secs(60);
