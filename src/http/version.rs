//! The versions of HTTP.

/// A supported version of HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// HTTP/1.0, without chunks, interim responses or, unless asked for, persistence.
    Http10,
    /// HTTP/1.1.
    Http11,
}

impl Version {
    pub(super) fn from_minor(minor: Option<u8>) -> Self {
        if minor == Some(0) { Self::Http10 } else { Self::Http11 }
    }
}
