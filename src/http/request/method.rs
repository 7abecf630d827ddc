//! The method of a request.

use std::str;

use bytes::Bytes;

/// The name of a method. The common ones take no part of the head.
#[derive(Clone)]
pub(super) enum Method {
    Common(&'static str),
    /// A token, so it is ASCII.
    Other(Bytes),
}

impl Method {
    /// Reads the method from the first `bytes` of a head.
    pub(super) fn of(head: &Bytes, bytes: usize) -> Self {
        const COMMON: [&str; 7] = ["GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "CONNECT"];
        let common = COMMON.iter().find(|common| common.as_bytes() == &head[..bytes]);
        common.map_or_else(|| Self::Other(head.slice(..bytes)), |common| Self::Common(common))
    }

    pub(super) fn as_str(&self) -> &str {
        match self {
            Self::Common(name) => name,
            Self::Other(name) => str::from_utf8(name).unwrap_or_default(),
        }
    }
}
