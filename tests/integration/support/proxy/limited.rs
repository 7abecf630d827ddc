//! The program under a limit of the system: few open files, a full disk, a mount, or few watches.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use super::{PROGRAM, Proxy, command};
use crate::support::{ConfigDir, Program, skip};

impl Proxy {
    /// As [`on`](Self::on), with at most `descriptors` open files. Returns `None` if the program that limits them is missing.
    pub(crate) async fn limited(config: ConfigDir, descriptors: u64) -> Option<Self> {
        let prlimit = Program::find_or_skip("prlimit")?;
        let mut command = command(prlimit.path());
        command.arg(format!("--nofile={descriptors}:{descriptors}")).arg(PROGRAM);
        Some(Self::run(config, None, &[], command).await)
    }

    /// As [`on`](Self::on), with a state directory on a full file system, in which removing the file `fill` makes room. Returns
    /// `None` if this user may not mount anything.
    pub(crate) async fn on_full_disk(config: ConfigDir) -> Option<Self> {
        let state = config.path().join(".state");
        std::fs::create_dir(&state).unwrap();
        let namespace = Namespaced {
            options: &["--mount"],
            variables: &[("XDG_STATE_HOME", &state)],
            setup: "mount -t tmpfs -o size=16k none \"$XDG_STATE_HOME\"",
        };
        let fill = "cat /dev/zero >\"$XDG_STATE_HOME/fill\" 2>/dev/null;";
        let command = namespace.command_or_skip(fill, "mounting a file system")?;
        Some(Self::run(config, None, &[], command).await)
    }

    /// Runs the program on the configuration at `root`, with the directory `lower` mounted at `volume`. Returns `None` if this user
    /// may not mount anything.
    pub(crate) async fn on_mount(lower: &Path, volume: &Path, root: &Path) -> Option<Self> {
        let namespace = Namespaced {
            options: &["--mount"],
            variables: &[("LOWER", lower), ("VOLUME", volume)],
            setup: "mount --bind \"$LOWER\" \"$VOLUME\"",
        };
        let command = namespace.command_or_skip("", "mounting a file system")?;
        Some(Self::run(ConfigDir::new(""), Some(root), &[], command).await)
    }

    /// As [`on`](Self::on), with a limit of the system by which no file may have even one byte. The log goes through a pipe.
    pub(crate) async fn without_file_size(config: ConfigDir) -> Self {
        let mut command = command("sh");
        command.args(["-c", "ulimit -c 0; ulimit -f 0; exec \"$0\" \"$@\"", PROGRAM]);
        Self::run(config, None, &[], command).await
    }

    /// As [`on`](Self::on), on a system that allows it to watch only one directory. Returns `None` if this user may not set such
    /// a limit.
    pub(crate) async fn with_one_watch(config: ConfigDir) -> Option<Self> {
        let namespace = Namespaced {
            options: &["--user", "--map-root-user"],
            variables: &[],
            setup: "echo 1 >/proc/sys/user/max_inotify_watches",
        };
        let command = namespace.command_or_skip("", "a limit of watches")?;
        Some(Self::run(config, None, &[], command).await)
    }

    /// Returns its state directory, as it is mounted for the program.
    pub(crate) fn state(&mut self) -> PathBuf {
        let root = format!("/proc/{}/root", self.pid());
        let state = self.config.path().join(".state");
        Path::new(&root).join(state.strip_prefix("/").unwrap())
    }
}

/// Namespaces of its own for the program, and the preparation in them.
struct Namespaced<'a> {
    /// The options of `unshare`.
    options: &'a [&'a str],
    variables: &'a [(&'a str, &'a Path)],
    /// A shell command, which fails if this user may not do what it does.
    setup: &'a str,
}

impl Namespaced<'_> {
    /// Returns a command that prepares the namespaces, runs `more` in a shell and then becomes the program. Tries the preparation
    /// first, and reports that `what` is missing if it fails.
    fn command_or_skip(&self, more: &str, what: &str) -> Option<Command> {
        let tried = self.shell(self.setup).stderr(Stdio::null()).status();
        if !tried.is_ok_and(|status| status.success()) {
            skip(what);
            return None;
        }
        Some(self.shell(&format!("{} && {more} exec \"$0\" \"$@\"", self.setup)))
    }

    fn shell(&self, script: &str) -> Command {
        let mut command = command("unshare");
        command.args(self.options).args(["sh", "-c", script, PROGRAM]);
        command.envs(self.variables.iter().copied());
        command
    }
}
