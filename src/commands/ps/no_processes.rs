//! On systems that don't tell which process has a socket, the processes of clients stay unknown.

use std::{fmt, net::SocketAddr};

use serde::Serialize;

/// A process at the other end of a connection. None is ever found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) enum ClientProcess {}

/// The sockets of clients. On this system none is found.
#[derive(Debug, Default)]
pub(crate) struct ClientSockets;

/// The processes of clients. On this system none is known.
#[derive(Debug)]
pub(crate) struct Processes;

impl ClientSockets {
    /// Finds nothing.
    pub(crate) fn connected_to(_listeners: &[SocketAddr], _proxy: u32) -> Self {
        Self
    }

    /// Finds nothing.
    pub(crate) fn processes(
        self,
        _clients: impl IntoIterator<Item = SocketAddr>,
        _older: impl IntoIterator<Item = SocketAddr>,
        _proxy: u32,
    ) -> Processes {
        Processes
    }
}

impl Processes {
    /// Returns `None`.
    pub(crate) fn get(&self, _address: SocketAddr) -> Option<&ClientProcess> {
        None
    }
}

impl ClientProcess {
    /// Returns its number.
    pub(crate) fn pid(&self) -> u32 {
        match *self {}
    }
}

impl fmt::Display for ClientProcess {
    fn fmt(&self, _f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {}
    }
}
