use bytes::BytesMut;
use mooltiroute_hops::InvalidAuthority;

use super::*;
use crate::http::{HeadLimits, HeadReader};

const LIMITS: HeadLimits = HeadLimits { bytes: 300, fields: 5 };

/// Reads one head from `step` bytes at a time, and returns it with the bytes left over.
fn read(input: &[u8], step: usize) -> Result<Option<(RequestHead, BytesMut)>, BadRequest> {
    let (mut reader, mut seen) = (HeadReader::new(LIMITS), BytesMut::new());
    for part in input.chunks(step) {
        seen.extend_from_slice(part);
        if let Some(head) = reader.request(&mut seen)? {
            return Ok(Some((head, seen)));
        }
    }
    Ok(None)
}

#[track_caller]
fn parse(input: &str) -> RequestHead {
    let input = input.as_bytes();
    for after in ["", "GET ", "\0\r\n\r\n"] {
        let (_, left) = read(&[input, after.as_bytes()].concat(), usize::MAX).unwrap().unwrap();
        assert_eq!(left, after);
    }
    let (head, left) = read(input, 1).unwrap().unwrap();
    assert_eq!(left, "");
    head
}

#[track_caller]
fn refused(input: impl AsRef<[u8]>, expected: BadRequest) {
    for step in [1, 7, usize::MAX] {
        let got = read(input.as_ref(), step).map(|head| head.map(|(head, _)| head));
        let input = String::from_utf8_lossy(input.as_ref());
        assert_eq!(got.expect_err(&input), expected, "{input:?} by {step}");
    }
}

/// Expects a request with the fields `lines` to be refused.
#[track_caller]
fn refused_with(lines: &str, expected: BadRequest) {
    refused(format!("POST http://a/ HTTP/1.1\r\nHost: a\r\n{lines}\r\n"), expected);
}

#[track_caller]
fn length(version: &str, lines: &str, expected: BodyLength) {
    let head = parse(&format!("POST http://a/ HTTP/{version}\r\nHost: a\r\n{lines}\r\n"));
    assert_eq!(head.body_length(), expected, "{lines:?}");
}

#[test]
fn order_case_repetition_and_bytes_are_kept() {
    let input = b"PoST http://a/x HTTP/1.1\r\nhOst:a\r\nX:\t1 2 \r\nx:\r\nX: \xff,\xc3\xa9\r\n\r\n";
    let (head, left) = read(input, 1).unwrap().unwrap();
    assert_eq!(head.method(), "PoST");
    assert_eq!(head.version(), Version::Http11);
    let fields: Vec<(&[u8], &[u8])> = head.fields().iter().collect();
    let expected: [(&[u8], &[u8]); 4] =
        [(b"hOst", b"a"), (b"X", b"1 2"), (b"x", b""), (b"X", b"\xff,\xc3\xa9")];
    assert_eq!(fields, expected);
    assert!(left.is_empty());
}

#[test]
fn a_few_empty_lines_before_a_request_are_skipped() {
    assert_eq!(parse("\r\n\r\nGET / HTTP/1.0\r\n\r\n").version(), Version::Http10);
    refused("\r\n".repeat(9), BadRequest::EmptyLines);
}

#[test]
fn requests_on_one_connection_are_read_in_turn() {
    let mut seen = BytesMut::from(
        "GET /1 HTTP/1.0\r\n\r\nGET /2 HTTP/1.0\r\nA: b\r\n\r\n\r\nGET /3 HTTP/1.0\r\n\r\nGE",
    );
    let mut reader = HeadReader::new(LIMITS);
    for path in ["/1", "/2", "/3"] {
        let head = reader.request(&mut seen).unwrap().unwrap();
        assert_eq!(*head.target(), Target::Origin(path.into()));
    }
    assert!(reader.request(&mut seen).unwrap().is_none());
    assert_eq!(seen, "GE");
}

