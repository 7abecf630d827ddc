//! Fetches a PAC file by HTTP.

use std::{borrow::Cow, fmt, num::NonZeroU16, str::FromStr, time::Duration};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, de};
use thiserror::Error;
use tokio::time::timeout;

use crate::{
    Authority, Field, HopError, OpenError, RequestLine, Secret, Services, exchange::Exchange,
    tls::TlsClient,
};

/// The address of a PAC file. It holds no credentials, so it can be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PacUrl {
    is_tls: bool,
    authority: Authority,
    /// Path and query.
    path: Box<str>,
}

/// A file that was fetched.
#[derive(Debug)]
pub(super) enum Fetched {
    /// The file has not changed.
    NotModified,
    /// The file is new or has changed.
    File { bytes: Vec<u8>, charset: Option<String>, etag: Option<String> },
}

/// Why a file was not fetched.
#[derive(Debug, Error)]
pub(super) enum FetchError {
    #[error(transparent)]
    NotOpened(#[from] OpenError),
    #[error("{}", with_source(.0))]
    Failed(#[from] HopError),
    #[error("the server answers {0}")]
    Status(String),
    #[error("the server redirects to {0}; write that as `url`")]
    Elsewhere(String),
    #[error("the server redirects again and again")]
    Redirects,
    #[error("it has over {} MiB", BYTES_MAX >> 20)]
    TooLarge,
    #[error("the server takes longer than {} s", FETCH_MAX.as_secs())]
    Silent,
}

/// The server of a PAC file, and how to reach it.
pub(super) struct Server<'a> {
    pub(super) services: &'a dyn Services,
    pub(super) tls: Option<&'a TlsClient>,
    pub(super) head_bytes_max: usize,
}

impl Server<'_> {
    /// Fetches the file at `url`, unless it is still the one with this `etag`.
    ///
    /// # Errors
    /// There is no file, or it does not come in time.
    pub(super) async fn fetch(
        &self,
        url: &PacUrl,
        etag: Option<&str>,
    ) -> Result<Fetched, FetchError> {
        timeout(FETCH_MAX, self.follow(url, etag)).await.unwrap_or(Err(FetchError::Silent))
    }

    async fn follow(&self, url: &PacUrl, etag: Option<&str>) -> Result<Fetched, FetchError> {
        let mut url = Cow::Borrowed(url);
        for _ in 0..=REDIRECTS_MAX {
            let next = match self.request(&url, etag).await? {
                Response::File(fetched) => return Ok(fetched),
                Response::Redirect(to) => to,
            };
            let Some(there) = url.joined(&next) else {
                return Err(FetchError::Elsewhere(super::answer::shown(&next)));
            };
            // The TLS client is for one server, so a redirect from or to another one can't be followed with TLS.
            let is_same_server = there.authority == url.authority && there.is_tls == url.is_tls;
            if !is_same_server && (there.is_tls || url.is_tls) {
                return Err(FetchError::Elsewhere(there.to_string()));
            }
            url = Cow::Owned(there);
        }
        Err(FetchError::Redirects)
    }

    async fn request(&self, url: &PacUrl, etag: Option<&str>) -> Result<Response, FetchError> {
        let mut tunnel = self.services.open(url.authority.clone()).wait().await?;
        if let Some(tls) = self.tls {
            tunnel = tls.enter(tunnel).await?;
        }
        let mut fields = vec![
            Field::new("User-Agent", Secret::new(USER_AGENT)),
            Field::new("Accept", Secret::new("application/x-ns-proxy-autoconfig, */*")),
            Field::new("Connection", Secret::new("close")),
        ];
        fields.extend(etag.map(|etag| Field::new("If-None-Match", Secret::new(etag))));
        let line = RequestLine { method: "GET", uri: &url.path };
        let mut exchange = Exchange::new(&mut tunnel, self.head_bytes_max);
        let answer = exchange.request(line, &url.authority, &fields).await?.with_fields();
        let value = |name: &str| {
            let value = answer.values(name).next();
            value.map(|value| String::from_utf8_lossy(value).into_owned())
        };
        match answer.status() {
            200 => {}
            304 if etag.is_some() => return Ok(Response::File(Fetched::NotModified)),
            301 | 302 | 303 | 307 | 308 => {
                return match value("Location") {
                    Some(to) => Ok(Response::Redirect(to)),
                    None => Err(FetchError::Status(answer.into_refusal().said)),
                };
            }
            _ => return Err(FetchError::Status(answer.into_refusal().said)),
        }
        let body = exchange.body_up_to(&answer, BYTES_MAX).await?;
        if !body.is_whole {
            return Err(FetchError::TooLarge);
        }
        let charset = value("Content-Type").as_deref().and_then(charset);
        // The tag goes into the next request. A line break in it would start another field there.
        let etag = value("ETag").filter(|etag| !etag.chars().any(char::is_control));
        Ok(Response::File(Fetched::File { bytes: body.bytes, charset, etag }))
    }
}

