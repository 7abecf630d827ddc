//! Writing heads anew from their parsed form.
//!
//! Fields go out in the order in which they came. Those of one connection are left out, `Host` and the fields that
//! frame the body are written from what they mean, each once and where the first of its kind stood, and fields of our
//! own come last, so that nothing a `Connection` field lists can take them away.

use super::{
    BodyLength, Fields, RequestHead, Resource, ResponseHead, Target, Version,
    role::{Role, role_of},
};

/// The form of the target in a request that is sent on (RFC 9112 §3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestForm {
    /// Origin-form, to the origin; `*` where OPTIONS is about the origin as a whole.
    Origin,
    /// Absolute-form, to a proxy.
    Absolute,
}

impl RequestHead {
    /// Appends the head with which this request is sent on for `resource`, with `extra` fields at its end.
    ///
    /// `Max-Forwards` of OPTIONS and TRACE is one less. The names and values of `extra` must be fit for a head.
    pub fn write(
        &self,
        resource: &Resource,
        form: RequestForm,
        extra: &[(&str, &str)],
        out: &mut Vec<u8>,
    ) {
        out.reserve(self.fields().byte_count() + RESERVE_BYTES);
        let method = self.method();
        put(out, &[method.as_bytes(), b" "]);
        if form == RequestForm::Absolute {
            put(out, &[b"http://", resource.host()]);
        }
        match form {
            // RFC 9112 §3.2.4: the last proxy asks with `*`, those before it with an empty path.
            RequestForm::Origin if method == "OPTIONS" && resource.is_whole_origin() => {
                out.push(b'*');
            }
            RequestForm::Absolute if method == "OPTIONS" && resource.is_whole_origin() => {}
            _ => resource.path().for_each(|part| out.extend_from_slice(part)),
        }
        out.extend_from_slice(b" HTTP/1.1\r\n");
        let has_host = self.host().is_some();
        if !has_host {
            field(out, b"Host", resource.host());
        }
        let anew = Anew {
            host: has_host.then(|| resource.host()),
            length: self.body_length(),
            max_forwards: self.max_forwards().map(|hops| hops.saturating_sub(1)),
        };
        write_fields(self.fields(), anew, out);
        write_extra(extra, out);
    }
}

impl RequestHead {
    /// Appends the request as the answer to a TRACE shows it, in the format `message/http`: without the fields that
    /// hold credentials (RFC 9110 §9.3.8) and without user information.
    pub fn write_echo(&self, out: &mut Vec<u8>) {
        put(out, &[self.method().as_bytes(), b" "]);
        match self.target() {
            Target::Tunnel(authority) => out.extend_from_slice(authority.to_string().as_bytes()),
            Target::Resource(resource) => {
                put(out, &[b"http://", resource.host()]);
                resource.path().for_each(|part| out.extend_from_slice(part));
            }
            Target::Origin(path) => out.extend_from_slice(path),
            Target::Asterisk => out.push(b'*'),
        }
        out.extend_from_slice(match self.version() {
            Version::Http10 => b" HTTP/1.0\r\n",
            Version::Http11 => b" HTTP/1.1\r\n",
        });
        for (name, value) in self.fields().iter() {
            let is_secret =
                SECRET_FIELDS.iter().any(|known| name.eq_ignore_ascii_case(known.as_bytes()));
            if !is_secret {
                field(out, name, value);
            }
        }
        out.extend_from_slice(b"\r\n");
    }
}

impl ResponseHead {
    /// Appends the head with which this response is sent on to a client that speaks `version` and asked with `method`,
    /// with `extra` fields at its end, and tells how its body must be sent.
    ///
    /// `Connection` and `Upgrade` are the caller's to add, and a 1.0 client must not be sent interim responses. Where
    /// the answer is [`BodyLength::UntilClose`] the connection must close after it.
    pub fn write(
        &self,
        method: &str,
        version: Version,
        extra: &[(&str, &str)],
        out: &mut Vec<u8>,
    ) -> BodyLength {
        out.reserve(self.fields().byte_count() + RESERVE_BYTES);
        let status = Decimal::new(u64::from(self.status()));
        put(out, &[b"HTTP/1.1 ", status.as_bytes(), b" ", self.reason(), b"\r\n"]);
        let body = self.body_length(method).towards(version);
        // HEAD and 304 may tell the length of the body that is not there (RFC 9110 §8.6); 1xx and 204 may not.
        let shown = match self.framing().content_length {
            Some(length) if body == BodyLength::Empty && self.may_show_length() => {
                BodyLength::Length(length)
            }
            _ => body,
        };
        write_fields(self.fields(), Anew { host: None, length: shown, max_forwards: None }, out);
        write_extra(extra, out);
        body
    }

    fn may_show_length(&self) -> bool {
        !self.has_no_body() || self.status() == 304
    }
}

