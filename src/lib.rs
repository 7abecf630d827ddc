//! Mooltiroute is a local proxy daemon that routes each request through a chain of hops.
//!
//! The modules, from the outermost to the innermost. Each one uses only those below it.
//!
//! - [`commands`]: the commands, one file each.
//! - [`proxy`]: the process. It listens, accepts, watches files and reloads. Embedding programs start here.
//! - [`client`]: everything that faces a client: connections, requests, tunnels, the proxy's own endpoints, error replies.
//! - [`control`]: the socket through which the owner lists and ends connections and reloads the configuration.
//! - [`state`]: the configuration in force (a generation), the state that outlives generations, and its report.
//! - [`upstream`]: the chain of hops to a target, the dial to its first hop, and spare tunnels.
//! - [`cli`]: the command line, as types.
//! - [`log`]: writes the log's lines.
//! - [`config`]: turns YAML files into a valid configuration, or into a list of problems.
//! - [`metrics`]: the counters. The page that shows them is in [`state`].
//! - [`io`]: relays bytes between sockets, reads ahead, and keeps the timers and keepalive probes of connections.
//! - [`usage`]: the bytes on the wire, by hop, and what is used of budgets.
//! - [`network`]: the network that this machine is in, and the conditions on it that switch hops on and off.
//! - [`http`] and [`socks`]: the messages of HTTP/1.1 and SOCKS, without sockets.
//! - [`router`]: finds the chain for a target.
//! - [`tls`]: TLS with clients.
//! - [`budget`]: a limit on the bytes of a hop, and its periods.
//! - [`duration`]: durations in words.
//! - [`timestamp`]: times of day in words.
//! - [`shorten`]: long texts, cut with a mark.
//! - [`slab`]: a list that uses freed places again.
//! - [`error`]: errors as one line for people.
//! - [`proxy_error`]: the error types of RFC 9209.
//! - [`system`]: signals, the supervisor, memory and limits of the operating system.
//!
//! The crate [`hops`] defines a hop and holds the built-in kinds.

pub use mooltiroute_hops as hops;

pub(crate) mod budget;
pub mod cli;
pub(crate) mod client;
pub mod commands;
pub mod config;
pub(crate) mod control;
pub(crate) mod duration;
pub(crate) mod error;
pub(crate) mod http;
pub(crate) mod io;
pub(crate) mod log;
pub(crate) mod metrics;
pub(crate) mod network;
pub mod proxy;
pub(crate) mod proxy_error;
pub(crate) mod router;
pub(crate) mod shorten;
pub(crate) mod slab;
pub(crate) mod socks;
pub(crate) mod state;
pub(crate) mod system;
pub(crate) mod timestamp;
pub(crate) mod tls;
pub(crate) mod upstream;
pub(crate) mod usage;

/// Private parts that the benchmarks and fuzz targets of this repository measure. Not a stable interface.
#[doc(hidden)]
pub mod internal {
    /// Heads and bodies of messages.
    pub mod http {
        pub use crate::http::*;
    }
    /// The relay of a tunnel.
    pub mod relay {
        pub use crate::io::relay::{Relay, RelayTimeouts};
    }
    /// The exchange with a SOCKS client.
    pub mod socks {
        pub use crate::socks::*;
    }
    /// The routing table.
    pub mod router {
        pub use crate::router::{HostPattern, Query, Router, Rule};
    }
}
