//! Basic credentials (RFC 7617).

use std::path::Path;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use zeroize::Zeroizing;

use crate::{BuildContext, InvalidSetting, Secret};

/// Returns the value of a `Proxy-Authorization` field for these credentials, in UTF-8 and sent without being asked
/// for.
///
/// # Errors
/// Names `username` or `password`: RFC 7617 §2 has no colon in the former and no control character in either.
pub fn basic(username: &Secret, password: &Secret) -> Result<Secret, InvalidSetting> {
    for (key, secret) in [("username", username), ("password", password)] {
        if let Some(fault) = control_character(secret) {
            return Err(InvalidSetting::new(key, fault));
        }
    }
    // The proxy splits at the first colon, so a part of the username would become a part of the password.
    if username.expose().contains(':') {
        return Err(InvalidSetting::new(
            "username",
            "has a `:`, which Basic credentials can't carry; if the password follows it, write that as the password",
        ));
    }
    // Both steps on the way to the field hold the password, so both are wiped.
    let plain = Zeroizing::new(format!("{}:{}", username.expose(), password.expose()));
    let encoded = Zeroizing::new(STANDARD.encode(plain.as_bytes()));
    Ok(Secret::new(format!("Basic {}", encoded.as_str())))
}

/// Returns a clause about the control characters in `credential`, if it has any.
pub(crate) fn control_character(credential: &Secret) -> Option<&'static str> {
    let text = credential.expose();
    let is_at_end = text.trim_end_matches(['\r', '\n']).chars().all(|char| !char.is_control());
    match text.chars().any(char::is_control) {
        false => None,
        true if is_at_end => Some(
            "ends with a line end, which a file with the line ends of Windows leaves there; remove it",
        ),
        true => Some("has a control character, such as a line end; remove it"),
    }
}

/// Returns the password of the setting `password`, or the content of the file of `password_file`, without a line end
/// after it. A file that seems to hold the `username` too gives a warning.
///
/// # Errors
/// Both are there, or the file is not a password.
pub fn password(
    written: Option<Secret>,
    file: Option<&Path>,
    username: Option<&Secret>,
    context: &BuildContext<'_>,
) -> Result<Option<Secret>, InvalidSetting> {
    either("password", "password_file", written, file, username, context)
}

/// As [`password`], for the settings `key` and `file_key`.
pub(crate) fn either(
    key: &str,
    file_key: &str,
    written: Option<Secret>,
    file: Option<&Path>,
    username: Option<&Secret>,
    context: &BuildContext<'_>,
) -> Result<Option<Secret>, InvalidSetting> {
    let Some(file) = file else { return Ok(written) };
    if written.is_some() {
        let message = format!("can't be beside `{key}`; write one of the two");
        return Err(InvalidSetting::new(file_key, message));
    }
    let fail = |message: &str| Err(InvalidSetting::file(file_key, message));
    let content = match context.read(file) {
        Ok(content) => content,
        Err(error) => return Err(InvalidSetting::unreadable_file(file_key, &error)),
    };
    let text = content.expose();
    // Editors and `echo` end a file with a line end, which is not part of the password. Only one is removed, and
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
    let doubt = doubtful(password)
        .or_else(|| account_line(password, username))
        .or_else(|| assignment(password));
    if let Some(doubt) = doubt {
        context.warn(InvalidSetting::file(file_key, doubt));
    }
    Ok(Some(Secret::new(password)))
}

/// Returns a warning if a password from a file looks like a line of settings, as `.env` files and INI files have.
fn assignment(text: &str) -> Option<&'static str> {
    let name_ends = text.find(['=', ':'])?;
    // A password may hold both characters, so only names that mean a password count.
    let (name, _) = text.split_at(name_ends);
    let name = name.trim().trim_start_matches("export ").trim().trim_matches('"').to_lowercase();
    let is_password = ["password", "passwd", "pass", "pwd", "secret"].iter().any(|word| {
        name == *word
            || name.strip_suffix(word).is_some_and(|start| start.ends_with(['_', '-', '.']))
    });
    is_password.then_some(
        "begins with a name such as `password=`, which is sent as a part of the password; write the password alone",
    )
}

/// Returns a warning if a password from a file looks like `USERNAME:PASSWORD`.
fn account_line(text: &str, username: Option<&Secret>) -> Option<&'static str> {
    let (name, rest) = text.split_once(':')?;
    if HASHES.iter().any(|hash| rest.starts_with(hash)) {
        return Some(
            "looks like a line of an htpasswd file, and is sent as it is; write the password itself, and no hash of it",
        );
    }
    // The domain may be written in one of the two only, and a provider's username may have an ending.
    let bare = |text: &str| {
        let text = text.rsplit(['\\', '/']).next().unwrap_or_default();
        text.split('@').next().unwrap_or_default().to_lowercase()
    };
    let (name, username) = (bare(name), bare(username?.expose()));
    let is_same = !username.is_empty()
        && name.strip_prefix(&*username).is_some_and(|end| end.is_empty() || end.starts_with('-'));
    is_same.then_some(
        "begins with the username and a `:`, which are sent as a part of the password; write the password alone",
    )
}

