//! Advice on files of the state directory that can't be read or written.

use std::io::{self, ErrorKind};

use mooltiroute_hops::NO_DESCRIPTOR;

/// Returns what an operator can do about `error`, which a file in the state directory has caused.
pub(crate) fn state_advice(error: &io::Error) -> &'static str {
    match error.kind() {
        _ if error.raw_os_error().is_some_and(|code| NO_DESCRIPTOR.contains(&code)) => DESCRIPTORS,
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => FULL,
        _ => UNFIT_ADVICE,
    }
}

const DESCRIPTORS: &str =
    "raise the limit of open files of this process (`ulimit -n`, or `LimitNOFILE=` for systemd)";
const FULL: &str = "free space on the disk of this directory";
/// The advice to an operator whose state directory is unknown or can't be used.
#[cfg(unix)]
pub(crate) const UNFIT_ADVICE: &str = "set XDG_STATE_HOME to a directory that the user of the proxy can write, for the proxy and for the \
                     commands, and restart the proxy; in a unit of systemd write `StateDirectory=mooltiroute`";
/// The advice to an operator whose state directory is unknown or can't be used.
#[cfg(not(unix))]
pub(crate) const UNFIT_ADVICE: &str = "set XDG_STATE_HOME to a directory that the user of the proxy can write, for the proxy and for the commands, \
                     and restart the proxy";
