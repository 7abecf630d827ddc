//! The code of a country.

use std::{borrow::Cow, fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, de};
use thiserror::Error;

use crate::Listed;

/// Two letters that name a country (ISO 3166-1 alpha-2), read in upper or lower case.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Country([u8; 2]);

/// The text is not a code of a country.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a country is written as its code of two letters, such as `us`")]
pub struct InvalidCountry;

impl Country {
    /// Returns the code in lower case.
    pub fn lower(self) -> String {
        self.to_string()
    }

    /// Returns what is odd about a code that looks right, and what to do about it.
    pub fn doubt(self) -> Option<(&'static str, &'static str)> {
        (self.0 == *b"uk").then_some((
            "is not a code of ISO 3166, in which the United Kingdom is `gb`",
            "write `gb`, unless the provider's documentation has `uk`",
        ))
    }

    /// Returns the code in upper case.
    pub fn upper(self) -> String {
        self.to_string().to_ascii_uppercase()
    }
}

impl Listed for Country {
    const EXPECTED: &'static str = "a country such as `us`, or a list of them";
}

impl FromStr for Country {
    type Err = InvalidCountry;

    fn from_str(text: &str) -> Result<Self, InvalidCountry> {
        match text.as_bytes() {
            // Providers differ in the case they expect, so one form is kept and each template chooses the case.
            &[first, second] if first.is_ascii_alphabetic() && second.is_ascii_alphabetic() => {
                Ok(Self([first.to_ascii_lowercase(), second.to_ascii_lowercase()]))
            }
            _ => Err(InvalidCountry),
        }
    }
}

impl fmt::Display for Country {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|&letter| write!(f, "{}", char::from(letter)))
    }
}

impl fmt::Debug for Country {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl JsonSchema for Country {
    fn schema_name() -> Cow<'static, str> {
        "Country".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[A-Za-z]{2}$" })
    }
}

impl<'de> Deserialize<'de> for Country {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_two_letters_are_a_country() {
        let us: Country = "Us".parse().unwrap();
        assert_eq!((us.lower(), us.upper()), ("us".into(), "US".into()));
        for text in ["", "u", "usa", "u1", "ü", "-s"] {
            assert_eq!(text.parse::<Country>(), Err(InvalidCountry), "{text}");
        }
    }
}
