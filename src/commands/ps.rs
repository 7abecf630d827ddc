//! `mooltiroute ps`: lists the connections that are open now.

mod lines;
pub(super) mod listed;
#[cfg_attr(not(target_os = "linux"), path = "ps/no_processes.rs")]
pub(super) mod processes;

use std::process::ExitCode;

use self::{lines::Lines, listed::Listed};
use super::{Verdict, complain, running, stdout};
use crate::{
    cli::{self, Format},
    config::Environment,
};

/// Runs the command.
pub fn run(flags: &cli::Ps, environment: &Environment) -> ExitCode {
    let control = running::find(&flags.proxy, environment);
    match flags.format {
        Format::Json => {
            let all = |control| Listed::all(&control).map_err(|error| error.to_string());
            let listed = control.and_then(all);
            running::answer(listed, Format::Json, |_, _| Ok(()), |_| Verdict::Valid)
        }
        Format::Human => {
            let all = |control| Lines::all(&control).map_err(|error| error.to_string());
            match control.and_then(all) {
                Ok(lines) => super::status(lines.write(&mut stdout()).map(|()| Verdict::Valid)),
                Err(why) => complain(&why),
            }
        }
    }
}
