//! The request that a client would make.

use std::{borrow::Cow, fmt, num::NonZeroU16, str::FromStr};

use mooltiroute_hops::{Authority, InvalidAuthority};
use thiserror::Error;

/// The request that a client would make, without the user information of its URL. `Display` leaves out path and query,
/// which may hold a credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The target.
    pub target: Authority,
    /// The form of the request.
    pub form: Form,
    /// Path and query.
    pub(super) path: Box<str>,
}

/// The form of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// CONNECT, as for `https://`.
    Tunnel,
    /// A plain request, as for `http://`.
    Plain,
}

/// The reason why a text is not a URL or a target. It does not quote the text, which may contain a credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum InvalidUrl {
    /// Clients don't ask a proxy for this scheme.
    #[error("the URL has an unknown scheme; write `https://HOST/`, `http://HOST/` or `HOST:PORT`")]
    Scheme,
    /// A character that URLs don't have.
    #[error("the URL has a blank, or another character that must be written as `%XX`")]
    Character,
    /// The text has neither a scheme nor a port.
    #[error(
        "this has neither a scheme nor a port; write `https://HOST/`, `http://HOST/` or `HOST:PORT`"
    )]
    Bare,
    /// The scheme is not followed by exactly `://`.
    #[error("the scheme of a URL is followed by `://`; write `{0}://HOST/`")]
    Slashes(&'static str),
    /// The text has a path, and no scheme.
    #[error(
        "this has a path and no scheme; write `https://HOST/PATH`, `http://HOST/PATH`, or `HOST:PORT` for a tunnel"
    )]
    Path,
    /// The text is the path of a configuration.
    #[error("this looks like the path of a configuration: write `-c PATH`, and the URL beside it")]
    Configuration,
    /// The part before the path is not a host.
    #[error("this is not a URL that a proxy can serve: {0}")]
    Authority(InvalidAuthority),
}

impl From<InvalidAuthority> for InvalidUrl {
    fn from(invalid: InvalidAuthority) -> Self {
        match invalid {
            InvalidAuthority::MissingPort => Self::Bare,
            other => Self::Authority(other),
        }
    }
}

impl FromStr for Asked {
    type Err = InvalidUrl;

    fn from_str(text: &str) -> Result<Self, InvalidUrl> {
        let Some((scheme, rest)) = text.split_once("://") else {
            if [".yaml", ".yml", "config.d", "config.d/"].iter().any(|end| text.ends_with(end)) {
                return Err(InvalidUrl::Configuration);
            }
            if let Some(scheme) = scheme_without_slashes(text) {
                return Err(InvalidUrl::Slashes(scheme));
            }
            if text.contains(['/', '?', '#']) {
                return Err(InvalidUrl::Path);
            }
            let target = ascii(text)?.parse()?;
            return Ok(Self { target, form: Form::Tunnel, path: "/".into() });
        };
        const HTTP: NonZeroU16 = NonZeroU16::new(80).unwrap();
        const HTTPS: NonZeroU16 = NonZeroU16::new(443).unwrap();
        let (port, form) = match &*scheme.to_ascii_lowercase() {
            "http" => (HTTP, Form::Plain),
            // Clients open a tunnel for a WebSocket, even for an unencrypted one.
            "ws" => (HTTP, Form::Tunnel),
            "https" | "wss" => (HTTPS, Form::Tunnel),
            _ => return Err(InvalidUrl::Scheme),
        };
        // As in a browser, credentials in the URL are for the target and not part of the address.
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        let path = rest[authority.len()..].split('#').next().unwrap_or_default();
        let path = if path.starts_with('/') { path.into() } else { format!("/{path}").into() };
        Ok(Self { target: Authority::with_default_port(&ascii(host)?, port)?, form, path })
    }
}

/// Returns the scheme that `text` begins with, if it has `:`, `/` or both behind it and is not a host with a port.
fn scheme_without_slashes(text: &str) -> Option<&'static str> {
    let lower = text.to_ascii_lowercase();
    // The longer one first, since the other one is its beginning.
    let scheme = ["https", "http", "wss", "ws"].into_iter().find(|scheme| {
        lower.strip_prefix(scheme).is_some_and(|rest| rest.starts_with([':', '/']))
    })?;
    // A host may be called `http`.
    let is_port =
        |rest: &str| rest.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok());
    let rest = &lower[scheme.len()..];
    (!is_port(rest)).then_some(scheme)
}

/// Returns `authority` with its host as clients ask for it: a name in other letters as punycode (UTS #46).
fn ascii(authority: &str) -> Result<Cow<'_, str>, InvalidUrl> {
    if authority.is_ascii() {
        return Ok(authority.into());
    }
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) => (host, format!(":{port}")),
        None => (authority, String::new()),
    };
    let host = idna::domain_to_ascii(host).map_err(|_| InvalidAuthority::InvalidName)?;
    Ok((host + &port).into())
}

impl Form {
    /// Returns its name, for programs.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Tunnel => "connect",
            Self::Plain => "plain",
        }
    }
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.form {
            Form::Tunnel => write!(f, "CONNECT {}", self.target),
            Form::Plain => write!(f, "a plain request to http://{}", self.target),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<&str>) {
        let asked = text.parse::<Asked>();
        assert_eq!(asked.as_ref().map(ToString::to_string).ok().as_deref(), expected, "{text}");
        if let Err(error) = asked {
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn a_mistake_at_the_scheme_is_told_from_one_at_the_port() {
        for (text, expected) in [
            ("http:/x", InvalidUrl::Slashes("http")),
            ("https:x.test", InvalidUrl::Slashes("https")),
            ("http//x.test/", InvalidUrl::Slashes("http")),
            ("HTTPS/x.test", InvalidUrl::Slashes("https")),
            ("x.test/path", InvalidUrl::Path),
            ("x.test:80/path?a", InvalidUrl::Path),
            ("x.test", InvalidUrl::Bare),
        ] {
            assert_eq!(text.parse::<Asked>(), Err(expected), "{text}");
        }
        check("http:80", Some("CONNECT http:80"));
        check("httpbin.test:80", Some("CONNECT httpbin.test:80"));
    }

    #[test]
    fn urls_and_authorities_are_read() {
        check("https://a.example/x?y", Some("CONNECT a.example:443"));
        check("HTTPS://a.example", Some("CONNECT a.example:443"));
        check("wss://a.example:1#x", Some("CONNECT a.example:1"));
        check("http://[::1]/", Some("a plain request to http://[::1]:80"));
        check(
            "http://joe:hunter2@a.example:8080?b@c",
            Some("a plain request to http://a.example:8080"),
        );
        check("a.example:22", Some("CONNECT a.example:22"));
        check("https://bücher.example/", Some("CONNECT xn--bcher-kva.example:443"));
        check("日本.example:22", Some("CONNECT xn--wgv71a.example:22"));
        for wrong in [
            "",
            "a.example",
            "ftp://a",
            "http://",
            "joe:hunter2@a:1",
            "https://a:hunter2",
            "hunter2",
            "config.yaml",
            "./config.d",
        ] {
            check(wrong, None);
        }
    }
}
