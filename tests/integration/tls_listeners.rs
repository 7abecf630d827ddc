//! Clients that speak TLS to the proxy.

mod client_certificates;
mod files;

use std::{net::SocketAddr, sync::Arc};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    process::Command,
    time::Instant,
};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        ClientConfig, RootCertStore, crypto,
        pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
    },
};

use crate::support::{
    Certificates, ConfigDir, Double, EchoOrigin, HttpOrigin, Network, Program, Proxy, Step, WAYS,
    assert_reads, exchange, fill, first_difference, open, outcome, rest, run, within,
};

const DIRECT: &str = "chains: { default: [] }\n";

/// A proxy with one listener, whose TLS has these settings.
async fn proxy(tls: &str, yaml: &str) -> Proxy {
    let config = ConfigDir::new(yaml);
    config.write("00-server.yaml", &server("127.0.0.1:0", tls));
    Proxy::on(config, &[]).await
}

fn server(address: impl std::fmt::Display, tls: &str) -> String {
    format!("server: {{ listen: {{ address: \"{address}\", tls: {{ {tls} }} }} }}\n")
}

/// Performs the TLS handshake with the proxy as a client that trusts `certificates`, and has a certificate of its own
/// or not.
pub(crate) async fn connect_tls(
    proxy: SocketAddr,
    certificates: &Certificates,
    own: Option<&[std::path::PathBuf; 2]>,
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(certificates.authority_file()).unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let mut config = match own {
        None => config.with_no_client_auth(),
        Some([certificate, key]) => {
            let chain = vec![CertificateDer::from_pem_file(certificate).unwrap()];
            let key = PrivateKeyDer::from_pem_file(key).unwrap();
            config.with_client_auth_cert(chain, key).unwrap()
        }
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let name = ServerName::try_from("localhost").unwrap();
    let socket = open(proxy).await;
    within("TLS is made", TlsConnector::from(Arc::new(config)).connect(name, socket)).await
}

async fn tls(proxy: &Proxy, certificates: &Certificates) -> TlsStream<TcpStream> {
    connect_tls(proxy.address(), certificates, None).await.unwrap()
}

/// Asks for a tunnel and reads the answer.
async fn tunnel<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, target: SocketAddr) -> S {
    let request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    assert_reads(&mut stream, "HTTP/1.1 200 Connection established\r\n\r\n").await;
    stream
}

#[tokio::test]
async fn curl_passes_each_way_through_an_https_proxy() {
    let Some(curl) = Program::find_or_skip("curl") else { return };
    let Some(network) = Network::start().await else { return };
    let certificates = Certificates::new();
    let origin = HttpOrigin::plain().await;
    for chain in WAYS {
        let proxy = proxy(&certificates.listener_tls(), &network.yaml(chain)).await;
        for option in ["--proxytunnel", "--no-progress-meter"] {
            let mut command = Command::new(curl.path());
            command.args(["-sS", "--noproxy", "", option, "--proxy-cacert"]);
            command.arg(certificates.authority_file()).arg("--proxy");
            command.arg(format!("https://localhost:{}", proxy.address().port()));
            command.arg(origin.url("/bytes/3000000")).kill_on_drop(true);
            let output = within("curl ends", command.output()).await.unwrap();
            assert!(output.status.success(), "{option} through {chain}: {output:?}");
            assert_eq!(output.stdout.len(), 3_000_000, "{option} through {chain}");
            assert_eq!(first_difference(0, &output.stdout), None, "{option} through {chain}");
        }
    }
}

