//! The time between two fetches of a list.

use std::{borrow::Cow, fmt, time::Duration};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A time from one second to thirty days, such as `10m` or `1h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Every(pub(super) Duration);

impl Default for Every {
    fn default() -> Self {
        Self(DEFAULT)
    }
}

impl<'de> Deserialize<'de> for Every {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(EveryVisitor)
    }
}

struct EveryVisitor;

impl de::Visitor<'_> for EveryVisitor {
    type Value = Every;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a duration with its unit, such as `10m` or `1h`")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Every, E> {
        match humantime::parse_duration(text) {
            Ok(every) if (MIN..=MAX).contains(&every) => Ok(Every(every)),
            Ok(_) => Err(E::custom("write a time from `1s` to `30d`")),
            Err(_) => Err(E::invalid_value(de::Unexpected::Str(text), &self)),
        }
    }
}

/// Writes the default into the schema, as an operator would write it.
impl Serialize for Every {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&humantime::format_duration(self.0))
    }
}

impl JsonSchema for Every {
    fn schema_name() -> Cow<'static, str> {
        "Every".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^ *[0-9]+ *[a-zA-Z]", "examples": ["10m", "1h"] })
    }
}

const DEFAULT: Duration = Duration::from_secs(10 * 60);
const MIN: Duration = Duration::from_secs(1);
const MAX: Duration = Duration::from_secs(30 * 24 * 60 * 60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_within_their_limits() {
        let read = |text: &str| serde_yaml::from_str::<Every>(text).map(|every| every.0.as_secs());
        for (text, seconds) in [("1s", 1), ("5m", 300), ("2 h", 7200), ("30d", 2_592_000)] {
            assert_eq!(read(text).ok(), Some(seconds), "{text}");
        }
        for text in ["900ms", "31d", "10", "60", "s", "5x", "-5m", "99999999999999999999d"] {
            assert!(read(text).is_err(), "{text}");
        }
        assert_eq!(serde_yaml::to_string(&Every::default()).unwrap().trim(), "10m");
    }
}
