//! The answers of other engines to the same scripts and URLs: npm's `pac-resolver`, PyPI's `pacparser`, and Chromium.
#![expect(clippy::unwrap_used, reason = "a test that can't go on must stop")]

use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use mooltiroute_pac::{Engine, NoNames, Outcome, Query};

/// The answers of each script, one for each URL. `None` if the script gives no text.
type Answers = BTreeMap<String, Vec<Option<String>>>;

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus")
}

fn clients() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/clients")
}

fn own_answers() -> Answers {
    let urls = fs::read_to_string(corpus().join("urls.txt")).unwrap();
    let mut answers = Answers::new();
    for entry in fs::read_dir(corpus()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "pac") {
            let text = fs::read_to_string(&path).unwrap();
            let mut engine = Engine::load(text.into()).ok();
            let answer = |url: &str| {
                let host = url.split('/').nth(2)?.split(':').next()?;
                let query = Query { url: url.into(), host: host.into() };
                match engine.as_mut()?.call(&query, Arc::new(NoNames)) {
                    Ok(Outcome::Answer(text)) => Some(text),
                    Ok(Outcome::Lookup(_)) | Err(_) => None,
                }
            };
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            answers.insert(name, urls.lines().map(answer).collect());
        }
    }
    answers
}

/// Returns the answers of another engine to the whole corpus, or `None` if it is not installed.
fn answers_of(mut command: Command) -> Option<Answers> {
    command.arg(corpus()).env("NODE_PATH", clients().join("node_modules"));
    read_answers(command)
}

/// Reads the answers that `command` writes, or returns `None` if it can't run.
fn read_answers(mut command: Command) -> Option<Answers> {
    let output = command.output();
    let read = output.ok().filter(|output| output.status.success());
    let read = read.and_then(|output| serde_json::from_slice(&output.stdout).ok());
    let is_required = env::var_os("MOOLTIROUTE_PEERS").is_some_and(|peers| peers == "required");
    assert!(read.is_some() || !is_required, "{command:?} is not installed, and it is required");
    read
}

#[track_caller]
fn check(others: Option<Answers>, differences: &[&str]) {
    let Some(others) = others else { return };
    let own = own_answers();
    assert!(own.len() >= 60 && own.values().all(|answers| answers.len() == 20));
    let differs = own.iter().filter(|(name, answers)| others.get(*name) != Some(answers));
    let differs: Vec<&str> = differs.map(|(name, _)| name.as_str()).collect();
    let shown: Vec<_> = differs
        .iter()
        .filter(|name| !differences.contains(name))
        .map(|name| (name, &own[*name], others.get(*name)))
        .collect();
    assert_eq!(differs, differences, "{shown:#?}");
}

#[test]
fn pac_resolver_gives_the_same_answers() {
    let mut node = Command::new("node");
    node.arg(clients().join("pac_resolver.cjs"));
    // It lacks `convert_addr`, and can't tell that a month is between two others.
    check(answers_of(node), &["30-convert-addr.pac", "58-date-all.pac"]);
}

#[test]
fn pacparser_gives_the_same_answers() {
    let mut python = Command::new("python3");
    python.arg(clients().join("pac_parser.py"));
    check(answers_of(python), &[]);
}

/// Returns a list of proxies as Chromium shows it. Without a list, Chromium goes direct. This program does that only if the
/// operator asks for it.
fn as_in_chromium(answer: Option<&str>) -> String {
    let entry = |entry: &str| {
        let mut words = entry.split_whitespace();
        let keyword = words.next()?.to_ascii_uppercase();
        let Some(address) = words.next() else { return (keyword == "DIRECT").then_some(keyword) };
        let (keyword, port) = match &*keyword {
            "PROXY" | "HTTP" => ("PROXY", "80"),
            "HTTPS" => ("HTTPS", "443"),
            "SOCKS" | "SOCKS4" => ("SOCKS", "1080"),
            "SOCKS5" => ("SOCKS5", "1080"),
            _ => return None,
        };
        let (host, port) = address.rsplit_once(':').unwrap_or((address, port));
        Some(format!("{keyword} {}:{port}", host.to_ascii_lowercase()))
    };
    let entries: Vec<_> = answer.unwrap_or_default().split(';').filter_map(entry).collect();
    if entries.is_empty() { "DIRECT".to_owned() } else { entries.join(";") }
}

/// The browser has to be started for each file, so only some are compared unless `MOOLTIROUTE_PAC_FILES=all` is set.
#[test]
fn chromium_gives_the_same_answers() {
    let own = own_answers();
    let is_whole = env::var_os("MOOLTIROUTE_PAC_FILES").is_some_and(|files| files == "all");
    let files: Vec<&String> =
        own.keys().filter(|name| is_whole || IN_CHROMIUM.contains(&&***name)).collect();
    assert!(files.len() >= IN_CHROMIUM.len(), "{files:?}");
    let mut python = Command::new("python3");
    python.arg(clients().join("pac_chromium.py")).arg(corpus()).args(&files);
    let Some(theirs) = read_answers(python) else { return };
    let ours = |name: &str| -> Vec<_> {
        own[name].iter().map(|answer| Some(as_in_chromium(answer.as_deref()))).collect()
    };
    let differs: Vec<&str> =
        files.into_iter().map(|name| &**name).filter(|name| theirs[*name] != ours(name)).collect();
    let shown: Vec<_> = differs.iter().map(|name| (name, &theirs[*name], ours(name))).collect();
    assert_eq!(differs, if is_whole { &DIFFERS_IN_CHROMIUM[..] } else { &[] }, "{shown:#?}");
}

/// The files for which Chromium shows another list. It writes a host such as `10` as the address `0.0.0.10`, reads a file
/// without a `charset` as Latin-1, and also calls the script for requests that it makes itself.
const DIFFERS_IN_CHROMIUM: [&str; 3] =
    ["12-regular-expressions.pac", "37-unicode.pac", "64-global-state.pac"];

/// One file for each kind of decision: by host, network, pattern, port, many types, state, an exception, nothing.
const IN_CHROMIUM: [&str; 8] = [
    "04-domain.pac",
    "09-in-net.pac",
    "19-port.pac",
    "21-many-types.pac",
    "35-throws.pac",
    "33-nothing.pac",
    "47-sh-exp-question.pac",
    "61-syntax-error.pac",
];
