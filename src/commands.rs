//! The commands, a file each.

pub mod run;

use std::{
    fmt,
    io::{self, Write as _},
    process::ExitCode,
};

/// Says on standard error why a command can't do what it should, and fails it.
fn complain(why: &dyn fmt::Display) -> ExitCode {
    // With standard error closed there is nobody to tell.
    let _ = writeln!(io::stderr(), "mooltiroute: {why}");
    ExitCode::FAILURE
}
