//! Programs that may not be installed, and processes that end with their handle.

use std::{
    env, fmt,
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::{Child, Command},
};

/// Reports on the terminal that a test is skipped, even if its output is captured. Fails if no test may be skipped.
pub(crate) fn skip(what: &str) {
    assert!(
        env::var_os("MOOLTIROUTE_PEERS").is_none_or(|peers| peers != "required"),
        "{what} is not installed, and MOOLTIROUTE_PEERS=required"
    );
    report_skip(&format!("{what} is not installed"));
}

/// Reports on the terminal that a test is skipped, and why.
pub(super) fn report_skip(reason: &str) {
    // Written at once, so that no line of another test gets in between.
    let notice = format!("skipped: {reason}\n");
    let _ = io::stderr().write_all(notice.as_bytes());
}

/// Returns whether nothing listens on the address that commands use by default, and reports a skipped test if something does.
/// Developers of this program may well run it there.
#[cfg(unix)]
pub(crate) fn is_default_address_free() -> bool {
    let is_free = std::net::TcpStream::connect("127.0.0.1:8888").is_err();
    if !is_free {
        report_skip("something listens on 127.0.0.1:8888");
    }
    is_free
}

/// A program that was found.
#[derive(Clone, Debug)]
pub(crate) struct Program(PathBuf);

impl Program {
    /// Looks in `PATH` and in the directories of daemons.
    pub(crate) fn find(name: &str) -> Option<Self> {
        let file = format!("{name}{}", env::consts::EXE_SUFFIX);
        let paths = env::var_os("PATH").unwrap_or_default();
        let folders =
            env::split_paths(&paths).chain(["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from));
        folders.map(|folder| folder.join(&file)).find(|path| path.is_file()).map(Self)
    }

    /// Looks for the program as [`find`](Self::find) does, and reports it if it is missing.
    pub(crate) fn find_or_skip(name: &str) -> Option<Self> {
        let found = Self::find(name);
        if found.is_none() {
            skip(name);
        }
        found
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

/// Starts a program by `start`, and tries once more after an internal error of the system. Wine has these now and then on a busy
/// machine.
pub(super) fn begun<T>(mut start: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    /// `ERROR_INTERNAL_ERROR` of Windows.
    const INTERNAL_ERROR: i32 = 1359;
    match start() {
        Err(error) if cfg!(windows) && error.raw_os_error() == Some(INTERNAL_ERROR) => start(),
        started => started,
    }
}

/// A child that is killed and waited for.
pub(crate) struct Process(Child);

impl Process {
    pub(crate) fn start(command: &mut Command) -> Self {
        Self(begun(|| command.spawn()).unwrap_or_else(|error| panic!("{command:?}: {error}")))
    }

    pub(crate) fn child(&mut self) -> &mut Child {
        &mut self.0
    }

    /// Returns whether the process has ended by itself.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.0.try_wait().unwrap().is_some()
    }
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Process({})", self.0.id())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
