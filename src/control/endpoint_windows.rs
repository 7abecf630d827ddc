//! Named pipes of Windows.
//!
//! A pipe gets the default permissions of its creator: full access for the creator's account, for administrators and for
//! the system. Others may open it for reading at most, and a client that can't write can't ask for anything. Clients of
//! other machines are rejected. The first instance must be new, so no other program can wait there under our name.

use std::{
    fs::{self, File, OpenOptions},
    io,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use thiserror::Error;
use tokio::net::windows::named_pipe::{NamedPipeServer, ServerOptions};

use crate::{config::Environment, system::file_lock};

/// The advice to an operator whose proxy can't make its pipe.
pub(crate) const NO_SOCKET_ADVICE: &str =
    "restart the proxy; if the pipe can't be made again, another program may have one of this name";

/// A connection of a client.
pub(crate) type AcceptedCaller = NamedPipeServer;
/// A connection of a command to a proxy, which blocks.
pub(crate) type Connection = File;

/// A pipe that waits for clients.
#[derive(Debug)]
pub(crate) struct Endpoint {
    path: PathBuf,
    /// The instance that the next client gets.
    next: NamedPipeServer,
}

/// The place of a pipe.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SocketPlace;

impl SocketPlace {
    /// Returns whether the pipe is still there. A pipe stays for as long as its process.
    pub(crate) fn is_taken(self) -> bool {
        true
    }
}

/// The reason why there is no control pipe.
#[derive(Debug, Error)]
#[error("{}: {cause}", path.display())]
pub(crate) struct NoEndpoint {
    path: PathBuf,
    #[source]
    cause: io::Error,
}

/// Returns the beginning of the paths of this user's pipes.
pub(crate) fn directories(environment: &Environment) -> Vec<PathBuf> {
    let user = environment.variable("USERNAME").unwrap_or_default();
    // The name of the user tells the pipes of several users apart. It protects nothing; the permissions do.
    let is_plain = |character: &char| character.is_alphanumeric() || "._-".contains(*character);
    let user: String = user.to_string_lossy().chars().filter(is_plain).collect();
    vec![PathBuf::from(format!("{PIPES}mooltiroute-{user}-"))]
}

/// Returns the pipes whose path begins like one of `directories`.
pub(crate) fn sockets(directories: &[PathBuf]) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(PIPES) else { return Vec::new() };
    let is_ours = |path: &PathBuf| {
        let path = path.to_string_lossy();
        directories.iter().any(|begin| path.starts_with(&*begin.to_string_lossy()))
    };
    let mut pipes: Vec<_> = entries.flatten().map(|entry| entry.path()).filter(is_ours).collect();
    pipes.sort();
    pipes
}

/// Returns the path of the pipe called `name`, behind one of the beginnings of [`directories`].
pub(crate) fn path_of(begin: &Path, name: &str) -> PathBuf {
    PathBuf::from(format!("{}{name}", begin.display()))
}

/// Makes the file called `name`, or opens it, with the state of this user. Returns `None` if there is no place for it.
pub(crate) fn private_file(environment: &Environment, name: &str) -> Option<File> {
    let directory = environment.state_directory()?;
    fs::create_dir_all(&directory).ok()?;
    file_lock::open(&directory.join(name)).ok()
}

/// Connects to the proxy at `path`. Once open, a pipe that is used as a file has no timeouts.
///
/// No instance waits for a moment after another client has come, so a busy pipe is tried again until `patience` ends.
///
/// # Errors
/// The system's error.
pub(crate) fn connect(path: &Path, patience: Duration) -> io::Result<Connection> {
    let begin = Instant::now();
    loop {
        match OpenOptions::new().read(true).write(true).open(path) {
            Err(error)
                if error.raw_os_error() == Some(ERROR_PIPE_BUSY) && begin.elapsed() < patience =>
            {
                thread::sleep(Duration::from_millis(5));
            }
            other => return other,
        }
    }
}

/// Returns the process at the other end. This system does not tell.
pub(crate) fn process_behind(_: &Connection) -> Option<u32> {
    None
}

impl Endpoint {
    /// Makes a pipe called `name`, or, if that is taken, one with the number of this process added.
    ///
    /// # Errors
    /// The system's error.
    pub(crate) fn bind(directories: &[PathBuf], name: &str) -> Result<Self, NoEndpoint> {
        let begin = directories.first().map_or(Path::new(""), PathBuf::as_path);
        Self::create(path_of(begin, name))
            .or_else(|_| Self::create(path_of(begin, &format!("{name}-{}", std::process::id()))))
    }

    fn create(path: PathBuf) -> Result<Self, NoEndpoint> {
        match ServerOptions::new().first_pipe_instance(true).create(&path) {
            Ok(next) => Ok(Self { path, next }),
            Err(cause) => Err(NoEndpoint { path, cause }),
        }
    }

    /// Returns the place of the pipe.
    pub(crate) fn place(&self) -> SocketPlace {
        SocketPlace
    }

    /// Returns the path of the pipe.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Accepts the next client.
    ///
    /// # Errors
    /// The system's error.
    pub(crate) async fn accept(&mut self) -> io::Result<Option<AcceptedCaller>> {
        self.next.connect().await?;
        // The next instance is made before this client is served. Without one that waits, further clients can't
        // connect.
        let next = ServerOptions::new().create(&self.path)?;
        Ok(Some(std::mem::replace(&mut self.next, next)))
    }
}

const PIPES: &str = r"\\.\pipe\";
/// The system's number for "all pipe instances are busy".
const ERROR_PIPE_BUSY: i32 = 231;
