//! Serves the control socket, beside the sessions and on the same thread.

use std::{convert::Infallible, net::SocketAddr, time::Duration};

use tokio::{task::JoinSet, time};
use tracing::{info, warn};

use super::{
    api::Api,
    door,
    endpoint::{Endpoint, NO_SOCKET_ADVICE, directories},
};
use crate::config::Environment;

/// A proxy's control socket, before its proxy runs.
#[derive(Debug)]
pub(crate) struct ControlServer {
    endpoint: Endpoint,
    api: Api,
}

impl ControlServer {
    /// Makes the socket of the proxy that listens on `listening`, for which `api` answers. A proxy without one serves
    /// its clients anyway, so a failure is only logged.
    pub(crate) fn bind(
        listening: &[SocketAddr],
        api: Api,
        environment: &Environment,
    ) -> Option<Self> {
        let directories = directories(environment);
        let endpoint = Endpoint::bind(&directories, &socket_name(listening))
            .inspect_err(|error| {
                let advice = NO_SOCKET_ADVICE;
                warn!(%error, advice, "no control socket; ps, top, kill and reload can't reach this proxy");
                api.note_socket_error(error.to_string());
            })
            .ok()?;
        info!(path = %endpoint.path().display(), "control socket");
        Some(Self { endpoint, api })
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
                accepted = self.endpoint.accept() => accepted,
                Some(_) = clients.join_next() => continue,
            };
            match accepted {
                Ok(Some(stream)) => {
                    clients.spawn(door::serve(stream, self.api.clone()));
                }
                Ok(None) => warn!("another user tried to use the control socket"),
                Err(error) => {
                    warn!(%error, "the control socket can't accept now");
                    time::sleep(PAUSE).await;
                }
            }
        }
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
