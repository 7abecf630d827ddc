//! The words of the command line: completions, usage errors and formats.

use std::{fs, path::Path, process::Command};

#[cfg(unix)]
use super::CANARY;
use super::{command, directory, said};

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
fn a_shell_completes_the_hops_and_chains_of_the_configuration_that_is_named() {
    let directory = directory();
    let offered = |words: &[&str]| candidates(directory.path(), words);
    assert_eq!(offered(&["run", "-c", "a.yaml", "--enable", ""]), ["corporate", "exit", "spare"]);
    assert_eq!(offered(&["run", "--config=a.yaml", "--disable", "s"]), ["spare"]);
    assert_eq!(offered(&["run", "-c", "missing", "--enable", ""]), [""; 0]);
    assert_eq!(offered(&["hop", "-c", "a.yaml", "s"]), ["spare"]);
    assert_eq!(offered(&["kill", "-c", "a.yaml", "--hop", "c"]), ["corporate"]);
    assert_eq!(offered(&["kill", "-c", "a.yaml", "--chain", ""]), ["default", "fast"]);
    let levels = offered(&["run", "--log-level", ""]);
    assert_eq!(levels, ["off", "error", "warn", "info", "debug", "trace"]);
    assert!(offered(&["expl"]).contains(&"explain".to_owned()));
    assert!(offered(&["check", "-c", "a"]).contains(&"a.yaml".to_owned()));
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
