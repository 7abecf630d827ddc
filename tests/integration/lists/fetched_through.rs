//! The way by which a list is fetched: chains, TLS and redirections.

use super::{PATH, list, member, served_by, server::ListServer, start, yaml_through};
use crate::support::{
    Certificates, Double, PASSWORD, Proxy, Squid, SquidRules, Step, USERNAME, outcome,
};

#[tokio::test]
async fn a_list_comes_by_https_through_the_chain_that_is_named() {
    let certificates = Certificates::new();
    let one = member("one").await;
    let server = ListServer::with_tls(&format!("{}\n", one.address()), &certificates).await;
    let exit = Proxy::start("chains: { default: [] }\n").await;
    let ca = certificates.path().join("ca.pem");
    let hop = format!("kind: http-connect, address: \"{}\"", exit.address());
    let of_list = format!(", ca: {:?}", ca.to_str().unwrap());
    let proxy = Proxy::start(&yaml_through(&hop, &server.url(PATH), &of_list)).await;
    assert_eq!(served_by(&proxy).await, "one");
    assert_eq!(exit.event("tunnel closed").await.field("target"), server.address().to_string());
    let (code, out, _) = outcome(&proxy.command(&["check"]));
    assert_eq!(code, Some(0), "{out}");
    assert!(out.contains("fetched through chain way when a request needs it"), "{out}");
    assert!(!out.contains("no route names this chain"), "{out}");
}

#[tokio::test]
async fn a_list_without_tls_comes_through_a_proxy_that_refuses_connect_to_its_port() {
    // One takes what squid ships with. The other asks for a login in two rounds, over one more connection.
    let login = format!(", auth: digest, username: {USERNAME}, password: {PASSWORD}");
    for (rules, login) in [(SquidRules::Stock, ""), (SquidRules::Digest, &*login)] {
        let Some(squid) = Squid::start(rules).await else { return };
        let one = member("one").await;
        let server = ListServer::of(&format!("{}\n", one.address())).await;
        let hop = format!("kind: http-connect, address: \"{}\"{login}", squid.address());
        let proxy = Proxy::start(&yaml_through(&hop, &server.url(PATH), "")).await;
        assert_eq!(served_by(&proxy).await, "one");
        let head = &server.heads()[0];
        assert!(head.starts_with(&format!("GET {PATH} HTTP/1.1\r\n")), "{head}");
        assert!(head.contains(&format!("\r\nHost: {}\r\n", server.address())), "{head}");
        assert!(!head.contains("Proxy-Authorization"), "{head}");
    }
}

#[tokio::test]
async fn a_refusal_of_the_proxy_on_the_way_to_a_list_names_it_and_not_the_path() {
    for (head, expected) in [
        // Only squid's field and a server error are certain to be the hop's own.
        (
            "503 No /cAnArYtOkEn\r\nX-Squid-Error: ERR_DNS_FAIL 0",
            "hop `corporate` answers with status 503",
        ),
        ("403 No /cAnArYtOkEn", "status 403 from the server, or from hop `corporate` before it"),
    ] {
        let head = format!("HTTP/1.1 {head}\r\nContent-Length: 0\r\n\r\n");
        let refuses = Double::start([Step::Answer(head)]).await;
        let hop = format!("kind: http-connect, address: \"{}\"", refuses.address());
        let yaml = yaml_through(&hop, "http://list.test/cAnArYtOkEn", "");
        let proxy = Proxy::start(&yaml).await;
        let said = served_by(&proxy).await;
        assert!(said.starts_with("HTTP/1.1 502 ") && said.contains(&expected[..20]), "{said}");
        assert_eq!(list(&proxy).await["problem"], expected);
        assert!(!format!("{said}{:?}", proxy.events()).contains("cAnArYtOkEn"), "{said}");
        let sent = refuses.sent();
        assert!(sent.starts_with("GET http://list.test/cAnArYtOkEn HTTP/1.1\r\n"), "{sent}");
    }
}

#[tokio::test]
async fn an_untrusted_server_is_told_apart_from_a_missing_one() {
    let certificates = Certificates::new();
    let server = ListServer::with_tls("127.0.0.1:1\n", &certificates).await;
    let proxy = start(&server.url(PATH), "", "").await;
    let refused = served_by(&proxy).await;
    assert!(refused.contains("certificate is not accepted"), "{refused}");
}

#[tokio::test]
async fn a_redirect_to_another_server_is_followed_with_tls_too() {
    let certificates = Certificates::new();
    let one = member("one").await;
    let there = ListServer::with_tls(&format!("{}\n", one.address()), &certificates).await;
    let server = ListServer::with_tls("", &certificates).await;
    server.answers(&format!(
        "HTTP/1.1 307 Temporary Redirect\r\nLocation: https://localhost:{}/signed\r\nContent-Length: 0\r\n\r\n",
        there.address().port()
    ));
    let ca = certificates.path().join("ca.pem");
    let proxy = start(&server.url(PATH), &format!(", ca: {:?}", ca.to_str().unwrap()), "").await;
    assert_eq!(served_by(&proxy).await, "one");
    assert!(there.heads()[0].starts_with("GET /signed HTTP/1.1\r\n"), "{:?}", there.heads());
}
