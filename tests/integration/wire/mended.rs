//! Answers that break the grammar and have one reading only: the client receives that reading, written strictly.

use super::{answer, direct, told};
use crate::support::{Proxy, Step};

const GET: &str = "GET http://{o}/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
const KEEP: &str = "GET http://{o}/ HTTP/1.1\r\nHost: x\r\n\r\n";
const OLD: &str = "GET http://{o}/ HTTP/1.0\r\n\r\n";
const LENGTH: &str = "Content-Length: 2\r\n";
const CHUNKS: &str = "2\r\nok\r\n0\r\n\r\n";

#[tokio::test]
async fn broken_field_lines_are_mended() {
    let proxy = direct().await;
    for (sent, passed) in [
        ("X-XSS-Protection : 1\r\n", "X-XSS-Protection: 1\r\n"),
        ("X-XSS-Protection\t: 1\r\n", "X-XSS-Protection: 1\r\n"),
        ("A \t : b\r\n", "A: b\r\n"),
        ("A: b\r\n c\r\n\td\r\n", "A: b c d\r\n"),
        ("A: b\r\n \r\n", "A: b\r\n"),
        ("A:\r\n b\r\n", "A: b\r\n"),
        ("  Skipped: b\r\nA: b\r\n", "A: b\r\n"),
        ("no colon\r\nA: b\r\n", "A: b\r\n"),
        ("no colon\r\n and: more\r\nA: b\r\n", "A: b\r\n"),
        ("HTTP/1.1 200 OK\r\nA: b\r\n", "A: b\r\n"),
        (": b\r\nA: b\r\n", "A: b\r\n"),
        ("A b: c\r\nA: b\r\n", "A: b\r\n"),
        ("A: b\u{1}c\u{7f}d\r\n", "A: b c d\r\n"),
        ("A: b\r\r\n", "A: b\r\n"),
        ("A: b\rc\r\n", "A: b c\r\n"),
        ("A: b\r\r\r\nC: d\rSet-Cookie: e\r\n", "A: b\r\nC: d Set-Cookie: e\r\n"),
        ("A : b\nC: \u{e9}\n", "A: b\r\nC: \u{e9}\r\n"),
    ] {
        let sent = format!("HTTP/1.1 200 OK\r\n{sent}{LENGTH}\r\nok");
        let passed = format!("HTTP/1.1 200 OK\r\n{passed}{LENGTH}Connection: close\r\n\r\nok");
        check(&proxy, GET, &sent, &passed).await;
    }
    let interim = "HTTP/1.1 103 Hints\r\nLink : </a>\r\njunk\r\n\r\n";
    let last = "HTTP/1.1 204 None\r\nConnection: close\r\n\r\n";
    let passed = format!("HTTP/1.1 103 Hints\r\nLink: </a>\r\n\r\n{last}");
    check(&proxy, GET, &format!("{interim}{last}"), &passed).await;
}

#[tokio::test]
async fn other_spellings_of_the_status_line_are_mended() {
    let proxy = direct().await;
    for (sent, passed) in [
        ("http/1.1 200 OK", "200 OK"),
        ("HTTP/1.2 200 OK", "200 OK"),
        ("HTTP/1.9 200 OK", "200 OK"),
        ("HTTP/2.0 200 OK", "200 OK"),
        ("HTTP/2 200", "200 "),
        ("HTTP/1.1  200 OK", "200 OK"),
        ("HTTP/1.1\t200\tOK", "200 OK"),
        ("HTTP/1.0 \t 200", "200 "),
        ("HTTP/1.1 200", "200 "),
        ("HTTP/1.1 200 O\u{1}K", "200 O K"),
        ("HTTP/1.1 200 O\rK", "200 O K"),
    ] {
        let sent = format!("{sent}\r\n{LENGTH}\r\nok");
        let passed = format!("HTTP/1.1 {passed}\r\n{LENGTH}Connection: close\r\n\r\nok");
        check(&proxy, GET, &sent, &passed).await;
    }
}