/// The fields that are not passed on as they came.
struct Anew<'a> {
    /// `None`: as it came.
    host: Option<&'a [u8]>,
    length: BodyLength,
    /// `None`: as it came.
    max_forwards: Option<u64>,
}

/// Writes what is passed on of `fields`.
fn write_fields(fields: &Fields, anew: Anew<'_>, out: &mut Vec<u8>) {
    let options = fields.connection_options();
    let mut is_framed = !matches!(anew.length, BodyLength::Length(_) | BodyLength::Chunked);
    for (name, value) in fields.iter() {
        match role_of(name) {
            Role::HopByHop => {}
            Role::Host => field(out, name, anew.host.unwrap_or(value)),
            Role::ContentLength | Role::TransferEncoding => {
                if !is_framed {
                    write_framing(name, anew.length, out);
                    is_framed = true;
                }
            }
            _ if options.iter().any(|option| option.eq_ignore_ascii_case(name)) => {}
            Role::MaxForwards => match anew.max_forwards {
                Some(hops) => field(out, name, Decimal::new(hops).as_bytes()),
                None => field(out, name, value),
            },
            Role::EndToEnd => field(out, name, value),
        }
    }
    if !is_framed {
        write_framing(b"", anew.length, out);
    }
}

/// Writes the one field that frames the body, with the name as it was spelt if it is the same field.
fn write_framing(spelt: &[u8], length: BodyLength, out: &mut Vec<u8>) {
    let spelt_or = |name: &'static [u8]| if spelt.len() == name.len() { spelt } else { name };
    match length {
        BodyLength::Length(bytes) => {
            field(out, spelt_or(b"Content-Length"), Decimal::new(bytes).as_bytes());
        }
        BodyLength::Chunked => field(out, spelt_or(b"Transfer-Encoding"), b"chunked"),
        BodyLength::Empty | BodyLength::UntilClose => {}
    }
}

fn write_extra(extra: &[(&str, &str)], out: &mut Vec<u8>) {
    for (name, value) in extra {
        debug_assert!(!value.contains(['\r', '\n', '\0']), "`{name}` is not fit for a head");
        field(out, name.as_bytes(), value.as_bytes());
    }
    out.extend_from_slice(b"\r\n");
}

fn field(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    put(out, &[name, b": ", value, b"\r\n"]);
}

fn put(out: &mut Vec<u8>, parts: &[&[u8]]) {
    for part in parts {
        out.extend_from_slice(part);
    }
}

/// A number in decimal digits, on the stack.
struct Decimal {
    digits: [u8; DIGITS_MAX],
    start: usize,
}

impl Decimal {
    fn new(mut number: u64) -> Self {
        let mut decimal = Self { digits: [b'0'; DIGITS_MAX], start: DIGITS_MAX };
        loop {
            decimal.start -= 1;
            decimal.digits[decimal.start] = b'0' + (number % 10) as u8;
            number /= 10;
            if number == 0 {
                return decimal;
            }
        }
    }

    fn as_bytes(&self) -> &[u8] {
        &self.digits[self.start..]
    }
}

/// What a TRACE does not echo.
const SECRET_FIELDS: [&str; 3] = ["Authorization", "Cookie", "Proxy-Authorization"];
/// Of `u64::MAX`.
const DIGITS_MAX: usize = 20;
/// For what is written besides the fields that came: most fields of our own fit.
const RESERVE_BYTES: usize = 256;

#[cfg(test)]
mod tests {
    use bytes::BytesMut;

    use super::*;
    use crate::http::{HeadLimits, HeadReader};

