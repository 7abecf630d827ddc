//! `env` and `exec` take the settings of the right proxy.

use std::fs;

use super::{DIRECT, TWO_HOPS, line};
use crate::support::{ConfigDir, Proxy, is_default_address_free, outcome, run};

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn env_and_exec_need_no_credentials_of_hops() {
    if !is_default_address_free() {
        return;
    }
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
    if !is_default_address_free() {
        return;
    }
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
    if !is_default_address_free() {
        return;
    }
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
