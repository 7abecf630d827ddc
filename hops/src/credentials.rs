//! Basic credentials (RFC 7617).

use base64::{Engine as _, engine::general_purpose::STANDARD};
use zeroize::Zeroizing;

use crate::{InvalidSetting, Secret};

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
    if username.expose().contains(':') {
        return Err(InvalidSetting::new(
            "username",
            "has a `:`, which Basic credentials can't carry",
        ));
    }
    let plain = Zeroizing::new(format!("{}:{}", username.expose(), password.expose()));
    let encoded = Zeroizing::new(STANDARD.encode(plain.as_bytes()));
    Ok(Secret::new(format!("Basic {}", encoded.as_str())))
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
    fn credentials_are_encoded_or_refused() {
        check("Aladdin", "open sesame", Ok("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="));
        check("test", "123£", Ok("Basic dGVzdDoxMjPCow=="));
        check("user", "p:w@%\"'", Ok("Basic dXNlcjpwOndAJSIn"));
        check("u:ser", "secret", Err("username"));
        check("user", "se\ncret", Err("password"));
        check("us\u{7f}er", "secret", Err("username"));
    }
}
