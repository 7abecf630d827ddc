//! The reasons why no proxy is found.

use std::{fmt, net::SocketAddr, path::PathBuf};

use thiserror::Error;

use super::GREETING;
use crate::control::api::ProxyIdentity;

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
    pub(super) socket: PathBuf,
    /// Its process, if the system tells.
    pub(super) process: Option<u32>,
}

/// Lists proxies that do not answer.
struct SilentProxies<'a>(&'a [SilentProxy]);

/// Lists the proxies that run.
pub(crate) struct OtherProxies<'a>(pub &'a [ProxyIdentity]);

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
