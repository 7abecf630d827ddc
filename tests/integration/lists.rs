//! Pools whose members come from a list at a URL: when it is fetched, and what happens if a fetch fails.

mod commands;
mod failures;
mod fetched_through;
mod reloads;
mod server;
mod versions;

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use self::server::ListServer;
use crate::support::{
    ConfigDir, Double, EchoOrigin, Proxy, Step, connect, exchange, free_port, outcome, pause, ping,
    status, within,
};

const CONNECT: &[u8] = b"CONNECT origin.test:443 HTTP/1.1\r\nHost: origin.test:443\r\n\r\n";
/// A path as in the download links of providers, which hold a token.
const PATH: &str = "/api/v2/proxy/list/download/cAnArYtOkEn/-/any/username/direct/-/";

/// A proxy that agrees to everything and then says its name.
async fn member(name: &str) -> Double {
    Double::start([Step::Answer(format!("HTTP/1.1 200 OK\r\n\r\n{name}\n"))]).await
}

/// Starts a proxy with a pool of the list at `url`, and these other settings of the list and of the configuration.
async fn start(url: &str, of_list: &str, more: &str) -> Proxy {
    Proxy::start(&yaml(url, of_list, more)).await
}

fn yaml(url: &str, of_list: &str, more: &str) -> String {
    format!(
        "{more}\nhops:\n  exits:\n    kind: pool\n    pick: round-robin\n    \
         members_from: {{ url: \"{url}\"{of_list} }}\nchains: {{ default: [exits] }}\n"
    )
}

/// Returns the configuration of [`yaml`] with a list that comes through the chain `way`, which has one hop.
fn yaml_through(hop: &str, url: &str, of_list: &str) -> String {
    let chains = format!("  corporate: {{ {hop} }}\nchains: {{ way: [corporate],");
    yaml(url, &format!(", via: way{of_list}"), "").replace("chains: {", &chains)
}

async fn list(proxy: &Proxy) -> Value {
    status(proxy.address()).await["lists"]["exits"].clone()
}

/// Returns the name of the member that serves a tunnel, or the status line of a refusal.
async fn served_by(proxy: &Proxy) -> String {
    use tokio::io::{AsyncBufReadExt as _, BufReader};
    let answer = connect(proxy.address(), "origin.test:443").await;
    if !answer.head.starts_with("HTTP/1.1 200 ") {
        return answer.head.lines().next().unwrap_or_default().to_owned();
    }
    let mut name = String::new();
    within("a name comes", BufReader::new(answer.stream).read_line(&mut name)).await.unwrap();
    name.trim().to_owned()
}

/// Waits until the status of the list has these words in `field`, while requests keep it in use.
async fn comes(proxy: &Proxy, field: &str, words: &str) -> Value {
    within(&format!("{field} has {words:?}"), async {
        loop {
            served_by(proxy).await;
            let state = list(proxy).await;
            if state[field].as_str().is_some_and(|text| text.contains(words)) {
                break state;
            }
            pause().await;
        }
    })
    .await
}

#[tokio::test]
async fn a_list_is_fetched_once_and_only_when_a_request_needs_it() {
    let (one, two) = (member("one").await, member("two").await);
    let text = format!("{}\r\n# a comment\r\n\r\n{}\r\n", one.address(), two.address());
    let server = ListServer::of(&text).await;
    let proxy = start(&server.url(PATH), "", "").await;
    let before = list(&proxy).await;
    assert_eq!((&before["loaded"], &before["checked_at"]), (&json!(false), &Value::Null));
    assert!(server.heads().is_empty(), "no request, no fetch");
    let mut clients = tokio::task::JoinSet::new();
    let address = proxy.address();
    for _ in 0..20 {
        clients.spawn(async move { connect(address, "origin.test:443").await });
    }
    clients.join_all().await.into_iter().for_each(|answer| drop(answer.tunnel()));
    let heads = server.heads();
    assert_eq!(heads.len(), 1, "{heads:?}");
    assert!(heads[0].starts_with(&format!("GET {PATH} HTTP/1.1\r\n")), "{}", heads[0]);
    let state = list(&proxy).await;
    assert_eq!((&state["loaded"], &state["problem"]), (&json!(true), &Value::Null), "{state}");
    assert_eq!(state["source"], format!("http://{}/…", server.address()));
    assert_eq!(proxy.event("list loaded").await.field("hop"), "exits");
    let pool = &status(address).await["pools"]["exits"];
    assert_eq!((&pool["members"], &pool["working"]), (&json!(2), &json!(2)), "{pool}");
    let carried: Vec<_> = [0, 1].map(|index| pool["shown"][index]["reached"].clone()).into();
    assert_eq!(carried, [10, 10]);
}

#[tokio::test]
async fn the_list_of_a_provider_works_as_it_comes_and_each_proxy_gets_its_own_login() {
    let one = member("one").await;
    let host = one.address();
    let text = format!("{host}:alice:pa:ss\r\n{host}:bob:word\r\n");
    let server = ListServer::of(&text).await;
    let proxy = start(&server.url(PATH), "", "").await;
    for _ in 0..2 {
        assert_eq!(served_by(&proxy).await, "one");
    }
    let sent = one.sent();
    // `alice:pa:ss` and `bob:word`.
    for login in ["YWxpY2U6cGE6c3M=", "Ym9iOndvcmQ="] {
        assert!(sent.contains(&format!("Proxy-Authorization: Basic {login}\r\n")), "{sent}");
    }
}

