//! `pass_headers` and `return_headers`: fields that pass between the client's CONNECT and the last hop.

use crate::support::{Double, Proxy, Step, exchange, two_hops};

const REQUEST: &[u8] =
    b"CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\nx-country: us\r\nX-Other: no\r\n\
                         Proxy-Authorization: Basic eDp5\r\n\r\n";

fn agree(fields: &str) -> Step {
    Step::Answer(format!("HTTP/1.1 200 OK\r\n{fields}\r\n"))
}

#[tokio::test]
async fn listed_fields_pass_to_the_last_hop_and_back_and_nowhere_else() {
    // Both hops are this double: the first answer is that of the corporate proxy.
    let hop = Double::start([
        agree("X-IP: 10.0.0.1\r\n"),
        agree("x-ip: 192.0.2.1\r\nX-Secret: s\r\n"),
        Step::End,
    ])
    .await;
    let passes = "pass_headers: [X-Country], return_headers: [X-IP]";
    let hops = two_hops(hop.address());
    let hops = hops.replace("kind: webshare,", &format!("kind: webshare, {passes},"));
    let hops = hops.replace("kind: http-connect,", &format!("kind: http-connect, {passes},"));
    let proxy =
        Proxy::start(&format!("{hops}chains: {{ default: [corporate, webshare] }}\n")).await;
    let answer = exchange(proxy.address(), REQUEST).await;
    assert_eq!(answer, "HTTP/1.1 200 Connection established\r\nX-IP: 192.0.2.1\r\n\r\n");
    let sent = hop.sent();
    let (corporate, provider) = sent.split_once("\r\n\r\n").unwrap();
    assert!(!corporate.contains("Country"), "{corporate}");
    assert!(provider.contains("\r\nX-Country: us\r\n"), "{provider}");
    assert!(!sent.contains("X-Other") && !sent.contains("eDp5"), "{sent}");
}

#[tokio::test]
async fn nothing_passes_by_default() {
    let hop = Double::start([agree("X-IP: 192.0.2.1\r\n"), Step::End]).await;
    let hops = two_hops(hop.address());
    let proxy = Proxy::start(&format!("{hops}chains: {{ default: [corporate] }}\n")).await;
    let answer = exchange(proxy.address(), REQUEST).await;
    assert_eq!(answer, "HTTP/1.1 200 Connection established\r\n\r\n");
    assert!(!hop.sent().contains("ountry"), "{}", hop.sent());
}
