//! The hash algorithms of Digest (RFC 7616 §6.1).

use md5::{Digest as _, Md5};
use sha2::Sha256;
use zeroize::Zeroizing;

/// An algorithm of a challenge. The order is by strength.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct DigestAlgorithm {
    hash: DigestHash,
    is_session: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum DigestHash {
    Md5,
    Sha256,
}

impl DigestAlgorithm {
    /// The algorithm of a challenge that names none.
    pub(super) const DEFAULT: Self = Self { hash: DigestHash::Md5, is_session: false };

    pub(super) fn from_name(name: &[u8]) -> Option<Self> {
        // RFC 7616 also has SHA-512-256, which is not implemented.
        let all = [DigestHash::Md5, DigestHash::Sha256]
            .into_iter()
            .flat_map(|hash| [false, true].map(|is_session| Self { hash, is_session }));
        all.into_iter().find(|algorithm| algorithm.name().as_bytes().eq_ignore_ascii_case(name))
    }

    pub(super) fn name(self) -> &'static str {
        match (self.hash, self.is_session) {
            // The answer has the registered name (RFC 7616 §6.1), in whichever case the proxy writes it.
            (DigestHash::Md5, false) => "MD5",
            (DigestHash::Md5, true) => "MD5-sess",
            (DigestHash::Sha256, false) => "SHA-256",
            (DigestHash::Sha256, true) => "SHA-256-sess",
        }
    }

    /// Returns whether the password is hashed together with the nonces.
    pub(super) fn is_session(self) -> bool {
        self.is_session
    }

    /// Hashes `parts` with colons between them, and returns lower-case hexadecimal digits.
    pub(super) fn hash(self, parts: &[&str]) -> Zeroizing<String> {
        match self.hash {
            DigestHash::Md5 => {
                let mut hash = Md5::new();
                feed(parts, |bytes| hash.update(bytes));
                hex(&hash.finalize())
            }
            DigestHash::Sha256 => {
                let mut hash = Sha256::new();
                feed(parts, |bytes| hash.update(bytes));
                hex(&hash.finalize())
            }
        }
    }
}

fn feed(parts: &[&str], mut update: impl FnMut(&[u8])) {
    for (at, part) in parts.iter().enumerate() {
        if at > 0 {
            update(b":");
        }
        update(part.as_bytes());
    }
}

pub(super) fn hex(bytes: &[u8]) -> Zeroizing<String> {
    // In this realm, the hash of the password is worth as much as the password, so its digits are wiped too.
    let digit = |value: u8| char::from(if value < 10 { b'0' + value } else { b'a' + value - 10 });
    let mut text = Zeroizing::new(String::with_capacity(2 * bytes.len()));
    text.extend(bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]));
    text
}
