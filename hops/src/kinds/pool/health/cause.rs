//! The failures for which a pool leaves a member out.

use std::{sync::Arc, time::Duration};

use crate::{HopError, Meaning, Refusal};

/// A member's failure, as far as it is known.
#[derive(Debug, Default)]
pub(in crate::kinds) struct LeftFor {
    /// Why it failed.
    pub(in crate::kinds) why: Option<Arc<str>>,
    /// How long to leave it alone, if its failure says that.
    pub(in crate::kinds) wait: Option<Wait>,
    /// The refusal that the failure was, if it was one.
    pub(in crate::kinds) refusal: Option<RefusalKind>,
}

/// The refusals of a proxy that mean about the same, so that the same fault may lead to any of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::kinds) enum RefusalKind {
    /// It does not accept the credentials, or the account may not do this. Some proxies answer 401 or 403 instead of 407.
    Account,
    /// It has too much to do.
    Busy,
    /// It answers with this other status.
    Other(u16),
}

impl RefusalKind {
    /// Returns the kind of the refusal that `error` is, if it is one.
    pub(in crate::kinds) fn of(error: &HopError) -> Option<Self> {
        match error {
            HopError::Refused(refusal) if refusal.meaning == Meaning::Credentials => {
                Some(Self::Account)
            }
            HopError::Refused(refusal) => {
                refusal.http.as_ref().map(|http| Self::of_status(http.status))
            }
            HopError::HeldBack(_) | HopError::NoCredentials(_) => Some(Self::Account),
            _ => None,
        }
    }

    pub(super) fn of_status(status: u16) -> Self {
        match status {
            401 | 402 | 403 | 407 => Self::Account,
            429 | 503 => Self::Busy,
            other => Self::Other(other),
        }
    }
}

/// Why a member is left alone for longer than the pause after a failure.
#[derive(Clone, Debug)]
pub(in crate::kinds) enum Wait {
    /// It asked for this time, by this answer.
    Asked(Duration, Arc<Refusal>),
    /// Its credentials are held back for this time.
    HeldBack {
        /// The time that is left.
        wait: Duration,
        /// Whether they were already held back for this connection, which has then sent nothing.
        is_unsent: bool,
    },
}

impl Wait {
    /// Returns how long to leave a member alone that failed with `error`, if the error says that.
    pub(in crate::kinds) fn of(error: &HopError) -> Option<Self> {
        let held = |wait, is_unsent| Self::HeldBack { wait, is_unsent };
        match error {
            HopError::Refused(refusal) => match (refusal.held_back, refusal.retry_after) {
                (Some(wait), _) => Some(held(wait, false)),
                (None, Some(wait)) if !wait.is_zero() => {
                    Some(Self::Asked(wait.min(ASKED_MAX), Arc::new((**refusal).clone())))
                }
                (None, _) => None,
            },
            HopError::HeldBack(hold) => Some(held(hold.wait, true)),
            HopError::NoCredentials(missing) => {
                missing.retry_after.map(|wait| held(wait, missing.is_held_back))
            }
            _ => None,
        }
    }

    /// Returns whether nothing was sent to the member, so that nothing was learned about it.
    pub(in crate::kinds) fn is_unsent(&self) -> bool {
        matches!(self, Self::HeldBack { is_unsent: true, .. })
    }

    /// Returns why a member that failed with `error` is left out. Omits the remaining time, because it keeps changing.
    pub(in crate::kinds) fn reason(error: &HopError) -> Option<Arc<str>> {
        match error {
            HopError::HeldBack(hold) => Some(format!("it answered {}", hold.refusal).into()),
            HopError::NoCredentials(missing) => Some((*missing.details).into()),
            _ => None,
        }
    }
}

/// The longest time that a member may ask for. A proxy that asks for a day is more often broken than right.
pub(super) const ASKED_MAX: Duration = Duration::from_secs(5 * 60);
