//! Why a hop could not be passed.

use std::io;

use thiserror::Error;

use crate::Refusal;

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
    /// The hop's certificate is not accepted.
    #[error("its certificate is not accepted")]
    Certificate(#[source] io::Error),
    /// TLS with the hop failed otherwise.
    #[error("TLS with it failed")]
    Tls(#[source] io::Error),
    /// A reason of the kind's own.
    #[error("{0}")]
    Other(String),
}

impl From<Refusal> for HopError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(Box::new(refusal))
    }
}
