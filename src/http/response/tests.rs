//! Tests of heads of responses.

use bytes::BytesMut;

use super::*;
use crate::http::{HeadLimits, HeadReader};

const LIMITS: HeadLimits = HeadLimits { bytes: 300, fields: 5 };

/// Reads one head from `step` bytes at a time, and returns it with the bytes left over.
fn read(
    method: &str,
    input: &[u8],
    step: usize,
) -> Result<Option<(ResponseHead, BytesMut)>, BadResponse> {
    let (mut reader, mut seen) = (HeadReader::new(LIMITS), BytesMut::new());
    for part in input.chunks(step) {
        seen.extend_from_slice(part);
        if let Some(head) = reader.response(method, &mut seen)? {
            return Ok(Some((head, seen)));
        }
    }
    Ok(None)
}

#[track_caller]
fn parse(input: &str) -> ResponseHead {
    parse_for("GET", input)
}

#[track_caller]
fn parse_for(method: &str, input: &str) -> ResponseHead {
    for after in ["", "HTTP/1.1 200 OK\r\n\r\n", "\0"] {
        let (_, left) =
            read(method, &[input, after].concat().into_bytes(), usize::MAX).unwrap().unwrap();
        assert_eq!(left, after);
    }
    let (head, left) = read(method, input.as_bytes(), 1).unwrap().unwrap();
    assert_eq!(left, "");
    head
}

#[track_caller]
fn refused(input: impl AsRef<[u8]>, expected: BadResponse) {
    for step in [1, 7, usize::MAX] {
        let got = read("GET", input.as_ref(), step).map(|head| head.map(|(head, _)| head));
        let input = String::from_utf8_lossy(input.as_ref());
        assert_eq!(got.expect_err(&input), expected, "{input:?} by {step}");
    }
}

#[track_caller]
fn length(method: &str, head: &str, expected: BodyLength) {
    assert_eq!(parse_for(method, head).body_length(), expected, "{method} {head:?}");
}

#[test]
fn the_status_line_is_parsed() {
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
    assert_eq!(head.body_length(), BodyLength::Length(1));
}

#[test]
fn a_mended_head_reads_as_a_strict_one() {
    let head =
        parse("http/1.4\t200  Oh\u{1}K\r\n X: y\r\njunk\nA : b\r\n c\r\nContent-Length : 5\n\r\n");
    assert_eq!((head.status(), head.version()), (200, Version::Http11));
    assert_eq!(head.reason(), b" Oh K");
    let fields: Vec<_> = head.fields().iter().collect();
    assert_eq!(fields, [(&b"A"[..], &b"b c"[..]), (b"Content-Length", b"5")]);
    assert_eq!(head.body_length(), BodyLength::Length(5));
    assert!(head.keeps_alive());
}

#[test]
fn a_bare_cr_and_a_later_version_are_mended_and_the_connection_is_not_used_again() {
    let check = |text: &str, values: &[&str]| {
        let head = parse(text);
        let found: Vec<_> = head.fields().iter().map(|(_, value)| value).collect();
        assert_eq!(found, values.iter().map(|value| value.as_bytes()).collect::<Vec<_>>());
        assert_eq!(head.body_length(), BodyLength::Length(5));
        assert!(head.has_doubtful_length() && !head.keeps_alive(), "{text:?}");
    };
    check("HTTP/1.1 200 OK\r\nA: b\r\r\nContent-Length: 5\r\n\r\n", &["b", "5"]);
    check("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nA: b\rc\r\n\r\n", &["5", "b c"]);
    check("HTTP/2.0 200 OK\r\nContent-Length: 5\r\n\r\n", &["5"]);
    check("HTTP/1.1 200 OK\r\r\nContent-Length: 5\r\n\r\n", &["5"]);
}

#[test]
fn bytes_of_other_protocols_are_refused() {
    refused("SSH-2.0-x\r\n", BadResponse::NotHttp);
    refused("\r\nHTTP/1.1 200 OK\r\n\r\n", BadResponse::NotHttp);
    refused(b"\x15\x03\x01\0\x02\x02", BadResponse::NotHttp);
    refused("HTTP/0.9 200 OK\r\n\r\n", BadResponse::NotHttp);
    refused("HTTP/4.0 200 OK\r\n\r\n", BadResponse::NotHttp);
    refused("HTTP/1.10 200 OK\r\n\r\n", BadResponse::NotHttp);
    refused("ICY 200 OK\r\n\r\n", BadResponse::NotHttp);
    for line in ["HTTP/1.1 2000 OK", "HTTP/1.1 20 OK", "HTTP/1.1 099 OK", "HTTP/1.1 200OK"] {
        refused(format!("{line}\r\n\r\n"), BadResponse::StatusLine);
    }
    refused("HTTP/1.1 200 O\0K\r\n\r\n", BadResponse::StatusLine);
    refused("HTTP/1.1 200 OK\rConnection: close\r\n\r\n", BadResponse::StatusLine);
}

