//! The interface through which connections report the bytes that they move.

use std::fmt;

/// Counts the bytes of one connection while they move.
pub trait CountBytes: fmt::Debug + Send + Sync {
    /// Adds bytes from the client that the upstream took.
    fn sent(&self, bytes: u64);

    /// Adds bytes from the upstream that the client took.
    fn received(&self, bytes: u64);
}
