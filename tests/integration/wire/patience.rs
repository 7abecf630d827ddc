//! How long peers may take: one timeout for each job.

use std::time::Duration;

use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpListener, TcpStream},
    time::sleep,
};

use super::OK;
use crate::support::{Double, Proxy, Step, exchange, fill, head, open, rest, within};

#[tokio::test]
async fn an_answer_may_take_longer_than_a_handshake() {
    for hops in ["", "corporate"] {
        let origin = Double::start([
            Step::Hear("\r\n\r\n".into()),
            Step::Dribble(String::from("HTTP/1.1 200 OK\r\n"), Duration::from_millis(100)),
            Step::Say("Content-Length: 2\r\n\r\nok".into()),
        ])
        .await;
        let yaml = format!(
            "timeouts: {{ handshake: 1s }}\nhops: {{ corporate: {{ kind: http-connect, address: \"{}\" }} }}\n\
             chains: {{ default: [{hops}] }}\n",
            origin.address()
        );
        let proxy = Proxy::start(&yaml).await;
        let request = format!(
            "GET http://{}/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
            origin.address()
        );
        let told = exchange(proxy.address(), request.as_bytes()).await;
        assert!(told.starts_with("HTTP/1.1 200 ") && told.ends_with("ok"), "{hops}: {told}");
    }
}

#[tokio::test]
async fn an_answer_is_late_after_its_own_timeout_counted_from_the_end_of_the_request() {
    let origin = Double::start([Step::Listen]).await;
    let proxy =
        Proxy::start("timeouts: { response: 1s, stall: 1s }\nchains: { default: [] }\n").await;
    let mut client = open(proxy.address()).await;
    let head = format!(
        "POST http://{}/ HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n",
        origin.address()
    );
    client.write_all(head.as_bytes()).await.unwrap();
    for byte in b"slow" {
        // The client takes its time, which is not the origin's.
        sleep(Duration::from_millis(700)).await;
        client.write_all(&[*byte]).await.unwrap();
    }
    let told = rest(&mut client).await;
    assert!(told.starts_with("HTTP/1.1 504 "), "{told}");
    assert!(told.contains("error=http_response_timeout") && told.contains("within 1 s"), "{told}");
    assert!(origin.sent().ends_with("slow"));
}

#[tokio::test]
async fn an_upload_waits_for_a_receiver_that_pauses() {
    let proxy =
        Proxy::start("timeouts: { handshake: 1s, response: 1s }\nchains: { default: [] }\n").await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let sent = fill(BODY_BYTES);
    let mut body = vec![0; BODY_BYTES];
    let mut client = post(&proxy, &listener).await;
    let sending = tokio::spawn(async move {
        client.write_all(&sent).await.unwrap();
        rest(&mut client).await
    });
    let mut origin = within("a request comes", listener.accept()).await.unwrap().0;
    head(&mut origin).await;
    sleep(Duration::from_secs(3)).await;
    within("the body comes", tokio::io::AsyncReadExt::read_exact(&mut origin, &mut body))
        .await
        .unwrap();
    origin.write_all(OK.as_bytes()).await.unwrap();
    assert!(body == fill(BODY_BYTES));
    drop(origin);
    assert!(sending.await.unwrap().starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn an_upload_of_which_nothing_is_taken_ends_after_its_timeout() {
    let proxy = Proxy::start("timeouts: { stall: 1s }\nchains: { default: [] }\n").await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut client = post(&proxy, &listener).await;
    let mut origin = within("a request comes", listener.accept()).await.unwrap().0;
    head(&mut origin).await;
    let _ = within("the client sends", client.write_all(&fill(BODY_BYTES))).await;
    let told = rest(&mut client).await;
    assert!(told.starts_with("HTTP/1.1 504 "), "{told}");
    assert!(told.contains("error=connection_write_timeout"), "{told}");
}

#[tokio::test]
async fn an_answer_of_which_nothing_is_taken_ends_after_its_timeout() {
    let proxy = Proxy::start("timeouts: { stall: 1s }\nchains: { default: [] }\n").await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = listener.local_addr().unwrap();
    let mut client = open(proxy.address()).await;
    let request = format!("GET http://{target}/ HTTP/1.1\r\nHost: x\r\n\r\n");
    client.write_all(request.as_bytes()).await.unwrap();
    let mut origin = within("a request comes", listener.accept()).await.unwrap().0;
    head(&mut origin).await;
    let start = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", 10 * BODY_BYTES);
    origin.write_all(start.as_bytes()).await.unwrap();
    let body = fill(10 * BODY_BYTES);
    within("the origin is told", origin.write_all(&body)).await.unwrap_err();
    assert_eq!(proxy.event("request").await.field("end"), "client stalled");
    drop(client);
}

async fn post(proxy: &Proxy, listener: &TcpListener) -> TcpStream {
    let target = listener.local_addr().unwrap();
    let mut client = open(proxy.address()).await;
    let head = format!(
        "POST http://{target}/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {BODY_BYTES}\r\n\r\n"
    );
    client.write_all(head.as_bytes()).await.unwrap();
    client
}

/// More than all buffers on the way hold.
const BODY_BYTES: usize = 20 << 20;
