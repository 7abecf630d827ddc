//! Texts with places for the values of a connection.

mod foreign;
mod parse;
mod placeholder;
mod shape;

use std::{
    borrow::Cow,
    fmt::{self, Write as _},
};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, de};
use zeroize::Zeroizing;

use self::shape::push_known_words;
pub(super) use self::{
    foreign::ForeignPlace,
    placeholder::{Placeholder, Values},
};
use crate::Secret;

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

    /// Returns the places in the notation of other programs, such as `%s` or `$USER`, in the texts beside the values.
    pub(super) fn foreign_places(&self) -> Vec<ForeignPlace> {
        let parts = self.0.iter().flat_map(|group| &group.parts);
        let mut places = Vec::new();
        for part in parts {
            if let Part::Text(text) = part {
                foreign::find(text.expose(), &mut places);
            }
        }
        // A word alone may be the provider's own, as in `COUNTRY-{COUNTRY}`, if the value has a place too.
        places.retain(|place| match place {
            ForeignPlace::Word(value) => !self.has(*value),
            _ => true,
        });
        places
    }

    /// Returns whether the text has a place for this value.
    pub(super) fn has(&self, placeholder: Placeholder) -> bool {
        let mut parts = self.0.iter().flat_map(|group| &group.parts);
        parts.any(|part| *part == Part::Value(placeholder))
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{parse::InvalidTemplate, *};

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
            ("{cc}", "Unknown(1, Some(CountryLower))"),
            ("{ user}", "Unknown(1, Some(User))"),
            ("{Session-ID}", "Unknown(1, Some(Session))"),
            ("{hunter2}", "Unknown(1, None)"),
            ("{user}-{country}[-{sid2}]", "Unknown(3, None)"),
            ("{{user}}", "Doubled"),
            ("{user", "Open"),
            ("[{user}", "Open"),
            ("user}", "Closed"),
            ("user]", "Closed"),
            ("[-x]", "Constant(None)"),
            ("[]", "Constant(None)"),
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

    #[test]
    fn places_of_other_programs_are_found() {
        let is_foreign =
            |text: &str| !text.parse::<Template>().unwrap().foreign_places().is_empty();
        for text in
            ["$USER-session-%s", "{user}-session-%d", "{user}-cc-$COUNTRY", "{user}-<session>"]
        {
            assert!(is_foreign(text), "{text}");
        }
        for text in
            ["{user}[-session-{session}]", "a$b-{user}", "100%-{user}", "a<b-{user}", "$", "<>"]
        {
            assert!(!is_foreign(text), "{text}");
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
