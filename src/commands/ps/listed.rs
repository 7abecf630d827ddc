//! A row of `ps`: a connection as the proxy describes it, and the process of its client as the system knows
//! it.

use std::{borrow::Cow, thread};

use serde::Serialize;

use super::processes::{ClientProcess, ClientSockets, Processes};
use crate::{
    commands::status::table::bytes,
    control::{
        api::{ListedConnection, ListedHop, ProxyIdentity},
        client::{Control, NoAnswer},
    },
};

/// A connection, with the process at its other end.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Listed {
    /// The description by the proxy.
    #[serde(flatten)]
    pub connection: ListedConnection,
    /// The process of the client, if the system tells it.
    pub process: Option<ClientProcess>,
    /// Bytes of both directions in a second, on average since the connection began.
    pub bytes_per_second: f64,
}

impl Listed {
    /// Asks the proxy for its connections, and the system for their clients.
    ///
    /// # Errors
    /// The proxy did not answer.
    pub(crate) fn all(control: &Control) -> Result<Vec<Self>, NoAnswer> {
        let (connections, processes, ()) = ask(control, |_| ())?;
        let listed = |connection: ListedConnection| {
            let process = processes.get(connection.client).cloned();
            Self { bytes_per_second: bytes_per_second(&connection), connection, process }
        };
        Ok(connections.into_iter().map(listed).collect())
    }
}

/// Asks the proxy for its connections, and the system for their clients. The system takes its time, and `prepare` does its
/// work meanwhile.
///
/// # Errors
/// The proxy did not answer.
pub(super) fn ask<T>(
    control: &Control,
    prepare: impl FnOnce(&[ListedConnection]) -> T,
) -> Result<(Vec<ListedConnection>, Processes, T), NoAnswer> {
    let ProxyIdentity { pid, listeners, generation, .. } = &control.identity;
    // The search for processes goes through many files, and does not wait for the proxy's answer.
    let (answer, sockets) = thread::scope(|scope| {
        let sockets = scope.spawn(|| ClientSockets::connected_to(listeners, *pid));
        let connections = control.get::<Vec<ListedConnection>>("/v1/connections");
        let answer = connections.map(|connections| {
            let prepared = prepare(&connections);
            (connections, prepared)
        });
        // A panic was reported already. Processes are an addition, and their absence is not a failure.
        (answer, sockets.join().unwrap_or_default())
    });
    let (connections, prepared) = answer?;
    let clients = connections.iter().map(|one| one.client);
    let older = connections.iter().filter(|one| one.generation < *generation);
    let processes = sockets.processes(clients, older.map(|one| one.client), *pid);
    Ok((connections, processes, prepared))
}

/// Returns the bytes of both directions in a second, on average since the connection began.
pub(super) fn bytes_per_second(connection: &ListedConnection) -> f64 {
    let bytes = (connection.bytes_sent + connection.bytes_received) as f64;
    // A connection may be so young that its age is zero.
    bytes / connection.age_seconds.max(f64::MIN_POSITIVE)
}

/// Returns the target, with the method unless it is a tunnel.
pub(crate) fn target(connection: &ListedConnection) -> Cow<'_, str> {
    let ListedConnection { method, target, .. } = connection;
    if method == "CONNECT" { target.into() } else { format!("{method} {target}").into() }
}

/// Returns the hops, with the member or address that each uses.
pub(crate) fn hops(hops: &[ListedHop]) -> Cow<'_, str> {
    match hops {
        [] => "direct".into(),
        [hop] => shown_hop(hop),
        hops => hops.iter().map(shown_hop).collect::<Vec<_>>().join(", ").into(),
    }
}

fn shown_hop(hop: &ListedHop) -> Cow<'_, str> {
    match (&hop.member, &hop.address) {
        (Some(member), Some(address)) => format!("{} ({member}, {address})", hop.name).into(),
        (None, Some(address)) => format!("{} ({address})", hop.name).into(),
        // A hop that left itself out has no address.
        (Some(member), None) => format!("{} ({member})", hop.name).into(),
        (None, None) => hop.name.as_str().into(),
    }
}

/// Returns a rate in bytes a second.
pub(crate) fn rate(bytes_per_second: f64) -> String {
    let mut text = bytes(bytes_per_second as u64);
    text.push_str("/s");
    text
}

/// Returns a time in its two largest units.
pub(crate) fn age(seconds: f64) -> String {
    let whole = seconds as u64;
    match whole {
        0..60 => format!("{whole}s"),
        60..3600 => format!("{}m{:02}s", whole / 60, whole % 60),
        3600..86_400 => format!("{}h{:02}m", whole / 3600, whole / 60 % 60),
        _ => format!("{}d{:02}h", whole / 86_400, whole / 3600 % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_has_its_two_largest_units() {
        let ages = [0.9, 59.9, 60.0, 3_599.0, 3_600.0, 86_399.0, 90_000.0].map(age);
        assert_eq!(ages, ["0s", "59s", "1m00s", "59m59s", "1h00m", "23h59m", "1d01h"]);
    }

    #[test]
    fn a_hop_with_a_choice_shows_what_it_chose() {
        let named = |name: &str| ListedHop {
            name: name.into(),
            member: None,
            address: None,
            through: Vec::new(),
        };
        let chosen = ListedHop {
            member: Some("members[1]".into()),
            address: Some("b.test:1".into()),
            ..named("exits")
        };
        assert_eq!(hops(&[named("corporate"), chosen]), "corporate, exits (members[1], b.test:1)");
        let left_out = ListedHop { member: Some("direct".into()), ..named("office") };
        assert_eq!(hops(&[left_out]), "office (direct)");
        assert_eq!(hops(&[]), "direct");
    }
}
