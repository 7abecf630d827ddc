//! A list is downloaded again only if the server has another version of it.

use serde_json::Value;

use super::{
    PATH, list, member, served_by,
    server::{ListServer, ok},
    start, yaml,
};
use crate::support::{ConfigDir, Proxy, pause, within};

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
