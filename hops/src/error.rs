//! Why a hop could not be passed.

use std::{fmt, io};

use thiserror::Error;

/// Why a hop could not be entered or did not reach the next stop.
///
/// Its text is one clause about what happened; which hop and which step it was, the chain adds.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum HopError {
    /// The connection failed.
    #[error("the connection broke")]
    Io(#[from] io::Error),
    /// The connection ended where an answer was due.
    #[error("it closed the connection without a full answer")]
    Closed,
    /// The hop understood, and said no.
    #[error("it answered {0}")]
    Refused(Box<Refusal>),
    /// What came is no answer of this hop's protocol.
    #[error("its answer is not understood: {0}")]
    Malformed(&'static str),
    /// The answer's head does not end.
    #[error("the head of its answer is over {limit} bytes")]
    HeadTooLarge {
        /// How many bytes are taken, at most.
        limit: usize,
    },
    /// TLS with the hop failed.
    #[error("TLS with it failed")]
    Tls(#[source] io::Error),
    /// A reason of the kind's own.
    #[error("{0}")]
    Other(String),
}

/// An answer by which a hop declines to reach the next stop.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refusal {
    /// The status code (RFC 9110 §15).
    pub status: u16,
    /// The reason phrase, as printable ASCII and shortened.
    pub reason: String,
    /// The schemes that `Proxy-Authenticate` fields offer, in their order.
    pub schemes: Vec<String>,
    /// The reason that a provider gives in a field of its own, as printable ASCII and shortened.
    pub detail: Option<String>,
    /// What it means and what the operator can do, where the kind knows more than the status tells.
    pub advice: Option<String>,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.status)?;
        if !self.reason.is_empty() {
            write!(f, " {}", self.reason)?;
        }
        match &self.detail {
            Some(detail) => write!(f, " ({detail})"),
            None => Ok(()),
        }
    }
}

impl From<Refusal> for HopError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(Box::new(refusal))
    }
}
