//! Bytes as providers bill them, their counts across restarts, and budgets.

use std::{
    fs,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    task::JoinSet,
};

use crate::support::{
    Certificates, ConfigDir, Double, EchoOrigin, HttpOrigin, PASSWORD, Proxy, Seen, SocksProxy,
    Squid, SquidRules, Step, USERNAME, assert_reads, connect, exchange, pause, rest, run, status,
    within,
};
#[cfg(unix)]
use {
    crate::support::{head, open, ping},
    rustix::process::Signal,
};

/// Bytes on the wire through `hop`: sent and received.
async fn wire(proxy: &Proxy, hop: &str) -> (u64, u64) {
    let status = status(proxy.address()).await;
    let count = |name: &str| status["wire"][hop][name].as_u64().unwrap_or_default();
    (count("sent"), count("received"))
}

fn one_hop(name: &str, address: impl std::fmt::Display, more: &str) -> String {
    format!(
        "hops: {{ {name}: {{ kind: http-connect, address: \"{address}\"{more} }} }}\n\
         chains: {{ default: [{name}] }}\n"
    )
}

/// A double that opens tunnels and says nothing in them.
async fn opening_double() -> Double {
    Double::start([Step::Answer("HTTP/1.1 200 OK\r\n\r\n".into())]).await
}

/// Sends bytes through a tunnel to an echo, and reads them back meanwhile.
async fn echo_bytes(tunnel: &mut TcpStream, count: usize) {
    let bytes = vec![b'x'; count];
    let (mut read, mut write) = tunnel.split();
    let mut echoed = vec![0; count];
    let (sent, received) = tokio::join!(write.write_all(&bytes), read.read_exact(&mut echoed));
    sent.and(received.map(drop)).unwrap();
    assert_eq!(echoed, bytes);
}

#[cfg(unix)]
#[tokio::test]
async fn two_proxies_with_one_configuration_count_in_one_file() {
    let double = opening_double().await;
    let yaml = one_hop("exit", double.address(), ", budget: { bytes: 1GiB, per: month }");
    let mut one = Proxy::start(&yaml).await;
    let mut two = Proxy::on_files_of(&one, &["--listen", "127.0.0.1:0"]).await;
    for proxy in [&one, &two, &one] {
        drop(connect(proxy.address(), "target.test:443").await.tunnel());
    }
    let (first, second) = (wire(&one, "exit").await, wire(&two, "exit").await);
    for proxy in [&mut two, &mut one] {
        proxy.signal(Signal::TERM);
        assert_eq!(proxy.exit().await.code(), Some(0));
    }
    let saved: Value =
        serde_json::from_str(&fs::read_to_string(only_file(one.config())).unwrap()).unwrap();
    let exit = &saved["hops"]["exit"];
    assert_eq!(exit["requests"], 3, "{saved:#}");
    // All tunnels are alike, so the three were billed as three times the one.
    let (sent, received) = (exit["sent"].as_u64().unwrap(), exit["received"].as_u64().unwrap());
    assert!(sent >= first.0 + second.0 && sent % 3 == 0, "{saved:#}");
    assert_eq!(saved["budgets"]["exit"]["used"], sent + received, "{saved:#}");
}

/// Returns the only file in the state directory of a proxy with this configuration.
#[cfg(unix)]
fn only_file(config: &ConfigDir) -> std::path::PathBuf {
    let files = fs::read_dir(config.path().join(".state/mooltiroute")).unwrap();
    let files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    let [file] = files.as_slice() else { panic!("{files:?}") };
    file.clone()
}

/// Waits until the saved counts satisfy `is_it`, and returns them.
async fn saved(config: &ConfigDir, is_it: impl Fn(&Value) -> bool) -> Value {
    let directory = config.path().join(".state/mooltiroute");
    within("usage is saved", async {
        loop {
            let files = fs::read_dir(&directory).into_iter().flatten().flatten();
            let texts =
                files.filter(|file| file.path().extension().is_some_and(|end| end == "json"));
            let mut texts = texts.filter_map(|file| fs::read_to_string(file.path()).ok());
            // There is never a part of a file: whatever is there can be read.
            let saved = texts.next().map(|text| serde_json::from_str(&text).unwrap());
            if let Some(saved) = saved.filter(&is_it) {
                return saved;
            }
            pause().await;
        }
    })
    .await
}