#[test]
fn other_protocols_are_recognised() {
    refused(b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03", BadRequest::Tls);
    refused(b"\x05\x01\0", BadRequest::Socks(5));
    refused(b"\x04\x01\0\x50\x7f\0\0\x01\0", BadRequest::Socks(4));
    refused("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", BadRequest::Http2);
    refused("PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\nGET / ", BadRequest::ProxyProtocol);
    refused("PROXY TCP6 ::1 ::1 1 2\r\n", BadRequest::ProxyProtocol);
    refused("PROXY UNKNOWN\r\n", BadRequest::ProxyProtocol);
    refused(b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c", BadRequest::ProxyProtocol);
    refused("PROXY UDP4 a b\r\n", BadRequest::RequestLine);
    refused(b"\r\n\0\r\nQUIT\n", BadRequest::RequestLine);
    refused("GET /\r\n", BadRequest::NoVersion);
    refused("GET / HTTP/2.0\r\n\r\n", BadRequest::Version);
    refused("GET / HTTP/1.2\r\n\r\n", BadRequest::Version);
    refused("GET / HTTP/0.9\r\n\r\n", BadRequest::Version);
    refused("SSH-2.0-OpenSSH_9.6\r\n", BadRequest::RequestLine);
    refused("hello there\r\n", BadRequest::RequestLine);
}

#[test]
fn a_broken_request_line_is_refused() {
    for line in [
        "GET / http/1.1\r\n\r\n",
        "GET / HTTP/1.1 \r\n\r\n",
        "GET  / HTTP/1.1\r\n\r\n",
        "GET /  HTTP/1.1\r\n\r\n",
        "GET\t/ HTTP/1.1\r\n\r\n",
        " GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/11\r\n\r\n",
        "GET / HTTP/1.1\rX\r\n\r\n",
        "GE(T / HTTP/1.1\r\n\r\n",
        "\0\r\n\r\n",
        "\rGET / HTTP/1.1\r\n\r\n",
    ] {
        refused(line, BadRequest::RequestLine);
    }
}

#[test]
fn a_byte_that_no_url_has_is_named() {
    for (target, byte) in [
        (&b"http://a/b\xfcc"[..], 0xfc),
        (b"http://a/\xc3\xbc?\xff\xfe", 0xff),
        (b"http://a?\x80", 0x80),
        (b"/\xe9t\xe9", 0xe9),
        (b"http://a/b\x01", 1),
        (b"/\0", 0),
        (b"/\x7f", 0x7f),
        (b"http://a/b c", b' '),
        (b"http://a/b c d\xfc", b' '),
        (b"/ x", b' '),
    ] {
        let line = [b"GET ", target, b" HTTP/1.1\r\nHost: a\r\n\r\n"].concat();
        refused_whole(&line, BadRequest::TargetByte(byte));
    }
    let host = BadRequest::Authority(InvalidAuthority::InvalidName);
    refused_whole(b"GET http://b\xfccher.example/ HTTP/1.1\r\nHost: a\r\n\r\n", host);
    let text = BadRequest::TargetByte(0xfc).to_string();
    assert_eq!(
        text,
        "the URL in the first line has the byte 0xFC, which is not UTF-8; the client has to percent-encode it, as `%FC`"
    );
    assert_eq!(BadRequest::TargetByte(0xfc).status(), 400);
}

/// Checks a refusal that depends on the whole line.
#[track_caller]
fn refused_whole(input: &[u8], expected: BadRequest) {
    for step in [1, input.len()] {
        let refused = read(input, step).map(|head| head.map(|(head, _)| head)).unwrap_err();
        assert_eq!(refused, expected, "{} by {step}", input.escape_ascii());
    }
}

#[test]
fn a_bare_lf_is_refused_everywhere() {
    refused("\nGET / HTTP/1.0\r\n\r\n", BadRequest::BareLf);
    refused("\r\n\n\n\r\nGET / HTTP/1.0\r\n\r\n", BadRequest::BareLf);
    refused("GET / HTTP/1.0\n\n", BadRequest::BareLf);
    refused("GET / HTTP/1.0\n\r\n", BadRequest::BareLf);
    refused("GET / HTTP/1.0\r\n\n", BadRequest::BareLf);
    refused("GET / HTTP/1.0\r\nA: b\n\r\n", BadRequest::BareLf);
    refused("GET / HTTP/1.0\r\nA: b\r\n\n", BadRequest::BareLf);
    refused("GET / HTTP/1.0\r\nA: b\nC: d\r\n\r\n", BadRequest::BareLf);
    refused("GET / HTTP/1.0\nA: b\r\nC: d\r\n\r\n", BadRequest::BareLf);
    refused("GET / HTTP/1.0\r\nA:\nC: d\r\n\r\n", BadRequest::BareLf);
}

#[test]
fn a_broken_field_line_is_refused() {
    let name =
        BadRequest::FieldLine("has no colon, no name, or white space before the name or the colon");
    refused_with("A : b\r\n", name);
    refused_with("A\r\n", name);
    refused_with(": b\r\n", name);
    refused_with("A: b\r\n c\r\n", name);
    refused_with("A: b\r\n\tc\r\n", name);
    refused_with("A\0: b\r\n", name);
    refused_with("A b: c\r\n", name);
    refused("GET / HTTP/1.1\r\n Host: a\r\n\r\n", name);
    let value = BadRequest::FieldLine("has a control character or a bare CR in its value");
    refused_with("A: b\0c\r\n", value);
    refused_with("A: b\rc\r\n", value);
    refused_with("A: \x0b\r\n", value);
    refused_with("A: b\x7f\r\n", value);
}

#[test]
fn a_request_has_one_valid_host() {
    refused("GET / HTTP/1.1\r\n\r\n", BadRequest::MissingHost);
    refused("CONNECT a:1 HTTP/1.1\r\n\r\n", BadRequest::MissingHost);
    refused_with("hOST: a\r\n", BadRequest::SeveralHosts);
    refused("GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n", BadRequest::SeveralHosts);
    refused("GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", BadRequest::InvalidHost);
    refused("GET http://a/ HTTP/1.1\r\nHost: u@a\r\n\r\n", BadRequest::InvalidHost);
    assert_eq!(parse("GET / HTTP/1.1\r\nHost:\r\n\r\n").host(), Some(&b""[..]));
    assert_eq!(parse("GET / HTTP/1.0\r\n\r\n").host(), None);
}

#[test]
fn heads_over_the_limits_are_refused() {
    refused(format!("GET /{}", "a".repeat(300)), BadRequest::TargetTooLong { limit: 300 });
    refused(
        format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(300)),
        BadRequest::TargetTooLong { limit: 300 },
    );
    refused_with(&format!("A: {}\r\n", "a".repeat(300)), BadRequest::HeadTooLarge { limit: 300 });
    refused_with(&"A: b\r\n".repeat(5), BadRequest::TooManyFields { limit: 5 });
    parse(&format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "A: b\r\n".repeat(4)));
    parse(&format!("GET / HTTP/1.0\r\nConnection:{}\r\n\r\n", " a,".repeat(64)));
    let options = format!("Connection:{}\r\nconnection:, b\r\n", " a,".repeat(64));
    refused_with(&options, BadRequest::TooManyOptions);
    let head = "GET / HTTP/1.0\r\nA: \r\n\r\n";
    parse(&head.replace("A: ", &format!("A: {}", "a".repeat(300 - head.len()))));
    let long = head.replace("A: ", &format!("A: {}", "a".repeat(301 - head.len())));
    refused(long, BadRequest::HeadTooLarge { limit: 300 });
}

