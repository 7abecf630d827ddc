//! Requests that are not forwarded: each is refused, and its connection ends.

use super::{OK, answer, at, direct, told};
use crate::support::{Double, Proxy, exchange};

#[tokio::test]
async fn a_head_that_could_mean_two_things_is_refused() {
    let proxy = direct().await;
    for fields in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "Content-Length: 1\r\nContent-Length: 2\r\n",
        "Content-Length: 1, 2\r\n",
        "Content-Length: +1\r\n",
        "Content-Length: -1\r\n",
        "Content-Length: 0x1\r\n",
        "Content-Length: 1 1\r\n",
        "Content-Length: \r\n",
        "Content-Length: 1,\r\n",
        "Content-Length: ,1\r\n",
        "Content-Length: 1\r\n \r\n",
        "Content-Length: 18446744073709551616\r\n",
        "Transfer-Encoding: chunked, gzip\r\n",
        "Transfer-Encoding: chunked, chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding: \"chunked\"\r\n",
        "Transfer-Encoding:\r\n",
        "Transfer-Encoding : chunked\r\n",
        " Transfer-Encoding: chunked\r\n",
        "A: b\r\n folded\r\n",
        "A: b\r\n\tfolded\r\n",
        "A: b\rC: d\r\n",
        "A: b\nC: d\r\n",
        "A: \0\r\n",
        "A: \x07\r\n",
        "A\0: b\r\n",
        "A : b\r\n",
        "A\t: b\r\n",
        ": b\r\n",
        "A b: c\r\n",
        "no colon\r\n",
        "Host: y\r\n",
        "H\u{f6}st: y\r\n",
    ] {
        let request = format!("POST http://{{o}}/ HTTP/1.1\r\nHost: x\r\n{fields}\r\n0\r\n\r\n");
        check(&proxy, &request, &["400", "501"]).await;
    }
    for (line, hosts) in [
        ("POST http://{o}/ HTTP/1.1\n", "Host: x\r\n"),
        ("POST http://{o}/ HTTP/1.1\r", "Host: x\r\n"),
        ("POST http://{o}/ HTTP/1.1\r\n", ""),
        ("POST http://{o}/ HTTP/1.1\r\n", "Host: x y\r\n"),
        ("POST http://{o}/ HTTP/1.1\r\n", "Host: u@x\r\n"),
        ("POST  http://{o}/ HTTP/1.1\r\n", "Host: x\r\n"),
        ("POST http://{o}/  HTTP/1.1\r\n", "Host: x\r\n"),
        ("POST\thttp://{o}/ HTTP/1.1\r\n", "Host: x\r\n"),
        ("POST http://{o}/a b HTTP/1.1\r\n", "Host: x\r\n"),
        ("POST http://{o}/\0 HTTP/1.1\r\n", "Host: x\r\n"),
        ("POST http://{o}/#a HTTP/1.1\r\n", "Host: x\r\n"),
        ("PO(ST http://{o}/ HTTP/1.1\r\n", "Host: x\r\n"),
        (" POST http://{o}/ HTTP/1.1\r\n", "Host: x\r\n"),
        ("POST http://{o}/\r\n", "Host: x\r\n"),
        ("POST http://{o}/ http/1.1\r\n", "Host: x\r\n"),
        ("POST http://{o}/ HTTP/1.1 \r\n", "Host: x\r\n"),
    ] {
        check(&proxy, &format!("{line}{hosts}\r\n"), &["400"]).await;
    }
    for version in ["HTTP/0.9", "HTTP/1.2", "HTTP/2.0", "HTTP/3"] {
        check(&proxy, &format!("POST http://{{o}}/ {version}\r\nHost: x\r\n\r\n"), &["505"]).await;
    }
    let old = "POST http://{o}/ HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    check(&proxy, old, &["400"]).await;
}

#[tokio::test]
async fn an_unsupported_scheme_gets_advice() {
    let proxy = direct().await;
    for (url, status, hint) in [
        ("https://{o}/", "400", "CONNECT"),
        ("wss://{o}/", "400", "CONNECT"),
        ("ftp://{o}/", "501", "http"),
        ("gopher://{o}/", "501", "http"),
    ] {
        let request = format!("GET {url} HTTP/1.1\r\nHost: x\r\n\r\n");
        let (told, origin) = told(&proxy, &request, vec![answer(OK)]).await;
        assert!(
            told.starts_with(&format!("HTTP/1.1 {status} ")) && told.contains(hint),
            "{told:?}"
        );
        assert_eq!(origin.sent(), "");
    }
}

#[tokio::test]
async fn a_chunk_that_is_none_is_refused_before_the_answer() {
    let proxy = direct().await;
    for body in [
        "x\r\n",
        "-1\r\n",
        "0x1\r\na\r\n",
        " 1\r\na\r\n",
        "1\na\r\n",
        "1\r\nab\r\n",
        "1\r\na\n0\r\n\r\n",
        "00000000000000001\r\na\r\n",
        "fffffffffffffffff\r\n",
        "1;\0\r\na\r\n",
        "\r\n",
        "1\ra\r\n",
        "0\r\nno colon\r\n\r\n",
        "0\r\n a: b\r\n\r\n",
        "0\r\nA: b\nC: d\r\n\r\n",
    ] {
        let request = format!(
            "POST http://{{o}}/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n{body}"
        );
        let (told, origin) = told(&proxy, &request, vec![answer("")]).await;
        assert!(told.starts_with("HTTP/1.1 400 "), "{body:?}: {told:?}");
        origin.record().until("its end", |seen| seen.first()?.is_ended.then_some(())).await;
        assert!(!origin.sent().contains("\r\n0\r\n"), "{body:?} was ended: {:?}", origin.sent());
    }
}