#[tokio::test]
async fn counted_bytes_are_those_that_the_hop_logs() {
    let Some(squid) = Squid::start(SquidRules::Open).await else { return };
    let (origin, echo) = (HttpOrigin::plain().await, EchoOrigin::start().await);
    let proxy = Proxy::start(&one_hop("squid", squid.address(), "")).await;
    // Large enough for the kernel to move it, and small enough to be quick.
    let get = origin.request("/bytes/3000000");
    assert!(exchange(proxy.address(), get.as_bytes()).await.len() > 3_000_000);
    let bill = billed(&squid, "GET").await;
    let plain = wire(&proxy, "squid").await;
    assert_eq!(plain, bill);

    let mut tunnel = connect(proxy.address(), echo.address()).await.tunnel();
    echo_bytes(&mut tunnel, 500_000).await;
    drop(tunnel);
    let bill = billed(&squid, "CONNECT").await;
    let both = wire(&proxy, "squid").await;
    assert_eq!((both.0 - plain.0, both.1 - plain.1), bill);
}

#[tokio::test]
async fn bytes_of_tls_and_of_socks_are_those_on_the_wire() {
    let certificates = Certificates::new();
    let Some(squid) = Squid::tls(SquidRules::Open, &certificates).await else { return };
    let Some(socks) = SocksProxy::microsocks(true).await else { return };
    let (origin, echo) = (HttpOrigin::plain().await, EchoOrigin::start().await);
    let authority = certificates.authority_file();
    for (peer, settings) in [
        (squid.address(), format!("kind: http-connect, tls: {{ ca: {authority:?} }}")),
        (socks.address(), format!("kind: socks5, username: {USERNAME}, password: {PASSWORD}")),
    ] {
        let scale = Scale::start(peer).await;
        let address = scale.address;
        let proxy = Proxy::start(&format!(
            "hops: {{ hop: {{ address: \"{address}\", {settings} }} }}\nchains: {{ default: [hop] }}\n"
        ))
        .await;
        let get = origin.request("/bytes/300000");
        assert!(exchange(proxy.address(), get.as_bytes()).await.len() > 300_000);
        let mut tunnel = connect(proxy.address(), echo.address()).await.tunnel();
        echo_bytes(&mut tunnel, 200_000).await;
        drop(tunnel);
        let mut last = String::new();
        let is_equal = async {
            loop {
                let (counted, passed) = (wire(&proxy, "hop").await, scale.passed());
                // The last alert of TLS may come when the connection is closed here already.
                let missing = passed.1.checked_sub(counted.1);
                let is_counted = missing == Some(0) || missing == Some(ALERT_BYTES);
                if counted.0 == passed.0 && is_counted && passed.0 > 200_000 {
                    return;
                }
                last = format!("counted {counted:?}, passed {passed:?}");
                pause().await;
            }
        };
        let waited = tokio::time::timeout(std::time::Duration::from_secs(10), is_equal).await;
        assert!(waited.is_ok(), "{settings}: {last}");
    }
}

/// A record of TLS 1.3 that ends a connection.
const ALERT_BYTES: u64 = 24;

/// Passes connections on to a hop, and counts the bytes to it and from it.
struct Scale {
    address: SocketAddr,
    passed: Arc<[AtomicU64; 2]>,
}

impl Scale {
    async fn start(hop: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let passed = Arc::<[AtomicU64; 2]>::default();
        let counts = Arc::clone(&passed);
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let far = TcpStream::connect(hop).await.unwrap();
                let (near, far) = (near.into_split(), far.into_split());
                tokio::spawn(weigh(near.0, far.1, Arc::clone(&counts), 0));
                tokio::spawn(weigh(far.0, near.1, Arc::clone(&counts), 1));
            }
        });
        Self { address, passed }
    }

    fn passed(&self) -> (u64, u64) {
        let [sent, received] = &*self.passed;
        (sent.load(Ordering::SeqCst), received.load(Ordering::SeqCst))
    }
}

async fn weigh(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    counts: Arc<[AtomicU64; 2]>,
    direction: usize,
) {
    let mut buffer = vec![0; 65_536];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        counts[direction].fetch_add(count as u64, Ordering::SeqCst);
        if to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}

