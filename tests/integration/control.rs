//! The commands that use the control socket: `ps`, `kill` and `reload`.

use std::{io::ErrorKind, net::SocketAddr};

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::support::{
    ConfigDir, Double, EchoOrigin, Proxy, Step, assert_reads, connect, connect_early,
    finds_proxies_or_skip, open, outcome, pause, ping, resets, within,
};

const DIRECT: &str = "chains: { default: [] }\n";

/// Lists what is open, as `ps` does for programs.
#[track_caller]
fn ps(proxy: &Proxy) -> Vec<Value> {
    let (code, out, error) = outcome(&proxy.command(&["ps", "--format", "json"]));
    assert_eq!(code, Some(0), "{error}");
    serde_json::from_str(&out).unwrap()
}

pub(crate) async fn ps_until(proxy: &Proxy, is_there: impl Fn(&[Value]) -> bool) -> Vec<Value> {
    within("the list", async {
        loop {
            let rows = ps(proxy);
            if is_there(&rows) {
                return rows;
            }
            pause().await;
        }
    })
    .await
}

pub(crate) async fn assert_reset(stream: &mut TcpStream) {
    let read = within("the reset", stream.read_u8()).await;
    assert_eq!(read.map_err(|error| error.kind()), Err(cut()));
}

/// Returns the error that a client sees if its connection is cut: a reset, or an end if this system has no resets.
fn cut() -> ErrorKind {
    if resets() { ErrorKind::ConnectionReset } else { ErrorKind::UnexpectedEof }
}

