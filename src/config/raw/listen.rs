//! The entries of `server.listen` as operators write them.

use std::{borrow::Cow, fmt, net::SocketAddr, path::PathBuf};

use mooltiroute_hops::OneOrList;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{
        self, IntoDeserializer as _, MapAccess, SeqAccess, Visitor,
        value::{MapAccessDeserializer, SeqAccessDeserializer},
    },
};

use crate::config::ListenAddress;

/// The value of `server.listen`: one entry or a list of them.
#[derive(Clone, Debug)]
pub(crate) struct RawListeners(pub(crate) Vec<Listen>);

/// One entry of `server.listen`: an address, or a mapping of `address` and `tls`.
#[derive(Clone, Debug)]
pub(crate) struct Listen {
    pub(crate) address: ListenAddress,
    pub(crate) tls: Option<ListenTls>,
    /// Whether it is written as a mapping; paths of problems differ.
    pub(crate) is_mapping: bool,
}

/// The long form of an entry.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a mapping of `address` and `tls`")]
struct LongListen {
    /// The address.
    address: Address,
    /// TLS with the clients of this address, which is an HTTPS proxy then.
    tls: Option<ListenTls>,
}

/// TLS with the clients of a listener.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a mapping of `cert` and `key`")]
pub(crate) struct ListenTls {
    /// A PEM file with the server's certificate, followed by those of its issuers.
    pub(crate) cert: PathBuf,
    /// A PEM file with the private key of the certificate.
    pub(crate) key: PathBuf,
    /// A PEM file with authorities. Clients must present a certificate of one of them.
    pub(crate) client_ca: Option<PathBuf>,
}

/// The text of an address.
#[derive(Clone, Copy, Debug)]
struct Address(ListenAddress);

impl Default for RawListeners {
    fn default() -> Self {
        let address = ListenAddress::Socket(SocketAddr::from(([127, 0, 0, 1], 8888)));
        Self(vec![Listen { address, tls: None, is_mapping: false }])
    }
}

impl<'de> Deserialize<'de> for RawListeners {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ListenersVisitor)
    }
}

struct ListenersVisitor;

impl<'de> Visitor<'de> for ListenersVisitor {
    type Value = RawListeners;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an address such as `127.0.0.1:8888`, or a list of them")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<RawListeners, E> {
        Listen::deserialize(text.into_deserializer()).map(|one| RawListeners(vec![one]))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<RawListeners, A::Error> {
        Listen::deserialize(MapAccessDeserializer::new(map)).map(|one| RawListeners(vec![one]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<RawListeners, A::Error> {
        Vec::deserialize(SeqAccessDeserializer::new(list)).map(RawListeners)
    }
}

impl<'de> Deserialize<'de> for Listen {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ListenVisitor)
    }
}

struct ListenVisitor;

impl<'de> Visitor<'de> for ListenVisitor {
    type Value = Listen;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an address such as `127.0.0.1:8888`, or a mapping of `address` and `tls`")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Listen, E> {
        let Address(address) = Address::deserialize(text.into_deserializer())?;
        Ok(Listen { address, tls: None, is_mapping: false })
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Listen, A::Error> {
        let LongListen { address: Address(address), tls } =
            LongListen::deserialize(MapAccessDeserializer::new(map))?;
        Ok(Listen { address, tls, is_mapping: true })
    }
}

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map(Self).map_err(de::Error::custom)
    }
}

/// Writes the default of `server.listen` into the schema.
impl Serialize for RawListeners {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        OneOrList(self.0.iter().map(|listen| listen.address.to_string()).collect())
            .serialize(serializer)
    }
}

impl JsonSchema for RawListeners {
    fn schema_name() -> Cow<'static, str> {
        "Listeners".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let address = generator.subschema_for::<Address>();
        let long = generator.subschema_for::<LongListen>();
        let entry = json_schema!({ "anyOf": [address, long] });
        let list = json_schema!({ "type": "array", "items": entry });
        json_schema!({ "anyOf": [address, long, list] })
    }
}

impl JsonSchema for Address {
    fn schema_name() -> Cow<'static, str> {
        "ListenAddress".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let pattern = r"^(localhost|\[[0-9A-Fa-f:.]+\]|[0-9.]+):[0-9]{1,5}$";
        json_schema!({ "type": "string", "pattern": pattern })
    }
}
