//! Mooltiroute: a local proxy daemon that routes each request through a chain of hops.

pub mod commands;
pub mod config;
pub mod router;
