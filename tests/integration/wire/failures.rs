//! The table of failures: the answer to a tunnel and to a plain request for each place and kind of failure.

use crate::support::{
    Double, Proxy, SHORT_TIMEOUTS, Step, exchange, free_port, free_port_at, two_hops,
};

#[tokio::test]
async fn a_failed_hop_is_named_with_the_reason() {
    for (words, status, field) in [
        (
            "HTTP/1.1 407 Auth\r\nProxy-Authenticate: Basic realm=\"a\"\r\n\r\n",
            502,
            "error=proxy_configuration_error; next-hop=\"corporate\"; received-status=407; details=",
        ),
        (
            "HTTP/1.1 407 Auth\r\nProxy-Authenticate: NTLM\r\n\r\n",
            502,
            "error=proxy_configuration_error; next-hop=\"corporate\"; received-status=407; details=",
        ),
        (
            "HTTP/1.1 403 No\r\n\r\n",
            502,
            "error=http_protocol_error; next-hop=\"corporate\"; received-status=403; details=",
        ),
        (
            "HTTP/1.1 429 Slow\r\n\r\n",
            503,
            "error=connection_limit_reached; next-hop=\"corporate\"; received-status=429; details=",
        ),
        (
            "HTTP/1.1 502 Bad\r\n\r\n",
            502,
            "error=destination_unavailable; next-hop=\"corporate\"; received-status=502; details=",
        ),
        (
            "HTTP/1.1 504 Late\r\n\r\n",
            504,
            "error=destination_unavailable; next-hop=\"corporate\"; received-status=504; details=",
        ),
        (
            "HTTP/1.1 302 Found\r\nLocation: http://a/\r\n\r\n",
            502,
            "error=http_protocol_error; next-hop=\"corporate\"; received-status=302; details=",
        ),
        ("SSH-2.0-x\r\n\r\n", 502, "error=http_protocol_error; next-hop=\"corporate\"; details="),
    ] {
        let hop = Double::start([Step::Answer(words.into())]).await;
        check(&proxy(&hop.address().to_string()).await, "CONNECT origin.test:443", status, field)
            .await;
    }
    for (steps, status, field) in [
        (
            vec![Step::Answer(String::new()), Step::End],
            502,
            "error=connection_terminated; next-hop=\"corporate\"; details=",
        ),
        (
            vec![Step::Answer(String::new()), Step::Reset],
            502,
            "error=connection_terminated; next-hop=\"corporate\"; details=",
        ),
        (vec![Step::Listen], 504, "error=http_response_timeout; next-hop=\"corporate\"; details="),
    ] {
        let hop = Double::start(steps).await;
        let proxy = proxy(&hop.address().to_string()).await;
        for line in ["CONNECT origin.test:443", "GET http://origin.test/"] {
            check(&proxy, line, status, field).await;
        }
    }
}

#[tokio::test]
async fn a_place_that_is_not_reached_is_named() {
    let closed = format!("127.0.0.1:{}", free_port());
    let direct = Proxy::start(&format!("{SHORT_TIMEOUTS}chains: {{ default: [] }}\n")).await;
    let down = proxy(&closed).await;
    let unknown = proxy("no-such-host.invalid:80").await;
    for method in ["CONNECT ", "GET http://"] {
        check(
            &direct,
            &format!("{method}{closed}"),
            502,
            &format!("error=connection_refused; next-hop=\"{closed}\"; details="),
        )
        .await;
        check(
            &direct,
            &format!("{method}no-such-host.invalid:80"),
            502,
            "error=dns_error; next-hop=\"no-such-host.invalid:80\"; details=",
        )
        .await;
        check(
            &down,
            &format!("{method}origin.test:80"),
            502,
            "error=connection_refused; next-hop=\"corporate\"; details=",
        )
        .await;
        check(
            &unknown,
            &format!("{method}origin.test:80"),
            502,
            "error=dns_error; next-hop=\"corporate\"; details=",
        )
        .await;
    }
}

