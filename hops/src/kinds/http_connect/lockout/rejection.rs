//! A rejection of credentials, and the error of requests that it holds back.

use std::time::Duration;

use crate::{HeldBack, HopError, MissingCredentials, Refusal};

/// A rejection of credentials, by the proxy or by the domain that issues tickets for it.
#[derive(Clone, Debug)]
pub(in crate::kinds::http_connect) enum Rejection {
    ByProxy(Box<Refusal>),
    ByDomain(Box<MissingCredentials>),
}

impl Rejection {
    /// Returns the error of the request that was rejected. The credentials are held back for `wait` from now on.
    pub(in crate::kinds::http_connect) fn met(self, wait: Duration) -> HopError {
        match self {
            Self::ByProxy(mut refusal) => {
                refusal.held_back = Some(wait);
                HopError::Refused(refusal)
            }
            Self::ByDomain(mut missing) => {
                missing.retry_after = Some(wait);
                HopError::NoCredentials(missing)
            }
        }
    }
}

/// A rejection that keeps the credentials of later requests from being sent.
#[derive(Clone, Debug)]
pub(in crate::kinds::http_connect) struct Hold {
    pub(super) rejection: Rejection,
    /// The time that is left of it.
    pub(super) wait: Duration,
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
