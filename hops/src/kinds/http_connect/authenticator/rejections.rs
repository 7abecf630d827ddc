//! Explains why the proxy takes no credentials, and remembers it.

use std::{sync::PoisonError, time::SystemTime};

use mooltiroute_sso::Ticket;

use super::{Authenticator, Stop};
use crate::{
    HopError, MissingCredentials, Refusal,
    auth::challenge::AuthScheme,
    kinds::http_connect::{
        attempt::Method,
        diagnosis, explanations,
        lockout::{Rejection, Sent, Tried},
    },
};

impl Authenticator {
    /// Turns the end of an authentication into an error, and records a rejection.
    pub(super) async fn stopped(
        &self,
        stop: Stop,
        refusal: Refusal,
        sent: Option<&Sent>,
    ) -> HopError {
        match stop {
            Stop::Failed(error) => error,
            Stop::NothingInCommon => explanations::nothing_in_common(&self.methods, refusal).into(),
            Stop::BrokenOff(scheme) => explanations::broken_off(refusal, scheme).into(),
            Stop::Refused(reason) => explanations::nothing_sent(refusal, reason).into(),
            Stop::RejectedByDomain(missing) => self.rejected_by_domain(missing),
            Stop::TokenRefused => self.token_refused(self.explained_ticket(refusal), sent).await,
            // With Basic alone, the general text about refused credentials fits. The other schemes have texts of
            // their own, which name the scheme.
            Stop::Rejected(_) if !self.takes_rounds() => self.rejected_by_proxy(refusal, sent),
            Stop::Rejected(scheme) => {
                self.rejected_by_proxy(self.explained_rejection(refusal, scheme), sent)
            }
        }
    }

    /// Explains that the proxy does not accept a ticket, and which other schemes it offers.
    pub(super) fn explained_ticket(&self, refusal: Refusal) -> Refusal {
        let refusal = diagnosis::refused_ticket(refusal, SystemTime::now());
        let untried = self.methods.iter().map(|method| method.scheme().name());
        let untried: Vec<_> = untried
            .filter(|name| *name != AuthScheme::Negotiate.name())
            .filter(|name| refusal.http.as_ref().is_some_and(|http| http.offers(name)))
            .collect();
        if untried.is_empty() { refusal } else { explanations::with_untried(refusal, &untried) }
    }

    /// Explains that the proxy does not accept the credentials.
    pub(super) fn explained_rejection(&self, refusal: Refusal, scheme: AuthScheme) -> Refusal {
        let domain = self.ntlm_domain.lock().unwrap_or_else(PoisonError::into_inner);
        let is_without_domain = |method: &Method| matches!(method, Method::Ntlm(login) if login.domain().is_empty() && !login.user().contains('@'));
        let lacks_domain = scheme == AuthScheme::Ntlm && self.methods.iter().any(is_without_domain);
        let domain = domain.as_deref().filter(|_| lacks_domain);
        explanations::rejection(
            refusal,
            scheme,
            domain,
            self.secret_key,
            self.lockout.has_accepted(),
        )
    }

    /// Records that the proxy does not accept the ticket in use. It stays refused until there is another one. Its identity
    /// is kept with the rejection, so that `kinit` ends the wait at once.
    async fn token_refused(&self, refusal: Refusal, sent: Option<&Sent>) -> HopError {
        let ticket = self.refused_ticket().await;
        self.rejected(Rejection::ByProxy(Box::new(refusal)), Tried::Ticket(ticket), sent)
    }

    /// Identifies the ticket that was refused. Returns `None` if that is unknown.
    pub(super) async fn refused_ticket(&self) -> Option<Ticket> {
        match self.sign_on() {
            Some(sign_on) => sign_on.refused_ticket().await,
            None => None,
        }
    }

    pub(super) fn rejected_by_proxy(&self, refusal: Refusal, sent: Option<&Sent>) -> HopError {
        self.rejected(Rejection::ByProxy(Box::new(refusal)), Tried::Logon, sent)
    }

    pub(super) fn rejected_by_domain(&self, missing: MissingCredentials) -> HopError {
        self.rejected(Rejection::ByDomain(Box::new(missing)), Tried::Logon, None)
    }

    fn rejected(&self, rejection: Rejection, tried: Tried, sent: Option<&Sent>) -> HopError {
        let ruling = self.lockout.rejected(rejection.clone(), tried, sent);
        rejection.met(&ruling)
    }
}