#[test]
fn a_field_line_with_two_readings_is_refused() {
    let dangerous = BadResponse::FieldLine("has NUL or a bare CR");
    let unclear = BadResponse::FieldLine("is broken and may be about the length of the body");
    for (line, expected) in [
        ("A: b\0", dangerous),
        ("A\r: b", dangerous),
        ("A: b\rContent-Length: 5", dangerous),
        ("Content-Length: 5\r", dangerous),
        ("Transfer-Encoding: chunked\r", dangerous),
        ("Connection: close\r", dangerous),
        ("\r", dangerous),
        (" Content-Length: 5", unclear),
        ("Content-Length:\r\n 5", unclear),
        ("Content-Length: 5\r\n \r\n 5", unclear),
        ("Content-Length: 5\r\n \u{b}", unclear),
        ("Transfer-Encoding: x,\r\n \r\n chunked", unclear),
        ("Transfer Encoding: chunked", unclear),
    ] {
        refused(format!("HTTP/1.1 200 OK\r\n{line}\r\n\r\n"), expected);
    }
}

#[test]
fn heads_over_the_limits_are_refused() {
    let large = BadResponse::HeadTooLarge { limit: 300 };
    refused(format!("HTTP/1.1 200 {}", "a".repeat(300)), large);
    for name in ["A", "A "] {
        let long = format!("HTTP/1.1 200 OK\r\n{name}: {}\r\n\r\n", "a".repeat(300));
        refused(long, large);
        let head =
            |count| format!("HTTP/1.1 200 OK\r\n{}\r\n", format!("{name}: b\r\n").repeat(count));
        refused(head(6), BadResponse::TooManyFields { limit: 5 });
        assert_eq!(parse(&head(5)).fields().len(), 5);
    }
    let options = |count| format!("HTTP/1.1 200 OK\r\nConnection:{}\r\n\r\n", " a,".repeat(count));
    parse(&options(64));
    refused(options(65), BadResponse::TooManyOptions);
}

#[test]
fn more_fields_than_usual_are_read_if_the_limits_allow() {
    for name in ["A", "A "] {
        for count in [63, 64, 65, 500] {
            let input =
                format!("HTTP/1.1 200 OK\r\n{}\r\n", format!("{name}: b\r\n").repeat(count));
            let mut seen = BytesMut::from(&*input);
            let head = HeadReader::new(HeadLimits::default()).response("GET", &mut seen).unwrap();
            assert_eq!(head.unwrap().fields().len(), count);
        }
    }
}

