//! A client's preferences for the exit of its connections.

use std::{fmt, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::time::Instant;

use crate::{Authority, ClientFields, Country, RequestLine, SettingMeaning};

/// The purpose of one connection. More facts may be added in time.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Request<'a> {
    /// The target of the request.
    pub target: &'a Authority,
    /// The client's preferences for the exit.
    pub preferences: &'a Preferences,
    /// The header fields of the client's CONNECT, if it speaks HTTP.
    pub fields: Option<&'a dyn ClientFields>,
    /// The first line of a plain request. `None` if the client wants a tunnel.
    pub plain: Option<RequestLine<'a>>,
    /// The pseudonym of this proxy for the `Via` field of each CONNECT on the way, if it is to have one.
    pub via: Option<&'a str>,
    /// When the chain began with the request, if it says so. A hop that needs the time reads no clock then.
    pub begun: Option<Instant>,
    /// The [numbers](crate::Selection::numbers) of a choice that the hop is to make again if its links are in use. Empty for a
    /// new choice.
    pub repeated: &'a [usize],
}

impl<'a> Request<'a> {
    /// Creates the request of a client that wants to go to `target` and has these preferences.
    pub fn new(target: &'a Authority, preferences: &'a Preferences) -> Self {
        let (fields, via, plain, begun) = (None, None, None, None);
        Self { target, preferences, fields, via, plain, begun, repeated: &[] }
    }

    /// Adds the header fields of the client's CONNECT.
    #[must_use]
    pub fn with_fields(self, fields: Option<&'a dyn ClientFields>) -> Self {
        Self { fields, ..self }
    }

    /// Makes it a plain request with this first line.
    #[must_use]
    pub fn with_plain(self, line: RequestLine<'a>) -> Self {
        Self { plain: Some(line), ..self }
    }

    /// Has each CONNECT on the way name this proxy by `via` (RFC 9110 §7.6.3).
    #[must_use]
    pub fn marked(self, via: Option<&'a str>) -> Self {
        Self { via, ..self }
    }

    /// Says when the chain began with it, which is now.
    #[must_use]
    pub fn begun_at(self, begun: Instant) -> Self {
        Self { begun: Some(begun), ..self }
    }

    /// Asks for the choice with these [numbers](crate::Selection::numbers) once more.
    #[must_use]
    pub fn repeating(self, repeated: &'a [usize]) -> Self {
        Self { repeated, ..self }
    }
}

/// A client's preferences for the exit of its connections. By default it has none.
///
/// It reads `session-NAME` and `country-CC`, one of them or both with a comma between, as in
/// `session-alice,country-us`. A name has letters, digits, `-`, `_` and `.`, and at most 64 of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Preferences {
    /// A name. Equal names get the same exit.
    pub session: Option<Box<str>>,
    /// An exit in this country.
    pub country: Option<Country>,
}

/// Who chooses the session of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Sessions {
    /// The configuration.
    #[default]
    Fixed,
    /// The client, through the username that it gives to this proxy.
    ByClient,
    /// The client, and it has to: one that names no session is asked for it with 407.
    ByClientRequired,
}

impl Sessions {
    /// Returns whether clients may state their preferences.
    pub fn are_by_client(self) -> bool {
        self != Self::Fixed
    }

    /// Returns what the key `sessions` does with this value.
    pub fn meaning(self) -> SettingMeaning {
        let words = match self {
            Self::Fixed => "this configuration chooses the exit, whatever a client asks for",
            Self::ByClient => {
                "a client that gives this proxy a username such as `session-NAME` gets an exit of its own, and keeps it"
            }
            Self::ByClientRequired => {
                "each client has to give this proxy a username such as `session-NAME`, and gets an exit of its own; one without \
                 is refused with 407"
            }
        };
        SettingMeaning { key: "sessions", words }
    }

    /// Returns whether clients have to name a session.
    pub fn are_required(self) -> bool {
        self == Self::ByClientRequired
    }
}

/// The reason why a text is not a list of preferences, or has one that can't be met.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Error)]
#[non_exhaustive]
pub enum InvalidPreferences {
    /// It has a part that is not a preference.
    #[error("a preference is written `session-NAME` or `country-CC`, with a comma between two")]
    Unknown,
    /// The session's name is empty, too long, or has other characters.
    #[error(
        "a session's name has letters, digits, `-`, `_` and `.`, and at most 64 of them; a comma is between a session and a \
         country"
    )]
    Session,
    /// The country is not a code of two letters.
    #[error(
        "a country is written as its code of two letters, as in `country-us`, with a comma before a session"
    )]
    Country,
    /// A preference occurs twice.
    #[error("each preference is written once")]
    Repeated,
    /// The hop can't choose a country.
    #[error("this hop can't choose a country for its clients")]
    NoCountry,
    /// The hop can choose a country only together with a session.
    #[error("this hop takes a country only together with a session; write `session-NAME` too")]
    CountryAlone,
}

