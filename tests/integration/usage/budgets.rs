//! Budgets refuse, warn and send requests another way.

use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use super::{one_hop, opening_double};
use crate::support::{ConfigDir, Proxy, connect, exchange, head, run, status, within};

#[tokio::test(flavor = "multi_thread")]
async fn a_budget_that_is_used_up_refuses_with_the_time_to_wait() {
    if !crate::support::finds_proxies_or_skip() {
        return;
    }
    let hop = opening_double().await;
    let budget = ", budget: { bytes: 300B, per: hour, warn: 50% }";
    let proxy = Proxy::start(&one_hop("exit", hop.address(), budget)).await;
    let mut tunnel = connect(proxy.address(), "target.test:443").await.tunnel();
    tunnel.write_all(&[b'x'; 150]).await.unwrap();
    let warning = proxy.event("budget nearly used up").await;
    assert_eq!(warning.field("hop"), "exit");
    tunnel.write_all(&[b'x'; 150]).await.unwrap();
    proxy.event("budget used up").await;
    let refused =
        exchange(proxy.address(), b"CONNECT other.test:443 HTTP/1.1\r\nHost: o\r\n\r\n").await;
    assert!(
        refused.starts_with("HTTP/1.1 429 Too Many Requests (exit: budget used up)\r\n"),
        "{refused}"
    );
    let wait = refused.split_once("\r\nRetry-After: ").unwrap().1.split_once('\r').unwrap().0;
    assert!((1..=3600).contains(&wait.parse::<u64>().unwrap()), "{wait}");
    assert!(refused.contains("hops.exit.budget.bytes"), "{refused}");
    for command in ["probe", "explain"] {
        let said = proxy.command(&[command, "http://target.test/"]);
        let said = String::from_utf8(said.stdout).unwrap();
        assert!(said.contains("the budget of `exit` is used up"), "{command}: {said}");
    }
    // The open tunnel goes on.
    tunnel.write_all(b"more").await.unwrap();
    let metrics =
        exchange(proxy.address(), b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    for line in [
        "mooltiroute_budget_bytes{hop=\"exit\"} 300\n",
        "mooltiroute_budget_used_up{hop=\"exit\"} 1\n",
        "mooltiroute_budget_refused_total{hop=\"exit\"} 1\n",
    ] {
        assert!(metrics.contains(line), "{line}{metrics}");
    }
    // Switching the hop off and on does not reset the count.
    for switch in ["off", "on"] {
        let seen = proxy.events().len();
        let switched = proxy.command(&["hop", "exit", switch]);
        assert!(switched.status.success(), "{switched:?}");
        proxy.event_after(seen, "config reloaded").await;
    }
    let refused =
        exchange(proxy.address(), b"CONNECT other.test:443 HTTP/1.1\r\nHost: o\r\n\r\n").await;
    assert!(refused.starts_with("HTTP/1.1 429 "), "{refused}");
    // A higher limit is in force at once.
    let seen = proxy.events().len();
    proxy.config().write(
        "10-test.yaml",
        &one_hop("exit", hop.address(), ", budget: { bytes: 1MiB, per: hour }"),
    );
    proxy.event_after(seen, "config reloaded").await;
    connect(proxy.address(), "other.test:443").await.tunnel();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_says_that_a_budget_is_used_up_before_it_says_that_a_request_is_refused() {
    let hop = opening_double().await;
    let budget = ", budget: { bytes: 300B, per: hour, warn: 50% }";
    let proxy = Proxy::start(&one_hop("exit", hop.address(), budget)).await;
    // One transfer passes both thresholds. Its end adds its bytes at once, before the thread that looks at budgets.
    let mut tunnel = connect(proxy.address(), "target.test:443").await.tunnel();
    tunnel.write_all(&[b'x'; 1000]).await.unwrap();
    drop(tunnel);
    within("a request is refused", async {
        while !connect(proxy.address(), "other.test:443").await.head.starts_with("HTTP/1.1 429 ") {}
    })
    .await;
    proxy.event("request denied").await;
    let lines = ["budget nearly used up", "budget used up", "request denied"];
    let events = proxy.events();
    let logged = events.iter().map(|event| event.message()).filter(|line| lines.contains(line));
    // The warning has nothing to add to the line that the budget is used up.
    assert_eq!(logged.collect::<Vec<_>>(), lines[1..]);
}

#[tokio::test]
async fn a_budget_can_send_requests_another_way_and_cut_open_tunnels() {
    let (paid, free) = (opening_double().await, opening_double().await);
    let yaml = format!(
        "hops:\n  paid: {{ kind: http-connect, address: \"{}\", budget: {{ bytes: 200, per: day, then: {{ chain: spare }}, cut: true }} }}\n  \
         free: {{ kind: http-connect, address: \"{}\" }}\n\
         chains: {{ default: [paid], spare: [free] }}\nroutes: [{{ chain: default }}]\n",
        paid.address(),
        free.address()
    );
    let proxy = Proxy::start(&yaml).await;
    let mut tunnel = connect(proxy.address(), "target.test:443").await.tunnel();
    tunnel.write_all(&[b'x'; 200]).await.unwrap();
    let closed = proxy.event("tunnel closed").await;
    assert_eq!(closed.field("end"), "killed");
    assert!(tunnel.read_u8().await.is_err(), "the client sees a reset");
    let mut other = connect(proxy.address(), "target.test:443").await.tunnel();
    other.write_all(b"x").await.unwrap();
    free.record()
        .until("the request took the other chain", |seen| (!seen.is_empty()).then_some(()))
        .await;
    let budget = &status(proxy.address()).await["budgets"]["paid"];
    let counts = ["refused", "rerouted", "then"].map(|key| &budget[key]);
    assert_eq!(counts, [&json!(0), &json!(1), &json!("spare")], "{budget}");
}

#[tokio::test]
async fn a_fast_tunnel_is_cut_soon_after_its_budget_is_used_up() {
    const BUDGET: u64 = 20 << 20;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let yaml = format!(
        "hops:\n  paid: {{ kind: http-connect, address: \"{}\", budget: {{ bytes: 20MiB, per: day, cut: true }} }}\n\
         chains: {{ default: [paid] }}\n",
        listener.local_addr().unwrap()
    );
    tokio::spawn(async move {
        let (mut client, _) = listener.accept().await.unwrap();
        head(&mut client).await;
        client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
        let _ = tokio::io::copy(&mut client, &mut tokio::io::sink()).await;
    });
    let proxy = Proxy::start(&yaml).await;
    let mut tunnel = connect(proxy.address(), "target.test:443").await.tunnel();
    let bytes = vec![b'x'; 1 << 20];
    while tunnel.write_all(&bytes).await.is_ok() {}
    proxy.event("tunnel closed").await;
    let used = status(proxy.address()).await["budgets"]["paid"]["used"].as_u64().unwrap();
    assert!((BUDGET..BUDGET * 3 / 2).contains(&used), "{used}");
}

#[test]
fn budgets_that_make_no_sense_are_refused() {
    for (budget, expected) in [
        ("{ bytes: 0, per: day }", "must be at least 1"),
        ("{ bytes: 1, per: day, zone: Nowhere/City }", "is not a time zone"),
        ("{ bytes: 1, per: day, then: { chain: default } }", "leads through the hop"),
        ("{ bytes: 1, per: day, then: { chain: others } }", "unknown chain"),
        ("{ bytes: 1, per: day, warn: 101% }", "percentage"),
        ("{ bytes: 1, per: year }", "known values: hour, day, week, month"),
    ] {
        let config =
            ConfigDir::new(&one_hop("exit", "exit.test:1", &format!(", budget: {budget}")));
        let checked = run(["check", "-c", config.path().to_str().unwrap()]);
        let said = String::from_utf8_lossy(&checked.stdout).into_owned();
        assert_eq!(checked.status.code(), Some(1), "{budget}: {said}");
        assert!(said.contains(expected), "{budget}: {said}");
    }
}
