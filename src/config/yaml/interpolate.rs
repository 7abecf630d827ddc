//! Replaces `${VAR}` in scalars, after the YAML is parsed.

use std::ffi::OsString;

use mooltiroute_hops::Encryption;
use thiserror::Error;
use zeroize::Zeroizing;

/// The reason why a text can't be completed. It quotes neither the text nor a variable's value.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum Invalid {
    #[error("{}", unset(.0))]
    Unset(Vec<String>),
    #[error("the variable `{0}` is not valid UTF-8")]
    NotUnicode(String),
    #[error("the value of the variable {0}")]
    Encrypted(Encryption),
    #[error("`${{` has no `}}` after it")]
    Unclosed,
    #[error(
        "`${{` is not followed by the name of a variable, of letters, digits and `_`, and `}}` or `:-`"
    )]
    Name,
    #[error("the text is over {TEXT_BYTES_MAX} bytes once its variables are put in")]
    TooLong,
    #[error("all variables together are over {TOTAL_BYTES_MAX} bytes up to here")]
    TooMuch,
}

/// Returns `text` with its variables replaced, or `None` if it has none. A variable's value is not searched for
/// variables again.
///
/// `${VAR:-default}` means `default` if `VAR` is unset or empty, as in a shell. `$${` means a literal `${`.
pub(crate) fn interpolate(
    text: &str,
    variable: impl Fn(&str) -> Option<OsString>,
) -> Result<Option<String>, Invalid> {
    if !text.contains("${") {
        return Ok(None);
    }
    // Wiped if this fails half-way: it may hold the value of a secret by then.
    let mut done = Zeroizing::new(String::new());
    let (mut rest, mut unset) = (text, Vec::new());
    while let Some(start) = rest.find("${") {
        let (before, after) = (&rest[..start], &rest[start + 2..]);
        if let Some(before) = before.strip_suffix('$') {
            done.push_str(before);
            done.push_str("${");
            rest = after;
            continue;
        }
        // The first `}` ends it. So a default can't contain a brace or another variable, and needs no grammar
        // of its own.
        let end = after.find('}').ok_or(Invalid::Unclosed)?;
        done.push_str(before);
        match expand(&after[..end], &variable) {
            Ok(value) => done.push_str(&value),
            // All unset variables of a text are reported at once, so that they can be set in one go.
            Err(Invalid::Unset(names)) => {
                names.iter().for_each(|name| add_name(&mut unset, name));
            }
            Err(invalid) => return Err(invalid),
        }
        rest = &after[end + 1..];
        // Checked after each variable, so that a text of many variables can't grow to many times its limit
        // first.
        if done.len() > TEXT_BYTES_MAX {
            return Err(Invalid::TooLong);
        }
    }
    done.push_str(rest);
    if unset.is_empty() { Ok(Some(std::mem::take(&mut *done))) } else { Err(Invalid::Unset(unset)) }
}

/// Returns the names of the first variables in `text`, as far as it can be read.
pub(crate) fn names(text: &str) -> Vec<String> {
    let mut names = Vec::new();
    let starts = text.match_indices("${").map(|(start, _)| start);
    // This also reads texts that can't be completed: `check` shows which variables a disabled hop needs,
    // whether or not they are set.
    for start in starts.filter(|start| !text[..*start].ends_with('$')) {
        let part = &text[start + 2..];
        let is_after = |byte: u8| !byte.is_ascii_alphanumeric() && byte != b'_';
        let Some(end) = part.bytes().position(is_after) else { break };
        let (name, rest) = part.split_at(end);
        if is_variable(name) && (rest.starts_with('}') || rest.starts_with(":-")) {
            add_name(&mut names, name);
        }
    }
    names
}

/// Adds a name once, up to a limit.
fn add_name(names: &mut Vec<String>, name: &str) {
    if names.len() < NAMES_MAX && !names.iter().any(|known| known == name) {
        names.push(name.to_owned());
    }
}

/// Expands the text between `${` and `}`.
fn expand(
    inner: &str,
    variable: impl Fn(&str) -> Option<OsString>,
) -> Result<Zeroizing<String>, Invalid> {
    let (name, default) = match inner.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (inner, None),
    };
    if !is_variable(name) {
        return Err(Invalid::Name);
    }
    // A variable that is not UTF-8 is an error in spite of a default: it is set, and means something else
    // than the default.
    let value = variable(name).map(OsString::into_string).transpose();
    match (value.map_err(|_| Invalid::NotUnicode(name.to_owned()))?, default) {
        (Some(value), None) => Ok(value.into()),
        (Some(value), Some(_)) if !value.is_empty() => Ok(value.into()),
        (_, Some(default)) => Ok(default.to_owned().into()),
        (None, None) => Err(Invalid::Unset(vec![name.to_owned()])),
    }
}

