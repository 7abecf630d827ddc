//! `mooltiroute ps`: lists the connections that are open now.

pub(super) mod listed;
#[cfg_attr(not(target_os = "linux"), path = "ps/no_processes.rs")]
pub(super) mod processes;

use std::{
    io::{self, Write},
    process::ExitCode,
};

use self::listed::Listed;
use super::{Verdict, running, status::table};
use crate::{cli, config::Environment};

/// Runs the command.
pub fn run(flags: &cli::Ps, environment: &Environment) -> ExitCode {
    let listed = running::find(&flags.proxy, environment)
        .and_then(|control| Listed::all(&control).map_err(|error| error.to_string()));
    running::answer(listed, flags.format, |listed, out| write(listed, out), |_| Verdict::Valid)
}

/// Writes a table, without the columns that have nothing in any row.
fn write(listed: &[Listed], out: &mut dyn Write) -> io::Result<()> {
    if listed.is_empty() {
        return writeln!(out, "no connection is open");
    }
    let rows: Vec<_> = listed.iter().map(Listed::cells).collect();
    let is_used = |index: usize| rows.iter().any(|row| !row[index].is_empty());
    let used: Vec<usize> = (0..listed::COLUMNS.len()).filter(|index| is_used(*index)).collect();
    let head: Vec<&str> = used.iter().map(|index| listed::COLUMNS[*index]).collect();
    let rows = rows.iter().map(|row| used.iter().map(|index| row[*index].clone()).collect());
    table::write_table(&head, rows.collect(), out)
}
