//! Abilities of Windows that Wine lacks. Under Wine, a test that needs one tries again or is skipped. It runs on Windows itself.

use std::{
    fs,
    io::{ErrorKind, Read as _},
    net,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use super::{process::report_skip, wait::DEADLINE};

/// Returns whether commands find every proxy that runs, and reports a skip if not. Wine can't list named pipes, so commands
/// find only a proxy that they name by its first address.
pub(crate) fn finds_proxies_or_skip() -> bool {
    or_skip(finds_proxies(), "this system can't list named pipes")
}

pub(super) fn finds_proxies() -> bool {
    !cfg!(windows) || fs::read_dir(r"\\.\pipe\").is_ok_and(|mut pipes| pipes.next().is_some())
}

/// Returns whether a program can reset its connections, and reports a skip if not.
pub(crate) fn resets_or_skip() -> bool {
    or_skip(resets(), "this system ends connections instead of resetting them")
}

/// Returns whether a program can reset its connections. Wine ends both directions of a socket before it closes it.
pub(crate) fn resets() -> bool {
    if !cfg!(windows) {
        return true;
    }
    let listener = net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut client = net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (socket, _) = listener.accept().unwrap();
    socket2::SockRef::from(&socket).set_linger(Some(Duration::ZERO)).unwrap();
    drop(socket);
    client.read(&mut [0]).is_err()
}

/// Renames `old` to `new`, which a proxy may be reading. Wine refuses that until the file is closed, so this tries again.
#[track_caller]
pub(crate) fn rename(old: impl AsRef<Path>, new: impl AsRef<Path>) {
    let deadline = Instant::now() + DEADLINE;
    while let Err(error) = fs::rename(&old, &new) {
        let is_open = cfg!(windows) && error.kind() == ErrorKind::PermissionDenied;
        assert!(is_open && Instant::now() < deadline, "{}: {error}", new.as_ref().display());
        thread::sleep(Duration::from_millis(1));
    }
}

/// Removes `file`, and writes it again with `text`. If a proxy is reading the old file, Wine removes it later, by a name that the
/// new file has by then. So this writes the file until it stays.
pub(crate) fn remove_and_write(file: &Path, text: &str) {
    fs::remove_file(file).unwrap();
    loop {
        fs::write(file, text).unwrap();
        if !cfg!(windows) {
            return;
        }
        thread::sleep(Duration::from_secs(1));
        if file.exists() {
            return;
        }
    }
}

/// Returns `is_there`, and reports a skip for the reason `why` if that is false.
fn or_skip(is_there: bool, why: &str) -> bool {
    if !is_there {
        report_skip(why);
    }
    is_there
}
