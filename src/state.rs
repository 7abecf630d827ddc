//! State that outlives a connection: the configuration in force, all that generations share, and the report of both.

pub(crate) mod advice;
pub(crate) mod challenges;
pub(crate) mod connections;
pub(crate) mod denials;
pub(crate) mod entrance;
pub(crate) mod generation;
pub(crate) mod hop_services;
pub(crate) mod listening_sockets;
pub(crate) mod saved_lists;
pub(crate) mod shared;
pub(crate) mod status;
pub(crate) mod usage_file;
