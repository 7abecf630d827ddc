//! The pages of the proxy itself: health, status, metrics, and who may read them.

use std::{
    net::SocketAddr,
    process::{Command, Stdio},
};

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;

use crate::support::{
    ConfigDir, Double, EchoOrigin, Program, Proxy, Step, assert_reads, connect, exchange, pause,
    run, status, within,
};

const DIRECT: &str = "chains: { default: [] }\n";

#[tokio::test]
async fn own_pages_need_a_local_host_field_and_are_read_only() {
    let mut proxy = Proxy::start(DIRECT).await;
    let own = proxy.address();
    let elsewhere = SocketAddr::from(([127, 0, 0, 1], 1));
    for path in ["/healthz", "/status", "/metrics", "/status?a=b"] {
        for (method, host, fields, expected) in [
            ("GET", own.to_string(), "", 200),
            ("HEAD", own.to_string(), "", 200),
            ("GET", "localhost".into(), "", 200),
            ("GET", "localhost".into(), "Sec-Fetch-Site: none\r\n", 200),
            ("GET", "localhost".into(), "Origin: http://localhost\r\n", 200),
            ("GET", "rebound.example".into(), "", 403),
            ("GET", format!("rebound.example:{}", own.port()), "", 403),
            ("GET", elsewhere.to_string(), "", 403),
            ("GET", own.to_string(), "Origin: http://page.example\r\n", 403),
            ("GET", own.to_string(), "Origin: null\r\n", 403),
            ("GET", own.to_string(), "Sec-Fetch-Site: cross-site\r\n", 403),
            ("POST", own.to_string(), "", 405),
            ("DELETE", own.to_string(), "", 405),
        ] {
            let request = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n");
            let answer = exchange(own, request.as_bytes()).await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {expected} ")), "{request}{answer}");
            assert_eq!(answer.contains("\r\nAllow: GET, HEAD\r\n"), expected == 405, "{answer}");
            assert!(answer.contains("\r\nConnection: close\r\n"), "{answer}");
            let body = answer.split_once("\r\n\r\n").unwrap().1;
            assert_eq!(body.is_empty(), method == "HEAD", "{answer}");
        }
    }
    let unknown = exchange(own, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert!(unknown.starts_with("HTTP/1.1 404 ") && unknown.contains("/status"), "{unknown}");
    let round =
        format!("GET http://{own}/status HTTP/1.1\r\nHost: {own}\r\nConnection: close\r\n\r\n");
    let round = exchange(own, round.as_bytes()).await;
    assert!(round.starts_with("HTTP/1.1 508 "), "{round}");
    proxy.assert_is_well().await;
}

#[tokio::test]
async fn chains_and_hops_that_an_edit_removed_keep_their_counts_and_are_not_listed() {
    let named = |name: &str| {
        format!(
            "hops: {{ hop-{name}: {{ kind: http-connect, address: \"127.0.0.1:1\" }} }}\n\
             chains: {{ chain-{name}: [hop-{name}] }}\nroutes: [{{ chain: chain-{name} }}]\n"
        )
    };
    let proxy = Proxy::start(&named("old")).await;
    let request = "CONNECT origin.test:443 HTTP/1.1\r\nHost: origin.test:443\r\n\r\n";
    exchange(proxy.address(), request.as_bytes()).await;
    let removed = async || status(proxy.address()).await["removed"].clone();
    assert_eq!(removed().await, json!({ "chains": [], "hops": [] }));
    let seen = proxy.events().len();
    proxy.config().write("10-test.yaml", &named("new"));
    proxy.event_after(seen, "config reloaded").await;
    assert_eq!(removed().await, json!({ "chains": ["chain-old"], "hops": ["hop-old"] }));
    let own = proxy.address();
    let metrics = format!("GET /metrics HTTP/1.1\r\nHost: {own}\r\n\r\n");
    let metrics = exchange(own, metrics.as_bytes()).await;
    assert!(metrics.contains("mooltiroute_failed_total{chain=\"chain-old\"} 1"), "{metrics}");
    let shown = String::from_utf8(proxy.command(&["status"]).stdout).unwrap();
    assert!(shown.contains("chain-new") && shown.contains("hop-new"), "{shown}");
    assert!(!shown.contains("-old"), "{shown}");
    assert!(shown.contains("not listed: 1 chain and 1 hop, no longer configured"), "{shown}");
    let seen = proxy.events().len();
    proxy.config().write("10-test.yaml", &named("old"));
    proxy.event_after(seen, "config reloaded").await;
    assert_eq!(removed().await, json!({ "chains": ["chain-new"], "hops": ["hop-new"] }));
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn pages_for_many_clients_at_once_take_a_few_threads() {
    let config = ConfigDir::new(
        "hops: { exits: { kind: pool, pick: round-robin, members_from: { file: exits.txt } } }\n\
         chains: { default: [exits] }\n",
    );
    // So many members that a page takes its time.
    let members = (0..MEMBERS).map(|n| format!("192.0.2.{}:{}\n", n % 250 + 1, n / 250 + 1));
    config.write("exits.txt", &members.collect::<String>());
    let mut proxy = Proxy::on(config, &[]).await;
    let (address, pid) = (proxy.address(), proxy.pid());
    let threads = || std::fs::read_dir(format!("/proc/{pid}/task")).unwrap().count();
    let before = threads();
    let mut clients = tokio::task::JoinSet::new();
    for number in 0..CLIENTS {
        let page = if number % 2 == 0 { "status" } else { "metrics" };
        let request = format!("GET /{page} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        clients.spawn(async move { exchange(address, request.as_bytes()).await });
    }
    let health = exchange(address, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert!(health.ends_with("\r\n\r\nok\n"), "{health}");
    let (mut most, mut served) = (before, 0);
    while served < CLIENTS {
        most = most.max(threads());
        tokio::select! {
            Some(answer) = clients.join_next() => {
                let answer = answer.unwrap();
                assert!(answer.starts_with("HTTP/1.1 200 "), "{:?}", answer.lines().next());
                served += 1;
            }
            () = pause() => {}
        }
    }
    assert!(most > before, "{most} threads: there is nothing to see");
    // Two pages are made at once. A thread that has just made one may not be free for the next yet.
    assert!(most < before + CLIENTS / 2, "{before} threads became {most}");
}

#[cfg(target_os = "linux")]
const MEMBERS: usize = 4_000;
#[cfg(target_os = "linux")]
const CLIENTS: usize = 40;

#[tokio::test]
async fn credentials_are_required_and_never_shown() {
    let proxy = Proxy::start(
        "server: { listen: \"127.0.0.1:0\", auth: { username: ann, password: canary-1 } }\n\
         hops: { exit: { kind: http-connect, address: \"a.test:1\", username: canary-2, password: canary-3 } }\n\
         chains: { default: [exit] }\n",
    )
    .await;
    for path in ["/healthz", "/status", "/metrics", "/"] {
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n");
        let answer = exchange(proxy.address(), format!("{request}\r\n").as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 407 "), "{answer}");
        for field in ["Proxy-Authorization", "Authorization"] {
            let request = format!("{request}{field}: Basic YW5uOmNhbmFyeS0x\r\n\r\n");
            let answer = exchange(proxy.address(), request.as_bytes()).await;
            let expected = if path == "/" { "HTTP/1.1 404 " } else { "HTTP/1.1 200 " };
            assert!(answer.starts_with(expected) && !answer.contains("canary"), "{answer}");
        }
    }
    let address = proxy.address().to_string();
    let path = proxy.config().path().to_str().unwrap();
    let told = run(["status", "-c", path, "--address", &address]);
    assert_eq!(told.status.code(), Some(0), "{told:?}");
    let words = String::from_utf8(told.stdout).unwrap();
    assert!(words.contains("exit") && !words.contains("canary"), "{words}");
    // Without the credentials there is no answer.
    let empty = ConfigDir::new("");
    let refused = run(["status", "-c", empty.path().to_str().unwrap(), "--address", &address]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("server.auth"), "{refused:?}");
}

#[tokio::test]
async fn the_counts_are_those_of_the_hops() {
    let hop = Double::start([Step::Answer("HTTP/1.1 200 OK\r\n\r\nhello".into())]).await;
    let proxy = Proxy::start(&format!(
        "hops: {{ corporate: {{ kind: http-connect, address: \"{}\" }} }}\n\
         chains: {{ default: [corporate] }}\n",
        hop.address()
    ))
    .await;
    let mut tunnels = Vec::new();
    for _ in 0..3 {
        let mut tunnel = connect(proxy.address(), "origin.test:443").await.tunnel();
        assert_reads(&mut tunnel, "hello").await;
        tunnels.push(tunnel);
    }
    tunnels[0].write_all(b"0123456789").await.unwrap();
    drop(tunnels.pop());
    hop.becomes([Step::Answer("HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n".to_owned())]);
    for _ in 0..2 {
        connect(proxy.address(), "origin.test:443").await;
    }
    let plain =
        b"GET http://origin.test/ HTTP/1.1\r\nHost: origin.test\r\nConnection: close\r\n\r\n";
    hop.becomes([Step::Answer("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".into())]);
    exchange(proxy.address(), plain).await;

    // What moved is counted while it moves; the end of a tunnel takes its moment.
    let status = within("the counts", async {
        loop {
            let status = status(proxy.address()).await;
            let hop = &status["hops"]["corporate"];
            if hop["tunnels_open"] == 2 && hop["bytes_sent"].as_u64() > Some(10) {
                return status;
            }
            pause().await;
        }
    })
    .await;
    let sent: usize = hop.record().now().iter().map(|seen| seen.text().len()).sum();
    assert!(sent > 0);
    for counts in [&status["chains"]["default"], &status["hops"]["corporate"]] {
        let count = |name: &str| counts[name].as_u64().unwrap();
        assert_eq!((count("tunnels_opened"), count("tunnels_open")), (3, 2), "{status:#}");
        assert_eq!((count("requests"), count("failed")), (1, 2), "{status:#}");
        let answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";
        assert_eq!(count("bytes_received"), 3 * 5 + answer.len() as u64, "{status:#}");
        let asked = hop.sent();
        let request = &asked[asked.find("GET http://").unwrap()..];
        let request = &request[..request.find("\r\n\r\n").unwrap() + 4];
        assert_eq!(count("bytes_sent"), 10 + request.len() as u64, "{status:#}");
    }
    let metrics =
        exchange(proxy.address(), b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    let open_metrics =
        b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nAccept: application/openmetrics-text\r\n\r\n";
    let open_metrics = exchange(proxy.address(), open_metrics).await;
    assert!(open_metrics.ends_with("\n# EOF\n") && !metrics.contains("# EOF"), "{metrics}");
    for line in [
        "mooltiroute_tunnels_total{chain=\"default\"} 3".to_owned(),
        "mooltiroute_tunnels_open{chain=\"default\"} 2".into(),
        "mooltiroute_hop_tunnels_total{hop=\"corporate\"} 3".into(),
        "mooltiroute_requests_total{chain=\"default\"} 1".into(),
        "mooltiroute_failures_total{hop=\"corporate\",stage=\"extend\",error=\"http_protocol_error\"} 2".into(),
        "mooltiroute_hop_handshake_seconds_count{hop=\"corporate\"} 3".into(),
        "mooltiroute_hop_handshake_seconds_bucket{le=\"+Inf\",hop=\"corporate\"} 3".into(),
        format!("mooltiroute_bytes_total{{chain=\"default\",direction=\"sent\"}} {}", status["chains"]["default"]["bytes_sent"]),
        "mooltiroute_config_generation 1".into(),
    ] {
        for text in [&metrics, &open_metrics] {
            assert!(text.contains(&format!("\n{line}\n")), "{line}\n{text}");
        }
    }
}

#[tokio::test]
async fn a_generation_is_listed_until_its_last_tunnel_ends() {
    let echo = EchoOrigin::start().await;
    let proxy = Proxy::start(DIRECT).await;
    let tunnel = connect(proxy.address(), echo.address()).await.tunnel();
    proxy.config().write("20-more.yaml", "timeouts: { idle: 1h }\n");
    proxy.event("config reloaded").await;
    let numbers = |status: &Value| -> Vec<(u64, u64)> {
        let all = status["generations"].as_array().unwrap().iter();
        all.map(|one| (one["number"].as_u64().unwrap(), one["tunnels"].as_u64().unwrap())).collect()
    };
    assert_eq!(numbers(&status(proxy.address()).await), [(1, 1), (2, 0)]);
    drop(tunnel);
    within("the first generation ends", async {
        while numbers(&status(proxy.address()).await) != [(2, 0)] {
            pause().await;
        }
    })
    .await;
}

#[tokio::test]
async fn targets_that_an_edit_sends_direct_are_shown_until_they_go_through_hops_again() {
    let proxy = Proxy::start(
        "hops: { a: { kind: socks5, address: \"127.0.0.1:1\" } }\n\
         chains: { default: [a], other: [a] }\nroutes: [{ hosts: [\"*.a.test\"], chain: other }, { chain: default }]\n",
    )
    .await;
    assert!(status(proxy.address()).await["went_direct"].is_null());
    let edit = async |text: &str| {
        let seen = proxy.events().len();
        proxy.config().write("20-edit.yaml", text);
        proxy.event_after(seen, "config reloaded").await;
        status(proxy.address()).await["went_direct"].clone()
    };
    let first = edit("chains: { other: [] }\n").await;
    assert_eq!(first["targets"], serde_json::json!(["*.a.test (chain other)"]));
    // An edit of something else changes nothing of it, and one that takes more targets adds them.
    assert_eq!(edit("chains: { other: [] }\ntimeouts: { idle: 1h }\n").await, first);
    let both = edit("chains: { other: [], default: [] }\n").await;
    assert_eq!(both["at"], first["at"]);
    let all = serde_json::json!(["*.a.test (chain other)", "any other host (chain default)"]);
    assert_eq!(both["targets"], all);
    let (_, words, _) = crate::support::outcome(&proxy.command(&["status"]));
    let line = words.lines().find(|line| line.contains("go direct")).unwrap();
    assert!(line.starts_with("direct       since 20"), "{line}");
    assert!(line.contains("targets that went through hops go direct: *.a.test (chain other), any"));
    let left = edit("chains: { default: [] }\n").await;
    assert_eq!(left["targets"], serde_json::json!(["any other host (chain default)"]));
    assert!(edit("timeouts: { idle: 1h }\n").await.is_null());
}

#[tokio::test]
async fn a_rejected_configuration_is_shown_until_it_is_mended() {
    let proxy = Proxy::start(DIRECT).await;
    let path = proxy.config().path().to_str().unwrap();
    let address = proxy.address().to_string();
    proxy.config().write("20-more.yaml", "timeouts: { idel: 1h }\n");
    proxy.event("config rejected").await;
    let told = run(["status", "-c", path, "--address", &address]);
    let words = String::from_utf8(told.stdout).unwrap();
    assert_eq!(told.status.code(), Some(0), "{words}");
    assert!(
        words.contains("rejected") && words.contains("20-more.yaml:1:13: timeouts.idel"),
        "{words}"
    );
    assert!(!words.contains('\u{1b}'), "{words}");
    let rejected = &status(proxy.address()).await["rejected"];
    assert!(rejected["problems"][0].as_str().unwrap().contains("idel"), "{rejected}");

    proxy.config().write("20-more.yaml", "timeouts: { idle: 1h }\n");
    proxy.event("config reloaded").await;
    let told = run(["status", "--address", &address, "--format", "json"]);
    let now: Value = serde_json::from_slice(&told.stdout).unwrap();
    assert!(now["rejected"].is_null(), "{now:#}");
    assert_eq!(now["reloads"]["rejected"], 1, "{now:#}");
    assert_eq!(now["generation"], 2, "{now:#}");
}

#[tokio::test]
async fn the_proxy_is_found_through_a_broken_configuration() {
    let port = crate::support::free_port();
    let config = ConfigDir::new(DIRECT);
    config.write("00-server.yaml", &format!("server: {{ listen: \"127.0.0.1:{port}\" }}\n"));
    let path = config.path().to_str().unwrap().to_owned();
    let nobody = run(["status", "-c", &path]);
    let words = String::from_utf8_lossy(&nobody.stderr).into_owned();
    assert_eq!(nobody.status.code(), Some(1), "{words}");
    assert!(words.contains("nothing listens there") && words.contains("--address"), "{words}");
    let proxy = Proxy::on(config, &[]).await;
    for broken in ["chains: [\n", "chains: { default: [nobody] }\n", "hops: { a: { kind: x } }\n"] {
        proxy.config().write("20-more.yaml", broken);
        let told = run(["status", "-c", &path]);
        assert_eq!(told.status.code(), Some(0), "{broken}: {told:?}");
    }
}

#[test]
fn promtool_accepts_the_alert_rules() {
    let Some(promtool) = Program::find_or_skip("promtool") else { return };
    let rules = concat!(env!("CARGO_MANIFEST_DIR"), "/contrib/prometheus/mooltiroute.rules.yaml");
    let checked = Command::new(promtool.path()).args(["check", "rules", rules]).output().unwrap();
    assert!(checked.status.success(), "{checked:?}");
}

#[tokio::test]
async fn promtool_has_no_complaint_about_the_metrics() {
    let Some(promtool) = Program::find_or_skip("promtool") else { return };
    let hop =
        Double::start([Step::Answer("HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n".to_owned())])
            .await;
    let yaml = format!(
        "hops:\n  corporate: {{ kind: http-connect, address: \"{}\" }}\n  \
         exits: {{ kind: pool, members: [corporate], budget: {{ bytes: 1GiB, per: day }} }}\n\
         chains: {{ default: {{ hops: [corporate], warm: 1 }}, pool: [exits] }}\n",
        hop.address()
    );
    let proxy = Proxy::start(&yaml).await;
    // A failure, so that every family has samples.
    connect(proxy.address(), "a.test:443").await;
    let answer =
        exchange(proxy.address(), b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    let (head, text) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.contains("\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8"), "{head}");
    assert!(text.contains("mooltiroute_failures_total{hop=\"corporate\""), "{text}");
    assert!(text.contains("mooltiroute_budget_bytes{hop=\"exits\"} 1073741824\n"), "{text}");
    let mut command = tokio::process::Command::new(promtool.path());
    command.args(["check", "metrics"]).kill_on_drop(true);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut checks = command.spawn().unwrap();
    checks.stdin.take().unwrap().write_all(text.as_bytes()).await.unwrap();
    let checked = within("promtool", checks.wait_with_output()).await.unwrap();
    let words = String::from_utf8_lossy(&checked.stderr).into_owned();
    assert!(checked.status.success() && words.is_empty(), "{words}\n{text}");
}
