//! The answers of other engines to the same scripts and URLs: npm's `pac-resolver` and PyPI's `pacparser`.
#![expect(clippy::unwrap_used, reason = "a test that can't go on must stop")]

use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use mooltiroute_pac::{Engine, NoNames, Outcome, Query};

/// Answers by script, for each URL in turn. `None` if there is no text.
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

/// Returns the answers of another engine, or `None` if it is not installed.
fn answers_of(mut command: Command) -> Option<Answers> {
    let output = command.arg(corpus()).env("NODE_PATH", clients().join("node_modules")).output();
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
    // It lacks `convert_addr`, and finds no month between two others.
    check(answers_of(node), &["30-convert-addr.pac", "58-date-all.pac"]);
}

#[test]
fn pacparser_gives_the_same_answers() {
    let mut python = Command::new("python3");
    python.arg(clients().join("pac_parser.py"));
    check(answers_of(python), &[]);
}
