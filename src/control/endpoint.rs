//! Unix sockets in a directory that only their owner can enter.
//!
//! Three checks guard a socket, each enough by itself: the directory has mode 0700, the socket has mode 0600, and the
//! kernel names the user of each peer, which must be our own. A directory that belongs to another user, or that others
//! may enter, is never used: in a shared place such as `/tmp` another user could have made it first. Commands check the
//! owner of the socket before they send anything.

use std::{
    fs::{self, DirBuilder, File},
    io,
    os::{
        fd::OwnedFd,
        unix::{
            fs::{DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, PermissionsExt as _},
            net::UnixStream as BlockingStream,
        },
    },
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::process::geteuid;
use socket2::{Domain, SockAddr, Socket, Type};
use thiserror::Error;
use tokio::net::{UnixListener, UnixStream};

use crate::{config::Environment, system::file_lock};

/// The advice to an operator whose proxy can't make its socket.
pub(crate) const NO_SOCKET_ADVICE: &str = "set XDG_RUNTIME_DIR to a directory that the user of the proxy can write, for the proxy and for these commands, and \
     restart the proxy; in a unit of systemd write `RuntimeDirectory=mooltiroute`, `RuntimeDirectoryMode=0700` and \
     `Environment=XDG_RUNTIME_DIR=/run/mooltiroute`";

/// A connection of a client that runs as the same user.
pub(crate) type AcceptedCaller = UnixStream;
/// A connection of a command to a proxy, which blocks.
pub(crate) type Connection = BlockingStream;

/// A socket that waits for clients. Its file is removed when it is dropped.
#[derive(Debug)]
pub(crate) struct Endpoint {
    listener: UnixListener,
    path: PathBuf,
    /// The device and the number of the file, to recognise it.
    file: (u64, u64),
}

/// The place of a socket's file.
#[derive(Clone, Debug)]
pub(crate) struct SocketPlace {
    path: PathBuf,
    file: (u64, u64),
}

impl SocketPlace {
    /// Returns whether the file is still there. May block.
    pub(crate) fn is_taken(&self) -> bool {
        let found = self.path.symlink_metadata();
        found.is_ok_and(|found| (found.dev(), found.ino()) == self.file)
    }
}

/// The reason why there is no control socket.
#[derive(Debug, Error)]
pub(crate) enum NoEndpoint {
    /// There is no directory to try.
    #[error("there is neither XDG_RUNTIME_DIR nor a temporary directory for it")]
    NoDirectory,
    /// A directory can't be used.
    #[error("{}: {reason}", directory.display())]
    Directory {
        /// The directory.
        directory: PathBuf,
        /// The reason.
        reason: UnsafeDirectory,
    },
    /// The path of the socket is longer than the system allows.
    #[error("{}: the path is too long for a socket; set XDG_RUNTIME_DIR to a shorter one", .0.display())]
    TooLong(PathBuf),
    /// The socket can't be made.
    #[error("{}: {cause}", path.display())]
    Bind {
        /// The socket.
        path: PathBuf,
        /// The system's error.
        #[source]
        cause: io::Error,
    },
}

/// The reason why a directory can't hold a control socket.
#[derive(Debug, Error)]
pub(crate) enum UnsafeDirectory {
    /// It can't be made or looked at.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// A link could lead to a directory of another user.
    #[error("it is not a directory, or only a link to one; remove it")]
    NotADirectory,
    /// Its owner could replace the socket.
    #[error("it belongs to another user (uid {0})")]
    Foreign(u32),
    /// Others could reach the socket.
    #[error("other users may enter it (mode {0:o}); run `chmod 700` on it")]
    Open(u32),
}

/// Returns the directories that a control socket may be in, the best first. The proxy takes the first that it can use;
/// commands look in all of them, since they may run in another environment than the proxy.
pub(crate) fn directories(environment: &Environment) -> Vec<PathBuf> {
    let uid = geteuid().as_raw();
    let of_session = environment.absolute_path("XDG_RUNTIME_DIR");
    // The path that systemd uses, for commands whose environment lacks the variable, as under cron.
    let usual = cfg!(target_os = "linux").then(|| PathBuf::from(format!("/run/user/{uid}")));
    let usual = usual.filter(|path| path.is_dir() && of_session.as_ref() != Some(path));
    // In a shared directory the name has the number of the user, since each user needs a directory of their own.
    let shared = environment.absolute_path("TMPDIR").unwrap_or_else(|| "/tmp".into());
    let mut directories: Vec<_> =
        of_session.into_iter().chain(usual).map(|path| path.join("mooltiroute")).collect();
    directories.push(shared.join(format!("mooltiroute-{uid}")));
    directories
}

/// Returns the sockets in `directories`, dead ones included.
pub(crate) fn sockets(directories: &[PathBuf]) -> Vec<PathBuf> {
    let mut sockets: Vec<_> = directories
        .iter()
        .filter(|directory| check(directory).is_ok())
        .flat_map(|directory| sockets_in(directory))
        .collect();
    sockets.sort();
    sockets
}

/// Returns the path of the socket called `name` in `directory`.
pub(crate) fn path_of(directory: &Path, name: &str) -> PathBuf {
    directory.join(format!("{name}.sock"))
}

/// Connects to the proxy at `path`, which must run as the same user. Each read and write waits for `patience`.
///
/// # Errors
/// The system's error, or [`io::ErrorKind::PermissionDenied`] if another user listens there.
pub(crate) fn connect(path: &Path, patience: Duration) -> io::Result<Connection> {
    // Before the connection: a socket that another user made could collect what commands send.
    let uid = fs::metadata(path)?.uid();
    if uid != geteuid().as_raw() {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            "the socket belongs to another user",
        ));
    }
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // Before the connection: if the queue of a proxy that hangs is full, the connection waits as well.
    socket.set_read_timeout(Some(patience))?;
    socket.set_write_timeout(Some(patience))?;
    socket.connect(&SockAddr::unix(path)?)?;
    Ok(OwnedFd::from(socket).into())
}

