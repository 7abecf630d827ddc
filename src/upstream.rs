//! The way to a target: the chain of hops, the dial to the first of them, and spare tunnels.

pub(crate) mod chain;
pub(crate) mod dial;
pub(crate) mod rounds;
pub(crate) mod warm;
