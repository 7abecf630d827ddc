//! One line of a proxy's own page, which often says more than its status: that an account is locked, or a site blocked.
//!
//! A stranger wrote the page. So the line is shortened, holds nothing that could control a terminal, and is not quoted at
//! all if it may repeat a secret of the request.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use zeroize::Zeroizing;

use super::PRINTABLE_BYTES_MAX;
use crate::{Field, Secret};

/// The texts of a request that must not show in a quotation.
#[derive(Debug, Default)]
pub(crate) struct RequestSecrets(Vec<Secret>);

impl RequestSecrets {
    /// Collects the values of `fields`, with the username and the password of Basic.
    pub(crate) fn of<'a>(fields: impl IntoIterator<Item = &'a Field>) -> Self {
        let mut secrets = Self::default();
        for Field { value, .. } in fields {
            secrets.add(value.expose());
            let (_, token) = value.expose().split_once(' ').unwrap_or_default();
            secrets.add(token);
            let decoded = STANDARD.decode(token).map(Zeroizing::new).unwrap_or_default();
            if let Ok(login) = str::from_utf8(&decoded) {
                secrets.add(login);
                login.split(':').for_each(|part| secrets.add(part));
            }
        }
        secrets
    }

    /// Adds a text, and the parts of one that is a username with a domain.
    pub(crate) fn add(&mut self, text: &str) {
        let parts = text.split(['\\', '@']);
        let texts = std::iter::once(text).chain(parts).filter(|text| !text.is_empty());
        self.0.extend(texts.map(Secret::new));
    }

    /// Adds the secrets of another request.
    pub(crate) fn extend(&mut self, others: &Self) {
        self.0.extend(others.0.iter().cloned());
    }

    /// Returns whether `text`, which [`printable`](super::printable) may have cut, may repeat one of the secrets or the
    /// beginning of one.
    pub(super) fn are_in_shortened(&self, text: &str) -> bool {
        // A status and a blank may be before the words that were cut.
        let is_cut = text.len() >= PRINTABLE_BYTES_MAX;
        self.are_in(text) || is_cut && self.0.iter().any(|secret| begins_at_the_end(text, secret))
    }

    /// Returns whether `text` may repeat one of the secrets. Pages write them with escapes and in upper or lower case, so only
    /// letters and digits are compared. A short secret has to be a word of its own.
    pub(crate) fn are_in(&self, text: &str) -> bool {
        let decoded = percent_decoded(text);
        self.0.iter().map(Secret::expose).any(|secret| {
            [text, &decoded].into_iter().any(|text| {
                let wanted = Zeroizing::new(folded(secret));
                match wanted.chars().count() {
                    0 => text.contains(secret),
                    1..SHORT => words(text).any(|word| folded(word) == *wanted),
                    _ => folded(text).contains(&**wanted),
                }
            })
        })
    }
}

/// Returns whether `text` ends with the beginning of `secret`. One letter or digit alone does not count: many texts end with
/// the first one of a secret, which tells nobody much.
fn begins_at_the_end(text: &str, secret: &Secret) -> bool {
    let secret = Zeroizing::new(folded(secret.expose()));
    [folded(text), folded(&percent_decoded(text))].iter().any(|text| {
        let beginnings = secret.char_indices().map(|(end, _)| &secret[..end]).skip(2);
        beginnings.into_iter().any(|beginning| text.ends_with(beginning))
    })
}

/// Returns the first line of a page that says more than `said`, the status with its reason phrase. Returns `None` if there
/// is no such line, or if it may repeat a secret.
pub(super) fn telling_line(page: &[u8], said: &str, secrets: &RequestSecrets) -> Option<String> {
    let page = String::from_utf8_lossy(page);
    let lines = match page.trim_start().starts_with('<') {
        true => lines_of_html(&page),
        false => page.lines().map(str::to_owned).collect(),
    };
    let lines = lines.iter().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
    let line = lines.into_iter().find(|line| is_telling(line, said))?;
    (!secrets.are_in(&line)).then(|| quotable(&line))
}

fn is_telling(line: &str, said: &str) -> bool {
    let line = folded(line);
    let reason = said.split_once(' ').map_or("", |(_, reason)| reason);
    let is_status = [said, reason].into_iter().any(|known| line == folded(known));
    // Numbers alone say nothing, and neither do the headings that all pages of a proxy have.
    let is_word = line.chars().any(char::is_alphabetic);
    is_word
        && !is_status
        && !EMPTY_PHRASES.iter().any(|phrase| line.starts_with(phrase))
        && line != "error"
}

/// Returns the texts of a page between tags that begin another line. Scripts and styles are not text.
fn lines_of_html(page: &str) -> Vec<String> {
    let (mut lines, mut line) = (Vec::new(), String::new());
    let mut rest = page;
    while let Some((text, after)) = rest.split_once('<') {
        line.push_str(&unescaped(text));
        let Some((tag, after)) = after.split_once('>') else { return lines };
        let name = tag.trim_start_matches('/');
        let name = name.split(|letter: char| !letter.is_ascii_alphanumeric()).next();
        let name = name.unwrap_or_default().to_ascii_lowercase();
        if !INLINE_TAGS.contains(&&*name) {
            lines.push(std::mem::take(&mut line));
        }
        rest = after;
        if ["script", "style"].contains(&&*name) && !tag.starts_with('/') {
            rest = after.find("</").and_then(|end| after.get(end..)).unwrap_or_default();
        }
    }
    lines.push(line + &unescaped(rest));
    lines
}

