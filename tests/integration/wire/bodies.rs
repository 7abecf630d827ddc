//! Bodies on their way: early answers, half-closes, cuts, and clients that go away.

use std::sync::Arc;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    sync::Notify,
};

use super::{OK, answer, at, direct};
use crate::support::{Double, Step, assert_reads, head, open, rest, within};

const POST: &str = "POST http://{o}/ HTTP/1.1\r\nHost: x\r\n";

#[tokio::test]
async fn the_first_bytes_of_an_upload_arrive_before_the_last_are_sent() {
    for (first, last) in [
        ("Content-Length: 9\r\n\r\nfirst", "last"),
        ("Transfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n", "4\r\nlast\r\n0\r\n\r\n"),
    ] {
        let origin = Double::start([
            Step::Hear("first".into()),
            Step::Hear(last.into()),
            Step::Say(OK.into()),
        ])
        .await;
        let proxy = direct().await;
        let mut client = open(proxy.address()).await;
        client.write_all((at(&origin, POST) + first).as_bytes()).await.unwrap();
        sent(&origin, "first").await;
        client.write_all(last.as_bytes()).await.unwrap();
        assert_eq!(
            head(&mut client).await,
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n",
            "{first:?}"
        );
    }
}

#[tokio::test]
async fn events_arrive_as_they_are_sent() {
    let next = Arc::new(Notify::new());
    let event = |number| Step::Say(format!("9\r\ndata: {number}\n\n\r\n"));
    let mut steps = vec![answer(
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n",
    )];
    for number in 0..3 {
        steps.extend([Step::Await(Arc::clone(&next)), event(number)]);
    }
    let origin = Double::start(steps).await;
    let proxy = direct().await;
    let mut client = open(proxy.address()).await;
    client
        .write_all(at(&origin, "GET http://{o}/ HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes())
        .await
        .unwrap();
    head(&mut client).await;
    for number in 0..3 {
        next.notify_one();
        assert_reads(&mut client, &format!("9\r\ndata: {number}\n\n\r\n")).await;
    }
}

#[tokio::test]
async fn an_answer_may_come_before_the_request_is_whole() {
    for framing in [
        "Content-Length: 1000000\r\n\r\nthe start",
        "Transfer-Encoding: chunked\r\n\r\n9\r\nthe start\r\n",
    ] {
        let origin =
            Double::start([answer("HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno")]).await;
        let proxy = direct().await;
        let mut client = open(proxy.address()).await;
        client.write_all((at(&origin, POST) + framing).as_bytes()).await.unwrap();
        let told = rest(&mut client).await;
        assert_eq!(
            told,
            "HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno"
        );
        is_closed(&origin).await;
    }
}

#[tokio::test]
async fn an_upload_goes_on_while_its_answer_comes() {
    let origin = Double::start([
        answer("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsta"),
        Step::Hear("the end".into()),
        Step::Say("rts".into()),
    ])
    .await;
    let proxy = direct().await;
    let mut client = open(proxy.address()).await;
    client.write_all((at(&origin, POST) + "Content-Length: 9\r\n\r\nx ").as_bytes()).await.unwrap();
    assert_eq!(
        head(&mut client).await,
        "HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\n"
    );
    assert_reads(&mut client, "sta").await;
    client.write_all(b"the end").await.unwrap();
    assert_eq!(rest(&mut client).await, "rts");
}

#[tokio::test]
async fn a_request_that_is_cut_off_is_cut_off_at_the_origin() {
    for body in ["Content-Length: 9\r\n\r\nhalf", "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"]
    {
        for is_reset in [false, true] {
            let origin = Double::start([Step::Listen]).await;
            let proxy = direct().await;
            let mut client = open(proxy.address()).await;
            client.write_all((at(&origin, POST) + body).as_bytes()).await.unwrap();
            sent(&origin, "half").await;
            if is_reset {
                client.set_zero_linger().unwrap();
            }
            drop(client);
            is_closed(&origin).await;
            assert!(origin.sent().trim_end().ends_with("half"), "{:?}", origin.sent());
        }
    }
}

#[tokio::test]
async fn a_broken_body_after_the_answer_began_breaks_both() {
    let origin = Double::start([answer("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")]).await;
    let proxy = direct().await;
    let mut client = open(proxy.address()).await;
    client
        .write_all((at(&origin, POST) + "Transfer-Encoding: chunked\r\n\r\n").as_bytes())
        .await
        .unwrap();
    head(&mut client).await;
    assert_reads(&mut client, "half").await;
    client.write_all(b"nonsense\r\n").await.unwrap();
    assert_eq!(rest(&mut client).await, "");
    is_closed(&origin).await;
    assert!(
        !origin.sent().contains("nonsense") && !origin.sent().contains("\r\n0\r\n"),
        "{:?}",
        origin.sent()
    );
}

#[tokio::test]
async fn a_broken_body_after_an_interim_answer_is_a_400() {
    let origin = Double::start([answer("HTTP/1.1 100 Continue\r\n\r\n")]).await;
    let proxy = direct().await;
    let mut client = open(proxy.address()).await;
    let request = at(&origin, POST) + "Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n";
    client.write_all(request.as_bytes()).await.unwrap();
    assert_eq!(head(&mut client).await, "HTTP/1.1 100 Continue\r\n\r\n");
    client.write_all(b"nonsense\r\n").await.unwrap();
    assert!(rest(&mut client).await.starts_with("HTTP/1.1 400 "));
    is_closed(&origin).await;
}

#[tokio::test]
async fn a_client_that_waits_for_100_is_answered_by_the_origin() {
    for (said, is_sent) in [
        ("HTTP/1.1 100 Continue\r\n\r\n", true),
        ("HTTP/1.1 417 No\r\nContent-Length: 0\r\n\r\n", false),
    ] {
        let origin =
            Double::start([answer(said), Step::Hear("body".into()), Step::Say(OK.into())]).await;
        let proxy = direct().await;
        let mut client = open(proxy.address()).await;
        let request = at(&origin, POST) + "Expect: 100-continue\r\nContent-Length: 4\r\n\r\n";
        client.write_all(request.as_bytes()).await.unwrap();
        let first = head(&mut client).await;
        if is_sent {
            assert_eq!(first, said);
            client.write_all(b"body").await.unwrap();
            assert!(head(&mut client).await.starts_with("HTTP/1.1 200 "));
        } else {
            assert_eq!(first, "HTTP/1.1 417 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            assert_eq!(rest(&mut client).await, "");
        }
        assert!(origin.sent().contains("\r\nExpect: 100-continue\r\n"));
    }
}

#[tokio::test]
async fn a_client_that_has_ended_its_direction_gets_its_answer() {
    let allowed = Arc::new(Notify::new());
    let origin =
        Double::start([answer(""), Step::Await(Arc::clone(&allowed)), Step::Say(OK.into())]).await;
    let proxy = direct().await;
    let mut client = open(proxy.address()).await;
    client
        .write_all(at(&origin, "GET http://{o}/ HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes())
        .await
        .unwrap();
    client.shutdown().await.unwrap();
    sent(&origin, "\r\n\r\n").await;
    allowed.notify_one();
    assert_eq!(rest(&mut client).await, format!("{OK}"));
}

#[tokio::test]
async fn a_client_that_is_gone_takes_its_silent_stream_with_it() {
    for is_half_closed_first in [false, true] {
        let stream = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n";
        let origin = Double::start([answer(stream)]).await;
        let proxy = direct().await;
        let mut client = open(proxy.address()).await;
        client
            .write_all(at(&origin, "GET http://{o}/ HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes())
            .await
            .unwrap();
        head(&mut client).await;
        assert_reads(&mut client, "1\r\na\r\n").await;
        if is_half_closed_first {
            client.shutdown().await.unwrap();
        }
        client.set_zero_linger().unwrap();
        drop(client);
        is_closed(&origin).await;
    }
}

#[tokio::test]
async fn an_answer_that_lasts_until_the_end_is_cut_by_a_reset() {
    if !crate::support::resets_or_skip() {
        return;
    }
    let allowed = Arc::new(Notify::new());
    let origin = Double::start([
        answer("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"),
        Step::Await(Arc::clone(&allowed)),
        Step::End,
    ])
    .await;
    let chunked = Double::start([
        answer("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"),
        Step::Await(Arc::clone(&allowed)),
        Step::End,
    ])
    .await;
    let proxy = direct().await;
    for (origin, is_reset) in [(origin, false), (chunked, true)] {
        let mut client = open(proxy.address()).await;
        client.write_all(at(&origin, "GET http://{o}/ HTTP/1.0\r\n\r\n").as_bytes()).await.unwrap();
        head(&mut client).await;
        assert_reads(&mut client, "half").await;
        allowed.notify_one();
        let end = within("the end", client.read_u8()).await.unwrap_err();
        assert_eq!(end.kind() == std::io::ErrorKind::ConnectionReset, is_reset, "{end}");
    }
}

#[tokio::test]
async fn a_head_that_dribbles_is_a_504_also_while_the_request_is_under_way() {
    for request in [
        "GET http://{o}/ HTTP/1.1\r\nHost: x\r\n\r\n",
        "POST http://{o}/ HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nhalf",
    ] {
        let words = format!("HTTP/1.1 200 OK\r\nA: {}", "a".repeat(10_000));
        let origin =
            Double::start([answer(""), Step::Dribble(words, std::time::Duration::from_millis(20))])
                .await;
        let proxy = direct().await;
        let mut client = open(proxy.address()).await;
        client.write_all(at(&origin, request).as_bytes()).await.unwrap();
        let told = rest(&mut client).await;
        assert!(told.starts_with("HTTP/1.1 504 "), "{told:?}");
        assert!(told.contains("error=http_response_timeout"), "{told:?}");
    }
}

async fn sent(origin: &Double, end: &str) {
    origin.record().until(end, |seen| seen.first()?.text().contains(end).then_some(())).await;
}

async fn is_closed(origin: &Double) {
    origin
        .record()
        .until("the upstream connection is closed", |seen| seen.first()?.is_ended.then_some(()))
        .await;
}
