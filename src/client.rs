//! Everything that faces a client: its connection, its requests, and the answers to them.

pub(crate) mod accepted;
pub(crate) mod account;
pub(crate) mod admin;
pub(crate) mod ask;
pub(crate) mod auth;
pub(crate) mod connect;
pub(crate) mod connection;
pub(crate) mod departure;
pub(crate) mod detect;
pub(crate) mod forward;
mod head_limits;
pub(crate) mod reply;
pub(crate) mod session;
pub(crate) mod socks;
pub(crate) mod tunnel;
pub(crate) mod via;
