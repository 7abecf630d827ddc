//! The address of a document.

use std::{borrow::Cow, num::NonZeroU16, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, de};

use crate::{Authority, Secret};

/// The address of a document, `http://` or `https://`, without a login.
///
/// It has no `Display`: its path and query may hold a token, as a provider's download link does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RemoteUrl {
    is_tls: bool,
    authority: Authority,
    path_and_query: Secret,
}

impl RemoteUrl {
    pub(crate) fn is_tls(&self) -> bool {
        self.is_tls
    }

    pub(crate) fn authority(&self) -> &Authority {
        &self.authority
    }

    pub(super) fn path_and_query(&self) -> &Secret {
        &self.path_and_query
    }

    /// Returns the whole URL, for a document whose address is not a secret.
    pub(crate) fn expose(&self) -> String {
        format!("{}://{}{}", self.scheme(), self.authority, self.path_and_query.expose())
    }

    /// Returns the whole URL as a hop that forwards the request receives it (RFC 9112 §3.2.2).
    pub(super) fn absolute_form(&self) -> Secret {
        Secret::new(format!("{}{}", self.origin(), self.path_and_query.expose()))
    }

    /// Returns the scheme and the server, with `…` for the rest.
    pub(crate) fn server(&self) -> String {
        format!("{}/…", self.origin())
    }

    /// Returns the scheme and the server, with the port unless it is the usual one.
    fn origin(&self) -> String {
        let default_port = if self.is_tls { HTTPS } else { HTTP };
        let (scheme, host) = (self.scheme(), self.authority.host());
        match self.authority.port() {
            port if port == default_port.get() => format!("{scheme}://{host}"),
            port => format!("{scheme}://{host}:{port}"),
        }
    }

    /// Returns the address that a `Location` names, which may be relative to this one (RFC 3986 §5.2).
    pub(super) fn joined(&self, location: &str) -> Option<Self> {
        let location = location.split('#').next().unwrap_or_default();
        // Only the first segment can hold a scheme. A path or a query may hold another URL, such as the page to return to
        // after a login.
        if location.split(['/', '?']).next().is_some_and(|first| first.contains(':')) {
            return location.parse().ok();
        }
        if let Some(rest) = location.strip_prefix("//") {
            return format!("{}://{rest}", self.scheme()).parse().ok();
        }
        let (path, query) = split_query(location);
        let (own_path, own_query) = split_query(self.path_and_query.expose());
        let joined = match path {
            "" if query.is_empty() => format!("{own_path}{own_query}"),
            "" => format!("{own_path}{query}"),
            path if path.starts_with('/') => format!("{}{query}", without_dots(path)),
            path => {
                let directory = own_path.rfind('/').map_or("", |end| &own_path[..end]);
                format!("{}{query}", without_dots(&format!("{directory}/{path}")))
            }
        };
        let is_path = joined.bytes().all(|byte| byte.is_ascii_graphic());
        is_path.then(|| Self { path_and_query: Secret::new(joined), ..self.clone() })
    }

    fn scheme(&self) -> &'static str {
        if self.is_tls { "https" } else { "http" }
    }
}

/// Splits off the query, with its `?`.
fn split_query(text: &str) -> (&str, &str) {
    text.split_at(text.find('?').unwrap_or(text.len()))
}

/// Removes the segments `.` and `..` from an absolute path (RFC 3986 §5.2.4).
fn without_dots(path: &str) -> String {
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    let mut kept = Vec::new();
    for (place, segment) in segments.iter().enumerate() {
        match *segment {
            "." => {}
            ".." => drop(kept.pop()),
            segment => {
                kept.push(segment);
                continue;
            }
        }
        // A path that ends with dots names a directory.
        if place + 1 == segments.len() {
            kept.push("");
        }
    }
    format!("/{}", kept.join("/"))
}

