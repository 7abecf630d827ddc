//! Requests that go on through another member, and members that are left out or stay in use.

use serde_json::json;

use super::{ANSWER, failures, plain, two_members};
use crate::support::{Double, Proxy, Step, exchange, pause, status, within};

/// Reads a head, and closes or breaks the connection.
fn hangs_up(end: Step) -> [Step; 2] {
    [Step::Hear("\r\n\r\n".into()), end]
}

#[tokio::test]
async fn a_plain_request_goes_on_through_another_member_if_the_first_hangs_up() {
    for end in [Step::End, Step::Reset] {
        let first = Double::start(hangs_up(end.clone())).await;
        let second = Double::start([Step::Answer(ANSWER.into())]).await;
        let proxy =
            Proxy::start(&two_members([&first, &second].map(|one| one.address().port()))).await;
        for _ in 0..3 {
            let answer = exchange(proxy.address(), plain("GET").as_bytes()).await;
            assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("hi"), "{answer}");
        }
        assert_eq!(first.record().now().len(), 1, "it is left out after the first failure");
        let left = proxy.event("pool member left").await;
        assert_eq!(["hop", "member"].map(|field| left.field(field)), ["exits", "members[0]"]);
        let expected = [(json!(1), json!(false)), (json!(0), json!(true))];
        assert_eq!(failures(&proxy).await, expected, "{end:?}");
        let carried =
            status(proxy.address()).await["pools"]["exits"]["shown"][0]["reached"].clone();
        assert_eq!(carried, 0);
    }
}

