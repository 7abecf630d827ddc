//! `run --take-over`: replaces a running proxy without a moment in which the port is refused.
//!
//! The new process asks the running one for its sockets, and both accept on them. Only when the new one serves does it
//! order the other one to drain. If it fails before that, the running proxy has lost nothing.
//!
//! Files may have lost settings that the running proxy goes on serving: it waits for a file that is gone for a moment, and
//! refuses one that was emptied. The new process serves what it reads, and targets could go direct for that. So it asks
//! first, and waits as the running proxy does.

use std::{
    net::{SocketAddr, TcpListener},
    path::Path,
    thread,
    time::{Duration, Instant},
};

use mooltiroute_hops::thread_pool;
use tracing::{info, warn};

use super::take_over_turn::TakeOverTurn;
use crate::{
    config::{Config, Environment, Source, source::EMPTY_HELP},
    control::client::{Control, NoAnswer, NoProxy, WantedProxy},
    proxy::{Loaded, reload::HOLD},
};

/// A running proxy that is to be replaced.
#[derive(Debug)]
pub(super) struct Predecessor {
    control: Control,
    /// Until this is dropped, other processes wait with their take-over.
    _turn: TakeOverTurn,
}

impl Predecessor {
    /// Finds the proxy that listens on an address of `config`. Returns `None` if there is no such proxy, so that one command
    /// starts the first proxy and the next.
    ///
    /// # Errors
    /// A description of why it can't be replaced.
    pub(super) fn find(config: &Config, environment: &Environment) -> Result<Option<Self>, String> {
        if cfg!(not(unix)) {
            return Err("this system passes no listening sockets to another process, so `--take-over` can't work; \
                        stop the running proxy first"
                .to_owned());
        }
        let addresses = config.server.listen.iter().flat_map(|listener| listener.address.sockets());
        // Of two that take over at once, the second one takes over from the first.
        let turn = TakeOverTurn::wait(environment)?;
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
        Ok(Some(Self { control: running, _turn: turn }))
    }

    /// Waits until no file of `loaded` lacks settings that the running proxy serves, for at most [`HOLD`], and loads the files
    /// again after that. A file that is still gone by then was removed on purpose.
    ///
    /// # Errors
    /// A description of why these files must not be served.
    pub(super) fn wait_for_files(&self, mut loaded: Loaded) -> Result<Loaded, String> {
        if !self.has_config(loaded.source()) {
            return Ok(loaded);
        }
        let deadline = Instant::now() + HOLD;
        let (mut is_told, mut is_checked) = (false, false);
        loop {
            let lost = self.control.lost_settings().map_err(|error| self.irreplaceable(&error))?;
            // Loaded between two looks that found nothing missing, the files were whole.
            if lost.is_empty() && is_checked {
                return Ok(loaded);
            }
            is_checked = lost.is_empty();
            if !is_checked {
                let files = shown(lost.all(), loaded.source());
                if Instant::now() >= deadline {
                    if !lost.emptied.is_empty() {
                        return Err(emptied(&shown(lost.emptied.iter(), loaded.source())));
                    }
                    warn!(
                        files,
                        "these files still lack settings that the running proxy has; using them as they are"
                    );
                    return loaded.again().map_err(|problems| problems.to_string());
                }
                if !is_told {
                    is_told = true;
                    warn!(
                        files,
                        "these files lack settings that the running proxy has; waiting for them"
                    );
                }
                thread::sleep(FILES_PAUSE);
            }
            loaded = loaded.again().map_err(|problems| problems.to_string())?;
        }
    }

    /// Takes over the sockets. Both processes accept on them until this one lets the other one [drain](Self::drain).
    ///
    /// # Errors
    /// A description of why it can't be replaced.
    pub(super) fn take_sockets(&self) -> Result<Vec<TcpListener>, String> {
        self.control.take_listeners().map_err(|error| self.irreplaceable(&error))
    }

    fn irreplaceable(&self, error: &NoAnswer) -> String {
        format!("the running proxy can't be replaced ({}): {error}", self.control.identity)
    }

    fn has_config(&self, source: &Source) -> bool {
        let Source::Path(path) = source else { return false };
        let path = std::path::absolute(path).unwrap_or_else(|_| path.clone());
        self.control.identity.config.as_deref().is_some_and(|config| Path::new(config) == path)
    }

    /// Lets the other proxy end after its open connections. To be called when this process accepts clients.
    pub(super) async fn drain(self) {
        let process = self.control.identity.pid;
        // The command's side of the control socket blocks.
        let drained = thread_pool::run(move || self.control.drain()).await;
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

/// Lists `files` as the operator writes them.
fn shown<'a>(files: impl Iterator<Item = &'a String>, source: &Source) -> String {
    let files = files.map(|file| source.as_written(Path::new(file)).display().to_string());
    files.collect::<Vec<_>>().join(", ")
}

fn emptied(files: &str) -> String {
    format!(
        "{files}: without content, and the running proxy serves settings of before; {EMPTY_HELP}. The running proxy goes on"
    )
}

/// How often the running proxy is asked about the files.
const FILES_PAUSE: Duration = Duration::from_millis(100);
