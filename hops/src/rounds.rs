//! The rounds of an authentication, for an operator who wants to see them.

use std::fmt;

use crate::auth::challenge::AuthScheme;

/// An observer of the rounds on one connection.
pub trait ObserveRounds: fmt::Debug + Send + Sync {
    /// A hop answered a request with `status`. The request had credentials by `scheme`, or none.
    fn round(&self, scheme: Option<AuthScheme>, status: u16);
}
