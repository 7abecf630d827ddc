//! Describes parts of a configuration for programs (`--format json`).

use std::collections::BTreeMap;

use mooltiroute_hops::{Readiness, SourceState, Unready};
use serde::Serialize;

use crate::{
    config::{
        ChainConfig, Config, Credential, CredentialSource, NamedHop, OnLeave, Place, Problem, Route,
    },
    network::{Network, ShownCondition},
    router::RuleParts,
};

#[derive(Serialize)]
pub(super) struct ShownHop<'a> {
    name: &'a str,
    kind: &'a str,
    enabled: bool,
    condition: Option<ShownCondition>,
    on_leave: OnLeave,
    address: Option<String>,
    settings: BTreeMap<&'a str, &'a str>,
    credentials: Vec<ShownCredential<'a>>,
    /// The links among which the hop chooses; empty for most kinds.
    members: Vec<ShownMember>,
    /// Omitted unless the members come from a list that is fetched, so that `members` is empty here.
    #[serde(skip_serializing_if = "Option::is_none")]
    members_from: Option<ShownList>,
    /// Omitted unless the hop decides per request.
    #[serde(skip_serializing_if = "Option::is_none")]
    decides_by: Option<ShownDecider>,
    /// Left out if the hop has no schemes to choose from.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    auth: Vec<ShownReadiness>,
}

#[derive(Serialize)]
struct ShownMember {
    name: String,
    address: Option<String>,
    scheme: Option<&'static str>,
}

/// A list of proxies at a URL.
#[derive(Serialize)]
struct ShownList {
    source: String,
    via: String,
}

/// The source of the rules by which a hop chooses.
#[derive(Serialize)]
struct ShownDecider {
    source: String,
    via: String,
    /// How the rules are read.
    terms: Vec<String>,
}

/// An authentication scheme, and whether this machine can use it now.
#[derive(Serialize)]
pub(super) struct ShownReadiness {
    scheme: &'static str,
    ready: bool,
    details: String,
}

/// A credential. One of the last three fields is present and tells its source.
#[derive(Serialize)]
pub(super) struct ShownCredential<'a> {
    pub(super) setting: &'a str,
    variables: Option<&'a [String]>,
    file: Option<&'a str>,
    written: bool,
}

#[derive(Serialize)]
pub(super) struct ShownChain<'a> {
    name: &'a str,
    hops: Vec<&'a str>,
    switched_off: Vec<&'a str>,
    direct: bool,
    warm: usize,
}

#[derive(Serialize)]
pub(super) struct ShownRoute<'a> {
    hosts: Vec<String>,
    ports: &'a [u16],
    chain: &'a str,
    #[serde(flatten)]
    place: Option<ShownPlace<'a>>,
}

#[derive(Serialize)]
pub(super) struct ShownProblem<'a> {
    #[serde(flatten)]
    place: Option<ShownPlace<'a>>,
    path: String,
    code: &'a str,
    message: &'a str,
    /// Omitted unless the problem has examples.
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    details: &'a [String],
    first: Option<ShownPlace<'a>>,
    help: Option<&'a str>,
}

#[derive(Serialize)]
pub(super) struct ShownPlace<'a> {
    file: &'a str,
    line: usize,
    column: usize,
}

impl<'a> ShownHop<'a> {
    /// Shows `hop`. `schemes` are its own, unless it is disabled.
    pub(super) fn new(hop: &'a NamedHop, schemes: &[Readiness], network: &Network) -> Self {
        // A disabled hop with unset variables was not built and has no address.
        let address = hop.hop.as_ref();
        let address = address.and_then(|hop| hop.describe().address.map(ToString::to_string));
        let credentials = hop.credentials.iter().map(ShownCredential::from).collect();
        let enabled = hop.is_enabled;
        let auth = schemes.iter().cloned().map(ShownReadiness::from).collect();
        let settings = hop.settings.iter().map(|setting| (setting.key, &*setting.value)).collect();
        let members = hop.hop.iter().flat_map(|hop| hop.members());
        let members = members
            .map(|member| ShownMember {
                name: member.name.to_string(),
                address: member.address.map(|address| address.to_string()),
                scheme: member.scheme,
            })
            .collect();
        let source = hop.asker().map(|asker| (asker.state(), asker.via().to_owned()));
        let (members_from, decides_by) = match (source, hop.decider()) {
            (Some((SourceState { source, .. }, via)), Some(decider)) => {
                (None, Some(ShownDecider { source, via, terms: decider.terms() }))
            }
            (Some((SourceState { source, .. }, via)), None) => {
                (Some(ShownList { source, via }), None)
            }
            (None, _) => (None, None),
        };
        Self {
            name: &hop.name,
            kind: &hop.kind,
            enabled,
            condition: hop.condition.as_ref().map(|condition| network.shown(condition)),
            on_leave: hop.on_leave,
            address,
            settings,
            credentials,
            members,
            members_from,
            decides_by,
            auth,
        }
    }
}

impl From<Readiness> for ShownReadiness {
    fn from(Readiness { scheme, credentials }: Readiness) -> Self {
        // One field for the words of both outcomes, so that programs can show it without looking at the
        // other.
        let (ready, details) = match credentials {
            Ok(words) => (true, words),
            Err(Unready { reason, .. }) => (false, reason),
        };
        Self { scheme: scheme.name(), ready, details }
    }
}

impl<'a> From<&'a Credential> for ShownCredential<'a> {
    fn from(credential: &'a Credential) -> Self {
        let Credential { setting, origin } = credential;
        // Sources are shown, values never.
        let (variables, file, written) = match origin {
            CredentialSource::Variables(names) => (Some(names.as_slice()), None, false),
            CredentialSource::File(path) => (None, Some(path.as_str()), false),
            CredentialSource::Written => (None, None, true),
        };
        Self { setting, variables, file, written }
    }
}

impl<'a> ShownChain<'a> {
    pub(super) fn new(chain: &'a ChainConfig, config: &'a Config) -> Self {
        Self {
            name: &chain.name,
            hops: chain.hops.iter().map(|hop| &*config.hops[*hop].name).collect(),
            switched_off: chain.switched_off.iter().map(|name| &**name).collect(),
            direct: chain.hops.is_empty(),
            warm: chain.warm,
        }
    }
}

impl<'a> ShownRoute<'a> {
    pub(super) fn new(route: &'a Route, config: &'a Config) -> Self {
        let RuleParts { hosts, ports } = route.rule.parts();
        Self {
            hosts: hosts.iter().map(ToString::to_string).collect(),
            ports,
            chain: &config.chains[route.chain].name,
            place: route.place.as_ref().map(ShownPlace::from),
        }
    }
}

impl<'a> From<&'a Problem> for ShownProblem<'a> {
    fn from(problem: &'a Problem) -> Self {
        Self {
            place: problem.place.as_ref().map(ShownPlace::from),
            path: problem.path.to_string(),
            code: problem.code,
            message: &problem.message,
            details: &problem.details,
            first: problem.first.as_ref().map(ShownPlace::from),
            help: problem.help.as_deref(),
        }
    }
}

impl<'a> From<&'a Place> for ShownPlace<'a> {
    fn from(place: &'a Place) -> Self {
        Self { file: &place.file, line: place.line, column: place.column }
    }
}
