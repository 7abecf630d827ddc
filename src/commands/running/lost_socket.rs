//! A proxy that still serves, and whose control socket is gone: commands can't reach it, though it runs.

use std::net::SocketAddr;

use super::owner;
use crate::{
    cli::ProxyChoice,
    commands::status,
    config::Environment,
    control::{
        api::ProxyIdentity,
        endpoint::{NO_SOCKET_ADVICE, directories, path_of},
        server::socket_name,
    },
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
    if let Some(user) = owner::of_process(pid) {
        return Some(format!("a proxy answers at {address}: {}", belongs_to(pid, &user)));
    }
    if let Some(error) = status["control_socket_error"].as_str() {
        return Some(format!(
            "a proxy answers at {address} (process {pid}), but it could not make its control socket: {error}. To \
             give it one: {NO_SOCKET_ADVICE}"
        ));
    }
    // The first directory is the one that a proxy takes if it can.
    let path = path_of(directories(environment).first()?, &socket_name(&listeners));
    Some(format!(
        "a proxy answers at {address} (process {pid}), but this command finds no control socket of it, such as {}. If the proxy \
         was started with another `XDG_RUNTIME_DIR`, run this command with that one. If it belongs to another user, run this \
         command as that user. If the socket was removed, `kill -HUP {pid}` makes the proxy open a new one",
        path.display()
    ))
}

/// Describes the process `pid` if it belongs to another user, whose proxy it may be.
pub(super) fn of_another_user(pid: u64) -> Option<String> {
    owner::of_process(pid).map(|user| belongs_to(pid, &user))
}

fn belongs_to(pid: u64, user: &str) -> String {
    format!(
        "process {pid} belongs to the user `{user}`, and only that user may give it orders. Run this command as `{user}`, as in \
         `sudo -u {user} mooltiroute …`; a service of systemd is reloaded by `systemctl reload`"
    )
}