#[tokio::test]
async fn a_plain_request_that_is_unsafe_to_repeat_fails_and_its_member_is_left_out() {
    let body = "PUT http://origin.test/ HTTP/1.1\r\nHost: origin.test\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi";
    for request in [plain("POST"), body.to_owned()] {
        let first = Double::start(hangs_up(Step::End)).await;
        let second = Double::start([Step::Answer(ANSWER.into())]).await;
        let proxy =
            Proxy::start(&two_members([&first, &second].map(|one| one.address().port()))).await;
        let answer = exchange(proxy.address(), request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
        assert!(second.record().now().is_empty(), "{request}");
        let answer = exchange(proxy.address(), request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        assert_eq!(failures(&proxy).await[0], (json!(1), json!(false)));
    }
}

#[tokio::test]
async fn a_member_that_never_answers_a_plain_request_is_left_out() {
    let first = Double::start([Step::Listen]).await;
    let second = Double::start([Step::Answer(ANSWER.into())]).await;
    let config = two_members([&first, &second].map(|one| one.address().port()));
    let proxy = Proxy::start(&format!("timeouts: {{ response: 300ms }}\n{config}")).await;
    let answer = exchange(proxy.address(), plain("GET").as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 504 "), "{answer}");
    let answer = exchange(proxy.address(), plain("GET").as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert_eq!(failures(&proxy).await[0], (json!(1), json!(false)));
}

#[tokio::test]
async fn a_slow_origin_does_not_make_a_pool_leave_a_member_that_answers_others() {
    let first = Double::start([Step::Listen]).await;
    let second = Double::start([Step::Answer(ANSWER.into())]).await;
    let config = two_members([&first, &second].map(|one| one.address().port()));
    let proxy = Proxy::start(&format!("timeouts: {{ response: 1s }}\n{config}")).await;
    let (address, request) = (proxy.address(), plain("GET"));
    let slow = tokio::spawn(async move { exchange(address, request.as_bytes()).await });
    within("the slow request is sent", async {
        while first.record().now().is_empty() {
            pause().await;
        }
    })
    .await;
    first.becomes([Step::Answer(ANSWER.into())]);
    let answer = exchange(proxy.address(), plain("GET").as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(slow.await.unwrap().starts_with("HTTP/1.1 504 "));
    assert_eq!(failures(&proxy).await[0], (json!(0), json!(true)));
    assert!(second.record().now().is_empty());
}

#[tokio::test]
async fn a_plain_request_that_every_member_hangs_up_on_fails_with_the_last_of_them() {
    let member = Double::start(hangs_up(Step::End)).await;
    let port = member.address().port();
    let proxy = Proxy::start(&two_members([port, port])).await;
    let answer = exchange(proxy.address(), plain("GET").as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
    assert!(answer.contains("all 2 members"), "{answer}");
    assert_eq!(member.record().now().len(), 2);
}

#[tokio::test]
async fn a_tunnel_that_a_member_answers_with_500_is_tried_through_another_and_leaves_none_out() {
    let failing = "HTTP/1.1 500 Unable to connect\r\nContent-Length: 0\r\n\r\n";
    let first = Double::start([Step::Answer(failing.into())]).await;
    let second = Double::start([Step::Answer(failing.into())]).await;
    let config = two_members([&first, &second].map(|one| one.address().port()));
    let proxy = Proxy::start(&config).await;
    let connect = b"CONNECT nosuch.test:443 HTTP/1.1\r\nHost: nosuch.test:443\r\n\r\n";
    for _ in 0..3 {
        let answer = exchange(proxy.address(), connect).await;
        assert!(
            answer.starts_with("HTTP/1.1 502 ") && answer.contains("all 2 members"),
            "{answer}"
        );
    }
    assert_eq!([&first, &second].map(|one| one.record().now().len()), [3, 3]);
    let pool = status(proxy.address()).await["pools"]["exits"].clone();
    for index in [0, 1] {
        let member = &pool["shown"][index];
        assert_eq!([&member["failed"], &member["refused"]], [0, 3], "{member}");
        assert_eq!(member["working"], true, "{member}");
    }
    // A member that works serves what a broken one can't.
    second.becomes([Step::Answer("HTTP/1.1 200 OK\r\n\r\n".into()), Step::End]);
    for _ in 0..2 {
        let answer = exchange(proxy.address(), connect).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }
}

#[tokio::test]
async fn a_member_that_speaks_another_protocol_is_passed_over_and_carries_nothing() {
    let socks = [Step::Hear("\r\n\r\n".into()), Step::Say("\x05\u{7f}".into()), Step::End];
    let first = Double::start(socks).await;
    let second = Double::start([Step::Answer(ANSWER.into())]).await;
    let config = two_members([&first, &second].map(|one| one.address().port()));
    let proxy = Proxy::start(&config).await;
    for _ in 0..3 {
        let answer = exchange(proxy.address(), plain("GET").as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }
    // It has never answered in HTTP, so it is left out.
    let member = status(proxy.address()).await["pools"]["exits"]["shown"][0].clone();
    assert_eq!(member["failed"], first.record().now().len(), "{member}");
    assert_eq!([&member["reached"], &member["refused"]], [0, 0], "{member}");
    assert_eq!(member["working"], false, "{member}");
}

#[tokio::test]
async fn a_member_that_speaks_another_protocol_after_http_stays_in_use() {
    let first = Double::start([Step::Answer(ANSWER.into())]).await;
    let second = Double::start([Step::Answer(ANSWER.into())]).await;
    let config = two_members([&first, &second].map(|one| one.address().port()));
    let proxy = Proxy::start(&config).await;
    for _ in 0..2 {
        exchange(proxy.address(), plain("GET").as_bytes()).await;
    }
    let asked = first.record().now().len();
    first.becomes([Step::Hear("\r\n\r\n".into()), Step::Say("\x05\u{7f}".into()), Step::End]);
    // A request that must not be repeated is not, and learns the reason.
    let mut answer = exchange(proxy.address(), plain("POST").as_bytes()).await;
    if answer.starts_with("HTTP/1.1 200 ") {
        answer = exchange(proxy.address(), plain("POST").as_bytes()).await;
    }
    assert!(answer.contains("seems to be a SOCKS5 proxy"), "{answer}");
    let member = status(proxy.address()).await["pools"]["exits"]["shown"][0].clone();
    // A target could make a careless hop pass on such bytes, so it is not left out.
    assert_eq!([&member["refused"], &member["failed"]], [1, 0], "{member}");
    assert_eq!(member["reached"], asked, "{member}");
    assert_eq!(member["working"], true, "{member}");
}
