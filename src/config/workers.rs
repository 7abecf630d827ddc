//! The number of threads that serve connections.

use std::{borrow::Cow, fmt, num::NonZeroUsize, thread};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The value of `server.workers`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkerCount {
    /// This many threads.
    Fixed(NonZeroUsize),
    /// A thread for each processor that this process may use.
    Auto,
}

impl WorkerCount {
    /// Returns the number of threads.
    pub(crate) fn get(self) -> NonZeroUsize {
        match self {
            Self::Fixed(count) => count,
            Self::Auto => thread::available_parallelism()
                .map_or(NonZeroUsize::MIN, |count| count.min(COUNT_MAX)),
        }
    }
}

impl Default for WorkerCount {
    fn default() -> Self {
        Self::Fixed(NonZeroUsize::MIN)
    }
}

impl fmt::Display for WorkerCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(count) => count.fmt(f),
            Self::Auto => f.write_str("auto"),
        }
    }
}

impl<'de> Deserialize<'de> for WorkerCount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct CountOrAuto;

        impl de::Visitor<'_> for CountOrAuto {
            type Value = WorkerCount;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a number of threads from 1 to {COUNT_MAX}, or `auto`")
            }

            fn visit_u64<E: de::Error>(self, count: u64) -> Result<WorkerCount, E> {
                usize::try_from(count)
                    .ok()
                    .and_then(NonZeroUsize::new)
                    .filter(|count| *count <= COUNT_MAX)
                    .map(WorkerCount::Fixed)
                    .ok_or_else(|| E::invalid_value(de::Unexpected::Unsigned(count), &self))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<WorkerCount, E> {
                match text {
                    "auto" => Ok(WorkerCount::Auto),
                    // A value that comes from a variable is a text.
                    _ => match text.parse() {
                        Ok(count) => self.visit_u64(count),
                        Err(_) => Err(E::invalid_value(de::Unexpected::Str(text), &self)),
                    },
                }
            }
        }

        deserializer.deserialize_any(CountOrAuto)
    }
}

impl Serialize for WorkerCount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Fixed(count) => count.serialize(serializer),
            Self::Auto => serializer.serialize_str("auto"),
        }
    }
}

impl JsonSchema for WorkerCount {
    fn schema_name() -> Cow<'static, str> {
        "WorkerCount".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "anyOf": [
                { "type": "integer", "minimum": 1, "maximum": COUNT_MAX.get() },
                { "const": "auto" }
            ]
        })
    }
}

/// More threads than any machine needs for a local proxy.
const COUNT_MAX: NonZeroUsize = NonZeroUsize::new(256).unwrap();

#[cfg(test)]
mod tests {
    use super::*;

    fn read(yaml: &str) -> Result<String, String> {
        let read: Result<WorkerCount, _> = serde_yaml::from_str(yaml);
        read.map(|count| count.to_string()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_number_or_auto_is_read_and_nothing_else() {
        assert_eq!(read("1").as_deref(), Ok("1"));
        assert_eq!(read("\"16\"").as_deref(), Ok("16"));
        assert_eq!(read("auto").as_deref(), Ok("auto"));
        for bad in ["0", "257", "-1", "1.5", "many", "[1]"] {
            let error = read(bad).unwrap_err();
            assert!(error.contains("from 1 to 256, or `auto`"), "{bad}: {error}");
        }
    }
}
