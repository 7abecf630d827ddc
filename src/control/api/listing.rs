//! An open connection as JSON.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::{state::connections::OpenConnection, upstream::chain::ChainHop};

/// An open connection, as `ps` shows it. It holds no secret.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ListedConnection {
    /// Its number.
    pub id: u64,
    /// How long it has been open.
    pub age_seconds: f64,
    /// The address of the client.
    pub client: SocketAddr,
    /// The protocol that the client speaks.
    pub protocol: String,
    /// The method of the request; `CONNECT` for every tunnel.
    pub method: String,
    /// The target of the request.
    pub target: String,
    /// The route that matched, counted from one.
    pub route: usize,
    /// The chain.
    pub chain: String,
    /// The hops of the chain. Empty if it goes direct.
    pub hops: Vec<ListedHop>,
    /// The session that the client chose.
    pub session: Option<String>,
    /// Bytes from the client that were passed on.
    pub bytes_sent: u64,
    /// Bytes to the client.
    pub bytes_received: u64,
    /// The configuration that it began under.
    pub generation: u64,
}

/// A hop that a connection passes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ListedHop {
    /// Its name.
    pub name: String,
    /// The member in use, if the hop is a pool.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub member: Option<String>,
    /// The address in use, if the hop has more than one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub address: Option<String>,
    /// The names of the hops that it chose to go through, as a PAC file or a pool does.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub through: Vec<String>,
}

impl ListedConnection {
    /// Describes `row` as it is now.
    pub(crate) fn of(row: &OpenConnection) -> Self {
        Self {
            id: row.id,
            age_seconds: row.begun.elapsed().as_secs_f64(),
            client: row.peer,
            protocol: row.protocol_name().to_owned(),
            method: row.method.to_string(),
            target: row.target.to_string(),
            route: row.route as usize,
            chain: row.chain.name().to_string(),
            hops: hops(row),
            session: row.session.as_deref().map(str::to_owned),
            bytes_sent: row.bytes_sent(),
            bytes_received: row.bytes_received(),
            generation: row.generation.number(),
        }
    }
}

fn hops(row: &OpenConnection) -> Vec<ListedHop> {
    let passage = row.passage();
    let hop = |(position, hop): (usize, &ChainHop)| {
        // A hop that had no choice of members or addresses is not noted, and has its name alone.
        let taken = passage.taken_at(position);
        ListedHop {
            name: hop.name.to_string(),
            member: taken.and_then(|taken| taken.member.as_deref().map(str::to_owned)),
            address: taken.and_then(|taken| taken.address.as_ref()).map(ToString::to_string),
            through: taken
                .iter()
                .flat_map(|taken| &taken.through)
                .map(|hop| hop.to_string())
                .collect(),
        }
    };
    row.chain.hops().iter().enumerate().map(hop).collect()
}
