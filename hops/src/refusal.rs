//! An answer by which a hop declines, in terms that do not depend on its protocol.

mod http;
mod page;
mod retry_after;

use std::{borrow::Cow, fmt, time::Duration};

pub use self::http::HttpRefusal;
pub(crate) use self::{
    page::RequestSecrets,
    retry_after::{http_date, retry_after, whole_seconds},
};
use crate::Field;

/// An answer by which a hop declines to reach the next stop.
///
/// Its [`meaning`](Self::meaning) and [`about`](Self::about) decide what happens next: a refusal about the hop makes a
/// pool choose another one, and a refusal about the next stop does not. The words are for people only.
///
/// ```
/// use mooltiroute_hops::{Meaning, Party, Refusal};
///
/// let refusal = Refusal::new(Meaning::TargetRefused, Party::Next, "connection refused");
/// assert_eq!(refusal.to_string(), "connection refused");
///
/// let fields = [(&b"Retry-After"[..], &b"120"[..])];
/// let refusal = Refusal::from_http(429, b"Too Many Requests", fields);
/// assert_eq!((refusal.meaning, refusal.about), (Meaning::Busy, Party::Hop));
/// assert_eq!(refusal.retry_after.unwrap().as_secs(), 120);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Refusal {
    /// The meaning of the refusal.
    pub meaning: Meaning,
    /// Whom it is about.
    pub about: Party,
    /// The hop's own words, as printable ASCII and shortened.
    pub said: String,
    /// The reason that a provider gives beside its answer, as printable ASCII and shortened.
    pub detail: Option<String>,
    /// The cause in a few words that say more than a status, such as `credentials rejected`. A status line has room for
    /// little else.
    pub summary: Option<Cow<'static, str>>,
    /// Advice for the operator, if the kind of hop has any.
    pub advice: Option<String>,
    /// Sentences that follow the advice, even if that is the general one.
    pub note: Option<String>,
    /// How long the hop asks clients to wait.
    pub retry_after: Option<Duration>,
    /// How long the credentials will not be sent again, to keep the account from being locked.
    pub held_back: Option<Duration>,
    /// Whether it is about a ticket. The domain issued the ticket, so no account is locked after such a refusal.
    pub is_of_ticket: bool,
    /// Whether the hop accepts the same credentials for other targets.
    pub is_of_target: bool,
    /// The login that the refused request had, if it had a complete one.
    pub login: Option<SentLogin>,
    /// A line of the hop's own page, fit for a log and shortened. It repeats no secret of the request.
    pub page: Option<String>,
    /// The answer itself, if it came by HTTP.
    pub http: Option<HttpRefusal>,
}

/// A login that a request had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SentLogin {
    /// Its scheme, such as `NTLM`.
    pub scheme: &'static str,
    /// Whether the hop has asked for it, on this connection or an earlier one.
    pub was_asked_for: bool,
}

/// The meaning of a refusal for the party that asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Meaning {
    /// The credentials are missing or not accepted, or the account may not do what they ask for.
    Credentials,
    /// The quota of the account is used up.
    Quota,
    /// The rules of the hop don't allow this host or port. Another port may pass.
    Policy,
    /// The hop blocks the next stop for everybody, at every port.
    Forbidden,
    /// The hop has too much to do at once; the request may succeed later.
    Busy,
    /// The hop can't look up the name of the next stop.
    UnknownName,
    /// The hop has no way to the network of the next stop.
    NetworkUnreachable,
    /// The hop did not reach the next stop.
    Unreachable,
    /// The next stop refused the connection.
    TargetRefused,
    /// The next stop did not answer in time.
    Timeout,
    /// The hop can't do what it was asked, such as connect to IPv6 addresses.
    Unsupported,
    /// The hop has a fault of its own.
    Fault,
    /// The hop does not say.
    Unclear,
}

/// The party that a refusal is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Party {
    /// The hop itself; another hop in its place may succeed.
    Hop,
    /// The next stop; another hop in its place would refuse as well.
    Next,
}

impl Refusal {
    /// Creates a refusal with the hop's words, which are made fit for a log.
    pub fn new(meaning: Meaning, about: Party, said: &str) -> Self {
        Self {
            meaning,
            about,
            said: printable(said.as_bytes()),
            detail: None,
            summary: None,
            advice: None,
            note: None,
            retry_after: None,
            held_back: None,
            is_of_ticket: false,
            is_of_target: false,
            login: None,
            page: None,
            http: None,
        }
    }

