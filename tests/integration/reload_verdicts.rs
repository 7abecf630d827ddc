//! The output of `reload` and `hop`: warnings, notes and the problems of a rejected configuration.

use std::fs;

use crate::support::{ConfigDir, Proxy, free_address, outcome, within};

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
    // The watch may have applied the edit already. Then `reload` has nothing to do, and no warning.
    let (code, out, error) = outcome(&proxy.command(&["reload", "--format", "json"]));
    assert_eq!(code, Some(0), "{error}");
    let verdict: serde_json::Value = serde_json::from_str(&out).unwrap();
    let warnings = verdict["warnings"].to_string();
    assert!(
        warnings.contains("takes effect at the next start") || verdict["verdict"] == "unchanged",
        "{verdict:#}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_counts_the_unusable_lines_of_a_list() {
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
async fn an_emptied_list_is_called_a_list_also_if_its_path_goes_through_another_directory() {
    let config = ConfigDir::new("chains: { default: [] }\n");
    config.write("exits.txt", "a.test:80\n");
    let path = config.path().canonicalize().unwrap();
    let name = path.file_name().unwrap().to_str().unwrap();
    let hops = format!(
        "hops: {{ exits: {{ kind: pool, members_from: {{ file: \"../{name}/exits.txt\" }} }} }}\n\
         chains: {{ default: [exits] }}\n"
    );
    config.write("10-test.yaml", &hops);
    let proxy = Proxy::on(config, &[]).await;
    proxy.config().write("exits.txt", "");
    let (code, out, error) = outcome(&proxy.command(&["reload"]));
    assert_eq!(code, Some(1), "{out}{error}");
    for words in [
        "hops.exits.members_from.file: ",
        "has no proxy in it",
        "help: write proxies into it",
        "goes on with the last list",
        "generation 1 stays in force",
    ] {
        assert!(out.contains(words), "{words}: {out}");
    }
    assert!(!out.contains("was emptied"), "{out}");
    proxy.event("config rejected").await;
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
        // A comment shows that the file is meant to be empty.
        proxy.config().write("10-test.yaml", "# no hop\n");
        proxy.event("config reloaded").await;
        assert_eq!(outcome(&proxy.command(&["reload"])).0, Some(0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_emptied_file_is_refused_without_an_order_too_and_check_warns_of_it() {
    let config = ConfigDir::new(ONE_HOP);
    config.write("20-more.yaml", "timeouts: { idle: 1h }\n");
    let proxy = Proxy::on(config, &[]).await;
    proxy.config().write("20-more.yaml", "");
    let rejected = proxy.event("config rejected").await;
    let words = "20-more.yaml: this file was emptied; write it again or remove it.";
    assert!(rejected.field("problems").contains(words), "{rejected:?}");
    let (_, told, _) = outcome(&proxy.command(&["status"]));
    assert!(told.contains("rejected     the files on disk") && told.contains(words), "{told}");
    let (code, out, _) = outcome(&proxy.command(&["check"]));
    assert_eq!(code, Some(0), "{out}");
    for words in [
        "20-more.yaml: this file is empty. A running proxy that has read settings from it keeps them",
        "help: write it again or remove it. To keep a file without settings, put a comment in it",
    ] {
        assert!(out.contains(words), "{words}: {out}");
    }
    proxy.config().write("20-more.yaml", "# nothing\n");
    proxy.event("config valid again").await;
    let (_, out, _) = outcome(&proxy.command(&["check"]));
    assert!(!out.contains("this file is empty"), "{out}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_in_use_is_reported_at_its_line() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let proxy = Proxy::start(ONE_HOP).await;
    let address = taken.local_addr().unwrap();
    proxy.config().write("00-server.yaml", &format!("server: {{ listen: \"{address}\" }}\n"));
    let (code, out, _) = outcome(&proxy.command(&["reload"]));
    assert_eq!(code, Some(1), "{out}");
    assert!(
        out.contains("00-server.yaml:1:19: server.listen: the proxy can't listen on "),
        "{out}"
    );
    assert!(out.contains("another program has the port"), "{out}");
    // The words say it all, and the system's error would come behind the advice.
    assert!(out.contains("choose another address; retrying every 5 s\n"), "{out}");
    let rejected = proxy.event("config rejected").await;
    assert!(!rejected.field("problems").contains("os error"), "{rejected:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_whose_port_becomes_free_comes_in_force_by_itself() {
    let taken = std::net::TcpListener::bind(free_address()).unwrap();
    let also_taken = std::net::TcpListener::bind(free_address()).unwrap();
    let proxy = Proxy::start(ONE_HOP).await;
    let addresses = [&taken, &also_taken].map(|one| one.local_addr().unwrap());
    let [first, second] = addresses;
    let server = format!("server: {{ listen: [\"{first}\", \"{second}\"] }}\n");
    proxy.config().write("00-server.yaml", &server);
    let rejected = proxy.event("config rejected").await;
    assert!(rejected.field("problems").contains(&first.to_string()), "{rejected:?}");
    // The status follows if it is another address that is taken.
    drop(taken);
    let second = second.to_string();
    within("the other address is reported", async {
        loop {
            let (_, told, _) = outcome(&proxy.command(&["status"]));
            if told.contains(&second) && told.contains("retrying every 5 s") {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    })
    .await;
    drop(also_taken);
    let reloaded = proxy.event("config reloaded").await;
    assert_eq!(reloaded.field("generation"), "2");
    assert!(
        reloaded.field("cause").contains("`server.listen` have become available"),
        "{reloaded:?}"
    );
    for address in addresses {
        tokio::net::TcpStream::connect(address).await.unwrap();
    }
    let rejections =
        proxy.events().iter().filter(|event| event.message() == "config rejected").count();
    assert_eq!(rejections, 2, "one for each address");
    let (_, told, _) = outcome(&proxy.command(&["status"]));
    assert!(!told.contains("rejected     the files"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_notes_that_variables_were_read_at_the_start() {
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
    let rejected = proxy.event("config rejected").await;
    let note = note.trim_start_matches("note: ");
    assert!(rejected.field("note").starts_with(note), "{rejected:?}");
    let (_, told, _) = outcome(&proxy.command(&["status"]));
    assert!(told.contains(&format!("             note: {note}")), "{told}");
}

/// The proxy waits for a file that a program has open for writing, as it does for a file system that does not answer.
#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn a_reload_that_takes_long_says_what_it_waits_for() {
    let mut proxy = Proxy::start(ONE_HOP).await;
    let process = proxy.pid();
    let held = fs::OpenOptions::new().append(true).open(proxy.config().path().join("10-test.yaml"));
    let end = std::thread::spawn(move || {
        std::thread::sleep(std::time::Duration::from_secs(7));
        drop(held.unwrap());
    });
    let (code, out, error) = outcome(&proxy.command(&["reload"]));
    assert_eq!(code, Some(0), "{out}{error}");
    let notice = format!(
        "mooltiroute: still waiting for process {process}: a program has one of its files open for writing, or the file \
         system of {} does not answer",
        proxy.config().path().display()
    );
    assert!(error.starts_with(&notice) && error.lines().count() == 1, "{error}");
    let (_, _, error) = outcome(&proxy.command(&["reload"]));
    assert_eq!(error, "", "a fast reload needs no notice");
    end.join().unwrap();
}
