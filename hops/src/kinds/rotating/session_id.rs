//! The identifiers by which a provider tells sessions apart.

use std::num::NonZeroU8;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::preferences::stable_number;

/// The form of a session identifier that a provider accepts.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct SessionId {
    /// The characters of an identifier.
    characters: Characters,
    /// The exact length of an identifier. Default: `session` may have 1 to 64 characters, and a client's session
    /// gets an identifier of 8.
    #[serde(skip_serializing_if = "Option::is_none")]
    length: Option<NonZeroU8>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Characters {
    Digits,
    #[default]
    Alphanumeric,
}

impl SessionId {
    /// Returns whether the provider accepts this identifier.
    pub(super) fn fits(&self, id: &str) -> bool {
        let is_allowed = |byte: u8| match self.characters {
            Characters::Digits => byte.is_ascii_digit(),
            Characters::Alphanumeric => byte.is_ascii_alphanumeric(),
        };
        let lengths = match self.length {
            Some(length) => usize::from(length.get())..=usize::from(length.get()),
            None => 1..=WRITTEN_LENGTH_MAX,
        };
        lengths.contains(&id.len()) && id.bytes().all(is_allowed)
    }

    /// Returns the words for what may be written as an identifier, such as "8 digits".
    pub(super) fn in_words(&self) -> String {
        let characters = match self.characters {
            Characters::Digits => "digits",
            Characters::Alphanumeric => "letters (a to z) and digits",
        };
        match self.length {
            Some(length) => format!("{length} {characters}"),
            None => format!("1 to {WRITTEN_LENGTH_MAX} {characters}"),
        }
    }

    /// Returns the identifier for a client's session `name`. It is the same in every process and version.
    pub(super) fn for_name(&self, name: &str) -> String {
        // These alphabets may never change, or each client would get another exit.
        let alphabet: &[u8] = match self.characters {
            Characters::Digits => b"0123456789",
            Characters::Alphanumeric => b"0123456789abcdefghijklmnopqrstuvwxyz",
        };
        let character = |position: u8| {
            // A provider that reads a number would not see zeros in front of it.
            let alphabet = if position == 0 { &alphabet[1..] } else { alphabet };
            // Each place is hashed separately, because the 64 bits of one hash are too few for a long identifier.
            let number = stable_number(&format!("{position}/{name}")) % alphabet.len() as u64;
            alphabet.get(number as usize).copied().map(char::from)
        };
        (0..self.length.map_or(DEFAULT_LENGTH, NonZeroU8::get)).filter_map(character).collect()
    }
}

const DEFAULT_LENGTH: u8 = 8;
const WRITTEN_LENGTH_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn id(characters: Characters, length: Option<u8>) -> SessionId {
        SessionId { characters, length: length.and_then(NonZeroU8::new) }
    }

    #[test]
    fn what_stands_for_a_name_fits_and_stays() {
        for characters in [Characters::Digits, Characters::Alphanumeric] {
            for length in [None, Some(1), Some(8), Some(64)] {
                let id = id(characters, length);
                assert!(id.fits(&id.for_name("alice")), "{id:?}");
                assert_eq!(id.for_name("alice"), id.for_name("alice"));
            }
        }
        let id = id(Characters::Alphanumeric, Some(8));
        assert_ne!(id.for_name("alice"), id.for_name("bob"));
        assert_eq!(id.for_name("alice"), "wkuh6ad4");
    }

    #[test]
    fn what_is_written_must_fit() {
        let digits = id(Characters::Digits, None);
        assert!(digits.fits("0") && !digits.fits("") && !digits.fits("a"));
        let eight = id(Characters::Alphanumeric, Some(8));
        assert_eq!(digits.in_words(), "1 to 64 digits");
        assert_eq!(eight.in_words(), "8 letters (a to z) and digits");
        assert!(eight.fits("abcdEF12") && !eight.fits("abc") && !eight.fits("abcdEF1-"));
    }
}