    /// Adds a line of the hop's page to what it said. Leaves out all words that may repeat one of `secrets`.
    pub(crate) fn with_page(self, page: &[u8], secrets: &RequestSecrets) -> Self {
        let refusal = self.without(secrets);
        Self { page: page::telling_line(page, &refusal.said, secrets), ..refusal }
    }

    /// Leaves out all words that may repeat a secret of the request, which had `fields`.
    ///
    /// A careless proxy repeats the credentials that it got in its reason phrase or its fields, and those are logged and shown
    /// to clients.
    #[must_use]
    pub fn without_secrets_of(self, fields: &[Field]) -> Self {
        self.without(&RequestSecrets::of(fields))
    }

    /// Leaves out all words that may repeat one of `secrets`.
    pub(crate) fn without(mut self, secrets: &RequestSecrets) -> Self {
        self.leave_out(secrets);
        self
    }

    /// Leaves out all words that may repeat one of `secrets`, in place.
    pub(crate) fn leave_out(&mut self, secrets: &RequestSecrets) {
        if let Some(http) = &mut self.http {
            if secrets.are_in_shortened(&self.said) {
                self.said = http.status.to_string();
            }
            http.leave_out(secrets);
        }
        self.detail.take_if(|detail| secrets.are_in_shortened(detail));
    }

    /// Changes the meaning, and with it the party that the refusal is about.
    pub fn means(&mut self, meaning: Meaning) {
        // A kind may know more than the status said. If the new meaning fits either party, the earlier judgement
        // stays.
        self.meaning = meaning;
        self.about = meaning.about().unwrap_or(self.about);
    }

    /// Returns whether the hop's rules forbid the next stop, for its host or its port.
    pub fn is_by_policy(&self) -> bool {
        matches!(self.meaning, Meaning::Policy | Meaning::Forbidden)
    }

    /// Returns whether the request came back to a proxy on its way, by the status 508 or because a proxy such as this one has too
    /// many unanswered requests for the same. That is a fault of the way: another hop in place of this one, which is on it,
    /// would only begin more rounds.
    pub fn is_of_loop(&self) -> bool {
        self.http.as_ref().is_some_and(|http| http.status == 508) || self.unanswered().is_some()
    }

    /// Returns how many requests for the same are unanswered, if a proxy such as this one refuses one more for that.
    pub fn unanswered(&self) -> Option<usize> {
        self.http.as_ref()?.unanswered()
    }

    /// Returns whether an HTTP answer to a plain request says that it comes from the hop itself.
    pub fn is_by_proxy(&self) -> bool {
        self.http.as_ref().is_some_and(HttpRefusal::is_by_proxy)
    }
}

impl Meaning {
    /// Returns the party that this meaning is about, or `None` if it may be either.
    fn about(self) -> Option<Party> {
        match self {
            Self::Credentials | Self::Quota | Self::Busy | Self::Unsupported | Self::Fault => {
                Some(Party::Hop)
            }
            Self::Policy
            | Self::Forbidden
            | Self::UnknownName
            | Self::NetworkUnreachable
            | Self::Unreachable
            | Self::TargetRefused
            | Self::Timeout => Some(Party::Next),
            Self::Unclear => None,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.said)?;
        let login =
            self.login.and_then(|SentLogin { scheme, was_asked_for }| match was_asked_for {
                true => Some(format!("after a login by {scheme}")),
                // Only a refusal by policy may be about credentials that nobody asked for.
                false if self.meaning == Meaning::Policy => Some(format!(
                    "the request had credentials by {scheme}, which it had not asked for"
                )),
                false => None,
            });
        let notes: Vec<_> =
            [self.detail.as_deref(), login.as_deref()].into_iter().flatten().collect();
        if !notes.is_empty() {
            write!(f, " ({})", notes.join("; "))?;
        }
        match &self.page {
            Some(line) => write!(f, " and says \"{line}\""),
            None => Ok(()),
        }
    }
}

/// Makes bytes from a peer fit for a log or an error: printable ASCII, and at most [`PRINTABLE_BYTES_MAX`] of them.
fn printable(bytes: &[u8]) -> String {
    let clean =
        |&byte: &u8| if byte.is_ascii_graphic() || byte == b' ' { char::from(byte) } else { '?' };
    bytes.iter().take(PRINTABLE_BYTES_MAX).map(clean).collect()
}

const PRINTABLE_BYTES_MAX: usize = 120;

/// The summary if a hop refuses the credentials that it got.
pub(crate) const CREDENTIALS_REJECTED: &str = "credentials rejected";
/// The summary if a hop wants credentials and got none.
pub(crate) const CREDENTIALS_NEEDED: &str = "credentials needed";
