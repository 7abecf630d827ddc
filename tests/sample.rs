//! The sample configuration, which is what most people see first: it loads, goes direct, and its comments are true.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up must stop")]

use std::{ffi::OsString, fs, path::Path};

use mooltiroute::{
    config::{Config, Environment, Loader, Overrides, Source},
    hops::kinds,
};

#[test]
fn every_file_is_read_and_needs_no_variable() {
    let config = load(&sample(), Overrides::default(), None);
    assert_eq!(fs::read_dir(sample()).unwrap().count(), 4);
    let warnings: Vec<_> = config.warnings.iter().map(|warning| warning.code).collect();
    assert_eq!(warnings, ["direct"], "it says that it goes direct, and nothing else is odd");
    let listen = config.server.listen.iter().map(|listener| listener.address);
    assert_eq!(listen.collect::<Vec<_>>(), ["127.0.0.1:8888".parse().unwrap()]);
    let default = config.chains.iter().find(|chain| &*chain.name == "default").unwrap();
    assert_eq!(default.hops, [0; 0], "it goes direct");
    let switched_off: Vec<&str> = default.switched_off.iter().map(|name| &**name).collect();
    assert_eq!(switched_off, ["corporate", "webshare"]);
}

#[test]
fn two_flags_and_four_variables_put_both_hops_in() {
    let enable = vec!["corporate".to_owned(), "webshare".to_owned()];
    let config = load(&sample(), Overrides { enable, ..Overrides::default() }, Some("x".into()));
    let addresses = config
        .hops
        .iter()
        .map(|hop| hop.hop.as_ref().unwrap().describe().address.unwrap().to_string());
    let addresses: Vec<String> = addresses.collect();
    assert_eq!(addresses, ["proxy.corp.example:3128", "p.webshare.io:80"]);
    let default = config.chains.iter().find(|chain| &*chain.name == "default").unwrap();
    assert_eq!(default.hops, [0, 1]);
}

#[test]
fn what_the_comments_call_a_default_is_one() {
    let uncommented = tempfile::tempdir().unwrap();
    let mut shown = Vec::new();
    for entry in fs::read_dir(sample()).unwrap() {
        let entry = entry.unwrap();
        let text = fs::read_to_string(entry.path()).unwrap();
        let lines = text.lines().map(|line| match default(line) {
            Some((indent, setting)) => {
                shown.push(setting.split(':').next().unwrap().to_owned());
                format!("{indent}{setting}\n")
            }
            None => format!("{line}\n"),
        });
        let text: String = lines.collect();
        fs::write(uncommented.path().join(entry.file_name()), text).unwrap();
    }
    shown.sort();
    assert_eq!(
        shown, DEFAULTS,
        "every key with a default is shown, or a line of text looks like one"
    );

    let commented = meaning(&load(&sample(), Overrides::default(), Some("x".into())));
    let uncommented = load(uncommented.path(), Overrides::default(), Some("x".into()));
    assert_eq!(meaning(&uncommented), commented);
}

/// The setting that a line shows behind its `#`; those in braces or brackets are examples.
fn default(line: &str) -> Option<(&str, &str)> {
    let (indent, setting) = line.split_once("# ")?;
    let (key, value) = setting.split_once(": ")?;
    let is_key = key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    let is_value = !value.contains([' ', '{', '[']);
    (!indent.is_empty() && indent.trim().is_empty() && is_key && is_value)
        .then_some((indent, setting))
}

fn meaning(config: &Config) -> String {
    let Config { server, timeouts, limits, log, hops, chains, .. } = config;
    let hops: Vec<_> = hops.iter().map(|hop| (&hop.name, hop.is_enabled, &hop.hop)).collect();
    format!("{server:?}\n{timeouts:?}\n{limits:?}\n{log:?}\n{hops:?}\n{chains:?}")
}

fn load(path: &Path, overrides: Overrides, variable: Option<OsString>) -> Config {
    let environment = Environment::new(move |_| variable.clone(), path);
    let source = Source::Path(path.to_owned());
    Loader::new(source, overrides, kinds::builtin(), environment).load().unwrap()
}

fn sample() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("config.d")
}

const DEFAULTS: [&str; 24] = [
    "access",
    "address",
    "connect",
    "connections",
    "drain",
    "format",
    "half_closed",
    "handshake",
    "header",
    "header_bytes",
    "header_fields",
    "idle",
    "level",
    "on_leave",
    "plain",
    "protocol",
    "response",
    "session",
    "session_max",
    "sessions",
    "stall",
    "tls",
    "via",
    "workers",
];
