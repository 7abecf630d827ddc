//! The head of a response.

mod status_line;
#[cfg(test)]
mod tests;

use std::fmt;

use bytes::Bytes;

pub(super) use self::status_line::{MendedHead, check_start, mend_head};
use super::{
    BadResponse, BodyLength, Fields, Version, fields::Line, framing::Framing, upgrade::upgrade,
};

/// The head of a response that can be read in one way only, as the answer to a request whose method is known. `Debug`
/// shows the names of fields, never their values.
#[derive(Clone)]
pub struct ResponseHead {
    head: Bytes,
    status: u16,
    version: Version,
    fields: Fields,
    framing: Framing,
    may_have_body: bool,
}

impl ResponseHead {
    /// Checks what httparse does not. `lines` are the field lines of `head`, which answers a request with `method`.
    pub(super) fn new(
        method: &str,
        head: Bytes,
        status: u16,
        version: Version,
        lines: Vec<Line>,
    ) -> Result<Self, BadResponse> {
        // The parser takes any three digits, but a status below 100 has no class (RFC 9110 §15).
        if status < 100 {
            return Err(BadResponse::StatusLine);
        }
        let fields = Fields::new(head.clone(), lines);
        if fields.has_too_many_options() {
            return Err(BadResponse::TooManyOptions);
        }
        let may_have_body = may_have_body(method, status);
        let mut framing = if may_have_body {
            Framing::of_response(&fields, version)?
        } else {
            Framing::of_absent_body(&fields, version)
        };
        // These must not announce a body (RFC 9110 §8.6, RFC 9112 §6.1). A sender that does may also
        // send one.
        if matches!(status, 100..=199 | 204) && framing.announces_body() {
            framing.is_doubtful = true;
        }
        Ok(Self { head, status, version, fields, framing, may_have_body })
    }

    /// Marks the end of the message as [doubtful](Self::has_doubtful_length).
    pub(super) fn with_doubtful_length(mut self) -> Self {
        self.framing.is_doubtful = true;
        self
    }

    /// Returns the status code, from 100 to 999.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// Returns the reason phrase, which may be empty or contain bytes that are not ASCII.
    pub fn reason(&self) -> &[u8] {
        // The first line is in the strict grammar, or was rewritten in it, so the phrase always
        // begins at the same place.
        let line = self.head.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        line.get("HTTP/1.1 200 ".len()..).unwrap_or_default()
    }

    /// Returns the version that the sender speaks.
    pub fn version(&self) -> Version {
        self.version
    }

    /// Returns the fields as they were received, or as they were mended.
    pub fn fields(&self) -> &Fields {
        &self.fields
    }

    /// Returns whether another response follows this one (RFC 9110 §15.2). None follows a 101.
    pub fn is_interim(&self) -> bool {
        (100..200).contains(&self.status) && self.status != 101
    }

    /// Returns the length of the body (RFC 9112 §6.3).
    pub fn body_length(&self) -> BodyLength {
        match self.framing {
            _ if !self.may_have_body => BodyLength::Empty,
            Framing { is_chunked: true, .. } => BodyLength::Chunked,
            Framing { content_length: Some(length), .. } => BodyLength::Length(length),
            // Rule 8. A request without a length has no body instead, since its sender waits for an
            // answer.
            Framing { content_length: None, .. } => BodyLength::UntilClose,
        }
    }

    /// Returns whether the upstream connection can carry another request after this body (RFC 9112 §9.3). It never
    /// can if the body is [`BodyLength::UntilClose`], which the caller checks.
    ///
    /// A [doubtful length](Self::has_doubtful_length) closes it.
    pub fn keeps_alive(&self) -> bool {
        // Some proxies write `Proxy-Connection` in place of `Connection`, so both fields count.
        let lists = |option| {
            self.fields.lists_token("Connection", option)
                || self.fields.lists_token("Proxy-Connection", option)
        };
        !self.has_doubtful_length()
            && !lists("close")
            && (self.version == Version::Http11 || lists("keep-alive"))
    }

    /// Returns whether the sender may have meant another end of the message than the one that is read here. Its
    /// connection must close, since the bytes that follow may belong to the message (RFC 9112 §6.1).
    ///
    /// So it is with both `Transfer-Encoding` and `Content-Length`, with chunks in HTTP/1.0, with a bare CR or a later version of HTTP, and if a response without a
    /// body announces one or has fields that make no sense.
    pub fn has_doubtful_length(&self) -> bool {
        self.framing.is_doubtful
    }

    /// Returns the protocols that a 101 switches to or a 426 asks for, as the value of an `Upgrade` field.
    pub fn upgrade(&self) -> Option<String> {
        upgrade(&self.fields)
    }

    /// Returns the length to show: that of the body, or that which the absent body of a response to HEAD or of a 304
    /// would have (RFC 9110 §8.6). A 1xx and a 204 must not show one.
    pub(super) fn shown_length(&self) -> Option<u64> {
        self.framing.content_length.filter(|_| !matches!(self.status, 100..=199 | 204))
    }
}

/// Returns whether a response to `method` may have a body.
///
/// This comes before all fields (RFC 9112 §6.3, rules 1 and 2). If not, they tell about the body that a GET would have
/// had. After a 2xx to CONNECT, the bytes are the tunnel's.
fn may_have_body(method: &str, status: u16) -> bool {
    match status {
        100..=199 | 204 | 304 => false,
        200..=299 => method != "HEAD" && method != "CONNECT",
        _ => method != "HEAD",
    }
}

impl fmt::Debug for ResponseHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseHead")
            .field("status", &self.status)
            .field("version", &self.version)
            .field("fields", &self.fields)
            .finish_non_exhaustive()
    }
}