#[tokio::test]
async fn fields_that_frame_the_body_twice_are_reduced_to_one() {
    let proxy = direct().await;
    let chunked = "Transfer-Encoding: chunked\r\n";
    for (request, sent, passed, body) in [
        (GET, "Content-Length : 2\r\n\r\nokGARBAGE", LENGTH, "ok"),
        (GET, "Content-Length: 2\r\nContent-Length: 2\r\n\r\nokGARBAGE", LENGTH, "ok"),
        (GET, "Transfer-Encoding: identity\r\nContent-Length: 2\r\n\r\nok", LENGTH, "ok"),
        (GET, "Content-Length: 2\r\nTransfer-Encoding: Identity\r\n\r\nok", LENGTH, "ok"),
        (GET, "Transfer-Encoding: identity\r\n\r\nok", chunked, CHUNKS),
        (GET, "Transfer-Encoding:\r\n\r\nok", chunked, CHUNKS),
        (OLD, "Transfer-Encoding: identity\r\n\r\nok", "", "ok"),
        (GET, "Transfer-Encoding: identity, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", chunked, CHUNKS),
        (GET, "Transfer-Encoding: chunked,\r\n\r\n2\r\nok\r\n0\r\n\r\n", chunked, CHUNKS),
        (GET, "Transfer-Encoding : chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", chunked, CHUNKS),
        (
            GET,
            "Transfer-Encoding: chunked\r\nContent-Length: 24530\r\n\r\n2\r\nok\r\n0\r\n\r\n",
            chunked,
            CHUNKS,
        ),
        (
            OLD,
            "Transfer-Encoding: chunked\r\nContent-Length: 24530\r\n\r\n2\r\nok\r\n0\r\n\r\n",
            "",
            "ok",
        ),
        (GET, "Content-Length: 2,\r\n\r\nokGARBAGE", LENGTH, "ok"),
        (GET, "Content-Length: ,2,,2\r\n\r\nokGARBAGE", LENGTH, "ok"),
        (GET, "Content-Length: 2\r\n \r\n\r\nokGARBAGE", LENGTH, "ok"),
        (GET, "Transfer-Encoding: chunked\r\n\t\r\n\r\n2\r\nok\r\n0\r\n\r\n", chunked, CHUNKS),
    ] {
        let sent = format!("HTTP/1.1 200 OK\r\n{sent}");
        let passed = format!("HTTP/1.1 200 OK\r\n{passed}Connection: close\r\n\r\n{body}");
        check(&proxy, request, &sent, &passed).await;
    }
}

#[tokio::test]
async fn chunks_win_over_any_length_and_in_any_version() {
    let proxy = direct().await;
    let chunked = "Transfer-Encoding: chunked\r\n";
    for (version, fields) in [
        ("1.0", ""),
        ("1.0", "Content-Length: 12\r\n"),
        ("1.1", "Content-Length: 5\r\nContent-Length: 6\r\n"),
        ("1.1", "Content-Length: 5, 6\r\n"),
        ("1.1", "Content-Length: x\r\n"),
        ("1.1", "Content-Length:\r\n"),
    ] {
        for fields in [format!("{fields}{chunked}"), format!("{chunked}{fields}")] {
            let sent = format!("HTTP/{version} 200 OK\r\n{fields}\r\n{CHUNKS}GARBAGE");
            let passed = format!("HTTP/1.1 200 OK\r\n{chunked}Connection: close\r\n\r\n{CHUNKS}");
            check(&proxy, GET, &sent, &passed).await;
            let passed = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nok";
            check(&proxy, OLD, &sent, passed).await;
        }
    }
}

#[tokio::test]
async fn a_response_without_a_body_passes_without_the_fields_that_frame_it_badly() {
    let proxy = direct().await;
    let end = "Connection: close\r\n\r\n";
    for fields in UNCLEAR {
        for (method, status) in [("GET", "204 None"), ("GET", "304 Same"), ("HEAD", "200 OK")] {
            let sent = format!("HTTP/1.1 {status}\r\nA: b\r\n{fields}\r\nGARBAGE");
            let passed = format!("HTTP/1.1 {status}\r\nA: b\r\n{end}");
            check(&proxy, &GET.replace("GET", method), &sent, &passed).await;
        }
        let last = format!("HTTP/1.1 204 None\r\n{end}");
        let sent = format!("HTTP/1.1 103 Hints\r\nA: b\r\n{fields}\r\n{last}");
        let passed = format!("HTTP/1.1 103 Hints\r\nA: b\r\n\r\n{last}");
        check(&proxy, GET, &sent, &passed).await;
    }
    let shown = format!("HTTP/1.1 304 Same\r\nContent-Length: 9\r\n{end}");
    let sent = "HTTP/1.1 304 Same\r\nContent-Length: 9,\r\n \r\n\r\n";
    check(&proxy, GET, sent, &shown).await;
}

