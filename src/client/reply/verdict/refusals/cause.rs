//! The cause of a refusal, by the meaning that the kind of the hop gives to it and by the status.

use std::time::Duration;

use mooltiroute_hops::{Meaning, Party, Refusal};

use crate::{client::reply::reason_phrase::is_registered, proxy_error::ProxyError};

/// The cause of a refusal, as far as the hop says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RefusalCause {
    /// The request came back to a proxy.
    Loop,
    Credentials,
    /// The account is used up or not paid for.
    Payment,
    /// The traffic of the account is used up.
    Traffic,
    /// The hop blocks the target for everybody.
    Forbidden,
    /// The rules of the hop don't allow the host or the port.
    Policy,
    Busy,
    /// The hop is out of service for this time.
    OutOfService(Duration),
    /// The hop can't look up the name of the next stop.
    NoLookup,
    /// The words of the hop say that it can't look up the name of the target.
    UnknownName,
    /// The hop has a fault of its own.
    Fault,
    TargetRefused,
    NetworkUnreachable,
    /// The hop did not reach the next stop, and does not say why.
    NotReached,
    Unsupported,
    Redirect,
    /// The network wants a login first.
    CaptivePortal,
    /// No standard has this status.
    OwnStatus(u16),
    /// The hop does not know the method, as a web server that is not a proxy.
    UnknownMethod,
    Unclear,
}

impl RefusalCause {
    /// Returns the cause of `refusal` by a hop, which is the last one before the target if `is_last`.
    pub(super) fn of(refusal: &Refusal, is_last: bool) -> Self {
        let status = refusal.http.as_ref().map(|http| http.status);
        // 508 is the answer of a proxy such as this one to a request that comes back to it. That says
        // more than the meaning which a kind gives to the status.
        if status == Some(508) {
            return Self::Loop;
        }
        if refusal.unanswered().is_some() {
            return Self::Busy;
        }
        // A 503 about the hop itself has such a time, as a proxy that does not reach a target can't know when that is back.
        let pause = refusal.retry_after.filter(|_| status == Some(503));
        match (refusal.meaning, pause) {
            (Meaning::Credentials, _) => Self::Credentials,
            (Meaning::Quota, _) => Self::Payment,
            (Meaning::Forbidden, _) => Self::Forbidden,
            (Meaning::Policy, _) => Self::Policy,
            (Meaning::Busy, _) => Self::Busy,
            (Meaning::UnknownName, _) => Self::NoLookup,
            (Meaning::Fault, _) => Self::Fault,
            (Meaning::TargetRefused, _) => Self::TargetRefused,
            (Meaning::NetworkUnreachable, _) => Self::NetworkUnreachable,
            (Meaning::Unclear, Some(wait)) => Self::OutOfService(wait),
            _ if is_last && is_about_a_name(refusal) => Self::UnknownName,
            (Meaning::Unreachable | Meaning::Timeout, _) => Self::NotReached,
            (Meaning::Unsupported, _) => Self::Unsupported,
            _ => Self::of_status(status, refusal),
        }
    }

    /// Returns the cause of a refusal that has no meaning but its status.
    fn of_status(status: Option<u16>, refusal: &Refusal) -> Self {
        match status {
            // Providers send it when the traffic of an account is used up or not paid for.
            Some(402) => Self::Payment,
            Some(300..400) => Self::Redirect,
            // Apache and many providers answer 509 when an account has used up its traffic.
            Some(509) => Self::Traffic,
            // A captive portal answers so (RFC 6585 §6).
            Some(511) => Self::CaptivePortal,
            Some(own @ 400..) if !is_registered(own) => Self::OwnStatus(own),
            // The answer of a server that does not know the method (RFC 9110 §15.6.2).
            Some(501) => Self::UnknownMethod,
            _ if is_server_error(refusal) => Self::NotReached,
            _ => Self::Unclear,
        }
    }

    /// Returns the error type for the client.
    pub(super) fn error(self) -> ProxyError {
        match self {
            Self::Loop => ProxyError::ProxyLoopDetected,
            // Never a 407: the credentials are those of the hop, and the client does not have them.
            Self::Credentials | Self::Payment | Self::Traffic => ProxyError::ProxyConfiguration,
            Self::Forbidden => ProxyError::HttpRequestDenied,
            Self::Busy => ProxyError::ConnectionLimitReached,
            Self::NoLookup => ProxyError::Dns,
            Self::Fault => ProxyError::ProxyInternal,
            Self::TargetRefused => ProxyError::ConnectionRefused,
            Self::NetworkUnreachable => ProxyError::DestinationIpUnroutable,
            Self::OutOfService(_)
            | Self::UnknownName
            | Self::NotReached
            | Self::OwnStatus(500..) => ProxyError::DestinationUnavailable,
            Self::Policy
            | Self::Unsupported
            | Self::Redirect
            | Self::CaptivePortal
            | Self::OwnStatus(_)
            | Self::UnknownMethod
            | Self::Unclear => ProxyError::HttpProtocol,
        }
    }
}

/// Returns whether the hop failed to reach the next stop and says that it can't look up a name. Only advice depends on
/// the words.
fn is_about_a_name(refusal: &Refusal) -> bool {
    let is_meant = matches!(refusal.meaning, Meaning::Unreachable | Meaning::Timeout)
        || refusal.meaning == Meaning::Unclear && is_server_error(refusal);
    let detail = refusal.detail.as_deref().unwrap_or_default();
    let page = refusal.page.as_deref().unwrap_or_default();
    let said = format!("{} {detail} {page}", refusal.said).to_ascii_lowercase();
    is_meant && NAME_WORDS.iter().any(|words| said.contains(words))
}

