//! The error types of the `Proxy-Status` field.

/// An error type of RFC 9209 §2.3. Replies, metrics and JSON output show its name.
///
/// Only the types that this proxy reports are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyError {
    /// A name could not be looked up.
    Dns,
    /// The next hop or the target cannot be reached, for a reason that no other type names.
    DestinationUnavailable,
    /// There is no network path to the next hop or the target.
    DestinationIpUnroutable,
    /// The next hop or the target refused the connection.
    ConnectionRefused,
    /// The connection broke before a full answer arrived.
    ConnectionTerminated,
    /// Connecting took too long.
    ConnectionTimeout,
    /// The upstream accepted no data for too long.
    ConnectionWriteTimeout,
    /// This proxy or a hop has no room for another connection.
    ConnectionLimitReached,
    /// TLS failed.
    TlsProtocol,
    /// A certificate was not accepted.
    TlsCertificate,
    /// The client is responsible for the error.
    HttpRequest,
    /// A policy denied the request.
    HttpRequestDenied,
    /// The body of the response was cut off.
    HttpResponseIncomplete,
    /// The head of the response is too large.
    HttpResponseHeaderSectionSize,
    /// The response uses an unknown transfer coding.
    HttpResponseTransferCoding,
    /// The response took too long.
    HttpResponseTimeout,
    /// The upstream switched protocols in a way that was not asked for.
    HttpUpgradeFailed,
    /// The upstream broke its protocol.
    HttpProtocol,
    /// A proxy has an internal fault.
    ProxyInternal,
    /// The configuration of a proxy is wrong or incomplete.
    ProxyConfiguration,
    /// The request would come back to this proxy.
    ProxyLoopDetected,
}

impl ProxyError {
    /// Returns the name that RFC 9209 gives to this type.
    pub fn name(self) -> &'static str {
        match self {
            Self::Dns => "dns_error",
            Self::DestinationUnavailable => "destination_unavailable",
            Self::DestinationIpUnroutable => "destination_ip_unroutable",
            Self::ConnectionRefused => "connection_refused",
            Self::ConnectionTerminated => "connection_terminated",
            Self::ConnectionTimeout => "connection_timeout",
            Self::ConnectionWriteTimeout => "connection_write_timeout",
            Self::ConnectionLimitReached => "connection_limit_reached",
            Self::TlsProtocol => "tls_protocol_error",
            Self::TlsCertificate => "tls_certificate_error",
            Self::HttpRequest => "http_request_error",
            Self::HttpRequestDenied => "http_request_denied",
            Self::HttpResponseIncomplete => "http_response_incomplete",
            Self::HttpResponseHeaderSectionSize => "http_response_header_section_size",
            Self::HttpResponseTransferCoding => "http_response_transfer_coding",
            Self::HttpResponseTimeout => "http_response_timeout",
            Self::HttpUpgradeFailed => "http_upgrade_failed",
            Self::HttpProtocol => "http_protocol_error",
            Self::ProxyInternal => "proxy_internal_error",
            Self::ProxyConfiguration => "proxy_configuration_error",
            Self::ProxyLoopDetected => "proxy_loop_detected",
        }
    }

    /// Returns the status to answer with if nothing more specific is known.
    ///
    /// It is the status that RFC 9209 recommends, with two exceptions. The RFC has 500 and 503 for faults beyond this
    /// proxy, and clients would take those for the target's own; they get 502. A loop gets the 508 that names it.
    pub fn status(self) -> u16 {
        match self {
            Self::HttpRequest => 400,
            Self::HttpRequestDenied => 403,
            Self::ConnectionLimitReached => 503,
            Self::ConnectionTimeout | Self::ConnectionWriteTimeout | Self::HttpResponseTimeout => {
                504
            }
            Self::ProxyLoopDetected => 508,
            Self::Dns
            | Self::DestinationUnavailable
            | Self::DestinationIpUnroutable
            | Self::ConnectionRefused
            | Self::ConnectionTerminated
            | Self::TlsProtocol
            | Self::TlsCertificate
            | Self::HttpResponseIncomplete
            | Self::HttpResponseHeaderSectionSize
            | Self::HttpResponseTransferCoding
            | Self::HttpUpgradeFailed
            | Self::HttpProtocol
            | Self::ProxyInternal
            | Self::ProxyConfiguration => 502,
        }
    }
}
