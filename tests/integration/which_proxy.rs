//! Commands find the right proxy, and say which one they asked if their arguments name none.

mod env_and_exec;
mod other_users;

use std::fs;

use crate::support::{
    ConfigDir, EchoOrigin, Proxy, connect, free_port, is_default_address_free, outcome, ping,
};

const DIRECT: &str = "chains: { default: [] }\n";
const TWO_HOPS: &str = "hops: { a: { kind: socks5, address: \"a.test:1\" }, b: { kind: socks5, address: \"b.test:1\" } }\n\
                        chains: { default: [a, b] }\n";

/// Starts a proxy with a directory of one file, or with that file.
async fn proxy_on_one_file(is_file: bool) -> (tempfile::TempDir, Proxy) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("config.yaml");
    fs::write(&file, format!("server: {{ listen: \"127.0.0.1:0\" }}\n{TWO_HOPS}")).unwrap();
    let path = if is_file { file } else { directory.path().to_owned() };
    let proxy = Proxy::at(&path).await;
    (directory, proxy)
}

#[tokio::test(flavor = "multi_thread")]
async fn hop_waits_for_the_proxy_that_reads_the_edited_file() {
    for is_file in [true, false] {
        let (directory, proxy) = proxy_on_one_file(is_file).await;
        // The command names the configuration the other way.
        let file = directory.path().join("config.yaml");
        let other = if is_file { directory.path() } else { &file };
        let (code, out, error) =
            outcome(&proxy.command_for(&["hop", "b", "off", "-c", other.to_str().unwrap()]));
        assert_eq!(code, Some(0), "{error}");
        assert!(out.contains("b is off; generation 2 is in force in process "), "{out}");
        assert!(out.contains(&proxy.address().to_string()), "{out}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_names_no_proxy_says_which_one_it_asked() {
    if !is_default_address_free() {
        return;
    }
    let one = Proxy::start(DIRECT).await;
    let address = one.address().to_string();
    for command in ["ps", "reload", "status", "usage"] {
        let (code, _, error) = outcome(&one.command_for(&[command]));
        assert_eq!(code, Some(0), "{error}");
        assert!(error.contains("asked process ") && error.contains(&address), "{command}: {error}");
        // `-c` names the proxy.
        let (code, _, error) = outcome(&one.command(&[command]));
        assert_eq!((code, error.as_str()), (Some(0), ""), "{command}");
    }
    let two = Proxy::beside(&one, ConfigDir::new(DIRECT)).await;
    let (code, _, error) = outcome(&one.command_for(&["ps"]));
    assert_eq!(code, Some(1));
    assert!(error.contains(&address) && error.contains(&two.address().to_string()), "{error}");
    let (_, _, error) = outcome(&one.command_for(&["usage"]));
    assert!(error.contains("the built-in configuration") && error.contains(&address), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn explain_and_probe_name_the_proxies_that_run_with_another_configuration() {
    let one = Proxy::start(DIRECT).await;
    let (address, found) = (one.address().to_string(), one.config().runtime().join("config.yaml"));
    fs::write(&found, format!("server: {{ listen: \"127.0.0.1:0\" }}\n{DIRECT}")).unwrap();
    let origin = EchoOrigin::start().await;
    let target = format!("http://{}/", origin.address());
    for command in ["explain", "probe"] {
        let (_, _, error) = outcome(&one.command_for(&[command, &target]));
        assert!(error.contains("this is about ") && error.contains("config.yaml"), "{error}");
        assert!(error.contains("none of your proxies runs") && error.contains(&address), "{error}");
        // The configuration of the proxy, and one that was named, need no such note.
        for config in [one.config().path(), &found] {
            let arguments = [command, "-c", config.to_str().unwrap(), &target];
            let (_, _, error) = outcome(&one.command_for(&arguments));
            assert!(!error.contains("this is about "), "{error}");
        }
        let hop = [command, "--hop", "http://a.test:1", &target];
        let (_, _, error) = outcome(&one.command_for(&hop));
        assert!(!error.contains("this is about "), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hop_without_files_switches_the_hop_of_the_only_proxy() {
    let one = Proxy::start(TWO_HOPS).await;
    let (code, out, error) = outcome(&one.command_for(&["hop", "b", "off"]));
    assert_eq!(code, Some(0), "{error}");
    assert!(out.contains("b is off; generation 2 is in force in process "), "{out}");
    let (code, out, _) = outcome(&one.command_for(&["hop", "b", "off"]));
    assert_eq!(code, Some(0));
    assert!(out.starts_with("b is off already") && !out.contains("no proxy runs"), "{out}");
    let two = Proxy::beside(&one, ConfigDir::new(TWO_HOPS)).await;
    let (code, out, error) = outcome(&one.command_for(&["hop", "b", "on"]));
    assert_eq!((code, out.as_str()), (Some(1), ""), "{error}");
    assert!(error.contains("name that of a running proxy with `-c`"), "{error}");
    assert!(error.contains(&two.address().to_string()), "{error}");
    // A file that no proxy reads is edited, and the proxies that run are named.
    let other = one.config().runtime().join("config.yaml");
    fs::write(other, TWO_HOPS).unwrap();
    for words in ["b is off in ", "b is off already in "] {
        let (code, out, error) = outcome(&one.command_for(&["hop", "b", "off"]));
        assert_eq!(code, Some(0), "{error}");
        assert!(
            out.starts_with(words) && out.contains("no proxy runs with this configuration"),
            "{out}"
        );
        assert!(error.contains(&two.address().to_string()), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_with_hops_of_the_command_line_is_named_so() {
    let proxy = Proxy::of_hops(&["http://a.test:1"]).await;
    let other = Proxy::beside(&proxy, ConfigDir::new(DIRECT)).await;
    let (code, _, error) = outcome(&other.command_for(&["status"]));
    assert_eq!(code, Some(0), "{error}");
    assert!(error.contains("with the hops of its command line (`--hop`)"), "{error}");
    let (code, _, error) = outcome(&other.command_for(&["hop", "hop1", "off"]));
    assert_eq!(code, Some(1));
    assert!(error.contains("no file in which one could be switched"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn status_never_shows_another_proxy_than_the_named_one() {
    let mut proxy = Proxy::start(DIRECT).await;
    proxy.config().write("00-server.yaml", "server: [\n");
    proxy.event("config rejected").await;
    let (code, out, error) = outcome(&proxy.command(&["status"]));
    assert_eq!(code, Some(0), "{error}");
    assert!(out.contains(&proxy.address().to_string()), "{out}");
    assert!(out.contains("rejected     the files on disk"), "{out}");
    // Without the proxy, its address is unknown. Another proxy may listen on the default port.
    proxy.signal(rustix::process::Signal::TERM);
    assert!(proxy.exit().await.success());
    for path in [proxy.config().path().to_str().unwrap(), "/nonexistent"] {
        let (code, out, error) = outcome(&proxy.command_for(&["status", "-c", path]));
        assert_eq!(code, Some(1), "{out}");
        assert!(error.contains("no address is known at which it listens"), "{error}");
        assert!(!error.contains("8888"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_changes_an_unnamed_proxy_names_it_in_its_result() {
    let mut proxy = Proxy::start(DIRECT).await;
    let (pid, address) = (proxy.pid().to_string(), proxy.address().to_string());
    let echo = EchoOrigin::start().await;
    let place = format!(" in process {pid} on {address}, with ");
    for choice in [&[][..], &["--pid", &pid], &["--address", &address]] {
        let _tunnel = connect(proxy.address(), echo.address()).await.tunnel();
        for command in [&["kill", "--chain", "default"][..], &["reload"]] {
            let (code, out, error) = outcome(&proxy.command_for(&[command, choice].concat()));
            assert_eq!(code, Some(0), "{command:?}: {error}");
            assert_eq!(out.contains(&place), choice.is_empty(), "{command:?} {choice:?}: {out}");
        }
    }
    // A program that reads JSON always learns which proxy it was.
    let (code, out, error) =
        outcome(&proxy.command_for(&["reload", "--pid", &pid, "--format", "json"]));
    assert_eq!(code, Some(0), "{error}");
    let verdict: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(verdict["verdict"], "unchanged", "{out}");
    assert_eq!(verdict["proxy"]["pid"].to_string(), pid, "{out}");
    assert_eq!(verdict["proxy"]["listeners"][0], address, "{out}");
}

#[tokio::test(flavor = "multi_thread")]
async fn hop_edits_the_files_of_the_proxy_that_is_named() {
    if !is_default_address_free() {
        return;
    }
    let mut proxy = Proxy::start(TWO_HOPS).await;
    let (pid, address) = (proxy.pid().to_string(), proxy.address().to_string());
    for (state, choice) in [("off", ["--address", &address]), ("on", ["--pid", &pid])] {
        let (code, out, error) =
            outcome(&proxy.command_for(&[&["hop", "b", state], &choice[..]].concat()));
        assert_eq!(code, Some(0), "{error}");
        assert!(out.starts_with(&format!("b is {state}; generation ")), "{out}");
        assert!(!out.contains(" in process "), "{out}");
    }
    let path = proxy.config().path().to_str().unwrap();
    let (code, _, error) =
        outcome(&proxy.command_for(&["hop", "b", "off", "-c", path, "--pid", &pid]));
    assert_eq!(code, Some(1));
    assert!(error.contains("leave one of them out"), "{error}");
    // Nothing is edited if the named proxy does not run.
    for choice in [["--pid", "1"], ["--address", "127.0.0.1:1"]] {
        let (code, out, error) =
            outcome(&proxy.command_for(&[&["hop", "b", "off"], &choice[..]].concat()));
        assert_eq!((code, out.as_str()), (Some(1), ""), "{error}");
        assert!(error.contains("none of your proxies"), "{error}");
    }
}

/// The line of `env` for a proxy at `address`.
fn line(address: impl std::fmt::Display) -> String {
    format!("export http_proxy='http://{address}'\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_find_a_proxy_that_listens_elsewhere_than_its_files_say() {
    if !is_default_address_free() {
        return;
    }
    let config = ConfigDir::new(DIRECT);
    // The address in the files is that of another program.
    let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let written = other.local_addr().unwrap();
    config.write("00-server.yaml", &format!("server: {{ listen: \"{written}\" }}\n"));
    let address = format!("127.0.0.1:{}", free_port());
    let proxy = Proxy::on(config, &["--listen", &address]).await;
    let exec = ["--", "sh", "-c", "echo $http_proxy"];
    let path = proxy.config().path().to_str().unwrap();
    // The second time, nothing names the proxy, which is the only one that runs.
    for choice in [&["-c", path][..], &[]] {
        let (code, out, error) =
            outcome(&proxy.command_for(&[&["env", "--shell", "sh"], choice].concat()));
        assert_eq!(code, Some(0), "{error}");
        assert!(
            out.starts_with(&line(&address)) && !error.contains("no proxy listens"),
            "{out}{error}"
        );
        assert_eq!(error.contains("asked process "), choice.is_empty(), "{error}");
        let (code, out, error) =
            outcome(&proxy.command_for(&[&["exec"], choice, &exec[..]].concat()));
        assert_eq!((code, out.as_str()), (Some(0), &*format!("http://{address}\n")), "{error}");
        assert!(!error.contains("no proxy listens"), "{error}");
        let (code, out, error) = outcome(&proxy.command_for(&[&["status"], choice].concat()));
        assert_eq!(code, Some(0), "{error}");
        assert!(out.contains(&format!("listeners    {address}\n")), "{out}");
        let (code, _, error) = outcome(&proxy.command_for(&[&["ps"], choice].concat()));
        assert_eq!(code, Some(0), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_proxies_with_the_same_files_one_has_to_be_named() {
    if !is_default_address_free() {
        return;
    }
    let mut one = Proxy::start(DIRECT).await;
    let mut two = Proxy::on_files_of(&one, &["--listen", "127.0.0.1:0"]).await;
    let other = Proxy::beside(&one, ConfigDir::new("chains: { default: [], other: [] }\n")).await;
    let [first, second, third] = [&one, &two, &other].map(|proxy| proxy.address().to_string());
    for command in [&["env"][..], &["status"], &["ps"], &["exec", "--", "true"]] {
        let (name, rest) = command.split_first().unwrap();
        let path = one.config().path().to_str().unwrap();
        let (code, _, error) = outcome(&one.command_for(&[&[*name, "-c", path], rest].concat()));
        assert_eq!(code, Some(1), "{name}: {error}");
        for named in [&first, &second, "--address", "--pid"] {
            assert!(error.contains(named), "{name}: {error}");
        }
        assert!(!error.contains(&third), "it has other files: {name}: {error}");
    }
    drop(other);
    let pid = two.pid().to_string();
    for choice in [["--address", &second], ["--pid", &pid]] {
        let (code, out, error) =
            outcome(&one.command_for(&[&["env", "--shell", "sh"], &choice[..]].concat()));
        assert_eq!(code, Some(0), "{error}");
        assert!(out.starts_with(&line(&second)), "{out}");
        let (code, out, error) = outcome(&one.command_for(&[&["status"], &choice[..]].concat()));
        assert_eq!(code, Some(0), "{error}");
        assert!(out.contains(&format!("listeners    {second}\n")), "{out}");
    }
    let (code, _, error) = outcome(&one.command_for(&["ps", "--pid", "1"]));
    assert_eq!(code, Some(1));
    assert!(error.contains("none of your proxies has this process number"), "{error}");
    let (code, _, error) = outcome(&one.command_for(&["ps", "--address", "127.0.0.1:1"]));
    assert_eq!(code, Some(1));
    assert!(error.contains("none of your proxies listens at this address"), "{error}");
    // One that drains has given its place to the other.
    let echo = EchoOrigin::start().await;
    let mut tunnel = connect(one.address(), echo.address()).await.tunnel();
    one.signal(rustix::process::Signal::TERM);
    one.event("shutting down").await;
    let (code, out, error) = outcome(&one.command(&["env", "--shell", "sh"]));
    assert_eq!(code, Some(0), "{error}");
    assert!(out.starts_with(&line(&second)), "{out}");
    let (code, _, error) = outcome(&one.command(&["ps"]));
    assert_eq!(code, Some(0), "{error}");
    assert!(error.contains(&first) && error.contains("which is shutting down"), "{error}");
    ping(&mut tunnel).await;
    let pid = one.pid().to_string();
    let (code, out, error) = outcome(&one.command_for(&["ps", "--pid", &pid]));
    assert_eq!(code, Some(0), "{error}");
    assert!(out.contains(&echo.address().to_string()), "{out}");
}

const ONE_CONDITION: &str = "hops: { corp: { kind: http-connect, address: \"a.test:1\", enabled: { when: { interface: lo } } }, \
                             b: { kind: http-connect, address: \"b.test:1\" } }\nchains: { default: [corp, b] }\n";

#[tokio::test(flavor = "multi_thread")]
async fn hop_switches_all_proxies_that_share_a_file() {
    let one = Proxy::start(ONE_CONDITION).await;
    let two = Proxy::on_files_of(&one, &["--listen", "127.0.0.1:0"]).await;
    let path = one.config().path().to_str().unwrap();
    let address = two.address().to_string();
    let written = || std::fs::read_to_string(one.config().path().join("10-test.yaml")).unwrap();
    for (state, choice) in [("off", ["-c", path]), ("auto", ["--address", &address])] {
        let (code, out, error) =
            outcome(&one.command_for(&["hop", "corp", state, choice[0], choice[1]]));
        assert_eq!(code, Some(0), "{error}");
        for proxy in [&one, &two] {
            let words = " is in force in process ";
            let line = out.lines().find(|line| line.contains(&proxy.address().to_string()));
            assert!(line.is_some_and(|line| line.contains(words)), "{out}");
        }
    }
    assert_eq!(written(), ONE_CONDITION);
}