impl Preferences {
    /// Returns the country that seems to be written into the name of the session, as in `session-alice-country-us`. Providers
    /// write usernames so; here a comma is between the two.
    pub fn country_in_session(&self) -> Option<Country> {
        let session = self.session.as_deref()?;
        let (before, rest) = session.split_once("country")?;
        let is_between = |one: char| "-_.".contains(one);
        let code = rest.strip_prefix(is_between)?;
        let code = code.split(is_between).next().unwrap_or_default();
        code.parse().ok().filter(|_| before.ends_with(is_between))
    }

    /// Returns whether nothing is preferred.
    pub fn is_empty(&self) -> bool {
        self.session.is_none() && self.country.is_none()
    }
}

impl FromStr for Preferences {
    type Err = InvalidPreferences;

    fn from_str(text: &str) -> Result<Self, InvalidPreferences> {
        let mut preferences = Self::default();
        // An unknown part is an error. A misspelt preference would otherwise give the client another exit than it
        // asked for, without a sign of it.
        for part in text.split(',') {
            let is_repeated = if let Some(name) = part.strip_prefix("session-") {
                if !is_session(name) {
                    return Err(InvalidPreferences::Session);
                }
                preferences.session.replace(name.into()).is_some()
            } else if let Some(code) = part.strip_prefix("country-") {
                let country = code.parse().map_err(|_| InvalidPreferences::Country)?;
                preferences.country.replace(country).is_some()
            } else {
                return Err(InvalidPreferences::Unknown);
            };
            // Two sessions or two countries contradict each other, and to choose one of them would be a guess.
            if is_repeated {
                return Err(InvalidPreferences::Repeated);
            }
        }
        Ok(preferences)
    }
}

impl fmt::Display for Preferences {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.session, self.country) {
            (Some(session), Some(country)) => write!(f, "session-{session},country-{country}"),
            (Some(session), None) => write!(f, "session-{session}"),
            (None, Some(country)) => write!(f, "country-{country}"),
            (None, None) => Ok(()),
        }
    }
}

/// Returns a number for `name`. It is the same in every process and every version, since providers know sessions by it.
pub(crate) fn stable_number(name: &str) -> u64 {
    // FNV-1a, then the last steps of SplitMix64, so that its lowest bits depend on the whole name too.
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

fn is_session(name: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    (1..=SESSION_BYTES_MAX).contains(&name.len()) && name.bytes().all(is_allowed)
}

const SESSION_BYTES_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Result<&str, InvalidPreferences>) {
        let parsed = text.parse::<Preferences>().map(|preferences| preferences.to_string());
        assert_eq!(parsed.as_deref().map_err(|error| *error), expected, "{text:?}");
    }

    #[test]
    fn preferences_are_read_or_say_what_is_wrong() {
        use InvalidPreferences as E;
        check("session-alice", Ok("session-alice"));
        check("country-US,session-a-1", Ok("session-a-1,country-us"));
        check("", Err(E::Unknown));
        check("alice", Err(E::Unknown));
        check("session-alice,", Err(E::Unknown));
        check("session-", Err(E::Session));
        check("session-a b", Err(E::Session));
        check(&format!("session-{}", "a".repeat(65)), Err(E::Session));
        check("country-usa", Err(E::Country));
        check("session-a,session-b", Err(E::Repeated));
    }

    #[test]
    fn a_country_in_the_name_of_a_session_is_noticed() {
        let country = |text: &str| {
            let preferences = text.parse::<Preferences>().unwrap();
            preferences.country_in_session().map(|country| country.to_string())
        };
        for text in
            ["session-a-country-us", "session-a_country_us", "session-a-country-us-lifetime-5"]
        {
            assert_eq!(country(text).as_deref(), Some("us"), "{text}");
        }
        for text in [
            "session-a,country-us",
            "session-country-us",
            "session-my-country-list",
            "session-a-country",
        ] {
            assert_eq!(country(text), None, "{text}");
        }
    }

    #[test]
    fn the_number_of_a_name_never_changes() {
        assert_eq!(
            ["", "alice", "bob"].map(stable_number),
            [17_665_956_581_633_026_203, 14_254_268_223_963_220_572, 7_963_897_756_087_913_964]
        );
    }

    proptest! {
        #[test]
        fn what_is_read_shows_as_itself(text in "(session-[a-z.]{0,4}|country-[a-z]{1,3}|x|,){0,4}") {
            if let Ok(preferences) = text.parse::<Preferences>() {
                prop_assert_eq!(preferences.to_string().parse(), Ok(preferences));
            }
        }
    }
}