#[tokio::test(flavor = "multi_thread")]
async fn ps_lists_open_connections() {
    let echo = EchoOrigin::start().await;
    let hop = Double::start([Step::Answer("HTTP/1.1 200 OK\r\n\r\n".into())]).await;
    let proxy = Proxy::start(&format!(
        "hops:\n  exits: {{ kind: pool, members: [ {{ kind: http-connect, address: \"{}\" }} ] }}\n\
         chains: {{ default: [], out: [exits] }}\n\
         routes: [ {{ hosts: [exit.test], chain: out }}, {{ chain: default }} ]\n",
        hop.address()
    ))
    .await;
    let (code, out, _) = outcome(&proxy.command(&["ps"]));
    assert_eq!((code, out.as_str()), (Some(0), "no connection is open\n"));

    let mut direct = connect_early(proxy.address(), echo.address(), "hello").await.tunnel();
    assert_reads(&mut direct, "hello").await;
    let through = connect(proxy.address(), "exit.test:443").await.tunnel();
    let mut socks = open(proxy.address()).await;
    let SocketAddr::V4(target) = echo.address() else { panic!("an IPv4 address") };
    let mut greeting = vec![5, 1, 0, 5, 1, 0, 1];
    greeting.extend(target.ip().octets());
    greeting.extend(target.port().to_be_bytes());
    socks.write_all(&greeting).await.unwrap();
    within("both answers", socks.read_exact(&mut [0; 12])).await.unwrap();

    let rows = ps_until(&proxy, |rows| rows.len() == 3 && rows[0]["bytes_received"] == 5).await;
    let [first, second, third] = &rows[..] else { panic!("{rows:?}") };
    assert_eq!(first["target"], echo.address().to_string());
    assert_eq!(first["client"], direct.local_addr().unwrap().to_string());
    assert_eq!((&first["bytes_sent"], &first["route"]), (&5.into(), &2.into()));
    assert_eq!(first["hops"], serde_json::json!([]));
    assert_eq!(second["target"], "exit.test:443");
    let member = serde_json::json!([{
        "name": "exits", "member": "members[0]", "address": hop.address().to_string()
    }]);
    assert_eq!(second["hops"], member);
    assert_eq!(second["chain"], "out");
    assert_eq!((&third["protocol"], &third["method"]), (&"socks5".into(), &"CONNECT".into()));
    for row in &rows {
        assert_eq!(row["generation"], 1);
        if cfg!(target_os = "linux") {
            assert_eq!(row["process"]["pid"], std::process::id(), "{row}");
        }
    }
    let (_, out, _) = outcome(&proxy.command(&["ps"]));
    assert_eq!(out.lines().count(), 4, "{out}");
    assert!(out.contains("exits (members[0], ") && out.contains("direct"), "{out}");
    assert!(!out.contains("session"), "a column without content is left out: {out}");
    drop((direct, through, socks));
    ps_until(&proxy, <[Value]>::is_empty).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ps_shows_the_session_that_a_client_chose() {
    let hop = Double::start([Step::Answer("HTTP/1.1 200 OK\r\n\r\n".into())]).await;
    let proxy = Proxy::start(&format!(
        "hops:\n  exit: {{ kind: webshare, address: \"{}\", username: u, password: p, sessions: by-client }}\n\
         chains: {{ default: [exit] }}\n",
        hop.address()
    ))
    .await;
    let mut client = open(proxy.address()).await;
    // session-alice
    let request = "CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n\
                   Proxy-Authorization: Basic c2Vzc2lvbi1hbGljZTp4\r\n\r\n";
    client.write_all(request.as_bytes()).await.unwrap();
    crate::support::head(&mut client).await;
    let rows = ps_until(&proxy, |rows| rows.len() == 1).await;
    assert_eq!(rows[0]["session"], "alice", "{rows:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_resets_both_sides_of_a_tunnel() {
    let origin = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = Proxy::start(DIRECT).await;
    let target = origin.local_addr().unwrap();
    let mut client = connect(proxy.address(), target).await.tunnel();
    let (mut upstream, _) = origin.accept().await.unwrap();
    let rows = ps_until(&proxy, |rows| rows.len() == 1).await;
    let id = rows[0]["id"].to_string();

    let (code, out, error) = outcome(&proxy.command(&["kill", "4711"]));
    assert_eq!((code, out.as_str()), (Some(1), ""));
    assert!(error.contains("4711"), "{error}");
    let (code, out, error) = outcome(&proxy.command(&["kill", &id, "4711"]));
    assert_eq!((code, out.as_str()), (Some(0), "1 connection killed\n"), "{error}");
    assert_reset(&mut client).await;
    assert_reset(&mut upstream).await;
    assert_eq!(proxy.event("tunnel closed").await.field("end"), "killed");
    let (code, _, error) = outcome(&proxy.command(&["kill", &id]));
    assert_eq!(code, Some(1), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_ends_a_download_in_the_middle() {
    let origin = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = Proxy::start(DIRECT).await;
    let target = origin.local_addr().unwrap();
    let mut client = open(proxy.address()).await;
    let request = format!("GET http://{target}/ HTTP/1.1\r\nHost: {target}\r\n\r\n");
    client.write_all(request.as_bytes()).await.unwrap();
    let (mut upstream, _) = origin.accept().await.unwrap();
    // Read before the kill: on Windows, a reset discards what was not read.
    let head = within("the request", crate::support::head(&mut upstream)).await;
    assert!(head.starts_with("GET / HTTP/1.1\r\n"), "{head}");
    upstream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nbegin").await.unwrap();
    let head = crate::support::head(&mut client).await;
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    assert_reads(&mut client, "begin").await;
    let (code, _, error) = outcome(&proxy.command(&["kill", "--chain", "default"]));
    assert_eq!(code, Some(0), "{error}");
    assert_reset(&mut client).await;
    assert_reset(&mut upstream).await;
    assert_eq!(proxy.event("request").await.field("end"), "killed");
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_chooses_by_chain_hop_and_generation() {
    let echo = EchoOrigin::start().await;
    let hop = Double::start([Step::Answer("HTTP/1.1 200 OK\r\n\r\n".into())]).await;
    let proxy = Proxy::start(&format!(
        "hops: {{ exit: {{ kind: http-connect, address: \"{}\" }} }}\n\
         chains: {{ default: [], out: [exit] }}\n\
         routes: [ {{ hosts: [exit.test], chain: out }}, {{ chain: default }} ]\n",
        hop.address()
    ))
    .await;
    let mut old = connect(proxy.address(), echo.address()).await.tunnel();
    let mut through = connect(proxy.address(), "exit.test:1").await.tunnel();
    ps_until(&proxy, |rows| rows.len() == 2).await;
    for none in [&["kill", "--chain", "nobody"], &["kill", "--hop", "default"]] {
        assert_eq!(outcome(&proxy.command(none)).0, Some(1), "{none:?}");
    }
    assert_eq!(outcome(&proxy.command(&["kill", "--older-generations"])).0, Some(1));
    assert_eq!(outcome(&proxy.command(&["kill"])).0, Some(2), "wrong usage");
    assert_eq!(outcome(&proxy.command(&["kill", "1", "--chain", "a"])).0, Some(2), "wrong usage");

    assert_eq!(outcome(&proxy.command(&["kill", "--hop", "exit"])).0, Some(0));
    assert_reset(&mut through).await;
    ping(&mut old).await;

    proxy.config().write("20-more.yaml", "timeouts: { idle: 1h }\n");
    assert_eq!(outcome(&proxy.command(&["reload"])).0, Some(0));
    let mut new = connect(proxy.address(), echo.address()).await.tunnel();
    ps_until(&proxy, |rows| rows.len() == 2).await;
    let (_, out, _) = outcome(&proxy.command(&["kill", "--older-generations"]));
    assert_eq!(out, "1 connection killed\n");
    assert_reset(&mut old).await;
    ping(&mut new).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reload_waits_for_the_verdict() {
    let proxy = Proxy::start(DIRECT).await;
    let (code, out, _) = outcome(&proxy.command(&["reload"]));
    assert_eq!(code, Some(0));
    assert!(out.starts_with("already in force since ") && out.contains("(generation 1)"), "{out}");

    let file = proxy.config().path().join("20-more.yaml");
    std::fs::write(&file, "log: { level: debug }\n").unwrap();
    // The watcher may see the edit first.
    let (code, out, _) = outcome(&proxy.command(&["reload"]));
    assert_eq!(code, Some(0));
    assert!(out.contains("generation 2"), "{out}");

    std::fs::write(&file, "log: { levle: debug }\ntimeouts: { idel: 1h }\n").unwrap();
    let (code, out, _) = outcome(&proxy.command(&["reload"]));
    assert_eq!(code, Some(1));
    for part in ["20-more.yaml:1:8: log.levle", "did you mean `level`", "timeouts.idel"] {
        assert!(out.contains(part), "every problem, with advice: {out}");
    }
    assert!(out.ends_with("rejected; generation 2 stays in force\n"), "{out}");
    let (code, out, _) = outcome(&proxy.command(&["reload", "--format", "json"]));
    let verdict: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &verdict["verdict"]), (Some(1), &"rejected".into()));
    assert_eq!(verdict["problems"].as_array().unwrap().len(), 2, "{out}");
}

#[tokio::test(flavor = "multi_thread")]
async fn reload_says_which_settings_the_command_line_has() {
    let yaml = "hops: { corporate: { kind: http-connect, address: \"a.test:1\" } }\n\
                chains: { default: [corporate] }\n";
    let proxy = Proxy::with_arguments(yaml, &["--no-corporate"]).await;
    let (code, out, _) = outcome(&proxy.command(&["reload"]));
    assert_eq!(code, Some(0));
    let note = "hops.corporate.enabled in the files has no effect: the proxy was started with --no-corporate";
    assert!(out.contains(note), "{out}");
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_list_the_running_proxies_if_theirs_does_not_run() {
    if !finds_proxies_or_skip() {
        return;
    }
    let proxy = Proxy::start(DIRECT).await;
    let other = ConfigDir::new(DIRECT);
    let path = other.path().to_str().unwrap();
    for command in ["ps", "reload"] {
        let (code, _, error) = outcome(&proxy.command_for(&[command, "-c", path]));
        assert_eq!(code, Some(1));
        assert!(error.contains("no proxy runs with this configuration"), "{error}");
        assert!(error.contains(&proxy.address().to_string()), "{error}");
    }
    let address = proxy.address().to_string();
    let (code, _, error) = outcome(&proxy.command_for(&["reload", "--address", &address]));
    assert_eq!(code, Some(0), "{error}");
    let (code, out, error) = outcome(&proxy.command_for(&["ps"]));
    assert_eq!((code, out.is_empty()), (Some(0), false), "the only one is meant: {error}");
}

/// A proxy that hangs has its socket and its port, and is none that does not run.
#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_does_not_answer_is_named() {
    let config = ConfigDir::new("chains: { default: [exit] }\n");
    let hops = "hops: { exit: { kind: socks5, address: \"127.0.0.1:9\", enabled: true } }\n";
    config.write("20-hops.yaml", hops);
    let mut proxy = Proxy::on(config, &[]).await;
    let pid = format!("process {}, with the control socket ", proxy.pid());
    let address = proxy.address().to_string();
    proxy.signal(rustix::process::Signal::STOP);
    let proxy = &proxy;
    let commands: [&[&str]; 7] = [
        &["ps"],
        &["reload"],
        &["kill", "1"],
        &["status"],
        &["usage"],
        &["hop", "exit", "off"],
        &["run", "--listen", &address],
    ];
    std::thread::scope(|scope| {
        let pid = &pid;
        for arguments in commands {
            scope.spawn(move || {
                let (code, out, error) = outcome(&proxy.command(arguments));
                assert_eq!(code, Some(1), "{arguments:?}: {out}{error}");
                assert!(error.contains(pid) && error.contains("does not answer"), "{error}");
                assert!(!error.contains("no proxy runs"), "{arguments:?}: {error}");
            });
        }
        scope.spawn(move || {
            let process = pid.trim_start_matches("process ").split(',').next().unwrap();
            let (code, _, error) = outcome(&proxy.command_for(&["reload", "--pid", process]));
            assert_eq!((code, error.contains(pid)), (Some(1), true), "{error}");
            // Another process is not this one.
            let (code, _, error) = outcome(&proxy.command_for(&["reload", "--pid", "1"]));
            assert_eq!((code, error.contains(pid)), (Some(1), false), "{error}");
        });
    });
    assert_eq!(std::fs::read_to_string(proxy.config().path().join("20-hops.yaml")).unwrap(), hops);
}
