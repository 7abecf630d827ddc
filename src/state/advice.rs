//! Advice on files of the state directory that can't be read or written.

use std::{
    borrow::Cow,
    io::{self, ErrorKind},
    path::Path,
};

use crate::system::own_lack::{OwnLack, RAISE_OPEN_FILES};

/// Returns what an operator can do about `error`, which a file in the state directory has caused.
pub(crate) fn state_advice(error: &io::Error) -> &'static str {
    match error.kind() {
        _ if OwnLack::of(error) == Some(OwnLack::Descriptors) => RAISE_OPEN_FILES,
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => FULL,
        _ => UNFIT_ADVICE,
    }
}

/// Returns what an operator can do about `error`, which the file at `path` in the state directory has caused.
///
/// A proxy that was started once with `sudo` leaves a file of root's, so the advice names the command that gives it back.
pub(crate) fn state_advice_at(path: &Path, error: &io::Error) -> Cow<'static, str> {
    let foreign = (error.kind() == ErrorKind::PermissionDenied).then(|| foreign_advice(path));
    foreign.flatten().map_or_else(|| state_advice(error).into(), Cow::from)
}

/// Returns the advice if the file at `path`, or its directory, belongs to another user.
#[cfg(unix)]
fn foreign_advice(path: &Path) -> Option<String> {
    use std::os::unix::fs::MetadataExt as _;

    let user = rustix::process::geteuid().as_raw();
    let directory = path.parent()?;
    let owners = [path, directory].map(|path| path.metadata().ok().map(|found| found.uid()));
    let owner = owners.into_iter().flatten().find(|owner| *owner != user)?;
    let directory = directory.display();
    Some(format!(
        "this proxy runs as the user with the id {user}, and the file belongs to {owner}: give it to this user with \
         `sudo chown -R {user} '{directory}'`, or run the proxy as its owner"
    ))
}

/// Returns nothing: on this system the directory belongs to its user alone.
#[cfg(not(unix))]
fn foreign_advice(_: &Path) -> Option<String> {
    None
}

const FULL: &str = "free space on the disk of this directory";
/// The advice to an operator whose state directory is unknown or can't be used.
#[cfg(unix)]
pub(crate) const UNFIT_ADVICE: &str = "set XDG_STATE_HOME to a directory that the user of the proxy can write, for the proxy and for the \
                     commands, and restart the proxy; in a unit of systemd write `StateDirectory=mooltiroute`";
/// The advice to an operator whose state directory is unknown or can't be used.
#[cfg(not(unix))]
pub(crate) const UNFIT_ADVICE: &str = "set XDG_STATE_HOME to a directory that the user of the proxy can write, for the proxy and for the commands, \
                     and restart the proxy";
