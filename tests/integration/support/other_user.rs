//! A proxy that runs as another user.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
    process::Stdio,
};

use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader, Lines},
    process::{Child, ChildStderr, Command},
};

use super::{Program, in_runtime, skip};

/// A user without other processes, not even those of another test. Limits of processes and permissions of files do not bind
/// root, so the program runs as this one.
pub(crate) struct OtherUser {
    number: u32,
    setpriv: Program,
    pub(crate) directory: TempDir,
    pub(crate) config: PathBuf,
}

impl OtherUser {
    pub(crate) fn find(number: u32) -> Option<Self> {
        let setpriv = Program::find_or_skip("setpriv")?;
        Program::find_or_skip("prlimit")?;
        if !rustix::process::geteuid().is_root() {
            skip("root, to become a user without other processes,");
            return None;
        }
        let directory = tempfile::tempdir().unwrap();
        fs::set_permissions(&directory, Permissions::from_mode(0o755)).unwrap();
        fs::copy(env!("CARGO_BIN_EXE_mooltiroute"), directory.path().join("program")).unwrap();
        let config = directory.path().join("config.yaml");
        fs::write(&config, "server: { listen: \"127.0.0.1:0\" }\nchains: { default: [] }\n")
            .unwrap();
        Some(Self { number, setpriv, directory, config })
    }

    /// Returns a command that runs `program` as this user.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.setpriv.path());
        let [user, group] = ["--reuid", "--regid"].map(|flag| format!("{flag}={}", self.number));
        command.args([&user, &group, "--clear-groups", program]);
        command
    }

    /// Starts the proxy by the command `before`, and returns the lines of its log.
    pub(crate) fn start(&self, before: &[&str]) -> (Child, Lines<BufReader<ChildStderr>>) {
        let program = self.directory.path().join("program");
        let program = program.to_str().unwrap();
        let all = before.iter().copied().chain([program]).collect::<Vec<_>>();
        let mut command = self.command(all[0]);
        command.args(&all[1..]).arg("-c").arg(&self.config);
        command.env_remove("RUST_LOG").stderr(Stdio::piped()).kill_on_drop(true);
        in_runtime(command.as_std_mut(), self.directory.path());
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        (child, lines)
    }
}
