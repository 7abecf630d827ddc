//! Texts with places for the values of a connection.

use std::{
    borrow::Cow,
    fmt::{self, Write as _},
    str::FromStr,
};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, de};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::{Country, Secret};

/// A text such as `{user}[-country-{country}][-session-{session}]`. Values are in braces, and a part in brackets
/// disappears if a value in it is unset. `\` before a brace, a bracket or itself makes it plain text.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Template(Vec<Group>);

#[derive(Clone, PartialEq, Eq)]
struct Group {
    is_optional: bool,
    parts: Vec<Part>,
}

#[derive(Clone, PartialEq, Eq)]
enum Part {
    /// May hold a credential.
    Text(Secret),
    Value(Placeholder),
}

/// A name that may be in braces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Placeholder {
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
pub(super) struct Values<'a> {
    pub(super) user: &'a Secret,
    pub(super) pass: &'a Secret,
    pub(super) country: Option<Country>,
    pub(super) city: Option<&'a str>,
    pub(super) session: Option<&'a str>,
    pub(super) ttl: Option<&'a str>,
}

/// The reason why a text is not a template.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(super) enum InvalidTemplate {
    #[error("has an unknown name in braces; the names are {NAMES}{}", did_you_mean(.0))]
    Unknown(Option<Placeholder>),
    #[error("has a `{{` or `[` without its end; to send one as it is, write `\\` before it")]
    Open,
    #[error("has a `}}` or `]` without its beginning; to send one as it is, write `\\` before it")]
    Closed,
    #[error("has brackets within brackets")]
    Nested,
    #[error(
        "has brackets without a value in braces; write one into them, or `\\` before each bracket to send it"
    )]
    Constant,
    #[error("ends in a `\\`")]
    Escape,
    #[error("has a control character")]
    Control,
}

/// The names of the placeholders, for messages.
const NAMES: &str = "`user`, `pass`, `country`, `COUNTRY`, `city`, `session` and `ttl`";

fn did_you_mean(near: &Option<Placeholder>) -> String {
    near.map_or_else(String::new, |near| format!("; did you mean `{{{}}}`?", near.name()))
}

impl Template {
    /// Returns the text with `values` in it.
    ///
    /// # Errors
    /// A placeholder outside of brackets whose value is unset.
    pub(super) fn fill(&self, values: &Values<'_>) -> Result<Secret, Placeholder> {
        let mut text = Zeroizing::new(String::with_capacity(TEXT_BYTES));
        for group in &self.0 {
            // A group is all or nothing: `[-session-{session}]` without a session would otherwise leave a stray
            // `-session-`.
            match group.missing(values) {
                None => group.parts.iter().for_each(|part| part.write(values, &mut text)),
                Some(_) if group.is_optional => {}
                Some(missing) => return Err(missing),
            }
        }
        Ok(Secret::new(text.as_str()))
    }

    /// Returns the values that have brackets for themselves, after a text that was meant to vanish with them: one that ends
    /// in a separator, as in `-session-[{session}]`.
    pub(super) fn bare(&self) -> impl Iterator<Item = Placeholder> {
        self.0.windows(2).filter_map(|pair| {
            let [before, group] = pair else { return None };
            let ends_open = matches!(before.parts.last(), Some(Part::Text(text))
                if text.expose().ends_with(|last: char| !last.is_alphanumeric()));
            match group.parts[..] {
                [Part::Value(value)] if group.is_optional && ends_open => Some(value),
                _ => None,
            }
        })
    }

    /// Returns the text with `values` in it, as far as it may be shown: a secret is its name in braces, and a word that no
    /// provider uses for a part of a login is `…`, since an account may be written into a template.
    pub(super) fn shape(&self, values: &Values<'_>) -> String {
        let mut shape = String::new();
        for group in self.0.iter().filter(|group| group.missing(values).is_none()) {
            for part in &group.parts {
                match part {
                    Part::Text(text) => push_known_words(text.expose(), &mut shape),
                    Part::Value(secret @ (Placeholder::User | Placeholder::Pass)) => {
                        let _ = write!(shape, "{{{}}}", secret.name());
                    }
                    Part::Value(placeholder) => placeholder.write(values, &mut shape),
                }
            }
        }
        shape
    }

    /// Whether the text has a place for this value.
    pub(super) fn has(&self, placeholder: Placeholder) -> bool {
        let mut parts = self.0.iter().flat_map(|group| &group.parts);
        parts.any(|part| *part == Part::Value(placeholder))
    }
}

/// Appends `text` with `…` in place of each word that is not one of [`SHAPE_WORDS`].
fn push_known_words(text: &str, shape: &mut String) {
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let is_word = first.is_alphanumeric();
        let end = rest.find(|character: char| character.is_alphanumeric() != is_word);
        let (piece, after) = rest.split_at(end.unwrap_or(rest.len()));
        let is_known = SHAPE_WORDS.iter().any(|word| word.eq_ignore_ascii_case(piece));
        // Separators are the syntax of the provider, and have a letter or two between words.
        let is_separator = !is_word && piece.is_ascii() && piece.len() <= 2;
        shape.push_str(if is_known || is_separator { piece } else { "…" });
        rest = after;
    }
}

