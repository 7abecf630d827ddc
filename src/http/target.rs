//! The target of a request (RFC 9112 §3.2).

use std::{fmt, num::NonZeroU16, str};

use bytes::Bytes;
use mooltiroute_hops::{Authority, InvalidAuthority};

use super::BadRequest;

/// The target of a request. `Debug` shows no path, no query and no user information.
#[derive(Clone, PartialEq, Eq)]
pub enum Target {
    /// Authority-form, used by CONNECT: the end of the tunnel.
    Tunnel(Authority),
    /// Absolute-form: a resource requested through a proxy.
    Resource(Resource),
    /// Origin-form: a path and query at the recipient itself.
    Origin(Bytes),
    /// Asterisk-form, used by OPTIONS: the recipient itself.
    Asterisk,
}

/// A resource at an HTTP origin, without the user information of its URL.
#[derive(Clone, PartialEq, Eq)]
pub struct Resource {
    authority: Authority,
    host: Bytes,
    path: Bytes,
}

impl Target {
    /// Parses the target of a request with `method`.
    pub(super) fn parse(method: &[u8], target: Bytes) -> Result<Self, BadRequest> {
        // CONNECT has authority-form only, with a port (RFC 9112 §3.2.3).
        if method == b"CONNECT" {
            let text = str::from_utf8(&target)
                .map_err(|_| BadRequest::ConnectTarget(InvalidAuthority::InvalidName))?;
            return text.parse().map(Self::Tunnel).map_err(BadRequest::ConnectTarget);
        }
        // No form of the target has a fragment (RFC 9112 §3.2).
        if target.contains(&b'#') {
            return Err(BadRequest::Fragment);
        }
        match target[..] {
            [b'/', ..] => Ok(Self::Origin(target)),
            [b'*'] if method == b"OPTIONS" => Ok(Self::Asterisk),
            _ => Resource::parse(target).map(Self::Resource),
        }
    }
}

impl Resource {
    /// Parses an absolute `http://` or `ws://` URL.
    fn parse(url: Bytes) -> Result<Self, BadRequest> {
        // The URL is cut by hand and kept byte for byte. A library for URLs would normalise the
        // path, which a proxy must not change (RFC 9110 §7.7).
        let scheme_bytes =
            url.windows(3).position(|part| part == b"://").ok_or(BadRequest::Target)?;
        let (scheme, start) = (&url[..scheme_bytes], scheme_bytes + "://".len());
        let is = |known: &str| scheme.eq_ignore_ascii_case(known.as_bytes());
        // Some clients ask a proxy for an `https://` URL as if it were plain. Only the client can
        // make TLS with the target, so it is told to use CONNECT.
        if is("https") || is("wss") {
            return Err(BadRequest::NeedsConnect);
        }
        if !is("http") && !is("ws") {
            // A known form with another scheme calls for another correction than a text that is no
            // URL.
            let is_scheme = scheme.first().is_some_and(u8::is_ascii_alphabetic)
                && scheme.iter().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(byte));
            return Err(if is_scheme { BadRequest::UnknownScheme } else { BadRequest::Target });
        }
        let is_end = |byte: &u8| matches!(byte, b'/' | b'?');
        let end = url[start..].iter().position(is_end).map_or(url.len(), |bytes| start + bytes);
        // Some readers treat `\` as `/`, so the host would end there for them.
        if url[start..end].contains(&b'\\') {
            return Err(BadRequest::Authority(InvalidAuthority::InvalidName));
        }
        // User information is dropped, since it must not reach the origin (RFC 9110 §4.2.4). It
        // ends at the first `@`, so that a second one stays in the host and is refused there.
        let userinfo_bytes =
            url[start..end].iter().position(|byte| *byte == b'@').map_or(0, |bytes| bytes + 1);
        let host = url.slice(start + userinfo_bytes..end);
        let text = str::from_utf8(&host)
            .map_err(|_| BadRequest::Authority(InvalidAuthority::InvalidName))?;
        // The authority decides the way; the text as written becomes `Host`, since origins compare
        // it.
        let authority = Authority::with_default_port(text, HTTP).map_err(BadRequest::Authority)?;
        Ok(Self { authority, host, path: url.slice(end..) })
    }

    /// Returns the host and port of the origin.
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// Returns the host, and the port if there is one, as written in the URL: the value of `Host`.
    pub fn host(&self) -> &[u8] {
        &self.host
    }

    /// Returns the path and the query, byte for byte. An empty path becomes `/`.
    pub fn path(&self) -> impl Iterator<Item = &[u8]> {
        let slash: &[u8] = if self.path.starts_with(b"/") { b"" } else { b"/" };
        [slash, &self.path].into_iter().filter(|part| !part.is_empty())
    }

    /// Returns whether there is neither a path nor a query, so that OPTIONS concerns the origin as a whole.
    pub(super) fn is_whole_origin(&self) -> bool {
        self.path.is_empty()
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tunnel(authority) => write!(f, "{authority}"),
            Self::Resource(resource) => resource.fmt(f),
            Self::Origin(_) => f.write_str("/…"),
            Self::Asterisk => f.write_str("*"),
        }
    }
}

