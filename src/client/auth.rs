//! The listener's own Basic authentication.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use crate::{
    config::Auth,
    http::{Fields, RequestHead, Target},
};

/// A client that was let in, and what it says of itself.
#[derive(Clone, Debug, Default)]
pub(crate) struct Admitted {
    /// The part of its username that states its preferences: all of it, or the part behind `server.auth.username` and a
    /// `+`.
    pub preferences: Option<Box<str>>,
    /// Whether no credentials are asked for, and those that it sent are not understood.
    pub is_unread: bool,
}

/// The username that a client sent, as far as this proxy could read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SentUsername {
    /// It sent none, or an empty one.
    None,
    /// Its `Proxy-Authorization` is not that of a username and a password, or occurs twice.
    Unread,
    /// It sent one.
    Read,
}

/// Admits a client that sends the credentials of `auth`, or any client if there is no `auth`.
///
/// Credentials come in `Proxy-Authorization`, or in `Authorization` if the request is for the proxy itself, which is the
/// origin then (RFC 9110 §11.6). The time that the comparison takes does not depend on the position of a difference.
pub(crate) fn admit(head: &RequestHead, auth: Option<&Auth>) -> Option<Admitted> {
    let is_origin = matches!(head.target(), Target::Origin(_) | Target::Asterisk);
    // `Authorization` on any other request is for the origin. It is passed on, and must not let a
    // client in.
    let admitted = admit_by(head.fields(), "Proxy-Authorization", auth);
    admitted.or_else(|| admit_by(head.fields(), "Authorization", auth).filter(|_| is_origin))
}

/// Returns the scheme of the client's credentials for this proxy, if it is another one than Basic. A scheme that this program
/// does not know is not repeated.
pub(crate) fn other_scheme(head: &RequestHead) -> Option<&'static str> {
    let value = head.fields().values("Proxy-Authorization").next()?;
    let scheme = value.split(|byte| *byte == b' ').next().unwrap_or_default();
    if scheme.eq_ignore_ascii_case(b"Basic") {
        return None;
    }
    let known = ["Digest", "NTLM", "Negotiate", "Bearer"];
    let named = known.into_iter().find(|known| scheme.eq_ignore_ascii_case(known.as_bytes()));
    Some(named.unwrap_or("non-Basic"))
}

/// Lets a SOCKS5 client in by its username and password.
pub(crate) fn admit_login(
    username: &[u8],
    password: &[u8],
    auth: Option<&Auth>,
) -> Option<Admitted> {
    // A colon would move the border between the two, as Basic writes them.
    let is_ambiguous = auth.is_some() && username.contains(&b':');
    let given = Zeroizing::new([username, b":", password].concat());
    admit_given(Some(&given), auth).filter(|_| !is_ambiguous)
}

/// Lets a client in that can name a user, but has no password: only if no credentials are asked for.
pub(crate) fn admit_user(user: &[u8], auth: Option<&Auth>) -> Option<Admitted> {
    auth.is_none().then(|| Admitted::stating(preferences(user)))
}

fn admit_by(fields: &Fields, name: &str, auth: Option<&Auth>) -> Option<Admitted> {
    let mut given = fields.values(name);
    let (first, second) = (given.next(), given.next());
    // With two such fields it is open which one counts, so neither does.
    let credentials = first.filter(|_| second.is_none()).and_then(credentials);
    let credentials = credentials.as_deref().map(Vec::as_slice);
    let is_unread = auth.is_none() && first.is_some() && credentials.and_then(split).is_none();
    admit_given(credentials, auth).map(|admitted| Admitted { is_unread, ..admitted })
}

/// Lets a client in by its `username:password`.
fn admit_given(given: Option<&[u8]>, auth: Option<&Auth>) -> Option<Admitted> {
    let Some(auth) = auth else {
        // All clients are let in, so a username is not a proof of anything: it may state
        // preferences, or be left over from the settings of another proxy.
        let username = given.and_then(split).map(|(user, _)| user);
        return Some(Admitted::stating(username.and_then(preferences)));
    };
    let given = given?;
    // Compared as they are first, since the username or the password of `server.auth` may have a
    // `+` of its own. What follows a `+` behind the username may then state preferences.
    if matches(given, auth) {
        return Some(Admitted::default());
    }
    let (username, password) = split(given)?;
    let (bare, rest) = username.split_at_checked(auth.username.expose().len())?;
    let stated = rest.strip_prefix(b"+")?;
    let bare = Zeroizing::new([bare, b":", password].concat());
    matches(&bare, auth).then(|| Admitted::stating(preferences(stated)))
}

impl Admitted {
    /// Returns which username the client has sent.
    pub(crate) fn username(&self) -> SentUsername {
        match self {
            Self { preferences: Some(_), .. } => SentUsername::Read,
            Self { is_unread: true, .. } => SentUsername::Unread,
            Self { .. } => SentUsername::None,
        }
    }

