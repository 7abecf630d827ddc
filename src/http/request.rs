//! The head of a request.

mod method;
mod refusal;
#[cfg(test)]
mod tests;

use std::fmt;

use bytes::Bytes;

use self::method::Method;
pub(super) use self::refusal::explain;
use super::{
    BadRequest, BodyLength, Fields, Target, Version,
    fields::{Line, has_bare_lf},
    framing::{Framing, decimal},
    target,
    upgrade::upgrade,
};

/// The head of a request that can be read in one way only.
///
/// `Debug` shows the method, the target without user information, path and query, and the names of the fields.
#[derive(Clone)]
pub struct RequestHead {
    method: Method,
    target: Target,
    version: Version,
    fields: Fields,
    framing: Framing,
}

impl RequestHead {
    /// Checks what httparse does not. `head` starts with a method of `method_bytes`, a space, and a target of
    /// `target_bytes`; `lines` are its field lines.
    pub(super) fn new(
        head: Bytes,
        method_bytes: usize,
        target_bytes: usize,
        version: Version,
        lines: Vec<Line>,
    ) -> Result<Self, BadRequest> {
        // The parser accepts a bare LF as the end of a line. A server that wants CR LF would see
        // one line where this proxy saw two, so such a request is refused. The words of the first
        // line are separated by single spaces, so their lengths tell where that line ends.
        let target_start = method_bytes + 1;
        let line_end = target_start + target_bytes + " HTTP/1.1".len();
        if !head[line_end..].starts_with(b"\r\n") || has_bare_lf(&head, &lines) {
            return Err(BadRequest::BareLf);
        }
        let target = head.slice(target_start..target_start + target_bytes);
        let target = Target::parse(&head[..method_bytes], target)?;
        let fields = Fields::new(head.clone(), lines);
        // Each field is looked up among the options. Tens of thousands of options would make
        // millions of comparisons of one head.
        if fields.has_too_many_options() {
            return Err(BadRequest::TooManyOptions);
        }
        check_host(&fields, version)?;
        let framing = Framing::of_request(&fields, version)?;
        // The bytes behind a CONNECT are the tunnel's (RFC 9110 §9.3.6). A length that claims them
        // for a body would give them a second meaning. A length of zero claims nothing.
        let is_connect = matches!(target, Target::Tunnel(_));
        if is_connect && (framing.is_chunked || framing.content_length.is_some_and(|n| n > 0)) {
            return Err(BadRequest::Framing("CONNECT has no body, but a field announces one"));
        }
        let method = Method::of(&head, method_bytes);
        Ok(Self { method, target, version, fields, framing })
    }

    /// Returns the method, a token in its own case.
    pub fn method(&self) -> &str {
        self.method.as_str()
    }

    /// Returns the target of the request.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// Returns the version that the client speaks.
    pub fn version(&self) -> Version {
        self.version
    }

    /// Returns the fields as they were received.
    pub fn fields(&self) -> &Fields {
        &self.fields
    }

    /// Returns the length of the body. A CONNECT has no body: the bytes after it belong to the tunnel.
    pub fn body_length(&self) -> BodyLength {
        match self.framing {
            // First, so that a `Content-Length: 0` beside CONNECT makes no difference.
            _ if matches!(self.target, Target::Tunnel(_)) => BodyLength::Empty,
            Framing { is_chunked: true, .. } => BodyLength::Chunked,
            Framing { content_length: Some(length), .. } => BodyLength::Length(length),
            Framing { content_length: None, .. } => BodyLength::Empty,
        }
    }

    /// Returns the value of `Host`, which occurs at most once.
    pub fn host(&self) -> Option<&[u8]> {
        self.fields.values("Host").next()
    }

    /// Returns whether the client connection may carry another request (RFC 9112 §9.3).
    ///
    /// `Proxy-Connection: close` counts too: old clients send it to proxies. With HTTP/1.0 the connection always closes.
    pub fn wants_keep_alive(&self) -> bool {
        self.version == Version::Http11
            && !self.fields.lists_token("Connection", "close")
            && !self.fields.lists_token("Proxy-Connection", "close")
    }

    /// Returns whether the client waits for 100 (Continue) before it sends the body (RFC 9110 §10.1.1).
    pub fn expects_continue(&self) -> bool {
        self.version == Version::Http11 && self.fields.lists_token("Expect", "100-continue")
    }

    /// Returns whether the client accepts trailers in the response (RFC 9110 §10.1.4).
    pub fn accepts_trailers(&self) -> bool {
        self.fields.lists_token("TE", "trailers")
    }

    /// Returns the protocols that the client offers to switch to, as the value of an `Upgrade` field to forward.
    ///
    /// Returns `None` with HTTP/1.0 (RFC 9110 §7.8), and never includes `h2c`.
    pub fn upgrade(&self) -> Option<String> {
        (self.version == Version::Http11).then(|| upgrade(&self.fields)).flatten()
    }

    /// Returns how often the request may still be forwarded. If it is zero, this proxy must answer.
    ///
    /// Only OPTIONS and TRACE have this limit (RFC 9110 §7.6.2); it is `None` for other methods.
    pub fn max_forwards(&self) -> Option<u64> {
        if !matches!(self.method(), "OPTIONS" | "TRACE") {
            return None;
        }
        self.fields.values("Max-Forwards").next().and_then(decimal)
    }
}

impl fmt::Debug for RequestHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestHead")
            .field("method", &self.method())
            .field("target", &self.target)
            .field("version", &self.version)
            .field("fields", &self.fields)
            .finish_non_exhaustive()
    }
}

/// Checks that HTTP/1.1 has exactly one `Host`, HTTP/1.0 at most one, and that it is valid (RFC 9112 §3.2). The target
/// decides where a request goes, but a server behind this proxy may go by `Host`.
fn check_host(fields: &Fields, version: Version) -> Result<(), BadRequest> {
    let mut hosts = fields.values("Host");
    match (hosts.next(), hosts.next()) {
        (_, Some(_)) => Err(BadRequest::SeveralHosts),
        (Some(host), None) if target::is_host(host) => Ok(()),
        (Some(_), None) => Err(BadRequest::InvalidHost),
        // `Host` came with HTTP/1.1. Older clients may leave it out, and the target says the same.
        (None, None) if version == Version::Http11 => Err(BadRequest::MissingHost),
        (None, None) => Ok(()),
    }
}
