//! The supervisor, such as systemd, if one started this process.
//!
//! It is notified when the process is ready, reloads and stops (`Type=notify-reload`), and it may pass sockets on which
//! it listened before the start and will listen after the end (a socket unit).

use std::{io, net::TcpListener};

/// Takes the sockets that the supervisor listens on for this process. Must be called once, before there is a thread,
/// since it removes the variables that describe them (`LISTEN_FDS` and others) from the environment.
///
/// # Errors
/// One of them is not a listening TCP socket.
pub(crate) fn passed() -> io::Result<Vec<TcpListener>> {
    #[cfg(unix)]
    return activation::passed();
    #[cfg(not(unix))]
    Ok(Vec::new())
}

/// Tells the supervisor that clients can connect.
pub(crate) fn ready() {
    #[cfg(target_os = "linux")]
    systemd::tell(&[sd_notify::NotifyState::Ready]);
}

/// Tells the supervisor that the configuration is loaded again. [`ready`] has to follow, also after a rejection.
pub(crate) fn reloading() {
    #[cfg(target_os = "linux")]
    if let Ok(now) = sd_notify::NotifyState::monotonic_usec_now() {
        // `Type=notify-reload` requires the time as well, by which systemd tells reloads apart
        // (systemd.service(5)).
        systemd::tell(&[sd_notify::NotifyState::Reloading, now]);
    }
}

/// Tells the supervisor that nothing new begins, and that the process ends after the open connections.
pub(crate) fn stopping() {
    #[cfg(target_os = "linux")]
    systemd::tell(&[sd_notify::NotifyState::Stopping]);
}

#[cfg(unix)]
mod activation {
    use std::{io, net::TcpListener};

    use listenfd::ListenFd;
    use socket2::SockRef;

    pub(super) fn passed() -> io::Result<Vec<TcpListener>> {
        let mut all = ListenFd::from_env();
        // Each is there once, so none is left out.
        (0..all.len())
            .filter_map(|index| all.take_tcp_listener(index).transpose())
            .map(checked)
            .collect()
    }

    fn checked(passed: io::Result<TcpListener>) -> io::Result<TcpListener> {
        let listener = passed?;
        // A socket unit with `Accept=yes` passes one connection, and no listener.
        if listens(&SockRef::from(&listener))? {
            return Ok(listener);
        }
        Err(io::Error::other("it does not listen"))
    }

    #[cfg(target_os = "linux")]
    fn listens(socket: &SockRef<'_>) -> io::Result<bool> {
        socket.is_listener()
    }

    /// Returns whether `socket` listens. Not every system says so. But a connection has a peer, and a listener has none.
    #[cfg(not(target_os = "linux"))]
    fn listens(socket: &SockRef<'_>) -> io::Result<bool> {
        Ok(socket.peer_addr().is_err())
    }
}

#[cfg(target_os = "linux")]
mod systemd {
    use sd_notify::NotifyState;
    use tracing::warn;

    pub(super) fn tell(states: &[NotifyState<'_>]) {
        if let Err(error) = sd_notify::notify(states) {
            warn!(%error, "failed to notify systemd");
        }
    }
}
