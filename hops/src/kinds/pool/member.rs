//! A member of a pool, as written.

use std::{borrow::Cow, fmt, sync::Arc};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, de};

use crate::{BuildContext, Hop, InvalidSetting, Settings};

/// The name of a hop, or a hop of the pool's own, written as below `hops:`.
#[derive(Debug)]
pub(super) enum Member {
    Name(String),
    Own(Settings),
}

impl Member {
    /// Returns the hop, or `None` if it is disabled.
    pub(super) fn build(
        &self,
        context: &BuildContext<'_>,
    ) -> Result<Option<Arc<dyn Hop>>, Vec<InvalidSetting>> {
        match self {
            Self::Name(name) => context.hop(name).map_err(|invalid| vec![invalid]),
            Self::Own(settings) => context.build(settings).map(Some),
        }
    }

    /// Returns the name below `hops:`, unless the hop is the pool's own.
    pub(super) fn hop_name(&self) -> Option<&str> {
        match self {
            Self::Name(name) => Some(name),
            Self::Own(_) => None,
        }
    }
}

impl JsonSchema for Member {
    fn schema_name() -> Cow<'static, str> {
        "Member".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [{ "type": "string" }, { "type": "object", "required": ["kind"] }] })
    }
}

impl<'de> Deserialize<'de> for Member {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(MemberVisitor)
    }
}

struct MemberVisitor;

impl<'de> de::Visitor<'de> for MemberVisitor {
    type Value = Member;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a hop, or a mapping of a hop's `kind` and its settings")
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<Member, E> {
        Ok(Member::Name(name.to_owned()))
    }

    fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Member, A::Error> {
        Settings::deserialize(de::value::MapAccessDeserializer::new(map)).map(Member::Own)
    }
}
