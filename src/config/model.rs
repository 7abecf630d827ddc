//! A valid configuration as types: what operators want, with every name resolved.

mod log;

use std::{fmt, sync::Arc, time::Duration};

use mooltiroute_hops::{Asker, Decider, Hop, KeyPath, Secret};

pub use self::log::{Level, Log, LogFormat, UnknownName};
use crate::{
    config::{
        Budget, Credential, Listener, OnLeave, Outline, Overridden, Place, Problem, Shadowed,
        WorkerCount, source::KeptTexts,
    },
    network::NetworkCondition,
    router,
};

/// A configuration that is valid.
#[derive(Clone, Debug)]
pub struct Config {
    /// The listeners, and who may use them.
    pub server: ServerConfig,
    /// The timeouts.
    pub timeouts: Timeouts,
    /// The limits.
    pub limits: Limits,
    /// The log's level and format.
    pub log: Log,
    /// All hops, sorted by name.
    pub hops: Vec<NamedHop>,
    /// All chains. The built-in `direct` is the first.
    pub chains: Vec<ChainConfig>,
    /// All routes in written order, never empty. The first that matches applies.
    pub routes: Vec<Route>,
    /// The fingerprint, to compare with another configuration.
    pub outline: Outline,
    /// The settings that the command line overrides, whatever the files say.
    pub overridden: Vec<Overridden>,
    /// Warnings: settings that are valid but odd.
    pub warnings: Vec<Problem>,
    /// The values of earlier files that later ones replace, each at its new place.
    pub replaced: Vec<Problem>,
    /// The settings that several files have, with the value of each earlier one as a hash.
    pub shadowed: Vec<Shadowed>,
    /// Whether any value comes from a variable.
    pub has_variables: bool,
    /// The files it was read from, kept if a condition of the network may call for another configuration from them.
    pub(crate) written: Option<Arc<KeptTexts>>,
}

impl Config {
    /// Returns the option of the command line that switches the hop `name`, such as `--no-corporate`.
    pub(crate) fn switched_by_option(&self, name: &str) -> Option<&'static str> {
        let path = KeyPath::of(["hops", name, "enabled"]).to_string();
        self.overridden.iter().find(|one| one.path == path).map(|one| one.option)
    }
}

/// The listeners, and who may use them.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// The listeners, never empty.
    pub listen: Vec<Listener>,
    /// The credentials that clients must present, if any.
    pub auth: Option<Auth>,
    /// The sources of those credentials.
    pub credentials: Vec<Credential>,
    /// The pseudonym for `Via` fields, if they are to be added.
    pub via: Option<Box<str>>,
    /// The protocols that clients may speak, never empty.
    pub protocols: Vec<Protocol>,
    /// The threads that serve connections.
    pub workers: WorkerCount,
    /// The protocols that a plain request may switch to.
    pub upgrades: Vec<Box<str>>,
}

/// A protocol that clients speak.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    serde::Deserialize,
    serde::Serialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// HTTP/1.1, with CONNECT for tunnels.
    Http,
    /// SOCKS version 5.
    Socks5,
    /// SOCKS version 4, with or without the extension for names.
    Socks4a,
}

/// Basic credentials that fit into a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Auth {
    /// The username, which has no colon.
    pub username: Secret,
    /// The password.
    pub password: Secret,
}

/// The time limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// The limit for a client's request head.
    pub header: Duration,
    /// The limit for TCP, and for TLS if there is one, to the first hop or the target.
    pub connect: Duration,
    /// The limit for each hop's handshake, with all rounds of its authentication.
    pub handshake: Duration,
    /// The limit for the head of the answer to a plain request, from the end of the request. `None` means no limit.
    pub response: Option<Duration>,
    /// The limit for a body whose receiver takes nothing. `None` means no limit.
    pub stall: Option<Duration>,
    /// The limit for a tunnel that one side has ended, without a byte in the other direction.
    pub half_closed: Duration,
    /// At shutdown, what is still open after this is cut.
    pub drain: Duration,
    /// The limit for a tunnel that moves no byte in either direction. `None` means no limit.
    pub idle: Option<Duration>,
}

