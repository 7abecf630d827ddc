//! `mooltiroute hop`: switches a hop by editing one word of its file.

use std::{fs, process::Command};

use tokio::io::AsyncWriteExt as _;

use crate::support::{
    ConfigDir, Double, EchoOrigin, Proxy, Step, assert_reads, connect, free_port, in_runtime,
    outcome, ping, run,
};

/// Two hops as people write them, with comments, quotes and odd spaces.
const HOPS: &str = "# All hops.\nhops:\n  corporate:   # at work\n    kind: http-connect\n    \
                    enabled:  true   # see `hop`\n    address: \"a.test:1\"\n  exit: { kind: socks5, address: 'b.test:2' }\n";
const CHAINS: &str = "chains: { default: [corporate, exit] }\n";

/// Runs `mooltiroute hop` with `config`, and keeps its state in the runtime directory.
fn hop(config: &ConfigDir, arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mooltiroute"));
    command.arg("hop").args(arguments).arg("-c").arg(config.path());
    in_runtime(&mut command, config.runtime());
    outcome(&command.output().unwrap())
}

fn config() -> ConfigDir {
    let config = ConfigDir::new(CHAINS);
    config.write("20-hops.yaml", HOPS);
    config
}

fn hops_of(config: &ConfigDir) -> String {
    fs::read_to_string(config.path().join("20-hops.yaml")).unwrap()
}

#[test]
fn a_switch_without_a_proxy_changes_one_word() {
    let config = config();
    let (code, out, error) = hop(&config, &["corporate", "off"]);
    assert_eq!(code, Some(0), "{error}");
    assert!(out.contains("no proxy runs"), "{out}");
    assert_eq!(hops_of(&config), HOPS.replace("true", "false"));
    let (code, out, _) = hop(&config, &["corporate", "off"]);
    assert_eq!((code, out.contains("already")), (Some(0), true), "{out}");
    assert_eq!(hop(&config, &["corporate", "on"]).0, Some(0));
    assert_eq!(hops_of(&config), HOPS);
    let (code, _, error) = hop(&config, &["corporate", "auto"]);
    assert_eq!(code, Some(1));
    assert!(error.contains("nothing to restore"), "{error}");
    assert_eq!(hop(&config, &["exit", "off"]).0, Some(0));
    assert_eq!(hops_of(&config), HOPS.replace("socks5,", "socks5, enabled: false,"));
    assert_eq!(hop(&config, &["exit", "auto"]).0, Some(0));
    assert_eq!(hops_of(&config), HOPS, "an added key goes again");
    let (code, _, error) = hop(&config, &["corprate", "off"]);
    assert_eq!(code, Some(1));
    assert!(error.contains("did you mean `corporate`?"), "{error}");
    assert_eq!(hop(&config, &["corporate", "maybe"]).0, Some(2));
    let names: Vec<_> =
        fs::read_dir(config.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.len(), 3, "nothing is left beside the files: {names:?}");
}

#[test]
fn auto_brings_back_what_a_switch_replaced() {
    let config = config();
    let written = HOPS.replace(" true ", " \"${CORPORATE_ON:-true}\" ");
    config.write("20-hops.yaml", &written);
    assert_eq!(hop(&config, &["corporate", "on"]).0, Some(0));
    assert_eq!(hops_of(&config), HOPS);
    assert_eq!(hop(&config, &["corporate", "off"]).0, Some(0));
    let (code, _, error) = hop(&config, &["corporate", "auto"]);
    assert_eq!(code, Some(0), "{error}");
    assert_eq!(hops_of(&config), written);
    // There is nothing left to do.
    let (code, out, error) = hop(&config, &["corporate", "auto"]);
    assert_eq!(code, Some(0), "{error}");
    assert!(out.starts_with("corporate follows its condition already, in "), "{out}");
}

#[test]
fn only_a_switch_that_replaces_a_condition_needs_the_state_directory() {
    let config = config();
    // There is a file in place of the directory, so nothing in it can be read or made.
    fs::write(config.runtime().join("state"), "").unwrap();
    let (code, _, error) = hop(&config, &["corporate", "off"]);
    assert_eq!(code, Some(0), "{error}");
    let switched = HOPS.replace("true", "false");
    assert_eq!(hops_of(&config), switched);
    // The hop has no `enabled`, so `auto` would have to know that.
    let (code, _, error) = hop(&config, &["exit", "off"]);
    assert_eq!(code, Some(1), "{error}");
    assert_eq!(hops_of(&config), switched);
}

