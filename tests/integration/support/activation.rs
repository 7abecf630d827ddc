//! A supervisor that listens in the program's place: the protocol of `sd_listen_fds(3)`.

use std::{
    os::fd::AsFd,
    process::{Command, Stdio},
};

use super::proxy::{PROGRAM, command};

/// Returns the program as a supervisor starts it that passes `socket`. A shell does that, as only it knows which process
/// it will be.
pub(crate) fn activated(socket: &impl AsFd) -> Command {
    let socket = socket.as_fd().try_clone_to_owned().unwrap();
    let script = "LISTEN_FDS=1 LISTEN_PID=$$ exec \"$0\" \"$@\" 3<&0 </dev/null";
    let mut command = command("sh");
    command.args(["-c", script, PROGRAM]).stdin(Stdio::from(socket));
    command
}
