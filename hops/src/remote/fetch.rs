//! One fetch of a document by HTTP.

mod error;

use std::{borrow::Cow, sync::Arc, time::Duration};

use tokio::time::timeout;
use zeroize::Zeroizing;

use self::error::FetchError;
use super::url::RemoteUrl;
use crate::{
    Field, Forwarder, HopError, Logon, PlainConnection, Refusal, RequestLine, Secret, Services,
    Tunnel, Validators,
    exchange::{Answer, BodyEnd, Exchange},
    refusal::RequestSecrets,
    tls::TlsClient,
};

/// The result of a fetch that worked.
#[derive(Debug)]
pub(super) enum Fetched {
    /// The document has not changed since the version whose validators were sent.
    NotModified,
    /// The document is new, or the server does not compare versions.
    Document {
        /// The document itself.
        body: RemoteBody,
        /// The validators by which the server recognises it.
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
    /// Fetches the document at `url`, unless it is still the version with the validators `known`.
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
            // A date is useless for another URL, whose document may differ even if it is older.
            known.to_mut().last_modified = None;
            let there = url.joined(&next).ok_or(FetchError::Nowhere)?;
            // Without TLS, an attacker could choose the document. In the other direction, there are no settings for TLS.
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
            return self.read(&mut tunnel, url, answer, known).await;
        }
        for _ in 0..=AGAINS_MAX {
            let opened = self.services.open_plain(url.authority().clone(), url.absolute_form());
            let PlainConnection { mut tunnel, forwarder } = opened.wait().await?;
            let Some(forwarder) = forwarder else {
                let answer = self.ask(&mut tunnel, url.path_and_query(), url, &fields).await?;
                return self.read(&mut tunnel, url, answer, known).await;
            };
            let fields = [&fields, &*forwarder.fields].concat();
            let answer = self.ask(&mut tunnel, &url.absolute_form(), url, &fields).await?;
            match refusal_of(&forwarder, tunnel.logon().map(|logon| &**logon), &answer) {
                None => {
                    let read = self.read(&mut tunnel, url, answer, known).await;
                    return read.map_err(|error| error.through(&forwarder.name));
                }
                // The logon has learned from the challenge, so the request is sent again.
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
        // Of the two, a server that supports tags ignores the date (RFC 9110 §13.1.3).
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

    /// Reads the rest of an answer of the server itself.
    async fn read(
        &self,
        tunnel: &mut Tunnel,
        url: &RemoteUrl,
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
                    said: answer.into_refusal().without(&secrets_of(url)).said,
                });
            }
        }
        let mut exchange = Exchange::new(tunnel, self.head_bytes_max);
        let body = exchange.body_up_to(&answer, BYTES_MAX).await?;
        let bytes = Zeroizing::new(body.bytes);
        match body.end {
            BodyEnd::Whole => {}
            BodyEnd::TooLong => return Err(FetchError::TooLarge),
            BodyEnd::Broken => return Err(FetchError::BrokenBody),
        }
        let charset = value("Content-Type").as_deref().and_then(charset);
        // A validator is sent in the next request, in which a line break would start another field.
        let validator = |name| value(name).filter(|value| !value.chars().any(char::is_control));
        let validators = Validators {
            etag: validator("ETag"),
            // A document that changed in the second of the answer may change once more in that second, and then has the same
            // date (RFC 9110 §8.8.2.2).
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

/// Returns the parts of a URL that may be a token.
fn secrets_of(url: &RemoteUrl) -> RequestSecrets {
    let mut secrets = RequestSecrets::default();
    let path = url.path_and_query().expose();
    secrets.add(path);
    let parts = path.split(['/', '?', '&', '=', ';']);
    parts.filter(|part| part.len() >= TOKEN_BYTES_MIN).for_each(|part| secrets.add(part));
    secrets
}

/// The length from which a part of a URL counts as a token and not as a word.
const TOKEN_BYTES_MIN: usize = 8;

/// Returns the refusal if `answer` is one of the hop itself, and whether another try may succeed because the `logon` has learned
/// from it. Returns `None` for an answer of the server.
fn refusal_of(
    forwarder: &Forwarder,
    logon: Option<&dyn Logon>,
    answer: &Answer,
) -> Option<(Refusal, bool)> {
    let mut refusal = answer.refusal().without_secrets_of(&forwarder.fields);
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

/// The largest document. PAC files of companies have some hundred kibibytes, and so do lists of ten thousand proxies.
const BYTES_MAX: usize = 4 << 20;
const REDIRECTS_MAX: usize = 5;
/// How often a login to a hop may go on with another connection.
const AGAINS_MAX: usize = 2;
const USER_AGENT: &str = concat!("mooltiroute/", env!("CARGO_PKG_VERSION"));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_media_type_may_name_its_charset() {
        assert_eq!(charset("application/x-ns-proxy-autoconfig").as_deref(), None);
        assert_eq!(charset("text/plain; a=b; Charset = latin1").as_deref(), Some("latin1"));
    }
}
