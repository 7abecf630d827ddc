//! Reasons why a text is not an authority.

use thiserror::Error;

/// Why a text is no [`Authority`](super::Authority). The text itself is not repeated: it may hold a credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum InvalidAuthority {
    /// There is no port, and no scheme implies one.
    #[error("the port is missing; write `host:port`")]
    MissingPort,
    /// The port is not a number from 1 to 65535.
    #[error("the port is not a number from 1 to 65535")]
    InvalidPort,
    /// There is nothing before the port.
    #[error("the host is missing; write `host:port`")]
    MissingHost,
    /// An IPv6 address without its brackets, or with a broken one.
    #[error("an IPv6 address is written in brackets, as in `[::1]:8080`")]
    Brackets,
    /// There are several colons, but not an IPv6 address.
    #[error("there is more than one `:`; write `host:port`")]
    ManyColons,
    /// The brackets hold no IPv6 address.
    #[error("there is no IPv6 address between the brackets")]
    InvalidAddress,
    /// The host ends in a number and is not an IPv4 address. Resolvers read such hosts in different ways.
    #[error("a host that ends in a number must be an IPv4 address of four decimal parts")]
    AmbiguousAddress,
    /// The name has a character that names don't have, or an empty or too long part.
    #[error(
        "the host is not a valid name; use letters, digits, `-`, `_` and `.`, and punycode for others"
    )]
    InvalidName,
    /// The text is a URL.
    #[error("this is a URL, and `host:port` is expected")]
    Url,
    /// The text has user information before an `@`.
    #[error("there are credentials before the host; write them in their own settings")]
    UserInformation,
}