/// Replaces the character references that are common in prose.
fn unescaped(text: &str) -> String {
    let known = [
        ("&nbsp;", " "),
        ("&quot;", "\""),
        ("&apos;", "'"),
        ("&#39;", "'"),
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&amp;", "&"),
    ];
    known.iter().fold(text.to_owned(), |text, (name, meant)| text.replace(name, meant))
}

fn percent_decoded(text: &str) -> String {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let digits = after.first_chunk::<2>().and_then(|digits| str::from_utf8(digits).ok());
        match digits.filter(|_| *first == b'%').and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                decoded.push(byte);
                rest = &after[2..];
            }
            None => {
                decoded.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|letter: char| !letter.is_alphanumeric())
}

fn folded(text: &str) -> String {
    text.chars().filter(|letter| letter.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// Returns `line` fit for a log and for quotation marks, and shortened.
fn quotable(line: &str) -> String {
    let clean = |letter: char| match letter {
        '"' => '\'',
        ' '..='~' => letter,
        letter if letter.is_alphanumeric() => letter,
        _ => '?',
    };
    let mut quoted: String = line.chars().take(LINE_CHARS_MAX).map(clean).collect();
    if line.chars().count() > LINE_CHARS_MAX {
        quoted.push('…');
    }
    quoted
}

/// The most characters of a line that are quoted.
const LINE_CHARS_MAX: usize = 120;
/// A secret of fewer letters would be in the middle of many words.
const SHORT: usize = 4;
/// The beginnings of lines that say nothing, in small letters and without blanks. Squid's pages have them.
const EMPTY_PHRASES: [&str; 3] = [
    "errortherequestedurlcouldnotberetrieved",
    "therequestedurlcouldnotberetrieved",
    "thefollowingerrorwasencountered",
];
/// Tags that may be within a sentence.
const INLINE_TAGS: [&str; 13] =
    ["a", "b", "i", "u", "em", "strong", "span", "code", "tt", "font", "small", "abbr", "kbd"];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(page: &str, expected: Option<&str>) {
        let fields = [Field::new("Proxy-Authorization", Secret::new("Basic am9lOkh1bnRlcjIh"))];
        let mut secrets = RequestSecrets::of(&fields);
        secrets.add(r"CORP\svc-proxy");
        let line = telling_line(page.as_bytes(), "403 Forbidden", &secrets);
        assert_eq!(line.as_deref(), expected, "{page}");
    }

    #[test]
    fn the_line_that_says_more_than_the_status_is_quoted() {
        check("Your account is locked.\nCall 1234.", Some("Your account is locked."));
        check(
            "<html><head><title>403 Forbidden</title><style>p { color: red }</style></head><body>\
             <h1>Forbidden</h1><p>Your <b>account</b> is\n locked &amp; \"closed\".</p><hr>squid</body></html>",
            Some("Your account is locked & 'closed'."),
        );
        check(
            "<!DOCTYPE html><title>ERROR: The requested URL could not be retrieved</title><h1>ERROR</h1>\
             <p>The following error was encountered: <a href=x>y</a></p><p>Access Denied.</p>",
            Some("Access Denied."),
        );
        check("<script>Your account</script>", None);
        check("403 Forbidden\n\n403\n", None);
        check("", None);
        check("<title", None);
    }

    #[test]
    fn a_line_is_short_and_printable() {
        check("a\u{1b}[2Jb\tc\u{202e}", Some("a?[2Jb c?"));
        let long = "word ".repeat(100);
        let quoted = telling_line(long.as_bytes(), "403", &RequestSecrets::default()).unwrap();
        assert_eq!(quoted.chars().count(), LINE_CHARS_MAX + 1);
    }

    #[test]
    fn a_line_that_may_repeat_a_secret_is_not_quoted() {
        for line in [
            "Basic am9lOkh1bnRlcjIh is wrong",
            "the password Hunter2! is wrong",
            "HUNTER2 is wrong",
            "hunter%32%21 is wrong",
            "<p>Hunter2&#33; is wrong</p>",
            "user joe is locked",
            r"corp\svc-proxy is locked",
            "svc_proxy is locked",
        ] {
            check(line, None);
        }
        check("joey is no user", Some("joey is no user"));
    }

    proptest! {
        #[test]
        fn no_page_is_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            if let Some(line) = telling_line(&bytes, "403 Forbidden", &RequestSecrets::default()) {
                prop_assert!(!line.chars().any(char::is_control));
            }
        }

        #[test]
        fn no_text_in_tags_is_a_panic(page in "[<>a-z/ &;%é\"]{0,80}") {
            let _ = telling_line(page.as_bytes(), "403 Forbidden", &RequestSecrets::default());
        }
    }
}
