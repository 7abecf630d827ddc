//! PAC files of a `url`: when they are fetched, and what happens if a fetch fails.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::{futures, named, returning, stdout, way, yaml};
use crate::support::{
    ConfigDir, Double, EchoOrigin, Proxy, Step, exchange, free_port, pause, run, status, within,
};

/// A server of the PAC file `script`, which answers each request with it, a tag and a date.
async fn server(script: &str) -> Double {
    Double::start(serving(script)).await
}

fn serving(script: &str) -> [Step; 2] {
    let head = format!(
        "HTTP/1.1 200 OK\r\nETag: \"one\"\r\nLast-Modified: Thu, 26 Nov 2026 08:15:00 GMT\r\nContent-Length: {}\r\n\r\n",
        script.len()
    );
    [Step::Answer(head + script), Step::End]
}

/// Returns a step whose answer has another tag.
fn retagged(step: Step) -> Step {
    match step {
        Step::Answer(answer) => Step::Answer(answer.replace("\"one\"", "\"two\"")),
        step => step,
    }
}

fn answering(answer: &str) -> [Step; 2] {
    [Step::Answer(answer.to_owned()), Step::End]
}

async fn with_url(server: &Double, more: &str) -> (Double, Double, Proxy) {
    let (corporate, other) = (named("Corporate").await, named("Other").await);
    let office = format!("url: \"http://{}/proxy.pac\"{more}", server.address());
    let proxy = Proxy::start(&yaml(&corporate, &other, &office)).await;
    (corporate, other, proxy)
}

async fn pac_file(proxy: &Proxy) -> Value {
    status(proxy.address()).await["pac_files"]["office"].clone()
}

