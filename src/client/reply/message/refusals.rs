//! Replies to requests that this proxy itself refuses.

use mooltiroute_hops::{Authority, InvalidPreferences};

use super::Reply;
use crate::{
    client::{
        auth::SentUsername,
        reply::{ReplyText, texts},
    },
    proxy_error::ProxyError,
    state::generation::OverBudget,
    upstream::rounds::NotAdmitted,
};

impl Reply {
    /// Refuses a request for which the client is responsible.
    pub(crate) fn refused(status: u16, why: impl Into<ReplyText>) -> Self {
        Self { status, ..Self::of_ours(ProxyError::HttpRequest, why) }
    }

    /// Says that a page of the proxy itself could not be made.
    pub(crate) fn page_not_made() -> Self {
        Self::of_ours(ProxyError::ProxyInternal, texts::PAGE_NOT_MADE)
    }

    /// Asks the client for the credentials of `server.auth` (RFC 9110 §15.5.8).
    pub fn unauthorized() -> Self {
        Self {
            status: 407,
            summary: Some("server.auth, by Basic".to_owned()),
            field: Some(texts::CHALLENGE.into()),
            ..Self::of_ours(ProxyError::HttpRequestDenied, texts::unauthorized())
        }
    }

    /// Asks for the credentials of `server.auth`, since those that the client sent are others.
    pub(crate) fn wrong_credentials() -> Self {
        let summary = Some("not those of server.auth".to_owned());
        Self { summary, text: texts::wrong_credentials(), ..Self::unauthorized() }
    }

    /// Asks for the credentials of `server.auth` by Basic, since the client sent some by `scheme`.
    pub(crate) fn other_scheme(scheme: &str) -> Self {
        let summary = Some("server.auth takes Basic only".to_owned());
        Self { summary, text: texts::other_scheme(scheme).into(), ..Self::unauthorized() }
    }

    /// Asks for the credentials of `server.auth`, for a page of the proxy itself.
    pub fn unauthorized_page() -> Self {
        let text = texts::UNAUTHORIZED_PAGE.into();
        Self { summary: None, text, ..Self::unauthorized() }
    }

    /// Refuses a username that does not say which preferences the client has.
    /// `is_beside_auth` says that clients have to authenticate too.
    pub fn invalid_preferences(invalid: InvalidPreferences, is_beside_auth: bool) -> Self {
        let summary = Some(texts::what_is_misread(invalid, is_beside_auth).to_owned());
        let text = texts::invalid_preferences(invalid, is_beside_auth);
        Self { summary, ..Self::refused(400, text) }
    }

    /// Refuses the preferences that a client adds to the username of `server.auth`, since no hop of `chain` takes any.
    pub(crate) fn no_say(chain: &str) -> Self {
        let summary = Some(format!("chain {chain} takes no session"));
        Self { summary, text: texts::no_say_beside_auth(chain).into(), ..Self::unauthorized() }
    }

    /// Asks a client for the session that a hop requires. `is_beside_auth` says that clients have to authenticate too, and
    /// `sent` which username the client has sent.
    pub(crate) fn no_session(is_beside_auth: bool, sent: SentUsername) -> Self {
        // Browsers and git show the realm and not the text, so both say what to write.
        let (challenge, text) = match (is_beside_auth, sent) {
            (false, SentUsername::Read) => (texts::SESSION_CHALLENGE, texts::no_session()),
            (false, SentUsername::None) => (texts::SESSION_CHALLENGE, texts::no_username()),
            (false, SentUsername::Unread) => (texts::SESSION_CHALLENGE, texts::unread_username()),
            (true, _) => (texts::SESSION_CHALLENGE_BESIDE_AUTH, texts::no_session_beside_auth()),
        };
        let summary = match sent {
            SentUsername::Read => "username names no session",
            // Many programs leave a username out that has no password.
            SentUsername::None => "no username was sent; write session-NAME:x@",
            SentUsername::Unread => "Proxy-Authorization is not Basic with base64",
        };
        Self {
            status: 407,
            summary: Some(summary.to_owned()),
            field: Some(challenge.into()),
            ..Self::of_ours(ProxyError::HttpRequestDenied, text)
        }
    }

    /// Asks a client for the session that a hop requires, since the username that it sent is not understood.
    pub fn invalid_session(invalid: InvalidPreferences, is_beside_auth: bool) -> Self {
        let Self { summary, text, .. } = Self::invalid_preferences(invalid, is_beside_auth);
        Self { summary, text, ..Self::no_session(is_beside_auth, SentUsername::Read) }
    }

    /// Refuses a method that would change something (RFC 9110 §15.5.6).
    pub fn only_reading() -> Self {
        Self { field: Some(texts::ALLOW.into()), ..Self::refused(405, texts::ONLY_READING) }
    }

    /// Refuses a connection beyond `limits.connections`.
    pub fn over_limit(limit: usize) -> Self {
        Self {
            summary: Some("limits.connections".to_owned()),
            field: Some(texts::RETRY_IN_A_SECOND.into()),
            ..Self::of_ours(ProxyError::ConnectionLimitReached, texts::over_limit(limit))
        }
    }

    /// Refuses a request for `target` whose `Via` field says that it has passed this proxy before.
    pub fn looped(target: &Authority) -> Self {
        Self {
            summary: Some("loop, by its Via field".to_owned()),
            ..Self::of_ours(ProxyError::ProxyLoopDetected, texts::looped(target))
        }
    }

    /// Refuses a request for `target` because too many requests like it are unanswered.
    pub(crate) fn not_admitted(error: NotAdmitted, target: &Authority) -> Self {
        match error {
            // A loop does not end by waiting, so only the other answer names a time to come back.
            NotAdmitted::Loop(count) => Self {
                summary: Some("loop through the hops".to_owned()),
                ..Self::of_ours(ProxyError::ProxyLoopDetected, texts::seems_to_loop(count, target))
            },
            NotAdmitted::Unanswered(count) => Self {
                summary: Some("too many unanswered requests".to_owned()),
                field: Some(texts::RETRY_IN_A_SECOND.into()),
                unanswered: Some(count),
                ..Self::of_ours(
                    ProxyError::ConnectionLimitReached,
                    texts::unanswered(count, target),
                )
            },
        }
    }

    /// Refuses a request until the budget of a hop begins again (RFC 6585 §4).
    pub(crate) fn over_budget(budget: &OverBudget) -> Self {
        Self {
            status: 429,
            summary: Some(format!("{}: budget used up", budget.hop)),
            field: Some(texts::retry_after(budget.left).into()),
            ..Self::of_ours(ProxyError::HttpRequestDenied, texts::over_budget(budget))
        }
    }

    /// Refuses a request for `target` because a hop on its way was to be switched, and could not be.
    pub(crate) fn unsettled(target: &Authority) -> Self {
        Self {
            summary: Some("network has changed".to_owned()),
            field: Some(texts::RETRY_IN_A_SECOND.into()),
            ..Self::of_ours(ProxyError::ProxyConfiguration, texts::unsettled(target))
        }
    }

    /// Refuses a target that no route matches.
    pub fn no_route(target: &Authority) -> Self {
        Self {
            summary: Some("no route matches".to_owned()),
            ..Self::of_ours(ProxyError::ProxyConfiguration, texts::no_route(target))
        }
    }
}