    fn stating(preferences: Option<Box<str>>) -> Self {
        Self { preferences, is_unread: false }
    }
}

/// Returns a username and a password (RFC 7617 §2).
fn split(credentials: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = credentials.iter().position(|byte| *byte == b':')?;
    Some((&credentials[..colon], &credentials[colon + 1..]))
}

/// Returns `None` if `text` is empty. Bytes that are not UTF-8 become a text that is not a valid preference either.
fn preferences(text: &[u8]) -> Option<Box<str>> {
    (!text.is_empty()).then(|| String::from_utf8_lossy(text).into())
}

/// Returns the decoded `username:password` of a Basic value (RFC 7617 §2).
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

    fn admitted(fields: &str, auth: Option<&Auth>) -> Option<Admitted> {
        let head = format!("GET http://a/ HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        let head = HeadReader::new(HeadLimits::default())
            .request(&mut BytesMut::from(head.as_str()))
            .unwrap();
        admit(&head.unwrap(), auth)
    }

    fn basic(credentials: &str) -> String {
        format!("Proxy-Authorization: Basic {}\r\n", STANDARD.encode(credentials))
    }

    fn auth() -> Auth {
        Auth { username: Secret::new("dev"), password: Secret::new("p:w") }
    }

    #[track_caller]
    fn check(fields: &str, expected: bool) {
        assert_eq!(admitted(fields, Some(&auth())).is_some(), expected, "{fields}");
    }

    #[track_caller]
    fn check_preferences(credentials: &str, auth: Option<&Auth>, expected: Option<&str>) {
        let admitted = admitted(&basic(credentials), auth).unwrap();
        assert_eq!(admitted.preferences.as_deref(), expected, "{credentials}");
    }

    #[test]
    fn preferences_are_all_of_a_username_or_what_follows_a_plus() {
        check_preferences("session-alice:", None, Some("session-alice"));
        check_preferences("session-alice,country-us:x:y", None, Some("session-alice,country-us"));
        check_preferences(":x", None, None);
        check_preferences("dev:p:w", Some(&auth()), None);
        check_preferences("dev+session-alice:p:w", Some(&auth()), Some("session-alice"));
        // Not understood, but no fault of the credentials.
        let separators = "session-alice+country-us";
        check_preferences(&format!("dev+{separators}:p:w"), Some(&auth()), Some(separators));
        check_preferences("dev+:p:w", Some(&auth()), None);
        let plus = Auth { username: Secret::new("a+b"), ..auth() };
        check_preferences("a+b:p:w", Some(&plus), None);
        check_preferences("a+b+country-us:p:w", Some(&plus), Some("country-us"));
        assert!(admitted("", None).unwrap().preferences.is_none());
    }

    #[test]
    fn a_socks_login_counts_like_basic_credentials() {
        let login = |username: &str, password: &str, auth: Option<&Auth>| {
            admit_login(username.as_bytes(), password.as_bytes(), auth)
                .map(|admitted| admitted.preferences.unwrap_or_default())
        };
        let auth = auth();
        assert_eq!(login("dev", "p:w", Some(&auth)).as_deref(), Some(""));
        assert_eq!(login("dev+session-a", "p:w", Some(&auth)).as_deref(), Some("session-a"));
        assert_eq!(login("dev:p", "w", Some(&auth)), None, "the border moved");
        assert_eq!(login("dev", "", Some(&auth)), None);
        assert_eq!(login("session-a", "", None).as_deref(), Some("session-a"));
        assert_eq!(login("", "", None).as_deref(), Some(""));
        assert!(admit_user(b"dev", Some(&auth)).is_none());
        assert_eq!(
            admit_user(b"country-us", None).unwrap().preferences.as_deref(),
            Some("country-us")
        );
    }

    #[test]
    fn a_scheme_other_than_basic_is_named() {
        let named = |fields: &str| {
            let head = format!("GET http://a/ HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
            let head = HeadReader::new(HeadLimits::default())
                .request(&mut BytesMut::from(head.as_str()))
                .unwrap();
            other_scheme(&head.unwrap())
        };
        assert_eq!(named(""), None);
        assert_eq!(named(&basic("a:b")), None);
        assert_eq!(named("Proxy-Authorization: BASIC\r\n"), None);
        assert_eq!(named("Proxy-Authorization: digest username=\"a\"\r\n"), Some("Digest"));
        assert_eq!(named("Proxy-Authorization: NTLM TlRM\r\n"), Some("NTLM"));
        assert_eq!(named("Proxy-Authorization: secret\r\n"), Some("non-Basic"));
    }

    #[test]
    fn preferences_are_no_credentials() {
        check(&basic("session-alice:"), false);
        check(&basic("session-alice:p:w"), false);
        check(&basic("dev+session-alice:wrong"), false);
        check(&basic("other+session-alice:p:w"), false);
        check(&basic("+dev:p:w"), false);
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