/// Words of proxies that can't look up a name.
const NAME_WORDS: [&str; 12] = [
    "resolv",
    "resolution",
    "dns",
    "nxdomain",
    "no such host",
    "unknown host",
    "host not found",
    "name or service not known",
    "getaddrinfo",
    "enotfound",
    "ip address from host name",
    "name does not exist",
];

/// Returns whether the hop answered with a server error, or did not reach the next stop and gives no reason.
fn is_server_error(refusal: &Refusal) -> bool {
    match &refusal.http {
        Some(http) => http.status >= 500,
        None => refusal.about == Party::Next,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_meaning_decides_before_the_status() {
        let wait = Duration::from_secs(7);
        for (meaning, status, cause) in [
            (Meaning::Credentials, 407, RefusalCause::Credentials),
            (Meaning::Credentials, 508, RefusalCause::Loop),
            (Meaning::Quota, 403, RefusalCause::Payment),
            (Meaning::Forbidden, 403, RefusalCause::Forbidden),
            (Meaning::Policy, 403, RefusalCause::Policy),
            (Meaning::Busy, 429, RefusalCause::Busy),
            (Meaning::Busy, 503, RefusalCause::Busy),
            (Meaning::UnknownName, 502, RefusalCause::NoLookup),
            (Meaning::Fault, 500, RefusalCause::Fault),
            (Meaning::TargetRefused, 503, RefusalCause::TargetRefused),
            (Meaning::NetworkUnreachable, 502, RefusalCause::NetworkUnreachable),
            (Meaning::Unreachable, 503, RefusalCause::NotReached),
            (Meaning::Timeout, 504, RefusalCause::NotReached),
            (Meaning::Unsupported, 501, RefusalCause::Unsupported),
            (Meaning::Unclear, 503, RefusalCause::OutOfService(wait)),
        ] {
            let refusal = Refusal::from_http(status, b"No", []);
            let refusal = with(refusal, |refusal| {
                refusal.meaning = meaning;
                refusal.retry_after = Some(wait);
            });
            assert_eq!(RefusalCause::of(&refusal, true), cause, "{meaning:?} {status}");
        }
    }

    #[test]
    fn a_hop_with_too_many_equal_requests_is_busy() {
        let told = b"mooltiroute; error=connection_limit_reached; unanswered=19";
        let fields = [(&b"Proxy-Status"[..], &told[..]), (b"Retry-After", b"1")];
        let refusal = Refusal::from_http(503, b"", fields);
        assert_eq!(RefusalCause::of(&refusal, true), RefusalCause::Busy);
    }

    #[test]
    fn without_a_meaning_the_status_decides() {
        for (status, cause, error) in [
            (204, RefusalCause::Unclear, ProxyError::HttpProtocol),
            (302, RefusalCause::Redirect, ProxyError::HttpProtocol),
            (400, RefusalCause::Unclear, ProxyError::HttpProtocol),
            (402, RefusalCause::Payment, ProxyError::ProxyConfiguration),
            (404, RefusalCause::Unclear, ProxyError::HttpProtocol),
            (460, RefusalCause::OwnStatus(460), ProxyError::HttpProtocol),
            (500, RefusalCause::NotReached, ProxyError::DestinationUnavailable),
            (501, RefusalCause::UnknownMethod, ProxyError::HttpProtocol),
            (503, RefusalCause::NotReached, ProxyError::DestinationUnavailable),
            (508, RefusalCause::Loop, ProxyError::ProxyLoopDetected),
            (509, RefusalCause::Traffic, ProxyError::ProxyConfiguration),
            (511, RefusalCause::CaptivePortal, ProxyError::HttpProtocol),
            (561, RefusalCause::OwnStatus(561), ProxyError::DestinationUnavailable),
            (999, RefusalCause::OwnStatus(999), ProxyError::DestinationUnavailable),
        ] {
            let refusal = Refusal::from_http(status, b"No", []);
            let refusal = with(refusal, |refusal| refusal.meaning = Meaning::Unclear);
            let found = RefusalCause::of(&refusal, true);
            assert_eq!((found, found.error()), (cause, error), "{status}");
        }
        // A protocol without statuses.
        for (about, cause) in
            [(Party::Next, RefusalCause::NotReached), (Party::Hop, RefusalCause::Unclear)]
        {
            let refusal = Refusal::new(Meaning::Unclear, about, "general failure");
            assert_eq!(RefusalCause::of(&refusal, true), cause, "{about:?}");
        }
    }

    #[test]
    fn words_about_a_name_count_if_the_target_was_not_reached() {
        for (meaning, status, is_last, cause) in [
            (Meaning::Unreachable, 502, true, RefusalCause::UnknownName),
            (Meaning::Unclear, 503, true, RefusalCause::UnknownName),
            // The name is that of the next hop, for which there is other advice.
            (Meaning::Unreachable, 502, false, RefusalCause::NotReached),
            (Meaning::Unclear, 404, true, RefusalCause::Unclear),
            (Meaning::Policy, 403, true, RefusalCause::Policy),
        ] {
            let refusal = Refusal::from_http(status, b"No such host", []);
            let refusal = with(refusal, |refusal| refusal.meaning = meaning);
            assert_eq!(RefusalCause::of(&refusal, is_last), cause, "{meaning:?} {status}");
        }
    }

    fn with(mut refusal: Refusal, change: impl FnOnce(&mut Refusal)) -> Refusal {
        change(&mut refusal);
        refusal
    }
}
