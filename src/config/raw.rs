//! The settings as operators write them: typed, but not yet resolved.

mod enabled;
mod listen;
mod then;

use std::{borrow::Cow, fmt, num::NonZeroU16, path::PathBuf, time::Duration};

use mooltiroute_hops::Secret;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{
    Deserialize, Deserializer,
    de::{
        self, SeqAccess, Visitor,
        value::{MapAccessDeserializer, SeqAccessDeserializer},
    },
};

pub use self::enabled::OnLeave;
pub(crate) use self::{
    enabled::Enabled,
    listen::{Listen, ListenTls, RawListeners},
    then::Then,
};
use crate::{
    config::{
        Level, LogFormat, Per, Protocol, WorkerCount,
        units::{Percent, Period, Size},
    },
    router::HostPattern,
};

/// The sections of a configuration.
pub(crate) const SECTIONS: [&str; 7] =
    ["server", "timeouts", "limits", "log", "hops", "chains", "routes"];

/// The listeners, and the clients that may use them.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, expecting = "a mapping of settings, such as `listen`")]
pub(crate) struct RawServer {
    /// The address to listen on (an IP address and a port, or `localhost` and a port for both loopback addresses), or a
    /// list of addresses. An address outside loopback requires `auth`, or `client_ca` in its `tls`. An entry may be a mapping of
    /// `address` and `tls`.
    pub(crate) listen: RawListeners,
    /// The protocols that clients may speak on these ports, told apart by the first byte. A client of any other is
    /// turned away.
    pub(crate) protocols: Vec<Protocol>,
    /// The threads that serve connections: a number, or `auto` for one per processor. Each
    /// connection goes to the thread that serves the fewest, and stays there. A change takes effect at the next start.
    pub(crate) workers: WorkerCount,
    /// The Basic credentials that clients must send. Default: clients need none.
    pub(crate) auth: Option<RawAuth>,
    /// The pseudonym for a `Via` field in plain requests, in their responses and in each CONNECT to a hop. `none`
    /// adds no field.
    pub(crate) via: Option<String>,
    /// The protocols that a plain request may switch to with `Upgrade`, such as `websocket`, which is the default. An
    /// offer of any other is removed, and its request goes on as an ordinary one.
    pub(crate) upgrades: Vec<String>,
}

/// The Basic credentials that clients must send.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a mapping of `username` and `password`")]
pub(crate) struct RawAuth {
    /// The username. It can't contain a colon.
    pub(crate) username: Secret,
    /// The password. Prefer a variable, as in `"${NAME}"`.
    pub(crate) password: Option<Secret>,
    /// A file that holds the password, instead of `password`. It is read again at each reload.
    pub(crate) password_file: Option<PathBuf>,
}

/// How long things may take.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, expecting = "a mapping of settings, such as `connect`")]
pub(crate) struct RawTimeouts {
    /// How long a client may take to send a request head, from its first byte to its last. In SOCKS, everything up to the
    /// end of the request counts. A TLS handshake with a client may take as long before that.
    pub(crate) header: Period,
    /// How long DNS and TCP may take to the first hop or the target, and TLS with each hop.
    pub(crate) connect: Period,
    /// How long each hop may take to answer CONNECT, all rounds of its authentication included.
    pub(crate) handshake: Period,
    /// How long the head of the answer to a plain request may take after the end of the request; `0s` means forever.
    pub(crate) response: Period,
    /// How long the receiver of a body, in either direction, may take none of it; `0s` means forever.
    pub(crate) stall: Period,
    /// How long a tunnel may move no byte in either direction before it is ended; `0s` means forever.
    pub(crate) idle: Period,
    /// How long a tunnel that one side has closed may move no byte in the other direction before it is ended.
    pub(crate) half_closed: Period,
    /// How long open connections may go on after the first signal to stop. Then they are cut.
    pub(crate) drain: Period,
}

/// How much is accepted from clients and upstreams.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, expecting = "a mapping of settings, such as `connections`")]
pub(crate) struct RawLimits {
    /// How many clients may be connected at once, at least 1. One more is answered with 503.
    pub(crate) connections: usize,
    /// How large the head of a message may be, from `1KiB` to `1MiB`: a client's request, an origin's answer, a hop's
    /// answer to CONNECT.
    pub(crate) header_bytes: Size,
    /// How many fields the head of a message may have, from 20 to 10000.
    pub(crate) header_fields: usize,
}

/// The log: its level, its format, and whether it has a line per request.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, expecting = "a mapping of settings, such as `level`")]
pub(crate) struct RawLog {
    /// The least important level that is logged.
    pub(crate) level: Level,
    /// The format of the log.
    pub(crate) format: LogFormat,
    /// Whether every tunnel and request is logged when it ends. Failures are always logged.
    pub(crate) access: bool,
}

