//! What operators write, typed and not yet resolved.

use std::{
    borrow::Cow, fmt, marker::PhantomData, net::SocketAddr, num::NonZeroU16, path::PathBuf,
    time::Duration,
};

use mooltiroute_hops::Secret;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{
    Deserialize, Deserializer,
    de::{
        self, IntoDeserializer as _, SeqAccess, Visitor,
        value::{MapAccessDeserializer, SeqAccessDeserializer},
    },
};

use super::{
    Format, Level,
    units::{Period, Size},
};
use crate::router::HostPattern;

/// The sections of a configuration.
pub(super) const SECTIONS: [&str; 7] =
    ["server", "timeouts", "limits", "log", "hops", "chains", "routes"];

/// Where clients are accepted, and which.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, expecting = "a mapping of settings, such as `listen`")]
pub(super) struct Server {
    /// The address to listen on, or a list of them: an IP address and a port. `127.0.0.1:8888` is the default.
    /// Outside of loopback `auth` must be set.
    pub(super) listen: OneOrList<Listen>,
    /// What clients must send as Basic credentials. By default they need none.
    pub(super) auth: Option<Auth>,
    /// A pseudonym that `Via` fields are added with. The default, `none`, leaves clients unmarked.
    pub(super) via: Option<String>,
}

/// What clients must send as Basic credentials.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a mapping of `username` and `password`")]
pub(super) struct Auth {
    /// The username, which has no colon.
    pub(super) username: Secret,
    /// The password. Better from a variable, as `"${NAME}"`, than written here.
    pub(super) password: Option<Secret>,
    /// In place of `password`: a file whose content is the password. It is read again at each reload.
    pub(super) password_file: Option<PathBuf>,
}

/// An address to listen on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Listen(pub(super) SocketAddr);

/// How long things may take.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, expecting = "a mapping of settings, such as `connect`")]
pub(super) struct Timeouts {
    /// A client's request head, from its first byte to its last. The default is `30s`.
    pub(super) header: Period,
    /// The look-up and TCP to the first hop or the target, and TLS with a hop. The default is `10s`.
    pub(super) connect: Period,
    /// Each hop's whole answer to CONNECT, and the wait for a hop's answer to a plain request. The default is `30s`.
    pub(super) handshake: Period,
    /// A tunnel without a byte either way is ended after this. The default, `0s`, is never.
    pub(super) idle: Period,
    /// A tunnel that one side has ended is ended after this without a byte the other way. The default is `5m`.
    pub(super) half_closed: Period,
    /// What is still open this long after the first signal to stop is cut. The default is `30s`.
    pub(super) drain: Period,
}

/// How much is taken from clients.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, expecting = "a mapping of settings, such as `connections`")]
pub(super) struct Limits {
    /// Client connections at once, at least 1; one more is answered 503. The default is 10000.
    pub(super) connections: usize,
    /// The head of a message, from `1KiB` to `1MiB`. The default is `64KiB`.
    pub(super) header_bytes: Size,
}

/// What the log holds.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, expecting = "a mapping of settings, such as `level`")]
pub(super) struct Log {
    /// The least important events that are logged. The default is `info`.
    pub(super) level: Level,
    /// How events are written. The default is `text`.
    pub(super) format: Format,
    /// Whether each tunnel and each request has a line when it has ended. The default is `true`.
    pub(super) access: bool,
}

/// A chain: a list of hops, or the long form.
#[derive(Debug)]
pub(super) struct Chain {
    pub(super) hops: Vec<String>,
    pub(super) warm: usize,
    /// Which of the two it is; paths of problems differ.
    pub(super) is_long: bool,
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
pub(super) struct Route {
    /// Names, `*.suffix` for all names below one, addresses and networks. Left out: every host.
    pub(super) hosts: Option<Vec<HostPattern>>,
    /// Ports. Left out: every port.
    pub(super) ports: Option<Vec<NonZeroU16>>,
    /// A chain of `chains`, or `direct`, which has no hop.
    pub(super) chain: String,
}

/// A single value, or a list of them.
#[derive(Debug)]
pub(super) struct OneOrList<T>(pub(super) Vec<T>);

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
        Self { connections: 10_000, header_bytes: Size(64 * 1024) }
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

impl<'de, T: Deserialize<'de>> Deserialize<'de> for OneOrList<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct One<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for One<T> {
            type Value = OneOrList<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an address such as `127.0.0.1:8888`, or a list of them")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<OneOrList<T>, E> {
                T::deserialize(text.into_deserializer()).map(|one| OneOrList(vec![one]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<OneOrList<T>, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(list)).map(OneOrList)
            }
        }

        deserializer.deserialize_any(One(PhantomData))
    }
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

impl<T: JsonSchema> JsonSchema for OneOrList<T> {
    fn schema_name() -> Cow<'static, str> {
        format!("OneOrList{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let one = generator.subschema_for::<T>();
        let list = generator.subschema_for::<Vec<T>>();
        json_schema!({ "anyOf": [one, list] })
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
