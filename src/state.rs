//! State that outlives a connection: the configuration in force, and all that generations share.

pub(crate) mod connections;
pub(crate) mod generation;
pub(crate) mod shared;
