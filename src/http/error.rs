//! What can be wrong with a message.

use thiserror::Error;

/// Why bytes from a client are no request that can be served. After any of them the connection closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BadRequest {
    /// A TLS ClientHello.
    #[error("this port speaks plain HTTP; the client sent TLS: use http:// in the proxy URL")]
    Tls,
    /// A SOCKS greeting.
    #[error("this port speaks HTTP; the client sent SOCKS{0}: use http:// in the proxy URL")]
    Socks(u8),
    /// The preface of HTTP/2.
    #[error("this port speaks HTTP/1.1; the client began HTTP/2 without negotiating it")]
    Http2,
    /// The first line is none of HTTP.
    #[error("the first line is not `method target HTTP/1.1`")]
    RequestLine,
    /// The request line has no version.
    #[error("the request line has no version; HTTP/0.9 is not served")]
    NoVersion,
    /// The version is neither 1.0 nor 1.1.
    #[error("the version of HTTP is neither 1.0 nor 1.1")]
    Version,
    /// A field line is broken.
    #[error("a field line {0}")]
    FieldLine(&'static str),
    /// A line ends without CR.
    #[error("a line ends in a bare LF; it must end in CR LF")]
    BareLf,
    /// Many empty lines stand before the request line.
    #[error("empty lines stand where a request line is expected")]
    EmptyLines,
    /// The request line is longer than the limit for heads.
    #[error("the request line is too long")]
    TargetTooLong,
    /// The head is longer than the limit.
    #[error("the head is too large")]
    HeadTooLarge,
    /// The head has more fields than the limit.
    #[error("the head has too many fields")]
    TooManyFields,
    /// `Connection` lists more options than anyone has use for.
    #[error("the `Connection` field lists too many options")]
    TooManyOptions,
    /// HTTP/1.1 without a `Host` field.
    #[error("the `Host` field is missing")]
    MissingHost,
    /// More than one `Host` field.
    #[error("there is more than one `Host` field")]
    SeveralHosts,
    /// The value of `Host` is no host.
    #[error("the `Host` field is not `host` or `host:port`")]
    InvalidHost,
    /// The message says in two ways, or in none that is understood, where it ends.
    #[error("{0}")]
    Framing(&'static str),
    /// A transfer coding besides chunked.
    #[error("a transfer coding is not known; only `chunked` is")]
    UnknownCoding,
    /// The target of CONNECT is no `host:port`.
    #[error("the target of CONNECT is not `host:port`: {0}")]
    ConnectTarget(mooltiroute_hops::InvalidAuthority),
    /// The authority of an absolute target is broken.
    #[error("the host in the target is not valid: {0}")]
    Authority(mooltiroute_hops::InvalidAuthority),
    /// An absolute target whose scheme needs TLS.
    #[error("the target is an https:// URL; the client must open a tunnel to it with CONNECT")]
    NeedsConnect,
    /// An absolute target of a scheme that is not served.
    #[error("the scheme of the target is not served; http:// and CONNECT are")]
    UnknownScheme,
    /// A target of no form.
    #[error("the target is neither a URL, nor a path, nor `*` with OPTIONS")]
    Target,
    /// The target has a fragment.
    #[error("the target has a fragment, which is never sent")]
    Fragment,
}

impl BadRequest {
    /// The status to answer with (RFC 9110 §15.5).
    pub fn status(&self) -> u16 {
        match self {
            Self::TargetTooLong => 414,
            Self::HeadTooLarge | Self::TooManyFields | Self::TooManyOptions => 431,
            Self::UnknownCoding | Self::UnknownScheme => 501,
            Self::Version | Self::Http2 => 505,
            _ => 400,
        }
    }
}

/// Why bytes from an upstream are no response. After any of them that connection closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BadResponse {
    /// The first line is none of HTTP.
    #[error("what came back is not HTTP/1")]
    NotHttp,
    /// The status is no number from 100 to 999.
    #[error("the status line is broken")]
    StatusLine,
    /// A field line is broken.
    #[error("a field line {0}")]
    FieldLine(&'static str),
    /// The head is longer than the limit.
    #[error("the head is too large")]
    HeadTooLarge,
    /// The head has more fields than the limit.
    #[error("the head has too many fields")]
    TooManyFields,
    /// `Connection` lists more options than anyone has use for.
    #[error("the `Connection` field lists too many options")]
    TooManyOptions,
    /// The message says in two ways, or in none that is understood, where it ends.
    #[error("{0}")]
    Framing(&'static str),
    /// A transfer coding besides chunked, which nobody asked for.
    #[error("a transfer coding is not known; only `chunked` is")]
    UnknownCoding,
}

/// Why a chunked body cannot be read on. The connection that it came on closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BadBody {
    /// The size of a chunk is no number of one to sixteen hexadecimal digits.
    #[error("the size of a chunk is not valid")]
    ChunkSize,
    /// A chunk extension has a control character, or extensions outweigh the data.
    #[error("a chunk extension is not valid or too long")]
    ChunkExtension,
    /// A chunk or its size ends in something other than CR LF.
    #[error("a chunk does not end in CR LF")]
    ChunkEnd,
    /// The trailer section is broken.
    #[error("the trailer section is not valid")]
    Trailers,
    /// The trailer section is over its limit.
    #[error("the trailer section is too large")]
    TrailersTooLarge,
}

/// A body that ended before its end. It must reach the other side as truncated, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the body is cut off")]
pub struct Truncated;