impl FromStr for RemoteUrl {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        let no_url = "is not a URL; write one such as `http://HOST/PATH`";
        let (scheme, rest) = match text.split_once("://") {
            Some(parts) => parts,
            None if text.starts_with(['/', '.', '~']) || text.ends_with(".pac") => {
                return Err("is the path of a file; write it as `file`, in place of `url`");
            }
            None => return Err(no_url),
        };
        let (is_tls, port) = match &*scheme.to_ascii_lowercase() {
            "http" => (false, HTTP),
            "https" => (true, HTTPS),
            "file" => return Err("is a file; write its path as `file`, in place of `url`"),
            _ => return Err("has an unknown scheme; write `http://` or `https://`"),
        };
        let rest = rest.split('#').next().unwrap_or_default();
        let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        if authority.contains('@') {
            return Err("holds credentials, which are not sent; remove them");
        }
        let authority = Authority::with_default_port(authority, port).map_err(|_| no_url)?;
        if !path.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("has a character that must be written as `%XX`");
        }
        let slash = if path.starts_with('/') { "" } else { "/" };
        Ok(Self { is_tls, authority, path_and_query: Secret::new(format!("{slash}{path}")) })
    }
}

impl JsonSchema for RemoteUrl {
    fn schema_name() -> Cow<'static, str> {
        "RemoteUrl".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[Hh][Tt][Tt][Pp][Ss]?://" })
    }
}

impl<'de> Deserialize<'de> for RemoteUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // As a secret, so that an error about the type quotes nothing.
        let text = Secret::deserialize(deserializer)?;
        text.expose().parse().map_err(de::Error::custom)
    }
}

const HTTP: NonZeroU16 = NonZeroU16::new(80).unwrap();
const HTTPS: NonZeroU16 = NonZeroU16::new(443).unwrap();

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_has_a_server_and_a_path() {
        for (text, expected, server) in [
            ("http://pac.example", "http://pac.example:80/", "http://pac.example/…"),
            (
                "HTTPS://pac.example:8443/a/b?c#d",
                "https://pac.example:8443/a/b?c",
                "https://pac.example:8443/…",
            ),
            ("http://[::1]?x", "http://[::1]:80/?x", "http://[::1]/…"),
        ] {
            let url: RemoteUrl = text.parse().unwrap();
            assert_eq!((&*url.expose(), &*url.server()), (expected, server));
            let (form, path) = (url.absolute_form(), url.path_and_query.expose());
            assert_eq!(form.expose(), server.replace("/…", path));
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
            assert!(text.parse::<RemoteUrl>().is_err(), "{text}");
        }
    }

    #[test]
    fn only_the_server_of_a_url_is_shown() {
        let url: RemoteUrl = "https://list.example/canary?canary".parse().unwrap();
        assert!(!format!("{url:?} {}", url.server()).contains("canary"));
        for text in ["https://u:canary@list.example/", "canary", "https://list.example/canary x"] {
            let yaml = format!("'{text}'");
            let error = serde_yaml::from_str::<RemoteUrl>(&yaml).unwrap_err().to_string();
            assert!(!error.contains("canary"), "{error}");
        }
        let error = serde_yaml::from_str::<RemoteUrl>("40961").unwrap_err().to_string();
        assert!(!error.contains("40961"), "{error}");
    }

    #[test]
    fn a_location_is_read_from_the_place_of_the_redirect() {
        let url: RemoteUrl = "http://a.example/dir/old.pac?x".parse().unwrap();
        for (location, expected) in [
            ("new.pac", "http://a.example:80/dir/new.pac"),
            ("/new.pac#f", "http://a.example:80/new.pac"),
            ("//b.example/x", "http://b.example:80/x"),
            ("https://b.example/x", "https://b.example:443/x"),
            ("HTTP://b.example?y", "http://b.example:80/?y"),
            ("/login?next=http://c.example/", "http://a.example:80/login?next=http://c.example/"),
            (
                "login?next=http://c.example/",
                "http://a.example:80/dir/login?next=http://c.example/",
            ),
            ("?y=/", "http://a.example:80/dir/old.pac?y=/"),
            ("", "http://a.example:80/dir/old.pac?x"),
            ("#f", "http://a.example:80/dir/old.pac?x"),
            ("../new.pac?../y", "http://a.example:80/new.pac?../y"),
            ("./../../../a/./b/", "http://a.example:80/a/b/"),
            ("/a/b/..", "http://a.example:80/a/"),
            (".", "http://a.example:80/dir/"),
            ("..new", "http://a.example:80/dir/..new"),
        ] {
            assert_eq!(url.joined(location).unwrap().expose(), expected, "{location}");
        }
        assert_eq!(url.joined("a b"), None);
        assert_eq!(url.joined("ftp://b/x"), None);
        assert_eq!(url.joined("mailto:me@b.example"), None);
    }
}