#[tokio::test]
async fn a_connection_with_a_doubtful_length_is_not_used_again() {
    let proxy = direct().await;
    let keep = "Connection: keep-alive\r\n";
    let chunked = "Transfer-Encoding: chunked\r\n";
    let mut answers = vec![
        format!("HTTP/1.1 200 OK\r\nContent-Length: 24530\r\n{chunked}\r\n{CHUNKS}"),
        format!("HTTP/1.1 200 OK\r\nContent-Length: 5, 6\r\n{chunked}\r\n{CHUNKS}"),
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\nContent-Length: 2\r\n\r\nok".to_owned(),
        format!("HTTP/1.0 200 OK\r\n{keep}{chunked}\r\n{CHUNKS}"),
        format!("HTTP/1.0 304 OK\r\n{keep}{chunked}\r\n"),
        format!("HTTP/1.1 204 OK\r\n{chunked}\r\n"),
        "HTTP/1.1 204 OK\r\nContent-Length: 2\r\n\r\n".to_owned(),
        "HTTP/1.1 103 Hints\r\nContent-Length: x\r\n\r\nHTTP/1.1 204 OK\r\n\r\n".to_owned(),
    ];
    for fields in UNCLEAR {
        for status in ["204 OK", "304 OK"] {
            answers.push(format!("HTTP/1.1 {status}\r\n{fields}\r\n"));
        }
    }
    for sent in answers {
        let (told, origin) = told(&proxy, &[KEEP, GET].concat(), vec![answer(&sent)]).await;
        assert_eq!(told.matches(" OK\r\n").count(), 2, "{told:?}");
        assert_eq!(origin.record().now().len(), 2, "{sent:?}");
    }
    let head = KEEP.replace("GET", "HEAD") + &GET.replace("GET", "HEAD");
    let sent = "HTTP/1.1 200 OK\r\nContent-Length: 5, 6\r\n\r\n";
    let (told, origin) = told(&proxy, &head, vec![answer(sent)]).await;
    assert_eq!(told.matches(" OK\r\n").count(), 2, "{told:?}");
    assert_eq!(origin.record().now().len(), 2);
}

#[tokio::test]
async fn too_many_trailers_are_left_out_and_the_body_is_whole() {
    let proxy = direct().await;
    let start = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n";
    let few = "X: y\r\n".repeat(64);
    for (trailers, passed) in [
        (few.clone(), few.as_str()),
        ("X: y\r\n".repeat(100), ""),
        ("X : y\r\n".repeat(100), ""),
        (format!("X: {}\r\n", "y".repeat(60_000)), ""),
    ] {
        let sent = format!("{start}\r\n2\r\nok\r\n0\r\n{trailers}\r\n");
        let passed = format!("{start}Connection: close\r\n\r\n2\r\nok\r\n0\r\n{passed}\r\n");
        check(&proxy, GET, &sent, &passed).await;
        let passed = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nok";
        check(&proxy, OLD, &sent, passed).await;
        // All of the section is read, so another answer can follow it.
        let (told, origin) =
            told(&proxy, &[KEEP, GET].concat(), vec![answer(&sent), answer(&sent)]).await;
        assert_eq!(told.matches("HTTP/1.1 200 OK").count(), 2, "{told:?}");
        assert_eq!(origin.record().now().len(), 1, "{told:?}");
    }
    let endless = format!("{start}\r\n2\r\nok\r\n0\r\nX: {}\r\n\r\n", "y".repeat(70_000));
    let (told, _origin) = told(&proxy, GET, vec![answer(&endless), Step::End]).await;
    assert!(told.ends_with("\r\n\r\n2\r\nok\r\n"), "{told:?}");
}

