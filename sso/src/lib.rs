//! Single sign-on: tokens of Negotiate from the system's own library.
//!
//! On Unix that is GSS-API, found at run time (MIT Kerberos, Heimdal or macOS's framework), so that the program starts
//! without it; on Windows it is SSPI. Both are behind one safe interface.
//!
//! **Every call blocks**, for as long as a key distribution centre (KDC) takes to answer: with a silent one 25 s and
//! more. Call from a thread that may wait, such as tokio's `spawn_blocking` with a limit of its own.
//!
//! ```no_run
//! use std::sync::Arc;
//! use mooltiroute_sso::{Context, Credentials, Identity, SsoError};
//!
//! # fn send(_: &[u8]) -> Option<Vec<u8>> { None }
//! # fn main() -> Result<(), SsoError> {
//! let user = Arc::new(Identity::new(Credentials::LoggedIn { principal: None }));
//! let mut context = Context::new("HTTP/proxy.corp.example", &user, None)?;
//! let mut challenge = None;
//! loop {
//!     let step = context.step(challenge.as_deref())?;
//!     if let Some(token) = step.token() {
//!         // Proxy-Authorization: Negotiate <base64 of the token>; the token of the next 407 goes on.
//!         challenge = send(token);
//!     }
//!     if challenge.is_none() || step.is_done() {
//!         break;
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! This package is one of the few with `unsafe`: the modules below `gss` on Unix, `sspi` on Windows.

mod credentials;
mod error;
#[cfg(unix)]
mod gss;
mod kept;
#[cfg(windows)]
mod sspi;

use std::sync::Arc;

use zeroize::Zeroizing;

#[cfg(unix)]
use crate::gss as system;
use crate::kept::KeptCredential;
#[cfg(windows)]
use crate::sspi as system;

pub use crate::{
    credentials::{Credentials, Password},
    error::{Reason, SsoError, Words},
};

/// A user, with the ticket that a password gave.
///
/// Keep one for all authentications of the same user: a password is then sent to the key distribution centre once, and
/// not for each of them.
#[derive(Debug)]
pub struct Identity {
    credentials: Credentials,
    kept: KeptCredential<system::SystemCredential>,
}

impl Identity {
    /// Prepares to authenticate with these credentials. Does nothing with them yet.
    pub fn new(credentials: Credentials) -> Self {
        Self { credentials, kept: KeptCredential::default() }
    }

    /// The source of the credentials.
    pub fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    /// Identifies the ticket that is there now. Sends nothing. Blocks for a file.
    ///
    /// It changes with a new ticket, so that a refused one can be told from it.
    ///
    /// # Errors
    /// There is no ticket, it has expired, or there is no library. The reason is [`Reason::Unsupported`] if the system
    /// does not show tickets, as on Windows, or if a password gets them.
    pub fn ticket(&self) -> Result<Ticket, SsoError> {
        system::ticket(self)
    }
}

/// Identifies one ticket of a user, by principal and end.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Ticket {
    /// The user, as the system writes the name.
    pub principal: String,
    /// The second at which the ticket ends, since 1970.
    pub ends_at: u64,
}

impl Ticket {
    /// Whether both are the same ticket. The end is counted from now on, so it is off by a second at times.
    pub fn is_same(&self, other: &Self) -> bool {
        self.principal == other.principal && self.ends_at.abs_diff(other.ends_at) <= 1
    }
}

/// One authentication in progress.
///
/// It belongs to one connection: a proxy accepts a token only on the connection whose challenge it answers.
#[derive(Debug)]
pub struct Context(system::SystemContext);

/// The outcome of a step.
#[derive(Debug)]
pub struct Step {
    token: Option<HiddenToken>,
    is_done: bool,
}

impl Step {
    fn new(token: Vec<u8>, is_done: bool) -> Self {
        // An empty token means that there is nothing to send (RFC 2743 §2.2.1).
        let token = (!token.is_empty()).then(|| HiddenToken(Zeroizing::new(token)));
        Self { token, is_done }
    }

    /// The token to send, a secret.
    pub fn token(&self) -> Option<&[u8]> {
        self.token.as_ref().map(|token| &token.0[..])
    }

    /// Whether this side needs no further token of the proxy.
    pub fn is_done(&self) -> bool {
        self.is_done
    }
}

struct HiddenToken(Zeroizing<Vec<u8>>);

impl std::fmt::Debug for HiddenToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(hidden)")
    }
}

impl Context {
    /// Prepares an authentication to the service `spn`, such as `HTTP/proxy.corp.example`. `bindings` are the
    /// application data of channel bindings, if the connection has TLS. Blocks.
    ///
    /// # Errors
    /// The system has no library for it, or has no such credentials.
    pub fn new(
        spn: &str,
        identity: &Arc<Identity>,
        bindings: Option<&[u8]>,
    ) -> Result<Self, SsoError> {
        system::SystemContext::new(spn, identity, bindings).map(Self)
    }

    /// Makes the next token, from the proxy's token if it sent one. Blocks.
    ///
    /// # Errors
    /// No token can be made; the reason says why. The context is then of no further use.
    pub fn step(&mut self, token: Option<&[u8]>) -> Result<Step, SsoError> {
        self.0.step(token)
    }
}

/// Checks, without sending anything, that the system can make tokens at all.
///
/// # Errors
/// The library is missing; the error names the package to install.
pub fn check_available() -> Result<(), SsoError> {
    system::check_available()
}
