//! `/proxy.pac`: the script says the same as the routes.

use std::process::{Command, Stdio};

use crate::support::{Double, Program, Proxy, Step, exchange};

const ROUTES: &str = r#"hops:
  office: { kind: http-connect, address: "HOP" }
  gone: { kind: http-connect, enabled: false, address: "gone.test:3128" }
chains: { default: [office], off: [gone], straight: [] }
routes:
  - { hosts: ["*.corp.test", 10.0.0.0/8], ports: [443, 8443], chain: default }
  - { hosts: [localhost, 127.0.0.0/8, "::1", "[2001:db8::]/33"], chain: direct }
  - { hosts: [Www.Corp.Test], chain: straight }
  - { hosts: ["*.off.test"], chain: off }
  - { ports: [8080], chain: direct }
  - { chain: default }
"#;

/// A URL, the host of it as browsers pass it, and whether it is direct.
const CASES: [(&str, &str, bool); 28] = [
    ("https://a.corp.test/", "a.corp.test", false),
    ("https://A.CORP.test./", "A.CORP.test.", false),
    ("http://www.corp.test/", "www.corp.test", true),
    ("https://www.corp.test/", "www.corp.test", false),
    ("http://www.corp.test:8443/x", "www.corp.test", false),
    ("http://corp.test/", "corp.test", false),
    ("http://localhost/", "localhost", true),
    ("http://localhost:3000/?a=http://b:1/", "localhost", true),
    ("http://127.0.0.1/", "127.0.0.1", true),
    ("http://127.255.0.9:81/", "127.255.0.9", true),
    ("http://128.0.0.1/", "128.0.0.1", false),
    ("http://10.1.2.3:8443/", "10.1.2.3", false),
    ("http://10.1.2.3:8080/", "10.1.2.3", true),
    ("http://[::1]/", "[::1]", true),
    ("http://[::1]:99/", "::1", true),
    ("http://[::ffff:127.0.0.1]/", "[::ffff:127.0.0.1]", true),
    ("http://[::ffff:7f00:1]/", "[::ffff:7f00:1]", true),
    ("http://[2001:db8::1]/", "[2001:db8::1]", true),
    ("http://[2001:db8:7fff::1]/", "[2001:db8:7fff::1]", true),
    ("http://[2001:db8:8000::1]/", "[2001:db8:8000::1]", false),
    ("http://[2001:db9::1]/", "[2001:db9::1]", false),
    ("http://[::2]/", "[::2]", false),
    ("http://x.off.test/", "x.off.test", false),
    ("http://x.test:8080/", "x.test", true),
    ("ws://x.test/", "x.test", false),
    ("wss://a.corp.test/", "a.corp.test", false),
    ("http://joe@x.test:8080/", "x.test", true),
    ("http://xcorp.test:443/", "xcorp.test", false),
];

async fn served(proxy: &Proxy, method: &str, host: &str) -> String {
    let request = format!("{method} /proxy.pac HTTP/1.1\r\nHost: {host}\r\n\r\n");
    exchange(proxy.address(), request.as_bytes()).await
}

async fn start() -> Proxy {
    let hop = Double::start([Step::Listen]).await;
    Proxy::start(&ROUTES.replace("HOP", &hop.address().to_string())).await
}

#[tokio::test]
async fn it_is_served_with_its_type_and_names_the_listener_that_was_asked() {
    let proxy = start().await;
    let port = proxy.address().port();
    for (host, expected) in [
        (format!("localhost:{port}"), format!("PROXY localhost:{port}")),
        ("localhost".into(), format!("PROXY localhost:{port}")),
        (proxy.address().to_string(), format!("PROXY {}", proxy.address())),
    ] {
        let answer = served(&proxy, "GET", &host).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.contains("Content-Type: application/x-ns-proxy-autoconfig\r\n"), "{answer}");
        assert!(answer.contains(&format!("\"{expected}\"")), "{answer}");
        let hop = proxy.config().path().join("10-test.yaml");
        let hop = std::fs::read_to_string(hop).unwrap();
        let hop = hop.split('"').nth(1).unwrap().to_owned();
        assert!(!answer.contains(&hop) && !answer.contains("gone.test"), "no hop's address");
        for function in ["dnsResolve", "isInNet", "isResolvable", "myIpAddress"] {
            assert!(!answer.contains(function), "{function}");
        }
    }
    let head = served(&proxy, "HEAD", "localhost").await;
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && head.ends_with("\r\n\r\n"), "{head}");
    assert!(served(&proxy, "POST", "localhost").await.starts_with("HTTP/1.1 405 "));
    assert!(served(&proxy, "GET", "evil.example").await.starts_with("HTTP/1.1 403 "));
}

#[tokio::test]
async fn it_decides_as_the_routes_do() {
    let Some(node) = Program::find_or_skip("node") else { return };
    let proxy = start().await;
    let answer = served(&proxy, "GET", "localhost").await;
    let (_, script) = answer.split_once("\r\n\r\n").unwrap();
    let cases = CASES.map(|(url, host, _)| format!("[{url:?}, {host:?}]")).join(",");
    let run = format!(
        "const sandbox = {{}}; const vm = require('vm'); vm.createContext(sandbox);\n\
         vm.runInContext({}, sandbox);\n\
         for (const [url, host] of [{cases}]) {{ console.log(sandbox.FindProxyForURL(url, host)); }}",
        serde_json::to_string(script).unwrap()
    );
    let output =
        Command::new(node.path()).args(["-e", &run]).stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(said.lines().count(), CASES.len(), "{}", String::from_utf8_lossy(&output.stderr));
    let through = format!("PROXY localhost:{}", proxy.address().port());
    for ((url, _, is_direct), said) in CASES.iter().zip(said.lines()) {
        assert_eq!(said, if *is_direct { "DIRECT" } else { &through }, "{url}");
    }
}
