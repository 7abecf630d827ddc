//! Reads the calls of the control socket.

use serde::{Deserialize, Serialize};

use super::Refused;
use crate::{config::edit::EditedFile, state::connections::OpenConnection};

/// A request that was understood.
#[derive(Debug)]
pub(crate) enum ApiCall {
    /// `GET /v1/proxy`
    Identify,
    /// `GET /v1/status`
    Status,
    /// `GET /v1/connections`
    Connections,
    /// `GET /v1/overview`
    Overview,
    /// `GET /v1/usage`
    Usage,
    /// `GET /v1/clients`
    Clients,
    /// `POST /v1/kill`
    Kill(KillOrder),
    /// `POST /v1/reload`
    Reload,
    /// `POST /v1/check`
    Check(EditedFile),
    /// `POST /v1/hand-over`
    HandOver,
    /// `POST /v1/drain`
    Drain,
}

/// The connections to end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum KillOrder {
    /// The connections with these numbers.
    Ids(Vec<u64>),
    /// All that take this chain.
    Chain(String),
    /// All whose chain has this hop.
    Hop(String),
    /// All that began under an earlier configuration.
    OlderGenerations {},
}

impl ApiCall {
    /// Reads a request.
    ///
    /// # Errors
    /// There is no such request.
    pub(crate) fn read(method: &str, path: &str, body: &[u8]) -> Result<Self, Refused> {
        let expected = match path {
            "/v1/proxy" | "/v1/status" | "/v1/overview" | "/v1/connections" | "/v1/usage"
            | "/v1/clients" => "GET",
            "/v1/kill" | "/v1/reload" | "/v1/check" | "/v1/hand-over" | "/v1/drain" => "POST",
            _ => return Err(Refused::NotFound),
        };
        // A GET never changes anything: programs send one without being asked, to follow a link for example.
        if method != expected {
            return Err(Refused::Method(expected));
        }
        Ok(match path {
            "/v1/proxy" => Self::Identify,
            "/v1/status" => Self::Status,
            "/v1/connections" => Self::Connections,
            "/v1/overview" => Self::Overview,
            "/v1/usage" => Self::Usage,
            "/v1/clients" => Self::Clients,
            "/v1/kill" => Self::Kill(parse(body)?),
            "/v1/check" => Self::Check(parse(body)?),
            "/v1/hand-over" => Self::HandOver,
            "/v1/drain" => Self::Drain,
            _ => Self::Reload,
        })
    }
}

impl KillOrder {
    pub(super) fn means(&self, row: &OpenConnection, current: u64) -> bool {
        match self {
            Self::Ids(ids) => ids.contains(&row.id),
            Self::Chain(name) => **row.chain.name() == **name,
            Self::Hop(name) => takes_hop(row, name),
            Self::OlderGenerations {} => row.generation.number() < current,
        }
    }
}

/// Returns whether `ps` lists the connection of `row` with the hop `name`, in its chain or as the choice of a hop. A name such as `exits.line 1`, as in the log,
/// names a member, which the connection must have taken.
fn takes_hop(row: &OpenConnection, name: &str) -> bool {
    let (hops, passage) = (row.chain.hops(), row.passage());
    // A hop that left itself out is listed anyway, and its name finds the connection.
    let is_listed = hops.iter().any(|hop| *hop.name == *name);
    if is_listed || passage.chosen_hops().any(|chosen| **chosen == *name) {
        return true;
    }
    hops.iter().enumerate().any(|(position, hop)| {
        let member = name.strip_prefix(&*hop.name).and_then(|rest| rest.strip_prefix('.'));
        let taken = passage.taken_at(position).and_then(|taken| taken.member.as_deref());
        member.is_some() && taken == member
    })
}

fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Refused> {
    serde_json::from_slice(body).map_err(|error| Refused::BadRequest(error.to_string()))
}