/// The answer to one request.
enum Response {
    File(Fetched),
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

impl PacUrl {
    pub(super) fn is_tls(&self) -> bool {
        self.is_tls
    }

    pub(super) fn authority(&self) -> &Authority {
        &self.authority
    }

    /// Returns the address that a `Location` names.
    fn joined(&self, location: &str) -> Option<Self> {
        let location = location.split('#').next().unwrap_or_default();
        if location.contains("://") {
            return location.parse().ok();
        }
        if let Some(rest) = location.strip_prefix("//") {
            return format!("{}://{rest}", if self.is_tls { "https" } else { "http" }).parse().ok();
        }
        let path = if location.starts_with('/') {
            location.to_owned()
        } else {
            let path = self.path.split('?').next().unwrap_or_default();
            let directory = path.rfind('/').map_or("", |end| &path[..end]);
            format!("{directory}/{location}")
        };
        let is_path = path.bytes().all(|byte| byte.is_ascii_graphic());
        is_path.then(|| Self { path: path.into(), ..self.clone() })
    }
}

impl fmt::Display for PacUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_tls { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority, self.path)
    }
}

impl FromStr for PacUrl {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        const HTTP: NonZeroU16 = NonZeroU16::new(80).unwrap();
        const HTTPS: NonZeroU16 = NonZeroU16::new(443).unwrap();
        let no_url = "is no URL; write as in `http://pac.corp.example/proxy.pac`";
        let (scheme, rest) = text.split_once("://").ok_or(no_url)?;
        let (is_tls, port) = match &*scheme.to_ascii_lowercase() {
            "http" => (false, HTTP),
            "https" => (true, HTTPS),
            "file" => return Err("is a file; write its path as `file`, in place of `url`"),
            _ => return Err("has an unknown scheme; write `http://` or `https://`"),
        };
        let rest = rest.split('#').next().unwrap_or_default();
        let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        if authority.contains('@') {
            return Err("holds credentials, which are not sent for a PAC file");
        }
        let authority = Authority::with_default_port(authority, port).map_err(|_| no_url)?;
        if !path.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("has a character that must be written as `%XX`");
        }
        let path = if path.starts_with('/') { path.into() } else { format!("/{path}").into() };
        Ok(Self { is_tls, authority, path })
    }
}

impl JsonSchema for PacUrl {
    fn schema_name() -> Cow<'static, str> {
        "PacUrl".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[Hh][Tt][Tt][Pp][Ss]?://" })
    }
}

impl<'de> Deserialize<'de> for PacUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

/// The longest wait for a file.
const FETCH_MAX: Duration = Duration::from_secs(10);
/// The largest file. Those of companies have some hundred kibibytes.
const BYTES_MAX: usize = 4 << 20;
const REDIRECTS_MAX: usize = 5;
const USER_AGENT: &str = concat!("mooltiroute/", env!("CARGO_PKG_VERSION"));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_has_a_server_and_a_path() {
        for (text, expected) in [
            ("http://pac.example", "http://pac.example:80/"),
            ("HTTPS://pac.example:8443/a/b?c#d", "https://pac.example:8443/a/b?c"),
            ("http://[::1]?x", "http://[::1]:80/?x"),
        ] {
            assert_eq!(text.parse::<PacUrl>().unwrap().to_string(), expected);
        }
        for text in [
            "",
            "pac.example/x",
            "ftp://a/",
            "file:///a",
            "http://u:p@a/",
            "http://a/b c",
            "http://",
        ] {
            assert!(text.parse::<PacUrl>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_location_is_read_from_the_place_of_the_redirect() {
        let url: PacUrl = "http://a.example/dir/old.pac?x".parse().unwrap();
        for (location, expected) in [
            ("new.pac", "http://a.example:80/dir/new.pac"),
            ("/new.pac#f", "http://a.example:80/new.pac"),
            ("//b.example/x", "http://b.example:80/x"),
            ("https://b.example/x", "https://b.example:443/x"),
        ] {
            assert_eq!(url.joined(location).unwrap().to_string(), expected);
        }
        assert_eq!(url.joined("a b"), None);
        assert_eq!(url.joined("ftp://b/x"), None);
    }

    #[test]
    fn a_media_type_may_name_its_charset() {
        assert_eq!(charset("application/x-ns-proxy-autoconfig").as_deref(), None);
        assert_eq!(charset("text/plain; a=b; Charset = latin1").as_deref(), Some("latin1"));
    }
}
