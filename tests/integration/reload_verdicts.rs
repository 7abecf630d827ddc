//! What `reload` and `hop` say about the configuration that comes in force, or does not.

use std::fs;

use crate::support::{ConfigDir, Proxy, outcome};

const ONE_HOP: &str =
    "hops: { pool1: { kind: socks5, address: \"a.test:1\" } }\nchains: { default: [pool1] }\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_switch_that_sends_targets_direct_says_so() {
    let proxy = Proxy::start(ONE_HOP).await;
    let (code, out, error) = outcome(&proxy.command(&["hop", "pool1", "off"]));
    assert_eq!(code, Some(0), "{error}");
    assert!(out.contains("targets that went through hops go direct now: any other host"), "{out}");
    let (_, out, _) = outcome(&proxy.command(&["status"]));
    assert!(out.contains("\nhops off     pool1\n"), "{out}");
    let (_, out, _) = outcome(&proxy.command(&["status", "--format", "json"]));
    let status: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(status["hops_off"], serde_json::json!(["pool1"]));
    proxy.config().write("20-more.yaml", "server: { workers: 2 }\n");
    proxy.event_after(0, "`server.workers` takes effect at the next start").await;
    proxy.config().write("20-more.yaml", "server: { workers: 3 }\n");
    // The watch may be first. Then nothing is left to do, and nothing to warn of.
    let (code, out, error) = outcome(&proxy.command(&["reload", "--format", "json"]));
    assert_eq!(code, Some(0), "{error}");
    let verdict: serde_json::Value = serde_json::from_str(&out).unwrap();
    let said = verdict["warnings"].to_string();
    assert!(
        said.contains("takes effect at the next start") || verdict["verdict"] == "unchanged",
        "{verdict:#}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_with_unusable_lines_is_named_by_the_reload() {
    let config = ConfigDir::new("chains: { default: [] }\n");
    config.write("exits.txt", "a.test:80\n");
    let hops = "hops: { exits: { kind: pool, members_from: { file: exits.txt } } }\nchains: { default: [exits] }\n";
    config.write("10-test.yaml", hops);
    let proxy = Proxy::on(config, &[]).await;
    proxy.config().write("exits.txt", "a.test:80\nnonsense\n");
    let (code, out, error) = outcome(&proxy.command(&["reload"]));
    assert_eq!(code, Some(0), "{error}");
    assert!(out.contains("warning: ") && out.contains("1 of 2 lines that can't be used"), "{out}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_emptied_file_is_refused_by_a_running_proxy() {
    for content in ["", "\n"] {
        let proxy = Proxy::start(ONE_HOP).await;
        proxy.config().write("10-test.yaml", content);
        let (code, out, error) = outcome(&proxy.command(&["reload"]));
        assert_eq!(code, Some(1), "{out}{error}");
        assert!(out.contains("10-test.yaml: this file was emptied"), "{out}");
        assert!(out.contains("generation 1 stays in force"), "{out}");
        proxy.event("config rejected").await;
        // A file that is meant so is taken, and so is one that is written again.
        proxy.config().write("10-test.yaml", "# no hop\n");
        proxy.event("config reloaded").await;
        assert_eq!(outcome(&proxy.command(&["reload"])).0, Some(0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_is_taken_is_rejected_with_its_place() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let proxy = Proxy::start(ONE_HOP).await;
    let address = taken.local_addr().unwrap();
    proxy.config().write("00-server.yaml", &format!("server: {{ listen: \"{address}\" }}\n"));
    let (code, out, _) = outcome(&proxy.command(&["reload"]));
    assert_eq!(code, Some(1), "{out}");
    assert!(out.contains("00-server.yaml:1:19: server.listen: can't listen on "), "{out}");
    assert!(out.contains("another program has the port"), "{out}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_says_that_variables_are_those_of_the_start() {
    let yaml = "hops: { a: { kind: socks5, address: \"${REMARKABLE_HOST}:1\" } }\nchains: { default: [a] }\n";
    let proxy = Proxy::in_environment(yaml, &[], &[("REMARKABLE_HOST", "a.test")]).await;
    let (code, out, error) = outcome(&proxy.command(&["reload"]));
    assert_eq!(code, Some(0), "{error}");
    let note = "note: variables have the values that they had when the proxy was started (process ";
    assert!(out.contains(note), "{out}");
    let path = proxy.config().path().join("10-test.yaml");
    fs::write(path, yaml.replace("REMARKABLE", "UNREMARKABLE")).unwrap();
    let (code, out, _) = outcome(&proxy.command(&["reload"]));
    assert_eq!(code, Some(1));
    assert!(out.contains("`UNREMARKABLE_HOST` is not set") && out.contains(note), "{out}");
}