#[tokio::test]
async fn a_tunnel_moves_both_directions_and_counts_the_bytes_inside_tls() {
    const BYTES: usize = 5_000_000;
    let (certificates, echo) = (Certificates::new(), EchoOrigin::start().await);
    let proxy = proxy(&certificates.listener_tls(), DIRECT).await;
    let stream = tunnel(tls(&proxy, &certificates).await, echo.address()).await;
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    let (mut reader, mut writer) = tokio::io::split(stream);
    let send = async {
        writer.write_all(&fill(BYTES)).await.unwrap();
        // The end of this direction reaches the origin, which ends the other one.
        writer.shutdown().await.unwrap();
    };
    let receive = async {
        let mut received = Vec::new();
        reader.read_to_end(&mut received).await.unwrap();
        received
    };
    let ((), received) = within("all bytes come back", async { tokio::join!(send, receive) }).await;
    assert_eq!((received.len(), first_difference(0, &received)), (BYTES, None));
    let closed = proxy.event("tunnel closed").await;
    let counted = [closed.field("sent"), closed.field("received")];
    assert_eq!(counted, [BYTES.to_string(), BYTES.to_string()]);
}

#[tokio::test]
async fn a_reset_of_either_side_is_one_for_the_other_after_all_bytes() {
    if !crate::support::resets_or_skip() {
        return;
    }
    let certificates = Certificates::new();
    let proxy = proxy(&certificates.listener_tls(), DIRECT).await;
    let origin = TcpListener::bind("127.0.0.1:0").await.unwrap();
    for is_from_client in [true, false] {
        let mut client =
            tunnel(tls(&proxy, &certificates).await, origin.local_addr().unwrap()).await;
        let (mut far, _) = origin.accept().await.unwrap();
        let broke = if is_from_client {
            client.write_all(b"last words").await.unwrap();
            client.get_ref().0.set_zero_linger().unwrap();
            drop(client);
            assert_reads(&mut far, "last words").await;
            within("the reset comes", far.read_u8()).await.unwrap_err()
        } else {
            far.write_all(b"last words").await.unwrap();
            far.set_zero_linger().unwrap();
            drop(far);
            assert_reads(&mut client, "last words").await;
            within("the reset comes", client.read_u8()).await.unwrap_err()
        };
        assert_eq!(broke.kind(), std::io::ErrorKind::ConnectionReset, "{is_from_client}");
    }
}

#[tokio::test]
async fn socks_works_inside_tls() {
    let (certificates, echo) = (Certificates::new(), EchoOrigin::start().await);
    let proxy = proxy(&certificates.listener_tls(), DIRECT).await;
    let mut client = tls(&proxy, &certificates).await;
    let port = echo.address().port().to_be_bytes();
    let request = [b"\x05\x01\x00\x05\x01\x00\x01\x7f\x00\x00\x01", &port[..], b"early"].concat();
    client.write_all(&request).await.unwrap();
    let mut answer = [0; 12];
    within("the answers", client.read_exact(&mut answer)).await.unwrap();
    assert_eq!(&answer, b"\x05\x00\x05\x00\x00\x01\0\0\0\0\0\0");
    assert_reads(&mut client, "early").await;
    client.shutdown().await.unwrap();
    assert_eq!(rest(&mut client).await, "");
    assert_eq!(proxy.event("tunnel closed").await.field("protocol"), "socks5");
}

