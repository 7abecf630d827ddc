//! Refusals of an authentication, in words that an operator can act on.

use std::borrow::Cow;

use super::{attempt::Method, settings::NT_HASH};
use crate::{Meaning, Refusal, auth::challenge::AuthScheme, refusal::CREDENTIALS_REJECTED};

/// Explains why no credentials were sent.
pub(super) fn nothing_sent(refusal: Refusal, reason: String) -> Refusal {
    explained(refusal, reason, "credentials not sent", BROKEN_CHALLENGE)
}

/// Explains that no scheme is both offered and allowed.
pub(super) fn nothing_in_common(methods: &[Method], refusal: Refusal) -> Refusal {
    let ours: Vec<_> = methods.iter().map(|method| method.scheme().name()).collect();
    // The names are the proxy's own, so that an operator sees a scheme that this program does not know, such as
    // Bearer.
    let offered = refusal.http.as_ref().map(|http| http.schemes.join(", "));
    let offered = offered.filter(|names| !names.is_empty()).unwrap_or_else(|| "nothing".to_owned());
    let detail = format!("it offers {offered}, and `auth` of this hop allows {}", ours.join(", "));
    let known = ["Negotiate", "NTLM", "Digest", "Basic"];
    let knows_one =
        known.iter().any(|scheme| refusal.http.as_ref().is_some_and(|http| http.offers(scheme)));
    let advice = match knows_one {
        true => NOTHING_SENT.to_owned(),
        false => format!(
            "No credentials were sent: Mooltiroute knows {} only. Ask the proxy's administrator to offer one of these.",
            known.join(", ")
        ),
    };
    explained(refusal, detail, format!("offers {offered}"), &advice)
}

/// Explains that the proxy offered `scheme`, and answered its first message without a challenge.
pub(super) fn broken_off(refusal: Refusal, scheme: AuthScheme) -> Refusal {
    let scheme = scheme.name();
    let closes = ["Connection", "Proxy-Connection"].iter().any(|name| {
        let options = refusal.field(name).unwrap_or_default().split(',');
        options.into_iter().any(|option| option.trim().eq_ignore_ascii_case("close"))
    });
    let (closed, summary) = match closes {
        true => (" and closed the connection", format!("closes the connection during {scheme}")),
        false => ("", format!("does not go on with {scheme}")),
    };
    let detail = format!(
        "it offered {scheme}, then answered the first message of {scheme} without a challenge{closed}"
    );
    let advice = format!(
        "{scheme} needs one connection that stays open: look for a load balancer in front of the proxy that closes \
         connections, as `option httpclose` of HAProxy does. If there is none, look at the log of the proxy."
    );
    explained(refusal, detail, summary, &advice)
}

/// Explains that the proxy asked for credentials only when it had a request whose body can't be sent again.
pub(super) fn asked_late(refusal: Refusal) -> Refusal {
    let detail = "it asked for credentials after a request without any".to_owned();
    explained(refusal, detail, "asks for credentials", ASKED_LATE)
}

/// Explains that the proxy does not accept the credentials. `domain` is the one that the proxy names, if the username has
/// none. `secret_key` is the key of the password or of its hash. `were_right` says whether the proxy has accepted them before.
pub(super) fn rejection(
    refusal: Refusal,
    scheme: AuthScheme,
    domain: Option<&str>,
    secret_key: &str,
    were_right: bool,
) -> Refusal {
    let hash = if secret_key == NT_HASH { PASS_NT } else { "" };
    let correct = format!("Correct this hop's `username` and `{secret_key}`{hash}. {REJECTED}");
    let detail = format!("it rejected the credentials, by {}", scheme.name());
    let advice = match domain {
        // The username was right before, so a guess about its domain would mislead.
        _ if were_right => format!(
            "The proxy has accepted these credentials before: the password was probably changed or has expired, or the \
             account is locked. Correct `{secret_key}`, or ask the administrator of the account."
        ),
        // The username itself is a secret here, so its place is named.
        Some(domain) => format!(
            "The username has no domain, and the proxy names `{domain}`: try `username: '{domain}\\NAME'`. If that \
             does not help: {correct}"
        ),
        None => correct,
    };
    explained(refusal, detail, CREDENTIALS_REJECTED, &advice)
}

/// Adds that the proxy may mean the target alone, since it has accepted the credentials before.
pub(super) fn with_suspicion(refusal: Refusal) -> Refusal {
    Refusal { note: Some(PERHAPS_THE_TARGET.to_owned()), ..refusal }
}

/// Explains that the proxy accepts the credentials for other targets.
pub(super) fn refused_target(refusal: Refusal) -> Refusal {
    let detail = "it asks for credentials again for this target, though it accepts them for others";
    let refusal = explained(refusal, detail.to_owned(), "probably forbids this target", ONE_TARGET);
    Refusal { note: None, is_of_target: true, ..refusal }
}

/// Adds that the proxy also offers the schemes `untried` of this hop.
pub(super) fn with_untried(mut refusal: Refusal, untried: &[&str]) -> Refusal {
    let names = untried.join(", ");
    let untried = format!(
        "{names} was not tried, though the proxy offers it: a hop uses the first scheme of its `auth` that the proxy offers \
         and this machine can begin. To use {names}, take `negotiate` out of `auth`."
    );
    refusal.advice = Some(match refusal.advice {
        Some(advice) => format!("{advice} {untried}"),
        None => untried,
    });
    refusal
}

/// Turns a refusal into one about credentials.
pub(super) fn explained(
    mut refusal: Refusal,
    detail: String,
    summary: impl Into<Cow<'static, str>>,
    advice: &str,
) -> Refusal {
    refusal.means(Meaning::Credentials);
    refusal.detail = Some(detail);
    refusal.summary = Some(summary.into());
    refusal.advice = Some(advice.to_owned());
    refusal
}

const NOTHING_SENT: &str = "No credentials were sent. List in this hop's `auth` a scheme that the proxy offers, or ask its \
     administrator to offer one that is listed.";
const ASKED_LATE: &str = "Send the request again: from now on, Mooltiroute logs in first. It could not send this one again, because its \
     body is gone.";
const BROKEN_CHALLENGE: &str = "No credentials were sent. Look at the log of the proxy: its challenge is wrong, or comes from another server on \
     the way. If it offers another scheme, list that first in this hop's `auth`.";
const REJECTED: &str =
    "If they are right, the account may be locked or expired: ask its administrator.";
const PERHAPS_THE_TARGET: &str = "Or the proxy forbids this target to this user: then requests to other targets pass, and Mooltiroute \
     will say so.";
const ONE_TARGET: &str = "The credentials are good. The proxy probably forbids this target to this user, as squid does with \
     `http_access deny TARGETS !USERS`: ask its administrator, or send the target another way.";
const PASS_NT: &str = ", which is the hash that `cntlm -H` prints as `PassNT`: `PassNTLMv2` and `PassLM` are other hashes";
