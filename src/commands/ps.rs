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
    let used: Vec<bool> = (0..listed::COLUMNS.len()).map(is_used).collect();
    let head: Vec<&str> = only(listed::COLUMNS, &used).collect();
    let rows: Vec<Vec<_>> = rows.into_iter().map(|row| only(row, &used).collect()).collect();
    table::write_table(&head, &rows, out)
}

/// Returns the cells of the columns that are used.
fn only<T>(cells: [T; listed::COLUMNS.len()], used: &[bool]) -> impl Iterator<Item = T> {
    cells.into_iter().zip(used).filter_map(|(cell, is_used)| is_used.then_some(cell))
}