#[tokio::test]
async fn several_workers_count_every_byte() {
    let Some(near) = Squid::start(SquidRules::Open).await else { return };
    let Some(far) = Squid::start(SquidRules::Open).await else { return };
    let (origin, echo) = (HttpOrigin::plain().await, EchoOrigin::start().await);
    let yaml = |warm: usize| {
        format!(
            "server: {{ workers: 2 }}\nhops:\n  near: {{ kind: http-connect, address: \"{}\" }}\n  \
             far: {{ kind: http-connect, address: \"{}\" }}\n\
             chains: {{ default: {{ hops: [near, far], warm: {warm} }} }}\n",
            near.address(),
            far.address()
        )
    };
    // Spare tunnels are made by one worker and used by both.
    let proxy = Proxy::start(&yaml(4)).await;
    let get = origin.request("/bytes/30000");
    let (address, echo) = (proxy.address(), echo.address());
    let client = |number: usize| {
        let get = get.clone();
        async move {
            let mut tunnel = connect(address, echo).await.tunnel();
            echo_bytes(&mut tunnel, 1000 * number + 1).await;
            assert!(exchange(address, get.as_bytes()).await.len() > 30_000);
        }
    };
    let clients: JoinSet<_> = (0..CLIENTS).map(client).collect();
    clients.join_all().await;
    // Closes the spare tunnels, so that the hops log them too.
    let seen = proxy.events().len();
    proxy.config().write("10-test.yaml", &yaml(0));
    proxy.event_after(seen, "config reloaded").await;
    for (name, hop) in [("near", &near), ("far", &far)] {
        let mut last = String::new();
        let is_equal = async {
            loop {
                let logged = hop.bytes().into_iter();
                let logged = logged.fold((0, 0), |sum, (_, got, sent)| (sum.0 + got, sum.1 + sent));
                let counted = wire(&proxy, name).await;
                if counted == logged && counted.0 > 0 {
                    return;
                }
                last = format!("counted {counted:?}, logged {logged:?}");
                pause().await;
            }
        };
        let waited = tokio::time::timeout(std::time::Duration::from_secs(10), is_equal).await;
        assert!(waited.is_ok(), "{name}: {last}");
    }
}

/// The clients that use a proxy at the same time.
const CLIENTS: usize = 40;

/// Waits until squid has logged a request of this method. Returns the bytes that squid received and sent.
async fn billed(squid: &Squid, method: &str) -> (u64, u64) {
    within("squid logs it", async {
        loop {
            let line = squid.bytes().into_iter().find(|(logged, ..)| logged == method);
            if let Some((_, received, sent)) = line {
                return (received, sent);
            }
            pause().await;
        }
    })
    .await
}

#[tokio::test]
async fn each_hop_is_billed_for_its_own_connect_and_all_behind_it() {
    let answer = "HTTP/1.1 200 OK\r\nX-Hop: 1\r\n\r\n";
    let corporate =
        Double::start([Step::Answer(format!("{answer}HTTP/1.1 200 OK\r\n\r\nhello"))]).await;
    let yaml = format!(
        "hops:\n  near: {{ kind: http-connect, address: \"{}\" }}\n  \
         far: {{ kind: http-connect, address: \"far.test:80\" }}\nchains: {{ default: [near, far] }}\n",
        corporate.address()
    );
    let proxy = Proxy::start(&yaml).await;
    let mut tunnel = connect(proxy.address(), "target.test:443").await.tunnel();
    assert_reads(&mut tunnel, "hello").await;
    tunnel.write_all(b"12345").await.unwrap();
    let has_all = |seen: &[Seen]| seen.first()?.text().ends_with("12345").then_some(());
    corporate.record().until("the hop has all bytes", has_all).await;
    drop(tunnel);
    proxy.event("tunnel closed").await;
    let first = "CONNECT far.test:80 HTTP/1.1\r\nHost: far.test:80\r\n\r\n".len() as u64;
    let (near, far) = (wire(&proxy, "near").await, wire(&proxy, "far").await);
    // The answer of the second hop came with that of the first, in one piece.
    assert_eq!(far.1, "HTTP/1.1 200 OK\r\n\r\nhello".len() as u64);
    assert_eq!(near.1, far.1 + answer.len() as u64);
    let second =
        "CONNECT target.test:443 HTTP/1.1\r\nHost: target.test:443\r\n\r\n12345".len() as u64;
    assert_eq!((near.0, far.0), (first + second, second), "{}", corporate.sent());
}

