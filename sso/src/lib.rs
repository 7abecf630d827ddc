//! Single sign-on: gets tokens for Negotiate from the system's own library.
//!
//! On Unix the library is GSS-API (MIT Kerberos, Heimdal or macOS's framework). It is loaded at run time, so the program also
//! starts without it. On Windows the library is SSPI. Both are behind one safe interface.
//!
//! **Every call blocks** until a key distribution centre (KDC) answers. A silent one takes 25 s and more. Call from a thread
//! that may wait, such as one of tokio's `spawn_blocking`, and limit the wait.
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

/// A user, with the ticket that was obtained by a password.
///
/// Keep one `Identity` for all authentications of the same user, so that a password is sent to the key distribution centre once
/// and not for each of them.
#[derive(Debug)]
pub struct Identity {
    credentials: Credentials,
    kept: KeptCredential<system::SystemCredential>,
    /// The tickets of a keytab.
    memory: system::SystemMemory,
}

impl Identity {
    /// Creates a user with these credentials, which are not used yet.
    pub fn new(credentials: Credentials) -> Self {
        Self {
            credentials,
            kept: KeptCredential::default(),
            memory: system::SystemMemory::default(),
        }
    }

    /// Forgets the tickets that a password or a keytab gave and that this program keeps in memory. The next authentication
    /// gets new ones, as it must if a service has a new key. Tickets in caches of the system stay.
    pub fn forget_tickets(&self) {
        self.kept.forget();
        self.memory.replace();
    }

    /// Returns the source of the credentials.
    pub fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    /// Identifies the present ticket, so that a new ticket can be told from one that was refused. Reads a cache, and sends
    /// nothing: not even a keytab gets a ticket.
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
    /// Returns whether both are the same ticket. Their ends may differ by a second, since each is computed from the time that
    /// is left.
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

    /// Returns the token to send, which is a secret. Returns `None` if there is nothing to send.
    pub fn token(&self) -> Option<&[u8]> {
        self.token.as_ref().map(|token| &token.0[..])
    }

    /// Returns whether this side needs no further token from the proxy.
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
    /// No token can be made. Drop the context then.
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
