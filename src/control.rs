//! The control socket: HTTP/1.1 and JSON for the owner of the process, to see what is open and to change it.
//!
//! Everything that changes something goes through this socket. It is a file (a pipe on Windows), not a port, so a
//! web page in a browser and a client over TCP have no way to name it; and each client must run as the same user as the
//! proxy. The proxy's own port stays read-only.
//!
//! A proxy names its socket after the first address that it listens on, so that several proxies of one user coexist. A
//! command finds the right one by asking each proxy for its configuration and its listeners.

pub(crate) mod api;
pub(crate) mod client;
mod door;
#[cfg_attr(windows, path = "control/endpoint_windows.rs")]
pub(crate) mod endpoint;
#[cfg_attr(not(unix), path = "control/hand_over_unsupported.rs")]
mod hand_over;
pub(crate) mod server;
pub(crate) mod verdict;

pub(crate) use self::server::ControlServer;

/// The longest head of a request or an answer.
const HEAD_BYTES_MAX: usize = 16 * 1024;
