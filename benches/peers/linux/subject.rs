//! The program that is measured.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
};

use serde_json::Value;

/// Returns the program. The first call builds it as users do, except in a quick run, which uses the present build.
///
/// Cargo has also built it for the benchmark, but with features of dependencies that only the tests need. One of them changes how
/// the runtime reads its clock, which costs a twentieth of the instructions of a tunnel.
pub(super) fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| match super::is_quick() {
        true => PathBuf::from(env!("CARGO_BIN_EXE_mooltiroute")),
        false => build(),
    })
}

fn build() -> PathBuf {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--release", "--locked", "--bin", "mooltiroute"]);
    cargo.arg("--message-format=json-render-diagnostics").current_dir(env!("CARGO_MANIFEST_DIR"));
    let output = cargo.stderr(Stdio::inherit()).output().unwrap();
    assert!(output.status.success(), "the program can't be built");
    // Each line is a JSON object. Only the one for the program names an executable.
    let path = output.stdout.split(|byte| *byte == b'\n').find_map(|line| {
        let message: Value = serde_json::from_slice(line).ok()?;
        Some(PathBuf::from(message.get("executable")?.as_str()?))
    });
    path.unwrap()
}
