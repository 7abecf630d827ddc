//! `run --take-over`: replaces a running proxy without a moment in which the port is refused.
//!
//! The new process asks the running one for its sockets, and both accept on them. Only when the new one serves does it
//! order the other one to drain. If it fails before that, the running proxy has lost nothing.

use std::net::{SocketAddr, TcpListener};

use mooltiroute_hops::thread_pool;
use tracing::{info, warn};

use crate::{
    config::{Config, Environment},
    control::client::{Control, NoProxy, WantedProxy},
};

/// A running proxy that is to be replaced.
#[derive(Debug)]
pub(super) struct Predecessor(Control);

impl Predecessor {
    /// Finds the proxy that listens on an address of `config`, and takes over its sockets. Returns `None` if there is no
    /// such proxy, so that one command starts the first proxy and the next.
    ///
    /// # Errors
    /// A description of why it can't be replaced.
    pub(super) fn find(
        config: &Config,
        environment: &Environment,
    ) -> Result<Option<(Self, Vec<TcpListener>)>, String> {
        if cfg!(not(unix)) {
            return Err("this system passes no listening sockets to another process, so `--take-over` can't work; \
                        stop the running proxy first"
                .to_owned());
        }
        let addresses = config.server.listen.iter().flat_map(|listener| listener.address.sockets());
        // A port that the system chooses is never one that a proxy has already.
        let addresses: Vec<SocketAddr> = addresses.filter(|address| address.port() != 0).collect();
        let running = match Control::find(&WantedProxy::Listener(addresses), environment) {
            // One that drains has closed its sockets.
            Ok(running) if running.identity.draining => return Ok(None),
            Ok(running) => running,
            // One that does not answer may listen elsewhere. If it listens here, the start says so.
            Err(NoProxy::NotRunning(_) | NoProxy::Missing(..) | NoProxy::Silent { .. }) => {
                return Ok(None);
            }
            Err(NoProxy::Ambiguous(running)) => {
                let running: Vec<_> = running.iter().map(ToString::to_string).collect();
                return Err(format!(
                    "several proxies listen on these addresses, so none can be replaced; stop all but one: {}",
                    running.join("; ")
                ));
            }
        };
        match running.take_listeners() {
            Ok(sockets) => Ok(Some((Self(running), sockets))),
            Err(error) => {
                let identity = &running.identity;
                Err(format!("the running proxy can't be replaced ({identity}): {error}"))
            }
        }
    }

    /// Lets the other proxy end after its open connections. To be called when this process accepts clients.
    pub(super) async fn drain(self) {
        let process = self.0.identity.pid;
        // The command's side of the control socket blocks.
        let drained = thread_pool::run(move || self.0.drain()).await;
        match drained {
            Ok(Ok(())) => info!(process, "took over from another process, which drains now"),
            Ok(Err(error)) => {
                warn!(process, %error, "the other process does not drain, so both serve clients; stop it");
            }
            Err(error) => {
                warn!(process, %error, "the other process was not asked to drain; stop it")
            }
        }
    }
}
