//! The value of `tls:`.

use std::{borrow::Cow, fmt, path::PathBuf};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The value of a hop's `tls:`: `true`, `false`, or a mapping of `ca` and `server_name`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum TlsSettings {
    /// No TLS.
    #[default]
    Off,
    /// TLS with these checks.
    On(TlsChecks),
}

/// How the certificate of a hop is checked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TlsChecks {
    /// A PEM file with the only authorities to trust, or with the very certificate that the hop shows. Default: the
    /// system's authorities are trusted.
    pub ca: Option<PathBuf>,
    /// The name that the certificate must have. Default: the host of `address`.
    pub server_name: Option<String>,
}

impl<'de> Deserialize<'de> for TlsSettings {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TlsVisitor)
    }
}

/// Writes the default of `tls` into the schema.
impl Serialize for TlsSettings {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Off => serializer.serialize_bool(false),
            Self::On(checks) => checks.serialize(serializer),
        }
    }
}

impl JsonSchema for TlsSettings {
    fn schema_name() -> Cow<'static, str> {
        "Tls".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let checks = generator.subschema_for::<TlsChecks>();
        json_schema!({ "anyOf": [{ "type": "boolean" }, checks] })
    }
}

struct TlsVisitor;

impl<'de> de::Visitor<'de> for TlsVisitor {
    type Value = TlsSettings;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("`true`, `false`, or a mapping of `ca` and `server_name`")
    }

    fn visit_bool<E: de::Error>(self, is_on: bool) -> Result<TlsSettings, E> {
        Ok(if is_on { TlsSettings::On(TlsChecks::default()) } else { TlsSettings::Off })
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<TlsSettings, E> {
        // `"true"` may come from a variable, which is always a text.
        match text.parse() {
            Ok(is_on) => self.visit_bool(is_on),
            Err(_) => Err(E::invalid_type(de::Unexpected::Str(text), &self)),
        }
    }

    fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<TlsSettings, A::Error> {
        TlsChecks::deserialize(de::value::MapAccessDeserializer::new(map)).map(TlsSettings::On)
    }
}
