//! A member of a pool refuses, or is silent.

use super::{AGREED, BLOCKED, CONNECT, GET, answer, count, pool, shown};
use crate::support::{ConfigDir, Double, Proxy, SHORT_WAIT, Step, connect, exchange, status};

const POST: &[u8] = b"POST http://origin.test/ HTTP/1.1\r\nHost: origin.test\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx";

#[tokio::test]
async fn a_member_that_refuses_one_request_after_the_other_is_told_and_stays_in_use() {
    for (request, words) in [(CONNECT, "asked for `origin.test:443`"), (GET, "from the target or")]
    {
        let member = Double::start([answer(BLOCKED)]).await;
        let proxy = Proxy::start(&pool(&member)).await;
        for _ in 0..2 {
            exchange(proxy.address(), request).await;
        }
        let pool = status(proxy.address()).await["pools"]["exits"].clone();
        assert_eq!(pool["shown"][0]["refused"], 2, "{pool}");
        assert_eq!(count(&proxy, "pool member refuses"), 0);
        assert!(shown(&proxy).contains("exits  members[0]  works"), "{}", shown(&proxy));
        for _ in 0..3 {
            exchange(proxy.address(), request).await;
        }
        let event = proxy.event("pool member refuses").await;
        assert_eq!(["hop", "member"].map(|name| event.field(name)), ["exits", "members[0]"]);
        assert!(event.field("error").contains("403 Forbidden"), "{event:?}");
        assert!(event.field("error").contains(words), "{event:?}");
        assert_eq!(count(&proxy, "pool member refuses"), 1, "once, however many follow");
        let pool = status(proxy.address()).await["pools"]["exits"].clone();
        let told = &pool["shown"][0];
        assert_eq!(told["working"], true, "{told}");
        let counts = ["reached", "failed", "refused", "refused_in_a_row"];
        let counts = counts.map(|key| told[key].as_u64());
        assert_eq!(counts, [Some(0), Some(0), Some(5), Some(5)], "{told}");
        assert!(told["refusal"].as_str().unwrap().contains("403 Forbidden"), "{told}");
        let text = shown(&proxy);
        assert!(text.contains("in use, refused the last 5"), "{text}");
        assert!(text.contains("exits.members[0] refused the last 5 requests: "), "{text}");
        assert!(text.contains("stays in use"), "{text}");
        let metrics = exchange(
            proxy.address(),
            format!("GET /metrics HTTP/1.1\r\nHost: {}\r\n\r\n", proxy.address()).as_bytes(),
        )
        .await;
        let line = format!(
            "mooltiroute_pool_member_refusals_total{{hop=\"exits\",member=\"{}\"}} 5",
            member.address()
        );
        assert!(metrics.contains(&line), "{metrics}");
        // One answer that serves ends it.
        member.becomes([answer(AGREED)]);
        match request {
            CONNECT => drop(connect(proxy.address(), "origin.test:443").await.tunnel()),
            _ => drop(exchange(proxy.address(), request).await),
        }
        proxy.event("pool member agrees again").await;
        let pool = status(proxy.address()).await["pools"]["exits"].clone();
        let told = &pool["shown"][0];
        assert_eq!((&told["refused_in_a_row"], &told["reached"]), (&0.into(), &1.into()), "{told}");
    }
}

#[tokio::test]
async fn a_plain_request_that_a_member_refuses_itself_is_not_carried() {
    let refusing = "HTTP/1.1 407 Who\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    let (first, second) = (
        Double::start([answer(refusing), Step::End]).await,
        Double::start([answer(AGREED), Step::End]).await,
    );
    let member = |one: &Double| format!("{{ kind: http-connect, address: \"{}\" }}", one.address());
    let proxy = Proxy::start(&format!(
        "hops:\n  exits: {{ kind: pool, members: [{}, {}] }}\nchains: {{ default: [exits] }}\n",
        member(&first),
        member(&second)
    ))
    .await;
    for _ in 0..2 {
        let told = exchange(proxy.address(), GET).await;
        assert!(told.starts_with("HTTP/1.1 200 "), "{told}");
    }
    let pool = status(proxy.address()).await["pools"]["exits"].clone();
    let counts = |index: usize| {
        ["reached", "refused", "failed"].map(|key| pool["shown"][index][key].as_u64().unwrap())
    };
    assert_eq!([counts(0), counts(1)], [[0, 2, 0], [2, 0, 0]], "{pool}");
}

