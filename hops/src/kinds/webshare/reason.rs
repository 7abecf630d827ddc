//! The reasons that Webshare gives for a refusal.

use crate::{Meaning, Refusal, refusal::CREDENTIALS_REJECTED};

/// Returns the reason that Webshare gives, or `None` if the answer is not its own.
pub(super) fn of(refusal: &Refusal) -> Option<&str> {
    REASON_FIELDS.iter().find_map(|name| refusal.field(name))
}

/// Adds to `refusal` the meaning of its reason.
pub(super) fn explain(refusal: &mut Refusal) {
    let reason = of(refusal).map(str::to_owned);
    // SOCKS5 has no status; that it refuses the credentials is what HTTP says with 407.
    let status = match &refusal.http {
        Some(http) => http.status,
        None if refusal.meaning == Meaning::Credentials => 407,
        None => 0,
    };
    if let Some((meaning, advice)) = explained(status, reason.as_deref().unwrap_or_default()) {
        refusal.means(meaning);
        refusal.advice = Some(advice.to_owned());
    }
    if reason.is_none() && refusal.meaning == Meaning::Credentials {
        refusal.summary = Some(CREDENTIALS_REJECTED.into());
    }
    // The reason is shown even if its meaning is unknown.
    refusal.detail = reason.or(refusal.detail.take());
}

fn explained(status: u16, reason: &str) -> Option<(Meaning, &'static str)> {
    // The order counts: Webshare answers 407 both for a wrong password and for an exit that is not in the list, so
    // that reason is asked for before the status. The list of reasons is not published, so unknown ones are read by
    // their prefix: `target_` is the target's, `internal_` Webshare's and `client_` the account's.
    Some(match (status, reason) {
        (_, "bandwidthlimit") => (
            Meaning::Quota,
            "The account's bandwidth is used up. Buy more, or wait until the plan renews.",
        ),
        // The status alone, and other reasons, do not say that the bandwidth is used up.
        (402, _) => (
            Meaning::Quota,
            "Webshare requires payment: the plan has expired, or its bandwidth is used up. Look at the dashboard.",
        ),
        (_, "no_proxies_allocated") => (
            Meaning::Credentials,
            "The username asks for an exit that is not in the proxy list any more. Compare it, and the `country` \
             and `session` added to it, with the list in the dashboard.",
        ),
        (407, _) => (
            Meaning::Credentials,
            "Webshare did not accept the username and password. Compare `username` and `password` with the \
             dashboard, where they belong to the proxy list and not to the account. If they come from variables, new values take a restart.",
        ),
        (_, "client_connect_high_concurrency") => (
            Meaning::Busy,
            "The account has too many connections open at once. Open fewer, or choose a larger plan.",
        ),
        // The status alone does not say which limit was reached.
        (429, _) => (
            Meaning::Busy,
            "The account may have too many connections open at once, or may open them too fast. Wait a moment and open fewer, \
             or choose a larger plan.",
        ),
        (_, "client_connect_forbidden_host") => (
            Meaning::Forbidden,
            "Webshare blocks this target on every exit. Another exit won't help; route this host through another chain.",
        ),
        (_, "target_connect_resolve_failed") => (
            Meaning::UnknownName,
            "The exit can't look up the target's name. Check it, or try again.",
        ),
        (_, reason) if reason.starts_with("target_") => (
            Meaning::Unreachable,
            "The exit could not reach the target. Try again, or check that the target is up.",
        ),
        (_, reason) if reason.starts_with("internal_") => (
            Meaning::Fault,
            "Webshare reported an internal error. Try again later, and look at its status page.",
        ),
        (_, reason) if reason.starts_with("client_") => (
            Meaning::Credentials,
            "Webshare does not do this for the account. The reason above is Webshare's; its dashboard explains it.",
        ),
        _ => return None,
    })
}

/// Webshare documents the second name, and sends the others too. The last may only repeat the status.
const REASON_FIELDS: [&str; 3] =
    ["X-Webshare-Reason", "X-Webshare-Error-Reason", "X-Webshare-Error"];

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(status: u16, fields: &[(&str, &str)], detail: Option<&str>, meaning: Option<Meaning>) {
        let fields = fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
        let mut refusal = Refusal::from_http(status, b"", fields);
        let unexplained = refusal.meaning;
        explain(&mut refusal);
        let expected = (detail, meaning.unwrap_or(unexplained));
        assert_eq!((refusal.detail.as_deref(), refusal.meaning), expected, "{status}");
        assert_eq!(refusal.advice.is_some(), meaning.is_some());
    }

    #[test]
    fn each_known_reason_has_its_meaning() {
        for (status, reason, meaning) in [
            (402, "bandwidthlimit", Meaning::Quota),
            (403, "client_connect_forbidden_host", Meaning::Forbidden),
            (407, "no_proxies_allocated", Meaning::Credentials),
            (429, "client_connect_high_concurrency", Meaning::Busy),
            (502, "target_connect_resolve_failed", Meaning::UnknownName),
            (502, "target_connect_unknown_error", Meaning::Unreachable),
            (502, "internal_error_auth_circuit_breaker_open", Meaning::Fault),
            (400, "client_something_new", Meaning::Credentials),
        ] {
            for name in ["X-Webshare-Reason", "x-webshare-error-reason", "X-WEBSHARE-ERROR"] {
                check(status, &[(name, reason)], Some(reason), Some(meaning));
            }
        }
    }

    #[test]
    fn the_most_telling_field_counts() {
        let fields = [("X-Webshare-Error", "407"), ("X-Webshare-Reason", "no_proxies_allocated")];
        check(407, &fields, Some("no_proxies_allocated"), Some(Meaning::Credentials));
    }

    #[test]
    fn only_the_reason_says_that_the_bandwidth_is_used_up() {
        let advice = |reason: &str| explained(402, reason).unwrap().1;
        assert!(advice("bandwidthlimit").starts_with("The account's bandwidth is used up."));
        for reason in ["", "subscription_expired"] {
            assert!(advice(reason).contains("the plan has expired, or"), "{reason}");
        }
    }

    #[test]
    fn the_status_speaks_if_no_reason_is_given() {
        check(402, &[], None, Some(Meaning::Quota));
        check(407, &[], None, Some(Meaning::Credentials));
        check(429, &[], None, Some(Meaning::Busy));
        check(403, &[], None, None);
        check(502, &[("X-Webshare-Reason", "")], None, None);
    }
}
