//! Answers that come before their request is whole: the upload goes on for as long as the origin reads.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time::sleep,
};

use super::direct;
use crate::support::{fill, head, open, rest, within};

const BODY_BYTES: usize = 20 << 20;
const ANSWER: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nearly";
const PASSED: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nearly";

#[tokio::test]
async fn an_early_answer_does_not_cut_a_large_upload() {
    let body = fill(BODY_BYTES);
    let mut chunked = Vec::new();
    for part in body.chunks(100_000) {
        chunked.extend_from_slice(format!("{:x}\r\n", part.len()).as_bytes());
        chunked.extend_from_slice(part);
        chunked.extend_from_slice(b"\r\n");
    }
    chunked.extend_from_slice(b"0\r\n\r\n");
    let proxy = direct().await;
    for (framing, sent) in [
        (format!("Content-Length: {BODY_BYTES}"), body.clone()),
        ("Transfer-Encoding: chunked".to_owned(), chunked),
    ] {
        let (origin, came) = origin(ANSWER).await;
        let mut client = post(proxy.address(), origin, &framing).await;
        assert_eq!(head(&mut client).await + "early", PASSED, "the answer does not wait");
        let mut early = [0; 5];
        client.read_exact(&mut early).await.unwrap();
        within("all is taken", client.write_all(&sent)).await.unwrap();
        assert_eq!(rest(&mut client).await, "");
        let came = within("the origin has it", came).await.unwrap();
        assert!(content(&came, &framing) == body, "{framing}: {} bytes came", came.len());
    }
}

#[tokio::test]
async fn an_early_answer_does_not_cut_an_upload_that_dribbles() {
    let proxy = direct().await;
    for answer in [ANSWER, "HTTP/1.1 403 No\r\nContent-Length: 5\r\n\r\nearly"] {
        let (origin, came) = origin(answer).await;
        let mut client = post(proxy.address(), origin, "Content-Length: 5").await;
        head(&mut client).await;
        for byte in b"bytes" {
            sleep(Duration::from_secs(1)).await;
            client.write_all(&[*byte]).await.unwrap();
        }
        assert_eq!(rest(&mut client).await, "early");
        assert_eq!(within("the origin has it", came).await.unwrap(), b"bytes");
    }
}

#[tokio::test]
async fn an_upload_goes_on_behind_an_answer_that_lasts_until_the_end() {
    let proxy = direct().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let came = tokio::spawn(async move {
        let (mut origin, _) = listener.accept().await.unwrap();
        head(&mut origin).await;
        origin.write_all(b"HTTP/1.0 200 OK\r\n\r\nearly").await.unwrap();
        origin.shutdown().await.unwrap();
        read_all(&mut origin).await
    });
    let body = fill(1 << 20);
    let mut client = post(proxy.address(), address, "Content-Length: 1048576").await;
    head(&mut client).await;
    within("all is taken", client.write_all(&body)).await.unwrap();
    assert_eq!(rest(&mut client).await, "5\r\nearly\r\n0\r\n\r\n");
    assert!(within("the origin has it", came).await.unwrap() == body);
}

#[tokio::test]
async fn an_answer_arrives_though_its_origin_takes_no_more_of_the_request() {
    let proxy = direct().await;
    for is_reset in [false, true] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let said = tokio::spawn(async move {
            let (mut origin, _) = listener.accept().await.unwrap();
            head(&mut origin).await;
            let large = "x".repeat(300_000);
            let words = format!("HTTP/1.1 413 No\r\nContent-Length: 300000\r\n\r\n{large}");
            origin.write_all(words.as_bytes()).await.unwrap();
            if !is_reset {
                origin.shutdown().await.unwrap();
                sleep(Duration::from_millis(500)).await;
            }
        });
        let mut client = post(proxy.address(), address, "Content-Length: 20971520").await;
        // It sends everything before it reads anything.
        within("all is taken", client.write_all(&fill(BODY_BYTES))).await.unwrap();
        let told = rest(&mut client).await;
        said.await.unwrap();
        assert!(told.starts_with("HTTP/1.1 413 ") || is_reset, "{:.80}", told);
        assert!(told.len() > 300_000 || is_reset, "{} bytes", told.len());
    }
}

/// An origin that says `answer` behind the head of a request, and returns the body that it reads to its end.
async fn origin(answer: &'static str) -> (SocketAddr, JoinHandle<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let came = tokio::spawn(async move {
        let (mut origin, _) = listener.accept().await.unwrap();
        head(&mut origin).await;
        origin.write_all(answer.as_bytes()).await.unwrap();
        read_all(&mut origin).await
    });
    (address, came)
}

async fn read_all(stream: &mut TcpStream) -> Vec<u8> {
    let mut all = Vec::new();
    // A reset counts as an end here; what is missing then is missed below.
    let _ = stream.read_to_end(&mut all).await;
    all
}

async fn post(proxy: SocketAddr, origin: SocketAddr, framing: &str) -> TcpStream {
    let mut client = open(proxy).await;
    let head = format!("POST http://{origin}/ HTTP/1.1\r\nHost: x\r\n{framing}\r\n\r\n");
    client.write_all(head.as_bytes()).await.unwrap();
    client
}

/// The content of a body, whose chunks are whole.
fn content(mut body: &[u8], framing: &str) -> Vec<u8> {
    if !framing.ends_with("chunked") {
        return body.to_vec();
    }
    let mut content = Vec::new();
    loop {
        let end = body.iter().position(|byte| *byte == b'\r').unwrap();
        let size = std::str::from_utf8(&body[..end]).unwrap();
        let size = usize::from_str_radix(size, 16).unwrap();
        if size == 0 {
            assert_eq!(body, b"0\r\n\r\n");
            return content;
        }
        content.extend_from_slice(&body[end + 2..end + 2 + size]);
        body = &body[end + 2 + size + 2..];
    }
}
