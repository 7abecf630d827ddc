//! Usernames that ask Webshare for an exit.

use std::{
    borrow::Cow,
    fmt::{self, Write as _},
};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use zeroize::Zeroizing;

use crate::{
    Country, InvalidSetting, Preferences, Secret, SettingMeaning, credentials,
    kinds::added::{Added, Origin},
};

/// The choice of the exit of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Session {
    /// The username as written.
    #[default]
    AsWritten,
    /// Another one for each connection.
    Rotate,
    /// One exit per number.
    Number(u64),
}

impl Session {
    /// Returns what the key `session` does with this value.
    pub(super) fn meaning(self) -> SettingMeaning {
        let words = match self {
            Self::AsWritten => "the username says which exit is used",
            Self::Rotate => "each connection gets another exit",
            Self::Number(_) => "all connections get the same exit",
        };
        SettingMeaning { key: "session", words }
    }
}

/// The wishes beside the account: `{username}[-{cc}]*[-city_{name}][-{session}|-rotate]`.
#[derive(Clone, Copy, Debug)]
pub(super) struct ExitWish<'a> {
    pub(super) countries: &'a [Country],
    pub(super) city: Option<&'a str>,
    pub(super) session: Session,
}

impl ExitWish<'_> {
    /// Returns the parts that [`written_into`](Self::written_into) adds, for a client with these preferences.
    pub(super) fn added(&self, preferences: &Preferences) -> Added {
        let mut added = Added::default();
        let origin = |is_of_client, key| match is_of_client {
            true => Origin::Client,
            false => Origin::Setting(key),
        };
        if !self.countries.is_empty() {
            let text = self.countries.iter().map(|country| format!("-{country}")).collect();
            added.push("a country", Some(text), origin(preferences.country.is_some(), "country"));
            added.doubt(self.countries);
        }
        if let Some(city) = self.city {
            added.push("a city", Some(format!("-city_{city}")), Origin::Setting("city"));
        }
        let of_session = origin(preferences.session.is_some(), "session");
        match self.session {
            Session::AsWritten => {}
            Session::Rotate => added.push("a session", Some("-rotate".to_owned()), of_session),
            Session::Number(number) => {
                added.push("a session", Some(format!("-{number}")), of_session)
            }
        }
        added
    }

    /// Returns the username that asks for all of this.
    ///
    /// # Errors
    /// A part that can't be written into a username.
    pub(super) fn written_into(&self, bare: &Secret) -> Result<Secret, InvalidSetting> {
        let added = [("country", !self.countries.is_empty()), ("city", self.city.is_some())];
        // A written username may already end in a session or `-rotate`. Behind that nothing more can be added.
        if self.session == Session::AsWritten {
            return match added.into_iter().find(|(_, is_written)| *is_written) {
                None => Ok(bare.clone()),
                Some((key, _)) => Err(InvalidSetting::new(
                    key,
                    "can't be added to a username that is sent as it is written; write `session: rotate`, or a \
                     number as the session, and the username without a `-` and what follows it",
                )),
            };
        }
        if let Some(instead) = something_else(bare) {
            return Err(InvalidSetting::new("username", instead));
        }
        // Webshare's usernames have letters and digits only. A `-` means that an ending is there already, to
        // which no other can be added.
        if !bare.expose().bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            // A trace of a file or a shell is more exact than the rule that it breaks.
            if let Some(trace) = credentials::control_character(bare)
                .or_else(|| credentials::doubtful(bare.expose()))
            {
                return Err(InvalidSetting::new("username", trace));
            }
            let ending = match bare.expose().contains('-') {
                true => ", without a `-` and what follows",
                false => ", which the dashboard shows beside the proxy list",
            };
            return Err(InvalidSetting::new(
                "username",
                format!(
                    "must be letters and digits, because `session` or `sessions: by-client` adds a session to it, and it has \
                     {}: write the bare username{ending}; or, to send it as it is, write `session: as-written` without \
                     `sessions`, `country` and `city`",
                    other_characters(bare.expose())
                ),
            ));
        }
        if let Some(city) = self.city
            && (city.is_empty()
                || !city.bytes().all(|byte| byte.is_ascii_alphabetic() || byte == b'_'))
        {
            return Err(InvalidSetting::new(
                "city",
                "is written in letters, with `_` for a space, such as `new_york`",
            ));
        }
        let city = self.city.unwrap_or_default();
        // Enough for every part, so that growing leaves no copy of the username behind. A country takes three bytes.
        let bytes = bare.expose().len() + 3 * self.countries.len() + city.len();
        let mut username =
            Zeroizing::new(String::with_capacity(bytes + "-city_-".len() + DIGITS_MAX));
        username.push_str(bare.expose());
        let mut add = |part: fmt::Arguments<'_>| {
            // Writing to a text never fails.
            let _ = username.write_fmt(part);
        };
        // The order is the one that Webshare documents: countries, city, session.
        self.countries.iter().for_each(|country| add(format_args!("-{country}")));
        if !city.is_empty() {
            add(format_args!("-city_{city}"));
        }
        match self.session {
            Session::AsWritten => {}
            Session::Rotate => add(format_args!("-rotate")),
            Session::Number(number) => add(format_args!("-{number}")),
        }
        Ok(Secret::new(username.as_str()))
    }
}