#[cfg(unix)]
#[tokio::test]
async fn usage_outlives_the_process_and_is_shown_by_purpose() {
    use std::os::unix::fs::PermissionsExt as _;

    let hop = opening_double().await;
    let by_client = format!(
        "hops: {{ exit: {{ kind: webshare, address: \"{}\", username: dev, password: secret, sessions: by-client }} }}\n\
         chains: {{ default: [exit] }}\n",
        hop.address()
    );
    let mut proxy = Proxy::start(&by_client).await;
    let request = "CONNECT target.test:443 HTTP/1.1\r\nHost: target.test\r\n\
                   Proxy-Authorization: Basic c2Vzc2lvbi1hbGljZTp4\r\n\r\n";
    let mut tunnel = open(proxy.address()).await;
    tunnel.write_all(request.as_bytes()).await.unwrap();
    head(&mut tunnel).await;
    tunnel.write_all(b"12345").await.unwrap();
    drop(tunnel);
    proxy.event("tunnel closed").await;
    let counted = wire(&proxy, "exit").await;
    assert!(counted.0 > 100 && counted.1 == 19, "{counted:?}");
    proxy.signal(Signal::TERM);
    assert_eq!(proxy.exit().await.code(), Some(0));

    let path = proxy.config().path().to_owned();
    let told = |by: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_mooltiroute"));
        crate::support::in_runtime(&mut command, proxy.config().runtime());
        command.env("XDG_STATE_HOME", path.join(".state"));
        command.args(["usage", "-c"]).arg(&path).args(by);
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let json: Value = serde_json::from_str(&told(&["--format", "json"])).unwrap();
    for (sort, name) in [
        ("hops", "exit"),
        ("chains", "default"),
        ("routes", "everything -> default"),
        ("sessions", "alice"),
        ("targets", "target.test:443"),
    ] {
        let sum = &json[sort][name];
        let found = (sum["sent"].as_u64(), sum["received"].as_u64(), sum["requests"].as_u64());
        assert_eq!(found, (Some(counted.0), Some(counted.1), Some(1)), "{sort}: {json:#}");
    }
    assert!(told(&["--by", "session"]).contains("alice"), "{}", told(&["--by", "session"]));
    assert!(told(&[]).contains("exit"), "{}", told(&[]));
    // One file, which only its owner can read.
    let mode = fs::metadata(only_file(proxy.config())).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "{mode:o}");

    let again = Proxy::at(&path).await;
    assert_eq!(wire(&again, "exit").await, counted);
}

#[tokio::test]
async fn usage_of_a_running_proxy_is_as_it_is_now() {
    if !crate::support::finds_proxies_or_skip() {
        return;
    }
    let hop = opening_double().await;
    let yaml = |bytes: u32| {
        one_hop("exit", hop.address(), &format!(", budget: {{ bytes: {bytes}, per: day }}"))
    };
    let proxy = Proxy::start(&yaml(5000)).await;
    let usage = || -> Value {
        let output = proxy.command(&["usage", "--format", "json"]);
        serde_json::from_slice(&output.stdout).unwrap_or_default()
    };
    let mut tunnel = connect(proxy.address(), "a.example:1").await.tunnel();
    tunnel.write_all(&[b'x'; 1000]).await.unwrap();
    // The relay may pass the bytes on after this client has handed them over.
    within("the bytes are counted", async {
        while usage()["hops"]["exit"]["sent"].as_u64() < Some(1000) {
            pause().await;
        }
    })
    .await;
    let seen = proxy.events().len();
    proxy.config().write("10-test.yaml", &yaml(6000));
    proxy.event_after(seen, "config reloaded").await;
    assert_eq!(usage()["budgets"]["exit"]["bytes"], 6000);
}

#[tokio::test]
async fn a_killed_proxy_loses_a_few_seconds_and_never_its_file() {
    let hop = opening_double().await;
    let config = ConfigDir::new(&one_hop("exit", hop.address(), ""));
    let mut proxy = Proxy::on(config, &[]).await;
    let mut tunnel = connect(proxy.address(), "target.test:443").await.tunnel();
    tunnel.write_all(b"12345").await.unwrap();
    let first =
        saved(proxy.config(), |saved| saved["hops"]["exit"]["sent"].as_u64() > Some(0)).await;
    proxy.kill().await;
    let kept = saved(proxy.config(), |_| true).await;
    assert_eq!(kept["hops"], first["hops"]);
}