#[tokio::test]
async fn broken_trailers_are_mended_and_end_the_body() {
    let proxy = direct().await;
    let start = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n";
    for (sent, passed) in [
        ("X-Sum : a\r\njunk\r\nX-B: c\r\n d\r\n\r\n", "X-Sum: a\r\nX-B: c d\r\n"),
        ("X-Sum: a\nX-B: c\n\n", "X-Sum: a\r\nX-B: c\r\n"),
        ("junk\r\n\r\n", ""),
    ] {
        let sent = format!("{start}\r\n2\r\nok\r\n0\r\n{sent}");
        let passed = format!("{start}Connection: close\r\n\r\n2\r\nok\r\n0\r\n{passed}\r\n");
        check(&proxy, GET, &sent, &passed).await;
    }
}

#[tokio::test]
async fn many_and_large_fields_pass_within_the_limits() {
    let cookies: String = (0..150).map(|n| format!("Set-Cookie: c{n}=v\r\n")).collect();
    let answered = format!("HTTP/1.1 200 OK\r\n{cookies}{LENGTH}\r\nok");
    let passed = answered.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n");
    check(&direct().await, GET, &answered, &passed).await;
    let wide = Proxy::start("limits: { header_bytes: 1MiB }\nchains: { default: [] }\n").await;
    for name in ["A", "A "] {
        let large = "a".repeat(100_000);
        let answered = format!("HTTP/1.1 200 OK\r\n{name}: {large}\r\n{LENGTH}\r\nok");
        let passed =
            format!("HTTP/1.1 200 OK\r\nA: {large}\r\n{LENGTH}Connection: close\r\n\r\nok");
        check(&wide, GET, &answered, &passed).await;
    }
}

#[tokio::test]
async fn an_answer_over_a_limit_is_a_502_that_names_it() {
    let proxy = Proxy::start(
        "limits: { header_bytes: 1KiB, header_fields: 20 }\nchains: { default: [] }\n",
    )
    .await;
    let large = format!("A: {}\r\n", "a".repeat(2_000));
    for (fields, limit) in [
        (large.clone(), "larger than 1024 bytes (`limits.header_bytes`)"),
        (format!("junk\r\n{large}"), "larger than 1024 bytes (`limits.header_bytes`)"),
        ("A: b\r\n".repeat(21), "more than 20 fields (`limits.header_fields`)"),
        ("A : b\r\n".repeat(21), "more than 20 fields (`limits.header_fields`)"),
    ] {
        let sent = format!("HTTP/1.1 200 OK\r\n{fields}\r\n");
        let (told, _origin) = told(&proxy, GET, vec![answer(&sent), Step::End]).await;
        assert!(told.starts_with("HTTP/1.1 502 ") && told.contains(limit), "{told:?}");
        assert!(told.contains("error=http_response_header_section_size;"), "{told:?}");
    }
    let fits = format!("HTTP/1.1 200 OK\r\n{}{LENGTH}\r\nok", "A: b\r\n".repeat(19));
    let passed = fits.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n");
    check(&proxy, GET, &fits, &passed).await;
}

/// Fields that are an error in a response with a body.
const UNCLEAR: [&str; 7] = [
    "Content-Length: 5\r\nContent-Length: 6\r\n",
    "Content-Length: 5, 6\r\n",
    "Content-Length: x\r\n",
    "Content-Length:\r\n",
    "Transfer-Encoding: gzip\r\n",
    "Transfer-Encoding: gzip\r\nContent-Length: 5\r\n",
    "Transfer-Encoding: chunked, chunked\r\n",
];

/// The origin sends `sent` and ends; the client receives exactly `expected`.
async fn check(proxy: &Proxy, request: &str, sent: &str, expected: &str) {
    let (told, _origin) = told(proxy, request, vec![answer(sent), Step::End]).await;
    let shown: String = sent.chars().take(200).collect();
    assert!(told == expected, "for {shown:?}: {:?}", told.chars().take(400).collect::<String>());
}