/// Waits until tunnels go `expected`.
async fn comes(proxy: &Proxy, expected: &str) {
    within(&format!("tunnels go {expected}"), async {
        while way(proxy, "www.test:443").await != expected {
            pause().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_file_is_fetched_once_and_only_when_a_request_needs_it() {
    let server = server(&returning("'PROXY proxy1.corp.example'")).await;
    let (_corporate, _other, proxy) = with_url(&server, "").await;
    let before = pac_file(&proxy).await;
    assert_eq!((&before["loaded"], &before["checked_at"]), (&Value::Bool(false), &Value::Null));
    assert!(server.record().now().is_empty(), "no request, no fetch");
    let asked = (0..20).map(|number| way(&proxy, format!("host-{number}.test:443")));
    for answer in futures(asked).await {
        assert_eq!(answer, "corporate");
    }
    let fetches = server.record().now();
    assert_eq!(fetches.len(), 1, "{fetches:?}");
    let request = fetches[0].text();
    assert!(request.starts_with("GET /proxy.pac HTTP/1.1\r\n"), "{request}");
    let after = pac_file(&proxy).await;
    assert_eq!(
        (&after["loaded"], &after["problem"]),
        (&Value::Bool(true), &Value::Null),
        "{after}"
    );
    proxy.event("PAC file loaded").await;
}

#[tokio::test]
async fn a_server_that_says_nothing_delays_no_start_and_its_requests_are_refused_until_it_speaks() {
    let server = Double::start([Step::Listen]).await;
    let began = Instant::now();
    let (_corporate, _other, proxy) = with_url(&server, "").await;
    assert!(began.elapsed() < Duration::from_secs(5), "it listens at once");
    let refused = way(&proxy, "www.test:443").await;
    assert!(refused.starts_with("HTTP/1.1 502 Bad Gateway (office: no PAC file: "), "{refused}");
    let state = pac_file(&proxy).await;
    assert!(state["problem"].as_str().unwrap().contains("takes longer than 10 s"), "{state}");
    let logged = proxy.event("PAC file not loaded").await;
    assert_eq!(logged.field("hop"), "office");
    server.becomes(serving(&returning("'PROXY proxy1.corp.example'")));
    comes(&proxy, "corporate").await;
    assert_eq!(pac_file(&proxy).await["problem"], Value::Null);
}

#[tokio::test]
async fn an_answer_that_is_no_pac_file_is_reported_and_fetched_again() {
    let long =
        "HTTP/1.1 200 OK\r\nContent-Length: 10737418240\r\n\r\n".to_owned() + &"x".repeat(5 << 20);
    let server =
        Double::start(answering("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")).await;
    let (_corporate, _other, proxy) = with_url(&server, "").await;
    let tells = async |words: &str| {
        within(words, async {
            loop {
                let refused = way(&proxy, "www.test:443").await;
                assert!(refused.starts_with("HTTP/1.1 502"), "{refused}");
                let state = pac_file(&proxy).await;
                if state["problem"].as_str().is_some_and(|problem| problem.contains(words)) {
                    break;
                }
                pause().await;
            }
        })
        .await;
    };
    tells("404 Not Found").await;
    server.becomes(answering(
        "HTTP/1.1 200 OK\r\nContent-Length: 27\r\n\r\n<!DOCTYPE html><h1>Hi</h1> ",
    ));
    tells("it is HTML").await;
    // Not the whole file is wrong, so its address is right.
    server.becomes(serving("function FindProxyForURL(url, host) {\n  return 'DIRECT;\n}"));
    tells("it is not valid JavaScript").await;
    let request = b"CONNECT www.test:443 HTTP/1.1\r\nHost: www.test\r\nConnection: close\r\n\r\n";
    let advice = exchange(proxy.address(), request).await;
    assert!(advice.contains("The `url` is right. Correct the PAC file"), "{advice}");
    server.becomes(answering(&long));
    tells("it is larger than 4 MiB").await;
    server.becomes(answering("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nfunction"));
    tells("closed the connection").await;
    let problem = stdout(run(["status", "--address", &proxy.address().to_string()]));
    assert!(problem.contains("office is chosen by http://"), "{problem}");
}

#[tokio::test]
async fn redirects_are_followed_and_old_encodings_are_read() {
    let latin = Double::start(answering("")).await;
    let server = Double::start([
        Step::Answer(format!(
            "HTTP/1.1 302 Found\r\nLocation: http://{}/new.pac\r\nContent-Length: 0\r\n\r\n",
            latin.address()
        )),
        Step::End,
    ])
    .await;
    let script = format!("\u{feff}// \u{e4}\n{}", returning("'PROXY proxy1.corp.example'"));
    latin.becomes(answering(&format!("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{script}")));
    let (_corporate, _other, proxy) = with_url(&server, "").await;
    assert_eq!(way(&proxy, "www.test:443").await, "corporate");
    assert!(latin.sent().starts_with("GET /new.pac "), "{}", latin.sent());
}

#[tokio::test]
async fn a_file_is_fetched_through_the_chain_that_is_named() {
    let server = server(&returning("'PROXY proxy1.corp.example'")).await;
    let exit = Proxy::start("chains: { default: [] }\n").await;
    let (corporate, other) = (named("Corporate").await, named("Other").await);
    let office = format!("url: \"http://{}/proxy.pac\", via: way", server.address());
    let yaml = yaml(&corporate, &other, &office).replace(
        "chains: {",
        &format!(
            "  exit: {{ kind: http-connect, address: \"{}\" }}\nchains: {{ way: [exit],",
            exit.address()
        ),
    );
    let proxy = Proxy::start(&yaml).await;
    assert_eq!(way(&proxy, "www.test:443").await, "corporate");
    // As a plain request, since many proxies refuse CONNECT to port 80.
    let request = exit.event("request").await;
    assert_eq!(request.field("target"), server.address().to_string());
}

#[tokio::test]
async fn a_file_that_the_proxy_would_have_to_serve_itself_is_a_loop_and_no_hang() {
    let port = free_port();
    let (corporate, other) = (named("Corporate").await, named("Other").await);
    let config = ConfigDir::new(&yaml(
        &corporate,
        &other,
        &format!("url: \"http://127.0.0.1:{port}/proxy.pac\""),
    ));
    config.write("00-server.yaml", &format!("server: {{ listen: \"127.0.0.1:{port}\" }}\n"));
    let proxy = Proxy::on(config, &[]).await;
    let refused = way(&proxy, "www.test:443").await;
    assert!(refused.starts_with("HTTP/1.1 502"), "{refused}");
    let problem = pac_file(&proxy).await["problem"].to_string();
    assert!(problem.contains("this proxy itself"), "{problem}");
}

/// A server that says nothing would have the request wait for ten seconds. It has not begun its way, so it takes that of the
/// edit, with the hops of the edit.
#[tokio::test]
async fn a_request_that_waits_for_the_file_follows_an_edit_at_once() {
    let (corporate, other) = (named("Corporate").await, named("Other").await);
    let (silent, echo) = (Double::start([Step::Listen]).await, EchoOrigin::start().await);
    let working = server(&returning("'PROXY proxy1.corp.example'")).await;
    let url = |server: &Double| format!("url: \"http://{}/proxy.pac\"", server.address());
    let before = yaml(&corporate, &other, &url(&silent));
    for (number, (after, expected)) in [
        (yaml(&corporate, &other, &url(&working)), "corporate"),
        // The hop that the file chose would be another one now.
        (yaml(&other, &corporate, &url(&working)), "other"),
        (yaml(&corporate, &other, "file: office.pac"), "other"),
        (before.replace("[office]", "[corporate]"), "corporate"),
        (before.replace("[office]", "[]"), "direct"),
        (before.replace("kind: pac,", "kind: pac, enabled: false,"), "direct"),
    ]
    .into_iter()
    .enumerate()
    {
        let config = ConfigDir::new(&before);
        config.write("office.pac", &returning("'PROXY x:9999'"));
        let proxy = Proxy::on(config, &[]).await;
        let edited = async {
            within("the fetch", async {
                while silent.record().now().len() <= number {
                    pause().await;
                }
            })
            .await;
            proxy.config().write("10-test.yaml", &after);
            proxy.event("config reloaded").await;
            Instant::now()
        };
        let asked = async { (way(&proxy, echo.address()).await, Instant::now()) };
        let ((way, answered), edited) = tokio::join!(asked, edited);
        assert_eq!(way, expected, "{after}");
        let waited = answered.saturating_duration_since(edited);
        assert!(waited < Duration::from_secs(5), "{waited:?}: {after}");
    }
}

/// Edits of other settings than those of the fetch.
#[tokio::test]
async fn an_edit_keeps_the_last_good_file_unless_that_would_come_another_way() {
    let server = server(&returning("'PROXY proxy1.corp.example'")).await;
    let (corporate, other, proxy) = with_url(&server, "").await;
    assert_eq!(way(&proxy, "www.test:443").await, "corporate");
    server.becomes(answering("HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n"));
    let edit = async |yaml: String| {
        let seen = proxy.events().len();
        proxy.config().write("10-test.yaml", &yaml);
        proxy.event_after(seen, "config reloaded").await;
    };
    let office = format!("url: \"http://{}/proxy.pac\"", server.address());
    // The hop `corporate` is at another address, and the answers that are kept are those of the old one.
    edit(yaml(&other, &corporate, &office)).await;
    assert_eq!(way(&proxy, "www.test:443").await, "other");
    within("the fetch after the edit", async {
        while pac_file(&proxy).await["problem"].is_null() {
            pause().await;
        }
    })
    .await;
    let state = pac_file(&proxy).await;
    assert!(state["problem"].as_str().unwrap().contains("500 Oops"), "{state}");
    assert_eq!(
        (&state["loaded"], way(&proxy, "www.test:443").await.as_str()),
        (&Value::Bool(true), "other")
    );
    // A file that came another way may not be trusted any more.
    let elsewhere = yaml(&other, &corporate, &(office + ", via: way"));
    edit(elsewhere.replace("chains: {", "chains: { way: [],")).await;
    let refused = way(&proxy, "www.test:443").await;
    assert!(refused.starts_with("HTTP/1.1 502") && refused.contains("500 Oops"), "{refused}");
}

#[tokio::test]
async fn a_reload_by_an_operator_fetches_the_file_and_the_next_request_follows_it() {
    let to = |proxy: &str| returning(&format!("'PROXY {proxy}'"));
    let server = server(&to("proxy1.corp.example")).await;
    let (_corporate, _other, proxy) = with_url(&server, "").await;
    assert_eq!(way(&proxy, "www.test:443").await, "corporate");
    // The server knows an answer by this tag, so the new file has another one.
    let serving = |proxy: &str| serving(&to(proxy)).map(retagged);
    server.becomes(serving("x:9999"));
    let reload = proxy.command(&["reload"]);
    let told = String::from_utf8_lossy(&reload.stdout).into_owned();
    assert!(told.contains("note: the PAC file of `office` is fetched now"), "{told}");
    assert_eq!(way(&proxy, "www.test:443").await, "other");
    // An edit that changes something else is no reason not to fetch it.
    server.becomes(answering("HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n"));
    proxy.config().write("20-more.yaml", "limits: { connections: 1234 }\n");
    let reload = proxy.command(&["reload"]);
    assert_eq!(reload.status.code(), Some(0), "{reload:?}");
    // The last good file stays in use, and the log says so.
    assert_eq!(way(&proxy, "www.test:443").await, "other");
    let state = pac_file(&proxy).await;
    assert!(state["problem"].as_str().is_some_and(|why| why.contains("500 Oops")), "{state}");
}

#[cfg(unix)]
#[tokio::test]
async fn a_signal_to_reload_fetches_the_file_and_ends_no_wait_of_a_fetch_before_it() {
    let to = |proxy: &str| returning(&format!("'PROXY {proxy}'"));
    let server = server(&to("proxy1.corp.example")).await;
    let (_corporate, _other, mut proxy) = with_url(&server, "").await;
    assert_eq!(way(&proxy, "www.test:443").await, "corporate");
    server.becomes(serving(&to("x:9999")).map(retagged));
    proxy.signal(rustix::process::Signal::HUP);
    comes(&proxy, "other").await;
    assert_eq!(server.record().now().len(), 2);
}

/// A network that changes: the file is asked for again with its tag, and answers of the old network are forgotten.
#[cfg(target_os = "linux")]
#[test]
fn a_change_of_the_network_has_the_file_fetched_again_and_the_last_good_one_kept() {
    use crate::support::{Namespace, Says};
    Namespace::run(Says::NoSuchName, |namespace| async move {
        let server = server(&returning("'PROXY proxy1.corp.example'")).await;
        let (_corporate, _other, proxy) = with_url(&server, "").await;
        assert_eq!(way(&proxy, "www.test:443").await, "corporate");
        server.becomes(answering("HTTP/1.1 304 Not Modified\r\n\r\n"));
        namespace.add_link("event");
        within("another fetch", async {
            while server.record().now().len() < 2 {
                assert_eq!(way(&proxy, "www.test:443").await, "corporate");
                pause().await;
            }
        })
        .await;
        assert!(server.sent().contains("If-None-Match: \"one\"\r\n"), "{}", server.sent());
        let has_date = server.sent().contains("If-Modified-Since");
        assert!(!has_date, "a server elsewhere may have an older file: {}", server.sent());
        // A server that is broken in the next network: the last good file stays in use, and the status says why.
        server.becomes(answering("HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n"));
        namespace.ip("link set event up");
        within("the failure", async {
            while pac_file(&proxy).await["problem"].is_null() {
                assert_eq!(way(&proxy, "www.test:443").await, "corporate");
                pause().await;
            }
        })
        .await;
        let state = pac_file(&proxy).await;
        assert!(state["problem"].as_str().unwrap().contains("500 Oops"), "{state}");
        assert_eq!(state["loaded"], true);
        server.becomes(serving(&returning("'PROXY x:9999'")));
        namespace.ip("link set event down");
        comes(&proxy, "other").await;
    });
}

/// A fetch that waits for a condition of its way. An edit replaces the condition meanwhile, and the fetch takes the way of
/// the edit.
#[cfg(target_os = "linux")]
#[test]
fn a_fetch_under_way_takes_the_way_that_an_edit_has_put_in_force() {
    use crate::support::{Namespace, Says};
    Namespace::run(Says::Nothing, |_namespace| async move {
        let server = server(&returning("'PROXY proxy1.corp.example'")).await;
        let vpn = Proxy::start("chains: { default: [] }\n").await;
        let (corporate, other) = (named("Corporate").await, named("Other").await);
        let office = format!("url: \"http://{}/proxy.pac\", via: way", server.address());
        let yaml = |enabled: &str| {
            let vpn = format!("kind: http-connect, address: \"{}\"", vpn.address());
            let hops = format!("  vpn: {{ {vpn}, enabled: {enabled} }}\nchains: {{ way: [vpn],");
            yaml(&corporate, &other, &office).replace("chains: {", &hops).replace("3s", "20s")
        };
        let unknown = "{ when: { resolves: vpn.test }, unknown: off }";
        for (number, (before, after)) in
            [(unknown, "true"), (unknown, "{ when: { interface: lo }, unknown: off }")]
                .into_iter()
                .enumerate()
        {
            let proxy = Proxy::start(&yaml(before)).await;
            let asked = way(&proxy, "www.test:443");
            let edited = async {
                // Only a request begins a fetch.
                within("the request", async {
                    // The other one asks for the status.
                    while status(proxy.address()).await["connections"]["open"] != 2 {
                        pause().await;
                    }
                })
                .await;
                proxy.config().write("10-test.yaml", &yaml(after));
                proxy.event("config reloaded").await;
            };
            let (asked, ()) = tokio::join!(asked, edited);
            assert_eq!(asked, "corporate");
            within("the fetch has passed the VPN", async {
                let passed = || {
                    let events = vpn.events();
                    events.iter().filter(|event| event.message() == "request").count()
                };
                while passed() <= number {
                    pause().await;
                }
            })
            .await;
            assert_eq!(server.record().now().len(), number + 1, "it is fetched once, by the VPN");
        }
    });
}
