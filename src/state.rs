//! State that outlives a connection: the configuration in force, and all that generations share.

pub(crate) mod advice;
pub(crate) mod challenges;
pub(crate) mod connections;
pub(crate) mod denials;
pub(crate) mod entrance;
pub(crate) mod generation;
pub(crate) mod hop_services;
pub(crate) mod saved_lists;
pub(crate) mod shared;
