//! Basic credentials (RFC 7617).

use std::path::Path;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use zeroize::Zeroizing;

use crate::{BuildContext, InvalidSetting, Secret};

/// The value of a `Proxy-Authorization` field for these credentials, in UTF-8 and sent without being asked for.
///
/// # Errors
/// Names `username` or `password`: RFC 7617 §2 has no colon in the former and no control character in either.
pub fn basic(username: &Secret, password: &Secret) -> Result<Secret, InvalidSetting> {
    for (key, secret) in [("username", username), ("password", password)] {
        if secret.expose().chars().any(char::is_control) {
            return Err(InvalidSetting::new(
                key,
                "has a control character, such as a line end; remove it",
            ));
        }
    }
    // The proxy splits at the first colon, so a part of the username would become a part of the password.
    if username.expose().contains(':') {
        return Err(InvalidSetting::new(
            "username",
            "has a `:`, which Basic credentials can't carry",
        ));
    }
    // Both steps on the way to the field hold the password, so both are wiped.
    let plain = Zeroizing::new(format!("{}:{}", username.expose(), password.expose()));
    let encoded = Zeroizing::new(STANDARD.encode(plain.as_bytes()));
    Ok(Secret::new(format!("Basic {}", encoded.as_str())))
}

/// The password of the setting `password`, or the content of the file of `password_file`, without a line end after it.
///
/// # Errors
/// Both are there, or the file is no password.
pub fn password(
    written: Option<Secret>,
    file: Option<&Path>,
    context: &BuildContext<'_>,
) -> Result<Option<Secret>, InvalidSetting> {
    let Some(file) = file else { return Ok(written) };
    if written.is_some() {
        let message = "can't be beside `password`; write one of the two";
        return Err(InvalidSetting::new("password_file", message));
    }
    let fail = |message: &str| Err(InvalidSetting::file("password_file", message));
    let content = match context.read(file) {
        Ok(content) => content,
        Err(error) => return fail(&format!("can't be read: {error}")),
    };
    let text = content.expose();
    // Editors and `echo` end a file with a line end, which is no part of the password. Only one is removed, and
    // blanks are kept, since a password may end with one.
    let line = text.strip_suffix('\n').map(|line| line.strip_suffix('\r').unwrap_or(line));
    let password = line.unwrap_or(text);
    if password.is_empty() {
        return fail("is empty; expected the password and nothing else");
    }
    // A second line is more likely a wrong file than a password, and would break the header field.
    if password.chars().any(char::is_control) {
        return fail(
            "has more than one line or a control character; expected the password and nothing else",
        );
    }
    if let Some(doubt) = doubtful(password) {
        context.warn(InvalidSetting::file("password_file", doubt));
    }
    Ok(Some(Secret::new(password)))
}

/// Returns what is odd about a credential that came from a file or a variable, as a clause about that: a trace of the way
/// in which it was written there. It may be meant, so it is no reason to refuse the credential.
pub fn doubtful(text: &str) -> Option<&'static str> {
    let quotes = ['"', '\''];
    let is_quoted = |quote: &char| {
        let inner = text.strip_prefix(*quote).and_then(|rest| rest.strip_suffix(*quote));
        inner.is_some()
    };
    if text.starts_with('\u{feff}') {
        return Some(
            "begins with a byte order mark, which is sent as a part of it; save it as UTF-8 without one",
        );
    }
    if text.ends_with(['\r', '\n']) {
        return Some(
            "ends with a line end, which is sent as a part of it; a file with the line ends of Windows leaves one there",
        );
    }
    if quotes.iter().any(is_quoted) {
        return Some(
            "is in quotes, which are sent as a part of it; remove them if they are not meant",
        );
    }
    if text.starts_with(char::is_whitespace) || text.ends_with(char::is_whitespace) {
        return Some(
            "begins or ends with a blank, which is sent as a part of it; remove it if it is not meant",
        );
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(username: &str, password: &str, expected: Result<&str, &str>) {
        let value = basic(&Secret::new(username), &Secret::new(password));
        let value =
            value.as_ref().map(Secret::expose).map_err(|invalid| invalid.path().to_string());
        assert_eq!(
            value.as_deref().map_err(String::as_str),
            expected.as_ref().map(|s| *s).map_err(|s| *s)
        );
    }

    #[test]
    fn traces_of_files_and_shells_are_doubtful_and_other_passwords_are_not() {
        for text in ["\u{feff}x", "x\r", "\"x\"", "'x'", " x", "x ", "x\t"] {
            assert!(doubtful(text).is_some(), "{text:?}");
        }
        for text in ["x", "a b", "it's", "'", "\"", "", "'a\"", "a'"] {
            assert_eq!(doubtful(text), None, "{text:?}");
        }
    }

    #[test]
    fn credentials_are_encoded_or_refused() {
        check("Aladdin", "open sesame", Ok("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="));
        check("test", "123£", Ok("Basic dGVzdDoxMjPCow=="));
        check("user", "p:w@%\"'", Ok("Basic dXNlcjpwOndAJSIn"));
        check("u:ser", "secret", Err("username"));
        check("user", "se\ncret", Err("password"));
        check("us\u{7f}er", "secret", Err("username"));
    }
}
