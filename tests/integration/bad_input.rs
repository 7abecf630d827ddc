//! Input that no client should send, and configurations that can't be run.

use std::{fs, net::TcpListener, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time,
};

use crate::support::{Certificates, EchoOrigin, Proxy, connect, exchange, open, run, within};

#[tokio::test]
async fn requests_that_can_not_be_served_are_refused_and_end_the_connection() {
    let mut proxy = Proxy::start("chains: { default: [] }").await;
    for (request, status) in [
        ("nonsense\r\n\r\n", "400"),
        ("GET\r\n\r\n", "400"),
        ("GET http://a.test/ HTTP/2.7\r\n\r\n", "505"),
        ("GET http://a.test/ HTTP/1.1\r\nHost : a\r\n\r\n", "400"),
        ("GET http://a.test/ HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n", "400"),
        ("GET http://a.test/ HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "400"),
        ("GET http://a.test/ HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n", "400"),
        ("GET http://a.test:0/ HTTP/1.1\r\nHost: a\r\n\r\n", "400"),
        ("GET http://a.test:99999/ HTTP/1.1\r\nHost: a\r\n\r\n", "400"),
        ("GET http:// HTTP/1.1\r\nHost: a\r\n\r\n", "400"),
        ("GET ftp://a.test/ HTTP/1.1\r\nHost: a\r\n\r\n", "501"),
        ("GET https://a.test/ HTTP/1.1\r\nHost: a\r\n\r\n", "400"),
        ("CONNECT a.test HTTP/1.1\r\nHost: a\r\n\r\n", "400"),
        ("CONNECT a.test:0 HTTP/1.1\r\nHost: a\r\n\r\n", "400"),
        ("CONNECT http://a.test:443/ HTTP/1.1\r\nHost: a\r\n\r\n", "400"),
        ("CONNECT a b:443 HTTP/1.1\r\nHost: a\r\n\r\n", "400"),
        ("POST http://a.test/ HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", "400"),
        (
            "POST http://a.test/ HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
            "400",
        ),
        (
            "POST http://a.test/ HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "400",
        ),
        (
            "POST http://a.test/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
            "400",
        ),
    ] {
        assert_refused(&proxy, request.as_bytes(), &[status]).await;
    }
    proxy.assert_is_well().await;
}

#[tokio::test]
async fn heads_without_end_are_refused() {
    let mut proxy = Proxy::start("limits: { header_bytes: 4KiB }\nchains: { default: [] }\n").await;
    let many = "A: b\r\n".repeat(10_000);
    assert_refused(
        &proxy,
        format!("GET http://a.test/ HTTP/1.1\r\n{many}\r\n").as_bytes(),
        &["431"],
    )
    .await;
    let long = "a".repeat(100_000);
    assert_refused(&proxy, format!("CONNECT a.test:1 HTTP/1.1\r\nA: {long}").as_bytes(), &["431"])
        .await;
    assert_refused(&proxy, format!("GET http://a.test/{long}").as_bytes(), &["414", "431"]).await;
    assert_refused(&proxy, long.as_bytes(), &["400", "414", "431"]).await;
    proxy.assert_is_well().await;
}

#[tokio::test]
async fn a_client_that_never_stops_sending_is_cut_off() {
    let mut proxy = Proxy::start("chains: { default: [] }").await;
    let mut endless = open(proxy.address()).await;
    let block = [b'a'; 64 * 1024];
    let sent = within("the cut", async {
        let mut sent = 0;
        while sent < ENDLESS_BYTES && endless.write_all(&block).await.is_ok() {
            sent += block.len();
        }
        sent
    })
    .await;
    assert!(sent < ENDLESS_BYTES, "everything was read");
    proxy.assert_is_well().await;
}

#[tokio::test]
async fn other_protocols_are_sent_away() {
    let mut proxy = Proxy::start("chains: { default: [] }").await;
    let hello: &[u8] = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";
    for bytes in [hello, b"\0\0\0\0", b"\xff\xfe\r\n\r\n", b"SSH-2.0-x\r\n"] {
        assert_refused(&proxy, bytes, &["400"]).await;
    }
    let http_2 = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    assert_refused(&proxy, http_2, &["400", "505"]).await;
    proxy.assert_is_well().await;
}

#[tokio::test]
async fn a_load_balancer_that_sends_the_proxy_protocol_is_told() {
    let begun: [&[u8]; 4] = [
        b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\nCONNECT a.test:1 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"PROXY TCP6 2001:db8::1 2001:db8::2 1 2\r\n\x16\x03\x01",
        b"PROXY UNKNOWN\r\n",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x01\xc0\0\x02\x02\0\x01\0\x02",
    ];
    let certificates = Certificates::new();
    let tls = certificates.listener_tls();
    let tls = format!("server: {{ listen: {{ address: \"127.0.0.1:0\", tls: {{ {tls} }} }} }}\n");
    for (server, event, status) in [
        ("", "request denied", "400"),
        (&*tls, "the client does not speak TLS, which this listener requires", "400"),
        (
            "server: { protocols: [socks5] }\n",
            "the client speaks a protocol that `server.protocols` leaves out",
            "403",
        ),
    ] {
        for bytes in begun {
            let proxy = Proxy::start(&format!("{server}chains: {{ default: [] }}\n")).await;
            let answer = exchange(proxy.address(), bytes).await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
            let reason = proxy.event(event).await.field("reason").to_owned();
            for told in [&answer, &reason] {
                assert!(told.contains("begins with the PROXY protocol"), "{told}");
                assert!(told.contains("remove `send-proxy`"), "{told}");
            }
        }
    }
}

#[tokio::test]
async fn a_head_that_dribbles_is_given_up() {
    let mut proxy = Proxy::start("timeouts: { header: 1s }\nchains: { default: [] }\n").await;
    let mut dribbling = open(proxy.address()).await;
    let (mut read, mut write) = dribbling.split();
    let dribble = async {
        while write.write_all(b"a").await.is_ok() {
            time::sleep(Duration::from_millis(20)).await;
        }
    };
    let ended = async {
        let mut answer = Vec::new();
        let _ = read.read_to_end(&mut answer).await;
    };
    within("the end", async {
        tokio::select! { () = dribble => {} () = ended => {} }
    })
    .await;
    proxy.assert_is_well().await;
}

#[tokio::test]
async fn clients_that_leave_do_no_harm() {
    let echo = EchoOrigin::start().await;
    let mut proxy = Proxy::start("chains: { default: [] }").await;
    for _ in 0..100 {
        drop(open(proxy.address()).await);
        let half = open(proxy.address()).await;
        half.try_write(b"CONNECT ").unwrap();
        half.set_zero_linger().unwrap();
        drop(half);
        drop(connect(proxy.address(), echo.address()).await);
    }
    proxy.assert_is_well().await;
}

#[tokio::test]
async fn clients_over_the_limit_get_a_reason() {
    let echo = EchoOrigin::start().await;
    let proxy = Proxy::start("limits: { connections: 1 }\nchains: { default: [] }\n").await;
    let tunnel = connect(proxy.address(), echo.address()).await.tunnel();
    let request = format!("CONNECT {} HTTP/1.1\r\nHost: x\r\n\r\n", echo.address());
    let told = exchange(proxy.address(), request.as_bytes()).await;
    assert!(told.starts_with("HTTP/1.1 503 "), "{told}");
    drop(tunnel);
    // The log says so a moment before the place is free.
    proxy.event("tunnel closed").await;
    within("a place is free", async {
        while connect(proxy.address(), echo.address()).await.head.contains(" 503 ") {}
    })
    .await;
}

#[test]
fn a_port_that_is_taken_is_one_clear_sentence() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let config = tempfile::tempdir().unwrap();
    fs::write(config.path().join("a.yaml"), "chains: { default: [] }\n").unwrap();
    let arguments = ["run", "--listen", &address, "-c", config.path().to_str().unwrap()];
    let output = run(arguments);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let words = String::from_utf8(output.stderr).unwrap();
    assert!(words.contains(&address), "{words}");
    assert!(!words.contains("panicked"), "{words}");
}

