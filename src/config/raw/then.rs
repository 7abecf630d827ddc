//! The consequence of a budget that is used up.

use std::{borrow::Cow, fmt};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, Visitor, value::MapAccessDeserializer},
};

/// How new requests are treated once a budget is used up.
#[derive(Clone, Debug, Default)]
pub(crate) enum Then {
    #[default]
    Refuse,
    Chain(String),
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ThenChain {
    /// The name of a chain.
    chain: String,
}

impl<'de> Deserialize<'de> for Then {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ThenForm;

        impl<'de> Visitor<'de> for ThenForm {
            type Value = Then;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`refuse`, or a mapping of `chain`")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Then, E> {
                match text {
                    "refuse" => Ok(Then::Refuse),
                    _ => Err(E::invalid_value(de::Unexpected::Str(text), &self)),
                }
            }

            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Then, A::Error> {
                let ThenChain { chain } = ThenChain::deserialize(MapAccessDeserializer::new(map))?;
                Ok(Then::Chain(chain))
            }
        }

        deserializer.deserialize_any(ThenForm)
    }
}

/// Writes the default of `then` into the schema.
impl Serialize for Then {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("refuse")
    }
}

impl JsonSchema for Then {
    fn schema_name() -> Cow<'static, str> {
        "Then".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let chain = generator.subschema_for::<ThenChain>();
        json_schema!({ "anyOf": [{ "type": "string", "enum": ["refuse"] }, chain] })
    }
}
