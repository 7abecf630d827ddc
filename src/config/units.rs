//! Durations and sizes, as operators write them.

use std::{borrow::Cow, fmt, time::Duration};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A duration such as `500ms`, `10s` or `5m`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Period(pub(crate) Duration);

/// A size such as `64KiB`, `1MiB` or a number of bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size(pub(crate) usize);

/// A part of a whole, such as `80%`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Percent(pub(crate) u8);

impl Default for Percent {
    fn default() -> Self {
        Self(80)
    }
}

impl<'de> Deserialize<'de> for Percent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PercentVisitor;

        impl de::Visitor<'_> for PercentVisitor {
            type Value = Percent;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a percentage such as `80%`")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Percent, E> {
                let number =
                    text.strip_suffix('%').and_then(|number| number.trim_end().parse().ok());
                let number = number.filter(|number| (1..=100).contains(number));
                number.map(Percent).ok_or_else(|| E::custom("is not a percentage such as `80%`"))
            }
        }

        deserializer.deserialize_any(PercentVisitor)
    }
}

/// Writes the default of a setting into the schema, as an operator would write it.
impl Serialize for Percent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{}%", self.0))
    }
}

impl JsonSchema for Percent {
    fn schema_name() -> Cow<'static, str> {
        "Percent".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[0-9]{1,3} *%$", "examples": ["80%"] })
    }
}

impl<'de> Deserialize<'de> for Period {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PeriodVisitor;

        impl de::Visitor<'_> for PeriodVisitor {
            type Value = Period;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a duration with its unit, such as `500ms`, `10s` or `5m`")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Period, E> {
                // There is no `visit_u64`, so a bare number is refused: it could mean seconds or
                // milliseconds.
                match humantime::parse_duration(text) {
                    Ok(period) if period <= PERIOD_MAX => Ok(Period(period)),
                    Ok(_) => Err(E::custom("a duration is at most 365 days")),
                    Err(_) => Err(E::custom(
                        "is not a duration with its unit, such as `500ms`, `10s` or `5m`",
                    )),
                }
            }
        }

        deserializer.deserialize_any(PeriodVisitor)
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct SizeVisitor;

        impl de::Visitor<'_> for SizeVisitor {
            type Value = Size;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a size such as `64KiB` or `1MiB`")
            }

            fn visit_u64<E: de::Error>(self, bytes: u64) -> Result<Size, E> {
                let bytes = usize::try_from(bytes).ok();
                bytes.map(Size).ok_or_else(|| E::custom("this is too large"))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Size, E> {
                // A number of bytes without a unit arrives here if it comes from a variable.
                let invalid = || E::custom("is not a size such as `64KiB` or `1MiB`");
                let digits = text.bytes().take_while(u8::is_ascii_digit).count();
                let (number, unit) = text.split_at(digits);
                let factor: u64 = match unit.trim_start() {
                    "" | "B" => 1,
                    "KiB" => 1 << 10,
                    "MiB" => 1 << 20,
                    "GiB" => 1 << 30,
                    "TiB" => 1 << 40,
                    _ => return Err(invalid()),
                };
                let number: u64 = number.parse().map_err(|_| invalid())?;
                self.visit_u64(number.saturating_mul(factor))
            }
        }

        deserializer.deserialize_any(SizeVisitor)
    }
}

/// Writes the default of a setting into the schema, as an operator would write it.
impl Serialize for Period {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&humantime::format_duration(self.0))
    }
}

/// Writes the default of a setting into the schema, as an operator would write it.
impl Serialize for Size {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            bytes if bytes % (1 << 20) == 0 => {
                serializer.collect_str(&format_args!("{}MiB", bytes >> 20))
            }
            bytes if bytes % (1 << 10) == 0 => {
                serializer.collect_str(&format_args!("{}KiB", bytes >> 10))
            }
            bytes => serializer.serialize_u64(bytes as u64),
        }
    }
}

impl JsonSchema for Period {
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^ *[0-9]+ *[a-zA-Zµ]", "examples": ["500ms", "10s", "5m"] })
    }
}

impl JsonSchema for Size {
    fn schema_name() -> Cow<'static, str> {
        "Size".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["integer", "string"], "pattern": "^[0-9]+ *(B|KiB|MiB|GiB|TiB)?$", "minimum": 0, "examples": ["64KiB"] })
    }
}

/// The longest period: longer than any timeout needs, and short enough to add to any time.
const PERIOD_MAX: Duration = Duration::from_secs(365 * 24 * 60 * 60);

#[cfg(test)]
mod tests {
    use mooltiroute_hops::Settings;

    use super::*;

    fn read<T: de::DeserializeOwned>(yaml: &str) -> Option<T> {
        serde_yaml::from_str::<Settings>(yaml).unwrap().read().ok()
    }

    #[test]
    fn durations_have_units() {
        let period = |yaml| read::<Period>(yaml).map(|period| period.0);
        assert_eq!(period("500ms"), Some(Duration::from_millis(500)));
        assert_eq!(period("1m 30s"), Some(Duration::from_secs(90)));
        assert_eq!(period("0s"), Some(Duration::ZERO));
        for wrong in [
            "30",
            "'30'",
            "s",
            "-1s",
            "1 fortnight",
            "400days",
            "[1s]",
            "",
            "999999999999999999999s",
        ] {
            assert_eq!(period(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn sizes_are_binary() {
        let size = |yaml| read::<Size>(yaml).map(|size| size.0);
        assert_eq!(size("64KiB"), Some(65536));
        assert_eq!(size("1 MiB"), Some(1 << 20));
        assert_eq!(size("2TiB"), usize::try_from(2_u64 << 40).ok());
        assert_eq!(size("512"), Some(512));
        assert_eq!(size("'512'"), Some(512));
        for wrong in ["64KB", "64k", "KiB", "-1", "1.5MiB", "{}", ""] {
            assert_eq!(size(wrong), None, "{wrong}");
        }
    }
}
