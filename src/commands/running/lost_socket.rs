//! A proxy that still serves, and whose control socket is gone: commands can't reach it, though it runs.

use std::net::SocketAddr;

use crate::{
    cli::ProxyChoice,
    commands::status,
    config::Environment,
    control::{api::ProxyIdentity, endpoint::directories, server::socket_name},
};

/// Describes the proxy that `choice` means if it answers over TCP, but is none of those that were `found` by their sockets.
pub(super) fn describe(
    choice: &ProxyChoice,
    found: &[ProxyIdentity],
    environment: &Environment,
) -> Option<String> {
    let status = status::over_tcp(choice, environment)?;
    let pid = status["pid"].as_u64()?;
    // A proxy with another configuration may have the address. It has its socket, and is listed.
    if found.iter().any(|proxy| u64::from(proxy.pid) == pid) {
        return None;
    }
    let listeners = status["listeners"].as_array()?.iter().filter_map(|one| one.as_str());
    let listeners: Vec<SocketAddr> = listeners.filter_map(|one| one.parse().ok()).collect();
    let address = listeners.first()?;
    let name = format!("{}.sock", socket_name(&listeners));
    // The first directory is the one that a proxy takes if it can.
    let path = directories(environment).first()?.join(name);
    Some(format!(
        "a proxy answers at {address} (process {pid}), but this user finds no control socket of it, such as {}: it was \
         removed, or the proxy belongs to another user. Restart the proxy to get a new one",
        path.display()
    ))
}
