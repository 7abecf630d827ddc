//! The rounds of an authentication, for an operator who wants to see them.

use std::fmt;

use crate::auth::challenge::AuthScheme;

/// An observer of the rounds on one connection.
pub trait ObserveRounds: fmt::Debug + Send + Sync {
    /// Notes that a hop answered a request with `status`. The request had credentials by `scheme`, or none. `source` says what
    /// they were made from, such as "the password", if the scheme allows several sources.
    fn round(&self, scheme: Option<AuthScheme>, source: Option<&'static str>, status: u16);
}
