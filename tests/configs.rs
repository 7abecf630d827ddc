//! Every configuration in `configs/valid` and `configs/invalid`, beside what `check` says of it.
//!
//! `MOOLTIROUTE_EXPECT=write` writes the answers again; then read each of them: could someone who has never seen this
//! program mend the file at once?

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up must stop")]

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use mooltiroute::{
    cli::Format,
    commands::{Verdict, check::check},
    config::{Environment, Loader, Overrides, Source},
};
use mooltiroute_hops::kinds;

#[test]
fn every_valid_configuration_says_what_it_means() {
    compare("valid", Verdict::Valid, 105);
}

#[test]
fn every_invalid_configuration_says_what_is_wrong() {
    compare("invalid", Verdict::Invalid, 387);
}

fn compare(folder: &str, verdict: Verdict, count: usize) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/configs").join(folder);
    let entries = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    let is_config = |path: &PathBuf| {
        path.extension().is_none_or(|extension| extension != "out" && extension != "secret")
    };
    let mut paths: Vec<PathBuf> = entries.filter(is_config).collect();
    paths.sort();
    let mut wrong = Vec::new();
    for path in &paths {
        let (found, said) = answer(&folder, path);
        let beside = path.with_extension("out");
        if env::var_os("MOOLTIROUTE_EXPECT").is_some_and(|what| what == "write") {
            fs::write(&beside, &said).unwrap();
        }
        let expected = fs::read_to_string(&beside).unwrap_or_default().replace("\r\n", "\n");
        let expected = if cfg!(windows) { without_export(&expected) } else { expected };
        if found != verdict || said != expected {
            wrong.push(format!("{}: {found:?}\n{said}--- expected\n{expected}", path.display()));
        }
        assert!(!said.contains(CANARY), "{} shows a secret:\n{said}", path.display());
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(paths.len(), count);
}

fn answer(folder: &Path, path: &Path) -> (Verdict, String) {
    let environment = Environment::new(
        |name| match name {
            "USERNAME" => Some("joe".into()),
            "PASSWORD" => Some(CANARY.into()),
            "LINES" => Some("two\nlines".into()),
            "PORT" => Some("3128".into()),
            "EMPTY" => Some("".into()),
            "QUOTED" => Some("\"joe\"".into()),
            "ENCODED" => Some(format!("{CANARY}%40%3a").into()),
            "PAIR" => Some(format!("joe:{CANARY}").into()),
            "VAULT" => Some(format!("$ANSIBLE_VAULT;1.1;AES256\n{CANARY}\n").into()),
            "RETURN" => Some(format!("{CANARY}\r").into()),
            _ => None,
        },
        folder,
    );
    let source = Source::Path(path.to_owned());
    let loader = Loader::new(source, Overrides::default(), kinds::builtin(), environment);
    let mut out = Vec::new();
    let verdict = check(&loader, Format::Human, &mut out).unwrap();
    let said = String::from_utf8(out).unwrap();
    let prefix = format!("{}{}", folder.display(), std::path::MAIN_SEPARATOR);
    let mut plain = said.replace(&prefix, "").replace('\\', "/");
    for colour in ["\x1b[1m", "\x1b[31m", "\x1b[36m", "\x1b[0m"] {
        plain = plain.replace(colour, "");
    }
    (verdict, without_interfaces(plain))
}

/// Leaves out the advice to export variables, which Windows has no need of.
fn without_export(text: &str) -> String {
    let lines = text.split_inclusive('\n');
    lines
        .map(|line| match line.find("; in a shell, write `export ") {
            Some(start) => format!("{}\n", &line[..start]),
            None => line.to_owned(),
        })
        .collect()
}

/// Leaves out the names of this machine's interfaces.
fn without_interfaces(mut text: String) -> String {
    const BEFORE: &str = "(up are `";
    let mut from = 0;
    while let Some(start) = text[from..].find(BEFORE).map(|at| from + at + BEFORE.len() - 1) {
        let end = text[start..].find(')').map_or(text.len(), |end| start + end);
        text.replace_range(start..end, "…");
        from = start;
    }
    text
}

/// Stands wherever a secret can; nothing that is said may hold it.
const CANARY: &str = "hunter2";
