//! Judges a hop that failed in another way than by a refusal.

use std::borrow::Cow;

use mooltiroute_hops::{HopError, MissingCredentials, NoChoice, Spoken};

use super::{FailureVerdict, Hold, certificate_summary, with_settings_of_url};
use crate::{
    client::reply::{hop_advice, texts},
    proxy_error::ProxyError,
    upstream::chain::Stage,
};

pub(super) fn hop_failed(stage: &Stage, error: &HopError) -> FailureVerdict {
    // These two carry words of their own, which say more.
    if let HopError::Other(why) = error {
        return FailureVerdict::new(ProxyError::HttpProtocol, why.clone(), texts::CHECK_SETTINGS);
    }
    if let HopError::NoCredentials(missing) = error {
        return no_credentials(stage, missing);
    }
    if let HopError::NoChoice(reason) = error {
        let NoChoice { summary, advice, .. } = &**reason;
        return FailureVerdict::new(
            ProxyError::ProxyConfiguration,
            summary.clone(),
            advice.clone(),
        );
    }
    let (error, summary, advice): (_, _, Cow<'static, str>) = match error {
        HopError::OtherProtocol(spoken) => return other_protocol(stage, *spoken),
        HopError::Io(_) => (
            ProxyError::ConnectionTerminated,
            "connection broke",
            hop_advice::hung_up(stage).into(),
        ),
        HopError::Closed if stage.next.is_some() => (
            ProxyError::ConnectionTerminated,
            "closed the connection when asked for the next hop",
            hop_advice::hung_up(stage).into(),
        ),
        HopError::Closed => (
            ProxyError::ConnectionTerminated,
            "closed the connection",
            hop_advice::hung_up(stage).into(),
        ),
        HopError::Again(_) => (
            ProxyError::ConnectionTerminated,
            "keeps closing the connection",
            texts::KEEPS_CLOSING.into(),
        ),
        HopError::Malformed(_) => (
            ProxyError::HttpProtocol,
            "answer not understood",
            hop_advice::not_a_proxy(stage).into(),
        ),
        HopError::HeadTooLarge { .. } => (
            ProxyError::HttpResponseHeaderSectionSize,
            "answer head too large",
            hop_advice::large_head(stage).into(),
        ),
        HopError::Certificate(rejected) => (
            ProxyError::TlsCertificate,
            certificate_summary(&rejected.reason),
            hop_advice::certificate(stage, rejected).into(),
        ),
        HopError::Tls(_) => {
            (ProxyError::TlsProtocol, "TLS failed", hop_advice::tls_failed(stage).into())
        }
        _ => (ProxyError::HttpProtocol, "failed", texts::CHECK_SETTINGS.into()),
    };
    FailureVerdict::new(error, summary, advice)
}

fn no_credentials(stage: &Stage, missing: &MissingCredentials) -> FailureVerdict {
    let summary = missing.summary.clone();
    let advice = with_settings_of_url(stage, missing.advice.clone());
    let mut verdict = FailureVerdict::new(ProxyError::ProxyConfiguration, summary, advice);
    verdict.hold = missing.retry_after.map(|wait| Hold::of_logon(wait, stage.url.is_some()));
    // A server of credentials that is silent makes the client wait as a silent hop does.
    if missing.is_timeout {
        verdict.status = ProxyError::ConnectionTimeout.status();
    }
    verdict.field = missing.retry_after.map(|wait| texts::retry_after(wait).into());
    verdict
}

/// Judges a hop whose first bytes are those of another protocol than its settings say.
fn other_protocol(stage: &Stage, spoken: Spoken) -> FailureVerdict {
    let (error, summary) = match spoken {
        Spoken::Tls => (ProxyError::HttpProtocol, "speaks TLS"),
        Spoken::NoTls => (ProxyError::TlsProtocol, "speaks no TLS"),
        Spoken::Http => (ProxyError::HttpProtocol, "speaks HTTP"),
        Spoken::Socks5 => (ProxyError::HttpProtocol, "speaks SOCKS5"),
        _ => (ProxyError::HttpProtocol, "answer not understood"),
    };
    FailureVerdict::new(error, summary, hop_advice::other_protocol(stage, spoken))
}
