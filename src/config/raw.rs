//! What operators write, typed and not yet resolved.

use std::{borrow::Cow, fmt, net::SocketAddr, num::NonZeroU16, path::PathBuf, time::Duration};

use mooltiroute_hops::{Listed, OneOrList, Secret};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{
    Deserialize, Deserializer,
    de::{
        self, SeqAccess, Visitor,
        value::{MapAccessDeserializer, SeqAccessDeserializer},
    },
};

use crate::config::{
    Format, Level,
    units::{Period, Size},
};
use crate::router::HostPattern;

/// The sections of a configuration.
pub(crate) const SECTIONS: [&str; 7] =
    ["server", "timeouts", "limits", "log", "hops", "chains", "routes"];

/// Where clients are accepted, and which.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, expecting = "a mapping of settings, such as `listen`")]
pub(crate) struct Server {
    /// The address to listen on, or a list of them: an IP address and a port. `127.0.0.1:8888` is the default.
    /// Outside of loopback `auth` must be set.
    pub(crate) listen: OneOrList<Listen>,
    /// What clients must send as Basic credentials. By default they need none.
    pub(crate) auth: Option<Auth>,
    /// A pseudonym that `Via` fields are added with. The default, `none`, leaves clients unmarked.
    pub(crate) via: Option<String>,
}

/// What clients must send as Basic credentials.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a mapping of `username` and `password`")]
pub(crate) struct Auth {
    /// The username, which has no colon.
    pub(crate) username: Secret,
    /// The password. Better from a variable, as `"${NAME}"`, than written here.
    pub(crate) password: Option<Secret>,
    /// In place of `password`: a file whose content is the password. It is read again at each reload.
    pub(crate) password_file: Option<PathBuf>,
}

/// An address to listen on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Listen(pub(crate) SocketAddr);

/// How long things may take.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, expecting = "a mapping of settings, such as `connect`")]
pub(crate) struct Timeouts {
    /// A client's request head, from its first byte to its last. The default is `30s`.
    pub(crate) header: Period,
    /// The look-up and TCP to the first hop or the target, and TLS with a hop. The default is `10s`.
    pub(crate) connect: Period,
    /// Each hop's whole answer to CONNECT, and the wait for a hop's answer to a plain request. The default is `30s`.
    pub(crate) handshake: Period,
    /// A tunnel without a byte either way is ended after this. The default, `0s`, is never.
    pub(crate) idle: Period,
    /// A tunnel that one side has ended is ended after this without a byte the other way. The default is `5m`.
    pub(crate) half_closed: Period,
    /// What is still open this long after the first signal to stop is cut. The default is `30s`.
    pub(crate) drain: Period,
}

/// How much is accepted from clients and upstreams.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, expecting = "a mapping of settings, such as `connections`")]
pub(crate) struct Limits {
    /// Client connections at once, at least 1; one more is answered 503. The default is 10000.
    pub(crate) connections: usize,
    /// The size of a message's head, from `1KiB` to `1MiB`: a client's request, an origin's answer, a hop's answer to
    /// CONNECT. The default is `64KiB`.
    pub(crate) header_bytes: Size,
    /// The number of fields in such a head, from 20 to 10000. The default is 500.
    pub(crate) header_fields: usize,
}

/// What the log holds.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, expecting = "a mapping of settings, such as `level`")]
pub(crate) struct Log {
    /// The least important events that are logged. The default is `info`.
    pub(crate) level: Level,
    /// How events are written. The default is `text`.
    pub(crate) format: Format,
    /// Whether each tunnel and each request has a line when it has ended. The default is `true`.
    pub(crate) access: bool,
}

/// A chain: a list of hops, or the long form.
#[derive(Debug)]
pub(crate) struct Chain {
    pub(crate) hops: Vec<String>,
    pub(crate) warm: usize,
    /// Which of the two it is; paths of problems differ.
    pub(crate) is_long: bool,
}

/// The long form of a chain.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct LongChain {
    /// Hops in the order of travel, the nearest one first. One that is not enabled is left out.
    hops: Vec<String>,
    /// How many spare tunnels are kept ready before the last hop, at most 64. The default is 0.
    #[serde(default)]
    warm: usize,
}

/// Which targets take which chain.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a mapping of `hosts`, `ports` and `chain`")]
pub(crate) struct Route {
    /// Names, `*.suffix` for all names below one, addresses and networks. Left out: every host.
    pub(crate) hosts: Option<Vec<HostPattern>>,
    /// Ports. Left out: every port.
    pub(crate) ports: Option<Vec<NonZeroU16>>,
    /// A chain of `chains`, or `direct`, which has no hop.
    pub(crate) chain: String,
}

impl Default for Server {
    fn default() -> Self {
        let listen = Listen(SocketAddr::from(([127, 0, 0, 1], 8888)));
        Self { listen: OneOrList(vec![listen]), auth: None, via: None }
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        let seconds = |seconds| Period(Duration::from_secs(seconds));
        Self {
            header: seconds(30),
            connect: seconds(10),
            handshake: seconds(30),
            idle: seconds(0),
            half_closed: seconds(5 * 60),
            drain: seconds(30),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self { connections: 10_000, header_bytes: Size(64 * 1024), header_fields: 500 }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self { level: Level::Info, format: Format::Text, access: true }
    }
}

impl<'de> Deserialize<'de> for Listen {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map(Self).map_err(|_| {
            de::Error::custom(
                "expected an IP address and a port, such as `127.0.0.1:8888` or `\"[::1]:8888\"`",
            )
        })
    }
}

impl Listed for Listen {
    const EXPECTED: &'static str = "an address such as `127.0.0.1:8888`, or a list of them";
}

impl<'de> Deserialize<'de> for Chain {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct EitherForm;

        impl<'de> Visitor<'de> for EitherForm {
            type Value = Chain;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of hops, such as `[NAME]`, or a mapping of `hops` and `warm`")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Chain, A::Error> {
                let hops = Vec::deserialize(SeqAccessDeserializer::new(list))?;
                Ok(Chain { hops, warm: 0, is_long: false })
            }

            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Chain, A::Error> {
                let LongChain { hops, warm } =
                    LongChain::deserialize(MapAccessDeserializer::new(map))?;
                Ok(Chain { hops, warm, is_long: true })
            }
        }

        deserializer.deserialize_any(EitherForm)
    }
}

impl JsonSchema for Listen {
    fn schema_name() -> Cow<'static, str> {
        "Listen".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": r"^(\[[0-9A-Fa-f:.]+\]|[0-9.]+):[0-9]{1,5}$" })
    }
}

impl JsonSchema for Chain {
    fn schema_name() -> Cow<'static, str> {
        "Chain".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let short = generator.subschema_for::<Vec<String>>();
        let long = generator.subschema_for::<LongChain>();
        let description = "Hops in the order of travel, the nearest one first; or a mapping of `hops` and `warm`. An empty list goes direct.";
        json_schema!({ "description": description, "anyOf": [short, long] })
    }
}
