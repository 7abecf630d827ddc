//! The answer to a challenge of Digest (RFC 7616 §3.4).

use std::fmt::Write as _;

use zeroize::Zeroizing;

use super::{DigestChallenge, DigestCredentials, DigestRequest};
use crate::Secret;

/// The part of an answer that changes with each use of a nonce.
#[derive(Clone, Copy, Debug)]
pub(super) struct NonceUse<'a> {
    /// Counts the uses of the nonce, from 1.
    pub(super) count: u32,
    pub(super) client_nonce: &'a str,
}

/// Writes the value of `Proxy-Authorization`.
pub(super) fn answer(
    challenge: &DigestChallenge,
    credentials: &DigestCredentials,
    request: &DigestRequest<'_>,
    nonce_use: NonceUse<'_>,
) -> Secret {
    let response = response(challenge, credentials, request, nonce_use);
    let NonceUse { count, client_nonce } = nonce_use;
    let mut value = Zeroizing::new(String::with_capacity(ANSWER_BYTES));
    value.push_str("Digest ");
    push_username(challenge, credentials, &mut value);
    // RFC 7616 §3.4 demands quotes around these values, and forbids them around `algorithm`, `qop` and `nc` below.
    push_quoted("realm", &challenge.realm, &mut value);
    push_quoted("nonce", &challenge.nonce, &mut value);
    push_quoted("uri", request.uri, &mut value);
    push_quoted("cnonce", client_nonce, &mut value);
    push_quoted("response", &response, &mut value);
    // `opaque` goes back as it came (RFC 7616 §3.3).
    if let Some(opaque) = &challenge.opaque {
        push_quoted("opaque", opaque, &mut value);
    }
    if challenge.names_algorithm {
        let _ = write!(*value, "algorithm={}, ", challenge.algorithm.name());
    }
    let _ = write!(*value, "qop=auth, nc={count:08x}");
    Secret::new(value.as_str())
}

/// Computes the parameter `response` (RFC 7616 §3.4.1).
fn response(
    challenge: &DigestChallenge,
    credentials: &DigestCredentials,
    request: &DigestRequest<'_>,
    NonceUse { count, client_nonce }: NonceUse<'_>,
) -> Zeroizing<String> {
    let algorithm = challenge.algorithm;
    let (username, password) = (credentials.username.expose(), credentials.password.expose());
    let mut key = algorithm.hash(&[username, &challenge.realm, password]);
    // RFC 7616 §3.4.2: the key of a `-sess` algorithm also covers the two nonces of the first request.
    if algorithm.is_session() {
        key = algorithm.hash(&[&key, &challenge.nonce, client_nonce]);
    }
    // `A2` (RFC 7616 §3.4.3). The proxy hashes the target that it received, so this must be the target as it is sent.
    let request = algorithm.hash(&[request.method, request.uri]);
    let count = format!("{count:08x}");
    algorithm.hash(&[&key, &challenge.nonce, &count, client_nonce, "auth", &request])
}

/// Writes the username: as a hash if the proxy wants one (RFC 7616 §3.4.4), as `username*` (RFC 8187) if it has other
/// characters than ASCII and the proxy knows UTF-8, else as it is.
fn push_username(challenge: &DigestChallenge, credentials: &DigestCredentials, value: &mut String) {
    let username = credentials.username.expose();
    // A hash has ASCII digits only, so the character set does not matter.
    if challenge.wants_userhash {
        let hash = challenge.algorithm.hash(&[username, &challenge.realm]);
        push_quoted("username", &hash, value);
        value.push_str("userhash=true, ");
    } else if challenge.is_utf8 && !username.is_ascii() {
        // RFC 8187 §3.2.1 leaves a few more characters as they are, but lets a sender escape them.
        value.push_str("username*=UTF-8''");
        for byte in username.bytes() {
            if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                value.push(char::from(byte));
            } else {
                let _ = write!(value, "%{byte:02X}");
            }
        }
        value.push_str(", ");
    } else {
        push_quoted("username", username, value);
    }
}

