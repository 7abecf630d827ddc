//! Forwarding a response.

use super::fields::{RESERVE_BYTES, Rewritten, put, write_extra, write_fields};
use crate::http::{BodyLength, ResponseHead, Version};

impl ResponseHead {
    /// Appends the head that forwards this response to a client that speaks `version`, with the fields `extra` at its
    /// end. Returns how its body must be sent.
    ///
    /// The caller adds `Connection` and `Upgrade`, and sends no interim response to a 1.0 client. If the result is
    /// [`BodyLength::UntilClose`], the connection must close after the body.
    pub fn write(&self, version: Version, extra: &[(&str, &str)], out: &mut Vec<u8>) -> BodyLength {
        out.reserve(self.fields().byte_count() + RESERVE_BYTES);
        // Also a client of HTTP/1.0 gets the version of this proxy (RFC 9112 §2.3).
        let mut status = itoa::Buffer::new();
        let status = status.format(self.status());
        put(out, &[b"HTTP/1.1 ", status.as_bytes(), b" ", self.reason(), b"\r\n"]);
        let body = self.body_length().towards(version);
        let shown = match self.shown_length() {
            Some(length) if body == BodyLength::Empty => BodyLength::Length(length),
            _ => body,
        };
        let rewritten = Rewritten { host: None, length: shown, max_forwards: None };
        write_fields(self.fields(), rewritten, out);
        write_extra(extra, out);
        body
    }
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;

    use super::*;
    use crate::http::{HeadLimits, HeadReader};

    #[track_caller]
    fn response(input: &str, method: &str, version: Version, expected: (&str, BodyLength)) {
        let mut seen = BytesMut::from(input);
        let head =
            HeadReader::new(HeadLimits::default()).response(method, &mut seen).unwrap().unwrap();
        let mut out = Vec::new();
        let body = head.write(version, &[], &mut out);
        assert_eq!((String::from_utf8(out).unwrap().as_str(), body), expected);
    }

    #[test]
    fn a_response_is_framed_for_its_recipient() {
        use BodyLength::{Chunked, Empty, Length, UntilClose};
        use Version::{Http10, Http11};
        let chunked = "HTTP/1.1 200 Fine\r\nA: b\r\nTransfer-Encoding: chunked\r\nConnection: x\r\nC: d\r\n\r\n";
        let kept = "HTTP/1.1 200 Fine\r\nA: b\r\nTransfer-Encoding: chunked\r\nC: d\r\n\r\n";
        let dropped = "HTTP/1.1 200 Fine\r\nA: b\r\nC: d\r\n\r\n";
        response(chunked, "GET", Http11, (kept, Chunked));
        response(chunked, "GET", Http10, (dropped, UntilClose));
        response(chunked, "HEAD", Http11, (dropped, Empty));
        let endless = "HTTP/1.0 200 Fine\r\nA: b\r\n\r\n";
        let added = "HTTP/1.1 200 Fine\r\nA: b\r\nTransfer-Encoding: chunked\r\n\r\n";
        response(endless, "GET", Http11, (added, Chunked));
        response(endless, "GET", Http10, ("HTTP/1.1 200 Fine\r\nA: b\r\n\r\n", UntilClose));
        let sized = "HTTP/1.1 200 Fine\r\nContent-Length: 5, 5\r\n\r\n";
        let once = "HTTP/1.1 200 Fine\r\nContent-Length: 5\r\n\r\n";
        response(sized, "GET", Http10, (once, Length(5)));
        response(sized, "HEAD", Http11, (once, Empty));
        let twice = "HTTP/1.1 200 Fine\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n";
        response(twice, "HEAD", Http11, ("HTTP/1.1 200 Fine\r\n\r\n", Empty));
        let status = |text: &str, code: &str| text.replace("200", code);
        let none = "HTTP/1.1 200 Fine\r\n\r\n";
        response(&status(sized, "304"), "GET", Http11, (&status(once, "304"), Empty));
        response(&status(sized, "204"), "GET", Http11, (&status(none, "204"), Empty));
        response(&status(sized, "103"), "GET", Http11, (&status(none, "103"), Empty));
    }

    #[test]
    fn what_connection_lists_cannot_take_the_framing_away() {
        use BodyLength::{Chunked, Empty, Length};
        let with = |line: &str| {
            format!(
                "HTTP/1.1 200 OK\r\nConnection: Content-Length, transfer-encoding, A\r\n{line}A: b\r\n\r\n"
            )
        };
        let sized = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";
        response(&with("Content-Length: 5\r\n"), "GET", Version::Http11, (sized, Length(5)));
        response(&with("Content-Length: 5\r\n"), "HEAD", Version::Http11, (sized, Empty));
        let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        response(
            &with("Transfer-Encoding: chunked\r\n"),
            "GET",
            Version::Http11,
            (chunked, Chunked),
        );
    }

    #[test]
    fn a_response_keeps_its_reason_and_its_fields() {
        response(
            "HTTP/1.0 299 Schön war's\r\nSet-Cookie: a\r\nX: y\r\nset-cookie: b\r\nHost: h\r\n\
             Proxy-Authenticate: Basic\r\nKeep-Alive: 1\r\nContent-Length: 0\r\n\r\n",
            "GET",
            Version::Http11,
            (
                "HTTP/1.1 299 Schön war's\r\nSet-Cookie: a\r\nX: y\r\nset-cookie: b\r\nHost: h\r\n\
                 Content-Length: 0\r\n\r\n",
                BodyLength::Length(0),
            ),
        );
    }
}
