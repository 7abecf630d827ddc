//! The commands that only read the configuration, or write the first one.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up must stop")]

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use tempfile::TempDir;

const CONFIG: &str = r#"hops:
  corporate: { kind: http-connect, address: "proxy.corp.example:3128", username: "${CORP_USER}", password: "${CORP_PASSWORD}" }
  exit: { kind: webshare, username: joe, password_file: secret }
  spare: { kind: http-connect, address: "spare.example:1", enabled: false }
chains:
  default: [corporate, spare, exit]
  fast: [exit]
routes:
  - { hosts: [localhost, 127.0.0.0/8], chain: direct }
  - { hosts: ["*.example.com"], ports: [8443], chain: fast }
  - { hosts: ["*.example.com"], chain: default }
"#;

/// Spelled so that no other text holds it, base64 of it included.
const CANARY: &str = "cAnArY-5eCr3t";

fn directory() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("a.yaml"), CONFIG).unwrap();
    fs::write(directory.path().join("secret"), CANARY).unwrap();
    directory
}

fn command(directory: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_mooltiroute"))
        .args(arguments)
        .current_dir(directory)
        .env_clear()
        .env("CORP_USER", CANARY)
        .env("CORP_PASSWORD", CANARY)
        .env("RUST_LOG", "trace")
        .output()
        .unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

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
fn what_init_writes_is_valid_and_is_never_written_over() {
    let directory = tempfile::tempdir().unwrap();
    let made = command(directory.path(), &["init"]);
    assert!(made.status.success(), "{}", said(&made));
    let check = command(directory.path(), &["check"]);
    assert!(check.status.success(), "{}", said(&check));
    let schema = fs::read(directory.path().join("config.d/schema.json")).unwrap();
    assert_eq!(schema, command(directory.path(), &["schema"]).stdout);

    let hops = directory.path().join("config.d/20-hops.yaml");
    fs::write(&hops, "# mine\n").unwrap();
    fs::remove_file(directory.path().join("config.d/10-server.yaml")).unwrap();
    let again = command(directory.path(), &["init"]);
    assert_eq!(again.status.code(), Some(1));
    assert!(said(&again).contains("is not empty"), "{}", said(&again));
    assert_eq!(fs::read_to_string(hops).unwrap(), "# mine\n");
    assert!(!directory.path().join("config.d/10-server.yaml").exists());
}

#[test]
fn shells_and_manuals_get_every_command() {
    let directory = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = command(directory.path(), &["completions", shell]);
        assert!(script.status.success(), "{shell}");
        assert!(said(&script).contains("MOOLTIROUTE_COMPLETE"), "{shell}");
    }
    assert!(command(directory.path(), &["man", "pages"]).status.success());
    let page = fs::read_to_string(directory.path().join("pages/mooltiroute-explain.1")).unwrap();
    assert!(page.contains("without connecting"), "{page}");
}

/// Returns what a shell offers for the last of `words`.
fn candidates(directory: &Path, words: &[&str]) -> Vec<String> {
    let output = Command::new(env!("CARGO_BIN_EXE_mooltiroute"))
        .args(["--", "mooltiroute"])
        .args(words)
        .current_dir(directory)
        .env_clear()
        .env("MOOLTIROUTE_COMPLETE", "bash")
        .env("_CLAP_COMPLETE_INDEX", words.len().to_string())
        .output()
        .unwrap();
    said(&output).lines().map(str::to_owned).collect()
}

#[test]
fn a_shell_completes_the_hops_of_the_configuration_that_is_named() {
    let directory = directory();
    let offered = |words: &[&str]| candidates(directory.path(), words);
    assert_eq!(offered(&["run", "-c", "a.yaml", "--enable", ""]), ["corporate", "exit", "spare"]);
    assert_eq!(offered(&["run", "--config=a.yaml", "--disable", "s"]), ["spare"]);
    assert_eq!(offered(&["run", "-c", "missing", "--enable", ""]), [""; 0]);
    let levels = offered(&["run", "--log-level", ""]);
    assert_eq!(levels, ["off", "error", "warn", "info", "debug", "trace"]);
    assert!(offered(&["expl"]).contains(&"explain".to_owned()));
    assert!(offered(&["check", "-c", "a"]).contains(&"a.yaml".to_owned()));
}

