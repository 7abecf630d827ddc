//! The method of a request, in little room.

use std::{fmt, ops::Deref};

use crate::shorten::shortened;

/// The method of a request, as it is listed and logged. It is copied only if it is a rare one.
#[derive(Clone, Debug)]
pub(crate) enum RequestMethod {
    /// One of those that most requests have. A reference to a reference, which takes half the room of a string slice.
    Common(&'static &'static str),
    /// Any other. The client chooses it, so a long one is shortened.
    Rare(Box<str>),
}

impl From<&str> for RequestMethod {
    fn from(method: &str) -> Self {
        let common = COMMON.iter().find(|common| **common == method);
        common.map_or_else(|| Self::Rare(shortened(method, CHARS_MAX).into()), Self::Common)
    }
}

impl Deref for RequestMethod {
    type Target = str;

    fn deref(&self) -> &str {
        match self {
            Self::Common(method) => method,
            Self::Rare(method) => method,
        }
    }
}

impl fmt::Display for RequestMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self)
    }
}

/// Registered methods have up to 17 characters.
const CHARS_MAX: usize = 32;

const COMMON: &[&str] = &["CONNECT", "GET", "POST", "HEAD", "PUT", "DELETE"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn common_and_rare_methods_keep_their_names() {
        for method in ["CONNECT", "GET", "PROPFIND", "get"] {
            assert_eq!(&*RequestMethod::from(method), method);
        }
        assert!(matches!(RequestMethod::from("GET"), RequestMethod::Common(_)));
        assert!(matches!(RequestMethod::from("get"), RequestMethod::Rare(_)));
    }

    #[test]
    fn a_method_as_long_as_a_head_is_shortened() {
        let shown = RequestMethod::from("M".repeat(60_000).as_str());
        assert_eq!(*shown, *("M".repeat(31) + "…"));
    }
}
