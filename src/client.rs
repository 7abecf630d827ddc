//! Everything that faces a client: its connection, its requests, and the answers to them.

pub mod access_log;
pub mod admin;
pub mod auth;
pub mod connect;
pub mod connection;
pub mod forward;
pub mod reply;
pub mod session;
pub mod tunnel;
