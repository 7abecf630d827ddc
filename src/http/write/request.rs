//! Forwarding a request.

use std::fmt;

use super::fields::{RESERVE_BYTES, Rewritten, field, put, write_extra, write_fields};
use crate::http::{RequestHead, Resource};

/// The form of the target in a forwarded request (RFC 9112 §3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestForm {
    /// Origin-form, for the origin; `*` if OPTIONS concerns the origin as a whole.
    Origin,
    /// Absolute-form, for a proxy.
    Absolute,
}

impl RequestHead {
    /// Appends the head that forwards this request for `resource`, with the fields `extra` at its end.
    ///
    /// `Max-Forwards` of OPTIONS and TRACE is decremented. The names and values of `extra` must be valid in a head.
    pub fn write(
        &self,
        resource: &Resource,
        form: RequestForm,
        extra: &[(&str, &str)],
        out: &mut Vec<u8>,
    ) {
        // Room for the whole head at once, so that it costs one allocation.
        out.reserve(self.fields().byte_count() + RESERVE_BYTES);
        let method = self.method();
        put(out, &[method.as_bytes(), b" "]);
        self.target_parts(resource, form).for_each(|part| out.extend_from_slice(part));
        // The version is this proxy's own, and not the client's (RFC 9112 §2.3).
        out.extend_from_slice(b" HTTP/1.1\r\n");
        // A client of HTTP/1.0 may send no `Host`, but a request of HTTP/1.1 needs one. `Host` is
        // always made from the target: the received value could name another host (RFC 9112
        // §3.2.2).
        let has_host = self.host().is_some();
        if !has_host {
            field(out, b"Host", resource.host());
        }
        let rewritten = Rewritten {
            host: has_host.then(|| resource.host()),
            length: self.body_length(),
            max_forwards: self.max_forwards().map(|hops| hops.saturating_sub(1)),
        };
        write_fields(self.fields(), rewritten, out);
        write_extra(extra, out);
    }
}

/// The target of a request in absolute-form, as [`RequestHead::write`] writes it.
#[derive(Clone, Copy, Debug)]
pub struct AbsoluteTarget<'a>(pub &'a RequestHead, pub &'a Resource);

impl fmt::Display for AbsoluteTarget<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(head, resource) = self;
        head.target_parts(resource, RequestForm::Absolute)
            .try_for_each(|part| f.write_str(&String::from_utf8_lossy(part)))
    }
}

impl RequestHead {
    /// Returns the parts of the target in `form`.
    fn target_parts<'a>(
        &self,
        resource: &'a Resource,
        form: RequestForm,
    ) -> impl Iterator<Item = &'a [u8]> {
        let is_about_origin = self.method() == "OPTIONS" && resource.is_whole_origin();
        let (scheme, host): (&[u8], _) = match form {
            RequestForm::Origin => (b"", &b""[..]),
            RequestForm::Absolute => (b"http://", resource.host()),
        };
        // The last proxy sends `*`, the ones before it an empty path (RFC 9112 §3.2.4).
        let asterisk: &[u8] =
            if is_about_origin && form == RequestForm::Origin { b"*" } else { b"" };
        let path = resource.path().filter(move |_| !is_about_origin);
        [scheme, host, asterisk].into_iter().chain(path)
    }
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;

    use super::*;
    use crate::http::{HeadLimits, HeadReader, Target};

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

    #[test]
    fn the_target_has_the_form_that_the_next_stop_expects() {
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
    fn host_takes_the_value_of_the_target_and_keeps_its_place() {
        request_lines("A: b\r\nhOST: other\r\nC: d\r\n", "A: b\r\nhOST: a\r\nC: d\r\n");
        request(
            "GET http://a/ HTTP/1.0\r\nA: b\r\n\r\n",
            RequestForm::Origin,
            &[],
            "GET / HTTP/1.1\r\nHost: a\r\nA: b\r\n\r\n",
        );
    }

    #[test]
    fn hop_by_hop_fields_are_removed_and_ours_come_last() {
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
    fn framing_is_written_exactly_once() {
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
    fn connection_options_cannot_remove_host_or_framing() {
        let all = "Connection: host, content-length, transfer-encoding, A\r\n";
        request_lines(
            &format!("{all}Host: a\r\nContent-Length: 5\r\nA: b\r\n"),
            "Host: a\r\nContent-Length: 5\r\n",
        );
        request_lines(
            &format!("Host: a\r\nTransfer-Encoding: chunked\r\nA: b\r\n{all}"),
            "Host: a\r\nTransfer-Encoding: chunked\r\n",
        );
        request(
            "GET http://a/ HTTP/1.0\r\nConnection: Host\r\n\r\n",
            RequestForm::Origin,
            &[],
            "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        );
    }

    #[test]
    fn max_forwards_is_decremented_for_options_and_trace_only() {
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
}
