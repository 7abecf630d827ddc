//! Commands find the right proxy, and say which one they asked if their arguments name none.

use std::fs;

use crate::support::{ConfigDir, EchoOrigin, Proxy, connect, free_port, outcome, ping, run};

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

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn env_and_exec_need_no_credentials_of_hops() {
    let yaml = "hops: { exit: { kind: webshare, username: \"${TEST_LOGIN}\", password: \"${TEST_WORD}\", sessions: by-client } }\n\
                chains: { default: [exit] }\n";
    let variables = [("TEST_LOGIN", "joe"), ("TEST_WORD", "hunter2")];
    let proxy = Proxy::in_environment(yaml, &[], &variables).await;
    let (address, path) = (proxy.address().to_string(), proxy.config().path().to_str().unwrap());
    // The commands don't have the variables of the proxy.
    for choice in [&[][..], &["--address", &address], &["-c", path]] {
        let (code, out, error) =
            outcome(&proxy.command_for(&[&["env", "--shell", "sh"], choice].concat()));
        assert_eq!(code, Some(0), "{choice:?}: {error}");
        assert!(out.starts_with(&line(&address)), "{out}");
        let shows = ["--", "sh", "-c", "echo $http_proxy"];
        let (code, out, error) =
            outcome(&proxy.command_for(&[&["exec"], choice, &shows[..]].concat()));
        assert_eq!(code, Some(0), "{choice:?}: {error}");
        // The hop is known to take sessions, so the command has one of its own.
        assert!(out.starts_with("http://session-run-") && out.contains(&address), "{out}");
        assert!(!error.contains("is not set"), "{error}");
    }
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn env_and_exec_name_the_proxy_that_they_took_if_another_one_runs() {
    let one = Proxy::start(DIRECT).await;
    let two = Proxy::beside(&one, ConfigDir::new(DIRECT)).await;
    // The configuration of this directory is that of the first one.
    let found = one.config().runtime().join("config.d");
    std::os::unix::fs::symlink(one.config().path(), found).unwrap();
    for command in [&["env", "--shell", "sh"][..], &["exec", "--", "sh", "-c", "env"]] {
        let (code, out, error) = outcome(&one.command_for(command));
        assert_eq!(code, Some(0), "{error}");
        assert!(out.contains(&format!("http://{}", one.address())), "{out}");
        assert!(error.contains("asked process "), "{command:?}: {error}");
        assert!(error.contains(&two.address().to_string()), "{command:?}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn env_and_exec_take_the_running_configuration_if_the_files_are_invalid() {
    let routes = "routes: [{ hosts: [intern.test, \"*.intern.test\"], chain: direct }, { chain: default }]\n";
    let proxy = Proxy::start(&format!("{TWO_HOPS}{routes}")).await;
    let (address, path) = (proxy.address().to_string(), proxy.config().path().to_owned());
    // A file of its own, so that the one with the address is as before.
    fs::write(path.join("99-broken.yaml"), "hops: { a: { kind: nonsense\n").unwrap();
    for choice in [&[][..], &["-c", path.to_str().unwrap()]] {
        let (code, out, error) =
            outcome(&proxy.command_for(&[&["env", "--shell", "sh"], choice].concat()));
        assert_eq!(code, Some(0), "{error}");
        assert!(out.starts_with(&line(&address)), "{out}");
        assert!(out.contains("export no_proxy='intern.test'"), "{out}");
        assert!(error.contains("99-broken.yaml:"), "{error}");
        assert!(error.contains("the running proxy keeps the configuration that it has"), "{error}");
    }
    #[cfg(unix)]
    {
        let shows = ["exec", "--", "sh", "-c", "echo $http_proxy"];
        let (code, out, error) = outcome(&proxy.command_for(&shows));
        assert_eq!((code, out.trim()), (Some(0), &*proxy.url()), "{error}");
    }
    // Without a proxy there is nothing else to go by.
    drop(proxy);
    let alone = ConfigDir::new("hops: { a: { kind: nonsense\n");
    let (code, out, _) = outcome(&run(["env", "-c", alone.path().to_str().unwrap()]));
    assert_eq!((code, &*out), (Some(1), ""));
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn exec_asks_the_running_proxy_whether_clients_may_choose_if_its_files_were_rejected() {
    let fixed = "hops: { exit: { kind: webshare, username: dev, password: word } }\n\
                 chains: { default: [exit] }\n";
    let show = ["--", "sh", "-c", "printf %s \"$http_proxy\""];
    // The hop lacks its username, or has one whose variable is set nowhere.
    for broken in [
        "hops: { exit: { kind: rotating, address: \"p.test:1\", sessions: by-client } }\n",
        "hops: { exit: { sessions: by-client, username: \"${NO_SUCH_VARIABLE}\" } }\n",
    ] {
        let proxy = Proxy::start(fixed).await;
        let (address, path) = (proxy.address().to_string(), proxy.config().path().to_owned());
        proxy.config().write("20-choice.yaml", broken);
        proxy.event("config rejected").await;
        for choice in [&[][..], &["--address", &address], &["-c", path.to_str().unwrap()]] {
            for wish in [&["--session", "alice"], &["--country", "us"]] {
                let asked = [&["exec"], choice, wish, &show[..]].concat();
                let (code, out, error) = outcome(&proxy.command_for(&asked));
                assert_eq!((code, &*out), (Some(1), ""), "{asked:?}: {error}");
                assert!(error.contains("no hop in force lets its clients choose"), "{error}");
                assert!(error.contains("The running proxy says so"), "{error}");
            }
            let (code, out, error) =
                outcome(&proxy.command_for(&[&["exec"], choice, &show[..]].concat()));
            assert_eq!((code, &*out), (Some(0), &*proxy.url()), "{error}");
        }
    }
    // The reverse: the configuration in force has the choice, and the rejected one has taken it away.
    let proxy = Proxy::start(&fixed.replace("word }", "word, sessions: by-client }")).await;
    proxy.config().write(
        "20-choice.yaml",
        "hops: { exit: { sessions: fixed, username: \"${NO_SUCH_VARIABLE}\" } }\n",
    );
    proxy.event("config rejected").await;
    let asked = [&["exec", "--session", "alice"], &show[..]].concat();
    let (code, out, error) = outcome(&proxy.command_for(&asked));
    assert_eq!(code, Some(0), "{error}");
    assert!(out.starts_with("http://session-alice:x@"), "{out}");
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_of_clients_are_not_taken_from_a_running_proxy() {
    let auth = "server: { auth: { username: joe, password: hunter2 } }\n";
    let proxy = Proxy::start(&format!("{auth}{DIRECT}")).await;
    fs::write(proxy.config().path().join("99-broken.yaml"), "log: { level\n").unwrap();
    let (code, out, error) = outcome(&proxy.command(&["env", "--shell", "sh"]));
    assert_eq!(code, Some(0), "{error}");
    assert!(out.starts_with(&line(proxy.address())) && !out.contains("joe"), "{out}");
    for command in [&["env", "--with-credentials"][..], &["exec", "--", "true"]] {
        let config = proxy.config().path().to_str().unwrap();
        let arguments = [&command[..1], &["-c", config], &command[1..]].concat();
        let (code, out, error) = outcome(&proxy.command_for(&arguments));
        assert_eq!((code, &*out), (Some(1), ""), "{command:?}");
        assert!(error.contains("can't be read while the files are invalid"), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
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
        assert!(
            error.contains("no proxy of this user runs") && error.contains(&address),
            "{error}"
        );
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
        assert!(error.contains("no proxy of this user"), "{error}");
    }
}

/// The line of `env` for a proxy at `address`.
fn line(address: impl std::fmt::Display) -> String {
    format!("export http_proxy='http://{address}'\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_find_a_proxy_that_listens_elsewhere_than_its_files_say() {
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
    assert!(error.contains("no proxy of this user has this process number"), "{error}");
    let (code, _, error) = outcome(&one.command_for(&["ps", "--address", "127.0.0.1:1"]));
    assert_eq!(code, Some(1));
    assert!(error.contains("no proxy of this user listens at this address"), "{error}");
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
    assert!(error.contains(&first) && error.contains("which is about to end"), "{error}");
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

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_of_another_user_takes_an_edit_and_no_orders() {
    use std::os::unix::fs::chown;

    const SOMEONE: u32 = 65534;
    if !rustix::process::geteuid().is_root() {
        return crate::support::skip("a second user (this needs root)");
    }
    let Some(setpriv) = crate::support::Program::find_or_skip("setpriv") else { return };
    let port = crate::support::free_port();
    let config = ConfigDir::new(ONE_CONDITION);
    config.write("00-server.yaml", &format!("server: {{ listen: \"127.0.0.1:{port}\" }}\n"));
    let runtime = tempfile::tempdir().unwrap();
    let own = tempfile::tempdir().unwrap();
    let open = |path: &std::path::Path| {
        chown(path, Some(SOMEONE), Some(SOMEONE)).unwrap();
    };
    open(runtime.path());
    open(config.path());
    for file in std::fs::read_dir(config.path()).unwrap() {
        open(&file.unwrap().path());
    }
    let id = SOMEONE.to_string();
    let mut theirs = std::process::Command::new(setpriv.path());
    theirs.args(["--reuid", &id, "--regid", &id, "--clear-groups"]);
    let copy = runtime.path().join("program");
    std::fs::copy(env!("CARGO_BIN_EXE_mooltiroute"), &copy).unwrap();
    std::fs::set_permissions(&copy, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    theirs.arg(&copy).arg("run").arg("-c").arg(config.path());
    theirs.env("XDG_RUNTIME_DIR", runtime.path()).env("XDG_STATE_HOME", runtime.path());
    let mut theirs = theirs.stderr(std::process::Stdio::null()).spawn().unwrap();
    let path = config.path().to_str().unwrap().to_owned();
    let command = |arguments: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_mooltiroute"));
        command.args(arguments).env("XDG_STATE_HOME", own.path());
        command.env("XDG_RUNTIME_DIR", own.path()).env("TMPDIR", own.path());
        outcome(&command.output().unwrap())
    };
    crate::support::within("the proxy of the other user runs", async {
        while command(&["status", "-c", &path]).0 != Some(0) {
            crate::support::pause().await;
        }
    })
    .await;
    let (code, out, error) = command(&["hop", "b", "off", "-c", &path]);
    assert_eq!(code, Some(0), "{error}");
    let words = "b is off; generation 2 is in force in process ";
    assert!(out.contains(words) && out.contains("which belongs to `"), "{out}{error}");
    for arguments in [
        &["reload", "-c", &path][..],
        &["ps", "-c", &path],
        &["usage", "-c", &path],
        &["hop", "b", "on", "--pid", &theirs.id().to_string()],
    ] {
        let (code, out, error) = command(arguments);
        assert_eq!(code, Some(1), "{out}");
        assert!(error.contains("belongs to the user `") && error.contains("sudo -u "), "{error}");
        assert!(!error.contains("removed") && !error.contains("nothing was counted"), "{error}");
    }
    for flags in [&[][..], &["--take-over"]] {
        let listen = format!("127.0.0.1:{port}");
        let run = [&["run", "--listen", &listen, "--hop", "http://a.test:1"], flags].concat();
        let (code, _, error) = command(&run);
        assert_eq!(code, Some(1), "{error}");
        assert!(error.contains("Mooltiroute runs there already, as process "), "{error}");
        assert!(error.contains("only a proxy of the same user"), "{error}");
    }
    theirs.kill().unwrap();
    theirs.wait().unwrap();
}

#[cfg(unix)]
#[tokio::test]
async fn rights_that_are_missing_for_an_edit_are_named() {
    use std::os::unix::fs::{PermissionsExt as _, chown};

    if !rustix::process::geteuid().is_root() {
        return crate::support::skip("a second user (this needs root)");
    }
    let Some(setpriv) = crate::support::Program::find_or_skip("setpriv") else { return };
    let config = ConfigDir::new(ONE_CONDITION);
    let file = config.path().join("10-test.yaml");
    let copy = tempfile::tempdir().unwrap();
    std::fs::set_permissions(copy.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
    let program = copy.path().join("program");
    std::fs::copy(env!("CARGO_BIN_EXE_mooltiroute"), &program).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    chown(&file, Some(1), Some(65534)).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o664)).unwrap();
    for (owner, words) in [(0, "it needs that of `"), (65534, "The file belongs to `")] {
        chown(config.path(), Some(owner), Some(65534)).unwrap();
        std::fs::set_permissions(config.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let mut command = std::process::Command::new(setpriv.path());
        command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]);
        command.arg(&program).args(["hop", "b", "off", "-c"]).arg(config.path());
        command.env("XDG_STATE_HOME", copy.path()).env("XDG_RUNTIME_DIR", copy.path());
        let (code, out, error) = outcome(&command.output().unwrap());
        assert_eq!(code, Some(1), "{out}");
        assert!(error.contains("nothing was changed") && error.contains(words), "{error}");
    }
}

#[cfg(unix)]
#[tokio::test]
async fn a_password_file_of_another_user_is_no_reason_to_open_it() {
    use std::os::unix::fs::PermissionsExt as _;

    if !rustix::process::geteuid().is_root() {
        return crate::support::skip("a second user (this needs root)");
    }
    let Some(setpriv) = crate::support::Program::find_or_skip("setpriv") else { return };
    let set = |path: &std::path::Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    let config = ConfigDir::new(
        "hops: { a: { kind: http-connect, address: \"a.test:1\", username: u, password_file: word } }\n\
         chains: { default: [a] }\n",
    );
    set(config.path(), 0o755);
    fs::write(config.path().join("word"), "canary").unwrap();
    set(&config.path().join("word"), 0o600);
    let copy = tempfile::tempdir().unwrap();
    set(copy.path(), 0o777);
    let program = copy.path().join("program");
    fs::copy(env!("CARGO_BIN_EXE_mooltiroute"), &program).unwrap();
    set(&program, 0o755);
    let mut command = std::process::Command::new(setpriv.path());
    command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]);
    command.arg(&program).args(["hop", "a", "off", "-c"]).arg(config.path());
    command.env("XDG_STATE_HOME", copy.path()).env("XDG_RUNTIME_DIR", copy.path());
    let (code, out, error) = outcome(&command.output().unwrap());
    assert_eq!((code, out.as_str()), (Some(1), ""), "{error}");
    assert!(error.contains("belong to `root`") && error.contains("sudo -u root"), "{error}");
    assert!(!error.contains("needs the right"), "{error}");
}