impl Group {
    fn missing(&self, values: &Values<'_>) -> Option<Placeholder> {
        self.parts.iter().find_map(|part| match part {
            Part::Value(placeholder) if !placeholder.is_set(values) => Some(*placeholder),
            _ => None,
        })
    }
}

impl Part {
    fn write(&self, values: &Values<'_>, out: &mut String) {
        match self {
            Self::Text(text) => out.push_str(text.expose()),
            Self::Value(placeholder) => placeholder.write(values, out),
        }
    }
}

impl Placeholder {
    const ALL: [Self; 7] = [
        Self::User,
        Self::Pass,
        Self::CountryLower,
        Self::CountryUpper,
        Self::City,
        Self::Session,
        Self::Ttl,
    ];

    /// Returns the placeholder that is meant by `name`, another word or an abbreviation.
    fn meant_by(name: &str) -> Option<Self> {
        let plain = name.trim().to_ascii_lowercase().replace(['_', '-'], "");
        let is_word = |(_, words): &&(Self, &[&str])| words.contains(&&*plain);
        OTHER_NAMES.iter().find(is_word).map(|(placeholder, _)| *placeholder)
    }

    pub(super) fn name(self) -> &'static str {
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

    /// Returns the setting that has the value.
    pub(super) fn setting(self) -> &'static str {
        match self {
            Self::CountryUpper => "country",
            other => other.name(),
        }
    }

    fn is_set(self, values: &Values<'_>) -> bool {
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

    fn write(self, values: &Values<'_>, out: &mut String) {
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

impl FromStr for Template {
    type Err = InvalidTemplate;

    fn from_str(text: &str) -> Result<Self, InvalidTemplate> {
        // The text alternates between plain groups and bracketed ones, and the last group is the one that is being
        // read. Text is collected until something else begins, because a part of it can be a credential: it is kept
        // in memory that is wiped.
        let mut groups = vec![Group { is_optional: false, parts: vec![] }];
        let mut plain = Zeroizing::new(String::with_capacity(text.len()));
        let mut rest = text.chars();
        while let Some(character) = rest.next() {
            if !matches!(character, '{' | '}' | '[' | ']') {
                // A backslash takes the next character as it is.
                let character = match character {
                    '\\' => rest.next().ok_or(InvalidTemplate::Escape)?,
                    character => character,
                };
                // Refused here, since a part that only some clients get is never filled before their requests.
                if character.is_control() {
                    return Err(InvalidTemplate::Control);
                }
                plain.push(character);
                continue;
            }
            let is_inside = groups.last().is_some_and(|group| group.is_optional);
            end_text(&mut groups, &mut plain);
            match character {
                '{' => {
                    // A name in braces has no escapes, so it ends at the next brace.
                    let (name, after) =
                        rest.as_str().split_once('}').ok_or(InvalidTemplate::Open)?;
                    let is_it = |placeholder: &Placeholder| placeholder.name() == name;
                    let placeholder = Placeholder::ALL.into_iter().find(is_it);
                    let unknown = || InvalidTemplate::Unknown(Placeholder::meant_by(name));
                    let value = Part::Value(placeholder.ok_or_else(unknown)?);
                    push(&mut groups, value);
                    rest = after.chars();
                }
                // Nested groups would need a rule for which values decide about which text.
                '[' if is_inside => return Err(InvalidTemplate::Nested),
                '[' => groups.push(Group { is_optional: true, parts: vec![] }),
                ']' if is_inside => {
                    // Brackets around plain text could never vanish, so the operator meant plain brackets and has to
                    // escape them.
                    if groups.last().is_some_and(Group::is_constant) {
                        return Err(InvalidTemplate::Constant);
                    }
                    groups.push(Group { is_optional: false, parts: vec![] });
                }
                _ => return Err(InvalidTemplate::Closed),
            }
        }
        if groups.last().is_some_and(|group| group.is_optional) {
            return Err(InvalidTemplate::Open);
        }
        end_text(&mut groups, &mut plain);
        Ok(Self(groups))
    }
}

impl Group {
    fn is_constant(&self) -> bool {
        self.parts.iter().all(|part| matches!(part, Part::Text(_)))
    }
}

fn end_text(groups: &mut [Group], plain: &mut Zeroizing<String>) {
    if !plain.is_empty() {
        push(groups, Part::Text(Secret::new(plain.as_str())));
        plain.clear();
    }
}

fn push(groups: &mut [Group], part: Part) {
    if let Some(group) = groups.last_mut() {
        group.parts.push(part);
    }
}

/// Shows the placeholders and no text, which could be a credential.
impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let has = |placeholder: &Placeholder| self.has(*placeholder);
        f.debug_set().entries(Placeholder::ALL.iter().filter(|one| has(one))).finish()
    }
}

