//! Serves the control socket, beside the sessions and on the same thread.

use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, time::Duration};

use mooltiroute_hops::thread_pool;
use tokio::{runtime::Handle, sync::Notify, task::JoinSet, time};
use tracing::{info, warn};

use super::{
    api::Api,
    door,
    endpoint::{AcceptedCaller, Endpoint, NO_SOCKET_ADVICE, directories},
};
use crate::config::Environment;

/// A proxy's control socket.
#[derive(Debug)]
pub(crate) struct ControlServer {
    /// `None` while the proxy can't make it.
    endpoint: Option<Endpoint>,
    name: String,
    api: Api,
    environment: Environment,
    /// Notified when the socket should be made again if its file is gone.
    renewal: Arc<Notify>,
}

impl ControlServer {
    /// Makes the socket of the proxy that listens on `listening`, for which `api` answers. A proxy without one serves
    /// its clients anyway, so a failure is only logged.
    pub(crate) fn bind(listening: &[SocketAddr], api: Api, environment: &Environment) -> Self {
        let (name, environment) = (socket_name(listening), environment.clone());
        let endpoint = match Endpoint::bind(&directories(&environment), &name) {
            Ok(endpoint) => {
                info!(path = %endpoint.path().display(), "control socket");
                Some(endpoint)
            }
            Err(error) => {
                log_failure(&api, error.to_string());
                None
            }
        };
        Self { endpoint, name, api, environment, renewal: Arc::default() }
    }

    /// Returns what to notify when the operator may want the socket again.
    pub(crate) fn renewal(&self) -> Arc<Notify> {
        Arc::clone(&self.renewal)
    }

    /// Serves clients until it is dropped, which ends their connections and removes the socket.
    pub(crate) async fn run(mut self) -> Infallible {
        let mut clients = JoinSet::new();
        loop {
            // Clients beyond the limit wait in the queue of the system.
            while clients.len() >= CLIENTS_MAX {
                clients.join_next().await;
            }
            // Clients that have ended are collected here, or the set would keep them until the limit is reached.
            let accepted = tokio::select! {
                accepted = accept(self.endpoint.as_mut()) => accepted,
                Some(_) = clients.join_next() => continue,
                () = self.renewal.notified() => {
                    self.renew().await;
                    continue;
                }
            };
            match accepted {
                Ok(Some(stream)) => {
                    clients.spawn(door::serve(stream, self.api.clone()));
                }
                Ok(None) => warn!("another user tried to use the control socket"),
                Err(error) => {
                    warn!(%error, "the control socket can't accept connections now; trying again until it works");
                    time::sleep(PAUSE).await;
                }
            }
        }
    }

    /// Makes the socket again if its file is gone. The system removes the directory of a user's session at the last logout.
    async fn renew(&mut self) {
        let place = self.endpoint.as_ref().map(Endpoint::place);
        let (environment, name) = (self.environment.clone(), self.name.clone());
        let runtime = Handle::current();
        // Elsewhere, since file systems may be slow, and another process may have the lock.
        let renewed = thread_pool::run(move || {
            if place.is_some_and(|place| place.is_taken()) {
                return None;
            }
            let _inside = runtime.enter();
            Some(Endpoint::bind(&directories(&environment), &name))
        });
        match renewed.await {
            Ok(None) => {}
            Ok(Some(Ok(endpoint))) => {
                info!(path = %endpoint.path().display(), "control socket opened again");
                self.api.note_socket_error(None);
                self.endpoint = Some(endpoint);
            }
            Ok(Some(Err(error))) => log_failure(&self.api, error.to_string()),
            Err(panicked) => log_failure(&self.api, panicked.to_string()),
        }
    }
}

/// Accepts the next client, if there is a socket. Returns `Ok(None)` for one of another user.
async fn accept(endpoint: Option<&mut Endpoint>) -> io::Result<Option<AcceptedCaller>> {
    match endpoint {
        Some(endpoint) => endpoint.accept().await,
        None => std::future::pending().await,
    }
}

/// Logs that there is no control socket, unless that was the last thing that was logged about it.
fn log_failure(api: &Api, error: String) {
    if api.note_socket_error(Some(error.clone())) {
        let advice = NO_SOCKET_ADVICE;
        warn!(error, advice, "no control socket; ps, top, kill and reload can't reach this proxy");
    }
}

/// Returns the name of the socket: the first address, in characters that a file may have on every system.
pub(crate) fn socket_name(listening: &[SocketAddr]) -> String {
    let first = listening.first().map(|address| {
        let ip = address.ip().to_string().replace(':', "-");
        format!("{ip}-{}", address.port())
    });
    first.unwrap_or_else(|| "proxy".to_owned())
}

/// Clients at once.
const CLIENTS_MAX: usize = 32;
/// How long it waits after the system refused a client, usually for want of a descriptor.
const PAUSE: Duration = Duration::from_millis(250);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_is_named_after_the_first_listener() {
        let named = |text: &str| socket_name(&[text.parse().unwrap()]);
        assert_eq!(named("127.0.0.1:8888"), "127.0.0.1-8888");
        assert_eq!(named("[::1]:8888"), "--1-8888");
    }
}
