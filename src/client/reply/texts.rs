//! The words of replies: each text says what to do about one kind of failure.

mod own_refusals;
mod refusals_of_hops;
mod usernames;

use std::{borrow::Cow, fmt::Write as _, time::Duration};

use mooltiroute_hops::{HopError, Meaning, Refusal, WhyDirect};

pub(super) use self::{
    own_refusals::{
        LOOP, LOOP_THROUGH_HOPS, looped, no_route, over_budget, over_limit, seems_to_loop,
        unanswered, unsettled,
    },
    refusals_of_hops::{
        FORBIDDEN, HOP_FAULT, PAYMENT, PROBE_ASKS_AGAIN, PROBE_IS_A_LOGON, PROBE_SENDS_THE_TICKET,
        TRAFFIC, UNSUPPORTED, after_own_words, busy, held_back, out_of_service,
        refused_after_login, refused_port, refused_with_credentials, target_held_back,
        ticket_held_back,
    },
    usernames::{
        CHALLENGE, SESSION_CHALLENGE, SESSION_CHALLENGE_BESIDE_AUTH, UNAUTHORIZED_PAGE,
        invalid_preferences, no_say_beside_auth, no_session, no_session_beside_auth, no_username,
        other_preferences, other_scheme, preferences_summary, unauthorized, unread_username,
        what_is_misread, wrong_credentials,
    },
};
use super::{
    hop_advice::{self, address_setting},
    near_target::NearTarget,
    reply_text::ReplyText,
};
use crate::{
    proxy_error::ProxyError,
    upstream::chain::{Cause, ChainError, DirectHop, Stage, Step},
};

// Field lines that belong to a status.
pub(super) const ALLOW: &str = "Allow: GET, HEAD\r\n";
pub(super) const RETRY_IN_A_SECOND: &str = "Retry-After: 1\r\n";
pub(super) const RETRY_IN_FIVE_SECONDS: &str = "Retry-After: 5\r\n";

pub(super) const PAGE_NOT_MADE: &str =
    "This page could not be made. See the proxy's log for the reason.";
pub(super) const ONLY_READING: &str = "This page is read-only: use GET or HEAD.";
pub(super) const NO_DESCRIPTORS: &str =
    "Mooltiroute has run out of file descriptors. Raise its limit of open files (`ulimit -n`).";
pub(super) const NO_MEMORY: &str = "The system has no memory for another connection at the moment. Free some, or raise the \
                                    limit of the container or service.";
pub(super) const NO_PORTS: &str = "All local ports for connections to that address are in use. Wait until some of them end, \
                                   or widen the system's range (on Linux: `net.ipv4.ip_local_port_range`).";

// Failures of the way to a stop.
pub(super) const NO_NETWORK: &str =
    "This machine has no route to it. Check that the network is up.";
pub(super) const SILENT_TARGET: &str = "It accepted the connection but did not answer. Check that it speaks TLS at this \
                                        port, or raise `timeouts.connect`.";

// Failures of a hop.
pub(super) const KEEPS_CLOSING: &str = "It closes the connection after each step of its authentication, but NTLM and \
Negotiate need one connection that stays open. Look for a load balancer in front of it that closes connections \
(HAProxy: `option httpclose`), and check its log.";
pub(super) const CHECK_SETTINGS: &str = "Check the settings of this hop.";

// Failures of TLS with the target.
pub(super) const TARGET_CERTIFICATE: &str = "Either the target really has this certificate, or a proxy on the way \
intercepts TLS; then clients must trust that proxy's authority. `mooltiroute probe --ca FILE` tests with the \
certificate or the authority in FILE.";
pub(super) const TARGET_TLS: &str =
    "Check that it speaks TLS at this port; if it does, something on the way blocks TLS.";

const TARGET_UP: &str =
    "Check that the target is up, and that this machine may reach it without a proxy.";
const TARGET_NAME: &str = "Check the name and the name servers of this machine; if only a proxy can look the name up, route it through a chain that has one.";

