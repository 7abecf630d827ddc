//! `server.auth`: who may use the proxy.

use crate::support::{BASIC, Double, PASSWORD, Proxy, Step, USERNAME, exchange, two_hops};

#[tokio::test]
async fn only_those_who_know_the_password_pass() {
    let ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let hop = Double::start([Step::Answer(ok.into()), Step::End]).await;
    let proxy = Proxy::start(&format!(
        "server: {{ auth: {{ username: {USERNAME}, password: {PASSWORD} }} }}\n{}chains: {{ default: [corporate] }}\n",
        two_hops(hop.address())
    ))
    .await;
    let lines = ["CONNECT origin.test:443", "GET http://origin.test/"];
    for line in lines {
        for credentials in [None, Some("Basic ZGV2Ondyb25n"), Some("Basic"), Some("Bearer secret")]
        {
            let told = ask(&proxy, line, credentials).await;
            assert!(told.starts_with("HTTP/1.1 407 "), "{credentials:?}: {told}");
            assert!(
                told.contains("\r\nProxy-Authenticate: Basic realm="),
                "{credentials:?}: {told}"
            );
        }
        assert_eq!(hop.sent(), "", "nothing was passed on");
    }
    for line in lines {
        let told = ask(&proxy, line, Some(BASIC)).await;
        assert!(told.starts_with("HTTP/1.1 200 "), "{told}");
    }
    assert!(!hop.sent().contains("Authorization"), "they are this proxy's own: {}", hop.sent());
}

async fn ask(proxy: &Proxy, line: &str, credentials: Option<&str>) -> String {
    let field =
        credentials.map(|value| format!("Proxy-Authorization: {value}\r\n")).unwrap_or_default();
    let request =
        format!("{line} HTTP/1.1\r\nHost: origin.test\r\n{field}Connection: close\r\n\r\n");
    exchange(proxy.address(), request.as_bytes()).await
}
