//! Pools whose members come from a list at a URL: when it is fetched, and what happens if a fetch fails.

mod server;

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use self::server::{ListServer, ok};
use crate::support::{
    Certificates, ConfigDir, Double, EchoOrigin, HttpOrigin, PASSWORD, Proxy, Squid, SquidRules,
    Step, USERNAME, Way, connect, exchange, free_port, outcome, pause, ping, probe, run, status,
    within,
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
async fn a_failed_fetch_says_which_list_stays_in_use_and_when_it_is_asked_for_again() {
    let one = member("one").await;
    let server = ListServer::of(&format!("{}\n", one.address())).await;
    let proxy = start(&server.url(PATH), ", every: 1s", "").await;
    assert_eq!(served_by(&proxy).await, "one");
    server.answers(&ok("<html>log in</html>"));
    let state = comes(&proxy, "problem", "web page").await;
    assert_eq!((&state["members"], &state["loaded"]), (&json!(1), &json!(true)), "{state}");
    assert!(state["retry_seconds"].as_f64().is_some_and(|pause| pause <= 60.0), "{state}");
    let event = proxy.event("list not loaded").await;
    let loaded = state["loaded_at"].as_str().unwrap();
    assert_eq!(event.field("in_use"), format!("the last good list, of {loaded}, with 1 proxy"));
    assert_eq!(event.field("next"), "a request after 1 s asks for it again");
    let shown = proxy.command_for(&["status", "--address", &proxy.address().to_string()]);
    let shown = String::from_utf8(shown.stdout).unwrap();
    for words in ["1 proxy, loaded ", "failed ", "the last good one stays in use; "] {
        assert!(shown.contains(words), "{words}: {shown}");
    }
    let address = proxy.address();
    let metrics = format!("GET /metrics HTTP/1.1\r\nHost: {address}\r\n\r\n");
    let metrics = exchange(address, metrics.as_bytes()).await;
    let labels = "{hop=\"exits\",kind=\"list\"}";
    assert!(metrics.contains(&format!("mooltiroute_document_failing{labels} 1\n")), "{metrics}");
    let name = format!("mooltiroute_document_last_success_timestamp_seconds{labels} ");
    let time = metrics.lines().find_map(|line| line.strip_prefix(&name)).unwrap();
    assert!(time.parse::<f64>().unwrap() > 1.7e9, "{time}");
    // Without a list, none stays in use.
    let broken = ListServer::of("<html>").await;
    let proxy = start(&broken.url(PATH), "", "").await;
    assert!(served_by(&proxy).await.starts_with("HTTP/1.1 502 "));
    let event = proxy.event("list not loaded").await;
    assert_eq!(event.field("in_use"), "no list was loaded yet, so requests are refused");
}

#[tokio::test]
async fn a_tag_saves_the_download_of_a_list_that_is_the_same() {
    let one = member("one").await;
    let server = ListServer::of(&format!("{}\n", one.address())).await;
    let proxy = start(&server.url(PATH), ", every: 1s", "").await;
    assert_eq!(served_by(&proxy).await, "one");
    within("another fetch", async {
        while server.heads().len() < 2 {
            assert_eq!(served_by(&proxy).await, "one");
            pause().await;
        }
    })
    .await;
    assert!(server.heads()[1].contains("\r\nIf-None-Match: \""), "{:?}", server.heads());
    let loaded = proxy.events().iter().filter(|event| event.message() == "list loaded").count();
    assert_eq!(loaded, 1, "the same list is no news");
}

/// Lets requests use the list until it was asked for `count` times, and returns the heads of these requests.
async fn asked(proxy: &Proxy, server: &ListServer, count: usize) -> Vec<String> {
    within("another fetch", async {
        while server.heads().len() < count {
            served_by(proxy).await;
            pause().await;
        }
    })
    .await;
    server.heads()
}

const MODIFIED: &str = "Thu, 26 Nov 2026 08:15:00 GMT";
const NOW: &str = "Fri, 27 Nov 2026 09:00:00 GMT";

#[tokio::test]
async fn a_date_saves_the_download_of_a_list_whose_server_has_no_tags() {
    let (one, two) = (member("one").await, member("two").await);
    let server = ListServer::of("").await;
    server.becomes_dated(&format!("{}\n", one.address()), MODIFIED, NOW);
    let files = ConfigDir::new(&yaml(&server.url(PATH), ", every: 1s", ""));
    let proxy = Proxy::at(files.path()).await;
    let heads = asked(&proxy, &server, 2).await;
    let known = format!("\r\nIf-Modified-Since: {MODIFIED}\r\n");
    assert!(!heads[0].contains("If-"), "{heads:?}");
    assert!(heads[1].contains(&known) && !heads[1].contains("If-None-Match"), "{heads:?}");
    assert_eq!(served_by(&proxy).await, "one");
    assert_eq!(list(&proxy).await["problem"], Value::Null);
    let loaded = proxy.events().iter().filter(|event| event.message() == "list loaded").count();
    assert_eq!(loaded, 1, "the same list is no news");
    // The next process knows the date as well.
    let before = server.heads().len();
    drop(proxy);
    let proxy = Proxy::at(files.path()).await;
    let heads = asked(&proxy, &server, before + 1).await;
    assert!(heads[before..].iter().all(|head| head.contains(&known)), "{heads:?}");
    assert_eq!(served_by(&proxy).await, "one");
    // A newer list is taken.
    server.becomes_dated(&format!("{}\n", two.address()), NOW, "Fri, 27 Nov 2026 09:30:00 GMT");
    within("the newer list", async {
        while served_by(&proxy).await != "two" {
            pause().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_date_that_says_too_little_is_not_sent_back() {
    let one = member("one").await;
    let (there, server) = (ListServer::of("").await, ListServer::of("").await);
    let text = format!("{}\n", one.address());
    // In the second of its change, a list may change again.
    server.becomes_dated(&text, NOW, NOW);
    let proxy = start(&server.url(PATH), ", every: 1s", "").await;
    let heads = asked(&proxy, &server, 2).await;
    assert!(heads.iter().all(|head| !head.contains("If-Modified-Since")), "{heads:?}");
    // The list that a redirect leads to next may be an older one.
    there.becomes_dated(&text, MODIFIED, NOW);
    let to =
        format!("HTTP/1.1 302 Found\r\nLocation: {}\r\nContent-Length: 0\r\n\r\n", there.url("/"));
    server.answers(&to);
    let heads = asked(&proxy, &there, 2).await;
    assert!(heads.iter().all(|head| !head.contains("If-Modified-Since")), "{heads:?}");
    assert_eq!(list(&proxy).await["problem"], Value::Null);
}

#[tokio::test]
async fn new_marks_of_the_same_list_are_sent_back_beside_each_other() {
    let one = member("one").await;
    let server = ListServer::of("").await;
    let marked = |tag: &str| {
        let fields = format!("\r\nETag: {tag}\r\nDate: {NOW}\r\nLast-Modified: {MODIFIED}\r\n\r\n");
        ok(&format!("{}\n", one.address())).replacen("\r\n\r\n", &fields, 1)
    };
    server.answers(&marked("\"a\""));
    let files = ConfigDir::new(&yaml(&server.url(PATH), ", every: 1s", ""));
    let proxy = Proxy::at(files.path()).await;
    asked(&proxy, &server, 2).await;
    // The same content, uploaded again.
    server.answers(&marked("\"b\""));
    let count = server.heads().len();
    let heads = asked(&proxy, &server, count + 2).await;
    let last = heads.last().unwrap();
    assert!(last.contains("\r\nIf-None-Match: \"b\"\r\n"), "{heads:?}");
    assert!(last.contains(&format!("\r\nIf-Modified-Since: {MODIFIED}\r\n")), "{heads:?}");
    // The next process knows them too.
    let lists = files.path().join(".state/mooltiroute/lists");
    let is_saved = || {
        let mut saved = std::fs::read_dir(&lists).into_iter().flatten().flatten();
        saved.any(|file| {
            let text = std::fs::read_to_string(file.path());
            text.is_ok_and(|text| text.contains(r#""etag":"\"b\"","#))
        })
    };
    within("the new tag is kept", async {
        while !is_saved() {
            pause().await;
        }
    })
    .await;
    drop(proxy);
    let (proxy, count) = (Proxy::at(files.path()).await, server.heads().len());
    let heads = asked(&proxy, &server, count + 1).await;
    assert!(heads[count].contains("\r\nIf-None-Match: \"b\"\r\n"), "{heads:?}");
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
async fn a_reload_by_an_operator_fetches_the_list_at_once() {
    let one = member("one").await;
    let server = ListServer::of(&format!("{}\n", one.address())).await;
    let proxy = start(&server.url(PATH), ", every: 1h", "").await;
    assert_eq!(served_by(&proxy).await, "one");
    let two = member("two").await;
    server.becomes(&format!("{}\n", two.address()));
    let (code, told, error) = outcome(&proxy.command(&["reload"]));
    assert_eq!(code, Some(0), "{error}");
    assert!(told.contains("note: the list of `exits` is fetched now"), "{told}");
    within("the new list is in use", async {
        while served_by(&proxy).await != "two" {
            pause().await;
        }
    })
    .await;
    assert_eq!(server.heads().len(), 2);
}

#[cfg(unix)]
#[tokio::test]
async fn the_last_good_list_is_in_use_again_after_a_restart() {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    let one = member("one").await;
    let server = ListServer::of(&format!("{}:{USERNAME}:{PASSWORD}\n", one.address())).await;
    let files = ConfigDir::new(&yaml(&server.url(PATH), "", ""));
    let proxy = Proxy::at(files.path()).await;
    assert_eq!(served_by(&proxy).await, "one");
    let directory = files.path().join(".state/mooltiroute/lists");
    // A file that is being written has a hidden name.
    let saved = || {
        let mut files = fs::read_dir(&directory).into_iter().flatten().flatten();
        files.find(|file| !file.file_name().to_string_lossy().starts_with('.'))
    };
    within("the list is kept", async {
        while saved().is_none() {
            pause().await;
        }
    })
    .await;
    let file = saved().unwrap().path();
    let mode = fs::metadata(&file).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600, "it holds credentials");
    assert!(!file.display().to_string().contains("cAnArY"), "{file:?}");
    let mut check = std::process::Command::new(env!("CARGO_BIN_EXE_mooltiroute"));
    check
        .arg("check")
        .arg("-c")
        .arg(files.path())
        .env("XDG_STATE_HOME", files.path().join(".state"));
    let (code, told, _) = outcome(&check.env_remove("STATE_DIRECTORY").output().unwrap());
    assert_eq!(code, Some(0), "{told}");
    assert!(
        told.contains("its last good copy is of 20") && told.contains(" s ago; a start uses"),
        "{told}"
    );
    drop(proxy);
    // The provider is down, and the proxy starts again.
    server.answers("HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n");
    let proxy = Proxy::at(files.path()).await;
    assert_eq!(served_by(&proxy).await, "one");
    let event = proxy.event("list of an earlier run is in use until it is fetched").await;
    assert_eq!((event.field("hop"), event.field("proxies")), ("exits".into(), "1".into()));
    let event = proxy.event("list not loaded").await;
    assert!(event.field("in_use").starts_with("the last good list, of "), "{event:?}");
    let asked = server.heads().pop().unwrap();
    assert!(asked.contains("\r\nIf-None-Match: \""), "the tag is known too: {asked}");
    assert_eq!(list(&proxy).await["loaded"], true);
    drop(proxy);
    let mut probe = std::process::Command::new(env!("CARGO_BIN_EXE_mooltiroute"));
    probe.arg("probe").arg("-c").arg(files.path()).arg("origin.test:443");
    probe.env("XDG_STATE_HOME", files.path().join(".state")).env_remove("STATE_DIRECTORY");
    let told = tokio::task::spawn_blocking(move || probe.output().unwrap()).await.unwrap();
    let (_, told, _) = outcome(&told);
    assert!(told.contains("exits: the last good copy of the list at "), "{told}");
    assert!(!told.contains("no list of proxies"), "{told}");
    // A file that others could have changed is not used.
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let proxy = Proxy::at(files.path()).await;
    assert!(served_by(&proxy).await.starts_with("HTTP/1.1 502 "));
    let event = proxy.event("the list of an earlier run can't be used").await;
    assert!(event.field("error").contains("other users may read or change it"), "{event:?}");
}

#[tokio::test]
async fn a_list_comes_by_https_through_the_chain_that_is_named() {
    let certificates = Certificates::new();
    let one = member("one").await;
    let server = ListServer::with_tls(&format!("{}\n", one.address()), &certificates).await;
    let exit = Proxy::start("chains: { default: [] }\n").await;
    let ca = certificates.path().join("ca.pem");
    let hop = format!("kind: http-connect, address: \"{}\"", exit.address());
    let of_list = format!(", ca: {:?}", ca.to_str().unwrap());
    let proxy = Proxy::start(&yaml_through(&hop, &server.url(PATH), &of_list)).await;
    assert_eq!(served_by(&proxy).await, "one");
    assert_eq!(exit.event("tunnel closed").await.field("target"), server.address().to_string());
    let (code, out, _) = outcome(&proxy.command(&["check"]));
    assert_eq!(code, Some(0), "{out}");
    assert!(out.contains("fetched through chain way when a request needs it"), "{out}");
    assert!(!out.contains("no route names this chain"), "{out}");
}

#[tokio::test]
async fn a_list_without_tls_comes_through_a_proxy_that_refuses_connect_to_its_port() {
    // One takes what squid ships with. The other asks for a login in two rounds, over one more connection.
    let login = format!(", auth: digest, username: {USERNAME}, password: {PASSWORD}");
    for (rules, login) in [(SquidRules::Stock, ""), (SquidRules::Digest, &*login)] {
        let Some(squid) = Squid::start(rules).await else { return };
        let one = member("one").await;
        let server = ListServer::of(&format!("{}\n", one.address())).await;
        let hop = format!("kind: http-connect, address: \"{}\"{login}", squid.address());
        let proxy = Proxy::start(&yaml_through(&hop, &server.url(PATH), "")).await;
        assert_eq!(served_by(&proxy).await, "one");
        let head = &server.heads()[0];
        assert!(head.starts_with(&format!("GET {PATH} HTTP/1.1\r\n")), "{head}");
        assert!(head.contains(&format!("\r\nHost: {}\r\n", server.address())), "{head}");
        assert!(!head.contains("Proxy-Authorization"), "{head}");
    }
}

#[tokio::test]
async fn a_refusal_of_the_proxy_on_the_way_to_a_list_names_it_and_not_the_path() {
    for (head, expected) in [
        // Only squid's field and a server error are certain to be the hop's own.
        (
            "503 No /cAnArYtOkEn\r\nX-Squid-Error: ERR_DNS_FAIL 0",
            "hop `corporate` answers with status 503",
        ),
        ("403 No /cAnArYtOkEn", "status 403 from the server, or from hop `corporate` before it"),
    ] {
        let head = format!("HTTP/1.1 {head}\r\nContent-Length: 0\r\n\r\n");
        let refuses = Double::start([Step::Answer(head)]).await;
        let hop = format!("kind: http-connect, address: \"{}\"", refuses.address());
        let yaml = yaml_through(&hop, "http://list.test/cAnArYtOkEn", "");
        let proxy = Proxy::start(&yaml).await;
        let said = served_by(&proxy).await;
        assert!(said.starts_with("HTTP/1.1 502 ") && said.contains(&expected[..20]), "{said}");
        assert_eq!(list(&proxy).await["problem"], expected);
        assert!(!format!("{said}{:?}", proxy.events()).contains("cAnArYtOkEn"), "{said}");
        let sent = refuses.sent();
        assert!(sent.starts_with("GET http://list.test/cAnArYtOkEn HTTP/1.1\r\n"), "{sent}");
    }
}

#[tokio::test]
async fn an_untrusted_server_is_told_apart_from_a_missing_one() {
    let certificates = Certificates::new();
    let server = ListServer::with_tls("127.0.0.1:1\n", &certificates).await;
    let proxy = start(&server.url(PATH), "", "").await;
    let refused = served_by(&proxy).await;
    assert!(refused.contains("certificate is not accepted"), "{refused}");
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
async fn a_bad_answer_keeps_the_last_good_list_and_is_warned_of_once() {
    let one = member("one").await;
    let good = format!("{}\n", one.address());
    let server = ListServer::of(&good).await;
    let proxy = start(&server.url(PATH), ", every: 1s", "").await;
    assert_eq!(served_by(&proxy).await, "one");
    let (long, cut) =
        ("127.0.0.1:80\n".repeat(400_000), "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n1.2");
    for (answer, words) in [
        ("HTTP/1.1 404 No cAnArY here\r\nContent-Length: 0\r\n\r\n", "answers with status 404"),
        ("HTTP/1.1 304 Not Modified\r\n\r\n", ""),
        ("HTTP/1.1 429 Slow\r\nContent-Length: 0\r\n\r\n", "answers with status 429"),
        (&ok("<!DOCTYPE html><h1>cAnArY</h1>"), "it is a web page or XML"),
        (&ok(""), "it has no proxy in it"),
        (&ok("# nothing\n"), "it has no proxy in it"),
        (&ok("{\"detail\": \"cAnArY\"}\n"), "is JSON, and not a list"),
        (&ok("\u{0}\u{1}cAnArY"), "it has no usable line: line 1: it has an invisible character"),
        (&ok(&long), "it has over 4 MiB"),
        (&ok(&"127.0.0.1:80\n".repeat(50_001)), "it has over 50000 proxies"),
        (cut, "closed the connection without a full answer"),
        ("SSH-2.0-x\r\n\r\n", "this is not HTTP"),
        (
            "HTTP/1.1 302 Found\r\nLocation: https://other.test/cAnArY\r\nContent-Length: 0\r\n\r\n",
            "redirects to https://other.test/…; write that address as `url`",
        ),
        (
            "HTTP/1.1 302 Found\r\nLocation: cAnArY again\r\nContent-Length: 0\r\n\r\n",
            "redirects to something that is not a URL",
        ),
        (
            "HTTP/1.1 302 Found\r\nLocation: /cAnArY\r\nContent-Length: 0\r\n\r\n",
            "redirects again and again",
        ),
    ] {
        // Each begins with a good list, so that the pause between attempts is the shortest again.
        server.becomes(&good);
        within("the good list", async {
            while !list(&proxy).await["problem"].is_null() {
                assert_eq!(served_by(&proxy).await, "one");
                pause().await;
            }
        })
        .await;
        if words.is_empty() {
            continue;
        }
        let seen = proxy.events().len();
        server.answers(answer);
        let state = comes(&proxy, "problem", words).await;
        assert_eq!(state["loaded"], true, "{state}");
        assert_eq!(served_by(&proxy).await, "one", "{words}");
        assert!(!state.to_string().contains("cAnArY"), "{state}");
        let warnings = || {
            let events = proxy.events().into_iter().skip(seen);
            let warned = events.filter(|event| event.message() == "list not loaded");
            warned.filter(|event| event.field("problem").contains(words)).count()
        };
        within("the warning", async {
            while warnings() == 0 {
                pause().await;
            }
        })
        .await;
        assert_eq!(warnings(), 1, "{words}");
    }
    let output = run(["status", "--address", &proxy.address().to_string()]);
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(told.contains("exits has its members from http://127.0.0.1:"), "{told}");
    assert!(told.contains("redirects again and again"), "{told}");
}

#[tokio::test]
async fn bad_lines_are_left_out_counted_and_never_quoted() {
    let one = member("one").await;
    let text = format!("{}\nnonsense,cAnArY,x\n1.2.3.4,80,cAnArY,cAnArY\n", one.address());
    let server = ListServer::of(&text).await;
    let proxy = start(&server.url(PATH), "", "").await;
    assert_eq!(served_by(&proxy).await, "one");
    let state = list(&proxy).await;
    let doubt = state["doubt"].as_str().unwrap();
    let words = "it has 2 of 3 lines that can't be used, and are left out: line 2: its parts are ";
    assert!(doubt.starts_with(words), "{doubt}");
    let warned = proxy.event("list partly loaded").await;
    assert_eq!((&*warned.field("hop"), &*warned.field("problem")), ("exits", doubt));
    assert!(!state.to_string().contains("cAnArY"), "{state}");
}

#[tokio::test]
async fn without_a_list_requests_are_refused_with_the_reason_and_it_is_asked_for_again() {
    let one = member("one").await;
    let server = ListServer::of("").await;
    let proxy = start(&server.url(PATH), "", "").await;
    let refused = exchange(proxy.address(), CONNECT).await;
    assert!(
        refused.starts_with(
            "HTTP/1.1 502 Bad Gateway (exits: no list of proxies: it has no proxy in it)"
        ),
        "{refused}"
    );
    assert!(refused.contains("the `url` below `members_from` leads to the list"), "{refused}");
    server.becomes(&format!("{}\n", one.address()));
    within("the list comes", async {
        while served_by(&proxy).await != "one" {
            pause().await;
        }
    })
    .await;
    assert_eq!(list(&proxy).await["problem"], Value::Null);
}

#[tokio::test]
async fn a_silent_server_delays_no_start_and_a_request_no_longer_than_a_connection_may_take() {
    let silent = Double::start([Step::Listen]).await;
    let url = format!("http://{}{PATH}", silent.address());
    let began = Instant::now();
    let proxy = start(&url, "", "timeouts: { connect: 500ms }").await;
    assert!(began.elapsed() < Duration::from_secs(5), "it listens at once");
    let began = Instant::now();
    let refused = served_by(&proxy).await;
    assert!(refused.contains("no list of proxies: it did not come within 500ms"), "{refused}");
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert_eq!(silent.record().now().len(), 1, "requests share one fetch");
}

#[tokio::test]
async fn a_redirect_to_another_server_is_followed_with_tls_too() {
    let certificates = Certificates::new();
    let one = member("one").await;
    let there = ListServer::with_tls(&format!("{}\n", one.address()), &certificates).await;
    let server = ListServer::with_tls("", &certificates).await;
    server.answers(&format!(
        "HTTP/1.1 307 Temporary Redirect\r\nLocation: https://localhost:{}/signed\r\nContent-Length: 0\r\n\r\n",
        there.address().port()
    ));
    let ca = certificates.path().join("ca.pem");
    let proxy = start(&server.url(PATH), &format!(", ca: {:?}", ca.to_str().unwrap()), "").await;
    assert_eq!(served_by(&proxy).await, "one");
    assert!(there.heads()[0].starts_with("GET /signed HTTP/1.1\r\n"), "{:?}", there.heads());
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

/// Waits until the proxy has put another generation in force.
async fn reloaded(proxy: &Proxy, seen: usize) {
    proxy.event_after(seen, "config reloaded").await;
}

#[tokio::test]
async fn an_edit_of_the_pool_keeps_its_last_good_list() {
    let one = member("one").await;
    let server = ListServer::of(&format!("{}\n", one.address())).await;
    let url = server.url(PATH);
    let proxy = start(&url, "", "").await;
    assert_eq!(served_by(&proxy).await, "one");
    // The provider is down while the operator edits.
    server.answers("HTTP/1.1 503 Down\r\nContent-Length: 0\r\n\r\n");
    let edited = [
        yaml(&url, "", "").replace("round-robin", "least-used"),
        yaml(&url, ", every: 1h", "").replace("round-robin", "least-used"),
        yaml(&url, ", every: 1h, via: direct", "timeouts: { idle: 1h }"),
    ];
    for yaml in &edited {
        let seen = proxy.events().len();
        proxy.config().write("10-test.yaml", yaml);
        reloaded(&proxy, seen).await;
        assert_eq!(served_by(&proxy).await, "one");
        assert_eq!(list(&proxy).await["loaded"], true);
    }
    // Counts go on, too.
    let pool = status(proxy.address()).await["pools"]["exits"].clone();
    assert_eq!(pool["shown"][0]["reached"], 4, "{pool}");
    // Another URL has another list.
    let seen = proxy.events().len();
    proxy.config().write("10-test.yaml", &yaml(&server.url("/other"), "", ""));
    reloaded(&proxy, seen).await;
    let refused = served_by(&proxy).await;
    assert!(
        refused.contains("no list of proxies: the server answers with status 503"),
        "{refused}"
    );
}

#[tokio::test]
async fn a_pool_in_a_pool_has_its_list_after_each_edit_of_the_outer_one() {
    let one = member("one").await;
    let server = ListServer::of(&format!("{}\n", one.address())).await;
    let yaml = yaml(&server.url(PATH), "", "").replace(
        "chains: { default: [exits] }",
        "  outer: { kind: pool, members: [exits] }\nchains: { default: [outer] }",
    );
    let proxy = Proxy::start(&yaml).await;
    assert_eq!(served_by(&proxy).await, "one");
    for pick in ["sticky", "random"] {
        let seen = proxy.events().len();
        let outer = format!("members: [exits], pick: {pick}");
        proxy.config().write("10-test.yaml", &yaml.replace("members: [exits]", &outer));
        reloaded(&proxy, seen).await;
        assert_eq!(served_by(&proxy).await, "one");
    }
    assert_eq!(server.heads().len(), 1, "the list is the same one");
    // Written inside another hop, the pool would never be allowed to ask.
    let inline = format!(
        "hops:\n  outer: {{ kind: pool, members: [{{ kind: pool, members_from: {{ url: \"{}\" }} }}] }}\n\
         chains: {{ default: [outer] }}\n",
        server.url(PATH)
    );
    let config = ConfigDir::new(&inline);
    let (code, out, _) = outcome(&run(["check", "-c", config.path().to_str().unwrap()]));
    assert_eq!(code, Some(1), "{out}");
    assert!(
        out.contains(
            "hops.outer.members[0]: this entry has a list at a `url`: write it below `hops`"
        ),
        "{out}"
    );
}

#[tokio::test]
async fn a_reload_during_a_fetch_loses_neither_the_list_nor_a_request() {
    let one = member("one").await;
    let allowed = std::sync::Arc::new(tokio::sync::Notify::new());
    let slow = Double::start([
        Step::Hear("\r\n\r\n".into()),
        Step::Await(std::sync::Arc::clone(&allowed)),
        Step::Say(ok(&format!("{}\n", one.address()))),
        Step::End,
    ])
    .await;
    let url = format!("http://{}{PATH}", slow.address());
    let proxy = start(&url, "", "").await;
    let address = proxy.address();
    let waiting = tokio::spawn(async move { connect(address, "origin.test:443").await });
    within("the fetch", async {
        while slow.record().now().is_empty() {
            pause().await;
        }
    })
    .await;
    let seen = proxy.events().len();
    proxy.config().write("10-test.yaml", &yaml(&url, "", "timeouts: { header: 20s }"));
    reloaded(&proxy, seen).await;
    allowed.notify_one();
    drop(waiting.await.unwrap().tunnel());
    assert_eq!(served_by(&proxy).await, "one");
    assert_eq!(slow.record().now().len(), 1);
}

#[tokio::test]
async fn an_edit_of_a_file_keeps_the_counts_and_pauses_of_proxies_that_stay() {
    let (one, dead) = (member("one").await, free_port());
    let config = ConfigDir::new(
        "hops: { exits: { kind: pool, members_from: { file: exits.txt, every: 1m } } }\nchains: { default: [exits] }\n",
    );
    config.write("exits.txt", &format!("127.0.0.1:{dead}\n{}\n", one.address()));
    let proxy = Proxy::on(config, &[]).await;
    assert_eq!(served_by(&proxy).await, "one");
    let seen = proxy.events().len();
    let list = format!("{}\n127.0.0.1:{dead}\n127.0.0.1:{dead}:u:p\n", one.address());
    proxy.config().save("exits.txt", &list, Way::InPlace);
    reloaded(&proxy, seen).await;
    let shown = status(proxy.address()).await["pools"]["exits"]["shown"].clone();
    let state =
        |index: usize| ["reached", "failed", "working"].map(|key| shown[index][key].clone());
    assert_eq!(state(0), [json!(1), json!(0), json!(true)]);
    assert_eq!(state(1), [json!(0), json!(1), json!(false)]);
    assert_eq!(state(2), [json!(0), json!(0), json!(true)], "another login is another proxy");
}

#[tokio::test]
async fn probe_fetches_the_list_and_check_and_explain_do_not() {
    let exit = Proxy::start("chains: { default: [] }\n").await;
    let origin = HttpOrigin::plain().await;
    let server = ListServer::of(&format!("{}\n", exit.address())).await;
    let yaml = yaml(&server.url(PATH), "", "");
    let config = ConfigDir::new(&yaml);
    let path = config.path().to_str().unwrap();
    let shown = format!("http://{}/…", server.address());
    let (code, out, _) = outcome(&run(["check", "-c", path]));
    assert_eq!(code, Some(0), "{out}");
    let words = format!("members from the list at {shown}, fetched when a request needs it");
    assert!(out.contains(&words) && out.contains("`check` fetches nothing"), "{out}");
    let (_, out, _) = outcome(&run(["check", "--format", "json", "-c", path]));
    let check: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(check["hops"][0]["members_from"], json!({ "source": shown, "via": "direct" }));
    let (code, out, _) = outcome(&run(["explain", "https://origin.test/", "-c", path]));
    assert_eq!(code, Some(0), "{out}");
    assert!(
        out.contains(&format!("exits takes one of the proxies in the list at {shown}")),
        "{out}"
    );
    assert!(server.heads().is_empty(), "nothing is fetched");
    let probed = probe(&yaml, &[&origin.url("/bytes/10")]).await;
    assert_eq!(probed.told["status"], 200, "{:#}", probed.told);
    // Once for people, and once for programs.
    assert_eq!(server.heads().len(), 2);
}

#[tokio::test]
async fn a_list_that_needs_itself_is_a_problem_with_its_line() {
    let pool = |via: &str| {
        format!("kind: pool, members_from: {{ url: \"https://list.test/cAnArY\", via: {via} }}")
    };
    let check = |yaml: &str| {
        let config = ConfigDir::new(yaml);
        let (code, out, _) = outcome(&run(["check", "-c", config.path().to_str().unwrap()]));
        assert!(!out.contains("cAnArY"), "{out}");
        (code, out)
    };
    let itself = "names a chain that needs `a` itself";
    for (yaml, problem) in [
        (format!("hops: {{ a: {{ {} }} }}\nchains: {{ default: [a] }}\n", pool("default")), itself),
        // Another pool holds it.
        (
            format!(
                "hops: {{ a: {{ {} }}, b: {{ kind: pool, members: [a] }} }}\nchains: {{ default: [b] }}\n",
                pool("default")
            ),
            itself,
        ),
        // Two lists need each other.
        (
            format!(
                "hops: {{ a: {{ {} }}, b: {{ {} }} }}\nchains: {{ default: [a], way: [b] }}\n",
                pool("way"),
                pool("default")
            ),
            itself,
        ),
        // A hop that is off may come on again.
        (
            format!(
                "hops: {{ a: {{ {}, enabled: false }} }}\nchains: {{ default: [a] }}\n",
                pool("default")
            ),
            itself,
        ),
        (
            format!("hops: {{ a: {{ {} }} }}\nchains: {{ default: [a] }}\n", pool("nowhere")),
            "unknown chain",
        ),
    ] {
        let (code, out) = check(&yaml);
        assert_eq!(code, Some(1), "{yaml}{out}");
        let places = [".members_from: `via` ", ".members_from.via: unknown"];
        assert!(places.iter().any(|place| out.contains(place)), "{yaml}{out}");
        assert!(out.contains(problem), "{yaml}{out}");
    }
    // A list through another list is no circle.
    let yaml = format!(
        "hops: {{ a: {{ {} }}, b: {{ {} }} }}\nchains: {{ default: [a], way: [b] }}\n",
        pool("way"),
        pool("direct")
    );
    assert_eq!(check(&yaml).0, Some(0));
}

#[tokio::test]
async fn no_output_has_the_path_of_the_url_or_a_login_of_the_list() {
    let hop =
        Double::start([Step::Answer("HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n".into())]).await;
    let list = format!("{}:cAnArY-user:cAnArY-password\n1.2.3.4:cAnArY:u\n", hop.address());
    let server = ListServer::of(&list).await;
    let config = yaml(&server.url(PATH), ", every: 1s", "");
    let proxy = Proxy::with_arguments(&config, &["--log-level", "trace"]).await;
    let mut told = String::new();
    for answer in [
        None,
        Some("HTTP/1.1 404 /cAnArY\r\nContent-Length: 6\r\n\r\ncAnArY".to_owned()),
        Some("HTTP/1.1 302 x\r\nLocation: /cAnArY\r\nContent-Length: 0\r\n\r\n".to_owned()),
        Some("cAnArY".to_owned()),
        Some(ok("cAnArY:cAnArY\n")),
    ] {
        if let Some(answer) = &answer {
            server.answers(answer);
            let seen = server.heads().len();
            within("another fetch", async {
                while server.heads().len() == seen {
                    told += &exchange(proxy.address(), CONNECT).await;
                    pause().await;
                }
            })
            .await;
        }
        told += &exchange(proxy.address(), CONNECT).await;
        for path in ["/status", "/metrics"] {
            let host = proxy.address();
            let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n");
            told += &exchange(proxy.address(), request.as_bytes()).await;
        }
        for arguments in [
            vec!["check"],
            vec!["check", "--format", "json"],
            vec!["check", "--graph"],
            vec!["explain", "https://origin.test/"],
            vec!["explain", "https://origin.test/", "--format", "json"],
            vec!["probe", "https://origin.test/"],
            vec!["status"],
            vec!["usage"],
            vec!["ps"],
        ] {
            let (code, out, error) = outcome(&proxy.command(&arguments));
            assert!(code.is_some_and(|code| code < 2), "{arguments:?}: {error}");
            told += &(out + &error);
        }
    }
    assert!(told.contains(" 502 ") && told.contains("exits"), "{told}");
    assert!(!told.contains("cAnArY"), "{told}");
    let events = proxy.events();
    assert!(events.len() > 20);
    events.iter().for_each(|event| assert!(!event.text().contains("cAnArY"), "{}", event.text()));
    proxy.other_lines().iter().for_each(|line| assert!(!line.contains("cAnArY"), "{line}"));
    // Nor has any message about a mistake in it.
    let url = format!("https://list.test{PATH}");
    for members_from in [
        format!("\"{url}\""),
        format!("[\"{url}\"]"),
        format!("{{ file: \"{url}\" }}"),
        format!("{{ uri: \"{url}\" }}"),
        format!("{{ url: \"{url} x\" }}"),
        format!("{{ url: \"{PATH}\" }}"),
        format!("{{ url: [\"{url}\"] }}"),
        format!("{{ url: {{ a: \"{url}\" }} }}"),
        "{ url: \"https://cAnArY:cAnArY@list.test/\" }".to_owned(),
        format!("{{ url: \"{url}\", every: never }}"),
        format!("{{ url: \"{url}\", every: 5 }}"),
        format!("{{ url: \"{url}\", via: nowhere }}"),
        format!("{{ url: \"{url}\", ca: missing.pem }}"),
        format!("{{ url: \"{url}\", file: a.txt }}"),
        format!("{{ url: \"{url}\", url: \"{url}\" }}"),
        format!("{{ url: \"{url}\", tls: true }}"),
    ] {
        let yaml = format!(
            "hops: {{ exits: {{ kind: pool, members_from: {members_from} }} }}\nchains: {{ default: [exits] }}\n"
        );
        let config = ConfigDir::new(&yaml);
        for format in ["human", "json"] {
            let path = config.path().to_str().unwrap();
            let (code, out, error) = outcome(&run(["check", "--format", format, "-c", path]));
            assert_eq!(code, Some(1), "{members_from}: {out}");
            assert!(!(out.clone() + &error).contains("cAnArY"), "{members_from}: {out}{error}");
        }
    }
}
