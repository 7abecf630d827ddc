//! Problems of a configuration: one problem, the list of the first ones, and suggestions.

pub(crate) mod file_access;
pub mod first_problems;
pub(crate) mod foreign_variable;
pub(crate) mod host_pattern;
pub(crate) mod known_keys;
pub mod problem;
pub(crate) mod proxy_url;
pub mod suggest;