#[test]
fn a_configuration_is_drawn_for_terminals_and_documents() {
    let drawn = |arguments: &[&str]| {
        let directory = directory();
        let output = command(directory.path(), arguments);
        assert!(output.status.success(), "{}", said(&output));
        said(&output)
    };
    assert_eq!(
        drawn(&["check", "-c", "a.yaml", "--graph"]),
        "\
1. localhost, 127.0.0.0/8     ──▶ direct  ──▶ target
2. *.example.com on port 8443 ──▶ fast    ──▶ exit ──▶ target
3. *.example.com              ──▶ default ──▶ corporate ──▶ exit ──▶ target  (switched off: spare)
"
    );
    assert_eq!(
        drawn(&["check", "-c", "a.yaml", "--graph=mermaid"]),
        "\
flowchart LR
  r0[\"1. localhost, 127.0.0.0/8\"]
  r1[\"2. *.example.com on port 8443\"]
  r2[\"3. *.example.com\"]
  target([\"target\"])
  c0{{\"chain direct\"}}
  c1{{\"chain default (switched off: spare)\"}}
  c1h0[\"corporate<br/>http-connect, proxy.corp.example:3128\"]
  c1h1[\"exit<br/>webshare, p.webshare.io:80\"]
  c2{{\"chain fast\"}}
  c2h0[\"exit<br/>webshare, p.webshare.io:80\"]
  r0 --> c0
  r1 --> c2
  r2 --> c1
  c0 --> target
  c1 --> c1h0
  c1h0 --> c1h1
  c1h1 --> target
  c2 --> c2h0
  c2h0 --> target
"
    );
    assert_eq!(
        drawn(&["explain", "https://www.example.com:8443/", "-c", "a.yaml", "--graph=dot"]),
        "\
digraph mooltiroute {
  rankdir=LR;
  node [shape=box];
  r0 [label=\"2. *.example.com on port 8443\"];
  target [label=\"www.example.com:8443\", shape=ellipse];
  c0 [label=\"chain fast\", shape=hexagon];
  c0h0 [label=\"exit\\nwebshare, p.webshare.io:80\"];
  r0 -> c0;
  c0 -> c0h0;
  c0h0 -> target;
}
"
    );
    let output =
        command(directory().path(), &["explain", "a.example:1", "-c", "a.yaml", "--graph"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("No route matches"), "{}", said(&output));
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
fn hops_of_the_command_line_become_a_file_that_means_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let url = format!("http://joe:{CANARY}@proxy.example:3128");
    let hops = ["--hop", &url, "--hop", "socks5://127.0.0.1:1080?tls=true"];
    let output = command(directory.path(), &[&["check"][..], &hops].concat());
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert!(String::from_utf8_lossy(&output.stderr).contains("other users of this machine"));
    assert!(!said(&output).contains(CANARY), "{}", said(&output));
    fs::write(directory.path().join("made.yaml"), &output.stdout).unwrap();
    let check = Command::new(env!("CARGO_BIN_EXE_mooltiroute"))
        .args(["check", "-c", "made.yaml", "--format", "json"])
        .current_dir(directory.path())
        .env_clear()
        .envs([("HTTP_CONNECT_USERNAME", "joe"), ("HTTP_CONNECT_PASSWORD", CANARY)])
        .output()
        .unwrap();
    let of_file: serde_json::Value = serde_json::from_slice(&check.stdout).unwrap();
    assert_eq!(of_file["valid"], true, "{of_file}");
    let json = command(directory.path(), &[&["check", "--format", "json"][..], &hops].concat());
    let of_hops: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!((&of_file["hops"], &of_file["chains"]), (&of_hops["hops"], &of_hops["chains"]));

    let wrong = command(directory.path(), &["check", "--hop", &format!("webshare://joe:{CANARY}")]);
    assert_eq!(wrong.status.code(), Some(2));
    assert!(
        said(&wrong).contains("the first URL has credentials without an `@`"),
        "{}",
        said(&wrong)
    );
    let both = command(directory.path(), &["check", "-c", "made.yaml", "--hop", &url]);
    assert_eq!(both.status.code(), Some(2));
    assert!(!said(&wrong).contains(CANARY) && !said(&both).contains(CANARY));
}

#[test]
fn no_command_shows_a_secret() {
    let mistakes = [
        ("address: \"proxy.corp.example:3128\"", "address: \"joe:cAnArY-5eCr3t@proxy:1\""),
        ("address: \"proxy.corp.example:3128\"", "address: \"http://joe:cAnArY-5eCr3t@proxy\""),
        ("kind: http-connect", "kind: cAnArY-5eCr3t@"),
        ("username: joe", "cAnArY-5eCr3t: joe"),
        ("username: joe", "username: { cAnArY-5eCr3t: 1 }"),
        ("password_file: secret", "password: a, cAnArY-5eCr3t"),
        ("password_file: secret", "password: [cAnArY-5eCr3t]"),
        ("password_file: secret", "password: \"cAnArY-5eCr3t\\n\""),
        ("password_file: secret", "pasword: cAnArY-5eCr3t"),
        ("password_file: secret", "password: !x cAnArY-5eCr3t"),
        ("password_file: secret", "password: @cAnArY-5eCr3t"),
        ("password_file: secret", "password: cAnArY-5eCr3t, password: cAnArY-5eCr3t"),
        ("password_file: secret", "password_file: secret, password: cAnArY-5eCr3t"),
        ("${CORP_PASSWORD}", "cAnArY-5eCr3t${UNSET}"),
        ("${CORP_PASSWORD}", "cAnArY-5eCr3t${"),
        ("\"${CORP_USER}\"", "\"${CORP_USER}:\""),
        ("corporate: {", "corporate: { tls: \"${CORP_USER}\","),
        ("chains:", "chains:\n  inside: [\"${CORP_USER}\"]"),
        ("chains:", "log: { level: \"${CORP_USER}\" }\nchains:"),
        ("", ""),
    ];
    for (right, wrong) in mistakes {
        let directory = directory();
        let text = CONFIG.replacen(right, wrong, 1);
        fs::write(directory.path().join("a.yaml"), &text).unwrap();
        for arguments in [
            &["check", "-c", "a.yaml"][..],
            &["check", "-c", "a.yaml", "--format", "json"],
            &["explain", "https://www.example.com/", "-c", "a.yaml"],
            &[
                "explain",
                "http://joe:cAnArY-5eCr3t@www.example.com/",
                "-c",
                "a.yaml",
                "--format",
                "json",
            ],
            &["init", "made"],
            &["schema"],
            // It ends at the address, which nobody has, or at the mistake before that.
            &["run", "-c", "a.yaml", "--log-level", "trace", "--listen", "192.0.2.1:1"],
        ] {
            let output = command(directory.path(), arguments);
            let said = said(&output);
            assert!(!said.is_empty(), "{arguments:?}");
            let encoded = STANDARD.encode(CANARY);
            let credentials = STANDARD.encode(format!("joe:{CANARY}"));
            for secret in [CANARY, encoded.trim_end_matches('='), credentials.trim_end_matches('=')]
            {
                assert!(!said.contains(secret), "{arguments:?} with {wrong}:\n{said}");
            }
        }
    }
}

#[test]
fn the_configuration_may_be_named_before_the_command() {
    let directory = directory();
    let before = command(directory.path(), &["-c", "a.yaml", "check"]);
    let after = command(directory.path(), &["check", "-c", "a.yaml"]);
    assert_eq!(before.status.code(), Some(0));
    assert_eq!(said(&before), said(&after));
}

#[test]
fn a_flag_of_run_before_another_command_is_a_usage_error_that_names_it() {
    let output = command(directory().path(), &["--listen", "127.0.0.1:1", "check"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(said(&output).contains("`--listen`"), "{}", said(&output));
}

#[test]
fn a_wrong_value_is_answered_with_the_right_ones() {
    for (arguments, expected) in [
        (["run", "--log-level", "loud"], "off, error, warn, info, debug, trace"),
        (["run", "--log-format", "xml"], "text, json"),
        (["run", "--listen", "8888"], "`127.0.0.1:8888`"),
        (["run", "--listen", ":8888"], "`127.0.0.1:8888`"),
    ] {
        let output = command(directory().path(), &arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(said(&output).contains(expected), "{}", said(&output));
    }
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
fn a_pool_that_is_the_only_hop_is_told_that_no_other_one_is_there() {
    let directory = tempfile::tempdir().unwrap();
    for (members, expected) in [
        (
            "members: [one]",
            "hops.exits.members[0]: unknown hop; no other hop is written below `hops:`",
        ),
        ("members: []", "hops.exits: `members` is empty\n"),
        (
            "members_from: { file: list.txt }",
            "hops.exits.members_from.file: `list.txt` has no proxy in it\n",
        ),
    ] {
        fs::write(directory.path().join("list.txt"), "# none\n").unwrap();
        let yaml = format!(
            "hops: {{ exits: {{ kind: pool, {members} }} }}\nchains: {{ default: [exits] }}\n"
        );
        fs::write(directory.path().join("a.yaml"), yaml).unwrap();
        let checked = said(&command(directory.path(), &["check", "-c", "a.yaml"]));
        assert!(checked.contains(expected), "{checked}");
    }
}

#[test]
fn explain_follows_the_switches_of_hops() {
    let arguments = ["explain", "x.example.com:443", "-c", "a.yaml", "--no-corporate"];
    let output = command(directory().path(), &arguments);
    assert_eq!(output.status.code(), Some(0));
    assert!(!said(&output).contains("1. corporate"), "{}", said(&output));
}

#[test]
fn json_is_asked_for_and_json_comes_also_for_a_failure() {
    for (arguments, key) in [
        (["check", "-c", "missing", "--format", "json"], "valid"),
        (["status", "--address", "127.0.0.1:1", "--format", "json"], "running"),
    ] {
        let output = command(directory().path(), &arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(answer[key], false, "{answer}");
    }
}

#[cfg(unix)]
#[test]
fn a_reader_that_closes_early_changes_neither_exit_status_nor_standard_error() {
    use std::{
        io::{PipeReader, pipe},
        process::Stdio,
    };

    let directory = directory();
    fs::write(directory.path().join("bad.yaml"), "chain: {}\n").unwrap();
    for (arguments, expected) in [
        (&["check", "-c", "a.yaml"][..], 0),
        (&["check", "-c", "bad.yaml"], 1),
        (&["check", "-c", "a.yaml", "--format", "json"], 0),
        (&["schema"], 0),
        (&["completions", "bash"], 0),
        (&["--help"], 0),
    ] {
        let (reader, writer): (PipeReader, _) = pipe().unwrap();
        drop(reader);
        let output = Command::new(env!("CARGO_BIN_EXE_mooltiroute"))
            .args(arguments)
            .current_dir(directory.path())
            .envs([("CORP_USER", CANARY), ("CORP_PASSWORD", CANARY)])
            .stdout(writer)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
            .wait_with_output()
            .unwrap();
        assert_eq!(output.status.code(), Some(expected), "{arguments:?}");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{arguments:?}");
    }
}

#[test]
fn check_takes_the_switches_of_run_and_they_are_written_after_it() {
    let directory = directory();
    let output = command(directory.path(), &["check", "-c", "a.yaml", "--disable", "corporate"]);
    assert!(output.status.success(), "{}", said(&output));
    assert!(said(&output).contains("default: exit (switched off: corporate, spare)"));
    let output = command(directory.path(), &["--disable", "corporate", "check", "-c", "a.yaml"]);
    let words = "`--disable` is written after its command, which can be `run`, `check`, `explain` or `probe`";
    assert!(said(&output).contains(words), "{}", said(&output));
    let output = command(directory.path(), &["--listen", "127.0.0.1:99999"]);
    assert!(said(&output).contains("the port is too large"), "{}", said(&output));
}

#[test]
fn check_says_where_it_looked_if_there_is_no_configuration() {
    let directory = tempfile::tempdir().unwrap();
    let home = directory.path().join("home");
    let output = Command::new(env!("CARGO_BIN_EXE_mooltiroute"))
        .arg("check")
        .current_dir(directory.path())
        .env_clear()
        .env("XDG_CONFIG_HOME", &home)
        .output()
        .unwrap();
    // A machine with a configuration of the system has another answer.
    if !Path::new("/etc/mooltiroute/config.d").exists() {
        let said = said(&output);
        let user = home.join("mooltiroute").join("config.d");
        for part in ["every request goes direct", "config.yaml", &user.display().to_string()] {
            assert!(said.contains(part), "{part}: {said}");
        }
        let explained = Command::new(env!("CARGO_BIN_EXE_mooltiroute"))
            .args(["explain", "http://a.test/"])
            .current_dir(directory.path())
            .env_clear()
            .env("XDG_CONFIG_HOME", &home)
            .output()
            .unwrap();
        let error = String::from_utf8_lossy(&explained.stderr);
        assert!(error.contains("no configuration was found"), "{error}");
        assert_eq!(explained.status.code(), Some(0), "{error}");
    }
}

#[test]
fn a_proxy_that_can_not_run_says_so_in_the_format_of_its_log() {
    let directory = directory();
    fs::write(directory.path().join("bad.yaml"), "server: { lisen: 1 }\n").unwrap();
    for (flags, words) in [
        (&["--log-format", "json", "-c", "missing.yaml"][..], "does not exist"),
        (&["--log-format", "json", "-c", "bad.yaml"], "unknown key"),
    ] {
        let output = command(directory.path(), &[&["run"], flags].concat());
        assert_eq!(output.status.code(), Some(1));
        let error = String::from_utf8(output.stderr).unwrap();
        let line: serde_json::Value = serde_json::from_str(&error).unwrap();
        assert_eq!(
            (&line["level"], &line["message"]),
            (&"ERROR".into(), &"the proxy can't run".into())
        );
        assert!(line["reason"].as_str().unwrap().contains(words), "{error}");
    }
}

#[cfg(unix)]
#[test]
fn a_secret_in_a_file_is_a_warning_if_others_can_read_it() {
    use std::os::unix::fs::PermissionsExt as _;

    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    fs::write(path("a.yaml"), "hops:\n  a:\n    kind: http-connect\n    address: a.test:1\n    username: joe\n    password_file: secret\n  b:\n    kind: http-connect\n    address: a.test:1\n    username: joe\n    password: cAnArY-5eCr3t\nchains: { default: [a, b] }\n").unwrap();
    fs::write(path("secret"), CANARY).unwrap();
    for (directory_mode, mode, warnings) in [
        (0o755, 0o644, [true, true]),
        (0o755, 0o600, [false, false]),
        (0o700, 0o644, [false, true]),
    ] {
        for name in ["a.yaml", "secret"] {
            fs::set_permissions(path(name), fs::Permissions::from_mode(mode)).unwrap();
        }
        let directory_mode = fs::Permissions::from_mode(directory_mode);
        fs::set_permissions(directory.path(), directory_mode).unwrap();
        let said = said(&command(directory.path(), &["check", "-c", "a.yaml"]));
        let found = ["every user of this machine can read this file", "where others may read it"]
            .map(|words| said.contains(words));
        assert_eq!(found, warnings, "{mode:o}: {said}");
    }
}

#[cfg(unix)]
#[test]
fn a_list_with_passwords_is_a_warning_if_others_can_read_it() {
    use std::os::unix::fs::PermissionsExt as _;

    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let text =
        "hops: { a: { kind: pool, members_from: { file: list.txt } } }\nchains: { default: [a] }\n";
    fs::write(path("a.yaml"), text).unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    for (list, mode, is_told) in [
        (format!("b.test:1\na.test:1:joe:{CANARY}\n"), 0o644, true),
        (format!("a.test:1:joe:{CANARY}\n"), 0o600, false),
        ("a.test:1\nb.test:1\n".to_owned(), 0o644, false),
    ] {
        fs::write(path("list.txt"), list).unwrap();
        fs::set_permissions(path("list.txt"), fs::Permissions::from_mode(mode)).unwrap();
        let said = said(&command(directory.path(), &["check", "-c", "a.yaml"]));
        let found = said.contains("every user of this machine can read this file: its permissions");
        assert_eq!(found, is_told, "{mode:o}: {said}");
        assert!(!is_told || said.contains("hops.a.members_from.file: "), "{said}");
        assert!(!said.contains(CANARY), "{said}");
    }
}

#[cfg(unix)]
#[test]
fn an_unreadable_password_file_names_the_user_that_needs_the_right() {
    use std::os::unix::fs::PermissionsExt as _;

    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let text = "hops: { a: { kind: http-connect, address: \"a.test:1\", username: joe, password_file: secret.txt } }\nchains: { default: [a] }\n";
    fs::write(path("a.yaml"), text).unwrap();
    fs::write(path("secret.txt"), CANARY).unwrap();
    fs::set_permissions(path("secret.txt"), fs::Permissions::from_mode(0o000)).unwrap();
    // The superuser can read every file.
    if fs::read(path("secret.txt")).is_err() {
        let said = said(&command(directory.path(), &["check", "-c", "a.yaml"]));
        assert!(said.contains("the user with the id "), "{said}");
        assert!(!said.contains("is the path of a file"), "{said}");
    }
}
