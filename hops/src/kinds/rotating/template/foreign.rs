//! Finds places for values in the notation of other programs and of the documentation of providers.

use super::Placeholder;

/// A place that is sent as it is written, since it is not in braces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::kinds::rotating) enum ForeignPlace {
    /// A sign such as `%s`, or a name that no value has.
    Unnamed,
    /// A name between signs, as in `<user>` or `%user%`.
    Named(Placeholder),
    /// A word alone, as in `YOUR_USERNAME`.
    Word(Placeholder),
}

impl ForeignPlace {
    /// Returns the value that is probably meant.
    pub(in crate::kinds::rotating) fn meant(self) -> Option<Placeholder> {
        match self {
            Self::Unnamed => None,
            Self::Named(value) | Self::Word(value) => Some(value),
        }
    }
}

/// Adds the places in `text` to `places`.
pub(super) fn find(text: &str, places: &mut Vec<ForeignPlace>) {
    if ["%s", "%d"].iter().any(|sign| has_sign(text, sign)) {
        places.push(ForeignPlace::Unnamed);
    }
    for (start, _) in text.match_indices('$') {
        let rest = &text[start + 1..];
        let is_name = |byte: &u8| byte.is_ascii_uppercase() || *byte == b'_';
        let name = &rest[..rest.bytes().take_while(is_name).count()];
        // A shorter or smaller one may be a part of a password.
        if name.len() > 1 {
            places.push(named(name));
        }
    }
    for (open, close, needs_value) in BETWEEN {
        for (start, _) in text.match_indices(open) {
            let name = name_at(&text[start + 1..]);
            let is_closed = text[start + 1 + name.len()..].starts_with(close);
            let place = named(name);
            if is_closed && !name.is_empty() && (!needs_value || place != ForeignPlace::Unnamed) {
                places.push(place);
            }
        }
    }
    for (start, _) in text.match_indices(':') {
        let is_first = start == 0 || text[..start].ends_with(['-', '_', ',', ';', '.']);
        let name = name_at(&text[start + 1..]);
        let name = name.split('-').next().unwrap_or_default();
        let is_user = ["user", "username"].iter().any(|word| name.eq_ignore_ascii_case(word));
        if is_first && is_user {
            places.push(ForeignPlace::Named(Placeholder::User));
        }
    }
    let plain = text.to_ascii_lowercase().replace(['_', '-'], "");
    for (word, value) in YOUR_WORDS {
        if plain.contains(word) {
            places.push(ForeignPlace::Word(value));
        }
    }
    let is_word = |char: char| char.is_ascii_alphanumeric() || char == '_';
    for word in text.split(|char| !is_word(char)) {
        let known = ALONE.iter().find(|(name, _)| *name == word);
        places.extend(known.map(|(_, value)| ForeignPlace::Word(*value)));
    }
}

/// Returns whether `text` has `sign`, and not as the beginning of a name between two `%`.
fn has_sign(text: &str, sign: &str) -> bool {
    text.match_indices(sign).any(|(start, _)| {
        let name = name_at(&text[start + 1..]);
        !text[start + 1 + name.len()..].starts_with('%')
    })
}

/// Returns the letters, `_` and `-` that `text` begins with.
fn name_at(text: &str) -> &str {
    let is_name = |byte: &u8| byte.is_ascii_alphabetic() || b"_-".contains(byte);
    &text[..text.bytes().take_while(|byte| is_name(byte)).count()]
}

fn named(name: &str) -> ForeignPlace {
    let plain = name.to_ascii_lowercase().replace(['_', '-'], "");
    let name = plain.strip_prefix("your").unwrap_or(&plain);
    Placeholder::meant_by(name).map_or(ForeignPlace::Unnamed, ForeignPlace::Named)
}

/// The signs before and after a name, and whether only the name of a value makes it a place.
const BETWEEN: [(char, char, bool); 4] =
    [('<', '>', false), ('%', '%', true), ('(', ')', true), ('[', ']', true)];

/// Words of documentation for what belongs to an account, without `_` and `-`.
const YOUR_WORDS: [(&str, Placeholder); 4] = [
    ("yourusername", Placeholder::User),
    ("youruser", Placeholder::User),
    ("yourpassword", Placeholder::Pass),
    ("yoursession", Placeholder::Session),
];

/// Words that no provider has as a part of a login, since their case or their `_` is that of an example.
const ALONE: [(&str, Placeholder); 7] = [
    ("USERNAME", Placeholder::User),
    ("USER_NAME", Placeholder::User),
    ("user_name", Placeholder::User),
    ("PASSWORD", Placeholder::Pass),
    ("SESSION_ID", Placeholder::Session),
    ("SESSIONID", Placeholder::Session),
    ("SESSION", Placeholder::Session),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &[Option<Placeholder>]) {
        let mut places = Vec::new();
        find(text, &mut places);
        let mut meant: Vec<_> = places.into_iter().map(ForeignPlace::meant).collect();
        meant.dedup();
        assert_eq!(meant, expected, "{text}");
    }

    #[test]
    fn places_of_other_programs_are_found() {
        use Placeholder::{Pass, Session, User};
        for text in [
            "<user>-x",
            "$USERNAME-x",
            "%user%-x",
            "%USERNAME%",
            "(user)-x",
            "[user]-x",
            ":user-session-x",
            "YOUR_USERNAME-x",
            "your-username",
            "USERNAME-x",
            "user_name-x",
        ] {
            check(text, &[Some(User)]);
        }
        check("<PASSWORD>", &[Some(Pass)]);
        check("-session-SESSION_ID", &[Some(Session)]);
        check("%s-x", &[None]);
        check("<zone>", &[None]);
    }

    #[test]
    fn words_of_providers_are_no_places() {
        for text in
            ["user-", "username-", "-session-", "customer-x", "a:b", "100%", "a(b)", "$1", ""]
        {
            check(text, &[]);
        }
    }
}
