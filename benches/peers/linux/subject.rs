//! The program that is measured.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
};

use serde_json::Value;

/// Builds the program as its users do, at the first call, and returns it. A quick run takes what is built already.
///
/// Cargo has built it for the benchmark too, but with the features that the tests add to its dependencies. With one of
/// them the runtime reads its clock in another way, which costs a twentieth of the instructions of a tunnel.
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
    // One JSON object per line. That of the program is the only one with an executable.
    let path = output.stdout.split(|byte| *byte == b'\n').find_map(|line| {
        let message: Value = serde_json::from_slice(line).ok()?;
        Some(PathBuf::from(message.get("executable")?.as_str()?))
    });
    path.unwrap()
}
