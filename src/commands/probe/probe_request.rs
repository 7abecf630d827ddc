//! The request that a probe makes.

use std::{fmt, net::Ipv4Addr, path::Path, str::FromStr};

use bytes::BytesMut;
use mooltiroute_hops::{
    Authority, BuildContext, InvalidSetting, Preferences,
    tls::{TlsChecks, TlsClient, TlsSettings},
};

use crate::{
    client::{ask::Ask, auth::Admitted},
    commands::explain::{Asked, InvalidUrl},
    config::Protocol,
    http::{HeadLimits, HeadReader, RequestHead},
};

/// The request that a probe makes, without the user information of its URL.
#[derive(Clone, Debug)]
pub struct ProbeRequest {
    pub(super) target: Authority,
    pub(super) work: Work,
    pub(super) preferences: Preferences,
}

/// The work of a probe at the target.
#[derive(Clone, Debug)]
pub(super) enum Work {
    /// Nothing. An open tunnel is enough.
    Tunnel,
    /// A request over TLS, through a tunnel.
    Https(Box<RequestHead>),
    /// A plain request, which the last hop may forward.
    Http(Box<RequestHead>),
}

impl ProbeRequest {
    /// Returns the same request for a client with `preferences`.
    #[must_use]
    pub fn preferring(self, preferences: Preferences) -> Self {
        Self { preferences, ..self }
    }

    /// Returns the preferences as those of a client that was admitted.
    pub(super) fn admitted(&self) -> Admitted {
        let preferences =
            (!self.preferences.is_empty()).then(|| self.preferences.to_string().into());
        Admitted { preferences, ..Admitted::default() }
    }

    /// Returns the request as a client would make it.
    pub(super) fn ask<'a>(&'a self, admitted: &'a Admitted) -> Ask<'a> {
        let method = match &self.work {
            Work::Http(head) => head.method(),
            Work::Tunnel | Work::Https(_) => "CONNECT",
        };
        let peer = (Ipv4Addr::LOCALHOST, 0).into();
        Ask { peer, protocol: Protocol::Http, method, target: &self.target, admitted }
    }

    /// Returns the TLS client for the target, or `None` if the request does not use TLS. `ca` is a file of authorities to
    /// trust.
    /// # Errors
    /// The problem with the file.
    pub fn tls(&self, ca: Option<&Path>) -> Result<Option<TlsClient>, InvalidSetting> {
        let settings = match self.work {
            Work::Https(_) => {
                TlsSettings::On(TlsChecks { ca: ca.map(Path::to_owned), server_name: None })
            }
            Work::Tunnel | Work::Http(_) => TlsSettings::Off,
        };
        // An empty directory makes relative paths start from the current one.
        TlsClient::new(&settings, self.target.host(), &BuildContext::new(Path::new("")))
    }
}

impl FromStr for ProbeRequest {
    type Err = InvalidUrl;

    fn from_str(text: &str) -> Result<Self, InvalidUrl> {
        let target = text.parse::<Asked>()?.target;
        let preferences = Preferences::default();
        let Some((scheme, rest)) = text.split_once("://") else {
            return Ok(Self { target, work: Work::Tunnel, preferences });
        };
        // `Asked` also accepts `ws` and `wss`, for which a probe has no request to make.
        let work = if scheme.eq_ignore_ascii_case("https") {
            Work::Https
        } else if scheme.eq_ignore_ascii_case("http") {
            Work::Http
        } else {
            return Err(InvalidUrl::Scheme);
        };
        Ok(Self { target, work: work(Box::new(request(rest)?)), preferences })
    }
}

/// Returns the request that a client would send for `rest`, the part of a URL after the scheme.
fn request(rest: &str) -> Result<RequestHead, InvalidUrl> {
    // A blank or a line end in the URL would change the meaning of the head that is built from it below.
    if !rest.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(InvalidUrl::Character);
    }
    let rest = rest.split('#').next().unwrap_or_default();
    let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let head = format!(
        "GET http://{host}{path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: {USER_AGENT}\r\nAccept: */*\r\n\r\n"
    );
    let parsed = HeadReader::new(HeadLimits::default()).request(&mut BytesMut::from(&*head));
    parsed.ok().flatten().ok_or(InvalidUrl::Character)
}

impl fmt::Display for ProbeRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { target, work, .. } = self;
        match work {
            Work::Tunnel => write!(f, "CONNECT {target}"),
            // Path and query are left out, since they may contain a credential.
            Work::Https(_) => write!(f, "GET https://{target}"),
            Work::Http(_) => write!(f, "GET http://{target}"),
        }
    }
}

const USER_AGENT: &str = concat!("mooltiroute/", env!("CARGO_PKG_VERSION"));

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Result<&str, InvalidUrl>) {
        let probe_request =
            text.parse::<ProbeRequest>().map(|probe_request| probe_request.to_string());
        assert_eq!(probe_request.as_deref().map_err(|error| *error), expected, "{text}");
    }

    #[test]
    fn urls_and_authorities_are_probe_requests() {
        check("https://a.example/x?y#z", Ok("GET https://a.example:443"));
        check("HTTP://joe:hunter2@a.example:8080?b@c", Ok("GET http://a.example:8080"));
        check("[::1]:22", Ok("CONNECT [::1]:22"));
        check("wss://a.example/", Err(InvalidUrl::Scheme));
        check("http://a.example/a b", Err(InvalidUrl::Character));
        check("http://a.example/\r\nA: b", Err(InvalidUrl::Character));
    }
}
