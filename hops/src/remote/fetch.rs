//! One fetch of a document by HTTP.

use std::{borrow::Cow, sync::Arc, time::Duration};

use thiserror::Error;
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::{problem::LoadCause, url::RemoteUrl};
use crate::{
    Field, Forwarder, HopError, Logon, OpenError, PlainConnection, Refusal, RequestLine, Secret,
    Services, Spoken, Tunnel, Validators,
    exchange::{Answer, Exchange},
    tls::TlsClient,
};

/// The result of a fetch that worked.
#[derive(Debug)]
pub(super) enum Fetched {
    /// The document is still the one of the validators that were sent.
    NotModified,
    /// The document is new, or the server does not compare versions.
    Document {
        /// The document itself.
        body: RemoteBody,
        /// How the server knows it.
        validators: Validators,
    },
}

/// The bytes of a document, and the encoding that the server named. They may be credentials.
pub(crate) struct RemoteBody {
    pub(crate) bytes: Zeroizing<Vec<u8>>,
    pub(crate) charset: Option<String>,
}

impl std::fmt::Debug for RemoteBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RemoteBody").field("charset", &self.charset).finish_non_exhaustive()
    }
}

/// Why a document was not fetched.
#[derive(Debug, Error)]
pub(super) enum FetchError {
    #[error(transparent)]
    NotOpened(#[from] OpenError),
    #[error("{}", with_source(.0))]
    Failed(#[from] HopError),
    /// The server answered with another status than 200. The reason phrase is its own.
    #[error("{}", answered("answers", said, hop.as_deref()))]
    Status {
        /// The hop that forwarded the request, which may have answered it itself.
        hop: Option<Arc<str>>,
        /// The status.
        status: u16,
        /// The status and the reason phrase.
        said: String,
    },
    /// The hop that was to forward the request refused it.
    #[error("hop `{hop}` answers {said}")]
    ByHop {
        /// The name of the hop.
        hop: Arc<str>,
        /// The status.
        status: u16,
        /// The status and the reason phrase.
        said: String,
    },
    #[error("the hop asks for a login again and again")]
    Logons,
    #[error("the server redirects to {}; write that as `url`", .0.expose())]
    Elsewhere(RemoteUrl),
    #[error("the server redirects to something that is not a URL")]
    Nowhere,
    #[error("the server redirects again and again")]
    Redirects,
    #[error("it has over {} MiB", BYTES_MAX >> 20)]
    TooLarge,
    #[error("the server takes longer than {} s", .0.as_secs())]
    Silent(Duration),
}

impl FetchError {
    /// Notes that the request was forwarded by `hop`.
    fn through(self, hop: &Arc<str>) -> Self {
        match self {
            Self::Status { status, said, .. } => {
                Self::Status { hop: Some(Arc::clone(hop)), status, said }
            }
            other => other,
        }
    }

    /// Returns what the remedy depends on. `is_tls` says whether TLS was spoken with the server.
    pub(super) fn cause(&self, is_tls: bool) -> LoadCause {
        match self {
            // A server that speaks TLS takes the request for a broken handshake. Most close the connection or reset it,
            // some send an alert of TLS, and some answer 400.
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
            Self::TooLarge => LoadCause::Content,
            // The words of the error name the hop that did not let the request through.
            Self::NotOpened(_)
            | Self::Failed(_)
            | Self::ByHop { .. }
            | Self::Logons
            | Self::Silent(_) => LoadCause::Unreachable,
        }
    }

    /// Describes the error without anything that could repeat the path of a URL.
    pub(super) fn without_urls(&self) -> String {
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

/// Says who answered what. A status alone does not tell an answer of a hop from one of the server.
fn answered(verb: &str, said: &str, hop: Option<&str>) -> String {
    match hop {
        // The status first, since a reason phrase has no room for all of it.
        Some(hop) => format!("{said} from the server, or from hop `{hop}` before it"),
        None => format!("the server {verb} {said}"),
    }
}

/// The server of a document, and how to reach it.
pub(super) struct Server<'a> {
    pub(super) services: &'a dyn Services,
    pub(super) tls: Option<&'a TlsClient>,
    pub(super) head_bytes_max: usize,
    /// The value of `Accept`.
    pub(super) accept: &'static str,
    /// The longest time that a fetch may take.
    pub(super) patience: Duration,
}

impl Server<'_> {
    /// Fetches the document at `url`, unless it is still the one that the server knows by the validators `known`.
    ///
    /// # Errors
    /// There is no document, or it does not come in time.
    pub(super) async fn fetch(
        &self,
        url: &RemoteUrl,
        known: &Validators,
    ) -> Result<Fetched, FetchError> {
        let fetched = timeout(self.patience, self.follow(url, known)).await;
        fetched.unwrap_or(Err(FetchError::Silent(self.patience)))
    }

    async fn follow(&self, url: &RemoteUrl, known: &Validators) -> Result<Fetched, FetchError> {
        let (mut url, mut tls) = (Cow::Borrowed(url), self.tls.map(Cow::Borrowed));
        let mut known = Cow::Borrowed(known);
        for redirects in 0..=REDIRECTS_MAX {
            let next = match self.request(&url, tls.as_deref(), &known).await? {
                Response::Final(fetched) if redirects > 0 => return Ok(fetched.without_date()),
                Response::Final(fetched) => return Ok(fetched),
                Response::Redirect(to) => to,
            };
            // A date says nothing about a document of another URL, which may be older and still be another one.
            known.to_mut().last_modified = None;
            let there = url.joined(&next).ok_or(FetchError::Nowhere)?;
            // From TLS to none, an attacker could choose the document. The other way there are no settings for TLS.
            if there.is_tls() != url.is_tls() {
                return Err(FetchError::Elsewhere(there));
            }
            let host = there.authority().host();
            if let Some(known) = tls.as_deref().filter(|_| host != url.authority().host()) {
                let other = known.at(host).ok_or_else(|| FetchError::Elsewhere(there.clone()))?;
                tls = Some(Cow::Owned(other));
            }
            url = Cow::Owned(there);
        }
        Err(FetchError::Redirects)
    }

    async fn request(
        &self,
        url: &RemoteUrl,
        tls: Option<&TlsClient>,
        known: &Validators,
    ) -> Result<Response, FetchError> {
        let fields = self.fields(known);
        if let Some(tls) = tls {
            let tunnel = self.services.open(url.authority().clone()).wait().await?;
            let mut tunnel = tls.enter(tunnel).await?;
            let answer = self.ask(&mut tunnel, url.path_and_query(), url, &fields).await?;
            return self.read(&mut tunnel, answer, known).await;
        }
        for _ in 0..=AGAINS_MAX {
            let opened = self.services.open_plain(url.authority().clone(), url.absolute_form());
            let PlainConnection { mut tunnel, forwarder } = opened.wait().await?;
            let Some(forwarder) = forwarder else {
                let answer = self.ask(&mut tunnel, url.path_and_query(), url, &fields).await?;
                return self.read(&mut tunnel, answer, known).await;
            };
            let fields = [&fields, &*forwarder.fields].concat();
            let answer = self.ask(&mut tunnel, &url.absolute_form(), url, &fields).await?;
            match refusal_of(&forwarder, tunnel.logon().map(|logon| &**logon), &answer) {
                None => {
                    let read = self.read(&mut tunnel, answer, known).await;
                    return read.map_err(|error| error.through(&forwarder.name));
                }
                // The hop has learned from its challenge.
                Some((_, true)) => {}
                Some((refusal, false)) => {
                    let (hop, status) = (Arc::clone(&forwarder.name), answer.status());
                    return Err(FetchError::ByHop { hop, status, said: refusal.said });
                }
            }
        }
        Err(FetchError::Logons)
    }

    fn fields(&self, known: &Validators) -> Vec<Field> {
        let mut fields = vec![
            Field::new("User-Agent", Secret::new(USER_AGENT)),
            Field::new("Accept", Secret::new(self.accept)),
            Field::new("Connection", Secret::new("close")),
        ];
        // With both, a server that knows tags ignores the date (RFC 9110 §13.1.3).
        let Validators { etag, last_modified } = known;
        for (name, value) in [("If-None-Match", etag), ("If-Modified-Since", last_modified)] {
            fields.extend(value.as_deref().map(|value| Field::new(name, Secret::new(value))));
        }
        fields
    }

    async fn ask(
        &self,
        tunnel: &mut Tunnel,
        uri: &Secret,
        url: &RemoteUrl,
        fields: &[Field],
    ) -> Result<Answer, HopError> {
        let line = RequestLine { method: "GET", uri: &uri.expose() };
        let mut exchange = Exchange::new(tunnel, self.head_bytes_max);
        Ok(exchange.request(line, url.authority(), fields).await?.with_fields())
    }

    /// Reads what follows the head of an answer of the server itself.
    async fn read(
        &self,
        tunnel: &mut Tunnel,
        answer: Answer,
        known: &Validators,
    ) -> Result<Response, FetchError> {
        let value = |name: &str| {
            let value = answer.values(name).next();
            value.map(|value| String::from_utf8_lossy(value).into_owned())
        };
        let status = answer.status();
        match (status, value("Location")) {
            (200, _) => {}
            (304, _) if *known != Validators::default() => {
                return Ok(Response::Final(Fetched::NotModified));
            }
            (301 | 302 | 303 | 307 | 308, Some(to)) => return Ok(Response::Redirect(to)),
            _ => {
                return Err(FetchError::Status {
                    hop: None,
                    status,
                    said: answer.into_refusal().said,
                });
            }
        }
        let mut exchange = Exchange::new(tunnel, self.head_bytes_max);
        let body = exchange.body_up_to(&answer, BYTES_MAX).await?;
        let bytes = Zeroizing::new(body.bytes);
        if !body.is_whole {
            return Err(FetchError::TooLarge);
        }
        let charset = value("Content-Type").as_deref().and_then(charset);
        // They go into the next request. A line break in one would start another field there.
        let validator = |name| value(name).filter(|value| !value.chars().any(char::is_control));
        let validators = Validators {
            etag: validator("ETag"),
            // A document that was changed in the second of the answer may change again in the same second, and then have
            // the same date (RFC 9110 §8.8.2.2).
            last_modified: validator("Last-Modified")
                .filter(|at| value("Date").as_ref() != Some(at)),
        };
        let body = RemoteBody { bytes, charset };
        Ok(Response::Final(Fetched::Document { body, validators }))
    }
}

impl Fetched {
    /// Forgets the date of a document.
    fn without_date(mut self) -> Self {
        if let Self::Document { validators, .. } = &mut self {
            validators.last_modified = None;
        }
        self
    }
}

/// Returns the refusal of the hop itself, if `answer` is one, and whether another try may succeed because the `logon` has
/// learned from it. Any other answer is the server's.
fn refusal_of(
    forwarder: &Forwarder,
    logon: Option<&dyn Logon>,
    answer: &Answer,
) -> Option<(Refusal, bool)> {
    let mut refusal = answer.refusal();
    if answer.status() < 400 || !forwarder.link.refuses(&refusal) {
        if let Some(logon) = logon {
            logon.accepted();
        }
        return None;
    }
    let challenge = logon.filter(|_| answer.status() == 407);
    let challenges: Vec<_> = answer.challenges().collect();
    let can_go_on = challenge.is_some_and(|logon| logon.challenged(&challenges, &mut refusal));
    Some((refusal, can_go_on))
}

/// The answer to one request.
enum Response {
    Final(Fetched),
    Redirect(String),
}

/// Returns the `charset` of a media type.
fn charset(media_type: &str) -> Option<String> {
    let mut parameters = media_type.split(';').skip(1).filter_map(|one| one.split_once('='));
    let charset = parameters.find(|(name, _)| name.trim().eq_ignore_ascii_case("charset"));
    charset.map(|(_, value)| value.trim().to_owned())
}

/// Shows an error with the reason below it.
fn with_source(error: &HopError) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

/// The largest document. PAC files of companies have some hundred kibibytes, and so do lists of ten thousand proxies.
const BYTES_MAX: usize = 4 << 20;
const REDIRECTS_MAX: usize = 5;
/// How often a hop may ask for another connection, to go on with its login.
const AGAINS_MAX: usize = 2;
const USER_AGENT: &str = concat!("mooltiroute/", env!("CARGO_PKG_VERSION"));

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn a_media_type_may_name_its_charset() {
        assert_eq!(charset("application/x-ns-proxy-autoconfig").as_deref(), None);
        assert_eq!(charset("text/plain; a=b; Charset = latin1").as_deref(), Some("latin1"));
    }

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
    fn an_error_can_be_told_without_the_path_of_a_url() {
        let status = FetchError::Status { hop: None, status: 404, said: "404 No /canary".into() };
        let url = "https://other.example/canary".parse().unwrap();
        for error in [status, FetchError::Elsewhere(url)] {
            assert!(error.to_string().contains("canary"));
            assert!(!error.without_urls().contains("canary"));
        }
    }
}
