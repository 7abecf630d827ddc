//! Systems on which no listening socket is passed to another process.

use std::{io, net, sync::Arc};

use tokio::net::TcpListener;

use super::endpoint::{AcceptedCaller, Connection};

/// Refuses to pass listening sockets on.
///
/// # Errors
/// Always.
#[expect(clippy::unused_async, reason = "it is asynchronous on other systems")]
pub(super) async fn write(
    _: &mut AcceptedCaller,
    _: &[u8],
    _: &[Arc<TcpListener>],
) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Refuses to take over listening sockets.
///
/// # Errors
/// Always.
pub(super) fn read(_: &mut Connection) -> io::Result<(Vec<u8>, Vec<net::TcpListener>)> {
    Err(io::ErrorKind::Unsupported.into())
}
