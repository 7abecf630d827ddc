//! A rejection of credentials, and the error of requests that it holds back.

use std::time::Duration;

use super::standing::{Ruling, Scope};
use crate::{
    HeldBack, HopError, MissingCredentials, Refusal, kinds::http_connect::explanations,
    refusal::whole_seconds,
};

/// A rejection of credentials, by the proxy or by the domain that issues tickets for it.
#[derive(Clone, Debug)]
pub(in crate::kinds::http_connect) enum Rejection {
    ByProxy(Box<Refusal>),
    ByDomain(Box<MissingCredentials>),
}

impl Rejection {
    /// Returns the error of the request that was rejected.
    pub(in crate::kinds::http_connect) fn met(self, ruling: &Ruling) -> HopError {
        let wait = ruling.wait;
        match self {
            Self::ByProxy(refusal) => HopError::Refused(Box::new(ruling.of(*refusal))),
            Self::ByDomain(mut missing) => {
                missing.retry_after = Some(whole_seconds(wait));
                HopError::NoCredentials(missing)
            }
        }
    }
}

/// A rejection that keeps the credentials of later requests from being sent.
#[derive(Clone, Debug)]
pub(in crate::kinds::http_connect) struct Hold {
    pub(super) rejection: Rejection,
    /// The time that is left of it, in whole seconds.
    pub(super) wait: Duration,
}

impl Ruling {
    /// Adds the consequence to the refusal of the request.
    pub(in crate::kinds::http_connect) fn of(&self, refusal: Refusal) -> Refusal {
        let mut refusal = match self.scope {
            Scope::All => refusal,
            Scope::Suspect => explanations::with_suspicion(refusal),
            Scope::Target => explanations::refused_target(refusal),
        };
        refusal.held_back = Some(whole_seconds(self.wait));
        refusal
    }
}

impl Hold {
    pub(super) fn of_all(rejection: Rejection, rest: Duration) -> Self {
        Self { rejection, wait: whole_seconds(rest) }
    }

    /// Creates the hold of one target, which the proxy refuses to a user whose credentials are good.
    pub(super) fn of_target(rejection: Rejection, rest: Duration) -> Self {
        let rejection = match rejection {
            Rejection::ByProxy(refusal) => {
                Rejection::ByProxy(Box::new(explanations::refused_target(*refusal)))
            }
            of_domain @ Rejection::ByDomain(_) => of_domain,
        };
        Self { rejection, wait: whole_seconds(rest) }
    }
}

impl From<Hold> for HopError {
    /// Returns the error of a request that did not send the credentials.
    fn from(Hold { rejection, wait }: Hold) -> Self {
        match rejection {
            Rejection::ByProxy(refusal) => {
                Self::HeldBack(Box::new(HeldBack { wait, refusal: *refusal }))
            }
            Rejection::ByDomain(mut missing) => {
                missing.retry_after = Some(wait);
                missing.is_held_back = true;
                Self::NoCredentials(missing)
            }
        }
    }
}
