//! The reasons why a document was not fetched.

use std::{sync::Arc, time::Duration};

use thiserror::Error;

use super::BYTES_MAX;
use crate::{
    HopError, OpenError, Spoken,
    remote::{problem::LoadCause, url::RemoteUrl},
};

/// Why a document was not fetched.
#[derive(Debug, Error)]
pub(in crate::remote) enum FetchError {
    #[error(transparent)]
    NotOpened(#[from] OpenError),
    #[error("{}", with_source(.0))]
    Failed(#[from] HopError),
    /// The server answered with a status other than 200.
    #[error("{}", answered("answers", said, hop.as_deref()))]
    Status {
        /// The hop that forwarded the request, which may have answered it itself.
        hop: Option<Arc<str>>,
        /// The status.
        status: u16,
        /// The status and the reason phrase.
        said: String,
    },
    /// The hop that should forward the request refused it.
    #[error("hop `{hop}` answers {said}")]
    ByHop {
        /// The name of the hop.
        hop: Arc<str>,
        /// The status.
        status: u16,
        /// The status and the reason phrase.
        said: String,
    },
    #[error("the hop keeps asking for credentials")]
    Logons,
    #[error("the server redirects to {}; write that as `url`", .0.expose())]
    Elsewhere(RemoteUrl),
    #[error("the server redirects to something that is not a URL")]
    Nowhere,
    #[error("the server keeps redirecting")]
    Redirects,
    #[error("it is larger than {} MiB", BYTES_MAX >> 20)]
    TooLarge,
    #[error("the chunks of its body are invalid")]
    BrokenBody,
    #[error("the server takes longer than {} s", .0.as_secs())]
    Silent(Duration),
}

impl FetchError {
    /// Notes that the request was forwarded by `hop`.
    pub(super) fn through(self, hop: &Arc<str>) -> Self {
        match self {
            Self::Status { status, said, .. } => {
                Self::Status { hop: Some(Arc::clone(hop)), status, said }
            }
            other => other,
        }
    }

    /// Returns the cause, on which the remedy depends. `is_tls` says whether the server was asked by TLS.
    pub(in crate::remote) fn cause(&self, is_tls: bool) -> LoadCause {
        match self {
            // To a server that speaks TLS, the request is a broken handshake. Most close or reset the connection, some send an
            // alert of TLS, and some answer 400.
            Self::Failed(
                HopError::Io(_)
                | HopError::Closed
                | HopError::Malformed(_)
                | HopError::OtherProtocol(Spoken::Tls),
            )
            | Self::Status { status: 400, .. }
                if !is_tls =>
            {
                LoadCause::PerhapsTls
            }
            Self::Failed(HopError::Certificate(_)) => LoadCause::Certificate,
            Self::Failed(HopError::Tls(_) | HopError::OtherProtocol(Spoken::NoTls)) => {
                LoadCause::NoTls
            }
            Self::Status { status, .. } => LoadCause::of_status(*status),
            Self::Elsewhere(_) | Self::Nowhere | Self::Redirects => LoadCause::OtherAnswer,
            Self::TooLarge | Self::BrokenBody => LoadCause::Content,
            // The message names the hop that did not let the request pass.
            Self::NotOpened(_)
            | Self::Failed(_)
            | Self::ByHop { .. }
            | Self::Logons
            | Self::Silent(_) => LoadCause::Unreachable,
        }
    }

    /// Describes the error without the path of any URL.
    pub(in crate::remote) fn without_urls(&self) -> String {
        match self {
            // A reason phrase may quote the request.
            Self::Status { hop, status, .. } => {
                answered("answers with", &format!("status {status}"), hop.as_deref())
            }
            Self::ByHop { hop, status, .. } => format!("hop `{hop}` answers with status {status}"),
            Self::Elsewhere(url) => {
                format!("the server redirects to {}; write that address as `url`", url.server())
            }
            other => other.to_string(),
        }
    }
}

/// Says who answered what. After a hop, a status alone does not show whether it comes from that hop or from the server.
fn answered(verb: &str, said: &str, hop: Option<&str>) -> String {
    match hop {
        // The status comes first, in case a reason phrase has no room for the rest.
        Some(hop) => format!("{said} from the server, or from hop `{hop}` before it"),
        None => format!("the server {verb} {said}"),
    }
}

/// Shows an error with the reason below it.
fn with_source(error: &HopError) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn a_server_that_breaks_off_without_tls_may_speak_it() {
        let reset = || io::Error::from(io::ErrorKind::ConnectionReset);
        for error in [
            HopError::Io(reset()),
            HopError::Closed,
            HopError::OtherProtocol(Spoken::Tls),
            HopError::Malformed("no head"),
        ] {
            let error = FetchError::Failed(error);
            assert_eq!(error.cause(false), LoadCause::PerhapsTls, "{error}");
            assert_ne!(error.cause(true), LoadCause::PerhapsTls, "{error}");
        }
        let status = |status| FetchError::Status { hop: None, status, said: String::new() };
        assert_eq!(status(400).cause(false), LoadCause::PerhapsTls);
        assert_eq!(status(400).cause(true), LoadCause::OtherAnswer);
        assert_eq!(status(404).cause(false), LoadCause::Missing);
        let failed = FetchError::Failed(HopError::Tls(reset()));
        assert_eq!(failed.cause(true), LoadCause::NoTls);
    }

    #[test]
    fn an_error_can_be_described_without_the_path_of_a_url() {
        let status = FetchError::Status { hop: None, status: 404, said: "404 No /canary".into() };
        let url = "https://other.example/canary".parse().unwrap();
        for error in [status, FetchError::Elsewhere(url)] {
            assert!(error.to_string().contains("canary"));
            assert!(!error.without_urls().contains("canary"));
        }
    }
}