/// Names the hops that are missing from the way of a request. Returns nothing if all are there.
pub(super) fn missing_hops(error: &ChainError) -> ReplyText {
    let names: Vec<_> = error.switched_off.iter().map(|name| format!("`{name}`")).collect();
    let (subject, verb, them) = match &*names {
        [] => return ReplyText::default(),
        [one] => (format!("Hop {one}"), "is", "it"),
        several => (format!("The hops {}", several.join(", ")), "are", "them"),
    };
    let effect = match error.stage.hop.is_none() {
        true => "so the request went to the target without",
        false => "and left out",
    };
    let effect = if error.stage.hop.is_none() { format!("{effect} {them}") } else { effect.into() };
    let mut text = ReplyText::from(format!(
        " {subject} of this chain {verb} switched off, {effect}: `mooltiroute status` says why"
    ));
    for name in error.switched_off.iter() {
        text = text.words(" and ").switch_on(name);
    }
    text.words(if names.len() == 1 { " switches it on." } else { " switch them on." })
}

/// Returns the field line that asks clients to wait.
pub(super) fn retry_after(wait: Duration) -> String {
    format!("Retry-After: {}\r\n", wait.as_secs())
}

/// Returns the paragraph about a chain that did not reach the target: what failed, why, and the advice.
pub(super) fn failed(error: &ChainError, details: &str, advice: ReplyText) -> ReplyText {
    let subject = &error.stage;
    // The step after the hop's name is an aside ("hop `a`, asked for `b`, failed"), which ends with a comma.
    let failed = match (subject.step, subject.hop_name()) {
        (Step::Choose, Some(hop)) => {
            format!("hop `{hop}`{} could not choose a proxy", subject.own_name())
        }
        (Step::Extend, _) => format!("{subject}, failed"),
        _ => format!("{subject} failed"),
    };
    let others = after_others(error);
    ReplyText::from(format!("Mooltiroute: {others}{failed}: {} ", sentence(details)))
        .text(advice)
        .text(missing_hops(error))
        .words(format!(" (chain `{}`)", error.chain))
}

/// Returns `details` with a full stop, unless the quotation at its end has one already.
fn sentence(details: &str) -> Cow<'_, str> {
    let ends = [".\"", "!\"", "?\""].iter().any(|end| details.ends_with(end));
    if ends { details.into() } else { format!("{details}.").into() }
}

/// Says that other members failed before, to begin a text about the last one. Returns nothing if there were none.
pub(super) fn after_others(error: &ChainError) -> String {
    // The advice about the last member alone would hide that the others failed too, perhaps in other ways.
    error.failed_members.as_ref().map_or_else(String::new, |failed| {
        let (number, how) = (failed.in_words(), failed.failures());
        format!("{number} of `{}` failed ({how}); the last: ", failed.hop)
    })
}

/// Returns the paragraph about an answer that can't be passed on. It came from a hop if `is_hop`, or else from the origin.
pub(super) fn bad_response(
    next_hop: &str,
    is_hop: bool,
    (error, details): (ProxyError, &str),
    advice: &str,
) -> String {
    let noun = if is_hop { "hop " } else { "" };
    match error {
        ProxyError::HttpResponseTimeout => format!(
            "Mooltiroute: {noun}`{next_hop}` took the request and did not answer in time: {} {advice}",
            sentence(details)
        ),
        _ => format!(
            "Mooltiroute: the answer of {noun}`{next_hop}` can't be passed on: {} {advice}",
            sentence(details)
        ),
    }
}

/// Returns advice about an answer that can't be passed on. It came from the hop of `stage`, or from the origin if there is none.
pub(super) fn on_bad_response(stage: Option<&Stage>, error: ProxyError) -> Cow<'static, str> {
    match (error, stage) {
        (ProxyError::HttpResponseTimeout, Some(stage)) => format!(
            "The hop, or the server behind it, is slow or hangs. Check both; if they need longer, raise `timeouts.response`{}.",
            hop_advice::in_a_configuration(stage)
        )
        .into(),
        (ProxyError::HttpResponseTimeout, None) => {
            "Check the server; if it needs longer, raise `timeouts.response`.".into()
        }
        // A TLS server closes the connection when it reads a request that is not TLS.
        (ProxyError::ConnectionTerminated, Some(stage)) => {
            hop_advice::cut_plain_request(stage).into()
        }
        (ProxyError::ConnectionTerminated, None) => {
            "If it never answers, this port may speak TLS: then write `https://` in the URL. Otherwise the fault is in the \
             server, or in a hop on the way to it."
                .into()
        }
        (_, Some(_)) => {
            "Check that this hop is an HTTP proxy. If it is, it may have passed on the server's answer.".into()
        }
        (_, None) => "The fault is in the server, or in a hop on the way to it.".into(),
    }
}

