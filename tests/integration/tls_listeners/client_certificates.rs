//! Certificates of clients, and a client that does not trust the listener's.

use std::path::Path;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{DIRECT, connect_tls, proxy, server};
use crate::support::{
    Certificates, ConfigDir, EchoOrigin, HttpOrigin, Proxy, head, open, ping, rest, run,
};

/// Connects with a certificate or without, and returns the alert or that the client is served.
async fn admitted(
    proxy: &Proxy,
    certificates: &Certificates,
    own: Option<&[std::path::PathBuf; 2]>,
) -> Result<(), String> {
    let attempt = async {
        let mut stream = connect_tls(proxy.address(), certificates, own).await?;
        // In TLS 1.3, the client has finished before the server has seen its certificate.
        stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        assert!(answer.ends_with("ok\n"), "{answer}");
        std::io::Result::Ok(())
    };
    attempt.await.map_err(|error| error.to_string())
}

#[tokio::test]
async fn with_client_ca_only_clients_with_a_valid_certificate_are_served() {
    let (certificates, strangers) = (Certificates::new(), Certificates::new());
    let ca = certificates.authority_file();
    let tls = format!("{}, client_ca: '{}'", certificates.listener_tls(), ca.display());
    let proxy = proxy(&tls, DIRECT).await;
    let known = certificates.issue("known.test", 2100);
    assert_eq!(admitted(&proxy, &certificates, Some(&known)).await, Ok(()));
    for (own, alert) in [
        (None, "CertificateRequired"),
        (Some(certificates.issue("late.test", 2001)), "CertificateExpired"),
        (Some(strangers.issue("stranger.test", 2100)), "UnknownCA"),
    ] {
        let refused = admitted(&proxy, &certificates, own.as_ref()).await.unwrap_err();
        assert!(refused.contains(alert), "{refused}, not {alert}");
    }
    let reason = proxy.event("TLS handshake failed").await.field("reason");
    assert!(reason.contains("`client_ca` of this listener asks for one (peer sent"), "{reason}");
    assert_eq!(admitted(&proxy, &certificates, Some(&known)).await, Ok(()));
}

#[tokio::test]
async fn a_connection_from_before_a_reload_gets_nothing_that_a_new_one_would_not_get() {
    let (certificates, echo) = (Certificates::new(), EchoOrigin::start().await);
    let ca = certificates.authority_file();
    let tls = format!("{}, client_ca: '{}'", certificates.listener_tls(), ca.display());
    let config = ConfigDir::new(DIRECT);
    let auth = "auth: { username: me, password: pw }";
    let plain = format!("server: {{ listen: \"127.0.0.1:0\", {auth} }}\n");
    config.write("00-server.yaml", &plain);
    let proxy = Proxy::on(config, &[]).await;
    // Accepted while credentials are asked for: one has sent nothing, and one a half of its greeting.
    let (mut http, mut socks) = (open(proxy.address()).await, open(proxy.address()).await);
    socks.write_all(b"\x05").await.unwrap();
    let mut tunnel = open(proxy.address()).await;
    let target = echo.address();
    let connect = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n");
    let credentials = "Proxy-Authorization: Basic bWU6cHc=\r\n";
    tunnel.write_all(format!("{connect}{credentials}\r\n").as_bytes()).await.unwrap();
    assert!(head(&mut tunnel).await.starts_with("HTTP/1.1 200 "));
    // No credentials any more, since every client has a certificate now.
    proxy.config().write("00-server.yaml", &server("127.0.0.1:0", &tls));
    proxy.event("config reloaded").await;
    http.write_all(format!("{connect}\r\n").as_bytes()).await.unwrap();
    let answer = rest(&mut http).await;
    assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
    assert!(answer.contains("asks for TLS or for a certificate"), "{answer}");
    let port = target.port().to_be_bytes();
    socks
        .write_all(&[&b"\x01\x00\x05\x01\x00\x01\x7f\x00\x00\x01"[..], &port].concat())
        .await
        .unwrap();
    let mut told = Vec::new();
    socks.read_to_end(&mut told).await.unwrap();
    assert!(!told.starts_with(b"\x05\x00\x05\x00"), "{told:?}");
    // A tunnel goes on with what it started with.
    ping(&mut tunnel).await;
}

#[tokio::test]
async fn a_reload_leaves_connections_open_unless_it_asks_for_another_client_ca() {
    let (certificates, others) = (Certificates::new(), Certificates::new());
    let (ca, other_ca) = (certificates.authority_file(), others.authority_file());
    let with_ca =
        |ca: &Path| format!("{}, client_ca: '{}'", certificates.listener_tls(), ca.display());
    let origin = HttpOrigin::plain().await;
    let proxy = proxy(&with_ca(&ca), DIRECT).await;
    let known = certificates.issue("known.test", 2100);
    let mut client = connect_tls(proxy.address(), &certificates, Some(&known)).await.unwrap();
    let request = format!("GET {} HTTP/1.1\r\nHost: x\r\n\r\n", origin.url("/bytes/2"));
    for (edit, status) in [
        (None, "200 OK"),
        (Some(with_ca(&ca)), "200 OK"),
        (Some(with_ca(&other_ca)), "403 Forbidden"),
    ] {
        if let Some(tls) = edit {
            let more = format!("timeouts: {{ idle: {}s }}\n", 100 + status.len());
            let seen = proxy.events().len();
            proxy.config().write("00-server.yaml", &(server("127.0.0.1:0", &tls) + &more));
            proxy.event_after(seen, "config reloaded").await;
        }
        client.write_all(request.as_bytes()).await.unwrap();
        let mut seen = [0; 512];
        let count = client.read(&mut seen).await.unwrap();
        let answer = String::from_utf8_lossy(&seen[..count]);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
    }
}

#[tokio::test]
async fn a_client_that_does_not_trust_the_listener_is_logged_in_plain_words() {
    let (certificates, strangers) = (Certificates::new(), Certificates::new());
    let proxy = proxy(&certificates.listener_tls(), DIRECT).await;
    // This client trusts another authority alone.
    admitted(&proxy, &strangers, None).await.unwrap_err();
    let reason = proxy.event("TLS handshake failed").await.field("reason");
    assert!(reason.contains("the client does not trust this proxy's certificate"), "{reason}");
    assert!(reason.contains("(alert "), "{reason}");
}

#[test]
fn check_describes_the_clients_of_a_listener_with_client_ca() {
    let certificates = Certificates::new();
    let ca = certificates.authority_file();
    let tls = format!("{}, client_ca: '{}'", certificates.listener_tls(), ca.display());
    let config = ConfigDir::new(DIRECT);
    for (auth, expected) in [
        ("", "clients need a certificate of `client_ca`\n"),
        (
            "server: { auth: { username: joe, password: hunter2 } }\n",
            "clients need a certificate of `client_ca` and the credentials of `server.auth`, ",
        ),
    ] {
        config.write("00-server.yaml", &server("0.0.0.0:8443", &tls));
        config.write("10-auth.yaml", auth);
        let checked = run(["check", "-c", config.path().to_str().unwrap()]);
        let said = String::from_utf8_lossy(&checked.stdout).into_owned();
        let line = format!("  https://0.0.0.0:8443, {expected}");
        assert!(checked.status.success() && said.contains(&line), "{said}");
    }
}