/// The beginnings of hashes in htpasswd files.
const HASHES: [&str; 7] = ["$apr1$", "$2y$", "$2a$", "$2b$", "$5$", "$6$", "{SHA}"];

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
    is_encoded_for_url(text).then_some(
        "is encoded as in a URL, and is sent as it is: in a URL `%40` stands for `@`, here it does not; if that is not meant, \
         write the characters themselves",
    )
}

/// Returns whether `text` is probably a template, as `kind: rotating` takes it: it has one of its places, or a part in
/// brackets that may be left out.
pub fn is_template(text: &str) -> bool {
    const MARKS: [&str; 8] =
        ["{user}", "{pass}", "{country}", "{COUNTRY}", "{city}", "{session}", "{ttl}", "[-"];
    MARKS.iter().any(|mark| text.contains(mark))
}

/// Returns whether `text` was probably copied from a URL: it has percent-encoded characters (RFC 3986 § 2.1) that a
/// credential must have so there, and none of these characters as itself.
pub fn is_encoded_for_url(text: &str) -> bool {
    const ENCODED: &[u8] = b"#$%&/:;=?@ !";
    let mut has_encoded = false;
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let digits = after.get(..2).and_then(|two| std::str::from_utf8(two).ok());
        let digits = digits.filter(|two| two.bytes().all(|one| one.is_ascii_hexdigit()));
        match digits.and_then(|two| u8::from_str_radix(two, 16).ok()) {
            Some(byte) if *first == b'%' => {
                has_encoded |= ENCODED.contains(&byte);
                rest = &after[2..];
            }
            _ if ENCODED.contains(first) => return false,
            _ => rest = after,
        }
    }
    has_encoded
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
        for text in ["\u{feff}x", "x\r", "\"x\"", "'x'", " x", "x ", "x\t", "x%40"] {
            assert!(doubtful(text).is_some(), "{text:?}");
        }
        for text in ["x", "a b", "it's", "'", "\"", "", "'a\"", "a'"] {
            assert_eq!(doubtful(text), None, "{text:?}");
        }
    }

    #[test]
    fn templates_are_told_from_usernames() {
        for text in ["{user}-rotate", "joe-session-{session}", "joe[-us]", "{COUNTRY}joe"] {
            assert!(is_template(text), "{text}");
        }
        for text in ["joe", "joe-rotate", "{joe}", "joe[us]", "${USER}", ""] {
            assert!(!is_template(text), "{text}");
        }
    }

    #[test]
    fn credentials_from_urls_are_told_from_others() {
        for text in ["p%40ss", "%23", "a%2Fb%3a", "100%25", "%C3%A4%40", "x%20y"] {
            assert!(is_encoded_for_url(text), "{text}");
        }
        // A character that a URL would not have as itself, an encoded letter alone, and no code at all.
        for text in [
            "p%40s@",
            "a:%40",
            "%41",
            "%C3%A4",
            "50%",
            "%4",
            "%%40",
            "%zz",
            "%+4",
            "%\u{e9}40",
            "x",
            "",
        ] {
            assert!(!is_encoded_for_url(text), "{text}");
        }
    }

    #[test]
    fn a_file_with_a_username_in_it_is_doubtful() {
        let doubt = |text: &str, username: &str| {
            account_line(text, Some(&Secret::new(username))).unwrap_or_default()
        };
        for (text, username) in [
            ("alice:x", "alice"),
            ("Alice:x:y", r"CORP\alice"),
            (r"CORP\alice:x", "alice@CORP.TEST"),
            ("alice-rotate:x", "alice"),
        ] {
            assert!(doubt(text, username).contains("begins with the username"), "{text}");
        }
        for (text, username) in [
            ("alice", "alice"),
            ("alicex:y", "alice"),
            ("x:alice", "alice"),
            (":x", "alice"),
            ("x:y", ""),
        ] {
            assert_eq!(doubt(text, username), "", "{text}");
        }
        for text in [
            "password=Secret1",
            "Password: Secret1",
            "export PROXY_PASSWORD=x",
            "proxy.password = x",
            "\"pwd\": x",
        ] {
            assert!(assignment(text).is_some_and(|doubt| doubt.contains("`password=`")), "{text}");
        }
        for text in
            ["Secret1", "pass", "pass word", "compass=north", "x=password", "=", "my:pass=1"]
        {
            assert_eq!(assignment(text), None, "{text}");
        }
        for hash in ["$apr1$x", "$2y$05$x", "{SHA}x"] {
            assert!(doubt(&format!("bob:{hash}"), "alice").contains("htpasswd"), "{hash}");
        }
        assert_eq!(account_line("alice:x", None), None);
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