/// Says that the hop which failed to reach the target means another machine by it, if that is so.
pub(super) fn note_on_near_target(error: &ChainError) -> Option<String> {
    let stage = &error.stage;
    let near = NearTarget::of(stage.stop.host())?;
    let is_asked = stage.step == Step::Extend && stage.next.is_none() && !stage.is_login;
    let may_be_why = match &error.cause {
        Cause::Hop(HopError::Refused(refusal)) => is_about_target(refusal),
        Cause::Hop(HopError::Io(_) | HopError::Closed) | Cause::Timeout(..) => true,
        _ => false,
    };
    let hop = stage.hop_name().filter(|_| is_asked && may_be_why)?;
    near.is_beyond(&stage.settings).then(|| near.note(stage.stop.host(), &hop, stage.url.is_none()))
}

/// Returns whether a refusal may come from a target that the hop can't reach or does not allow.
fn is_about_target(refusal: &Refusal) -> bool {
    match refusal.meaning {
        Meaning::Credentials | Meaning::Quota | Meaning::Busy => false,
        Meaning::Unclear => refusal
            .http
            .as_ref()
            .is_none_or(|http| [403, 404, 500, 502, 503, 504].contains(&http.status)),
        _ => refusal.http.as_ref().is_none_or(|http| http.status != 508),
    }
}

/// Returns in a few words why a response cannot be passed on.
pub(super) fn response_summary(error: ProxyError) -> &'static str {
    match error {
        ProxyError::HttpResponseTimeout => "no answer in time",
        ProxyError::ConnectionTerminated => "closed before an answer",
        ProxyError::ConnectionWriteTimeout => "stopped reading the request",
        ProxyError::HttpResponseHeaderSectionSize => "answer head too large",
        ProxyError::HttpResponseTransferCoding => "unknown transfer coding",
        ProxyError::HttpUpgradeFailed => "upgrade failed",
        _ => "invalid answer",
    }
}

/// Advice about a pool whose members all asked to be left alone for a while.
pub(super) const ASKED_TO_WAIT: &str = "Mooltiroute asks no member before its time is over, since that would only make the wait longer. Send fewer requests, or \
                                        send them more slowly, or add members.";

pub(super) fn slow_to_connect(error: &ChainError) -> String {
    let in_file = hop_advice::in_a_configuration(&error.stage);
    format!("{} Or raise `timeouts.connect`{in_file}.", is_it_up(error))
}

pub(super) fn is_it_up(error: &ChainError) -> Cow<'static, str> {
    match address_setting(&error.stage) {
        // The address of a hop is in the configuration, so the advice names its key.
        Some(address) => format!(
            "Check that it is up, that {address} is right, and that this machine may reach it."
        )
        .into(),
        None => format!("{TARGET_UP}{}", direct_hops(error)).into(),
    }
}

pub(super) fn look_up(error: &ChainError) -> Cow<'static, str> {
    match address_setting(&error.stage) {
        Some(address) => format!(
            "Check {address}, and that this machine's name servers answer and know the name."
        )
        .into(),
        None if error.direct_hops.is_empty() => TARGET_NAME.into(),
        None => {
            format!("Check the name and the name servers of this machine.{}", direct_hops(error))
                .into()
        }
    }
}

/// Says which hops left themselves out of the way to the target, and what to do if it takes one of them. Returns nothing if
/// all are there.
pub(super) fn direct_hops(error: &ChainError) -> String {
    let mut text = String::new();
    for DirectHop { name, why, failed, members } in &error.direct_hops {
        let failed: Vec<_> = failed.iter().map(|name| format!("`{name}`")).collect();
        let (chose, status) = match why {
            WhyDirect::PacFile => ("chose DIRECT for this host".to_owned(), ""),
            WhyDirect::AfterOthers => (
                match failed.is_empty() {
                    true => {
                        "chose DIRECT for this host after proxies that failed before".to_owned()
                    }
                    false => {
                        let failed = failed.join(" and ");
                        format!("chose DIRECT for this host after {failed}, which failed")
                    }
                },
                " (`mooltiroute status` says why)",
            ),
            _ => {
                (format!("gave no list for this host, and `otherwise` of `{name}` is `direct`"), "")
            }
        };
        // A PAC file names few proxies, and mostly one.
        let other = match &**members {
            [one] => format!("`{one}`"),
            _ => "that proxy".to_owned(),
        };
        let _ = write!(
            text,
            " The PAC file of `{name}` {chose}{status}. If only a proxy reaches it, correct the file, or put a route for this host to a chain with {other} before \
             the others."
        );
    }
    text
}