#[tokio::test]
async fn a_client_that_begins_tls_inside_tls_is_told_so() {
    let certificates = Certificates::new();
    let mut proxy = proxy(&certificates.listener_tls(), DIRECT).await;
    let mut client = tls(&proxy, &certificates).await;
    // The beginning of a record with a ClientHello.
    client.write_all(b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x03").await.unwrap();
    let answer = rest(&mut client).await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    assert!(answer.contains("TLS was begun twice") && !answer.contains("plain HTTP"), "{answer}");
    let denied = proxy.event("request denied").await;
    assert!(denied.field("reason").contains("TLS was begun twice"), "{}", denied.text());
    proxy.assert_is_well().await;
}

#[tokio::test]
async fn a_client_without_tls_gets_the_reason_in_its_own_protocol() {
    let certificates = Certificates::new();
    let mut proxy = proxy(&certificates.listener_tls(), DIRECT).await;
    let answer = exchange(proxy.address(), b"GET http://a.test/ HTTP/1.1\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    assert!(answer.contains("HTTPS proxy") && answer.contains("https://"), "{answer}");
    assert_eq!(exchange(proxy.address(), b"\x05\x01\x00").await.as_bytes(), [5, 0xEF, 0xBF, 0xBD]);
    assert_eq!(exchange(proxy.address(), b"\x04").await.as_bytes()[1], 0x5B);
    proxy.assert_is_well().await;
}

#[tokio::test]
async fn hellos_that_are_not_served_get_an_alert() {
    let certificates = Certificates::new();
    let proxy = proxy(&certificates.listener_tls(), DIRECT).await;
    // A hello of TLS 1.0 with one cipher suite and no extension.
    let hello = [
        &b"\x16\x03\x01\x00\x2d\x01\x00\x00\x29\x03\x01"[..],
        &[7; 32],
        b"\x00\x00\x02\x00\x2f\x01\x00",
    ];
    let mut client = open(proxy.address()).await;
    client.write_all(&hello.concat()).await.unwrap();
    let mut answer = Vec::new();
    within("the alert comes", client.read_to_end(&mut answer)).await.unwrap();
    // One fatal alert, of two bytes.
    assert!(matches!(answer[..], [21, 3, _, 0, 2, 2, _]), "{answer:?}");
    for nonsense in
        [&b"\x16nonsense that is no record"[..], b"\x80\x2e\x01\x03\x01", b"\x16\x03\x01\xff\xff"]
    {
        let mut client = open(proxy.address()).await;
        client.write_all(nonsense).await.unwrap();
        client.shutdown().await.unwrap();
        let mut answer = Vec::new();
        let _ = within("the end comes", client.read_to_end(&mut answer)).await;
        assert!(answer.is_empty() || answer[0] == 21, "{nonsense:?}: {answer:?}");
    }
    let failed = proxy.event("TLS handshake failed").await;
    assert!(!failed.field("reason").is_empty(), "{failed:?}");
}

#[tokio::test]
async fn a_handshake_takes_no_longer_than_the_timeout_of_a_head() {
    let certificates = Certificates::new();
    let yaml = format!("timeouts: {{ header: 300ms }}\n{DIRECT}");
    let proxy = proxy(&certificates.listener_tls(), &yaml).await;
    for begun in [&b""[..], b"\x16", b"\x16\x03\x01\x02\x00\x01\x00"] {
        let start = Instant::now();
        let mut client = open(proxy.address()).await;
        client.write_all(begun).await.unwrap();
        let mut answer = Vec::new();
        let _ = within("the end comes", client.read_to_end(&mut answer)).await;
        assert!(start.elapsed().as_millis() >= 290, "{begun:?}");
    }
    // The wait inside TLS has the same limit.
    let mut silent = tls(&proxy, &certificates).await;
    let mut answer = Vec::new();
    let _ = within("the end comes", silent.read_to_end(&mut answer)).await;
    assert_eq!(answer, b"");
}

#[tokio::test]
async fn an_idle_client_gets_a_close_notify() {
    let certificates = Certificates::new();
    let yaml = format!("{DIRECT}timeouts: {{ header: 300ms }}\n");
    let proxy = proxy(&certificates.listener_tls(), &yaml).await;
    let mut silent = tls(&proxy, &certificates).await;
    // Without that message, reading fails at the end.
    let end = within("the proxy closes", silent.read_to_end(&mut Vec::new())).await;
    assert_eq!(end.unwrap(), 0);
    // A client that ends first gets one too.
    let mut leaving = tls(&proxy, &certificates).await;
    leaving.shutdown().await.unwrap();
    let end = within("the proxy closes", leaving.read_to_end(&mut Vec::new())).await;
    assert_eq!(end.unwrap(), 0);
}

#[tokio::test]
async fn a_client_over_the_limit_gets_the_reason_inside_tls() {
    let certificates = Certificates::new();
    let yaml = format!("limits: {{ connections: 1 }}\n{DIRECT}");
    let proxy = proxy(&certificates.listener_tls(), &yaml).await;
    let _first = tls(&proxy, &certificates).await;
    let mut second = tls(&proxy, &certificates).await;
    second.write_all(b"GET http://a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n").await.unwrap();
    let answer = rest(&mut second).await;
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
}

#[tokio::test]
async fn the_endpoints_answer_over_tls_to_their_own_origin_only() {
    let certificates = Certificates::new();
    let proxy = proxy(&certificates.listener_tls(), DIRECT).await;
    let host = format!("localhost:{}", proxy.address().port());
    for (origin, status) in [("https", "200"), ("http", "403")] {
        let mut client = tls(&proxy, &certificates).await;
        let request =
            format!("GET /status HTTP/1.1\r\nHost: {host}\r\nOrigin: {origin}://{host}\r\n\r\n");
        client.write_all(request.as_bytes()).await.unwrap();
        let answer = rest(&mut client).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{origin}: {answer}");
    }
    let (_, told, _) = outcome(&proxy.command(&["status"]));
    let address = proxy.address();
    assert!(told.contains(&format!("\nlisteners    https://{address}\n")), "{told}");
    let (_, told, _) = outcome(&proxy.command(&["status", "--format", "json"]));
    let status: serde_json::Value = serde_json::from_str(&told).unwrap();
    let listeners = serde_json::json!([address.to_string()]);
    assert_eq!((&status["listeners"], &status["tls_listeners"]), (&listeners, &listeners));
    let output = run(["status", "-c", proxy.config().path().to_str().unwrap()]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("does not speak TLS"), "{said}");
}

/// The log's advice to clients names the scheme of the listener, whichever text it is in.
#[tokio::test]
async fn the_log_advises_an_https_url_for_a_listener_with_tls() {
    let certificates = Certificates::new();
    let agreed = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_owned();
    let double = Double::start(vec![Step::Answer(agreed); 9]).await;
    let address = format!("address: \"{}\"", double.address());
    let hop = |settings: &str| {
        format!("hops: {{ exits: {{ {settings} }} }}\nchains: {{ default: [exits] }}\n")
    };
    let webshare = |sessions: &str| {
        hop(&format!(
            "kind: webshare, {address}, username: dev, password: word, sessions: {sessions}, session_max: 9"
        ))
    };
    let auth = format!("server: {{ auth: {{ username: joe, password: word }} }}\n{DIRECT}");
    let pool = hop(&format!(
        "kind: pool, pick: sticky, members: [{{ kind: http-connect, {address} }}, {{ kind: http-connect, {address}, username: a, password: b }}]"
    ));
    for (yaml, fields, message, field) in [
        (auth, "", "request denied", "reason"),
        (webshare("by-client-required"), "", "request denied", "reason"),
        (webshare("by-client"), "", "the client names no session", "advice"),
        (
            webshare("by-client"),
            "Proxy-Authorization: Bearer a\r\n",
            "the client's username has no effect",
            "reason",
        ),
        (pool, "", "the client names no session", "advice"),
    ] {
        let proxy = proxy(&certificates.listener_tls(), &yaml).await;
        let mut client = tls(&proxy, &certificates).await;
        let request = format!("CONNECT a.test:443 HTTP/1.1\r\nHost: a.test\r\n{fields}\r\n");
        client.write_all(request.as_bytes()).await.unwrap();
        assert_reads(&mut client, "HTTP/1.1 ").await;
        drop(client);
        let event = proxy.event(message).await;
        let told = event.field(field);
        let at = format!("@{}`", proxy.address());
        assert!(told.contains("`https://") && told.contains(&at), "{told}");
        assert!(!told.contains("http://"), "{told}");
    }
}
