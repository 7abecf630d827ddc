//! Reads the calls of the control socket.

use serde::{Deserialize, Serialize};

use super::Refused;
use crate::{config::edit::EditedFile, state::connections::OpenConnection};

/// A request that was understood.
#[derive(Debug)]
pub(crate) enum ApiCall {
    /// Say which proxy this is.
    Identify,
    /// Report how the proxy is, as `/status` does.
    Status,
    /// List the open connections.
    Connections,
    /// Sum up chains, hops and the latest failures.
    Overview,
    /// Report how many bytes were used.
    Usage,
    /// Report what clients have to know.
    Clients,
    /// End connections.
    Kill(KillOrder),
    /// Reload the configuration.
    Reload,
    /// Report what an edit would change.
    Check(EditedFile),
    /// Report which files have lost settings that are in force.
    LostSettings,
    /// Hand over the listening sockets.
    HandOver,
    /// End after the open connections.
    Drain,
}

/// The calls of the control socket: the path and the method of each, and how it is read from a body.
///
/// A GET never changes anything: programs send one without being asked, to follow a link for example.
const CALLS: [(&str, &str, ReadCall); 12] = [
    ("/v1/proxy", "GET", |_| Ok(ApiCall::Identify)),
    ("/v1/status", "GET", |_| Ok(ApiCall::Status)),
    ("/v1/overview", "GET", |_| Ok(ApiCall::Overview)),
    ("/v1/connections", "GET", |_| Ok(ApiCall::Connections)),
    ("/v1/usage", "GET", |_| Ok(ApiCall::Usage)),
    ("/v1/clients", "GET", |_| Ok(ApiCall::Clients)),
    ("/v1/kill", "POST", |body| parse(body).map(ApiCall::Kill)),
    ("/v1/reload", "POST", |_| Ok(ApiCall::Reload)),
    ("/v1/check", "POST", |body| parse(body).map(ApiCall::Check)),
    ("/v1/lost-settings", "GET", |_| Ok(ApiCall::LostSettings)),
    ("/v1/hand-over", "POST", |_| Ok(ApiCall::HandOver)),
    ("/v1/drain", "POST", |_| Ok(ApiCall::Drain)),
];

/// Reads a call from its body.
type ReadCall = fn(&[u8]) -> Result<ApiCall, Refused>;

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
    /// There is no such request, or its body does not fit.
    pub(crate) fn read(method: &str, path: &str, body: &[u8]) -> Result<Self, Refused> {
        let call = CALLS.into_iter().find(|(known, ..)| *known == path);
        let (_, expected, read) = call.ok_or(Refused::NotFound)?;
        if method != expected {
            return Err(Refused::Method(expected));
        }
        read(body)
    }

    /// Returns the paths of all calls, as a list in words.
    pub(super) fn paths() -> String {
        CALLS.map(|(path, ..)| path).join(", ")
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

/// Returns whether `ps` lists the connection of `row` with the hop `name`, in its chain or as the choice of a hop. A name such
/// as `exits.line 1`, as in the log, names a member, which the connection must have taken.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_path_accepts_its_method_alone() {
        for (path, expected, _) in CALLS {
            for method in ["GET", "POST", "HEAD", "PUT", "DELETE", "get", ""] {
                // Calls that read a body refuse this one, but not for their method.
                let read = ApiCall::read(method, path, b"");
                let is_refused = matches!(read, Err(Refused::Method(shown)) if shown == expected);
                assert_eq!(is_refused, method != expected, "{method} {path}: {read:?}");
                assert!(!matches!(read, Err(Refused::NotFound)), "{method} {path}");
            }
        }
    }

    #[test]
    fn an_unknown_path_is_answered_with_all_paths() {
        for path in ["", "/", "/v1", "/v1/", "/v1/kill/", "/v1/kill?all", "/V1/kill", "/v2/kill"] {
            let refused = ApiCall::read("POST", path, b"").unwrap_err();
            let body = String::from_utf8(refused.body()).unwrap();
            let error = "there is nothing at this path; the control socket has /v1/proxy, /v1/status, \
                         /v1/overview, /v1/connections, /v1/usage, /v1/clients, /v1/kill, /v1/reload, /v1/check, \
                         /v1/lost-settings, /v1/hand-over, /v1/drain";
            assert_eq!(body, serde_json::json!({ "error": error }).to_string(), "{path}");
        }
    }
}
