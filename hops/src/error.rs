//! The reasons why a hop could not be passed.

use std::{fmt, io, sync::Arc, time::Duration};

use thiserror::Error;

use crate::{Link, Refusal, tls::RejectedCertificate};

/// The reason why a hop could not be entered or did not reach the next stop.
///
/// The text is one clause about what happened. The chain adds which hop and which step it was.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum HopError {
    /// The connection failed.
    #[error("the connection broke")]
    Io(#[from] io::Error),
    /// The connection ended before an answer was complete.
    #[error("it closed the connection without a full answer")]
    Closed,
    /// The hop understood, and said no.
    #[error("it answered {0}")]
    Refused(Box<Refusal>),
    /// The credentials were not sent, because the hop rejected them a short time ago.
    #[error("credentials not sent: held back for another {} s, after it answered {}", .0.wait.as_secs(), .0.refusal)]
    HeldBack(Box<HeldBack>),
    /// There are no credentials to send to the hop, such as without a Kerberos ticket.
    #[error("{0}")]
    NoCredentials(Box<MissingCredentials>),
    /// The answer does not follow this hop's protocol.
    #[error("its answer is not understood: {0}")]
    Malformed(&'static str),
    /// The hop speaks another protocol than its settings say.
    #[error("it speaks {0}")]
    OtherProtocol(Spoken),
    /// The answer's head does not end.
    #[error("the head of its answer is over {limit} bytes")]
    HeadTooLarge {
        /// The number of bytes that are accepted.
        limit: usize,
    },
    /// The hop's certificate is not accepted.
    #[error("its certificate is not accepted")]
    Certificate(#[source] Box<RejectedCertificate>),
    /// TLS with the hop failed for another reason.
    #[error("TLS with it failed")]
    Tls(#[source] io::Error),
    /// The hop needs a new connection to go on, such as a proxy that closes after its 407.
    ///
    /// The chain dials once more and goes on with this link in place of the one that returned the error. So the
    /// link carries what was learned on the old connection, such as the challenge to answer. A chain does this at most
    /// twice for a connection, within `timeouts.handshake`.
    #[error("it keeps closing the connection during authentication")]
    Again(Arc<dyn Link>),
    /// All links among which the hop chooses asked to be left alone for a while, so none was asked.
    #[error("{0}")]
    AskedToWait(Box<AskedToWait>),
    /// The hop could not choose who serves a request.
    #[error("{}", .0.details)]
    NoChoice(Box<NoChoice>),
    /// A reason particular to the kind.
    #[error("{0}")]
    Other(String),
}

/// Credentials that are not sent for a while, to keep the account from being locked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldBack {
    /// The time until they are sent again, in whole seconds.
    pub wait: Duration,
    /// The answer with which the hop rejected them.
    pub refusal: Refusal,
}

/// The reason why credentials for a hop can't be made on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissingCredentials {
    /// A few words, for a status line.
    pub summary: String,
    /// One clause about the failure.
    pub details: String,
    /// Sentences that say what to do.
    pub advice: String,
    /// Whether a server that issues credentials did not answer in time.
    pub is_timeout: bool,
    /// How long the credentials will not be tried again, to keep the account from being locked.
    pub retry_after: Option<Duration>,
    /// Whether they were not tried for this request, because of an earlier failure that `details` tell of.
    pub is_held_back: bool,
}

impl fmt::Display for MissingCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { details, retry_after, is_held_back, .. } = self;
        match retry_after {
            Some(wait) if *is_held_back => {
                let seconds = wait.as_secs();
                write!(
                    f,
                    "credentials not sent: held back for another {seconds} s, after this: {details}"
                )
            }
            _ => f.write_str(details),
        }
    }
}

/// Links among which a hop chooses, and which all asked to be left alone for a while (`Retry-After`, RFC 9110 §10.2.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AskedToWait {
    /// The name of the hop that chooses among them, once it is known.
    pub pool: Option<Arc<str>>,
    /// The number of them.
    pub members: usize,
    /// Whether the hop has no others. The request may need something that the others can't do.
    pub are_all: bool,
    /// The time until the first of them may be asked again, in whole seconds.
    pub wait: Duration,
    /// The answer of that one.
    pub refusal: Refusal,
}

impl AskedToWait {
    /// Adds the members of another pool that is a member of the same pool.
    pub(crate) fn joined(self, other: Self) -> Self {
        let (members, are_all) = (self.members + other.members, self.are_all && other.are_all);
        let first = if other.wait < self.wait { other } else { self };
        Self { members, are_all, ..first }
    }
}

impl fmt::Display for AskedToWait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pool, members, are_all, wait, refusal } = self;
        let (seconds, said) = (wait.as_secs(), refusal);
        let of = pool.as_ref().map(|pool| format!(" of `{pool}`")).unwrap_or_default();
        match (members, are_all) {
            (1, true) => write!(f, "the only member{of}")?,
            (count, true) => write!(f, "all {count} members{of}")?,
            (1, false) => write!(f, "the only member{of} for this request")?,
            (count, false) => write!(f, "all {count} members{of} for this request")?,
        }
        match members {
            1 => write!(f, " asked to wait, for another {seconds} s: it answered {said}"),
            _ => write!(
                f,
                " asked to wait; the first for another {seconds} s, after it answered {said}"
            ),
        }
    }
}

/// The reason why a hop could not choose who serves a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoChoice {
    /// A few words, for a status line.
    pub summary: String,
    /// One clause about the failure.
    pub details: String,
    /// Sentences that say what to do.
    pub advice: String,
}

impl From<NoChoice> for HopError {
    fn from(reason: NoChoice) -> Self {
        Self::NoChoice(Box::new(reason))
    }
}

impl From<AskedToWait> for HopError {
    fn from(asked: AskedToWait) -> Self {
        Self::AskedToWait(Box::new(asked))
    }
}

impl From<MissingCredentials> for HopError {
    fn from(missing: MissingCredentials) -> Self {
        Self::NoCredentials(Box::new(missing))
    }
}

/// A protocol that a hop speaks in place of the expected one, as its first bytes tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Spoken {
    /// TLS, although the settings say none.
    Tls,
    /// Something else than TLS, although the settings say TLS.
    NoTls,
    /// HTTP.
    Http,
    /// SOCKS5.
    Socks5,
}

impl Spoken {
    /// Returns the protocol whose answer begins with `bytes`: an alert or a handshake of TLS (RFC 8446 §5.1), a
    /// status line of HTTP, or the version of SOCKS5.
    pub fn from_answer(bytes: &[u8]) -> Option<Self> {
        match bytes {
            // An answer can arrive byte by byte, so the first one decides, whatever follows: the same answer must
            // not lead to another message because it came in pieces.
            [0x15 | 0x16, ..] => Some(Self::Tls),
            [5, ..] => Some(Self::Socks5),
            [b'H', ..] => Some(Self::Http),
            _ => None,
        }
    }
}

impl fmt::Display for Spoken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tls => "TLS",
            Self::NoTls => "no TLS",
            Self::Http => "HTTP",
            Self::Socks5 => "SOCKS5",
        })
    }
}

impl From<Refusal> for HopError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(Box::new(refusal))
    }
}