#[test]
fn the_condition_of_a_renamed_file_is_shown() {
    let config = config();
    config.write("20-hops.yaml", &HOPS.replace(" true ", " \"${CORPORATE_ON:-true}\" "));
    assert_eq!(hop(&config, &["corporate", "off"]).0, Some(0));
    let old = config.path().join("20-hops.yaml");
    fs::rename(&old, config.path().join("25-hops.yaml")).unwrap();
    let (code, _, error) = hop(&config, &["corporate", "auto"]);
    assert_eq!(code, Some(1));
    let value = "`enabled: \"${CORPORATE_ON:-true}\"`, in ";
    assert!(error.contains(value) && error.contains("20-hops.yaml"), "{error}");
}

#[test]
fn a_file_with_a_syntax_error_is_shown_and_not_taken_for_one_without_the_hop() {
    let config = config();
    config.write("20-hops.yaml", &format!("{HOPS}  broken: [\n"));
    let (code, _, error) = hop(&config, &["corporate", "off"]);
    assert_eq!(code, Some(1));
    assert!(error.contains("20-hops.yaml:") && !error.contains("is called"), "{error}");
}

#[test]
fn the_file_whose_value_applies_is_edited() {
    let config = config();
    let later = "hops: { corporate: { enabled: true } }\n";
    config.write("30-later.yaml", later);
    assert_eq!(hop(&config, &["corporate", "off"]).0, Some(0));
    assert_eq!(hops_of(&config), HOPS);
    let read = fs::read_to_string(config.path().join("30-later.yaml")).unwrap();
    assert_eq!(read, later.replace("true", "false"));
}

#[test]
fn an_edit_that_would_be_invalid_or_change_more_is_not_made() {
    let config = config();
    let with_variable = HOPS.replace("true", "false").replace("a.test", "${NO_SUCH_HOST}");
    config.write("20-hops.yaml", &with_variable);
    let (code, _, error) = hop(&config, &["corporate", "on"]);
    assert_eq!(code, Some(1));
    assert!(
        error.contains("`NO_SUCH_HOST` is not set") && error.contains("nothing was changed"),
        "{error}"
    );
    assert_eq!(hops_of(&config), with_variable);

    let shared = "hops:\n  corporate: &base\n    kind: socks5\n    enabled: true\n    address: a.test:1\n  \
                  exit:\n    <<: *base\n    address: b.test:2\n";
    config.write("20-hops.yaml", shared);
    let (code, _, error) = hop(&config, &["corporate", "off"]);
    assert_eq!(code, Some(1));
    assert!(error.contains("hops.exit.enabled"), "{error}");
    assert_eq!(hops_of(&config), shared);
    assert_eq!(hop(&config, &["exit", "off"]).0, Some(0), "a key of its own overrides the merge");
    assert!(hops_of(&config).contains("    <<: *base\n"), "{}", hops_of(&config));
}