/// Names the kinds of characters in `username` that are neither letters nor digits of ASCII, each once.
///
/// The username may come from a variable that holds a password by mistake, so no letter of it is ever named.
fn other_characters(username: &str) -> String {
    let mut kinds = Vec::new();
    for one in username.chars().filter(|one| !one.is_ascii_alphanumeric()) {
        let kind = match one {
            _ if one.is_whitespace() => "a blank".to_owned(),
            _ if one.is_alphanumeric() => {
                "a letter or digit beyond `a` to `z` and `0` to `9`".to_owned()
            }
            '`' => "a backtick".to_owned(),
            _ if one.is_ascii_punctuation() => format!("a `{one}`"),
            _ => "another special character".to_owned(),
        };
        if !kinds.contains(&kind) {
            kinds.push(kind);
        }
    }
    // A text with more kinds than these is something else, such as a password.
    match kinds.split_last() {
        Some((last, before)) if (1..KINDS_MAX).contains(&before.len()) => {
            format!("{} and {last}", before.join(", "))
        }
        Some((only, [])) => only.clone(),
        _ => "several kinds of others".to_owned(),
    }
}

/// The most kinds of characters that a message names.
const KINDS_MAX: usize = 3;

/// Says what `username` is if it is not a username of a proxy list: a line, a URL, two values, the account or a template.
pub(super) fn something_else(username: &Secret) -> Option<&'static str> {
    let text = username.expose();
    let colons = text.matches(':').count();
    if text.contains("://") || (text.contains('@') && colons > 0) {
        return Some(IS_URL);
    }
    match colons {
        0 if credentials::is_template(text) => Some(IS_TEMPLATE),
        0 => text.contains('@').then_some(IS_EMAIL),
        3 => Some(IS_LINE),
        _ => Some(HAS_PASSWORD),
    }
}

const IS_EMAIL: &str = "has an `@`, as the e-mail address of an account; the proxies have a username of their own, which \
                        the dashboard shows beside the proxy list";
const IS_TEMPLATE: &str = "looks like a template, and is sent as it is written: templates belong to `kind: rotating`; write the \
                           username that the dashboard shows beside the proxy list, and let `session: rotate` or `sessions: \
                           by-client` add what follows it";
const IS_URL: &str = "is more than a username: it has the parts of a URL; write what is before the first `:` there, without \
                      the scheme, as `username`, and what follows it up to the `@` as `password`";
const IS_LINE: &str = "is a line of a proxy list, `host:port:username:password`; write its third part as `username` and its \
                       fourth as `password`";
const HAS_PASSWORD: &str = "has a `:`; if the password follows it, write what is before it as `username` and the rest as `password`";

impl JsonSchema for Session {
    fn schema_name() -> Cow<'static, str> {
        "Session".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [{ "enum": ["as-written", "rotate"] }, { "type": "integer", "minimum": 0 }, { "type": "string", "pattern": "^[0-9]+$" }] })
    }
}

