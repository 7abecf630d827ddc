//! GSS-API (RFC 2743, RFC 2744) as MIT Kerberos, Heimdal and macOS provide it.

mod abi;
mod buffer;
mod context;
mod credential;
mod failure;
mod identity;
mod kerberos;
mod library;
mod memory;
mod name;
mod negotiation;
mod reason;

use std::sync::Arc;

use self::{
    abi::Mechanism,
    context::GssContext,
    credential::GssCredential,
    failure::GssFailure,
    identity::{ChosenCredential, choose_default_cache, place},
    library::GssLibrary,
    name::GssName,
};
pub(crate) use self::{
    credential::GssCredential as SystemCredential, identity::ticket,
    memory::KeytabMemory as SystemMemory,
};
use crate::{Credentials, Identity, Reason, SsoError, Step};

/// An authentication by SPNEGO.
#[derive(Debug)]
pub(crate) struct SystemContext {
    library: &'static GssLibrary,
    target: GssName,
    /// The name of the service.
    service: String,
    credential: ChosenCredential,
    context: GssContext,
    bindings: Option<Vec<u8>>,
    is_first: bool,
    /// Dropped last: its tickets are removed from memory then.
    identity: Arc<Identity>,
}

pub(crate) fn check_available() -> Result<(), SsoError> {
    GssLibrary::get().map(drop)
}

impl SystemContext {
    pub(crate) fn new(
        spn: &str,
        identity: &Arc<Identity>,
        bindings: Option<&[u8]>,
    ) -> Result<Self, SsoError> {
        let library = GssLibrary::get()?;
        let fail = |failure: GssFailure| failure.into_error(place(identity));
        let target = GssName::service(library, spn).map_err(fail)?;
        // A password is used only by the first step, so a context that is never used costs no logon. A keytab may be used
        // already now.
        let credentials = identity.credentials();
        let credential = identity.kept.guard(|| {
            ChosenCredential::acquire(library, credentials, &identity.memory).map_err(fail)
        })?;
        Ok(Self {
            library,
            target,
            service: spn.to_owned(),
            credential,
            context: GssContext::new(library),
            bindings: bindings.map(<[u8]>::to_vec),
            is_first: true,
            identity: Arc::clone(identity),
        })
    }

    pub(crate) fn step(&mut self, token: Option<&[u8]>) -> Result<Step, SsoError> {
        // With the default credential, SPNEGO may choose NTLM and go on for several rounds. Only its first failure can hide
        // the reason: a later one comes from the mechanism that was chosen.
        let is_first = std::mem::replace(&mut self.is_first, false);
        let (token, is_done) = if matches!(self.credential, ChosenCredential::Default) {
            let identity = Arc::clone(&self.identity);
            identity.kept.guard(|| {
                let step = self.step_by_default(is_first, token);
                step.map_err(|failure| failure.into_error(place(&identity)))
            })?
        } else {
            self.step_by_ticket(is_first)?
        };
        Ok(Step::new(token, is_done))
    }

    /// Makes the next token of the default credential.
    fn step_by_default(
        &mut self,
        is_first: bool,
        token: Option<&[u8]>,
    ) -> Result<(Vec<u8>, bool), GssFailure> {
        let _cache = choose_default_cache(self.library, Some(&self.service));
        // With keys, SPNEGO would log on and hide that they were rejected, and to ask Kerberos for the reason is to log on
        // again. So Kerberos goes first.
        if is_first && self.library.kerberos.is_some_and(|kerberos| kerberos.has_default_keytab()) {
            let logged_on = GssCredential::acquire(self.library, None);
            match logged_on.and_then(|credential| credential.inquire()) {
                Err(failure) if failure.reason().is_rejection() => return Err(failure),
                Ok(_) | Err(_) => {}
            }
        }
        let bindings = self.bindings.as_deref();
        let step = self.context.step(&self.target, None, Mechanism::Spnego, bindings, token);
        step.map_err(|failure| if is_first { self.real_failure(failure) } else { failure })
    }

    /// Makes the only token of a chosen credential.
    ///
    /// The credential is for Kerberos alone. A credential for SPNEGO would cover every mechanism that is installed: each would
    /// try the password by itself, which counts twice towards a lock-out, and one of them would hide the failure of the
    /// other. MIT's SPNEGO does not accept a credential for Kerberos, so the token is wrapped here. Without mutual
    /// authentication no second token follows: a second challenge means that the proxy refused the ticket.
    fn step_by_ticket(&mut self, is_first: bool) -> Result<(Vec<u8>, bool), SsoError> {
        let Self { library, target, identity, credential, context, bindings, .. } = self;
        let fail = |failure: GssFailure| failure.into_error(place(identity));
        // The first token was complete, so the proxy refuses it by this second challenge.
        if !is_first {
            return Err(fail(GssFailure::refused()));
        }
        let bindings = bindings.as_deref();
        // This may run twice: if the shared ticket has ended, it runs again with a new one.
        let mut step = |credential: Option<&GssCredential>| {
            let step = context.step(target, credential, Mechanism::Kerberos, bindings, None);
            step.map_err(fail)
        };
        let (token, is_done) = match (&*credential, identity.credentials()) {
            (ChosenCredential::Kept, Credentials::Password { username, password }) => {
                let acquire = || {
                    let name = GssName::principal(library, username).map_err(fail)?;
                    GssCredential::acquire_with_password(library, &name, password).map_err(fail)
                };
                identity.kept.with_credential(acquire, |kept| step(Some(kept)))
            }
            (ChosenCredential::Own(credential), _) => {
                identity.kept.guard(|| step(Some(credential)))
            }
            (ChosenCredential::Kept | ChosenCredential::Default, _) => step(None),
        }?;
        Ok((negotiation::wrap(&token), is_done))
    }

    /// Asks Kerberos itself why the first token could not be made.
    ///
    /// SPNEGO tries its mechanisms in turn. If all fail, MIT reports only that none is left ("cannot find mechanisms to
    /// negotiate"). A second, separate attempt finds the reason of the mechanism that matters. If it makes a token after all,
    /// that is thrown away.
    fn real_failure(&self, masked: GssFailure) -> GssFailure {
        let mut probe = GssContext::new(self.library);
        let bindings = self.bindings.as_deref();
        match probe.step(&self.target, None, Mechanism::Kerberos, bindings, None) {
            Err(failure) if failure.reason() != Reason::Other => failure,
            _ => masked,
        }
    }
}
