//! Reloads and restarts keep what is good of a list.

use serde_json::json;

use super::{
    PATH, list, member, served_by,
    server::{ListServer, ok},
    start, yaml,
};
use crate::support::{
    ConfigDir, Double, Proxy, Step, Way, connect, free_port, outcome, pause, run, status, within,
};
#[cfg(unix)]
use crate::support::{PASSWORD, USERNAME};

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

/// Waits until the proxy has applied another generation.
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
