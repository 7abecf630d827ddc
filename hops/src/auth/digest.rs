//! Digest (RFC 7616) as a client speaks it to a proxy: MD5 or SHA-256, `qop=auth`.
//!
//! One [`DigestSession`] belongs to a hop and is shared by all its connections, because a nonce outlives the connection that
//! it came on:
//!
//! ```
//! use mooltiroute_hops::{Secret, auth::{challenge::Challenge, digest::*}};
//!
//! let credentials = DigestCredentials::new(Secret::new("alice"), Secret::new("hunter2"));
//! let session = DigestSession::default();
//! let request = DigestRequest { method: "CONNECT", uri: "example.com:443", client_nonce: [7; 16], is_again: false };
//! // No nonce is known yet, so the first request goes without credentials.
//! assert!(session.authorize(&credentials, &request).is_none());
//!
//! // 407: learn the nonce, then answer.
//! let field: &[u8] = br#"Digest realm="corp", nonce="abc", qop="auth", algorithm=SHA-256"#;
//! let challenge = DigestChallenge::strongest(&Challenge::parse([field]))?;
//! assert_eq!(session.challenged(challenge.clone(), None), DigestVerdict::Answer);
//! let answer = session.authorize(&credentials, &DigestRequest { is_again: true, ..request }).unwrap();
//! assert!(answer.value().expose().starts_with("Digest username=\"alice\", realm=\"corp\""));
//!
//! // 2xx: `session.accepted(&answer)`. Another 407 without `stale=true`: the password is wrong.
//! assert_eq!(session.challenged(challenge, Some(&answer)), DigestVerdict::Rejected);
//! # Ok::<(), DigestError>(())
//! ```

mod algorithm;
mod digest_challenge;
mod response;
mod session;

use std::fmt;

use thiserror::Error;

pub use self::{
    digest_challenge::DigestChallenge,
    session::{DigestAuthorization, DigestSession, DigestVerdict},
};
use crate::Secret;

/// A username and a password.
#[derive(Clone)]
pub struct DigestCredentials {
    username: Secret,
    password: Secret,
}

impl DigestCredentials {
    /// Creates credentials.
    pub fn new(username: Secret, password: Secret) -> Self {
        Self { username, password }
    }
}

impl fmt::Debug for DigestCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DigestCredentials(hidden)")
    }
}

/// The request that an answer is for.
#[derive(Clone, Copy, Debug)]
pub struct DigestRequest<'a> {
    /// The method.
    pub method: &'a str,
    /// The request target exactly as it is sent: `host:port` for CONNECT, the absolute form for a plain request.
    pub uri: &'a str,
    /// Random bytes, never used twice.
    pub client_nonce: [u8; 16],
    /// Whether the proxy has just asked for credentials for it. Then it gets a nonce that was never used, if there is one.
    pub is_again: bool,
}

/// The reason why a challenge of Digest can't be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DigestError {
    /// A parameter is missing, or is not what RFC 7616 allows.
    #[error("the proxy's Digest challenge is malformed")]
    Malformed,
    /// No challenge names a known algorithm.
    #[error("the proxy's Digest offers neither MD5 nor SHA-256")]
    UnknownAlgorithm,
    /// The proxy wants the body to be hashed, or speaks only the Digest of 1997 (RFC 2069).
    #[error("the proxy's Digest does not offer `qop=auth`")]
    UnsupportedProtection,
    /// None of the challenges is one of Digest.
    #[error("the proxy does not offer Digest")]
    NotOffered,
}
