//! Pools, as operators see them: in the status, the metrics and the log, and what `check` says of them.

mod advised;
mod asked_to_wait;
mod counts;
mod failover;
mod returns;

use serde_json::{Value, json};

use crate::support::{ConfigDir, Double, Proxy, Step, connect, exchange, free_port, run, status};

const REQUEST: &[u8] = b"CONNECT origin.test:443 HTTP/1.1\r\nHost: origin.test:443\r\n\r\n";

fn two_members(ports: [u16; 2]) -> String {
    let [first, second] = ports;
    format!(
        "hops:\n  exits:\n    kind: pool\n    members:\n      \
         - {{ kind: http-connect, address: \"127.0.0.1:{first}\" }}\n      \
         - {{ kind: http-connect, address: \"127.0.0.1:{second}\" }}\n\
         chains: {{ default: [exits] }}\n"
    )
}

async fn metrics(proxy: &Proxy) -> String {
    let address = proxy.address();
    let request = format!("GET /metrics HTTP/1.1\r\nHost: {address}\r\n\r\n");
    exchange(address, request.as_bytes()).await
}

fn plain(method: &str) -> String {
    format!(
        "{method} http://origin.test/ HTTP/1.1\r\nHost: origin.test\r\nConnection: close\r\n\r\n"
    )
}

const ANSWER: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";

/// Answers each CONNECT with this status, and closes.
fn refuses_with(head: &str) -> [Step; 2] {
    [Step::Answer(format!("HTTP/1.1 {head}\r\nContent-Length: 0\r\n\r\n")), Step::End]
}

/// Returns how many connections each of the two members failed, and whether connections use them.
async fn failures(proxy: &Proxy) -> [(Value, Value); 2] {
    let pool = status(proxy.address()).await["pools"]["exits"].clone();
    [0, 1].map(|index| {
        let member = &pool["shown"][index];
        (member["failed"].clone(), member["working"].clone())
    })
}

#[tokio::test]
async fn a_member_that_leaves_and_one_that_comes_back_are_logged_and_counted() {
    let ports = [free_port(), free_port()];
    let proxy = Proxy::start(&two_members(ports)).await;
    assert!(exchange(proxy.address(), REQUEST).await.starts_with("HTTP/1.1 502 "));
    let left = proxy.event("pool member left").await;
    let fields = ["hop", "member"].map(|field| left.field(field));
    assert_eq!(fields, ["exits", "members[0]"]);
    assert!(left.field("error").contains(&format!("127.0.0.1:{}", ports[0])), "{left:?}");
    let advice = "Check that it is up, that the address of `hops.exits.members[0]` is right, and that this machine may reach it.";
    assert_eq!(left.field("advice"), advice);
    let told = metrics(&proxy).await;
    for line in [
        "mooltiroute_pool_members{hop=\"exits\",state=\"left_out\"} 2",
        "mooltiroute_pool_member_up{hop=\"exits\",member=\"members[0]\"} 0",
        "mooltiroute_pool_member_failures_total{hop=\"exits\",member=\"members[1]\"} 1",
    ] {
        assert!(told.contains(line), "{line}: {told}");
    }

    // All have failed, so the next connection tries the one that failed first.
    let address = format!("127.0.0.1:{}", ports[0]).parse().unwrap();
    let _member = Double::start_at(address, [Step::Answer("HTTP/1.1 200 OK\r\n\r\n".into())]).await;
    drop(connect(proxy.address(), "origin.test:443").await.tunnel());
    let back = proxy.event("pool member back").await;
    assert_eq!(["hop", "member"].map(|field| back.field(field)), ["exits", "members[0]"]);
    let pool = &status(proxy.address()).await["pools"]["exits"];
    assert_eq!((&pool["members"], &pool["working"]), (&json!(2), &json!(1)), "{pool}");
    let member = &pool["shown"][0];
    assert_eq!(member["address"], json!(address.to_string()));
    let state = ["working", "retry_seconds", "reached", "failed"].map(|field| &member[field]);
    assert_eq!(state, [&json!(true), &Value::Null, &json!(1), &json!(1)]);
    assert!(pool["shown"][1]["retry_seconds"].as_f64().is_some(), "{pool}");
}

#[tokio::test]
async fn a_member_that_leaves_is_logged_with_what_to_do() {
    let rejecting = Double::start([
        Step::Answer("HTTP/1.1 407 Who\r\nContent-Length: 0\r\n\r\n".into()),
        Step::End,
    ])
    .await;
    let silent = Double::start([Step::Listen]).await;
    let (rejecting, silent) = (rejecting.address(), silent.address());
    for (member, request, advice) in [
        (
            format!(
                "{{ kind: http-connect, address: '{rejecting}', username: svc, password: Hunter2x }}"
            ),
            String::from_utf8(REQUEST.into()).unwrap(),
            "Correct this hop's `username` and `password`",
        ),
        (
            format!("{{ kind: http-connect, address: '{rejecting}', tls: true }}"),
            String::from_utf8(REQUEST.into()).unwrap(),
            "write `tls: false` for this hop",
        ),
        (
            "{ kind: http-connect, address: 'nosuch.invalid:1' }".to_owned(),
            String::from_utf8(REQUEST.into()).unwrap(),
            "this machine's name servers answer and know the name",
        ),
        (
            format!("{{ kind: http-connect, address: '{silent}' }}"),
            plain("GET"),
            "raise `timeouts.response`",
        ),
    ] {
        let proxy = Proxy::start(&format!(
            "timeouts: {{ response: 1s }}\nhops:\n  exits: {{ kind: pool, members: [{member}] }}\nchains: {{ default: [exits] }}\n"
        ))
        .await;
        exchange(proxy.address(), request.as_bytes()).await;
        let left = proxy.event("pool member left").await;
        assert!(left.field("advice").contains(advice), "{advice}: {left:?}");
        assert!(!left.text().contains("Hunter2x"), "{left:?}");
    }
}

#[tokio::test]
async fn labels_of_a_long_list_are_bounded() {
    let config = ConfigDir::new(
        "hops:\n  exits: { kind: pool, members_from: { file: exits.txt } }\nchains: { default: [exits] }\n",
    );
    let list: String = (1..=2000).map(|port| format!("127.0.0.1:{port}:user:pAsSwOrD\n")).collect();
    config.write("exits.txt", &list);
    let proxy = Proxy::on(config, &[]).await;
    let told = metrics(&proxy).await;
    assert!(
        told.contains("mooltiroute_pool_members{hop=\"exits\",state=\"working\"} 2000"),
        "{told}"
    );
    for name in ["pool_member_connections_total", "pool_member_failures_total"] {
        let samples: Vec<_> =
            told.lines().filter(|line| line.contains(&format!("{name}{{"))).collect();
        assert_eq!(samples.len(), 51, "{samples:?}");
        assert!(samples[50].contains("member=\"other\""), "{samples:?}");
        // A line number would be another proxy's after an edit of the list.
        assert!(samples[0].contains("member=\"127.0.0.1:1\""), "{samples:?}");
    }
    assert_eq!(status(proxy.address()).await["pools"]["exits"]["other"]["members"], 1950);
    let output = run(["check", "-c", proxy.config().path().to_str().unwrap()]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("2000 members") && text.contains("and 1980 more"), "{text}");
    assert!(!text.contains("pAsSwOrD") && !told.contains("pAsSwOrD"));
}