#[test]
fn the_body_length_follows_the_fields() {
    length("1.1", "", BodyLength::Empty);
    length("1.1", "Content-Length: 0\r\n", BodyLength::Length(0));
    length("1.0", "content-length:  007\t\r\n", BodyLength::Length(7));
    length("1.1", "Content-Length: 5\r\nContent-Length: 5, 5\r\n", BodyLength::Length(5));
    length("1.1", "Content-Length: 18446744073709551615\r\n", BodyLength::Length(u64::MAX));
    length("1.1", "Transfer-Encoding: chunked\r\n", BodyLength::Chunked);
    length("1.1", "transfer-encoding: Chunked \r\n", BodyLength::Chunked);
    let head = parse("CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(head.body_length(), BodyLength::Empty);
}

#[test]
fn an_unclear_body_length_is_refused() {
    let number = BadRequest::Framing("`Content-Length` is not a number");
    for value in ["", "+1", "-1", "1 2", "0x10", "1.0", "18446744073709551616", "5,", ",5", "\"5\""]
    {
        refused_with(&format!("Content-Length: {value}\r\n"), number);
    }
    let differ = BadRequest::Framing("`Content-Length` has different values");
    refused_with("Content-Length: 5, 6\r\n", differ);
    refused_with("Content-Length: 5\r\nContent-Length: 6\r\n", differ);
    refused_with(
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        BadRequest::Framing("the head has both `Content-Length` and `Transfer-Encoding`"),
    );
    let coding = BadRequest::Framing("`Transfer-Encoding` does not end in one `chunked`");
    for value in ["", "gzip", "identity", "chunked, gzip", "xchunked", "chunked;q=1", "chunked,"] {
        refused_with(&format!("Transfer-Encoding: {value}\r\n"), coding);
    }
    let again = BadRequest::Framing(
        "`Transfer-Encoding` names `chunked` more than once, which HTTP forbids (RFC 9112 §6.1)",
    );
    refused_with("Transfer-Encoding: chunked, chunked\r\n", again);
    refused_with("Transfer-Encoding: Chunked\r\nTransfer-Encoding: chunked\r\n", again);
    refused_with("Transfer-Encoding: gzip, chunked\r\n", BadRequest::UnknownCoding);
    refused_with(
        "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n",
        BadRequest::UnknownCoding,
    );
    refused(
        "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
        BadRequest::Framing("an HTTP/1.0 message has `Transfer-Encoding`"),
    );
    let connect = BadRequest::Framing("CONNECT has no body, but a field announces one");
    refused("CONNECT a:1 HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n", connect);
    refused("CONNECT a:1 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", connect);
}

#[test]
fn connection_options_of_the_client_are_read() {
    let with = |lines: &str| parse(&format!("GET http://a/ HTTP/1.1\r\nHost: a\r\n{lines}\r\n"));
    assert!(with("").wants_keep_alive());
    assert!(with("Connection: x, keep-alive\r\n").wants_keep_alive());
    assert!(!with("Connection: x\r\nconnection: y,CLOSE ,\r\n").wants_keep_alive());
    assert!(!with("Proxy-Connection: close\r\n").wants_keep_alive());
    assert!(!parse("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").wants_keep_alive());

    assert!(with("Expect: 100-Continue\r\n").expects_continue());
    assert!(!with("").expects_continue());
    assert!(!parse("PUT / HTTP/1.0\r\nExpect: 100-continue\r\n\r\n").expects_continue());
    assert!(with("TE: trailers, deflate;q=0.5\r\n").accepts_trailers());

    let upgrade = |lines| with(lines).upgrade();
    assert_eq!(upgrade("Connection: Upgrade\r\nUpgrade: websocket\r\n").unwrap(), "websocket");
    assert_eq!(upgrade("Connection: upgrade\r\nUpgrade: h2c, a/1\r\n").unwrap(), "a/1");
    assert_eq!(upgrade("Connection: upgrade\r\nUpgrade: h2c\r\n"), None);
    assert_eq!(upgrade("Upgrade: websocket\r\n"), None);
}

#[test]
fn max_forwards_is_read_for_options_and_trace_only() {
    let count = |method: &str, value: &str| {
        parse(&format!("{method} / HTTP/1.0\r\nMax-Forwards: {value}\r\n\r\n")).max_forwards()
    };
    assert_eq!(count("TRACE", "0"), Some(0));
    assert_eq!(count("OPTIONS", "12"), Some(12));
    assert_eq!(count("GET", "12"), None);
    assert_eq!(count("TRACE", "x"), None);
}

#[test]
fn debug_shows_no_value() {
    let head =
        parse("GET http://u:canary@a/canary?canary HTTP/1.1\r\nHost: a\r\nCookie: canary\r\n\r\n");
    assert!(!format!("{head:?}").contains("canary"), "{head:?}");
}
