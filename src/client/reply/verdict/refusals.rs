//! Judges a refusal of a hop.

use std::borrow::Cow;

use mooltiroute_hops::{HeldBack, Meaning, Party, Refusal};

use super::{FailureVerdict, Hold, with_settings_of_url};
use crate::{
    client::reply::{
        hop_advice,
        reason_phrase::{is_registered, standard_phrase},
        texts,
    },
    proxy_error::ProxyError,
    upstream::chain::{ChainError, FailedMembers, Stage},
};

pub(super) fn refused(chain: &ChainError, refusal: &Refusal) -> FailureVerdict {
    // 508 is the answer of a proxy such as this one to a request that comes back to it. That says
    // more than the meaning which a kind gives to the status.
    let status = refusal.http.as_ref().map(|http| http.status);
    let is_loop = status == Some(508);
    let own_status = status.filter(|status| *status >= 400 && !is_registered(*status));
    // A 503 about the hop itself has such a time, as a proxy that does not reach a target can't know when that is back.
    let pause = refusal.retry_after.filter(|_| status == Some(503));
    let stage = &chain.stage;
    let (error, advice): (_, Cow<'static, str>) = match refusal.meaning {
        _ if is_loop => (ProxyError::ProxyLoopDetected, texts::LOOP_THROUGH_HOPS.into()),
        // Never a 407: the credentials are those of the hop, and the client does not have them.
        Meaning::Credentials => {
            (ProxyError::ProxyConfiguration, hop_advice::credentials(stage, refusal).into())
        }
        Meaning::Quota => (ProxyError::ProxyConfiguration, texts::PAYMENT.into()),
        Meaning::Forbidden => (ProxyError::HttpRequestDenied, texts::FORBIDDEN.into()),
        Meaning::Policy => {
            let advice = match refusal.login {
                Some(login) if login.was_asked_for => texts::refused_after_login(stage),
                Some(_) => texts::refused_with_credentials(stage),
                None => texts::refused_port(chain),
            };
            (ProxyError::HttpProtocol, texts::after_own_words(refusal, &advice).into())
        }
        Meaning::Busy => (ProxyError::ConnectionLimitReached, texts::busy(refusal).into()),
        Meaning::UnknownName => (ProxyError::Dns, hop_advice::unknown_name(stage).into()),
        Meaning::Fault => (ProxyError::ProxyInternal, texts::HOP_FAULT.into()),
        Meaning::TargetRefused => {
            (ProxyError::ConnectionRefused, hop_advice::target_refused(stage).into())
        }
        Meaning::NetworkUnreachable => {
            (ProxyError::DestinationIpUnroutable, hop_advice::not_reached(stage).into())
        }
        Meaning::Unclear if pause.is_some() => (
            ProxyError::DestinationUnavailable,
            texts::out_of_service(pause.unwrap_or_default()).into(),
        ),
        _ if stage.next.is_none() && is_about_a_name(refusal) => {
            (ProxyError::DestinationUnavailable, hop_advice::unknown_name(stage).into())
        }
        Meaning::Unreachable | Meaning::Timeout => {
            (ProxyError::DestinationUnavailable, hop_advice::not_reached(stage).into())
        }
        // Providers send it when the traffic of an account is used up or not paid for.
        Meaning::Unclear if status == Some(402) => {
            (ProxyError::ProxyConfiguration, texts::PAYMENT.into())
        }
        Meaning::Unsupported => (ProxyError::HttpProtocol, texts::UNSUPPORTED.into()),
        _ if refusal.http.as_ref().is_some_and(|http| (300..400).contains(&http.status)) => {
            (ProxyError::HttpProtocol, hop_advice::redirected_to_portal(stage, refusal).into())
        }
        // Apache and many providers answer 509 when an account has used up its traffic.
        _ if status == Some(509) => (ProxyError::ProxyConfiguration, texts::TRAFFIC.into()),
        // A captive portal answers so (RFC 6585 §6).
        _ if status == Some(511) => {
            (ProxyError::HttpProtocol, hop_advice::captive_portal(stage).into())
        }
        _ if own_status.is_some() => {
            let error = match is_server_error(refusal) {
                true => ProxyError::DestinationUnavailable,
                false => ProxyError::HttpProtocol,
            };
            (error, hop_advice::own_status(stage, own_status.unwrap_or_default()).into())
        }
        // The answer of a server that does not know the method (RFC 9110 §15.6.2).
        _ if refusal.http.as_ref().is_some_and(|http| http.status == 501) => {
            (ProxyError::HttpProtocol, hop_advice::perhaps_a_web_server(stage).into())
        }
        _ if is_server_error(refusal) => {
            (ProxyError::DestinationUnavailable, hop_advice::not_reached(stage).into())
        }
        _ => {
            let advice = hop_advice::perhaps_a_web_server(stage);
            (ProxyError::HttpProtocol, texts::after_own_words(refusal, &advice).into())
        }
    };
    // The advice of a kind knows the provider, so it takes the place of the general one.
    let advice = match (&refusal.advice, refusal.meaning) {
        (Some(of_kind), Meaning::Credentials) => {
            with_settings_of_url(stage, of_kind.clone()).into()
        }
        (Some(of_kind), _) => of_kind.clone().into(),
        (None, _) => advice,
    };
    let advice = match &refusal.note {
        Some(note) => format!("{advice} {note}").into(),
        None => advice,
    };
    let mut verdict = FailureVerdict::new(error, refusal_summary(stage, refusal), advice);
    let hold = if refusal.is_of_ticket { Hold::of_ticket } else { Hold::of_logon };
    verdict.hold = refusal.held_back.map(|wait| hold(wait, stage.url.is_some()));
    verdict.received_status = refusal.http.as_ref().map(|http| http.status);
    if refusal.meaning == Meaning::Timeout {
        verdict.status = ProxyError::ConnectionTimeout.status();
    }
    // A default, which the time that the hop itself names replaces.
    if refusal.meaning == Meaning::Busy {
        verdict.field = Some(texts::RETRY_IN_FIVE_SECONDS.into());
    }
    // A pool takes the next request as soon as the first of its members may be asked again.
    let of_members = chain.failed_members.as_ref().and_then(FailedMembers::wait);
    if let Some(wait) = of_members.or(refusal.retry_after).or(refusal.held_back) {
        verdict.field = Some(texts::retry_after(wait).into());
    }
    verdict
}

