//! A list that does not come, or is not one.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{
    CONNECT, PATH, comes, list, member, served_by,
    server::{ListServer, ok},
    start,
};
use crate::support::{Double, Step, exchange, pause, run, within};

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
    assert_eq!(event.field("next"), "the first request after 1 s fetches it again");
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
    assert_eq!(event.field("in_use"), "no list has been loaded yet, so requests are refused");
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
        (&ok("{\"detail\": \"cAnArY\"}\n"), "is JSON, not a list"),
        (&ok("\u{0}\u{1}cAnArY"), "it has no usable line: line 1: it has an invisible character"),
        (&ok(&long), "it is larger than 4 MiB"),
        (&ok(&"127.0.0.1:80\n".repeat(50_001)), "it has over 50000 proxies"),
        (BROKEN_CHUNKS, "the chunks of its body are invalid"),
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
            "keeps redirecting",
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
    assert!(told.contains("keeps redirecting"), "{told}");
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

const BROKEN_CHUNKS: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n";
