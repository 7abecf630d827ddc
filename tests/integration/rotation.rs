//! Rotation kept honest: a provider that gives each connection another source address, and an origin that tells the one
//! it sees. Only Linux has all of 127.0.0.0/8 without asking.

use std::{
    collections::BTreeSet,
    net::{Ipv4Addr, SocketAddr},
    sync::atomic::{AtomicU8, Ordering},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional},
    net::{TcpListener, TcpSocket, TcpStream},
};

use crate::support::{Proxy, connect, head, open, rest};

#[tokio::test]
async fn with_rotate_each_request_and_each_tunnel_has_an_exit_of_its_own() {
    let origin = mirror().await;
    let provider = rotating_peer().await;
    for (session, exits) in [("rotate", 6), ("7", 4)] {
        let yaml = format!(
            "hops: {{ webshare: {{ kind: webshare, address: \"{provider}\", username: dev, password: secret, session: {session} }} }}\n\
             chains: {{ default: [webshare] }}\n"
        );
        let proxy = Proxy::start(&yaml).await;
        let mut client = open(proxy.address()).await;
        let mut seen = BTreeSet::new();
        for _ in 0..3 {
            let request = format!("GET http://{origin}/ HTTP/1.1\r\nHost: {origin}\r\n\r\n");
            client.write_all(request.as_bytes()).await.unwrap();
            let head = head(&mut client).await;
            let length = head.split("Content-Length: ").nth(1).unwrap();
            let length: usize = length.split("\r\n").next().unwrap().parse().unwrap();
            let mut exit = vec![0; length];
            client.read_exact(&mut exit).await.unwrap();
            seen.insert(String::from_utf8(exit).unwrap());
        }
        for _ in 0..3 {
            let mut tunnel = connect(proxy.address(), origin).await.tunnel();
            tunnel.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
            tunnel.shutdown().await.unwrap();
            let answer = rest(&mut tunnel).await;
            seen.insert(answer.rsplit("\r\n").next().unwrap().to_owned());
        }
        assert_eq!(seen.len(), exits, "session {session}: {seen:?}");
    }
}

/// An origin that answers each request with the address it comes from.
async fn mirror() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, peer)) = listener.accept().await {
            tokio::spawn(async move {
                while head(&mut stream).await.ends_with("\r\n\r\n") {
                    let exit = peer.ip().to_string();
                    let answer =
                        format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{exit}", exit.len());
                    if stream.write_all(answer.as_bytes()).await.is_err() {
                        break;
                    }
                }
            });
        }
    });
    address
}

/// A proxy each of whose connections leaves from another address of loopback.
async fn rotating_peer() -> SocketAddr {
    static NEXT: AtomicU8 = AtomicU8::new(2);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let exit = Ipv4Addr::new(127, 0, 0, NEXT.fetch_add(1, Ordering::Relaxed));
            tokio::spawn(pass(stream, exit));
        }
    });
    address
}

async fn pass(mut client: TcpStream, exit: Ipv4Addr) {
    let first = head(&mut client).await;
    let target = first.split(' ').nth(1).unwrap_or_default();
    let authority = target.trim_start_matches("http://").trim_end_matches('/');
    let Ok(authority) = authority.parse::<SocketAddr>() else { return };
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((exit, 0).into()).unwrap();
    let mut origin = socket.connect(authority).await.unwrap();
    if first.starts_with("CONNECT ") {
        client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
    } else {
        origin.write_all(first.as_bytes()).await.unwrap();
    }
    let _ = copy_bidirectional(&mut client, &mut origin).await;
}
