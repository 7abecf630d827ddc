//! What operators write, typed and not yet resolved.

use std::{fmt, net::SocketAddr, num::NonZeroU16, time::Duration};

use mooltiroute_hops::{OneOrList, Secret};
use serde::{
    Deserialize, Deserializer,
    de::{
        self, SeqAccess, Visitor,
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

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Server {
    pub(super) listen: OneOrList<Listen>,
    pub(super) auth: Option<Auth>,
    pub(super) via: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Auth {
    pub(super) username: Secret,
    pub(super) password: Secret,
}

/// An address to listen on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Listen(pub(super) SocketAddr);

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Timeouts {
    pub(super) header: Period,
    pub(super) connect: Period,
    pub(super) handshake: Period,
    pub(super) idle: Period,
    pub(super) half_closed: Period,
    pub(super) drain: Period,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Limits {
    pub(super) connections: usize,
    pub(super) header_bytes: Size,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Log {
    pub(super) level: Level,
    pub(super) format: Format,
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

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Route {
    pub(super) hosts: Option<Vec<HostPattern>>,
    pub(super) ports: Option<Vec<NonZeroU16>>,
    pub(super) chain: String,
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

impl<'de> Deserialize<'de> for Chain {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Long {
            hops: Vec<String>,
            #[serde(default)]
            warm: usize,
        }

        struct EitherForm;

        impl<'de> Visitor<'de> for EitherForm {
            type Value = Chain;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of hops, or a mapping of `hops` and `warm`")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Chain, A::Error> {
                let hops = Vec::deserialize(SeqAccessDeserializer::new(list))?;
                Ok(Chain { hops, warm: 0, is_long: false })
            }

            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Chain, A::Error> {
                let Long { hops, warm } = Long::deserialize(MapAccessDeserializer::new(map))?;
                Ok(Chain { hops, warm, is_long: true })
            }
        }

        deserializer.deserialize_any(EitherForm)
    }
}
