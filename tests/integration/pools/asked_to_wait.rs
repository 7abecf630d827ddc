//! Members that asked to wait with `Retry-After`, or whose rejected credentials are held back.

use serde_json::json;

use super::{REQUEST, failures, plain, refuses_with, two_members};
use crate::support::{Double, Proxy, Step, connect, exchange, free_port, status, within};

/// Returns the `Retry-After` of an answer.
fn retry_after(answer: &str) -> u64 {
    let value = answer.lines().find_map(|line| line.strip_prefix("Retry-After: "));
    value.unwrap_or_else(|| panic!("{answer}")).parse().unwrap()
}

#[tokio::test]
async fn a_member_that_asked_to_wait_is_not_asked_before_its_time() {
    for (one, other, expected) in [
        ("429 Slow\r\nRetry-After: 40", "429 Slow\r\nRetry-After: 20", "HTTP/1.1 503 "),
        ("503 Later\r\nRetry-After: 40", "503 Later\r\nRetry-After: 20", "HTTP/1.1 502 "),
        (
            "429 Slow\r\nRetry-After: Fri, 01 Jan 2100 00:00:00 GMT",
            "503 Later\r\nRetry-After: 20",
            "HTTP/1.1 502 ",
        ),
    ] {
        let first = Double::start(refuses_with(one)).await;
        let second = Double::start(refuses_with(other)).await;
        let ports = [&first, &second].map(|one| one.address().port());
        let proxy = Proxy::start(&two_members(ports)).await;
        let tried = exchange(proxy.address(), REQUEST).await;
        assert!(tried.starts_with(expected), "{tried}");
        assert_eq!(retry_after(&tried), 20, "the shortest: {tried}");
        for request in [REQUEST, plain("GET").as_bytes()] {
            let answer = exchange(proxy.address(), request).await;
            assert!(answer.starts_with(expected), "{answer}");
            assert!((15..=20).contains(&retry_after(&answer)), "{answer}");
            let words = "all 2 members of `exits` asked to wait; the first for another ";
            assert!(answer.contains(words), "{answer}");
            let is_limit = expected.contains("503");
            assert_eq!(answer.contains("Send fewer requests"), is_limit, "{answer}");
        }
        for member in [&first, &second] {
            assert_eq!(member.record().now().len(), 1, "it was asked once");
        }
        let pool = &status(proxy.address()).await["pools"]["exits"];
        assert_eq!(pool["asked_to_wait"], 2, "{pool}");
        for (index, limit) in [(0, 300.0), (1, 20.0)] {
            let member = &pool["shown"][index];
            assert_eq!(member["failed"], 1, "{member}");
            assert!(member["asked_until"].as_str().is_some_and(|at| at.ends_with('Z')), "{member}");
            assert!(member["retry_seconds"].as_f64().is_some_and(|left| left <= limit), "{member}");
        }
    }
}

#[tokio::test]
async fn a_member_that_asked_to_wait_gives_way_to_one_that_works() {
    let first = Double::start(refuses_with("429 Slow\r\nRetry-After: 1")).await;
    let second = Double::start([Step::Answer("HTTP/1.1 200 OK\r\n\r\n".into())]).await;
    let ports = [&first, &second].map(|one| one.address().port());
    let proxy = Proxy::start(&two_members(ports)).await;
    for _ in 0..3 {
        drop(connect(proxy.address(), "origin.test:443").await.tunnel());
    }
    assert_eq!(first.record().now().len(), 1);
    // Its time is shorter than the pause after a failure, and counts anyway.
    first.becomes([Step::Answer("HTTP/1.1 200 OK\r\n\r\n".into())]);
    within("it is asked again", async {
        while first.record().now().len() < 2 {
            drop(connect(proxy.address(), "origin.test:443").await.tunnel());
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    })
    .await;
    proxy.event("pool member back").await;
}

#[tokio::test]
async fn a_503_without_a_time_takes_no_member_out_of_its_pool() {
    let member = Double::start(refuses_with("503 Dead")).await;
    let proxy = Proxy::start(&two_members([member.address().port(), free_port()])).await;
    exchange(proxy.address(), REQUEST).await;
    assert_eq!(failures(&proxy).await[0], (json!(0), json!(true)));
}

#[tokio::test]
async fn credentials_that_are_held_back_have_one_time_and_count_as_no_failure() {
    let rejecting =
        Double::start(refuses_with("407 Who\r\nProxy-Authenticate: Basic realm=x")).await;
    let address = rejecting.address();
    let proxy = Proxy::start(&format!(
        "hops:\n  exits: {{ kind: pool, members: [own] }}\n  \
         own: {{ kind: http-connect, address: '{address}', username: svc, password: Hunter2x }}\n\
         chains: {{ default: [exits] }}\n"
    ))
    .await;
    exchange(proxy.address(), REQUEST).await;
    // Nothing has asked for the credentials since they were rejected, and they are held back already.
    let first = status(proxy.address()).await["pools"]["exits"].clone();
    assert_eq!(first["working"], 0, "{first}");
    assert!(first["shown"][0]["held_back_seconds"].as_u64().unwrap() > 0, "{first}");
    let text = String::from_utf8(proxy.command(&["status"]).stdout).unwrap();
    assert!(text.contains("credentials rejected, held back for "), "{text}");
    for _ in 0..3 {
        exchange(proxy.address(), REQUEST).await;
    }
    let told = status(proxy.address()).await;
    let member = &told["pools"]["exits"]["shown"][0];
    assert_eq!(member["failed"], 1, "the others sent nothing: {member}");
    let held = told["hops"]["own"]["held_back_seconds"].as_f64().unwrap();
    let left = member["retry_seconds"].as_f64().unwrap();
    assert!((held - 1.0..=held + 1.0).contains(&left), "{held} s: {member}");
    let problem = member["problem"].as_str().unwrap();
    assert!(problem.contains("407") && !problem.contains("another"), "{problem}");
    assert!(member["asked_until"].is_null(), "{member}");
    let text = String::from_utf8(proxy.command(&["status"]).stdout).unwrap();
    assert!(
        text.contains("until rejected credentials may be sent again, requests are refused"),
        "{text}"
    );
}
