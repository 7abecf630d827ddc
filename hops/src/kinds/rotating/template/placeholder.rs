//! The names in braces, and the values that take their places.

use crate::{Country, Secret};

/// A name that may be in braces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::kinds::rotating) enum Placeholder {
    User,
    Pass,
    CountryLower,
    CountryUpper,
    City,
    Session,
    Ttl,
}

/// The values of the placeholders.
#[derive(Clone, Copy, Debug)]
pub(in crate::kinds::rotating) struct Values<'a> {
    pub(in crate::kinds::rotating) user: &'a Secret,
    pub(in crate::kinds::rotating) pass: &'a Secret,
    pub(in crate::kinds::rotating) country: Option<Country>,
    pub(in crate::kinds::rotating) city: Option<&'a str>,
    pub(in crate::kinds::rotating) session: Option<&'a str>,
    pub(in crate::kinds::rotating) ttl: Option<&'a str>,
}

/// The names of the placeholders, for messages.
pub(super) const NAMES: &str = "`user`, `pass`, `country`, `COUNTRY`, `city`, `session` and `ttl`";

impl Placeholder {
    pub(super) const ALL: [Self; 7] = [
        Self::User,
        Self::Pass,
        Self::CountryLower,
        Self::CountryUpper,
        Self::City,
        Self::Session,
        Self::Ttl,
    ];

    /// Returns the placeholder that is meant by `name`, another word or an abbreviation.
    pub(super) fn meant_by(name: &str) -> Option<Self> {
        let plain = name.trim().to_ascii_lowercase().replace(['_', '-'], "");
        let is_word = |(_, words): &&(Self, &[&str])| words.contains(&&*plain);
        OTHER_NAMES.iter().find(is_word).map(|(placeholder, _)| *placeholder)
    }

    pub(in crate::kinds::rotating) fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Pass => "pass",
            Self::CountryLower => "country",
            Self::CountryUpper => "COUNTRY",
            Self::City => "city",
            Self::Session => "session",
            Self::Ttl => "ttl",
        }
    }

    /// Returns what the value is, in words.
    pub(in crate::kinds::rotating) fn noun(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Pass => "password",
            Self::CountryLower | Self::CountryUpper => "country",
            Self::City => "city",
            Self::Session => "session",
            Self::Ttl => "time of a session",
        }
    }

    /// Returns the setting that has the value.
    pub(in crate::kinds::rotating) fn setting(self) -> &'static str {
        match self {
            Self::CountryUpper => "country",
            other => other.name(),
        }
    }

    pub(super) fn is_set(self, values: &Values<'_>) -> bool {
        match self {
            // An empty credential counts as unset, so that `{pass}` without a `pass` is an error and not an empty
            // password.
            Self::User => !values.user.is_empty(),
            Self::Pass => !values.pass.is_empty(),
            Self::CountryLower | Self::CountryUpper => values.country.is_some(),
            Self::City => values.city.is_some(),
            Self::Session => values.session.is_some(),
            Self::Ttl => values.ttl.is_some(),
        }
    }

    pub(super) fn write(self, values: &Values<'_>, out: &mut String) {
        match self {
            Self::User => out.push_str(values.user.expose()),
            Self::Pass => out.push_str(values.pass.expose()),
            Self::CountryLower => out.extend(values.country.map(Country::lower)),
            Self::CountryUpper => out.extend(values.country.map(Country::upper)),
            Self::City => out.extend(values.city),
            Self::Session => out.extend(values.session),
            Self::Ttl => out.extend(values.ttl),
        }
    }
}

/// Words that people write in braces, with the placeholder for each.
const OTHER_NAMES: [(Placeholder, &[&str]); 6] = [
    (Placeholder::User, &["user", "username", "login", "account", "customer", "client", "name"]),
    (Placeholder::Pass, &["pass", "password", "passwd", "pwd", "secret"]),
    (
        Placeholder::CountryLower,
        &[
            "country",
            "countrycode",
            "cc",
            "geo",
            "region",
            "loc",
            "location",
            "contry",
            "countries",
        ],
    ),
    (Placeholder::City, &["city", "town", "cityname"]),
    (
        Placeholder::Session,
        &[
            "session",
            "sess",
            "sessid",
            "sessionid",
            "sessionname",
            "sid",
            "id",
            "sticky",
            "sesion",
            "sessions",
            "rand",
            "random",
        ],
    ),
    (
        Placeholder::Ttl,
        &["ttl", "time", "lifetime", "life", "duration", "sesstime", "sessiontime", "minutes"],
    ),
];
