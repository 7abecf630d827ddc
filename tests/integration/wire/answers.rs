//! The bytes that a client gets for an origin's answer, and answers that can't be passed on.

use super::{answer, direct, told};
use crate::support::Step;

const GET: &str = "GET http://{o}/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
const OLD: &str = "GET http://{o}/ HTTP/1.0\r\n\r\n";

#[tokio::test]
async fn an_answer_keeps_its_words_and_its_fields() {
    for (sent, passed) in [
        (
            "HTTP/1.1 299 Schön war's\r\nContent-Length: 0\r\n",
            "HTTP/1.1 299 Schön war's\r\nContent-Length: 0\r\n",
        ),
        ("HTTP/1.1 200\r\nContent-Length: 0\r\n", "HTTP/1.1 200 \r\nContent-Length: 0\r\n"),
        ("HTTP/1.1 999 \r\nContent-Length: 0\r\n", "HTTP/1.1 999 \r\nContent-Length: 0\r\n"),
        ("HTTP/1.0 200 OK\r\nContent-Length: 0\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n"),
        (
            "HTTP/1.1 200 OK\r\nset-Cookie: a\r\nX: \u{e9}\r\nSet-Cookie: b\r\nContent-Length: 0\r\n",
            "HTTP/1.1 200 OK\r\nset-Cookie: a\r\nX: \u{e9}\r\nSet-Cookie: b\r\nContent-Length: 0\r\n",
        ),
        (
            "HTTP/1.1 200 OK\r\nConnection: X-Mine\r\nX-Mine: 1\r\nKeep-Alive: x\r\nProxy-Authenticate: Basic\r\n\
             Proxy-Connection: close\r\nUpgrade: h2c\r\nContent-Length: 0\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n",
        ),
        ("HTTP/1.1 200 OK\nContent-Length: 0\n", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n"),
    ] {
        check(GET, &format!("{sent}\r\n"), &format!("{passed}Connection: close\r\n\r\n")).await;
    }
}

#[tokio::test]
async fn a_body_ends_where_its_framing_says() {
    let close = "Connection: close\r\n\r\n";
    for (request, sent, passed) in [
        (GET, "Content-Length: 2\r\n\r\nokGARBAGE", format!("Content-Length: 2\r\n{close}ok")),
        (GET, "Content-Length: 2, 2\r\n\r\nok", format!("Content-Length: 2\r\n{close}ok")),
        (OLD, "Content-Length: 2\r\n\r\nok", format!("Content-Length: 2\r\n{close}ok")),
        (
            GET,
            "Transfer-Encoding: chunked\r\n\r\n2;x\r\nok\r\n0\r\nX: y\r\n\r\nGARBAGE",
            format!("Transfer-Encoding: chunked\r\n{close}2\r\nok\r\n0\r\nX: y\r\n\r\n"),
        ),
        (
            OLD,
            "Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX: y\r\n\r\n",
            format!("{close}ok"),
        ),
        (GET, "\r\nok", format!("Transfer-Encoding: chunked\r\n{close}2\r\nok\r\n0\r\n\r\n")),
        (OLD, "\r\nok", format!("{close}ok")),
        (
            GET,
            "Connection: close\r\n\r\n",
            format!("Transfer-Encoding: chunked\r\n{close}0\r\n\r\n"),
        ),
    ] {
        let start = "HTTP/1.1 200 OK\r\n";
        check(request, &format!("{start}{sent}"), &format!("{start}{passed}")).await;
    }
}

#[tokio::test]
async fn an_answer_without_a_body_has_none_whatever_its_fields_say() {
    let close = "Connection: close\r\n\r\n";
    for (method, sent, passed) in [
        (
            "HEAD",
            "200 OK\r\nContent-Length: 9\r\n\r\n",
            format!("200 OK\r\nContent-Length: 9\r\n{close}"),
        ),
        ("HEAD", "200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", format!("200 OK\r\n{close}")),
        ("GET", "204 None\r\nContent-Length: 9\r\n\r\n", format!("204 None\r\n{close}")),
        (
            "GET",
            "304 Same\r\nContent-Length: 9\r\n\r\n",
            format!("304 Same\r\nContent-Length: 9\r\n{close}"),
        ),
        ("GET", "304 Same\r\nTransfer-Encoding: chunked\r\n\r\n", format!("304 Same\r\n{close}")),
    ] {
        let request = GET.replace("GET", method);
        check(&request, &format!("HTTP/1.1 {sent}"), &format!("HTTP/1.1 {passed}")).await;
    }
}

#[tokio::test]
async fn interim_answers_come_first_and_not_to_http_1_0() {
    let interim =
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\nLink: </b>\r\n\r\n";
    let last = "HTTP/1.1 204 None\r\nConnection: close\r\n\r\n";
    let sent = format!("{interim}{last}");
    check(GET, &sent, &sent).await;
    check(OLD, &sent, last).await;
}

#[tokio::test]
async fn an_answer_that_could_mean_two_things_is_a_502() {
    let long = "a".repeat(70_000);
    for sent in [
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        "HTTP/1.1 200 OK\r\nContent-Length: 1, 2\r\n\r\nab",
        "HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\na",
        "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\na",
        "HTTP/1.1 200 OK\r\nContent-Length: 1, 2,\r\n\r\na",
        "HTTP/1.1 200 OK\r\nContent-Length: ,\r\n\r\na",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length:\r\n\r\na",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n \r\n 1\r\n\r\na",
        "HTTP/1.1 200 OK\r\nContent-Length:\r\n \r\n\r\na",
        "HTTP/1.0 200 OK\r\nContent-Length: 1, 2\r\n\r\na",
        "HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\na",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\u{b}\r\n\r\na",
        "HTTP/1.1 200 OK\r\nContent-Length:\r\n 1\r\n\r\na",
        "HTTP/1.1 200 OK\r\nContent-Length 1\r\n\r\na",
        "HTTP/1.1 200 OK\r\n Content-Length: 1\r\n\r\na",
        "HTTP/1.1 200 OK\r\nA: b\r\n Content-Length: 1\r\n\r\na",
        "HTTP/1.1 200 OK\r\nTransfer Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: ,\r\nContent-Length: 1\r\n\r\na",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked;q=1\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nA: b\rContent-Length: 1\r\n\r\na",
        "HTTP/1.1 200 OK\r\nA\r: b\r\n\r\n",
        "HTTP/1.1 200 OK\r\nA: \0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\r\n\r\na",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nConnection: close\r\r\n\r\n",
        "HTTP/1.1 200OK\r\n\r\n",
        "HTTP/1.10 200 OK\r\n\r\n",
        "\r\nHTTP/1.1 200 OK\r\n\r\n",
        "ICY 200 OK\r\n\r\n",
        "HTTP/1.1 20 OK\r\n\r\n",
        "HTTP/1.1 2000 OK\r\n\r\n",
        "HTTP/4.0 200 OK\r\n\r\n",
        "SSH-2.0-x\r\n",
        "\0\0\0\0",
        &format!("HTTP/1.1 200 OK\r\nA: {long}\r\n\r\n"),
        &format!("HTTP/1.1 200 OK\r\n{}\r\n", "A: b\r\n".repeat(501)),
        &"HTTP/1.1 103 Early Hints\r\n\r\n".repeat(10_001),
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n",
        "HTTP/1.1 407 No\r\nProxy-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n",
    ] {
        check_refused(vec![answer(sent)], "502 Bad Gateway").await;
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_before_its_body_is_a_502() {
    for sent in
        ["", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\nA: b\r\n\r", "HTTP/1.1 103 Hi\r\n\r\n"]
    {
        check_refused(vec![answer(sent), Step::End], "502 Bad Gateway").await;
    }
    check_refused(vec![answer(""), Step::Reset], "502 Bad Gateway").await;
}

#[tokio::test]
async fn an_answer_that_breaks_off_in_its_body_does_not_look_whole() {
    for (framing, passed) in [
        ("Content-Length: 9\r\n\r\nhalf", "half"),
        ("Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n", "4\r\nhalf\r\n"),
        ("Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n0\r\nX: y\r\n", "4\r\nhalf\r\n"),
        ("Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n-1\r\n", "4\r\nhalf\r\n"),
        ("Transfer-Encoding: chunked\r\n\r\n4\r\nhalfway\r\n0\r\n\r\n", "4\r\nhalf\r\n"),
    ] {
        let steps = vec![answer(&format!("HTTP/1.1 200 OK\r\n{framing}")), Step::End];
        let (told, _origin) = told(&direct().await, GET, steps).await;
        let (_, body) = told.split_once("\r\n\r\n").unwrap();
        assert_eq!(body, passed, "{framing:?}");
    }
}

/// The origin sends `sent` and ends; the client is sent `expected`, whole.
async fn check(request: &str, sent: &str, expected: &str) {
    let steps = vec![answer(sent), Step::End];
    let (told, _origin) = told(&direct().await, request, steps).await;
    assert_eq!(told, expected, "for {sent:?}");
}

async fn check_refused(steps: Vec<Step>, status: &str) {
    let shown = format!("{steps:?}").chars().take(120).collect::<String>();
    let (told, origin) = told(&direct().await, GET, steps).await;
    let last = told.rsplit("HTTP/1.1 ").next().unwrap();
    assert!(last.starts_with(status), "{shown}: {told:?}");
    assert!(
        last.contains("\r\nConnection: close\r\nProxy-Status: mooltiroute; error="),
        "{told:?}"
    );
    origin
        .record()
        .until("the upstream connection is closed", |seen| seen.first()?.is_ended.then_some(()))
        .await;
}
