//! Mooltiroute: a local proxy daemon that routes each request through a chain of hops.
//!
//! The way of a connection through the modules, each of which knows only those after it:
//!
//! - [`cli`], [`commands`]: the command line, and a file for each command.
//! - [`proxy`]: the whole, for programs that embed it.
//! - [`reload`]: from a changed file to a generation in force, with [`watch`], [`config`], [`listeners`] and [`live`].
//! - [`server`]: accepts; [`session`]: one client connection; [`client`]: its socket; [`shared`]: what all of them share.
//! - [`connect`], [`forward`], [`local`]: a tunnel, a plain request, a request to the proxy itself; [`reply`] and
//!   [`access`]: what the client and the log are told.
//! - [`metrics`], [`status`]: what is counted, and told of it; [`supervisor`]: what systemd is told.
//! - [`router`]: which chain a target takes; [`chain`]: the way through its hops; [`dial`]: its first step;
//!   [`warm`]: spare tunnels.
//! - [`relay`]: bytes both ways; [`http`]: messages, without sockets.
//!
//! What a hop is, and the kinds that ship, is in the crate [`hops`].

pub use mooltiroute_hops as hops;

pub mod cli;
pub mod client;
pub mod commands;
pub mod config;
pub mod http;
pub mod io;
pub mod log;
pub mod metrics;
pub mod proxy;
pub mod router;
pub mod state;
pub mod system;
pub mod upstream;
