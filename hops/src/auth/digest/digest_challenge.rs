//! A challenge of Digest (RFC 7616 §3.3).

use super::{DigestError, algorithm::DigestAlgorithm};
use crate::auth::challenge::{AuthScheme, Challenge};

/// A challenge that can be answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DigestChallenge {
    pub(super) realm: String,
    pub(super) nonce: String,
    pub(super) opaque: Option<String>,
    pub(super) algorithm: DigestAlgorithm,
    /// Whether the challenge names the algorithm. A proxy that names none may not know the parameter.
    pub(super) names_algorithm: bool,
    pub(super) is_stale: bool,
    pub(super) wants_userhash: bool,
    pub(super) is_utf8: bool,
}

impl DigestChallenge {
    /// Chooses the challenge with the strongest algorithm among those of a response that can be answered.
    ///
    /// # Errors
    /// None can be answered. The error is that of the first challenge of Digest.
    pub fn strongest(challenges: &[Challenge]) -> Result<Self, DigestError> {
        let mut best: Result<Self, DigestError> = Err(DigestError::NotOffered);
        let offered = |challenge: &&Challenge| challenge.scheme() == Some(AuthScheme::Digest);
        for challenge in challenges.iter().filter(offered) {
            // RFC 7616 §3.7 lets a client choose by a policy of its own, which is the strongest algorithm here. An error
            // remains only if no challenge can be answered.
            let read = Self::read(challenge);
            best = match (best, read) {
                (Err(DigestError::NotOffered), read) => read,
                (Err(_), Ok(read)) => Ok(read),
                (Ok(best), Ok(read)) if read.algorithm > best.algorithm => Ok(read),
                (best, _) => best,
            };
        }
        best
    }

    /// Returns whether the proxy says that only the nonce of the last answer was too old.
    pub fn is_stale(&self) -> bool {
        self.is_stale
    }

    fn read(challenge: &Challenge) -> Result<Self, DigestError> {
        if challenge.is_malformed() {
            return Err(DigestError::Malformed);
        }
        let text = |name| challenge.parameter(name).map(echoed).transpose();
        let is = |name, expected: &[u8]| {
            challenge.parameter(name).is_some_and(|value| value.eq_ignore_ascii_case(expected))
        };
        let algorithm = challenge.parameter("algorithm");
        let known = algorithm.map_or(Some(DigestAlgorithm::DEFAULT), DigestAlgorithm::from_name);
        // Without `qop` the proxy wants an answer as of RFC 2069, which has neither a nonce of the client nor a count. For
        // `auth-int` alone, the body would have to be hashed before it is sent.
        let qop = challenge.parameter("qop").unwrap_or_default();
        if !qop
            .split(|byte| *byte == b',')
            .any(|one| one.trim_ascii().eq_ignore_ascii_case(b"auth"))
        {
            return Err(DigestError::UnsupportedProtection);
        }
        Ok(Self {
            // An empty realm is legal. A nonce has to change, so it can't be empty.
            realm: text("realm")?.ok_or(DigestError::Malformed)?,
            nonce: text("nonce")?
                .filter(|nonce| !nonce.is_empty())
                .ok_or(DigestError::Malformed)?,
            opaque: text("opaque")?,
            algorithm: known.ok_or(DigestError::UnknownAlgorithm)?,
            // The flags are compared without regard to case (RFC 7616 §3.3). An unknown value means that the flag is
            // not set.
            names_algorithm: algorithm.is_some(),
            is_stale: is("stale", b"true"),
            wants_userhash: is("userhash", b"true"),
            is_utf8: is("charset", b"UTF-8"),
        })
    }
}

/// Checks a value that is sent back: it must be text without control characters, and of a length that fits into a head.
fn echoed(value: &[u8]) -> Result<String, DigestError> {
    // By a line end in a realm, the proxy could add a field to the next request.
    let text = str::from_utf8(value).ok().filter(|text| !text.contains(char::is_control));
    let fitting = text.filter(|text| text.len() <= ECHOED_BYTES_MAX);
    fitting.map(str::to_owned).ok_or(DigestError::Malformed)
}

const ECHOED_BYTES_MAX: usize = 4 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn strongest(field: &str) -> Result<&'static str, DigestError> {
        let challenge = DigestChallenge::strongest(&Challenge::parse([field.as_bytes()]));
        challenge.map(|challenge| challenge.algorithm.name())
    }

    #[test]
    fn the_strongest_algorithm_is_chosen_in_any_order() {
        let with =
            |algorithm| format!("Digest realm=r, nonce=n, qop=\"auth-int, auth\"{algorithm}");
        let (md5, sha256) = (with(", algorithm=md5"), with(", algorithm=\"SHA-256\""));
        assert_eq!(strongest(&format!("{md5}, {sha256}")), Ok("SHA-256"));
        assert_eq!(strongest(&format!("{sha256}, {md5}")), Ok("SHA-256"));
        assert_eq!(strongest(&with("")), Ok("MD5"));
        let unknown = with(", algorithm=SHA-512-256");
        assert_eq!(strongest(&format!("{unknown}, Basic realm=x, {md5}")), Ok("MD5"));
        assert_eq!(strongest(&unknown), Err(DigestError::UnknownAlgorithm));
        assert_eq!(strongest(&with(", algorithm=SHA-256-sess")), Ok("SHA-256-sess"));
    }

    #[test]
    fn challenges_that_can_not_be_answered_are_refused() {
        let long = format!("Digest realm=r, nonce={}, qop=auth", "n".repeat(5000));
        for (field, error) in [
            ("Basic realm=r", DigestError::NotOffered),
            ("Digest nonce=n, qop=auth", DigestError::Malformed),
            ("Digest realm=r, qop=auth", DigestError::Malformed),
            ("Digest realm=r, nonce=\"\", qop=auth", DigestError::Malformed),
            ("Digest realm=\"a\u{1}\", nonce=n, qop=auth", DigestError::Malformed),
            ("Digest realm=r, realm=s, nonce=n, qop=auth", DigestError::Malformed),
            ("Digest realm=r, nonce=n, qop=auth-int", DigestError::UnsupportedProtection),
            ("Digest realm=r, nonce=n", DigestError::UnsupportedProtection),
            (&long, DigestError::Malformed),
        ] {
            assert_eq!(strongest(field), Err(error), "{field:.80}");
        }
    }
}
