//! The question to a PAC file: the URL and the host of a request, in canonical form.

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
        let path = request.plain.map(|line| path(&line));
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

/// Returns path and query of a request target in absolute-form.
fn path(line: &RequestLine<'_>) -> Box<str> {
    let uri = line.uri.to_string();
    let after_scheme = uri.find("://").map_or(0, |at| at + 3);
    let rest = &uri[after_scheme..];
    let path = rest.find(['/', '?', '#']).map_or("", |at| &rest[at..]);
    let path = path.split('#').next().unwrap_or_default();
    if path.starts_with('/') { path.into() } else { format!("/{path}").into() }
}

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