fn push_quoted(name: &str, text: &str, value: &mut String) {
    value.push_str(name);
    value.push_str("=\"");
    for character in text.chars() {
        // An unescaped quote in the proxy's realm would end the value, and the rest would be read as more parameters.
        if matches!(character, '"' | '\\') {
            value.push('\\');
        }
        value.push(character);
    }
    value.push_str("\", ");
}

/// Enough for usual answers, so that the text rarely grows and leaves a copy behind.
const ANSWER_BYTES: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::challenge::Challenge;

    fn challenge(field: &str) -> DigestChallenge {
        DigestChallenge::strongest(&Challenge::parse([field.as_bytes()])).unwrap()
    }

    fn mufasa(password: &str) -> DigestCredentials {
        DigestCredentials::new(Secret::new("Mufasa"), Secret::new(password))
    }

    const GET: DigestRequest<'static> = DigestRequest {
        method: "GET",
        uri: "/dir/index.html",
        client_nonce: [0; 16],
        is_again: false,
    };

    /// RFC 2617 §3.5.
    #[test]
    fn the_vector_of_rfc_2617_is_met() {
        let challenge = challenge(
            r#"Digest realm="testrealm@host.com", qop="auth,auth-int", nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093", opaque="5ccc069c403ebaf9f0171e9517f40e41""#,
        );
        let nonce_use = NonceUse { count: 1, client_nonce: "0a4f113b" };
        let value = answer(&challenge, &mufasa("Circle Of Life"), &GET, nonce_use);
        let expected = concat!(
            r#"Digest username="Mufasa", realm="testrealm@host.com", "#,
            r#"nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093", uri="/dir/index.html", cnonce="0a4f113b", "#,
            r#"response="6629fae49393a05397450978507c4ef1", opaque="5ccc069c403ebaf9f0171e9517f40e41", "#,
            "qop=auth, nc=00000001"
        );
        assert_eq!(value.expose(), expected);
    }

    /// RFC 7616 §3.9.1.
    #[test]
    fn the_vectors_of_rfc_7616_are_met() {
        for (algorithm, expected) in [
            ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
            ("SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
        ] {
            let challenge = challenge(&format!(
                r#"Digest realm="http-auth@example.org", qop="auth, auth-int", algorithm={algorithm}, nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS""#
            ));
            let client_nonce = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ";
            let nonce_use = NonceUse { count: 1, client_nonce };
            assert_eq!(*response(&challenge, &mufasa("Circle of Life"), &GET, nonce_use), expected);
        }
    }

    /// Computed with Python's hashlib.
    #[test]
    fn a_session_hashes_the_nonces_into_the_key() {
        let challenge = challenge("Digest realm=r, nonce=n, qop=auth, algorithm=MD5-sess");
        let nonce_use = NonceUse { count: 2, client_nonce: "c" };
        let value = response(&challenge, &mufasa("p"), &GET, nonce_use);
        assert_eq!(*value, "8243cd8b77f59e9b3b1a52a034956470");
    }

    #[test]
    fn usernames_are_hashed_encoded_or_quoted_as_the_proxy_asks() {
        let value = |username: &str, extra: &str| {
            let challenge = challenge(&format!("Digest realm=r, nonce=n, qop=auth{extra}"));
            let credentials = DigestCredentials::new(Secret::new(username), Secret::new("p"));
            let nonce_use = NonceUse { count: 1, client_nonce: "c" };
            let value = answer(&challenge, &credentials, &GET, nonce_use);
            value.expose().split(", realm").next().unwrap().to_owned()
        };
        assert_eq!(value("a\"b\\c", ""), r#"Digest username="a\"b\\c""#);
        assert_eq!(
            value("Jäsøn Doe", ", charset=utf-8"),
            "Digest username*=UTF-8''J%C3%A4s%C3%B8n%20Doe"
        );
        assert_eq!(value("alice", ", charset=UTF-8"), r#"Digest username="alice""#);
        let hashed = value("alice", ", userhash=TRUE, algorithm=SHA-256");
        assert_eq!(
            hashed,
            r#"Digest username="b2fce9e71274b544c1103125fadee150f3ed1f8dfc9c3b27e79e477b5c7686b8", userhash=true"#
        );
    }
}