/// Judges a request whose credentials were not sent, since the hop rejected them a short time ago.
pub(super) fn held_back(
    chain: &ChainError,
    HeldBack { wait, refusal }: &HeldBack,
) -> FailureVerdict {
    let mut refusal = refusal.clone();
    refusal.held_back = Some(*wait);
    refusal.summary.get_or_insert("credentials rejected".into());
    let verdict = refused(chain, &refusal);
    // Nothing was sent, so there is no status that was received.
    let summary = format!("{HELD_BACK}{}", verdict.summary).into();
    FailureVerdict { received_status: None, summary, ..verdict }
}

/// Begins the summary of a request whose credentials were not sent.
pub(in crate::client::reply) const HELD_BACK: &str = "held back; ";

/// Returns the hop's words, or the schemes that it offers if this program speaks none of them.
///
/// A summary by the hop's kind takes the place of what only repeats the status: the standard reason phrase, and codes
/// such as those of Squid.
fn refusal_summary(stage: &Stage, refusal: &Refusal) -> String {
    match &refusal.http {
        // A kind that gives advice knows more than the challenge says.
        Some(http) if refusal.advice.is_none() && hop_advice::needs_another_scheme(http) => {
            format!("{}, offers {}", http.status, http.schemes.join(", "))
        }
        http => match (&refusal.summary, &refusal.detail) {
            (Some(summary), _) => match http {
                Some(http) if is_standard(&refusal.said, http.status) => {
                    format!("{}, {summary}", http.status)
                }
                // The words of a protocol without texts, such as SOCKS5, are those of its kind.
                None => summary.to_string(),
                _ => format!("{}, {summary}", refusal.said),
            },
            (None, Some(detail)) => format!("{}, {detail}", refusal.said),
            (None, None) => match (&refusal.page, http) {
                (Some(line), _) => format!("{}, {line}", refusal.said),
                // `502 Bad Gateway` would only repeat the status of this proxy's own answer, and not say that the hop did not reach
                // the target.
                (None, Some(http))
                    if is_unreached(refusal) && is_standard(&refusal.said, http.status) =>
                {
                    match &stage.next {
                        Some(next) => format!("{}, it did not reach hop {next}", http.status),
                        None => format!("{}, it did not reach the target", http.status),
                    }
                }
                (None, _) => refusal.said.clone(),
            },
        },
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

/// Returns whether the hop answered for a next stop that it did not reach. 503 may say that it is overloaded itself.
fn is_unreached(refusal: &Refusal) -> bool {
    let is_meant = matches!(refusal.meaning, Meaning::Unreachable | Meaning::Timeout);
    is_meant && refusal.http.as_ref().is_some_and(|http| [502, 504].contains(&http.status))
}

/// Returns whether the hop's words are the status and the reason phrase that RFC 9110 §15 has for it, or none.
fn is_standard(said: &str, status: u16) -> bool {
    let reason = said.strip_prefix(&*status.to_string()).map(str::trim);
    reason.is_some_and(|reason| {
        reason.is_empty() || reason.eq_ignore_ascii_case(standard_phrase(status))
    })
}

/// Returns whether the hop answered with a server error, or did not reach the next stop and gives no reason.
fn is_server_error(refusal: &Refusal) -> bool {
    match &refusal.http {
        Some(http) => http.status >= 500,
        None => refusal.about == Party::Next,
    }
}
