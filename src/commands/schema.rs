//! `mooltiroute schema`: the JSON Schema of a configuration's files, for editors.

use std::{io::Write as _, process::ExitCode};

use mooltiroute_hops::Registry;

use super::Verdict;
use crate::config::schema;

/// Runs the command.
pub fn run(registry: &Registry) -> ExitCode {
    let written = writeln!(super::stdout(), "{:#}", schema::schema(registry));
    super::status(written.map(|()| Verdict::Valid))
}
