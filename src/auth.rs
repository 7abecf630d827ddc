//! The listener's own Basic authentication.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use crate::{
    config::Auth,
    http::{Fields, RequestHead, Target},
};

/// Whether a request has the credentials that `auth` asks for: in `Proxy-Authorization`, or in `Authorization` where the
/// proxy itself is asked, for then it is the origin (RFC 9110 §11.6). How long that takes does not depend on where they
/// differ.
pub fn is_authorized(head: &RequestHead, auth: &Auth) -> bool {
    let is_origin = matches!(head.target(), Target::Origin(_) | Target::Asterisk);
    has_credentials(head.fields(), "Proxy-Authorization", auth)
        || is_origin && has_credentials(head.fields(), "Authorization", auth)
}

fn has_credentials(fields: &Fields, name: &str, auth: &Auth) -> bool {
    let mut given = fields.values(name);
    match (given.next(), given.next()) {
        (Some(value), None) => credentials(value).is_some_and(|given| matches(&given, auth)),
        _ => false,
    }
}

/// The decoded `username:password` of a Basic value (RFC 7617 §2).
fn credentials(value: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (scheme, encoded) = value.split_at_checked("Basic ".len())?;
    if !scheme.eq_ignore_ascii_case(b"Basic ") {
        return None;
    }
    STANDARD.decode(encoded.trim_ascii()).ok().map(Zeroizing::new)
}

fn matches(given: &[u8], auth: &Auth) -> bool {
    let expected = Zeroizing::new(format!("{}:{}", auth.username.expose(), auth.password.expose()));
    given.ct_eq(expected.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use mooltiroute_hops::Secret;

    use super::*;
    use crate::http::{HeadLimits, HeadReader};

    #[track_caller]
    fn check(fields: &str, expected: bool) {
        let auth = Auth { username: Secret::new("dev"), password: Secret::new("p:w") };
        let head = format!("GET http://a/ HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        let head = HeadReader::new(HeadLimits::default())
            .request(&mut BytesMut::from(head.as_str()))
            .unwrap();
        assert_eq!(is_authorized(&head.unwrap(), &auth), expected, "{fields}");
    }

    #[test]
    fn only_the_right_credentials_are_let_in() {
        check("Proxy-Authorization: Basic ZGV2OnA6dw==\r\n", true);
        check("proxy-authorization: bAsIc  ZGV2OnA6dw==\r\n", true);
        check("", false);
        check("Authorization: Basic ZGV2OnA6dw==\r\n", false);
        check("Proxy-Authorization: Basic ZGV2OnA6dwo=\r\n", false);
        check("Proxy-Authorization: Basic ZGV2OnA6d\r\n", false);
        check("Proxy-Authorization: Bearer ZGV2OnA6dw==\r\n", false);
        check("Proxy-Authorization: Basic\r\n", false);
        let twice = "Proxy-Authorization: Basic ZGV2OnA6dw==\r\n".repeat(2);
        check(&twice, false);
    }
}
