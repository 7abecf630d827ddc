//! A valid configuration as types: what operators want, with every name resolved.

use std::{fmt, net::SocketAddr, str::FromStr, sync::Arc, time::Duration};

use mooltiroute_hops::{Hop, Secret};

use crate::router;

use crate::config::{Credential, Outline, Place, Problem};

/// A configuration that is valid.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where clients are accepted, and which.
    pub server: Server,
    /// How long things may take.
    pub timeouts: Timeouts,
    /// How much is taken from clients.
    pub limits: Limits,
    /// What the log holds.
    pub log: Log,
    /// Every hop that is written, sorted by name.
    pub hops: Vec<NamedHop>,
    /// Every chain; `direct`, which is built in, comes first.
    pub chains: Vec<Chain>,
    /// In written order; the first that matches applies. Never empty.
    pub routes: Vec<Route>,
    /// What was written, to compare with another configuration.
    pub outline: Outline,
    /// What is legal and odd.
    pub warnings: Vec<Problem>,
}

/// Where clients are accepted, and which.
#[derive(Clone, Debug)]
pub struct Server {
    /// The addresses that are listened on; port 0 lets the system choose one. Never empty.
    pub listen: Vec<SocketAddr>,
    /// What clients must present, if anything.
    pub auth: Option<Auth>,
    /// Where that comes from.
    pub credentials: Vec<Credential>,
    /// The pseudonym for `Via` fields, if there are to be any.
    pub via: Option<Box<str>>,
}

/// Basic credentials that fit into a field.
#[derive(Clone, Debug)]
pub struct Auth {
    /// The user; has no colon.
    pub username: Secret,
    /// The password.
    pub password: Secret,
}

/// How long things may take; `INTERFACE.md` has the meaning of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// A client's request head.
    pub header: Duration,
    /// TCP, and TLS where there is one, to the first hop or the target.
    pub connect: Duration,
    /// Each hop's whole answer to CONNECT; also a plain request's wait for a hop's head.
    pub handshake: Duration,
    /// A tunnel that one side has ended, without a byte the other way.
    pub half_closed: Duration,
    /// At shutdown, what is still open after this is cut.
    pub drain: Duration,
    /// A tunnel without a byte either way; `None`: never.
    pub idle: Option<Duration>,
}

/// How much is accepted from clients and upstreams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Client connections at once.
    pub connections: usize,
    /// The bytes of a message's head.
    pub header_bytes: usize,
    /// The fields of a message's head.
    pub header_fields: usize,
}

/// What the log holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Log {
    /// The least important events that are logged.
    pub level: Level,
    /// How events are written.
    pub format: Format,
    /// Whether each tunnel and request has a line.
    pub access: bool,
}

/// How important an event must be to be logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Nothing is logged.
    Off,
    /// What needs somebody.
    Error,
    /// What may need somebody.
    Warn,
    /// What happens.
    Info,
    /// How it happens.
    Debug,
    /// Everything.
    Trace,
}

/// How log events are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Lines for people.
    Text,
    /// A JSON object a line.
    Json,
}

/// A hop and what operators call it.
#[derive(Clone, Debug)]
pub struct NamedHop {
    /// Its name.
    pub name: Arc<str>,
    /// Its kind, as written; empty where a disabled hop has it from a variable that is not set.
    pub kind: String,
    /// Whether chains pass through it.
    pub is_enabled: bool,
    /// Which credentials it has.
    pub credentials: Vec<Credential>,
    /// The same for equal kind and settings, within one [`Loader`](crate::config::Loader), so that an unchanged hop can keep its state.
    pub fingerprint: u64,
    /// `None` only where it is disabled and a variable of its settings is not set.
    pub hop: Option<Arc<dyn Hop>>,
}

/// Hops in the order of travel.
#[derive(Clone, Debug)]
pub struct Chain {
    /// Its name.
    pub name: Arc<str>,
    /// The hops in force, as indices into [`Config::hops`]; each has a `hop`.
    pub hops: Vec<usize>,
    /// The hops that are written and disabled.
    pub switched_off: Vec<Arc<str>>,
    /// How many spare tunnels are kept ready before the last hop.
    pub warm: usize,
}

/// Which chain some targets take.
#[derive(Clone, Debug)]
pub struct Route {
    /// The targets.
    pub rule: router::Rule,
    /// An index into [`Config::chains`].
    pub chain: usize,
    /// Where it is written; for the route that holds when none is written, where its chain is.
    pub place: Option<Place>,
}

impl Level {
    /// All there are, from the least that is logged to the most.
    pub const ALL: [Self; 6] =
        [Self::Off, Self::Error, Self::Warn, Self::Info, Self::Debug, Self::Trace];

    /// The name that operators write.
    pub fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

impl Format {
    /// All there are.
    pub const ALL: [Self; 2] = [Self::Text, Self::Json];

    /// The name that operators write.
    pub fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Json => "json",
        }
    }
}

/// A name that is none of those there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no such name")]
pub struct UnknownName;

macro_rules! by_name {
    ($($type:ty),*) => {$(
        impl FromStr for $type {
            type Err = UnknownName;

            fn from_str(text: &str) -> Result<Self, UnknownName> {
                Self::ALL.into_iter().find(|one| one.name() == text).ok_or(UnknownName)
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.name())
            }
        }
    )*};
}

by_name!(Level, Format);
