//! Keeps the log from filling with lines about clients that try again and again.

mod messages;

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use mooltiroute_hops::InvalidPreferences;
use tokio::{
    runtime::Handle,
    time::{Instant, sleep_until},
};

use super::challenges::Challenges;
use crate::config::Protocol;

/// The lines that clients caused, and the counts of `server.auth`. At most one line of a kind is logged in each
/// [`PAUSE`].
#[derive(Debug, Default)]
pub(crate) struct Denials {
    noted: Arc<NotedLines>,
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

/// A kind of log line that any client can cause as often as it likes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum ClientLine {
    /// A request by this protocol was refused for this reason.
    Refused(Protocol, RefusalReason),
    /// A client names a session or a country, and no hop on its way takes one.
    UnusedPreferences,
    /// A client has a username in the form of a provider, and no hop on its way lets clients choose.
    UsernameOfProvider,
    /// A client's `Proxy-Authorization` is not understood, and hops of this chain let clients choose.
    UnreadUsername(Arc<str>),
    /// A client names a session with a country in its name.
    CountryInSession,
    /// A client names no session, and this hop has `sessions: by-client` or `pick: sticky`.
    NoSession(Arc<str>),
    /// A client sends many requests over one connection, and this pool chooses a member for each connection.
    KeptExit(Arc<str>),
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
    /// The client speaks TLS inside TLS.
    TlsTwice,
    /// The client speaks SOCKS to a listener with TLS.
    Socks,
    /// The client speaks HTTP/2.
    Http2,
    /// A load balancer sends the PROXY protocol.
    ProxyProtocol,
    /// The client asks for an `https://` URL without CONNECT.
    NeedsConnect,
    /// The scheme of the URL is not served.
    UnknownScheme,
    /// The target of CONNECT has no port, or is none.
    ConnectTarget,
    /// The client asks by SOCKS for BIND.
    SocksBind,
    /// The client asks by SOCKS for UDP ASSOCIATE.
    SocksUdp,
    /// The client asks by SOCKS for an unknown command.
    SocksCommand,
    /// The client offers by SOCKS no method of authentication that is served.
    SocksMethod,
    /// The target of a request by SOCKS is none.
    SocksTarget,
    /// The request is malformed in another way.
    Malformed,
}

/// The lines of each kind.
#[derive(Debug, Default)]
struct NotedLines(Mutex<BTreeMap<ClientLine, Noted>>);

/// The lines of one kind.
#[derive(Clone, Copy, Debug)]
struct Noted {
    logged: Instant,
    skipped: u64,
    /// Whether a task will log how many were skipped.
    is_awaited: bool,
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

    /// Notes a line. If it is to be logged, returns how many of its kind were left out since the last one.
    ///
    /// If no other line of this kind comes, the number of those that were left out is logged by itself. The timer for
    /// that exists only then, so an idle proxy has none.
    pub(crate) fn note(&self, line: ClientLine) -> Option<u64> {
        let now = Instant::now();
        let mut noted = self.noted.lock();
        let last = noted.get(&line).copied();
        let Some(last) = last.filter(|last| now - last.logged < PAUSE) else {
            let skipped = last.map_or(0, |last| last.skipped);
            let is_awaited = last.is_some_and(|last| last.is_awaited);
            noted.insert(line, Noted { logged: now, skipped: 0, is_awaited });
            return Some(skipped);
        };
        noted.insert(line.clone(), Noted { skipped: last.skipped + 1, is_awaited: true, ..last });
        drop(noted);
        // Without a runtime nothing serves clients.
        if !last.is_awaited
            && let Ok(runtime) = Handle::try_current()
        {
            let noted = Arc::clone(&self.noted);
            runtime.spawn(async move { noted.log_skipped(line).await });
        }
        None
    }

    /// Notes a line that is logged once. Returns whether this is the first one of its kind.
    pub(crate) fn note_once(&self, line: ClientLine) -> bool {
        let first = Noted { logged: Instant::now(), skipped: 0, is_awaited: false };
        let mut noted = self.noted.lock();
        let is_new = !noted.contains_key(&line);
        if is_new {
            noted.insert(line, first);
        }
        is_new
    }
}

impl NotedLines {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<ClientLine, Noted>> {
        // Replaced in one step, so it is valid even after a panic of another holder.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the pause after the last `line` has been over for a moment, and logs how many were skipped since then.
    /// Another line that is logged meanwhile has their number.
    async fn log_skipped(&self, line: ClientLine) {
        while let Some(due) = self.due(&line) {
            sleep_until(due).await;
        }
        if let Some(skipped) = self.take_skipped(&line) {
            line.log_skipped(skipped);
        }
    }

    /// Returns when the lines that were skipped are to be logged, if that time has not come yet.
    fn due(&self, line: &ClientLine) -> Option<Instant> {
        let noted = self.lock();
        let due = noted.get(line)?.logged + PAUSE + AFTER_PAUSE;
        (Instant::now() < due).then_some(due)
    }

    fn take_skipped(&self, line: &ClientLine) -> Option<u64> {
        let mut noted = self.lock();
        let last = *noted.get(line)?;
        noted.insert(line.clone(), Noted { skipped: 0, is_awaited: false, ..last });
        (last.skipped > 0).then_some(last.skipped)
    }
}

/// How long after the pause another line is waited for, which would have the number of those that were skipped.
const AFTER_PAUSE: Duration = Duration::from_secs(1);
/// The time between two lines of one kind.
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

    #[tokio::test(start_paused = true)]
    async fn skipped_lines_are_counted_once_also_if_no_other_comes() {
        let denials = Denials::default();
        let line = || ClientLine::Refused(Protocol::Http, RefusalReason::NoRoute);
        let skipped = || denials.noted.lock().get(&line()).map(|noted| noted.skipped);
        assert_eq!([denials.note(line()), denials.note(line())], [Some(0), None]);
        time::sleep(PAUSE + AFTER_PAUSE / 2).await;
        assert_eq!(skipped(), Some(1));
        time::sleep(AFTER_PAUSE).await;
        assert_eq!(skipped(), Some(0), "it is logged");
        assert_eq!(denials.note(line()), Some(0));
        // A line that is logged in time has the number, and what is skipped after it is waited for again.
        assert_eq!(denials.note(line()), None);
        time::sleep(PAUSE + AFTER_PAUSE / 2).await;
        assert_eq!([denials.note(line()), denials.note(line())], [Some(1), None]);
        time::sleep(AFTER_PAUSE).await;
        assert_eq!(skipped(), Some(1));
        time::sleep(PAUSE + AFTER_PAUSE).await;
        assert_eq!(skipped(), Some(0));
    }
}
