//! YAML texts as values that know their places, merged into one tree, with variables put in.

pub(crate) mod excerpt;
pub(crate) mod fault;
pub(crate) mod file;
pub(crate) mod foreign;
pub(crate) mod indentation;
pub(crate) mod interpolate;
pub(crate) mod spans;
pub(crate) mod suspicious_value;
pub(crate) mod syntax;
pub(crate) mod tree;
