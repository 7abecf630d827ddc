//! The question to a PAC file: the URL and the host of a request, in canonical form.

use std::{borrow::Cow, cell::RefCell, fmt::Write as _};

use mooltiroute_pac::Query;

use crate::{Authority, Host, Request, RequestLine};

/// A request, as far as a PAC file may see it.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    /// The target, with a host in small letters.
    pub(super) target: Authority,
    /// The path and query of a plain request. `None` for a tunnel, which shows the proxy nothing but its target.
    pub(super) path: Option<Box<str>>,
}

impl Asked {
    pub(super) fn new(request: Request<'_>) -> Self {
        let path = request.plain.map(|line| with_path(&line, |path| path.into()));
        Self { target: request.target.to_lower().into_owned(), path }
    }

    /// Returns the arguments of the call: the URL without user, default port and fragment, and the host.
    pub(super) fn query(&self) -> Query {
        let (scheme, default_port) = match self.path {
            Some(_) => ("http", 80),
            None => ("https", 443),
        };
        let (host, port) = (self.target.host(), self.target.port());
        let path = self.path.as_deref().unwrap_or("/");
        let url = if port == default_port {
            format!("{scheme}://{host}{path}")
        } else {
            format!("{scheme}://{host}:{port}{path}")
        };
        let host = match host {
            Host::Name(name) => name.as_ref().into(),
            Host::Address(address) => address.to_string().into(),
        };
        Query { url: url.into(), host }
    }
}

/// Calls `work` with path and query of a request target in absolute-form.
pub(super) fn with_path<T>(line: &RequestLine<'_>, work: impl FnOnce(&str) -> T) -> T {
    // A known answer is found faster than memory is allocated for the text, so each thread keeps some.
    URI.with_borrow_mut(|uri| {
        uri.clear();
        uri.shrink_to(KEPT_BYTES_MAX);
        // Writing to a text can't fail.
        let _ = write!(uri, "{}", line.uri);
        work(&path(uri))
    })
}

fn path(uri: &str) -> Cow<'_, str> {
    let after_scheme = match uri.split_once(':') {
        Some((_, rest)) => rest.strip_prefix("//").unwrap_or(uri),
        None => uri,
    };
    let is_end = |byte: u8| matches!(byte, b'/' | b'?' | b'#');
    let path = after_scheme.bytes().position(is_end).map_or("", |at| &after_scheme[at..]);
    let path = path.find('#').map_or(path, |fragment| &path[..fragment]);
    if path.starts_with('/') { path.into() } else { format!("/{path}").into() }
}

thread_local! {
    /// Room for a request target, which no caller sees.
    static URI: RefCell<String> = const { RefCell::new(String::new()) };
}

/// The bytes of this room that are kept for the next request.
const KEPT_BYTES_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Preferences;

    #[track_caller]
    fn check(target: &str, uri: Option<&str>, url: &str, host: &str) {
        let (target, preferences) = (target.parse().unwrap(), Preferences::default());
        let request = Request::new(&target, &preferences);
        let query = match &uri {
            Some(uri) => Asked::new(request.with_plain(RequestLine { method: "GET", uri })),
            None => Asked::new(request),
        }
        .query();
        assert_eq!((&*query.url, &*query.host), (url, host));
    }

    #[test]
    fn the_url_is_canonical() {
        check("WWW.Example:443", None, "https://www.example/", "www.example");
        check("www.example:80", None, "https://www.example:80/", "www.example");
        check("[2001:DB8::1]:443", None, "https://[2001:db8::1]/", "2001:db8::1");
        let plain = |uri| Some(uri);
        check(
            "www.example:80",
            plain("http://www.example/A?b#c"),
            "http://www.example/A?b",
            "www.example",
        );
        check(
            "www.example:8080",
            plain("http://u:p@www.example:8080"),
            "http://www.example:8080/",
            "www.example",
        );
        check(
            "www.example:80",
            plain("http://www.example?q=//x"),
            "http://www.example/?q=//x",
            "www.example",
        );
        check(
            "www.example:443",
            plain("http://www.example:443/"),
            "http://www.example:443/",
            "www.example",
        );
    }
}