#[tokio::test]
async fn a_session_chooses_the_member_of_a_sticky_pool() {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};

    let (one, two) = (member("one").await, member("two").await);
    let server = ListServer::of(&format!("{}\n{}\n", one.address(), two.address())).await;
    let proxy =
        Proxy::start(&yaml(&server.url(PATH), "", "").replace("pick: round-robin", "pick: sticky"))
            .await;
    // Returns the last line of the answer: the name of the member, or the end of a refusal's text.
    let served_as = async |username: &str| {
        let login = STANDARD.encode(format!("{username}:x"));
        let head = String::from_utf8_lossy(CONNECT)
            .replace("\r\n\r\n", &format!("\r\nProxy-Authorization: Basic {login}\r\n\r\n"));
        let mut stream = tokio::net::TcpStream::connect(proxy.address()).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut lines = BufReader::new(stream).lines();
        let status = lines.next_line().await.unwrap().unwrap();
        if !status.starts_with("HTTP/1.1 200 ") {
            return status;
        }
        while lines.next_line().await.unwrap().unwrap() != "" {}
        within("a name comes", lines.next_line()).await.unwrap().unwrap()
    };
    let mut taken = std::collections::BTreeSet::new();
    for session in 0..16 {
        let name = served_as(&format!("session-{session}")).await;
        assert_eq!(
            served_as(&format!("session-{session}")).await,
            name,
            "a session keeps its member"
        );
        taken.insert(name);
    }
    assert_eq!(taken, ["one".to_owned(), "two".to_owned()].into(), "sessions are spread");
    let refused = served_as("session-1,country-us").await;
    assert!(refused.starts_with("HTTP/1.1 400 "), "no member chooses a country: {refused}");
}

#[tokio::test]
async fn a_list_that_loses_most_of_its_proxies_is_a_warning_with_both_numbers() {
    let one = member("one").await;
    let lines = |count: usize| format!("{}\n", one.address()).repeat(count);
    let server = ListServer::of(&lines(10)).await;
    let proxy = Proxy::start(&yaml(&server.url(PATH), ", every: 1s", "")).await;
    served_by(&proxy).await;
    assert_eq!(proxy.event("list loaded").await.field("proxies"), "10");
    server.becomes(&lines(4));
    const SHRUNK: &str = "list loaded, with less than half of the proxies that it had";
    within("the new list is read", async {
        while !proxy.events().iter().any(|event| event.message() == SHRUNK) {
            served_by(&proxy).await;
            pause().await;
        }
    })
    .await;
    let event = proxy.event(SHRUNK).await;
    assert_eq!((event.field("proxies"), event.field("before")), ("4".into(), "10".into()));
    let state = list(&proxy).await;
    assert_eq!((&state["members"], &state["members_before"]), (&json!(4), &json!(10)), "{state}");
    let (_, told, _) = outcome(&proxy.command(&["status"]));
    assert!(told.contains(", 4 proxies (10 in the list before), loaded 20"), "{told}");
}

#[tokio::test]
async fn a_list_in_a_file_is_in_the_status_and_tells_how_many_proxies_it_lost() {
    let lines =
        |count: u16| (1..=count).map(|port| format!("127.0.0.1:{port}\n")).collect::<String>();
    let config = ConfigDir::new(
        "hops: { exits: { kind: pool, members_from: { file: exits.txt } } }\nchains: { default: [exits] }\n",
    );
    config.write("exits.txt", &lines(100));
    let proxy = Proxy::on(config, &[]).await;
    let state = list(&proxy).await;
    assert_eq!(
        (&state["source"], &state["members"]),
        (&json!("exits.txt"), &json!(100)),
        "{state}"
    );
    assert_eq!(state["members_before"], Value::Null);
    proxy.config().write("exits.txt", &(lines(3) + "broken\n"));
    let event = proxy.event("list loaded, with less than half of the proxies that it had").await;
    let fields = ["hop", "source", "proxies", "before"].map(|field| event.field(field));
    assert_eq!(fields, ["exits", "exits.txt", "3", "100"]);
    let state = list(&proxy).await;
    assert_eq!((&state["members"], &state["members_before"]), (&json!(3), &json!(100)), "{state}");
    let (_, told, _) = outcome(&proxy.command(&["status"]));
    let line =
        "exits has its members from exits.txt, 3 proxies (100 in the list before), loaded 20";
    assert!(told.contains(line) && told.contains("1 of 4 lines that can't be used"), "{told}");
    // An edit of another setting reads the same list, and does not hide the change.
    proxy.config().write("20.yaml", "hops: { exits: { pick: round-robin } }\n");
    proxy.event("config reloaded").await;
    within("the pool has the setting", async {
        while status(proxy.address()).await["generation"] != 3 {
            pause().await;
        }
    })
    .await;
    assert_eq!(list(&proxy).await["members_before"], json!(100));
    proxy.config().write("exits.txt", &lines(4));
    let event = proxy.event("list loaded").await;
    assert_eq!((event.field("proxies"), event.field("before")), ("4".into(), "3".into()));
}