/// The limits for what is accepted from clients and upstreams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Client connections at once.
    pub connections: usize,
    /// The bytes of a message's head.
    pub header_bytes: usize,
    /// The fields of a message's head.
    pub header_fields: usize,
}

/// A hop and its name.
#[derive(Clone, Debug)]
pub struct NamedHop {
    /// Its name.
    pub name: Arc<str>,
    /// The kind, as written. Empty if a disabled hop takes it from a variable that is not set.
    pub kind: String,
    /// Whether chains use it, by the present outcome of its condition if it has one.
    pub is_enabled: bool,
    /// The settings that are written and may be shown.
    pub settings: Arc<[ShownSetting]>,
    /// The condition of the network that switches it on.
    pub(crate) condition: Option<Arc<NetworkCondition>>,
    /// The conditions that it depends on: its own, and those of the hops that it holds.
    pub(crate) depends_on: Vec<Arc<NetworkCondition>>,
    /// The fate of the tunnels through it when it is switched off.
    pub on_leave: OnLeave,
    /// Its credentials, by their sources.
    pub credentials: Vec<Credential>,
    /// A hash of kind and settings, equal for equal ones within one [`Loader`](crate::config::Loader). An unchanged hop
    /// keeps its state over a reload.
    pub fingerprint: u64,
    /// The limit on its bytes, if there is one.
    pub budget: Option<Budget>,
    /// The age from which a tunnel ends at its first quiet second.
    pub rotate_after: Option<Duration>,
    /// Whether it refuses every request, because the conditions of all its members have switched these off.
    pub(crate) has_all_members_off: bool,
    /// The words that name the URL of the command line that the hop comes from, such as "the URL of `--hop`".
    pub(crate) url: Option<Arc<str>>,
    /// `None` only for a disabled hop with a variable that is not set.
    pub hop: Option<Arc<dyn Hop>>,
}

impl NamedHop {
    /// Returns the hop as one that depends on a document from elsewhere, if it does.
    pub(crate) fn asker(&self) -> Option<&dyn Asker> {
        self.hop.as_ref()?.asker()
    }

    /// Returns the hop as one that decides by more than its settings, if it is such a hop.
    pub(crate) fn decider(&self) -> Option<&dyn Decider> {
        self.hop.as_ref()?.decider()
    }
}

/// A setting of a hop that is not a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShownSetting {
    /// The key.
    pub key: &'static str,
    /// The value, in words.
    pub value: String,
}

impl ShownSetting {
    /// Returns whether it lets a pool choose for each connection of a client, so that another connection may get another
    /// member.
    pub(crate) fn picks_again(&self) -> bool {
        self.key == "pick" && ["round-robin", "random", "least-used"].contains(&&*self.value)
    }

    /// Returns whether it lets a pool choose by the session of a client.
    pub(crate) fn picks_by_session(&self) -> bool {
        self.key == "pick" && self.value == "sticky"
    }
}

/// Hops in the order of travel.
#[derive(Clone, Debug, Default)]
pub struct ChainConfig {
    /// Its name.
    pub name: Arc<str>,
    /// The hops in force, as indices into [`Config::hops`]; each has a `hop`.
    pub hops: Vec<usize>,
    /// The hops of this chain that are disabled.
    pub switched_off: Vec<Arc<str>>,
    /// The conditions of the network that its hops depend on, those that are disabled too.
    pub(crate) depends_on: Vec<Arc<NetworkCondition>>,
    /// The number of spare tunnels kept ready before the last hop.
    pub warm: usize,
}

/// A route: some targets, and their chain.
#[derive(Clone, Debug)]
pub struct Route {
    /// The targets.
    pub rule: router::Rule,
    /// An index into [`Config::chains`].
    pub chain: usize,
    /// The place of its text. The implied route has the place of its chain.
    pub place: Option<Place>,
}

impl Protocol {
    /// All protocols.
    pub const ALL: [Self; 3] = [Self::Http, Self::Socks5, Self::Socks4a];
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // As `rename_all` has it above, since messages quote what operators write.
        f.write_str(match self {
            Self::Http => "http",
            Self::Socks5 => "socks5",
            Self::Socks4a => "socks4a",
        })
    }
}
