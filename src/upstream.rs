//! The way to a target: the chain of hops, the dial to the first of them, and spare tunnels.

pub mod chain;
pub mod dial;
pub mod warm;
