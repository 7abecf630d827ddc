//! The errors of messages.

use thiserror::Error;

use crate::proxy_error::ProxyError;

/// Why bytes from a client are not a request that can be served. The connection closes after any of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BadRequest {
    /// The client sent a TLS ClientHello.
    #[error("this port speaks plain HTTP; the client sent TLS: use http:// in the proxy URL")]
    Tls,
    /// The client sent a TLS ClientHello inside TLS.
    #[error(
        "TLS was begun twice: the connection to this port is in TLS already, and inside it the client began TLS again; let \
         only one part of it speak TLS to the proxy (the `https://` of its proxy URL, or a wrapper such as stunnel), and use \
         an https:// target if it is to speak TLS with the target"
    )]
    TlsTwice,
    /// The client sent a SOCKS greeting.
    #[error("this port speaks HTTP; the client sent SOCKS{0}: use http:// in the proxy URL")]
    Socks(u8),
    /// The client sent the preface of HTTP/2.
    #[error("this port speaks HTTP/1.1; the client began HTTP/2 without negotiating it")]
    Http2,
    /// A load balancer sent the PROXY protocol, which tells the address of its client.
    #[error("{PROXY_PROTOCOL}")]
    ProxyProtocol,
    /// The first line is not a request line.
    #[error("the first line is not `method target HTTP/1.1`")]
    RequestLine,
    /// The URL or the path in the request line has a byte that no URL has.
    #[error(
        "the URL in the first line has {named}; the client has to percent-encode it, as `%{byte:02X}`",
        named = named(*.0), byte = .0
    )]
    TargetByte(u8),
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
    /// Too many empty lines come before the request line.
    #[error("too many empty lines come before the request line")]
    EmptyLines,
    /// The request line alone is over the limit for heads.
    #[error("the request line is longer than {limit} bytes (`limits.header_bytes`)")]
    TargetTooLong {
        /// The limit in bytes.
        limit: usize,
    },
    /// The head has more bytes than the limit.
    #[error("the head is larger than {limit} bytes (`limits.header_bytes`)")]
    HeadTooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// The head has more fields than the limit.
    #[error("the head has more than {limit} fields (`limits.header_fields`)")]
    TooManyFields {
        /// The largest number of fields.
        limit: usize,
    },
    /// `Connection` lists far more options than there are.
    #[error("the `Connection` field lists too many options")]
    TooManyOptions,
    /// HTTP/1.1 without a `Host` field.
    #[error("the `Host` field is missing")]
    MissingHost,
    /// More than one `Host` field.
    #[error("there is more than one `Host` field")]
    SeveralHosts,
    /// The value of `Host` is not valid.
    #[error("the `Host` field is not `host` or `host:port`")]
    InvalidHost,
    /// The length of the body is unclear.
    #[error("{0}")]
    Framing(&'static str),
    /// The body has a transfer coding other than chunked.
    #[error("a transfer coding is not known; only `chunked` is")]
    UnknownCoding,
    /// The target of CONNECT is not `host:port`.
    #[error("the target of CONNECT is not `host:port`: {0}")]
    ConnectTarget(mooltiroute_hops::InvalidAuthority),
    /// The authority of an absolute target is not valid.
    #[error("the host in the target is not valid: {0}")]
    Authority(mooltiroute_hops::InvalidAuthority),
    /// The scheme of an absolute target needs TLS.
    #[error("the target is an https:// URL; the client must open a tunnel to it with CONNECT")]
    NeedsConnect,
    /// The scheme of an absolute target is not served.
    #[error("the scheme of the target is not served; http:// and CONNECT are")]
    UnknownScheme,
    /// The target has none of the four forms.
    #[error("the target is neither a URL, nor a path, nor `*` with OPTIONS")]
    Target,
    /// The target has a fragment.
    #[error("the target has a fragment, which is never sent")]
    Fragment,
}

impl BadRequest {
    /// Returns the status to answer with (RFC 9110 §15.5).
    pub fn status(&self) -> u16 {
        match self {
            // Too long is the request line (RFC 9110 §15.5.15), or the head as a whole (RFC 6585
            // §5).
            Self::TargetTooLong { .. } => 414,
            Self::HeadTooLarge { .. } | Self::TooManyFields { .. } | Self::TooManyOptions => 431,
            // Such a request is valid but is not served here. RFC 9112 §6.1 asks for 501 if a
            // transfer coding is not understood.
            Self::UnknownCoding | Self::UnknownScheme => 501,
            // RFC 9110 §15.6.6.
            Self::Version | Self::Http2 => 505,
            // Everything else breaks the grammar, or could be read in two ways.
            _ => 400,
        }
    }
}

/// Names a byte that no URL has.
fn named(byte: u8) -> String {
    match byte {
        b' ' => "a space".to_owned(),
        0x80.. => format!("the byte 0x{byte:02X}, which is not UTF-8"),
        _ => format!("the control character 0x{byte:02X}"),
    }
}

/// Says that a connection begins with the PROXY protocol, and what to do.
pub(crate) const PROXY_PROTOCOL: &str = "the connection begins with the PROXY protocol, which Mooltiroute does not \
take; switch it off in the load balancer in front of this port (in HAProxy, remove `send-proxy` or `send-proxy-v2`)";

/// Why bytes from an upstream are not a response. The upstream connection closes after any of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BadResponse {
    /// The first line is not of HTTP/1.
    #[error("the answer is not HTTP/1")]
    NotHttp,
    /// The status is not a number from 100 to 999, or the rest of the line is broken.
    #[error("the status line is broken")]
    StatusLine,
    /// A field line could be read in more than one way.
    #[error("a field line {0}")]
    FieldLine(&'static str),
    /// The head has more bytes than the limit.
    #[error("the head is larger than {limit} bytes (`limits.header_bytes`)")]
    HeadTooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// The head has more fields than the limit.
    #[error("the head has more than {limit} fields (`limits.header_fields`)")]
    TooManyFields {
        /// The largest number of fields.
        limit: usize,
    },
    /// `Connection` lists far more options than there are.
    #[error("the `Connection` field lists too many options")]
    TooManyOptions,
    /// The length of the body is unclear.
    #[error("{0}")]
    Framing(&'static str),
    /// The body has a transfer coding other than chunked, which was not asked for.
    #[error("a transfer coding is not known; only `chunked` is")]
    UnknownCoding,
}

impl BadResponse {
    /// Returns the error type of the `Proxy-Status` field (RFC 9209 §2.3).
    pub fn proxy_error(&self) -> ProxyError {
        match self {
            // RFC 9209 has a type of its own for a head over a limit. The operator can raise both
            // limits.
            Self::HeadTooLarge { .. } | Self::TooManyFields { .. } => {
                ProxyError::HttpResponseHeaderSectionSize
            }
            Self::UnknownCoding => ProxyError::HttpResponseTransferCoding,
            _ => ProxyError::HttpProtocol,
        }
    }
}

/// Why a chunked body cannot be read further. Its connection closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BadBody {
    /// The size of a chunk is not one to sixteen hexadecimal digits.
    #[error("the size of a chunk is not valid")]
    ChunkSize,
    /// A chunk extension has a control character, or the extensions outweigh the data.
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

/// The connection ended before the body did. The recipient must see a truncated body, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the body is cut off")]
pub struct Truncated;
