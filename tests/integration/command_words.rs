//! Errors of commands that get a wrong name, number or flag.

use std::{
    io::{BufRead as _, BufReader},
    process::{Command, Output, Stdio},
};

use crate::support::{ConfigDir, Proxy, in_runtime, run};

const HOPS: &str = "hops: { webshare: { kind: webshare, username: u, password: \"${REMARKABLE_WORD:-p}\" } }\n\
                    chains: { default: [webshare] }\n";

#[track_caller]
fn failed(output: &Output, words: &str) {
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{output:?}");
    assert!(error.contains(words), "{words}: {error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_suggests_names_and_reports_unknown_numbers() {
    let proxy = Proxy::start(HOPS).await;
    for (flags, words) in [
        (["--hop", "webshre"], "no hop is called `webshre`; did you mean `webshare`?"),
        (["--chain", "defualt"], "no chain is called `defualt`; did you mean `default`?"),
        (["--hop", "webshare"], "no open connection matches"),
        (["--hop", "line 1"], "as in `--hop 'HOP.line 1'`"),
        (["--hop", "webshare.line 1"], "no open connection matches"),
        (["#40,41", "42"], "no open connection has the number 41"),
        (["webshare", "1"], "`ps` lists them"),
    ] {
        failed(&proxy.command(&[&["kill"], &flags[..]].concat()), words);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn address_also_takes_a_url() {
    let proxy = Proxy::start(HOPS).await;
    let url = proxy.url();
    for command in ["reload", "ps", "status"] {
        let output = proxy.command_for(&[command, "--address", &url]);
        assert!(output.status.success(), "{output:?}");
    }
    failed(&proxy.command_for(&["reload", "--address", "nonsense"]), "write HOST:PORT");
}

#[test]
fn hop_does_not_suggest_the_pool_for_a_member_of_its_list() {
    let config = ConfigDir::new(
        "hops: { pool1: { kind: pool, members_from: { file: proxies.txt } } }\nchains: { default: [pool1] }\n",
    );
    config.write("proxies.txt", "a.test:80\n");
    let path = config.path().to_str().unwrap();
    let output = run(["hop", "pool1.line 3", "off", "-c", path]);
    failed(&output, "`pool1` is the hop, and a member has no switch");
    assert!(!String::from_utf8_lossy(&output.stderr).contains("did you mean"), "{output:?}");
    for member in ["line 2", "members[0]"] {
        let output = run(["hop", member, "off", "-c", path]);
        failed(&output, "this is a member of a pool, and a member has no switch");
    }
    failed(
        &run(["hop", "other", "off", "-c", path]),
        "no hop is called `other`; the hops are pool1",
    );
}

#[test]
fn check_suggests_no_credentials_for_a_pac_hop() {
    let output = run(["check", "--hop", "pac://?url=http://pac.test/proxy.pac"]);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && !error.contains("credentials"), "{output:?}");
}

#[test]
fn service_warns_that_it_lacks_the_variables_of_the_configuration() {
    let config = ConfigDir::new(HOPS);
    let path = config.path().to_str().unwrap();
    let output = run(["service", "install", "--print", "-c", path]);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{output:?}");
    assert!(error.contains("${REMARKABLE_WORD}") && error.contains("password_file"), "{error}");
}

#[test]
fn a_start_without_any_configuration_logs_a_warning() {
    let directory = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_mooltiroute"));
    in_runtime(&mut command, directory.path());
    command.args(["run", "--listen", "127.0.0.1:0"]).current_dir(directory.path());
    command.env_remove("MOOLTIROUTE_CONFIG").env_remove("RUST_LOG");
    for name in ["XDG_STATE_HOME", "STATE_DIRECTORY", "HOME", "LOCALAPPDATA"] {
        command.env(name, "");
    }
    command.env("XDG_CONFIG_HOME", directory.path()).stdin(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
    let until_listening: Vec<_> = lines.take_while(|line| !line.contains("listening")).collect();
    child.kill().unwrap();
    child.wait().unwrap();
    let said = until_listening.join("\n");
    assert!(said.contains("WARN") && said.contains("no configuration was found"), "{said}");
    assert!(said.contains("`-c PATH`"), "{said}");
    // Nor is there a directory for the counts.
    let usage = until_listening.iter().find(|line| line.contains("usage is kept in memory only"));
    let usage = usage.expect(&said);
    assert!(usage.contains("advice=\"set XDG_STATE_HOME to a directory"), "{usage}");
}