#[tokio::test]
async fn a_changed_list_serves_the_next_requests_and_open_tunnels_stay() {
    let origin = EchoOrigin::start().await;
    let exit = Proxy::start("chains: { default: [] }\n").await;
    let (gone, dead) = (Proxy::start("chains: { default: [] }\n").await, free_port());
    let server = ListServer::of(&format!("127.0.0.1:{dead}\n{}\n", gone.address())).await;
    let proxy = start(&server.url(PATH), ", every: 1s", "").await;
    let mut old = connect(proxy.address(), origin.address()).await.tunnel();
    ping(&mut old).await;
    let dead_member = async || {
        let pools = status(proxy.address()).await["pools"].clone();
        let shown = pools["exits"]["shown"].as_array().unwrap().clone();
        shown.into_iter().find(|one| one["address"] == format!("127.0.0.1:{dead}")).unwrap()
    };
    let before = dead_member().await;
    assert_eq!((&before["working"], &before["failed"]), (&json!(false), &json!(1)), "{before}");
    // The dead member stays, in another line; the other one leaves, and a third one comes.
    server.becomes(&format!("# new\n{}\n127.0.0.1:{dead}\n", exit.address()));
    let began = Instant::now();
    within("the new member is used", async {
        loop {
            // Under load: no request fails while the list changes.
            let mut tunnel = connect(proxy.address(), origin.address()).await.tunnel();
            ping(&mut tunnel).await;
            let pool = status(proxy.address()).await["pools"]["exits"].clone();
            let address = exit.address().to_string();
            let shown = pool["shown"].as_array().unwrap().clone();
            if shown.iter().any(|one| one["address"] == address && one["reached"] != 0) {
                break;
            }
        }
    })
    .await;
    assert!(began.elapsed() > Duration::from_millis(200), "the list is not fetched all the time");
    let after = dead_member().await;
    assert_eq!(after["name"], "line 3");
    // A connection may have tried it once more, after its pause.
    assert!(after["failed"].as_u64().unwrap() >= 1 && after["working"] == false, "{after}");
    ping(&mut old).await;
}

#[tokio::test]
async fn a_spare_made_with_a_login_that_left_the_list_is_not_used() {
    let agrees = || Step::Answer("HTTP/1.1 200 OK\r\n\r\n".into());
    let member = Double::start([agrees(), agrees()]).await;
    let server = ListServer::of(&format!("{}:u:one\n", member.address())).await;
    let proxy = Proxy::start(&format!(
        "hops:\n  exits: {{ kind: pool, members_from: {{ url: \"{}\", every: 1s }} }}\n  \
         inner: {{ kind: http-connect, address: \"inner.test:3128\" }}\n\
         chains: {{ default: {{ hops: [exits, inner], warm: 2 }} }}\n",
        server.url(PATH)
    ))
    .await;
    let before = || async {
        drop(connect(proxy.address(), "before.test:443").await.tunnel());
        within("spares wait", async {
            while status(proxy.address()).await["warm"]["default"]["waiting"] != 2 {
                pause().await;
            }
        })
        .await;
    };
    before().await;
    server.becomes(&format!("{}:u:two\n", member.address()));
    within("the new list is read", async {
        // The request that has it fetched leaves a spare of the old login.
        while proxy.events().iter().filter(|event| event.message() == "list loaded").count() < 2 {
            before().await;
        }
    })
    .await;
    // More at once than there are spares.
    let after = || async { drop(connect(proxy.address(), "after.test:443").await.tunnel()) };
    tokio::join!(after(), after(), after(), after());
    let seen = member.record().now();
    let after = seen.iter().map(|one| one.text()).filter(|text| text.contains("after.test"));
    let after: Vec<_> = after.collect();
    assert_eq!(after.len(), 4);
    // `u:two`
    assert!(after.iter().all(|text| text.contains("Basic dTp0d28=")), "{after:?}");
}

#[tokio::test]
async fn a_list_of_ten_thousand_proxies_serves_and_its_labels_are_bounded() {
    let one = member("one").await;
    let text: String = (1..=10_000).map(|port| format!("127.0.0.2:{port}:u:cAnArY\r\n")).collect();
    let server = ListServer::of(&format!("{}\r\n{text}", one.address())).await;
    let proxy = start(&server.url(PATH), "", "").await;
    assert_eq!(served_by(&proxy).await, "one");
    let pool = status(proxy.address()).await["pools"]["exits"].clone();
    assert_eq!(pool["members"], 10_001);
    let address = proxy.address();
    let request = format!("GET /metrics HTTP/1.1\r\nHost: {address}\r\n\r\n");
    let told = exchange(address, request.as_bytes()).await;
    let samples = |name: &str| told.lines().filter(|line| line.starts_with(name)).count();
    assert_eq!(samples("mooltiroute_pool_member_connections_total{"), 51, "{told}");
    assert!(!told.contains("cAnArY"));
}
