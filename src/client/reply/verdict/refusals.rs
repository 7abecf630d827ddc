//! Judges a refusal of a hop.

mod cause;

use std::borrow::Cow;

use mooltiroute_hops::{HeldBack, Meaning, Refusal};

use self::cause::RefusalCause;
use super::{FailureVerdict, Hold, with_settings_of_url};
use crate::{
    client::reply::{hop_advice, reason_phrase::standard_phrase, texts},
    proxy_error::ProxyError,
    upstream::chain::{ChainError, FailedMembers, Stage},
};

pub(super) fn refused(chain: &ChainError, refusal: &Refusal) -> FailureVerdict {
    let stage = &chain.stage;
    let cause = RefusalCause::of(refusal, stage.next.is_none());
    let advice = general_advice(cause, chain, refusal);
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
    let mut verdict = FailureVerdict::new(cause.error(), refusal_summary(stage, refusal), advice);
    let hold = match refusal {
        Refusal { is_of_target: true, .. } => Hold::of_target,
        Refusal { is_of_ticket: true, .. } => Hold::of_ticket,
        _ => Hold::of_logon,
    };
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

/// Returns the advice on a refusal for `cause`, whatever the kind of the hop.
fn general_advice(cause: RefusalCause, chain: &ChainError, refusal: &Refusal) -> Cow<'static, str> {
    let stage = &chain.stage;
    match cause {
        RefusalCause::Loop => texts::LOOP_THROUGH_HOPS.into(),
        RefusalCause::Credentials => hop_advice::credentials(stage, refusal).into(),
        RefusalCause::Payment => texts::PAYMENT.into(),
        RefusalCause::Traffic => texts::TRAFFIC.into(),
        RefusalCause::Forbidden => texts::FORBIDDEN.into(),
        RefusalCause::Policy => {
            let advice = match refusal.login {
                Some(login) if login.was_asked_for => texts::refused_after_login(stage),
                Some(_) => texts::refused_with_credentials(stage),
                None => texts::refused_port(chain),
            };
            texts::after_own_words(refusal, &advice).into()
        }
        RefusalCause::Busy => texts::busy(refusal).into(),
        RefusalCause::OutOfService(wait) => texts::out_of_service(wait).into(),
        RefusalCause::NoLookup | RefusalCause::UnknownName => {
            hop_advice::unknown_name(stage).into()
        }
        RefusalCause::Fault => texts::HOP_FAULT.into(),
        RefusalCause::TargetRefused => hop_advice::target_refused(stage).into(),
        RefusalCause::NetworkUnreachable | RefusalCause::NotReached => {
            hop_advice::not_reached(stage).into()
        }
        RefusalCause::Unsupported => texts::UNSUPPORTED.into(),
        RefusalCause::Redirect => hop_advice::redirected_to_portal(stage, refusal).into(),
        RefusalCause::CaptivePortal => hop_advice::captive_portal(stage).into(),
        RefusalCause::OwnStatus(status) => hop_advice::own_status(stage, status).into(),
        RefusalCause::UnknownMethod => hop_advice::perhaps_a_web_server(stage).into(),
        RefusalCause::Unclear => {
            let advice = hop_advice::perhaps_a_web_server(stage);
            texts::after_own_words(refusal, &advice).into()
        }
    }
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
