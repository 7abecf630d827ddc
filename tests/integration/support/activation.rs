//! A supervisor that passes a listening socket to the program, by the protocol of `sd_listen_fds(3)`.

use std::{
    os::fd::AsFd,
    process::{Command, Stdio},
};

use super::proxy::{PROGRAM, command};

/// Returns a command that passes `socket` to the program. It is a shell, which knows the number of the process before it becomes
/// the program.
pub(crate) fn activated(socket: &impl AsFd) -> Command {
    let socket = socket.as_fd().try_clone_to_owned().unwrap();
    let script = "LISTEN_FDS=1 LISTEN_PID=$$ exec \"$0\" \"$@\" 3<&0 </dev/null";
    let mut command = command("sh");
    command.args(["-c", script, PROGRAM]).stdin(Stdio::from(socket));
    command
}