/// Returns the process that listens at the other end of `stream`, if the system tells.
pub(crate) fn process_behind(stream: &Connection) -> Option<u32> {
    #[cfg(target_os = "linux")]
    {
        use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};

        let peer = getsockopt(stream, PeerCredentials).ok()?;
        // One that is in another namespace of processes has the number 0.
        u32::try_from(peer.pid()).ok().filter(|pid| *pid > 0)
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = stream;
        None
    }
}

impl Endpoint {
    /// Makes a socket called `name` in the first of `directories` that can be used.
    ///
    /// # Errors
    /// The reason of the last directory.
    pub(crate) fn bind(directories: &[PathBuf], name: &str) -> Result<Self, NoEndpoint> {
        // A directory that can't be trusted is no reason to go without a socket if the next one can.
        let mut failed = NoEndpoint::NoDirectory;
        for directory in directories {
            match Self::bind_in(directory, name) {
                Ok(endpoint) => return Ok(endpoint),
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }

    fn bind_in(directory: &Path, name: &str) -> Result<Self, NoEndpoint> {
        let unusable = |reason| NoEndpoint::Directory { directory: directory.to_owned(), reason };
        let lock = prepare(directory).and_then(|()| lock(directory).map_err(Into::into));
        // Two proxies that start at once must not take each other's new socket for a dead one.
        let _lock = lock.map_err(unusable)?;
        remove_dead_sockets(directory);
        let mut path = path_of(directory, name);
        // Dead sockets are gone, so another proxy has this name: two may listen on one address, if a supervisor
        // has passed the same socket to both. The number of the process makes the name unique.
        if path.symlink_metadata().is_ok() {
            path = directory.join(format!("{name}-{}.sock", std::process::id()));
        }
        let listener = UnixListener::bind(&path).map_err(|cause| match cause.kind() {
            io::ErrorKind::InvalidInput => NoEndpoint::TooLong(path.clone()),
            _ => NoEndpoint::Bind { path: path.clone(), cause },
        })?;
        // Until the mode is set, the directory alone keeps others out. The number of the file is noted to
        // recognise it at the end.
        let secured = fs::set_permissions(&path, fs::Permissions::from_mode(0o600))
            .and_then(|()| path.symlink_metadata());
        match secured {
            Ok(found) => Ok(Self { listener, file: (found.dev(), found.ino()), path }),
            Err(cause) => {
                let _ = fs::remove_file(&path);
                Err(NoEndpoint::Bind { path, cause })
            }
        }
    }

    /// Returns the path of the socket.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the place of the socket's file, where clients look for it.
    pub(crate) fn place(&self) -> SocketPlace {
        SocketPlace { path: self.path.clone(), file: self.file }
    }

    /// Accepts the next client. Returns `None` for one that runs as another user.
    ///
    /// # Errors
    /// The system's error.
    pub(crate) async fn accept(&mut self) -> io::Result<Option<AcceptedCaller>> {
        let (stream, _) = self.listener.accept().await?;
        // The kernel tells the user of the peer, which no peer can forge.
        let is_ours = stream.peer_cred()?.uid() == geteuid().as_raw();
        Ok(is_ours.then_some(stream))
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        // A proxy that was started later may have put its own socket there.
        if self.place().is_taken() {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Makes `directory` if it is missing, with mode 0700, and checks that only its owner can enter it.
fn prepare(directory: &Path) -> Result<(), UnsafeDirectory> {
    match DirBuilder::new().mode(0o700).create(directory) {
        // The parent is missing, as `XDG_RUNTIME_DIR` may be in a container. All that is made is closed to others.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        }
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error.into()),
        _ => {}
    }
    check(directory)
}

/// Checks that `directory` is ours alone.
fn check(directory: &Path) -> Result<(), UnsafeDirectory> {
    // Not through links: the owner of a link can change what it leads to.
    let found = directory.symlink_metadata()?;
    if !found.is_dir() {
        return Err(UnsafeDirectory::NotADirectory);
    }
    if found.uid() != geteuid().as_raw() {
        return Err(UnsafeDirectory::Foreign(found.uid()));
    }
    match found.mode() & 0o777 {
        mode if mode & 0o077 != 0 => Err(UnsafeDirectory::Open(mode)),
        _ => Ok(()),
    }
}

/// Locks `directory` until the file is dropped. Waits up to a second for another process.
fn lock(directory: &Path) -> io::Result<File> {
    file_lock::lock(file_lock::open(&directory.join("lock"))?)
}

/// Makes the file called `name`, or opens it, in the first of the [`directories`] that only this user can enter. Returns `None` if
/// there is no such directory.
///
/// It is with the sockets and not with the state: these directories are always the user's own, also under `sudo` with the home of
/// another user, in whose place nothing must be left that only root can write.
pub(crate) fn private_file(environment: &Environment, name: &str) -> Option<File> {
    let open = |directory: &PathBuf| {
        prepare(directory).ok()?;
        file_lock::open(&directory.join(name)).ok()
    };
    directories(environment).iter().find_map(open)
}

/// Removes the sockets of proxies that were killed.
fn remove_dead_sockets(directory: &Path) {
    for path in sockets_in(directory) {
        // A socket is dead if it refuses connections, which means that no process listens on it. Any other error is
        // left alone.
        if knock(&path).is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused) {
            let _ = fs::remove_file(path);
        }
    }
}

/// Tries to connect to a socket. Does not wait for a proxy that hangs, and whose queue is full.
fn knock(path: &Path) -> io::Result<()> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.connect(&SockAddr::unix(path)?)
}

fn sockets_in(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let is_socket = |path: &PathBuf| {
        path.extension().is_some_and(|extension| extension == "sock")
            && path.symlink_metadata().is_ok_and(|found| found.file_type().is_socket())
    };
    entries.flatten().map(|entry| entry.path()).filter(is_socket).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_that_hangs_is_neither_waited_for_nor_taken_for_dead() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let hung = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        hung.bind(&SockAddr::unix(path("hung.sock")).unwrap()).unwrap();
        hung.listen(1).unwrap();
        // Nobody accepts, so the queue is soon full.
        let mut queue = Vec::new();
        let full = loop {
            let socket = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
            socket.set_nonblocking(true).unwrap();
            match socket.connect(&SockAddr::unix(path("hung.sock")).unwrap()) {
                Ok(()) => queue.push(socket),
                Err(error) => break error,
            }
        };
        drop(std::os::unix::net::UnixListener::bind(path("dead.sock")).unwrap());
        remove_dead_sockets(directory.path());
        assert!(!path("dead.sock").exists());
        // Some systems refuse when the queue is full, and so a proxy that hangs looks dead there.
        if full.kind() == io::ErrorKind::WouldBlock {
            assert!(path("hung.sock").exists());
        }
    }
}
