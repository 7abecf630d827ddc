//! Shows a username's shape without the words that may be secret.

/// Appends `text` with `…` in place of each word that is not one of [`SHAPE_WORDS`].
pub(super) fn push_known_words(text: &str, shape: &mut String) {
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
