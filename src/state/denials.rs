//! Keeps the log from filling with lines about clients that try again and again.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use mooltiroute_hops::InvalidPreferences;
use tokio::time::Instant;

use super::challenges::Challenges;
use crate::config::Protocol;

/// The lines that clients caused, and the counts of `server.auth`. At most one line of a sort is logged in each [`PAUSE`].
#[derive(Debug, Default)]
pub(crate) struct Denials {
    noted: Mutex<BTreeMap<ClientLine, Noted>>,
    /// Clients that were asked for credentials.
    pub challenges: Challenges,
    without_credentials: AtomicU64,
    with_wrong_credentials: AtomicU64,
}

/// How many requests `server.auth` has refused since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct AuthRefusals {
    /// Requests whose clients sent no credentials when they were asked for them.
    pub without_credentials: u64,
    /// Requests with other credentials, or by another scheme.
    pub with_wrong_credentials: u64,
}

/// A sort of log line that any client can cause as often as it likes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum ClientLine {
    /// A request by this protocol was refused for this reason.
    Refused(Protocol, RefusalReason),
    /// A client names a session or a country, and no hop on its way takes one.
    UnusedPreferences,
    /// A client has a username in the form of a provider, and no hop on its way lets clients choose.
    UsernameOfProvider,
    /// A client names a session with a country in its name.
    CountryInSession,
    /// A client names no session, and this hop has `sessions: by-client`.
    NoSession(Arc<str>),
    /// A client of this protocol asks for an address, and routes before the one that it takes are for names.
    AddressForName(Protocol),
}

/// Why requests are refused, as far as one line of the log can stand for many: clients choose neither the number of these
/// nor their texts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum RefusalReason {
    /// The client sent no credentials, and `server.auth` asks for them.
    NoCredentials,
    /// The client sent other credentials than those of `server.auth`.
    Unauthorized,
    /// The client sent credentials by another scheme than Basic.
    OtherScheme,
    /// No route matches.
    NoRoute,
    /// The username states no preferences.
    Preferences(InvalidPreferences),
    /// The client states preferences that no hop takes.
    NoSay,
    /// This hop has used up its budget.
    OverBudget(Arc<str>),
    /// The client names no session.
    NoSession,
    /// Too many requests are unanswered.
    NotAdmitted,
    /// It is not known which hops the way has.
    Unsettled,
    /// The client speaks TLS to a listener without it.
    Tls,
    /// The client speaks SOCKS to a listener with TLS.
    Socks,
    /// The client speaks HTTP/2.
    Http2,
    /// The client asks for an `https://` URL without CONNECT.
    NeedsConnect,
    /// The scheme of the URL is not served.
    UnknownScheme,
    /// The target of CONNECT has no port, or is none.
    ConnectTarget,
    /// The request is malformed in another way.
    Malformed,
}

/// The lines of one sort.
#[derive(Clone, Copy, Debug)]
struct Noted {
    logged: Instant,
    skipped: u64,
}

impl Denials {
    /// Counts `requests` that `server.auth` refused for `reason`, and notes a line about them as [`note`](Self::note) does.
    pub(crate) fn count(
        &self,
        protocol: Protocol,
        reason: RefusalReason,
        requests: u64,
    ) -> Option<u64> {
        let is_without = reason == RefusalReason::NoCredentials;
        let count =
            if is_without { &self.without_credentials } else { &self.with_wrong_credentials };
        count.fetch_add(requests, Relaxed);
        self.note(ClientLine::Refused(protocol, reason))
    }

    /// Returns how many requests `server.auth` has refused.
    pub(crate) fn auth_refusals(&self) -> AuthRefusals {
        AuthRefusals {
            without_credentials: self.without_credentials.load(Relaxed),
            with_wrong_credentials: self.with_wrong_credentials.load(Relaxed),
        }
    }

    /// Notes a line. If it is to be logged, returns how many of its sort were left out since the last one.
    pub(crate) fn note(&self, line: ClientLine) -> Option<u64> {
        let now = Instant::now();
        // Replaced in one step, so it is valid even after a panic of another holder.
        let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        match noted.get_mut(&line) {
            Some(last) if now - last.logged < PAUSE => {
                last.skipped += 1;
                None
            }
            last => {
                let skipped = last.map_or(0, |last| last.skipped);
                noted.insert(line, Noted { logged: now, skipped: 0 });
                Some(skipped)
            }
        }
    }

    /// Notes a line that is logged once. Returns whether this is the first one of its sort.
    pub(crate) fn note_once(&self, line: ClientLine) -> bool {
        let first = Noted { logged: Instant::now(), skipped: 0 };
        let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        // Replaced in one step, as in `note`.
        let is_new = !noted.contains_key(&line);
        if is_new {
            noted.insert(line, first);
        }
        is_new
    }
}

/// The time between two lines of one sort.
const PAUSE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use tokio::time;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn of_equal_refusals_one_is_logged_and_the_others_are_counted() {
        let denials = Denials::default();
        let no_route = || ClientLine::Refused(Protocol::Http, RefusalReason::NoRoute);
        let by_socks = || ClientLine::Refused(Protocol::Socks5, RefusalReason::NoRoute);
        let country = || {
            let reason = RefusalReason::Preferences(InvalidPreferences::NoCountry);
            ClientLine::Refused(Protocol::Http, reason)
        };
        assert_eq!(
            [no_route(), no_route(), by_socks(), country(), no_route()]
                .map(|line| denials.note(line)),
            [Some(0), None, Some(0), Some(0), None]
        );
        time::advance(PAUSE).await;
        assert_eq!([denials.note(no_route()), denials.note(country())], [Some(2), Some(0)]);
    }
}