/// Writes the default of `session` into the schema.
impl Serialize for Session {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::AsWritten => serializer.serialize_str("as-written"),
            Self::Rotate => serializer.serialize_str("rotate"),
            Self::Number(number) => serializer.serialize_u64(*number),
        }
    }
}

impl<'de> Deserialize<'de> for Session {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SessionVisitor)
    }
}

struct SessionVisitor;

impl de::Visitor<'_> for SessionVisitor {
    type Value = Session;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("`as-written`, `rotate`, or a whole number that is not negative")
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Session, E> {
        Ok(Session::Number(number))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Session, E> {
        match text {
            "as-written" => return Ok(Session::AsWritten),
            "rotate" => return Ok(Session::Rotate),
            _ => {}
        }
        // Another way to write a number may be another session to Webshare.
        match text.parse::<u64>() {
            Ok(number) if number.to_string() == text => Ok(Session::Number(number)),
            _ => Err(E::invalid_type(de::Unexpected::Str(text), &self)),
        }
    }
}

/// The digits of the greatest session.
const DIGITS_MAX: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(
        bare: &str,
        countries: &[&str],
        city: Option<&str>,
        session: Session,
        expected: Result<&str, &str>,
    ) {
        let countries: Vec<_> = countries.iter().map(|code| code.parse().unwrap()).collect();
        let wish = ExitWish { countries: &countries, city, session };
        let written = wish.written_into(&Secret::new(bare));
        let written = written.as_ref().map(Secret::expose).map_err(|e| e.path().to_string());
        assert_eq!(written.as_ref().map_err(String::as_str), expected.as_ref().map_err(|e| *e));
    }

    #[test]
    fn the_parts_come_in_the_documented_order() {
        use Session::{AsWritten, Number, Rotate};
        check("user", &[], None, AsWritten, Ok("user"));
        check("user-us-rotate", &[], None, AsWritten, Ok("user-us-rotate"));
        check("user", &[], None, Rotate, Ok("user-rotate"));
        check("user", &["US", "fr"], None, Rotate, Ok("user-us-fr-rotate"));
        check("user", &["us"], Some("new_york"), Number(7), Ok("user-us-city_new_york-7"));
        check("user", &[], None, Number(u64::MAX), Ok("user-18446744073709551615"));
    }

    #[test]
    fn a_username_that_nothing_can_be_added_to_is_described_without_being_shown() {
        for (bare, words) in [
            ("\"acme\"", "is in quotes"),
            ("'acme'", "is in quotes"),
            ("acme\r", "ends with a line end"),
            ("ac\rme", "has a control character"),
            (" acme", "begins or ends with a blank"),
            ("acme%40x", "is encoded as in a URL"),
            ("\u{feff}acme", "begins with a byte order mark"),
            ("acme # live", "and it has a blank and a `#`: write"),
            ("acme;x", "and it has a `;`: write"),
            ("acme-us", "and it has a `-`: write the bare username, without a `-`"),
            ("ac\u{fc}me", "and it has a letter or digit beyond `a` to `z` and `0` to `9`: write"),
            ("a+b c!d?e+f", "and it has several kinds of others: write"),
        ] {
            let wish = ExitWish { countries: &[], city: None, session: Session::Rotate };
            let error = wish.written_into(&Secret::new(bare)).unwrap_err().to_string();
            assert!(error.contains(words), "{bare:?}: {error}");
            assert!(!error.contains("acme") && !error.contains("live"), "{bare:?}: {error}");
        }
    }

    #[test]
    fn nothing_is_added_to_what_says_it_already() {
        use Session::{AsWritten, Number, Rotate};
        check("user", &["us"], None, AsWritten, Err("country"));
        check("user", &[], Some("paris"), AsWritten, Err("city"));
        check("user-rotate", &[], None, Number(1), Err("username"));
        check("user-5", &[], None, Rotate, Err("username"));
        check("user", &[], Some("new york"), Rotate, Err("city"));
        check("user", &[], Some(""), Rotate, Err("city"));
    }
}