#[tokio::test]
async fn a_head_over_the_limit_is_431_and_a_target_over_it_414() {
    let proxy = Proxy::start("limits: { header_bytes: 4KiB }\nchains: { default: [] }\n").await;
    let long = "a".repeat(8_000);
    check(&proxy, &format!("GET http://{{o}}/{long} HTTP/1.1\r\nHost: x\r\n\r\n"), &["414"]).await;
    check(&proxy, &format!("GET http://{{o}}/ HTTP/1.1\r\nHost: x\r\nA: {long}\r\n\r\n"), &["431"])
        .await;
    let many = "A: b\r\n".repeat(500);
    let request = format!("GET http://{{o}}/ HTTP/1.1\r\nHost: x\r\n{many}\r\n");
    check(&proxy, &request, &["431"]).await;
}

#[tokio::test]
async fn a_refusal_names_the_limit() {
    let proxy = Proxy::start(
        "limits: { header_bytes: 1KiB, header_fields: 20 }\nchains: { default: [] }\n",
    )
    .await;
    let long = "a".repeat(2_000);
    for (path, fields, status, limit) in [
        ("", "A: b\r\n".repeat(20), "431", "more than 20 fields (`limits.header_fields`)"),
        ("", format!("A: {long}\r\n"), "431", "larger than 1024 bytes (`limits.header_bytes`)"),
        (&long, String::new(), "414", "longer than 1024 bytes (`limits.header_bytes`)"),
    ] {
        let request = format!("GET http://{{o}}/{path} HTTP/1.1\r\nHost: x\r\n{fields}\r\n");
        let (told, origin) = told(&proxy, &request, vec![answer(OK)]).await;
        assert!(told.starts_with(&format!("HTTP/1.1 {status} ")), "{told:?}");
        assert!(told.contains(limit), "{told:?}");
        assert_eq!(origin.sent(), "");
    }
    let fields = "A: b\r\n".repeat(18);
    let request =
        format!("GET http://{{o}}/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{fields}\r\n");
    let (told, origin) = told(&proxy, &request, vec![answer(OK)]).await;
    assert!(told.starts_with("HTTP/1.1 200 "), "{told:?}");
    assert_eq!(origin.sent().matches("A: b\r\n").count(), 18);
}

#[tokio::test]
async fn a_head_that_does_not_come_is_a_408() {
    for start in ["G", "GET http://{o}/ HTTP/1.1\r\n", "GET http://{o}/ HTTP/1.1\r\nHost: x\r\n\r"]
    {
        check(&direct().await, start, &["408"]).await;
    }
}

#[tokio::test]
async fn a_connect_that_is_refused_reads_no_further() {
    let proxy = direct().await;
    for target in [
        "{o}/",
        "http://{o}",
        "a",
        "a:",
        "a:0",
        "a:65536",
        "a:1:2",
        "::1:80",
        "[::1]",
        "[::1:80",
        "u@a:1",
        "*",
        "",
    ] {
        let request = format!(
            "CONNECT {target} HTTP/1.1\r\nHost: x\r\n\r\nGET http://{{o}}/ HTTP/1.1\r\nHost: x\r\n\r\n"
        );
        check(&proxy, &request, &["400"]).await;
    }
    for framing in ["Content-Length: 1", "Transfer-Encoding: chunked"] {
        check(&proxy, &format!("CONNECT {{o}} HTTP/1.1\r\nHost: x\r\n{framing}\r\n\r\n"), &["400"])
            .await;
    }
}

#[tokio::test]
async fn other_credentials_than_the_listeners_are_a_407_and_are_not_forwarded() {
    let auth = "server: { auth: { username: dev, password: secret } }\nchains: { default: [] }\n";
    let proxy = Proxy::start(auth).await;
    for field in [
        "",
        "Proxy-Authorization: Basic\r\n",
        "Proxy-Authorization: Basic !\r\n",
        "Authorization: Basic ZGV2OnNlY3JldA==\r\n",
        "Proxy-Authorization: Basic ZGV2OnNlY3JldD==\r\n",
        "Proxy-Authorization: Bearer ZGV2OnNlY3JldA==\r\n",
        "Proxy-Authorization: Basic ZGV2OnNlY3JldA==\r\nProxy-Authorization: Basic ZGV2OnNlY3JldA==\r\n",
    ] {
        for line in ["GET http://{o}/", "CONNECT {o}"] {
            let request = format!("{line} HTTP/1.1\r\nHost: x\r\n{field}\r\n");
            let (told, origin) = told(&proxy, &request, vec![answer(OK)]).await;
            assert!(told.starts_with("HTTP/1.1 407 "), "{field:?}: {told:?}");
            assert!(told.contains("\r\nProxy-Authenticate: Basic realm="), "{told:?}");
            assert_eq!(origin.sent(), "", "{field:?}");
        }
    }
}

/// Sends `request`, and expects one of `statuses`, once, and the end; the origin is not even connected to.
async fn check(proxy: &Proxy, request: &str, statuses: &[&str]) {
    let origin = Double::start([answer(OK)]).await;
    let told = exchange(proxy.address(), at(&origin, request).as_bytes()).await;
    let shown = request.chars().take(100).collect::<String>();
    let status = told.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)).unwrap_or_default();
    assert!(statuses.contains(&status), "{shown:?}: {told:?}");
    assert_eq!(told.matches("HTTP/1.1 ").count(), 1, "{shown:?}: {told:?}");
    assert!(told.contains("\r\nConnection: close\r\n"), "{shown:?}: {told:?}");
    assert!(origin.record().now().is_empty(), "{shown:?} reached the origin: {:?}", origin.sent());
}