fn unset(names: &[String]) -> String {
    match names {
        [name] => format!("the variable `{name}` is not set"),
        names => format!("the variables `{}` are not set", names.join("`, `")),
    }
}

fn is_variable(name: &str) -> bool {
    let is_valid = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    (1..=NAME_BYTES_MAX).contains(&name.len())
        && !name.starts_with(|first: char| first.is_ascii_digit())
        && name.bytes().all(is_valid)
}

const NAME_BYTES_MAX: usize = 128;
const NAMES_MAX: usize = 20;

/// The length limit of one text: more than any setting needs, and low enough to keep a file of many variables small.
const TEXT_BYTES_MAX: usize = 16 * 1024;

/// The total length limit of all texts with variables.
pub(crate) const TOTAL_BYTES_MAX: usize = 2 << 20;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn variable(name: &str) -> Option<OsString> {
        match name {
            "USER" => Some("joe".into()),
            "EMPTY" => Some("".into()),
            "NESTED" => Some("${USER}: {a}".into()),
            "LONG" => Some("x".repeat(TEXT_BYTES_MAX).into()),
            _ => None,
        }
    }

    #[track_caller]
    fn check(text: &str, expected: Result<Option<&str>, Invalid>) {
        let found = interpolate(text, variable);
        assert_eq!(found.as_ref().map(Option::as_deref), expected.as_ref().map(|text| *text));
    }

    #[test]
    fn variables_are_put_in() {
        check("plain $USER $ { }", Ok(None));
        check("${USER}", Ok(Some("joe")));
        check("a${USER}b${USER}c", Ok(Some("ajoebjoec")));
        check("${EMPTY}", Ok(Some("")));
        check("${EMPTY:-x}${UNSET:-y:-z}${USER:-w}${UNSET:-}", Ok(Some("xy:-zjoe")));
        check("$${USER}", Ok(Some("${USER}")));
        check("$$${USER}", Ok(Some("$${USER}")));
        check("$${${USER}", Ok(Some("${joe")));
        check("${NESTED}", Ok(Some("${USER}: {a}")));
    }

    #[test]
    fn the_names_of_variables_are_known_without_their_values() {
        let text = "a${USER}b$${NOT}${UNSET:-x}${1A}${NESTED";
        assert_eq!(names(text), ["USER", "UNSET"]);
        assert_eq!(names(&"${USER}${UNSET}".repeat(50)), ["USER", "UNSET"]);
        let many: String = (0..50_000).map(|index| format!("${{A{index}}}")).collect();
        assert_eq!(names(&many).len(), NAMES_MAX);
        assert_eq!(names(&"${A".repeat(500_000)), [""; 0]);
    }

    #[test]
    fn what_can_not_be_put_in_says_why() {
        check("${UNSET}", Err(Invalid::Unset(vec!["UNSET".into()])));
        check("${A}${USER}${B}", Err(Invalid::Unset(vec!["A".into(), "B".into()])));
        check("${USER", Err(Invalid::Unclosed));
        check("${}", Err(Invalid::Name));
        check("${1A}", Err(Invalid::Name));
        check("${USER:?no}", Err(Invalid::Name));
        check("${ USER }", Err(Invalid::Name));
        check("${USER-x}", Err(Invalid::Name));
        check("${LONG}${LONG}", Err(Invalid::TooLong));
        check(&"${UNSET}".repeat(50_000), Err(Invalid::Unset(vec!["UNSET".into()])));
    }

    proptest! {
        #[test]
        fn any_text_has_an_answer(text in "([$]{0,3}[{}:]|USER|LONG|-|é){0,20}") {
            if let Ok(Some(done)) = interpolate(&text, variable) {
                prop_assert!(text.contains("${"), "nothing was there to be replaced");
                prop_assert!(done.len() <= TEXT_BYTES_MAX + text.len());
            }
        }

        #[test]
        fn a_doubled_dollar_keeps_a_text_as_it_is(text in "[a-z${} ]{0,20}") {
            let escaped = text.replace("${", "$${");
            prop_assert_eq!(interpolate(&escaped, |_| None).map(|done| done.unwrap_or_else(|| escaped.clone())), Ok(text));
        }
    }
}