impl JsonSchema for Template {
    fn schema_name() -> Cow<'static, str> {
        "Template".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string" })
    }
}

impl<'de> Deserialize<'de> for Template {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Secret::deserialize(deserializer)?.expose().parse().map_err(de::Error::custom)
    }
}

/// Most texts fit into this, so that no reallocation leaves a copy of a credential behind.
const TEXT_BYTES: usize = 512;

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

/// The words of providers for the parts of a login. Any other word of a template may be a part of an account.
const SHAPE_WORDS: [&str; 34] = [
    "user",
    "username",
    "customer",
    "cust",
    "client",
    "zone",
    "package",
    "plan",
    "res",
    "residential",
    "dc",
    "isp",
    "mobile",
    "country",
    "cc",
    "c",
    "region",
    "state",
    "city",
    "st",
    "area",
    "asn",
    "session",
    "sess",
    "sessid",
    "sid",
    "s",
    "sticky",
    "ttl",
    "lifetime",
    "life",
    "sesstime",
    "time",
    "duration",
];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn fill(template: &str, is_set: bool) -> Result<String, String> {
        let template: Template =
            template.parse().map_err(|error: InvalidTemplate| format!("{error:?}"))?;
        let (user, pass) = (Secret::new("u"), Secret::new("p"));
        let values = Values {
            user: &user,
            pass: &pass,
            country: is_set.then(|| "us".parse().unwrap()),
            city: is_set.then_some("paris"),
            session: is_set.then_some("7"),
            ttl: is_set.then_some("10m"),
        };
        let filled = template.fill(&values).map_err(|missing| missing.name().to_owned())?;
        Ok(filled.expose().to_owned())
    }

    #[track_caller]
    fn check(template: &str, set: Result<&str, &str>, unset: Result<&str, &str>) {
        for (is_set, expected) in [(true, set), (false, unset)] {
            let filled = fill(template, is_set);
            assert_eq!(filled.as_deref().map_err(String::as_str), expected, "{template}");
        }
    }

    #[test]
    fn values_take_their_places_and_groups_vanish() {
        check("", Ok(""), Ok(""));
        check("{user}", Ok("u"), Ok("u"));
        check("a-{user}-z", Ok("a-u-z"), Ok("a-u-z"));
        let all = "{user}[-cc-{COUNTRY}][-city-{city}][-sessid-{session}[-x-{ttl}]]";
        check(all, Err("Nested"), Err("Nested"));
        let all = "{user}[-cc-{COUNTRY}][-city-{city}][-sessid-{session}-{ttl}]!";
        check(all, Ok("u-cc-US-city-paris-sessid-7-10m!"), Ok("u!"));
        check("{pass}_country-{country}", Ok("p_country-us"), Err("country"));
        check("\\{user\\}\\[\\]\\\\", Ok("{user}[]\\"), Ok("{user}[]\\"));
    }

    #[test]
    fn what_is_no_template_says_why() {
        for (template, error) in [
            ("{cc}", "Unknown(Some(CountryLower))"),
            ("{ user}", "Unknown(Some(User))"),
            ("{Session-ID}", "Unknown(Some(Session))"),
            ("{hunter2}", "Unknown(None)"),
            ("{user", "Open"),
            ("[{user}", "Open"),
            ("user}", "Closed"),
            ("user]", "Closed"),
            ("[-x]", "Constant"),
            ("[]", "Constant"),
            ("a\\", "Escape"),
            ("a\nb", "Control"),
            ("a\\\nb", "Control"),
            ("{user}[\\\r{session}]", "Control"),
        ] {
            check(template, Err(error), Err(error));
        }
    }

    #[test]
    fn brackets_around_a_value_alone_are_found_after_a_separator() {
        let bare = |text: &str| {
            let template: Template = text.parse().unwrap();
            template.bare().map(Placeholder::name).collect::<Vec<_>>()
        };
        assert_eq!(bare("{user}-session-[{session}]-country-[{country}]"), ["session", "country"]);
        assert_eq!(bare("{user}-[{ttl}]"), ["ttl"]);
        for whole in
            ["{user}[-session-{session}]", "[{session}]", "{user}[{session}]", "a-{session}"]
        {
            assert_eq!(bare(whole), [""; 0], "{whole}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in "\\PC{0,40}|[\\[\\]{}\\\\a]{0,12}|(\\[-?|\\{user\\}|\\{ttl\\}|\\]|x){0,8}") {
            if let Ok(set) = fill(&text, true) {
                // A text without its optional parts is never longer than the whole.
                if let Ok(unset) = fill(&text, false) {
                    prop_assert!(unset.len() <= set.len());
                }
            }
        }

        #[test]
        fn an_escaped_text_stands_for_itself(text in "[a-z{}\\[\\]\\\\]{0,20}") {
            let is_special = |character| "{}[]\\".contains(character);
            let escaped: String = text
                .chars()
                .flat_map(|character| is_special(character).then_some('\\').into_iter().chain([character]))
                .collect();
            prop_assert_eq!(fill(&escaped, false), Ok(text));
        }
    }
}
