//! The table that `ps` prints.
//!
//! With ten thousand connections, the command waits longest for the kernel, which is asked for the processes of clients. So
//! everything else of the table is made meanwhile.

use std::{
    collections::HashMap,
    io::{self, Write},
    rc::Rc,
};

use super::listed::{age, ask, bytes_per_second, hops, rate, target};
use crate::{
    commands::status::{cells::Cells, table},
    control::{
        api::ListedConnection,
        client::{Control, NoAnswer},
    },
};

/// A line for each connection.
#[derive(Debug)]
pub(super) struct Lines {
    /// The cells. Those of [`PROCESS`] are empty.
    cells: Cells<{ COLUMNS.len() }>,
    /// The process of each client, empty if it is not known.
    processes: Vec<Rc<str>>,
}

impl Lines {
    /// Asks the proxy for its connections, and the system for their clients.
    ///
    /// # Errors
    /// The proxy did not answer.
    pub(super) fn all(control: &Control) -> Result<Self, NoAnswer> {
        let (connections, processes, cells) = ask(control, cells)?;
        // Usually a few processes have all connections, and each is described once.
        let (mut described, unknown) = (HashMap::<u32, Rc<str>>::new(), Rc::from(""));
        let describe = |connection: &ListedConnection| {
            let Some(process) = processes.get(connection.client) else {
                return Rc::clone(&unknown);
            };
            let words = described.entry(process.pid());
            Rc::clone(words.or_insert_with(|| process.to_string().into()))
        };
        Ok(Self { cells, processes: connections.iter().map(describe).collect() })
    }

    /// Writes the table, without the columns that have nothing in any row.
    pub(super) fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        if self.processes.is_empty() {
            return writeln!(out, "no connection is open");
        }
        let mut used = [false; COLUMNS.len()];
        for row in self.rows() {
            used.iter_mut().zip(row).for_each(|(is_used, cell)| *is_used |= !cell.is_empty());
        }
        let head: Vec<&str> = only(COLUMNS, &used).collect();
        table::write_table(&head, self.rows().map(|row| only(row, &used)), out)
    }

    fn rows(&self) -> impl Iterator<Item = [&str; COLUMNS.len()]> + Clone {
        self.cells.rows().zip(&self.processes).map(|(mut row, process)| {
            row[PROCESS] = process;
            row
        })
    }
}

/// Returns the cells of the columns that are used.
fn only<T>(cells: [T; COLUMNS.len()], used: &[bool]) -> impl Iterator<Item = T> {
    cells.into_iter().zip(used).filter_map(|(cell, is_used)| is_used.then_some(cell))
}

/// Returns the cells of [`COLUMNS`], but no processes.
fn cells(connections: &[ListedConnection]) -> Cells<{ COLUMNS.len() }> {
    let mut cells = Cells::with_capacity(connections.len());
    for of in connections {
        cells.push_number(of.id);
        cells.push(&age(of.age_seconds));
        cells.push_shown(of.client);
        cells.push("");
        cells.push(&of.protocol);
        cells.push(&target(of));
        cells.push_number(of.route as u64);
        cells.push(&of.chain);
        cells.push(&hops(&of.hops));
        cells.push(of.session.as_deref().unwrap_or_default());
        cells.push(&table::bytes(of.bytes_sent));
        cells.push(&table::bytes(of.bytes_received));
        cells.push(&rate(bytes_per_second(of)));
        cells.push_number(of.generation);
    }
    cells
}

/// The columns.
const COLUMNS: [&str; 14] = [
    "id",
    "age",
    "client",
    "process",
    "protocol",
    "target",
    "route",
    "chain",
    "hops",
    "session",
    "sent",
    "received",
    "rate",
    "generation",
];
/// The position of the process among the columns.
const PROCESS: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::api::ListedHop;

    #[test]
    fn columns_that_have_nothing_in_any_row_are_left_out() {
        let connection = |id| ListedConnection {
            id,
            age_seconds: 61.0,
            client: "127.0.0.1:50000".parse().unwrap(),
            protocol: "http".into(),
            method: "CONNECT".into(),
            target: "a.test:443".into(),
            route: 1,
            chain: "default".into(),
            hops: Vec::new(),
            session: None,
            bytes_sent: 10,
            bytes_received: 600,
            generation: 1,
        };
        let hop =
            ListedHop { name: "exit".into(), member: None, address: None, through: Vec::new() };
        let other = ListedConnection { method: "GET".into(), hops: vec![hop], ..connection(20) };
        let shown = |connections: &[ListedConnection], process: &str| {
            let processes = connections.iter().map(|_| Rc::from(process)).collect();
            let mut text = Vec::new();
            Lines { cells: cells(connections), processes }.write(&mut text).unwrap();
            anstream::adapter::strip_str(&String::from_utf8(text).unwrap()).to_string()
        };
        assert_eq!(shown(&[], ""), "no connection is open\n");
        assert_eq!(
            shown(&[connection(3), other.clone()], ""),
            "id    age  client           protocol  target          route  chain    hops    sent  received    rate  generation\n\
             3   1m01s  127.0.0.1:50000  http      a.test:443          1  default  direct  10 B     600 B  10 B/s           1\n\
             20  1m01s  127.0.0.1:50000  http      GET a.test:443      1  default  exit    10 B     600 B  10 B/s           1\n"
        );
        let named = ListedConnection { session: Some("one".into()), ..connection(3) };
        let shown = shown(&[named, other], "curl (17)");
        let head = shown.lines().next().unwrap();
        assert!(head.contains(" process ") && head.contains(" session "), "{shown}");
        assert!(shown.contains("  curl (17)  http  ") && shown.contains("  one  "), "{shown}");
    }
}
