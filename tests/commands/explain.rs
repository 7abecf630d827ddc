//! `explain` follows a request through its chain.

use std::fs;
#[cfg(unix)]
use std::process::Command;

use super::{CONFIG, command, directory, said};

#[track_caller]
fn explained(url: &str, status: i32, expected: &str) {
    let output = command(directory().path(), &["explain", url, "-c", "a.yaml"]);
    assert_eq!(said(&output), expected);
    assert_eq!(output.status.code(), Some(status));
}

#[test]
fn a_tunnel_is_explained_hop_by_hop() {
    explained(
        "https://www.example.com/",
        0,
        "CONNECT www.example.com:443

routes (the first match applies)
  1. localhost, 127.0.0.0/8 -> direct  (a.yaml:9:5)
     no: `www.example.com` is not one of its hosts
  2. *.example.com on port 8443 -> fast  (a.yaml:10:5)
     no: 443 is not one of its ports
  3. *.example.com -> default  (a.yaml:11:5)
     yes: `www.example.com` is one of its hosts, by `*.example.com`

chain default
  1. corporate: http-connect, proxy.corp.example:3128, username from $CORP_USER, password from $CORP_PASSWORD
     gets CONNECT p.webshare.io:80
  2. exit: webshare, p.webshare.io:80, username as written, password from the file secret
     gets CONNECT www.example.com:443
  3. the target, www.example.com:443
     gets what the client sends through the tunnel
  switched off: spare
",
    );
}

#[test]
fn a_plain_request_goes_in_absolute_form_to_a_last_hop_and_in_origin_form_to_a_target() {
    let plain = |url: &str| said(&command(directory().path(), &["explain", url, "-c", "a.yaml"]));
    let through = plain("http://www.example.com/");
    assert!(through.ends_with(
        "     gets the request in absolute-form, for http://www.example.com:80\n  switched off: spare\n"
    ), "{through}");
    let direct = plain("http://localhost:99/");
    assert!(direct.ends_with(
        "chain direct, which goes direct\n  1. the target, localhost:99\n     gets the request in origin-form\n"
    ), "{direct}");
}

#[test]
fn what_no_route_is_for_is_said_and_fails() {
    let output = command(
        directory().path(),
        &["explain", "elsewhere.test:22", "-c", "a.yaml", "--format", "json"],
    );
    assert_eq!(output.status.code(), Some(1));
    let explained: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(explained["route"].is_null() && explained["chain"].is_null(), "{explained}");
    assert_eq!(explained["before"].as_array().unwrap().len(), 3);
    let usage = command(directory().path(), &["explain", "ftp://joe:hunter2@a/"]);
    assert_eq!(usage.status.code(), Some(2));
    assert!(!said(&usage).contains("hunter2"), "{}", said(&usage));
}

#[test]
fn explain_says_if_a_username_is_refused_or_has_no_effect() {
    let directory = directory();
    let text = CONFIG.replace("kind: webshare,", "kind: webshare, sessions: by-client,");
    fs::write(directory.path().join("b.yaml"), text).unwrap();
    let explained = |file: &str, client: &str| {
        let url = "https://www.example.com:8443/";
        let output = command(directory.path(), &["explain", url, "-c", file, "--as", client]);
        (output.status.code(), said(&output))
    };
    let (status, text) = explained("b.yaml", "session-alice,country-us");
    assert_eq!(status, Some(0), "{text}");
    assert!(text.contains(":8443 as session-alice,country-us\n"), "{text}");
    let (status, text) = explained("b.yaml", "country-us");
    assert_eq!(status, Some(1), "{text}");
    assert!(
        text.contains("refused with 400") && text.contains("write `session-NAME` too"),
        "{text}"
    );
    // The proxy serves such a client: its username may be left over from the settings of another proxy.
    let (status, text) = explained("a.yaml", "session-alice");
    assert_eq!(status, Some(0), "{text}");
    assert!(text.contains("its username has no effect"), "{text}");
    assert!(text.contains("no hop of chain `fast` has `sessions: by-client`"), "{text}");
    let auth = format!("server: {{ auth: {{ username: dev, password: secret }} }}\n{CONFIG}");
    fs::write(directory.path().join("c.yaml"), auth).unwrap();
    let (status, text) = explained("c.yaml", "session-alice");
    assert_eq!((status, text.contains("refused with 407")), (Some(1), true), "{text}");
    assert_eq!(explained("b.yaml", "alice").0, Some(2));
}

