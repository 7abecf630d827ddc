//! Child processes that end with their handle, even if the benchmark panics.

use std::{
    env, fmt,
    fs::{self, File},
    io::{BufRead as _, BufReader},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use super::role::Role;

/// A running child.
pub(super) struct Process(Child);

impl Process {
    /// Starts this program in a role and returns its address.
    pub(super) fn part(role: &Role) -> (Self, SocketAddr) {
        let mut command = role.command(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let output = child.stdout.take().unwrap();
        let process = Self(child);
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line).unwrap();
        (process, line.trim().parse().unwrap())
    }

    /// Starts `command` in `directory` and waits until it accepts at `address`. Also returns how long that took.
    pub(super) fn listening(
        mut command: Command,
        address: SocketAddr,
        directory: &Path,
    ) -> Result<(Self, Duration), String> {
        let words = directory.join("words");
        let file = File::create(&words).unwrap();
        command.current_dir(directory).stdin(Stdio::piped());
        command.stdout(file.try_clone().unwrap()).stderr(file);
        let begun = Instant::now();
        let mut process = Self(command.spawn().map_err(|error| error.to_string())?);
        loop {
            if TcpStream::connect(address).is_ok() {
                return Ok((process, begun.elapsed()));
            }
            if process.0.try_wait().unwrap().is_some() || begun.elapsed() > START_MAX {
                let words = fs::read_to_string(words).unwrap_or_default();
                return Err(format!("does not listen: {}", words.trim()));
            }
            thread::sleep(POLL);
        }
    }

    pub(super) fn id(&self) -> u32 {
        self.0.id()
    }
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Process({})", self.id())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Looks for a program in `PATH` and in the directories of daemons.
pub(super) fn find(name: &str) -> Option<PathBuf> {
    let paths = env::var_os("PATH").unwrap_or_default();
    let folders =
        env::split_paths(&paths).chain(["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from));
    folders.map(|folder| folder.join(name)).find(|path| path.is_file())
}

/// Returns an address that was free a moment ago.
pub(super) fn free_address() -> SocketAddr {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap()
}

const START_MAX: Duration = Duration::from_secs(10);
/// A listening socket can only be polled.
const POLL: Duration = Duration::from_micros(100);
