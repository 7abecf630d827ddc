//! Client programs, and the scripts of `tests/clients` that some of them run.

use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
    process::Stdio,
};

use tokio::process::Command;

use super::process::{Program, skip};

/// Returns a command in an environment that names no proxy. The process is killed when its handle is dropped.
pub(crate) fn quiet(program: &Program) -> Command {
    let mut command = Command::new(program.path());
    for name in ["http_proxy", "https_proxy", "all_proxy", "no_proxy"] {
        command.env_remove(name).env_remove(name.to_ascii_uppercase());
    }
    command.env("NODE_PATH", node_modules());
    command.stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// Returns an interpreter if it and a library for it are installed.
pub(crate) async fn with_library(program: &str, look: &[&str], library: &str) -> Option<Program> {
    let program = Program::find_or_skip(program)?;
    let found = quiet(&program).args(look).stderr(Stdio::null()).status().await;
    if found.is_ok_and(|status| status.success()) {
        return Some(program);
    }
    skip(library);
    None
}

/// Returns the path of a file in `tests/clients`.
pub(crate) fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join("clients").join(name)
}

/// Returns the directory with the modules of Node, which `npm install` in `tests/clients` fills unless a variable names another.
fn node_modules() -> OsString {
    env::var_os("MOOLTIROUTE_NODE_MODULES").unwrap_or_else(|| script("node_modules").into())
}
