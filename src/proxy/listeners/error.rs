//! The reasons why the proxy can't listen.

use std::{io, net::SocketAddr};

use thiserror::Error;

use super::bind::{in_words, in_words_at_reload};
use crate::system::threads;

/// The reason why the listeners can't be opened.
#[derive(Debug, Error)]
pub enum ListenError {
    /// An address that can't be listened on.
    #[error("the proxy can't listen on {address}: {}", in_words(cause))]
    Bind {
        /// The address.
        address: SocketAddr,
        /// The system's error. The words say it already, so it is not a source.
        cause: io::Error,
    },
    /// Two wanted addresses, one of which includes the other.
    #[error(
        "the proxy can't listen on {address} and on {other}: one of them includes the other; remove one from `server.listen`"
    )]
    Overlap {
        /// The address.
        address: SocketAddr,
        /// The other one.
        other: SocketAddr,
    },
    /// An address whose port this proxy has already, at an address that includes it or is included.
    #[error(
        "the proxy can't listen on {address} while it listens on {own} itself: the system lets no two sockets have this port; \
         restart the proxy"
    )]
    OwnPort {
        /// The address.
        address: SocketAddr,
        /// The address that it listens on.
        own: SocketAddr,
    },
    /// An address that the supervisor listens on for this proxy, and that is not wanted.
    #[error(
        "the supervisor passed a socket on {0}, which `server.listen` does not name; add it, or change the \
         supervisor's socket unit and restart both"
    )]
    NotNamed(SocketAddr),
    /// A socket of the supervisor that can't be used.
    #[error("a socket of the supervisor can't be used: {0}")]
    Passed(io::Error),
    /// A socket of the proxy that runs already, and that can't be used.
    #[error("a socket of the running proxy can't be taken over: {0}")]
    Taken(io::Error),
    /// A thread that can't be started.
    #[error("{}", threads::too_few(.0))]
    Threads(io::Error),
    /// A thread of `server.workers` that can't be started.
    #[error("can't start the threads of `server.workers`: {0}; lower the number")]
    Workers(io::Error),
}

impl ListenError {
    /// Describes an address that a later attempt may be able to bind.
    pub(in crate::proxy) fn at_reload(&self) -> String {
        match self {
            Self::Bind { address, cause } => {
                format!("the proxy can't listen on {address}: {}", in_words_at_reload(cause))
            }
            _ => self.to_string(),
        }
    }
}
