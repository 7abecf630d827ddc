//! The head of a response.

use std::fmt;

use bytes::Bytes;

use super::{BadResponse, BodyLength, Fields, Version, fields::Line, framing::Framing, request};

/// The head of a response that can be read in one way only. `Debug` shows no value of a field.
#[derive(Clone)]
pub struct ResponseHead {
    head: Bytes,
    status: u16,
    version: Version,
    fields: Fields,
    framing: Framing,
}

impl ResponseHead {
    /// `head` is what httparse took for one; here is what it does not check.
    pub(super) fn new(
        head: Bytes,
        status: u16,
        version: Version,
        lines: Vec<Line>,
    ) -> Result<Self, BadResponse> {
        if status < 100 {
            return Err(BadResponse::StatusLine);
        }
        let fields = Fields::new(head.clone(), lines);
        if fields.has_too_many_options() {
            return Err(BadResponse::TooManyOptions);
        }
        let framing = Framing::of(&fields, version)?;
        Ok(Self { head, status, version, fields, framing })
    }

    /// The status code, from 100 to 999.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The reason phrase, which may be empty and may hold bytes that are not ASCII.
    pub fn reason(&self) -> &[u8] {
        let line = self.head.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        line.get("HTTP/1.1 200 ".len()..).unwrap_or_default()
    }

    /// The version that the sender speaks.
    pub fn version(&self) -> Version {
        self.version
    }

    /// The fields as they came.
    pub fn fields(&self) -> &Fields {
        &self.fields
    }

    /// Whether it is an interim response, after which another comes (RFC 9110 §15.2). 101 is none.
    pub fn is_interim(&self) -> bool {
        (100..200).contains(&self.status) && self.status != 101
    }

    /// Where the body ends, in the answer to a request of this method (RFC 9112 §6.3).
    pub fn body_length(&self, method: &str) -> BodyLength {
        match self.framing {
            _ if method == "HEAD" || self.has_no_body() => BodyLength::Empty,
            _ if method == "CONNECT" && (200..300).contains(&self.status) => BodyLength::Empty,
            Framing { is_chunked: true, .. } => BodyLength::Chunked,
            Framing { content_length: Some(length), .. } => BodyLength::Length(length),
            Framing { content_length: None, .. } => BodyLength::UntilClose,
        }
    }

    /// Whether the connection that it came on persists after its body, unless that is [`BodyLength::UntilClose`]
    /// (RFC 9112 §9.3).
    pub fn keeps_alive(&self) -> bool {
        let lists = |option| {
            self.fields.lists_token("Connection", option)
                || self.fields.lists_token("Proxy-Connection", option)
        };
        !lists("close") && (self.version == Version::Http11 || lists("keep-alive"))
    }

    /// The protocols that a 101 switches to, or that a 426 asks for, as the value of an `Upgrade` field.
    pub fn upgrade(&self) -> Option<String> {
        request::upgrade(&self.fields)
    }

    /// Whether its status alone forbids a body.
    pub(super) fn has_no_body(&self) -> bool {
        matches!(self.status, 100..=199 | 204 | 304)
    }

