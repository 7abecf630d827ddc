//! Bytes that one side of a tunnel delivered reach the other side, however the connection ends.

use std::{io::Write as _, net::SocketAddr};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpSocket, TcpStream},
};
use tokio_rustls::rustls::{ConnectionCommon, SideData};

use crate::{
    support::{
        Certificates, ConfigDir, Proxy, assert_reads, exchange, fill, first_difference, head,
        within,
    },
    tls_listeners::connect_tls,
};
#[cfg(target_os = "linux")]
use {
    crate::support::{pause, status},
    std::time::Duration,
    tokio::time::sleep,
};

#[cfg(target_os = "linux")]
#[tokio::test]
async fn bytes_that_the_target_delivered_before_a_reset_arrive() {
    for hops in 0..=2 {
        let origin = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let chain = Chain::start(hops).await;
        let target = origin.local_addr().unwrap();
        let (client, accepted) =
            tokio::join!(slow_client(chain.address(), target), origin.accept());
        let (mut client, mut origin) = (client, accepted.unwrap().0);
        origin.write_all(&fill(BYTES)).await.unwrap();
        reset_after_delivery(origin).await;
        // The proxy has to see the reset before the client reads. Nothing outside tells when it does.
        sleep(Duration::from_millis(200)).await;
        read_until_reset(&mut client, hops).await;
        let event = chain.0[0].event("tunnel closed").await;
        assert_eq!(event.field("received"), BYTES.to_string(), "{hops} hops");
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn bytes_that_the_client_delivered_before_a_reset_arrive() {
    for hops in 0..=2 {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(SMALL_BUFFER).unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let origin = socket.listen(1).unwrap();
        let chain = Chain::start(hops).await;
        let target = origin.local_addr().unwrap();
        let (client, accepted) =
            tokio::join!(slow_client(chain.address(), target), origin.accept());
        let (mut client, mut origin) = (client, accepted.unwrap().0);
        client.write_all(&fill(BYTES)).await.unwrap();
        reset_after_delivery(client).await;
        sleep(Duration::from_millis(200)).await;
        read_until_reset(&mut origin, hops).await;
        let event = chain.0[0].event("tunnel closed").await;
        assert_eq!(event.field("sent"), BYTES.to_string(), "{hops} hops");
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn bytes_that_a_broken_client_never_got_are_not_counted() {
    // The rest of the body never comes, so the request goes on until the client breaks it off.
    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", 2 * BYTES);
    let answer = [answer.as_bytes(), &fill(BYTES)].concat();
    for message in ["tunnel closed", "request"] {
        let origin = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = Proxy::start("chains: { default: [] }").await;
        let target = origin.local_addr().unwrap();
        let is_tunnel = message == "tunnel closed";
        let client = async {
            if is_tunnel {
                return slow_client(proxy.address(), target).await;
            }
            let mut client = slow_connection(proxy.address()).await;
            let request = format!("GET http://{target}/ HTTP/1.1\r\nHost: {target}\r\n\r\n");
            client.write_all(request.as_bytes()).await.unwrap();
            client
        };
        let (client, accepted) = tokio::join!(client, origin.accept());
        let mut origin = accepted.unwrap().0;
        origin.write_all(&answer).await.unwrap();
        within("more is copied than the client has room for", async {
            while copied_by(&proxy).await < 150_000 {
                pause().await;
            }
        })
        .await;
        client.set_zero_linger().unwrap();
        drop(client);
        let event = proxy.event(message).await;
        let received: u64 = event.field("received").parse().unwrap();
        assert!((1..100_000).contains(&received), "{message}: {received} bytes");
    }
}

/// Returns how many bytes to clients the proxy has copied.
#[cfg(target_os = "linux")]
async fn copied_by(proxy: &Proxy) -> u64 {
    status(proxy.address()).await["chains"]["default"]["bytes_received"].as_u64().unwrap()
}

#[tokio::test]
async fn a_hop_over_tls_may_end_without_close_notify() {
    let certificates = Certificates::new();
    let answer = [b"HTTP/1.1 200 OK\r\n\r\n".as_slice(), &fill(BYTES)].concat();
    let hop = unclean_tls_hop(&certificates, answer).await;
    let proxy = Proxy::start(&through_tls(hop, &certificates)).await;
    let mut client = slow_client(proxy.address(), "127.0.0.1:9".parse().unwrap()).await;
    let mut came = Vec::new();
    within("the end", client.read_to_end(&mut came)).await.unwrap();
    assert_eq!((came.len(), first_difference(0, &came)), (BYTES, None));
}

#[tokio::test]
async fn a_body_with_a_length_that_a_tls_hop_cuts_short_is_not_completed() {
    let certificates = Certificates::new();
    for head in
        ["Content-Length: 100\r\n\r\nhello", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"]
    {
        let answer = format!("HTTP/1.1 200 OK\r\n{head}").into_bytes();
        let hop = unclean_tls_hop(&certificates, answer).await;
        let proxy = Proxy::start(&through_tls(hop, &certificates)).await;
        let mut client = TcpStream::connect(proxy.address()).await.unwrap();
        let request = "GET http://origin.test/ HTTP/1.1\r\nHost: origin.test\r\n\r\n";
        client.write_all(request.as_bytes()).await.unwrap();
        // What came before the end is passed on, and the framing tells the client that there should be more.
        let mut came = Vec::new();
        within("the end", client.read_to_end(&mut came)).await.unwrap();
        let came = String::from_utf8(came).unwrap();
        assert!(came.contains("hello") && !came.ends_with("0\r\n\r\n"), "{came:?}");
        let metrics = metrics(&proxy).await;
        let failed = "http_response_incomplete";
        assert!(metrics.contains(failed), "{metrics}");
    }
}

#[tokio::test]
async fn bytes_that_a_tls_hop_sent_in_front_of_a_broken_record_arrive() {
    let certificates = Certificates::new();
    for length in [10, BYTES] {
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
        for (request, head_of_answer) in [
            ("GET http://origin.test/ HTTP/1.1\r\nHost: origin.test\r\n", &*answer),
            (
                "CONNECT origin.test:443 HTTP/1.1\r\nHost: origin.test:443\r\n",
                "HTTP/1.1 200 OK\r\n\r\n",
            ),
        ] {
            let answer = [head_of_answer.as_bytes(), &fill(length)].concat();
            let hop = breaking_tls_hop(&certificates, answer).await;
            let proxy = Proxy::start(&through_tls(hop, &certificates)).await;
            let mut client = slow_connection(proxy.address()).await;
            client.write_all(format!("{request}\r\n").as_bytes()).await.unwrap();
            let told = head(&mut client).await;
            assert!(told.starts_with("HTTP/1.1 200 "), "{request}: {told}");
            let mut came = vec![0; length];
            within("all bytes", client.read_exact(&mut came)).await.unwrap();
            assert_eq!(first_difference(0, &came), None, "{request}, {length} bytes");
        }
    }
}

#[tokio::test]
async fn bytes_that_a_tls_client_sent_in_front_of_a_broken_record_arrive() {
    let certificates = Certificates::new();
    let config = ConfigDir::new("chains: { default: [] }\n");
    let tls = certificates.listener_tls();
    let server =
        format!("server: {{ listen: {{ address: \"127.0.0.1:0\", tls: {{ {tls} }} }} }}\n");
    config.write("00-server.yaml", &server);
    let proxy = Proxy::on(config, &[]).await;
    for length in [10, BYTES] {
        let origin = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = origin.local_addr().unwrap();
        let mut client = connect_tls(proxy.address(), &certificates, None).await.unwrap();
        let request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n");
        client.write_all(request.as_bytes()).await.unwrap();
        assert_reads(&mut client, "HTTP/1.1 200 Connection established\r\n\r\n").await;
        let (socket, session) = client.get_mut();
        let records = before_a_broken_record(session, &fill(length));
        socket.write_all(&records).await.unwrap();
        let (mut origin, _) = origin.accept().await.unwrap();
        let mut came = vec![0; length];
        within("all bytes", origin.read_exact(&mut came)).await.unwrap();
        assert_eq!(first_difference(0, &came), None, "{length} bytes");
    }
}

/// Returns the text of `/metrics`.
async fn metrics(proxy: &Proxy) -> String {
    let request = format!("GET /metrics HTTP/1.1\r\nHost: {}\r\n\r\n", proxy.address());
    exchange(proxy.address(), request.as_bytes()).await
}

/// Proxies in a row. Each has the next one as its hop; the first one is the client's.
#[cfg(target_os = "linux")]
struct Chain(Vec<Proxy>);

#[cfg(target_os = "linux")]
impl Chain {
    async fn start(hops: usize) -> Self {
        let mut proxies = vec![Proxy::start("chains: { default: [] }").await];
        for _ in 0..hops {
            let next = proxies[0].address();
            let yaml = format!(
                "hops: {{ next: {{ kind: http-connect, address: \"{next}\" }} }}\n\
                 chains: {{ default: [next] }}\n"
            );
            proxies.insert(0, Proxy::start(&yaml).await);
        }
        Self(proxies)
    }

    fn address(&self) -> SocketAddr {
        self.0[0].address()
    }
}

/// Opens a tunnel with a receive buffer that holds a small part of what comes.
async fn slow_client(proxy: SocketAddr, target: SocketAddr) -> TcpStream {
    let mut client = slow_connection(proxy).await;
    let request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n");
    client.write_all(request.as_bytes()).await.unwrap();
    assert_eq!(head(&mut client).await, "HTTP/1.1 200 Connection established\r\n\r\n");
    client
}

/// Connects with such a receive buffer.
async fn slow_connection(proxy: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(SMALL_BUFFER).unwrap();
    socket.connect(proxy).await.unwrap()
}

/// Reads everything, and then the reset.
#[cfg(target_os = "linux")]
async fn read_until_reset(socket: &mut TcpStream, hops: usize) {
    let mut came = Vec::new();
    let read = within("the reset", socket.read_to_end(&mut came)).await;
    assert_eq!((came.len(), first_difference(0, &came)), (BYTES, None), "{hops} hops");
    assert_eq!(read.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset, "{hops} hops");
}

/// Resets the connection once the peer's system has acknowledged every byte.
#[cfg(target_os = "linux")]
async fn reset_after_delivery(socket: TcpStream) {
    let ports = [socket.local_addr().unwrap().port(), socket.peer_addr().unwrap().port()];
    let ends = ports.map(|port| format!(":{port:04X}"));
    within("the peer has every byte", async {
        loop {
            let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
            let mut rows = table.lines().map(|row| row.split_whitespace().collect::<Vec<_>>());
            let row = rows.find(|row| row[1].ends_with(&ends[0]) && row[2].ends_with(&ends[1]));
            // The fifth column is the send queue and the receive queue.
            if row.unwrap()[4].starts_with("00000000:") {
                return;
            }
            pause().await;
        }
    })
    .await;
    socket.set_zero_linger().unwrap();
}

/// Starts a hop that reads one head over TLS, sends `answer` and ends the TCP connection without a word of TLS.
async fn unclean_tls_hop(certificates: &Certificates, answer: Vec<u8>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let acceptor = certificates.acceptor();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let mut tls = acceptor.accept(socket).await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(tls.read_u8().await.unwrap());
            }
            tls.write_all(&answer).await.unwrap();
            tls.flush().await.unwrap();
            let (mut socket, _) = tls.into_inner();
            socket.shutdown().await.unwrap();
            // Closing with unread bytes would be a reset.
            let _ = socket.read_to_end(&mut Vec::new()).await;
        }
    });
    address
}

/// Starts a hop that reads one head over TLS, and sends `answer` and a broken record at once.
async fn breaking_tls_hop(certificates: &Certificates, answer: Vec<u8>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let acceptor = certificates.acceptor();
    tokio::spawn(async move {
        let mut tls = acceptor.accept(listener.accept().await.unwrap().0).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(tls.read_u8().await.unwrap());
        }
        let (socket, session) = tls.get_mut();
        socket.write_all(&before_a_broken_record(session, &answer)).await.unwrap();
        let _ = socket.read_to_end(&mut Vec::new()).await;
    });
    address
}

/// Returns the records of `bytes`, and one that can't be decrypted.
fn before_a_broken_record(session: &mut ConnectionCommon<impl SideData>, bytes: &[u8]) -> Vec<u8> {
    session.set_buffer_limit(None);
    session.writer().write_all(bytes).unwrap();
    let mut records = Vec::new();
    while session.wants_write() {
        session.write_tls(&mut records).unwrap();
    }
    records.extend([23, 3, 3, 0, 40]);
    records.extend([0; 40]);
    records
}

fn through_tls(hop: SocketAddr, certificates: &Certificates) -> String {
    format!(
        "hops: {{ corporate: {{ kind: http-connect, address: \"{hop}\", tls: {{ ca: {:?} }} }} }}\n\
         chains: {{ default: [corporate] }}\n",
        certificates.authority_file()
    )
}

const BYTES: usize = 300_000;
const SMALL_BUFFER: u32 = 16 * 1024;