#[test]
fn the_body_length_follows_status_method_and_fields() {
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
fn transfer_codings_that_change_nothing_are_ignored() {
    let check = |lines: &str, expected, keeps_alive| {
        for version in ["1.0", "1.1"] {
            let head =
                format!("HTTP/{version} 200 OK\r\nConnection: keep-alive\r\n{lines}\r\n\r\n");
            length("GET", &head, expected);
            // No coding belongs in HTTP/1.0, so none is trusted there.
            let keeps_alive = keeps_alive && version == "1.1";
            assert_eq!(parse(&head).keeps_alive(), keeps_alive, "{head:?}");
        }
    };
    check("Transfer-Encoding: identity", BodyLength::UntilClose, true);
    check("Transfer-Encoding:", BodyLength::UntilClose, true);
    check("Transfer-Encoding: Identity\r\nContent-Length: 5", BodyLength::Length(5), false);
    check("Transfer-Encoding: identity, chunked", BodyLength::Chunked, true);
    check("Transfer-Encoding: ,chunked,", BodyLength::Chunked, true);
    check("Content-Length: 9\r\nTransfer-Encoding: chunked", BodyLength::Chunked, false);
    check("Transfer-Encoding: chunked\r\nContent-Length: 9, 9", BodyLength::Chunked, false);
    for value in ["5, 6", "5\r\nContent-Length: 6", "x", "-1", "", ","] {
        let lines = format!("Content-Length: {value}\r\nTransfer-Encoding: chunked");
        check(&lines, BodyLength::Chunked, false);
    }
}

#[test]
fn empty_elements_and_blank_continuations_change_no_length() {
    for value in ["5,", ",5", "5,,5", " , 5 ,\r\nContent-Length: 5", "5\r\n ", "5\r\n\t \r\n "] {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {value}\r\nA: b\r\n\r\n");
        length("GET", &head, BodyLength::Length(5));
        assert!(parse(&head).keeps_alive(), "{head:?}");
    }
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n \r\n\r\n";
    length("GET", chunked, BodyLength::Chunked);
}

#[test]
fn a_response_without_a_body_needs_no_clear_length() {
    for lines in [
        "Content-Length: 5\r\nContent-Length: 6",
        "Content-Length: 5, 6",
        "Content-Length: x",
        "Content-Length:",
        "Transfer-Encoding: gzip",
        "Transfer-Encoding: gzip\r\nContent-Length: 5",
        "Transfer-Encoding: chunked, gzip",
        "Transfer-Encoding: chunked, chunked",
        "Transfer-Encoding: ,\r\nContent-Length: 5",
        "Transfer-Encoding: chunked\r\nContent-Length: 5",
    ] {
        for (method, status) in [
            ("GET", 304),
            ("GET", 204),
            ("GET", 103),
            ("GET", 101),
            ("HEAD", 200),
            ("CONNECT", 200),
        ] {
            let head = format!("HTTP/1.1 {status} x\r\n{lines}\r\n\r\n");
            length(method, &head, BodyLength::Empty);
            let head = parse_for(method, &head);
            assert!(!head.keeps_alive() && head.has_doubtful_length(), "{method} {head:?}");
            assert_eq!(head.shown_length(), None, "{method} {head:?}");
        }
    }
}

#[test]
fn a_status_without_a_body_that_announces_one_is_doubtful() {
    for (status, lines, expected) in [
        (204, "A: b", false),
        (204, "Content-Length: 0", false),
        (204, "Content-Length: 5", true),
        (204, "Transfer-Encoding: chunked", true),
        (100, "Content-Length: 5", true),
        // The length, or the coding, is that of the answer to a GET.
        (304, "Content-Length: 5", false),
        (304, "Transfer-Encoding: chunked", false),
    ] {
        let head = parse(&format!("HTTP/1.1 {status} x\r\n{lines}\r\n\r\n"));
        assert_eq!(head.has_doubtful_length(), expected, "{status} {lines}");
    }
}

#[test]
fn an_unclear_body_length_is_refused() {
    let with = |lines: &str| format!("HTTP/1.1 200 OK\r\n{lines}\r\n\r\n");
    let last = BadResponse::Framing("`Transfer-Encoding` does not end in one `chunked`");
    let again = BadResponse::Framing(
        "`Transfer-Encoding` names `chunked` more than once, which HTTP forbids (RFC 9112 §6.1)",
    );
    let differ = BadResponse::Framing("`Content-Length` has different values");
    for (lines, expected) in [
        ("Content-Length: 5\r\nContent-Length: 6", differ),
        ("Content-Length: 5, 6,", differ),
        ("Content-Length: 5,\r\nContent-Length: 6", differ),
        ("Content-Length: x", BadResponse::Framing("`Content-Length` is not a number")),
        ("Content-Length: x,", BadResponse::Framing("`Content-Length` is not a number")),
        ("Content-Length: ,", BadResponse::Framing("`Content-Length` is not a number")),
        (
            "Content-Length: 5\r\nContent-Length:",
            BadResponse::Framing("`Content-Length` is not a number"),
        ),
        (
            "Content-Length: x\r\nTransfer-Encoding: identity",
            BadResponse::Framing("`Content-Length` is not a number"),
        ),
        ("Content-Length:", BadResponse::Framing("`Content-Length` is not a number")),
        ("Transfer-Encoding: gzip, chunked", BadResponse::UnknownCoding),
        ("Transfer-Encoding: gzip", BadResponse::UnknownCoding),
        ("Transfer-Encoding: chunked;q=1", BadResponse::UnknownCoding),
        ("Transfer-Encoding: chunked, gzip", last),
        ("Transfer-Encoding: chunked, identity", last),
        ("Transfer-Encoding: chunked, chunked", again),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", again),
        ("Transfer-Encoding: chunked, gzip, Chunked", again),
        (
            "Transfer-Encoding: ,\r\nContent-Length: 5",
            BadResponse::Framing("`Transfer-Encoding` is empty and `Content-Length` is not"),
        ),
    ] {
        for version in ["1.1", "1.0"] {
            refused(with(lines).replace("1.1", version), expected);
        }
    }
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
fn interim_responses_are_1xx_except_101() {
    let is_interim = |status| parse(&format!("HTTP/1.1 {status} x\r\n\r\n")).is_interim();
    assert!(is_interim(100) && is_interim(103) && !is_interim(101) && !is_interim(200));
}
