//! Single sign-on: tokens of Negotiate from the system's own library.
//!
//! On Unix that is GSS-API, found at run time (MIT Kerberos, Heimdal or macOS's framework), so that the program starts
//! without it; on Windows it is SSPI. Both are behind one safe interface.
//!
//! **Every call blocks**, for as long as a key distribution centre (KDC) takes to answer: with a silent one 25 s and
//! more. Call from a thread that may wait, such as tokio's `spawn_blocking` with a limit of its own.
//!
//! ```no_run
//! use mooltiroute_sso::{Context, Credentials, SsoError, Step};
//!
//! # fn send(_: &[u8]) -> Option<Vec<u8>> { None }
//! # fn main() -> Result<(), SsoError> {
//! let mut context = Context::new("HTTP/proxy.corp.example", &Credentials::LoggedIn { principal: None }, None)?;
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
#[cfg(windows)]
mod sspi;

#[cfg(unix)]
use crate::gss as system;
#[cfg(windows)]
use crate::sspi as system;
use zeroize::Zeroizing;

pub use crate::{
    credentials::{Credentials, Password},
    error::{Reason, SsoError},
};

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
        credentials: &Credentials,
        bindings: Option<&[u8]>,
    ) -> Result<Self, SsoError> {
        system::SystemContext::new(spn, credentials, bindings).map(Self)
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