#[tokio::test]
async fn a_target_that_is_not_there_takes_no_member_out_of_its_pool() {
    let member = Double::start([answer(
        "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
    )])
    .await;
    let proxy = Proxy::start(&pool(&member)).await;
    for _ in 0..6 {
        exchange(proxy.address(), CONNECT).await;
    }
    let pool = status(proxy.address()).await["pools"]["exits"].clone();
    let told = &pool["shown"][0];
    assert_eq!(told["working"], true, "{told}");
    assert_eq!(told["reached"], 0, "{told}");
    assert_eq!(count(&proxy, "pool member left"), 0);
}

#[tokio::test]
async fn a_silent_member_is_named_with_the_setting_that_ends_the_wait() {
    let member = Double::start([Step::Listen]).await;
    let proxy = Proxy::with_arguments(&pool(&member), &["--log-level", "debug"]).await;
    let told = exchange(proxy.address(), GET).await;
    assert!(
        told.starts_with("HTTP/1.1 504 Gateway Timeout (exits.members[0]: no answer in time)\r\n"),
        "{told}"
    );
    for words in [
        "hop `exits.members[0]` took the request",
        &format!("no answer within {SHORT_WAIT} s (`timeouts.response`)"),
        "raise `timeouts.response`",
    ] {
        assert!(told.contains(words), "{words}: {told}");
    }
    let waiting = proxy.event("the request is sent, and its answer is awaited").await;
    assert_eq!(waiting.field("upstream"), "exits.members[0]");
    assert_eq!(waiting.field("timeouts.response"), format!("{SHORT_WAIT} s"));
    let failed = proxy.event("request failed").await;
    assert!(failed.field("error").contains("`timeouts.response`"), "{failed:?}");
    assert!(failed.field("hops").contains("exits.members[0]@"), "{failed:?}");
}

#[tokio::test]
async fn a_socks_member_that_wants_a_password_is_told_in_a_whole_status_line() {
    let member =
        Double::start([Step::Hear("\x05\x01\0".into()), Step::Say("\x05\x02".into())]).await;
    let config = pool(&member).replace("http-connect", "socks5");
    let proxy = Proxy::start(&config).await;
    let text = exchange(proxy.address(), CONNECT).await;
    let status = text.lines().next().unwrap_or_default();
    assert_eq!(status, "HTTP/1.1 502 Bad Gateway (exits.members[0]: credentials needed)");
}

#[tokio::test]
async fn a_member_that_speaks_another_protocol_and_never_http_is_left_out() {
    for request in [GET, POST] {
        // A SOCKS5 server answers the first bytes of HTTP so.
        let member = Double::start([answer("\u{5}\u{7f}"), Step::End]).await;
        let config = ConfigDir::new(
            "hops: { exits: { kind: pool, members_from: { file: exits.txt } } }\nchains: { default: [exits] }\n",
        );
        config.write("exits.txt", &format!("# exits\n{}\n", member.address()));
        let proxy = Proxy::on(config, &[]).await;
        let told = exchange(proxy.address(), request).await;
        assert!(told.contains("begin line 2 of exits.txt with `socks5://`"), "{told}");
        let event = proxy.event("pool member left").await;
        let advice = event.field("advice");
        assert!(advice.contains("begin line 2 of exits.txt with `socks5://`"), "{event:?}");
        let text = shown(&proxy);
        assert!(!text.contains("  works"), "{text}");
        assert!(text.contains("SOCKS5"), "{text}");
        for _ in 0..3 {
            exchange(proxy.address(), request).await;
        }
        assert_eq!(count(&proxy, "pool member refuses"), 0);
    }
}

#[tokio::test]
async fn a_member_that_has_answered_in_http_stays_in_use_and_the_advice_is_about_the_protocol() {
    let member = Double::start([answer(AGREED), Step::End]).await;
    let proxy = Proxy::start(&pool(&member)).await;
    assert!(exchange(proxy.address(), GET).await.starts_with("HTTP/1.1 200 "));
    member.becomes([answer("\u{5}\u{7f}"), Step::End]);
    for _ in 0..3 {
        let told = exchange(proxy.address(), GET).await;
        assert!(told.contains("write `kind: socks5` for"), "{told}");
    }
    let event = proxy.event("pool member refuses").await;
    assert!(event.field("advice").contains("write `kind: socks5` for"), "{event:?}");
    assert_eq!(count(&proxy, "pool member left"), 0);
}