#[cfg(unix)]
#[test]
fn links_are_followed_and_permissions_kept() {
    use std::{
        os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink},
        path::Path,
    };

    let config = config();
    let (link, file) = (config.path().join("20-hops.yaml"), config.runtime().join("real"));
    fs::rename(&link, &file).unwrap();
    symlink(&file, &link).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
    let owner = |path: &Path| {
        let found = fs::metadata(path).unwrap();
        (found.uid(), found.gid(), found.mode())
    };
    let before = owner(&file);
    let (code, _, error) = hop(&config, &["corporate", "off"]);
    assert_eq!(code, Some(0), "{error}");
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(hops_of(&config), HOPS.replace("true", "false"));
    assert_eq!(owner(&file), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_running_proxy_has_the_last_word() {
    if !crate::support::finds_proxies_or_skip() {
        return;
    }
    let config = ConfigDir::new("chains: { default: [corporate] }\n");
    let yaml = "hops:\n  corporate:\n    kind: http-connect\n    enabled: false\n    address: ${HOP_OF_TEST}\n";
    config.write("20-hops.yaml", yaml);
    let proxy = Proxy::on(config, &[]).await;
    // This process could enable the hop, but the proxy lacks the variable.
    let mut command = Command::new(env!("CARGO_BIN_EXE_mooltiroute"));
    command.args(["hop", "corporate", "on", "-c"]).arg(proxy.config().path());
    command.env("HOP_OF_TEST", "a.test:1");
    in_runtime(&mut command, proxy.config().runtime());
    let (code, _, error) = outcome(&command.output().unwrap());
    assert_eq!(code, Some(1));
    assert!(error.contains("`HOP_OF_TEST` is not set"), "{error}");
    let note = "nothing was changed\nnote: variables have the values that they had when the proxy was started (process ";
    assert!(error.contains(note), "{error}");
    assert_eq!(hops_of(proxy.config()), yaml);
    assert!(proxy.events().iter().all(|event| event.message() != "config rejected"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_that_the_proxy_rejects_is_undone() {
    let config = ConfigDir::new("chains: { default: [corporate] }\n");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    config.write("20-hops.yaml", HOPS);
    let proxy = Proxy::on(config, &[]).await;
    // An address that can't be bound is seen only when the configuration is to take effect.
    let address = taken.local_addr().unwrap();
    proxy.config().write(
        "90-more.yaml",
        &format!("server: {{ listen: [\"{address}\", \"{}\"] }}\n", proxy.address()),
    );
    proxy.event("config rejected").await;
    let (code, _, error) = hop(proxy.config(), &["corporate", "off"]);
    assert_eq!(code, Some(1));
    assert!(error.contains("undone") && error.contains(&address.to_string()), "{error}");
    assert_eq!(hops_of(proxy.config()), HOPS);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flag_that_wins_over_the_switch_is_named() {
    if !crate::support::finds_proxies_or_skip() {
        return;
    }
    let config = config();
    let proxy = Proxy::on(config, &["--no-corporate", "--disable", "exit"]).await;
    let switched = |arguments: &[&str]| {
        let (code, out, error) = hop(proxy.config(), arguments);
        assert_eq!(code, Some(0), "{error}");
        out
    };
    // The files say so already, or say it now.
    for before in ["corporate is on already in ", "corporate is on; generation "] {
        let out = switched(&["corporate", "on"]);
        assert!(out.contains(before), "{out}");
        assert!(
            out.contains("no effect yet: ") && out.contains("was started with `--no-corporate`"),
            "{out}"
        );
        assert!(out.contains("`corporate` stays off; start it again without this option"), "{out}");
        // The option means the same.
        let out = switched(&["corporate", "off"]);
        assert!(!out.contains("no effect"), "{out}");
    }
    let out = switched(&["exit", "on"]);
    assert!(out.contains("was started with `--disable exit`, which overrides the file"), "{out}");
    let none = run(["hop", "corporate", "off", "-c", "/nonexistent"]);
    assert_eq!(none.status.code(), Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn auto_puts_the_condition_in_force_at_once_and_restores_its_text() {
    if !crate::support::finds_proxies_or_skip() {
        return;
    }
    let double = Double::start([Step::Answer("HTTP/1.1 200 OK\r\n\r\nthrough".into())]).await;
    let echo = EchoOrigin::start().await;
    let office = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (open, closed) = (office.local_addr().unwrap().port(), free_port());
    for is_met in [true, false] {
        let port = if is_met { open } else { closed };
        // Over several lines, with comments and quotes, as people write it.
        let yaml = format!(
            "hops:\n  corporate:\n    kind: http-connect\n    enabled:   # only in the office\n      when:\n        \
             any:\n        - {{ reachable: '127.0.0.1:{port}' }}   # the printer\n        - interface: \"none*\"\n\n    \
             address: {}\n",
            double.address()
        );
        let config = ConfigDir::new("chains: { default: [corporate] }\n");
        config.write("20-hops.yaml", &yaml);
        let proxy = Proxy::on(config, &[]).await;
        let assert_way = async |is_through: bool| {
            let mut tunnel = connect(proxy.address(), echo.address()).await.tunnel();
            match is_through {
                // The hop says so, and the origin would say nothing by itself.
                true => assert_reads(&mut tunnel, "through").await,
                false => ping(&mut tunnel).await,
            }
        };
        assert_way(is_met).await;
        let forced = if is_met { "off" } else { "on" };
        for state in [forced, if is_met { "on" } else { "off" }, forced] {
            let (code, _, error) = hop(proxy.config(), &["corporate", state]);
            assert_eq!(code, Some(0), "{error}");
            assert_way(state == "on").await;
        }
        assert_ne!(hops_of(proxy.config()), yaml);
        let (code, out, error) = hop(proxy.config(), &["corporate", "auto"]);
        assert_eq!(code, Some(0), "{error}");
        assert!(
            out.contains(
                "corporate has the `enabled` back that it had before `on` or `off`; generation "
            ),
            "{out}"
        );
        assert_way(is_met).await;
        assert_eq!(hops_of(proxy.config()), yaml);
        let (code, out, error) = hop(proxy.config(), &["corporate", "auto"]);
        assert_eq!(code, Some(0), "{error}");
        assert!(out.starts_with("corporate follows its condition already, in "), "{out}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_switches_disturb_no_tunnel() {
    if !crate::support::finds_proxies_or_skip() {
        return;
    }
    let hop_double = Double::start([Step::Answer("HTTP/1.1 200 OK\r\n\r\nthrough".into())]).await;
    let echo = EchoOrigin::start().await;
    let config = ConfigDir::new("chains: { default: [corporate] }\n");
    let yaml = format!(
        "hops:\n  corporate:\n    kind: http-connect\n    enabled: true # here\n    address: {}\n",
        hop_double.address()
    );
    config.write("20-hops.yaml", &yaml);
    let proxy = Proxy::on(config, &[]).await;
    let address = proxy.address();
    assert_eq!(hop(proxy.config(), &["corporate", "off"]).0, Some(0));
    let mut kept = connect(address, echo.address()).await.tunnel();
    let (stop, mut stopped) = tokio::sync::oneshot::channel::<()>();
    let target = echo.address();
    let load = tokio::spawn(async move {
        let mut count = 0;
        while stopped.try_recv().is_err() {
            let mut tunnel = connect(address, target).await.tunnel();
            // The hop answers with these words itself.
            tunnel.write_all(b"through").await.unwrap();
            assert_reads(&mut tunnel, "through").await;
            count += 1;
        }
        count
    });
    for number in 0..FLIPS {
        let state = if number % 2 == 0 { "on" } else { "off" };
        let (code, out, error) = hop(proxy.config(), &["corporate", state]);
        assert_eq!(code, Some(0), "{error}");
        assert!(
            out.contains(&format!("corporate is {state}; generation {} ", number + 3)),
            "{out}"
        );
        ping(&mut kept).await;
    }
    stop.send(()).unwrap();
    assert!(load.await.unwrap() > FLIPS / 10);
    assert_eq!(hops_of(proxy.config()), yaml.replace("true", "false"));
    let bad = proxy
        .events()
        .into_iter()
        .find(|event| ["request failed", "config rejected"].contains(&event.message()));
    assert!(bad.is_none(), "{bad:?}");
}

const FLIPS: usize = 100;

/// Commands that run at the same time take turns.
#[tokio::test(flavor = "multi_thread")]
async fn hops_that_are_switched_at_once_all_keep_their_edit_and_their_condition() {
    const CONDITION: &str = "enabled: \"${ON:-true}\"";
    const NAMES: [&str; 6] = ["a", "b", "c", "d", "e", "f"];
    let config = ConfigDir::new("chains: { default: [a, b, c, d, e, f] }\n");
    let line =
        |name| format!("  {name}: {{ kind: socks5, address: \"{name}.test:1\", {CONDITION} }}\n");
    // Three share a file, and the others have one each.
    let shared = NAMES[..3].iter().map(line).collect::<String>();
    config.write("20-hops.yaml", &format!("hops:\n{shared}"));
    for name in &NAMES[3..] {
        config.write(&format!("30-{name}.yaml"), &format!("hops:\n{}", line(name)));
    }
    let texts = |config: &ConfigDir| -> Vec<_> {
        let files = ["20-hops.yaml", "30-d.yaml", "30-e.yaml", "30-f.yaml"];
        files.map(|file| fs::read_to_string(config.path().join(file)).unwrap()).into()
    };
    let before = texts(&config);
    let proxy = Proxy::on(config, &[]).await;
    let config = proxy.config();
    for _ in 0..3 {
        for state in ["off", "auto"] {
            std::thread::scope(|scope| {
                for name in NAMES {
                    scope.spawn(move || {
                        let (code, out, error) = hop(config, &[name, state]);
                        assert_eq!(code, Some(0), "{name} {state}: {out}{error}");
                    });
                }
            });
            let switched = |text: &String| text.replace(CONDITION, "enabled: false");
            let expected = match state {
                "off" => before.iter().map(switched).collect(),
                _ => before.clone(),
            };
            assert_eq!(texts(config), expected, "{state}");
        }
    }
}

/// The verdict may come late. What an operator has saved until then is not overwritten.
#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn a_save_between_an_edit_and_its_undoing_stays() {
    use std::io::Write as _;

    let config = config();
    config.write("40-more.yaml", "# more\n");
    let proxy = Proxy::on(config, &[]).await;
    let config = proxy.config();
    // The proxy waits for this writer.
    let mut writer =
        fs::OpenOptions::new().append(true).open(config.path().join("40-more.yaml")).unwrap();
    writer.write_all(b"# and more\n").unwrap();
    let saved = format!("{}# by hand\n", HOPS.replace("true", "false"));
    let (code, _, error) = std::thread::scope(|scope| {
        let switched = scope.spawn(|| hop(config, &["corporate", "off"]));
        while hops_of(config) == HOPS {
            assert!(!switched.is_finished(), "it ended without an edit");
            std::thread::yield_now();
        }
        config.write("20-hops.yaml", &saved);
        writer.write_all(b"bogus: 1\n").unwrap();
        drop(writer);
        switched.join().unwrap()
    });
    assert_eq!(code, Some(1), "{error}");
    assert!(error.contains("bogus") && error.contains("Another program has saved "), "{error}");
    assert_eq!(hops_of(config), saved);
}