#[tokio::test]
async fn a_plain_request_that_a_hop_refuses_for_credentials_is_a_502() {
    let words =
        "HTTP/1.1 407 Auth\r\nProxy-Authenticate: Basic realm=\"a\"\r\nContent-Length: 0\r\n\r\n";
    let hop = Double::start([Step::Answer(words.into())]).await;
    let field =
        "error=proxy_configuration_error; next-hop=\"corporate\"; received-status=407; details=";
    check(&proxy(&hop.address().to_string()).await, "GET http://origin.test/", 502, field).await;
}

#[tokio::test]
async fn the_proxy_does_not_call_itself() {
    for listen in ["127.0.0.1", "0.0.0.0", "[::1]", "[::]"] {
        let own = if listen.starts_with('[') { "[::1]" } else { "127.0.0.1" };
        // A machine without IPv6 may listen on `[::]` anyway.
        let (Some(port), Some(_)) = (free_port_at(listen), free_port_at(own)) else { continue };
        let address = format!("{own}:{port}");
        let server = format!(
            "server: {{ listen: \"{listen}:{port}\", auth: {{ username: u, password: p }} }}\n{SHORT_TIMEOUTS}"
        );
        let direct = Proxy::start(&format!("{server}chains: {{ default: [] }}\n")).await;
        let field = format!("error=proxy_loop_detected; next-hop=\"{address}\"; details=");
        let mapped = format!("[::ffff:127.0.0.1]:{port}");
        for method in ["CONNECT ", "GET http://"] {
            ask(address.parse().unwrap(), &format!("{method}{address}"), 508, &field).await;
            if own == "127.0.0.1" && cfg!(target_os = "linux") {
                let field = format!("error=proxy_loop_detected; next-hop=\"{mapped}\"; details=");
                ask(address.parse().unwrap(), &format!("{method}{mapped}"), 508, &field).await;
                let any = format!("0.0.0.0:{port}");
                let field = format!("error=proxy_loop_detected; next-hop=\"{any}\"; details=");
                ask(address.parse().unwrap(), &format!("{method}{any}"), 508, &field).await;
            }
        }
        drop(direct);
        let hops = two_hops(address.parse().unwrap());
        let _chained =
            Proxy::start(&format!("{server}{hops}chains: {{ default: [corporate, webshare] }}\n"))
                .await;
        let field = "error=proxy_loop_detected; next-hop=\"corporate\"; details=";
        for method in ["CONNECT ", "GET http://"] {
            ask(address.parse().unwrap(), &format!("{method}origin.test:80"), 508, field).await;
        }
    }
}

async fn proxy(corporate: &str) -> Proxy {
    Proxy::start(&format!(
        "{SHORT_TIMEOUTS}hops: {{ corporate: {{ kind: http-connect, address: \"{corporate}\", username: u, password: canary }} }}\n\
         chains: {{ default: [corporate] }}\n"
    ))
    .await
}

async fn check(proxy: &Proxy, line: &str, status: u16, field: &str) {
    ask(proxy.address(), line, status, field).await;
}

async fn ask(proxy: std::net::SocketAddr, line: &str, status: u16, field: &str) {
    // `u:p` for those that ask for it.
    let request = format!("{line} HTTP/1.1\r\nHost: x\r\nProxy-Authorization: Basic dTpw\r\n\r\n");
    let told = exchange(proxy, request.as_bytes()).await;
    assert!(told.starts_with(&format!("HTTP/1.1 {status} ")), "{line}: {told}");
    assert!(
        told.contains(&format!("\r\nProxy-Status: mooltiroute; {field}")),
        "{line}: {field}: {told}"
    );
    assert!(
        told.contains("\r\nConnection: close\r\n") && !told.contains("\r\nProxy-Authenticate:"),
        "{told}"
    );
    let (_, paragraph) = told.split_once("\r\n\r\n").unwrap();
    assert!(paragraph.len() > 60 && !told.contains("canary"), "{told}");
}