#[cfg(unix)]
#[test]
fn explain_asks_a_running_proxy_only_about_hops_with_a_budget() {
    use std::os::unix::{
        fs::{DirBuilderExt as _, PermissionsExt as _},
        net::UnixListener,
    };

    let directory = directory();
    let sockets = directory.path().join("mooltiroute");
    fs::DirBuilder::new().mode(0o700).create(&sockets).unwrap();
    let socket = sockets.join("silent.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    fs::set_permissions(&socket, fs::Permissions::from_mode(0o600)).unwrap();
    listener.set_nonblocking(true).unwrap();
    let is_asked = |budget: &str| {
        let text = format!(
            "hops: {{ exit: {{ kind: http-connect, address: \"a:1\"{budget} }}, other: {{ kind: http-connect, address: \
             \"b:1\", budget: {{ bytes: 1GiB, per: day }} }} }}\nchains: {{ default: [exit], other: [other] }}\n"
        );
        fs::write(directory.path().join("a.yaml"), text).unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_mooltiroute"))
            .args(["explain", "a.test:443", "-c", "a.yaml"])
            .current_dir(directory.path())
            .env_clear()
            .env("XDG_RUNTIME_DIR", directory.path())
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", said(&output));
        listener.accept().is_ok()
    };
    assert!(!is_asked(""));
    assert!(is_asked(", budget: { bytes: 1GiB, per: day }"));
}

#[test]
fn explain_shows_only_the_conditions_of_hops_on_the_way() {
    const EQUAL: &str = "enabled: { when: { interface: nowhere0 } }";
    let directory = directory();
    let text = format!(
        "hops:\n  near: {{ kind: http-connect, address: \"a:1\", {EQUAL} }}\n  \
         held: {{ kind: http-connect, address: \"b:1\", {EQUAL} }}\n  \
         pool: {{ kind: pool, members: [held] }}\n  \
         other: {{ kind: http-connect, address: \"c:1\", {EQUAL} }}\n\
         chains:\n  default: [near, pool]\n  spare: [other]\n"
    );
    fs::write(directory.path().join("a.yaml"), text).unwrap();
    let explain = ["explain", "a.test:443", "-c", "a.yaml", "--format", "json"];
    let output = command(directory.path(), &explain);
    let explained: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let conditions = explained["chain"]["conditions"].as_object().unwrap();
    assert_eq!(conditions.keys().collect::<Vec<_>>(), ["held", "near"], "{explained:#}");
}

#[test]
fn a_pool_whose_members_are_all_off_is_said_to_refuse_and_nothing_is_sent_beyond_it() {
    let directory = tempfile::tempdir().unwrap();
    let yaml = "hops:\n  exits: { kind: pool, members: [one] }\n  \
        one: { kind: http-connect, address: 'one.test:1', enabled: { when: { resolves: n.test }, unknown: off } }\n\
        chains: { default: [exits] }\n";
    fs::write(directory.path().join("a.yaml"), yaml).unwrap();
    let refuses =
        "refuses every request now: the conditions of all its members have switched them off\n";
    let checked = said(&command(directory.path(), &["check", "-c", "a.yaml"]));
    assert!(checked.contains(&format!("  exits: pool, members one\n    {refuses}")), "{checked}");
    for url in ["http://t.test/", "https://t.test/"] {
        let explained = command(directory.path(), &["explain", url, "-c", "a.yaml"]);
        assert_eq!(explained.status.code(), Some(1));
        let explained = said(&explained);
        assert!(explained.contains(&format!("  1. exits: pool\n     {refuses}")), "{explained}");
        assert!(!explained.contains("the target") && !explained.contains("gets"), "{explained}");
    }
}

#[test]
fn explain_follows_the_switches_of_hops() {
    let arguments = ["explain", "x.example.com:443", "-c", "a.yaml", "--no-corporate"];
    let output = command(directory().path(), &arguments);
    assert_eq!(output.status.code(), Some(0));
    assert!(!said(&output).contains("1. corporate"), "{}", said(&output));
}
