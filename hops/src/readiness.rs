//! Whether this machine can authenticate to a hop.

use crate::auth::challenge::AuthScheme;

/// Whether this machine can use an authentication scheme now, as far as it can find out without sending anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Readiness {
    /// The scheme.
    pub scheme: AuthScheme,
    /// The credentials that it would use.
    ///
    /// # Errors
    /// The reason why there are none. It may differ at the next connection.
    pub credentials: Result<String, Unready>,
}

/// Why this machine can't use an authentication scheme now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unready {
    /// The reason, as a clause.
    pub reason: String,
    /// Sentences that say what to do.
    pub advice: String,
}