    #[track_caller]
    fn request(input: &str, form: RequestForm, extra: &[(&str, &str)], expected: &str) {
        let mut seen = BytesMut::from(input);
        let head = HeadReader::new(HeadLimits::default()).request(&mut seen).unwrap().unwrap();
        let Target::Resource(resource) = head.target() else { panic!("{head:?}") };
        let mut out = Vec::new();
        head.write(resource, form, extra, &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[track_caller]
    fn request_lines(lines: &str, expected: &str) {
        request(
            &format!("POST http://a/ HTTP/1.1\r\n{lines}\r\n"),
            RequestForm::Origin,
            &[],
            &format!("POST / HTTP/1.1\r\n{expected}\r\n"),
        );
    }

    #[track_caller]
    fn response(input: &str, method: &str, version: Version, expected: (&str, BodyLength)) {
        let mut seen = BytesMut::from(input);
        let head = HeadReader::new(HeadLimits::default()).response(&mut seen).unwrap().unwrap();
        let mut out = Vec::new();
        let body = head.write(method, version, &[], &mut out);
        assert_eq!((String::from_utf8(out).unwrap().as_str(), body), expected);
    }

    #[test]
    fn the_target_takes_the_form_that_the_next_stop_expects() {
        use RequestForm::{Absolute, Origin};
        let line = |input: &str, form, expected: &str| {
            let input = format!("{input} HTTP/1.1\r\nHost: x\r\n\r\n");
            request(&input, form, &[], &format!("{expected} HTTP/1.1\r\nHost: a:80\r\n\r\n"));
        };
        line("GET http://u:p@a:80/b?c=%20", Origin, "GET /b?c=%20");
        line("GET http://u:p@a:80/b?c=%20", Absolute, "GET http://a:80/b?c=%20");
        line("GET http://a:80", Origin, "GET /");
        line("GET http://a:80", Absolute, "GET http://a:80/");
        line("GET http://a:80?b", Origin, "GET /?b");
        line("GET ws://a:80?b", Absolute, "GET http://a:80/?b");
        line("OPTIONS http://a:80", Origin, "OPTIONS *");
        line("OPTIONS http://a:80", Absolute, "OPTIONS http://a:80");
        line("OPTIONS http://a:80/", Origin, "OPTIONS /");
        line("OPTIONS http://a:80?b", Origin, "OPTIONS /?b");
    }

    #[test]
    fn host_is_the_one_of_the_target_where_the_client_had_it() {
        request_lines("A: b\r\nhOST: other\r\nC: d\r\n", "A: b\r\nhOST: a\r\nC: d\r\n");
        request(
            "GET http://a/ HTTP/1.0\r\nA: b\r\n\r\n",
            RequestForm::Origin,
            &[],
            "GET / HTTP/1.1\r\nHost: a\r\nA: b\r\n\r\n",
        );
    }

    #[test]
    fn fields_of_the_connection_are_left_out_and_ours_come_last() {
        request(
            "GET http://a/ HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, X-Mine, Via, Host, Proxy-Authorization\r\n\
             Proxy-Connection: keep-alive\r\nKeep-Alive: 5\r\nTE: trailers\r\nUpgrade: x\r\nProxy-Authorization: Basic canary\r\n\
             x-mine: y\r\nVia: z\r\nX-Other: \u{e9}\r\nX-Other: 2\r\n\r\n",
            RequestForm::Absolute,
            &[("Proxy-Authorization", "Basic x"), ("Via", "1.1 m")],
            "GET http://a/ HTTP/1.1\r\nHost: a\r\nX-Other: \u{e9}\r\nX-Other: 2\r\n\
             Proxy-Authorization: Basic x\r\nVia: 1.1 m\r\n\r\n",
        );
    }

    #[test]
    fn framing_is_written_once_and_nothing_removes_it() {
        request_lines(
            "Host: a\r\ncontent-length: 05\r\nA: b\r\nContent-Length: 5, 5\r\nConnection: Content-Length\r\n",
            "Host: a\r\ncontent-length: 5\r\nA: b\r\n",
        );
        request_lines(
            "Host: a\r\ntransfer-encoding: CHUNKED\r\nConnection: transfer-encoding\r\nA: b\r\n",
            "Host: a\r\ntransfer-encoding: chunked\r\nA: b\r\n",
        );
        request_lines("Host: a\r\nContent-Length: 0\r\n", "Host: a\r\nContent-Length: 0\r\n");
        request_lines("Host: a\r\n", "Host: a\r\n");
    }

    #[test]
    fn max_forwards_counts_down_for_two_methods() {
        let check = |method: &str, expected: &str| {
            request(
                &format!("{method} http://a/ HTTP/1.1\r\nHost: a\r\nMax-Forwards: 10\r\n\r\n"),
                RequestForm::Origin,
                &[],
                &format!("{method} / HTTP/1.1\r\nHost: a\r\nMax-Forwards: {expected}\r\n\r\n"),
            );
        };
        check("TRACE", "9");
        check("OPTIONS", "9");
        check("GET", "10");
    }

    #[test]
    fn an_echo_shows_no_credential() {
        let mut seen = BytesMut::from(
            "TRACE http://u:canary@a/x HTTP/1.1\r\nHost: a\r\nproxy-authorization: canary\r\n\
             Authorization: canary\r\nCookie: canary\r\nMax-Forwards: 0\r\n\r\n",
        );
        let head = HeadReader::new(HeadLimits::default()).request(&mut seen).unwrap().unwrap();
        let mut out = Vec::new();
        head.write_echo(&mut out);
        let expected = "TRACE http://a/x HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\n\r\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
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
        let status = |text: &str, code: &str| text.replace("200", code);
        let none = "HTTP/1.1 200 Fine\r\n\r\n";
        response(&status(sized, "304"), "GET", Http11, (&status(once, "304"), Empty));
        response(&status(sized, "204"), "GET", Http11, (&status(none, "204"), Empty));
        response(&status(sized, "103"), "GET", Http11, (&status(none, "103"), Empty));
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
