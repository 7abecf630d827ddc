//! The commands that only read the configuration, or write the first one.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up must stop")]

mod command_line;
mod explain;
mod secrets;

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

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
        for part in [
            "warning: no configuration was found",
            "every request goes direct",
            "config.yaml",
            &user.display().to_string(),
        ] {
            assert!(said.contains(part), "{part}: {said}");
        }
        let json = Command::new(env!("CARGO_BIN_EXE_mooltiroute"))
            .args(["check", "--format", "json"])
            .current_dir(directory.path())
            .env_clear()
            .env("XDG_CONFIG_HOME", &home)
            .output()
            .unwrap();
        let checked: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
        let warning = &checked["warnings"][0];
        assert_eq!((json.status.code(), &checked["valid"]), (Some(0), &true.into()));
        assert_eq!(warning["code"], "no-configuration");
        assert_eq!(warning["message"], "no configuration was found, so every request goes direct");
        let help = "name one with `-c PATH`, or write one with `mooltiroute init`";
        assert_eq!(warning["help"], help);
        let places = warning["details"].as_array().unwrap();
        assert!(places.contains(&user.display().to_string().into()), "{checked}");
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