#[test]
fn a_configuration_that_cannot_be_read_is_one_clear_sentence() {
    let scratch = tempfile::tempdir().unwrap();
    let missing = scratch.path().join("missing");
    let directory = scratch.path().join("directory");
    fs::create_dir_all(directory.join("10-a-directory.yaml")).unwrap();
    fs::write(directory.join("20-latin.yaml"), b"log: { level: \"\xe9\" }\n").unwrap();
    for path in [missing, directory] {
        for command in ["run", "check"] {
            let output = run([command, "-c", path.to_str().unwrap()]);
            assert_eq!(output.status.code(), Some(1), "{command} {path:?}: {output:?}");
            let words = String::from_utf8(output.stderr).unwrap()
                + &String::from_utf8(output.stdout).unwrap();
            let name = path.file_name().unwrap().to_str().unwrap();
            assert!(words.contains(name) || words.contains("20-latin.yaml"), "{words}");
            assert!(!words.contains("panicked"), "{words}");
        }
    }
}

/// Far more than what is under way in the buffers of two sockets.
const ENDLESS_BYTES: usize = 256 << 20;

/// Sends `bytes` and expects one of `statuses`, then the end of the connection.
async fn assert_refused(proxy: &Proxy, bytes: &[u8], statuses: &[&str]) {
    let answer = exchange(proxy.address(), bytes).await;
    let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(100)]);
    let status =
        answer.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)).unwrap_or_default();
    assert!(statuses.contains(&status), "{shown:?}: {answer:?}");
    assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{shown:?}: {answer:?}");
}
