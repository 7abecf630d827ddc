//! Clients that go away during a plain request, and clients that only end their own direction.

use std::time::{Duration, Instant};

use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpListener, TcpStream},
    time::sleep,
};

use super::{OK, direct};
use crate::support::{Network, Proxy, assert_reads, head, open, rest, within};

/// The two seconds that are promised, and some time for a busy machine.
const NOTICED: Duration = Duration::from_millis(2_000 + 500);

/// How a client goes.
#[derive(Clone, Copy, Debug)]
enum Departure {
    Close,
    HalfClose,
    Reset,
}

#[tokio::test]
async fn an_origin_sees_within_two_seconds_that_its_client_left() {
    check_departures(&direct().await).await;
}

#[tokio::test]
async fn an_origin_behind_hops_sees_within_two_seconds_that_its_client_left() {
    let Some(network) = Network::start().await else { return };
    for chain in ["[corporate]", "[corporate, webshare]"] {
        check_departures(&Proxy::start(&network.yaml(chain)).await).await;
    }
}

async fn check_departures(proxy: &Proxy) {
    for departure in [Departure::Close, Departure::HalfClose, Departure::Reset] {
        // Before any head, and in a stream of events that is silent.
        for said in ["", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n"] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let mut client = ask(proxy, &listener).await;
            let mut origin = within("a request comes", listener.accept()).await.unwrap().0;
            head(&mut origin).await;
            origin.write_all(said.as_bytes()).await.unwrap();
            if !said.is_empty() {
                head(&mut client).await;
                assert_reads(&mut client, "1\r\na\r\n").await;
            }
            let left = Instant::now();
            let _half = match departure {
                Departure::Close => {
                    drop(client);
                    None
                }
                Departure::HalfClose => {
                    client.shutdown().await.unwrap();
                    Some(client)
                }
                Departure::Reset => {
                    client.set_zero_linger().unwrap();
                    drop(client);
                    None
                }
            };
            let mut byte = [0];
            let told = tokio::io::AsyncReadExt::read(&mut origin, &mut byte);
            let told = within("the origin is told", told).await;
            assert!(!matches!(told, Ok(1..)), "{told:?}");
            let took = left.elapsed();
            assert!(took < NOTICED, "{departure:?} behind {said:?} took {took:?}");
        }
    }
}

#[tokio::test]
async fn an_answer_on_its_way_reaches_a_client_that_only_ended_its_direction() {
    let proxy = direct().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut client = ask(&proxy, &listener).await;
    client.shutdown().await.unwrap();
    let mut origin = within("a request comes", listener.accept()).await.unwrap().0;
    head(&mut origin).await;
    // For longer than silence is borne.
    let start = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";
    origin.write_all(start.as_bytes()).await.unwrap();
    for byte in b"bytes" {
        sleep(Duration::from_millis(700)).await;
        origin.write_all(&[*byte]).await.unwrap();
    }
    assert_eq!(rest(&mut client).await, format!("{start}bytes"));
}

#[tokio::test]
async fn a_client_that_ended_its_direction_and_reads_late_gets_all_of_its_answer() {
    let proxy = direct().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut client = ask(&proxy, &listener).await;
    client.shutdown().await.unwrap();
    let mut origin = within("a request comes", listener.accept()).await.unwrap().0;
    head(&mut origin).await;
    let body = "x".repeat(20 << 20);
    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let writing = tokio::spawn(async move {
        origin.write_all(answer.as_bytes()).await.unwrap();
        origin
    });
    sleep(Duration::from_secs(3)).await;
    let told = rest(&mut client).await;
    assert!(told.ends_with(&body), "{} bytes", told.len());
    drop(writing.await.unwrap());
}

#[tokio::test]
async fn a_client_whose_next_request_waits_is_noticed_too() {
    let proxy = direct().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut client = ask(&proxy, &listener).await;
    let mut origin = within("a request comes", listener.accept()).await.unwrap().0;
    head(&mut origin).await;
    let target = listener.local_addr().unwrap();
    let next = format!("GET http://{target}/2 HTTP/1.1\r\nHost: x\r\n\r\n");
    client.write_all(next.as_bytes()).await.unwrap();
    client.shutdown().await.unwrap();
    assert_eq!(within("the origin is told", rest(&mut origin)).await, "");
    // And one that stays gets both answers.
    let mut client = ask(&proxy, &listener).await;
    let mut origin = within("a request comes", listener.accept()).await.unwrap().0;
    head(&mut origin).await;
    client.write_all(next.as_bytes()).await.unwrap();
    client.shutdown().await.unwrap();
    origin.write_all(OK.as_bytes()).await.unwrap();
    head(&mut origin).await;
    origin.write_all(OK.as_bytes()).await.unwrap();
    assert_eq!(rest(&mut client).await, OK.repeat(2));
}

async fn ask(proxy: &Proxy, listener: &TcpListener) -> TcpStream {
    let target = listener.local_addr().unwrap();
    let mut client = open(proxy.address()).await;
    let request = format!("GET http://{target}/ HTTP/1.1\r\nHost: x\r\n\r\n");
    client.write_all(request.as_bytes()).await.unwrap();
    client
}
