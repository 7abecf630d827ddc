//! State that outlives a connection: the configuration in force, and all that generations share.

pub mod generation;
pub mod shared;