    pub(super) fn framing(&self) -> Framing {
        self.framing
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

/// Says what httparse stumbled over.
pub(super) fn explain(error: httparse::Error) -> BadResponse {
    match error {
        httparse::Error::TooManyHeaders => BadResponse::TooManyFields,
        httparse::Error::HeaderName => BadResponse::FieldLine(
            "has no name, white space at its start or before the colon, or no colon",
        ),
        httparse::Error::HeaderValue => {
            BadResponse::FieldLine("has a control character or a bare CR in its value")
        }
        httparse::Error::NewLine => BadResponse::FieldLine("ends in a bare CR"),
        httparse::Error::Version => BadResponse::NotHttp,
        httparse::Error::Status | httparse::Error::Token => BadResponse::StatusLine,
    }
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;

    use super::*;
    use crate::http::{HeadLimits, HeadReader};

    const LIMITS: HeadLimits = HeadLimits { bytes: 300, fields: 5 };

    /// Reads one head by `step` bytes, and gives what was left over.
    fn read(input: &[u8], step: usize) -> Result<Option<(ResponseHead, BytesMut)>, BadResponse> {
        let (mut reader, mut seen) = (HeadReader::new(LIMITS), BytesMut::new());
        for part in input.chunks(step) {
            seen.extend_from_slice(part);
            if let Some(head) = reader.response(&mut seen)? {
                return Ok(Some((head, seen)));
            }
        }
        Ok(None)
    }

    #[track_caller]
    fn parse(input: &str) -> ResponseHead {
        for after in ["", "HTTP/1.1 200 OK\r\n\r\n", "\0"] {
            let (_, left) =
                read(&[input, after].concat().into_bytes(), usize::MAX).unwrap().unwrap();
            assert_eq!(left, after);
        }
        let (head, left) = read(input.as_bytes(), 1).unwrap().unwrap();
        assert_eq!(left, "");
        head
    }

    #[track_caller]
    fn refused(input: impl AsRef<[u8]>, expected: BadResponse) {
        for step in [1, 7, usize::MAX] {
            let got = read(input.as_ref(), step).map(|head| head.map(|(head, _)| head));
            let input = String::from_utf8_lossy(input.as_ref());
            assert_eq!(got.expect_err(&input), expected, "{input:?} by {step}");
        }
    }

    #[track_caller]
    fn length(method: &str, head: &str, expected: BodyLength) {
        assert_eq!(parse(head).body_length(method), expected, "{method} {head:?}");
    }

    #[test]
    fn the_status_line_is_kept() {
        let check = |line: &str, status, version, reason: &str| {
            let head = parse(&format!("{line}\r\n\r\n"));
            assert_eq!((head.status(), head.version()), (status, version));
            assert_eq!(head.reason(), reason.as_bytes());
        };
        check("HTTP/1.1 200 OK", 200, Version::Http11, "OK");
        check("HTTP/1.0 404 Not here ", 404, Version::Http10, "Not here ");
        check("HTTP/1.1 200 ", 200, Version::Http11, "");
        check("HTTP/1.1 999", 999, Version::Http11, "");
        check("HTTP/1.1 103 Früh", 103, Version::Http11, "Früh");
    }

    #[test]
    fn a_bare_lf_ends_a_line() {
        let head = parse("HTTP/1.1 200 OK\nA: b\nContent-Length: 1\n\n");
        assert_eq!(head.reason(), b"OK");
        assert_eq!(head.fields().values("a").next(), Some(&b"b"[..]));
        assert_eq!(head.body_length("GET"), BodyLength::Length(1));
    }

    #[test]
    fn what_is_no_response_is_refused() {
        refused("SSH-2.0-x\r\n", BadResponse::NotHttp);
        refused("\r\nHTTP/1.1 200 OK\r\n\r\n", BadResponse::NotHttp);
        refused(b"\x15\x03\x01\0\x02\x02", BadResponse::NotHttp);
        refused("HTTP/2.0 200 OK\r\n\r\n", BadResponse::NotHttp);
        refused("HTTP/1.2 200 OK\r\n\r\n", BadResponse::NotHttp);
        refused("ICY 200 OK\r\n\r\n", BadResponse::NotHttp);
        for line in ["HTTP/1.1 2000 OK", "HTTP/1.1 20 OK", "HTTP/1.1 099 OK", "HTTP/1.1  200 OK"] {
            refused(format!("{line}\r\n\r\n"), BadResponse::StatusLine);
        }
        refused("HTTP/1.1 200 O\0K\r\n\r\n", BadResponse::StatusLine);
        refused("HTTP/1.1 200 O\rK\r\n\r\n", BadResponse::StatusLine);
    }

    #[test]
    fn a_broken_field_line_is_refused() {
        let name = BadResponse::FieldLine(
            "has no name, white space at its start or before the colon, or no colon",
        );
        let value = BadResponse::FieldLine("has a control character or a bare CR in its value");
        for (line, expected) in [
            ("A : b", name),
            ("A: b\r\n c", name),
            ("A", name),
            (": b", name),
            (" A: b", name),
            ("A: b\0", value),
            ("A: b\rc", value),
        ] {
            refused(format!("HTTP/1.1 200 OK\r\n{line}\r\n\r\n"), expected);
        }
    }

    #[test]
    fn the_limits_hold() {
        refused(format!("HTTP/1.1 200 {}", "a".repeat(300)), BadResponse::HeadTooLarge);
        let long = format!("HTTP/1.1 200 OK\r\nA: {}\r\n\r\n", "a".repeat(300));
        refused(long, BadResponse::HeadTooLarge);
        let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "A: b\r\n".repeat(6));
        refused(many, BadResponse::TooManyFields);
        parse(&format!("HTTP/1.1 200 OK\r\n{}\r\n", "A: b\r\n".repeat(5)));
        let options =
            |count| format!("HTTP/1.1 200 OK\r\nConnection:{}\r\n\r\n", " a,".repeat(count));
        parse(&options(64));
        refused(options(65), BadResponse::TooManyOptions);
    }

    #[test]
    fn the_length_of_a_body_is_known() {
        let sized = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";
        length("GET", sized, BodyLength::Length(5));
        length("HEAD", sized, BodyLength::Empty);
        length("CONNECT", sized, BodyLength::Empty);
        length("GET", &sized.replace("200", "304"), BodyLength::Empty);
        length("GET", &sized.replace("200", "204"), BodyLength::Empty);
        length("GET", &sized.replace("200", "101"), BodyLength::Empty);
        length("GET", &sized.replace("5", "5, 5"), BodyLength::Length(5));
        let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        length("GET", chunked, BodyLength::Chunked);
        length("HEAD", chunked, BodyLength::Empty);
        length("GET", "HTTP/1.0 200 OK\r\n\r\n", BodyLength::UntilClose);
        length("CONNECT", "HTTP/1.1 403 No\r\n\r\n", BodyLength::UntilClose);
    }

    #[test]
    fn a_length_that_is_not_clear_is_refused() {
        let with = |lines: &str| format!("HTTP/1.1 200 OK\r\n{lines}\r\n\r\n");
        // Also where there is no body: others may not know that, and would look for one.
        for status in ["200", "304"] {
            refused(
                with("Content-Length: 5\r\nTransfer-Encoding: chunked").replace("200", status),
                BadResponse::Framing(
                    "`Content-Length` and `Transfer-Encoding` stand in one message",
                ),
            );
        }
        refused(
            with("Content-Length: 5\r\nContent-Length: 6"),
            BadResponse::Framing("`Content-Length` stands there with different values"),
        );
        refused(with("Content-Length: x"), BadResponse::Framing("`Content-Length` is no number"));
        refused(with("Transfer-Encoding: gzip, chunked"), BadResponse::UnknownCoding);
        refused(
            with("Transfer-Encoding: chunked").replace("1.1", "1.0"),
            BadResponse::Framing("`Transfer-Encoding` stands in a message of HTTP/1.0"),
        );
    }

    #[test]
    fn persistence_follows_the_version_and_the_options() {
        let keeps = |version: &str, lines: &str| {
            parse(&format!("HTTP/{version} 200 OK\r\n{lines}\r\n")).keeps_alive()
        };
        assert!(keeps("1.1", ""));
        assert!(!keeps("1.1", "Connection: Close\r\n"));
        assert!(!keeps("1.0", ""));
        assert!(keeps("1.0", "Connection: keep-alive\r\n"));
        assert!(keeps("1.0", "Proxy-Connection: keep-alive\r\n"));
        assert!(!keeps("1.0", "Connection: keep-alive, close\r\n"));
    }

    #[test]
    fn interim_responses_are_those_after_which_another_comes() {
        let is_interim = |status| parse(&format!("HTTP/1.1 {status} x\r\n\r\n")).is_interim();
        assert!(is_interim(100) && is_interim(103) && !is_interim(101) && !is_interim(200));
    }
}
