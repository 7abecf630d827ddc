//! GSS-API (RFC 2743, RFC 2744) as MIT Kerberos, Heimdal and macOS provide it.

mod abi;
mod buffer;
mod context;
mod credential;
mod failure;
mod library;
mod name;
mod negotiation;
mod reason;

use self::{
    abi::Mechanism,
    context::GssContext,
    credential::{AcquireFrom, GssCredential, memory_cache},
    failure::GssFailure,
    library::GssLibrary,
    name::GssName,
};
use crate::{Credentials, Reason, SsoError, Step};

/// An authentication by SPNEGO.
#[derive(Debug)]
pub(crate) struct SystemContext {
    library: &'static GssLibrary,
    target: GssName,
    credential: Option<GssCredential>,
    context: GssContext,
    bindings: Option<Vec<u8>>,
    /// Says where tickets were looked for.
    place: String,
    is_first: bool,
}

pub(crate) fn check_available() -> Result<(), SsoError> {
    GssLibrary::get().map(drop)
}

impl SystemContext {
    pub(crate) fn new(
        spn: &str,
        credentials: &Credentials,
        bindings: Option<&[u8]>,
    ) -> Result<Self, SsoError> {
        let library = GssLibrary::get()?;
        let place = place(credentials);
        let fail = |failure: GssFailure| failure.into_error(&place);
        // `HTTP/host` is the name as Kerberos writes it, `HTTP@host` as GSS-API does.
        let target = GssName::service(library, &spn.replacen('/', "@", 1)).map_err(fail)?;
        let credential = acquire(library, credentials).map_err(fail)?;
        let context = GssContext::new(library);
        let bindings = bindings.map(<[u8]>::to_vec);
        Ok(Self { library, target, credential, context, bindings, place, is_first: true })
    }

    pub(crate) fn step(&mut self, token: Option<&[u8]>) -> Result<Step, SsoError> {
        let is_first = std::mem::replace(&mut self.is_first, false);
        let step = if self.credential.is_some() {
            self.step_by_ticket(is_first)
        } else {
            let bindings = self.bindings.as_deref();
            let step = self.context.step(&self.target, None, Mechanism::Spnego, bindings, token);
            step.map_err(|failure| if is_first { self.real_failure(failure) } else { failure })
        };
        match step {
            Ok((token, is_done)) => Ok(Step::new(token, is_done)),
            Err(failure) => Err(failure.into_error(&self.place)),
        }
    }

    /// Makes the one token that a chosen credential gives.
    ///
    /// The credential is Kerberos's alone. One for SPNEGO would cover every mechanism that is installed: each would try
    /// the password by itself, which counts twice towards a lock-out, and one of them would hide the failure of the
    /// other. MIT's SPNEGO does not take a credential of Kerberos, so the token is wrapped here. Without mutual
    /// authentication nothing follows it: a second challenge means that the proxy refused the ticket.
    fn step_by_ticket(&mut self, is_first: bool) -> Result<(Vec<u8>, bool), GssFailure> {
        if !is_first {
            return Err(GssFailure::refused());
        }
        let (credential, bindings) = (self.credential.as_ref(), self.bindings.as_deref());
        let step = self.context.step(&self.target, credential, Mechanism::Kerberos, bindings, None);
        step.map(|(token, is_done)| (negotiation::wrap(&token), is_done))
    }

    /// Asks Kerberos itself why the first token could not be made.
    ///
    /// SPNEGO tries its mechanisms in turn and, if all fail, MIT reports only that none was left ("cannot find
    /// mechanisms to negotiate"). The reason of the one that counts comes from a second, separate attempt. Its token is
    /// thrown away if there is one after all.
    fn real_failure(&self, masked: GssFailure) -> GssFailure {
        let mut probe = GssContext::new(self.library);
        let bindings = self.bindings.as_deref();
        match probe.step(&self.target, None, Mechanism::Kerberos, bindings, None) {
            Err(failure) if failure.reason() != Reason::Other => failure,
            _ => masked,
        }
    }
}

fn acquire(
    library: &'static GssLibrary,
    credentials: &Credentials,
) -> Result<Option<GssCredential>, GssFailure> {
    match credentials {
        // The library then looks for itself, and finds a ticket that was got since.
        Credentials::LoggedIn { principal: None } => Ok(None),
        Credentials::LoggedIn { principal: Some(principal) } => {
            let name = GssName::principal(library, principal)?;
            GssCredential::acquire(library, Some(&name)).map(Some)
        }
        Credentials::Ccache { name, principal } => {
            let principal = principal.as_deref();
            let principal = principal.map(|text| GssName::principal(library, text)).transpose()?;
            let store = [("ccache", name.as_str())];
            GssCredential::acquire_from(library, principal.as_ref(), AcquireFrom(&store)).map(Some)
        }
        Credentials::Keytab { path, principal } => {
            let name = GssName::principal(library, principal)?;
            let path = path.display().to_string();
            let cache = memory_cache(&path, principal);
            let store = [("client_keytab", path.as_str()), ("ccache", &cache)];
            GssCredential::acquire_from(library, Some(&name), AcquireFrom(&store)).map(Some)
        }
        Credentials::Password { username, password } => {
            let name = GssName::principal(library, username)?;
            GssCredential::acquire_with_password(library, &name, password).map(Some)
        }
    }
}

/// Describes where tickets are looked for.
fn place(credentials: &Credentials) -> String {
    match credentials {
        Credentials::LoggedIn { principal } => {
            let cache = std::env::var("KRB5CCNAME");
            let cache =
                cache.map_or_else(|_| "the default cache".into(), |name| format!("cache {name}"));
            match principal {
                Some(principal) => format!("looked for {principal} in {cache}"),
                None => format!("looked in {cache}"),
            }
        }
        Credentials::Ccache { name, .. } => format!("looked in cache {name}"),
        Credentials::Keytab { path, principal } => {
            format!("with the keys of {principal} in keytab {}", path.display())
        }
        Credentials::Password { username, .. } => format!("with the password of {username}"),
    }
}