#[cfg(unix)]
#[tokio::test]
async fn an_unwritable_state_directory_is_logged_once_and_costs_no_request() {
    let echo = EchoOrigin::start().await;
    let config = ConfigDir::new("chains: { default: [] }\n");
    // A file where the directory would be, as a full disk would refuse it.
    fs::write(config.path().join(".state"), "").unwrap();
    let mut proxy = Proxy::on(config, &[]).await;
    let mut tunnel = connect(proxy.address(), echo.address()).await.tunnel();
    ping(&mut tunnel).await;
    proxy.event("usage can't be saved; requests go on, and it is tried again").await;
    ping(&mut tunnel).await;
    drop(tunnel);
    proxy.signal(Signal::TERM);
    assert_eq!(proxy.exit().await.code(), Some(0));
    let complaints =
        proxy.events().iter().filter(|event| event.text().contains("be saved")).count();
    assert_eq!(complaints, 1);
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_full_disk_costs_no_request_and_no_count() {
    let hop = opening_double().await;
    let config = ConfigDir::new(&one_hop("exit", hop.address(), ""));
    let Some(mut proxy) = Proxy::on_full_disk(config).await else { return };
    let state = proxy.state();
    let mut tunnel = connect(proxy.address(), "a.example:1").await.tunnel();
    tunnel.write_all(&[b'x'; 1000]).await.unwrap();
    let event = proxy.event("usage can't be saved; requests go on, and it is tried again").await;
    assert!(event.text().contains("No space left on device"), "{}", event.text());
    drop(connect(proxy.address(), "a.example:1").await.tunnel());
    fs::remove_file(state.join("fill")).unwrap();
    within("the counts are saved", async {
        loop {
            let files = fs::read_dir(state.join("mooltiroute")).into_iter().flatten().flatten();
            let texts = files.filter_map(|file| fs::read_to_string(file.path()).ok());
            let mut saved = texts.filter_map(|text| serde_json::from_str::<Value>(&text).ok());
            if saved.any(|saved| saved["hops"]["exit"]["sent"].as_u64() > Some(1000)) {
                return;
            }
            pause().await;
        }
    })
    .await;
}

#[cfg(unix)]
#[tokio::test]
async fn an_unreadable_file_is_set_aside_and_counting_goes_on() {
    let hop = opening_double().await;
    let mut proxy = Proxy::start(&one_hop("exit", hop.address(), "")).await;
    drop(connect(proxy.address(), "target.test:443").await.tunnel());
    proxy.event("tunnel closed").await;
    proxy.signal(Signal::TERM);
    assert_eq!(proxy.exit().await.code(), Some(0));
    let file = only_file(proxy.config());
    assert!(file.extension().is_some_and(|end| end == "json"), "{file:?}");
    fs::write(&file, "{").unwrap();

    let again = Proxy::at(proxy.config().path()).await;
    let warning =
        again.event("usage begins at zero: the file of earlier counts can't be read").await;
    assert_eq!(wire(&again, "exit").await, (0, 0));
    let aside = file.with_extension("json.unreadable");
    assert_eq!(warning.field("aside"), aside.display().to_string());
    assert_eq!(fs::read_to_string(&aside).unwrap(), "{");
    drop(connect(again.address(), "target.test:443").await.tunnel());
    again.event("tunnel closed").await;
    let counted = wire(&again, "exit").await;
    let has_all = |saved: &Value| saved["hops"]["exit"]["sent"].as_u64() == Some(counted.0);
    saved(proxy.config(), has_all).await;
    assert!(file.is_file());
}

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
async fn a_tunnel_is_rotated_in_its_first_quiet_second() {
    let hop = opening_double().await;
    let proxy = Proxy::start(&one_hop("exit", hop.address(), ", rotate_after: 1s")).await;
    let mut tunnel = connect(proxy.address(), "target.test:443").await.tunnel();
    assert_eq!(rest(&mut tunnel).await, "", "an end and not a reset");
    let closed = proxy.event("tunnel closed").await;
    assert_eq!((closed.field("end"), closed.field("sent")), ("rotated".into(), "0".into()));
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