/// A chain: a list of hops, or the long form.
#[derive(Debug)]
pub(crate) struct RawChain {
    pub(crate) hops: Vec<String>,
    pub(crate) warm: usize,
    /// Which of the two it is; paths of problems differ.
    pub(crate) is_long: bool,
}

/// The long form of a chain.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct LongChain {
    /// Hops in the order of travel, the nearest one first. A hop that is not enabled is left out.
    hops: Vec<String>,
    /// How many spare tunnels are kept ready before the last hop, at most 64.
    #[serde(default)]
    warm: usize,
}

/// Which targets take which chain.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a mapping of `hosts`, `ports` and `chain`")]
pub(crate) struct RawRoute {
    /// Host names, `*.suffix` for all names below one, addresses, and networks. Default: every host.
    pub(crate) hosts: Option<Vec<HostPattern>>,
    /// Ports. Default: every port.
    pub(crate) ports: Option<Vec<NonZeroU16>>,
    /// The name of a chain, or `direct`, which has no hop.
    pub(crate) chain: String,
}

/// A limit on the bytes that a hop may carry in a period, counted on the wire as a provider bills them.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a mapping of `bytes` and `per`")]
pub(crate) struct RawBudget {
    /// The bytes of one period, up and down, such as `5GiB`.
    pub(crate) bytes: Size,
    /// The length of a period.
    pub(crate) per: Per,
    /// The time zone in which periods begin, such as `Europe/Berlin`. Any but `UTC` needs the system's package `tzdata`.
    #[serde(default = "utc")]
    pub(crate) zone: String,
    /// The part of `bytes` after which a warning is logged.
    #[serde(default)]
    pub(crate) warn: Percent,
    /// How new requests are treated once it is used up: `refuse`, or a mapping of `chain`, the chain to take instead.
    #[serde(default)]
    pub(crate) then: Then,
    /// Whether open tunnels are ended too once it is used up.
    #[serde(default)]
    pub(crate) cut: bool,
}

fn utc() -> String {
    "UTC".to_owned()
}

impl Default for RawServer {
    fn default() -> Self {
        // Defaults are written once, here and below: the JSON Schema and the tables in docs/ take them from
        // these values.
        let upgrades = vec!["websocket".to_owned()];
        let protocols = Protocol::ALL.to_vec();
        Self {
            listen: RawListeners::default(),
            protocols,
            workers: WorkerCount::default(),
            auth: None,
            via: None,
            upgrades,
        }
    }
}

impl Default for RawTimeouts {
    fn default() -> Self {
        let seconds = |seconds| Period(Duration::from_secs(seconds));
        Self {
            header: seconds(30),
            connect: seconds(10),
            handshake: seconds(30),
            response: seconds(5 * 60),
            stall: seconds(5 * 60),
            idle: seconds(0),
            half_closed: seconds(5 * 60),
            drain: seconds(30),
        }
    }
}

impl Default for RawLimits {
    fn default() -> Self {
        Self { connections: 10_000, header_bytes: Size(64 * 1024), header_fields: 500 }
    }
}

impl Default for RawLog {
    fn default() -> Self {
        Self { level: Level::Info, format: LogFormat::Text, access: true }
    }
}

impl<'de> Deserialize<'de> for RawChain {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // An untagged enum of serde would try both forms and report neither mistake, only that no form fits.
        // The visitor keeps the path and the words of the form that was written.
        struct ChainForm;

        impl<'de> Visitor<'de> for ChainForm {
            type Value = RawChain;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of hops, such as `[NAME]`, or a mapping of `hops` and `warm`")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<RawChain, A::Error> {
                let hops = Vec::deserialize(SeqAccessDeserializer::new(list))?;
                Ok(RawChain { hops, warm: 0, is_long: false })
            }

            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<RawChain, A::Error> {
                let LongChain { hops, warm } =
                    LongChain::deserialize(MapAccessDeserializer::new(map))?;
                Ok(RawChain { hops, warm, is_long: true })
            }
        }

        deserializer.deserialize_any(ChainForm)
    }
}

impl JsonSchema for RawChain {
    fn schema_name() -> Cow<'static, str> {
        "Chain".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        // By hand, since the derived schema would be that of the fields of `RawChain`, which is neither form.
        let short = generator.subschema_for::<Vec<String>>();
        let long = generator.subschema_for::<LongChain>();
        let description = "Hops in the order of travel, the nearest one first; or a mapping of `hops` and `warm`. An empty list goes direct.";
        json_schema!({ "description": description, "anyOf": [short, long] })
    }
}