impl fmt::Debug for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}/…", self.authority)
    }
}

/// Returns whether `value` is valid for a `Host` field: a host, which may be empty, and an optional port.
pub(super) fn is_host(value: &[u8]) -> bool {
    // Only the characters are checked, and not whether the address or the port is a valid one: the
    // value is replaced before a request is sent on.
    let (host, port) = match value.strip_prefix(b"[") {
        Some(rest) => match rest.iter().position(|byte| *byte == b']') {
            Some(end) => {
                let is_inner = |byte: &u8| byte.is_ascii_hexdigit() || b":.%".contains(byte);
                if end == 0 || !rest[..end].iter().all(is_inner) {
                    return false;
                }
                (&b""[..], &rest[end + 1..])
            }
            None => return false,
        },
        None => value.split_at(value.iter().position(|byte| *byte == b':').unwrap_or(value.len())),
    };
    // The characters of RFC 3986 §3.2.2, without the comma: it would make a list of two hosts.
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+;=".contains(byte);
    let is_port = match port {
        [] => true,
        [b':', digits @ ..] => digits.len() <= 5 && digits.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    is_port && host.iter().all(is_name)
}

const HTTP: NonZeroU16 = NonZeroU16::MIN.saturating_add(79);

#[cfg(test)]
mod tests {
    use super::*;

    /// Compares the authority, the value of `Host` and the path, or the error, with `expected`.
    #[track_caller]
    fn check(method: &str, target: &str, expected: Result<&str, BadRequest>) {
        let parsed = Target::parse(method.as_bytes(), Bytes::from(target.to_owned()));
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let shown = parsed.map(|parsed| match parsed {
            Target::Tunnel(authority) => authority.to_string(),
            Target::Resource(resource) => {
                let path: Vec<u8> = resource.path().flatten().copied().collect();
                format!("{} {} {}", resource.authority(), text(resource.host()), text(&path))
            }
            Target::Origin(path) => text(&path),
            Target::Asterisk => "*".to_owned(),
        });
        assert_eq!(shown.as_deref().map_err(|bad| *bad), expected, "{method} {target}");
    }

    #[test]
    fn absolute_targets_keep_their_host_and_path_as_written() {
        check("GET", "http://a.example/", Ok("a.example:80 a.example /"));
        check("GET", "http://a.example", Ok("a.example:80 a.example /"));
        check(
            "GET",
            "http://A.Example:8080/x?y=http://z",
            Ok("A.Example:8080 A.Example:8080 /x?y=http://z"),
        );
        check(
            "GET",
            "HTTP://a.example:/%7e//../a|b\"",
            Ok("a.example:80 a.example: /%7e//../a|b\""),
        );
        check("GET", "http://a.example?q=/@", Ok("a.example:80 a.example /?q=/@"));
        check("GET", "http://[::1]:81/", Ok("[::1]:81 [::1]:81 /"));
        check("GET", "ws://a.example/chat", Ok("a.example:80 a.example /chat"));
        check("GET", "http://a.example/b:c@d", Ok("a.example:80 a.example /b:c@d"));
        check("get", "http://a.example/é", Ok("a.example:80 a.example /é"));
    }

    #[test]
    fn user_information_is_dropped() {
        check("GET", "http://user:secret@a.example:81/x", Ok("a.example:81 a.example:81 /x"));
        check("GET", "http://@a.example/", Ok("a.example:80 a.example /"));
        let target = Target::parse(b"GET", Bytes::from("http://u:canary@a.example/canary?canary"));
        assert_eq!(format!("{:?}", target.unwrap()), "http://a.example:80/…");
    }

    #[test]
    fn each_method_has_its_forms() {
        check("CONNECT", "a.example:443", Ok("a.example:443"));
        check("CONNECT", "[::1]:443", Ok("[::1]:443"));
        check("GET", "/status?x", Ok("/status?x"));
        check("GET", "//a.example/x", Ok("//a.example/x"));
        check("OPTIONS", "*", Ok("*"));
    }

    #[test]
    fn an_invalid_target_is_refused_with_its_reason() {
        use BadRequest as E;
        use InvalidAuthority as A;
        check("GET", "https://a.example/", Err(E::NeedsConnect));
        check("GET", "wss://a.example/", Err(E::NeedsConnect));
        check("GET", "ftp://a.example/", Err(E::UnknownScheme));
        check("GET", "git+ssh://a.example/", Err(E::UnknownScheme));
        check("GET", "://a.example/", Err(E::Target));
        check("GET", "a b://x", Err(E::Target));
        check("GET", "*", Err(E::Target));
        check("GET", "a.example:80", Err(E::Target));
        check("GET", "mailto:a@b", Err(E::Target));
        check("GET", "http:/a.example", Err(E::Target));
        check("GET", "http://a.example/#x", Err(E::Fragment));
        check("GET", "/x#y", Err(E::Fragment));
        check("GET", "http:///x", Err(E::Authority(A::MissingHost)));
        check("GET", "http://a.example:0/", Err(E::Authority(A::InvalidPort)));
        check("GET", "http://a.example:80x/", Err(E::Authority(A::InvalidPort)));
        check("GET", "http://a@b@c/", Err(E::Authority(A::UserInformation)));
        check("GET", "http://a.example\\@b.example/", Err(E::Authority(A::InvalidName)));
        check("GET", "http://127.1/", Err(E::Authority(A::AmbiguousAddress)));
        check("GET", "http://::1/", Err(E::Authority(A::Brackets)));
        check("CONNECT", "a.example", Err(E::ConnectTarget(A::MissingPort)));
        check("CONNECT", "a.example:", Err(E::ConnectTarget(A::InvalidPort)));
        check("CONNECT", "http://a.example:80/", Err(E::ConnectTarget(A::Url)));
        check("CONNECT", "u@a.example:80", Err(E::ConnectTarget(A::UserInformation)));
        check("CONNECT", "/", Err(E::ConnectTarget(A::InvalidName)));
        check("CONNECT", "*", Err(E::ConnectTarget(A::InvalidName)));
    }

    #[test]
    fn host_fields_are_checked() {
        for host in ["a.example", "a.example:80", "[::1]", "[::1]:80", "", "a:", "127.0.0.1:1"] {
            assert!(is_host(host.as_bytes()), "{host}");
        }
        for host in [
            "a b", "a,b", "a/b", "u@a", "a:80:81", "a:x", "[::1", "[]", "[::1]x", "a:+80", "a\\b",
            "é",
        ] {
            assert!(!is_host(host.as_bytes()), "{host}");
        }
    }
}
