//! Advice about refusals of hops.

use std::time::Duration;

use mooltiroute_hops::Refusal;

use crate::{
    client::reply::hop_advice::lower_first,
    duration,
    upstream::chain::{ChainError, Stage},
};

pub(in crate::client::reply) const PAYMENT: &str = "Its provider requires payment: the plan has expired, or its \
traffic is used up. Look at the provider's dashboard.";
pub(in crate::client::reply) const TRAFFIC: &str = "It says that a traffic limit is reached: the account may have no \
traffic left, or may be using too much at once. Check the account at its provider.";
pub(in crate::client::reply) const HOP_FAULT: &str =
    "It reported an internal error; try again later.";
pub(in crate::client::reply) const FORBIDDEN: &str =
    "It blocks this target for every client; route this host through another chain.";
pub(in crate::client::reply) const UNSUPPORTED: &str =
    "It does not support this request. Route this host through another hop.";

/// Returns which ports a hop refused and which it may allow.
pub(in crate::client::reply) fn refused_port(
    ChainError { stage, refused, .. }: &ChainError,
) -> String {
    let hop = stage.hop_name().unwrap_or_default();
    let host = stage.stop.host();
    // If the next hop has several addresses, all of them were tried. Their ports are named
    // together, since one allowed port is enough.
    let stops = if refused.is_empty() { std::slice::from_ref(&stage.stop) } else { refused };
    let ports: Vec<_> = stops.iter().map(|stop| stop.port().to_string()).collect();
    let plural = if ports.len() > 1 { "s" } else { "" };
    let ports = ports.join(", ");
    let text = format!("`{hop}` refuses CONNECT to port{plural} {ports} of `{host}`");
    // 443 is the port that nearly all proxies allow. If that is refused, the rule is about the
    // host.
    if stops.iter().any(|stop| stop.port() == 443) {
        return format!(
            "{text}; ask its administrator to allow this host. If it refuses every host, its port may belong to a web \
             server."
        );
    }
    format!(
        "{text}; it may allow 443, as many do. Ask its administrator to allow this host and port."
    )
}

/// Returns advice about a hop that wants fewer connections, or fewer requests in a given time (429, RFC 6585 §4).
pub(in crate::client::reply) fn busy(refusal: &Refusal) -> String {
    let wait = refusal.retry_after.map_or_else(String::new, has_to_pass);
    match refusal.http.as_ref().map(|http| http.status) {
        Some(429) => format!(
            "It limits the rate of requests, or how many it takes at once: send fewer at once, or send them more \
             slowly.{wait}"
        ),
        _ => format!("It asks for fewer connections at once.{wait}"),
    }
}

/// Returns advice about a hop that can't serve for a time that it names (503 with `Retry-After`, RFC 9110 §15.6.4).
pub(in crate::client::reply) fn out_of_service(wait: Duration) -> String {
    format!("It is overloaded or being maintained.{}", has_to_pass(wait))
}

fn has_to_pass(wait: Duration) -> String {
    format!(" It asks clients to wait {}.", duration::in_words(wait))
}

/// Makes `advice` follow the words of the hop itself, which may tell what to do.
pub(in crate::client::reply) fn after_own_words(refusal: &Refusal, advice: &str) -> String {
    match refusal.page {
        Some(_) => format!("If its own message does not say what to do: {}", lower_first(advice)),
        None => advice.to_owned(),
    }
}

/// Returns advice about a hop that refused a request with the login for which it had asked.
pub(in crate::client::reply) fn refused_after_login(stage: &Stage) -> String {
    let hop = stage.hop_name().unwrap_or_default();
    let stop = &stage.stop;
    format!(
        "It refused the request after the login. The account may be locked or not allowed to use `{hop}`, or `{hop}` \
         may not allow CONNECT to port {} of `{}`. Ask its administrator.",
        stop.port(),
        stop.host()
    )
}

/// Returns advice about a hop that refused a request with credentials for which it had not asked.
pub(in crate::client::reply) fn refused_with_credentials(stage: &Stage) -> String {
    let hop = stage.hop_name().unwrap_or_default();
    let stop = &stage.stop;
    format!(
        "It may not allow CONNECT to port {} of `{}`: many proxies allow 443 only. Or the account may be locked or \
         not allowed to use `{hop}`: nothing shows that it checked the credentials. Ask its administrator.",
        stop.port(),
        stop.host()
    )
}

/// Says how long credentials are held back, and what ends that.
pub(in crate::client::reply) fn held_back(wait: Duration, is_of_url: bool) -> String {
    let later = if wait > SHORT_HOLD { "" } else { AFTER_ANOTHER };
    let end = match is_of_url {
        true => "A start with another URL ends the wait at once.",
        false => {
            "Other credentials or `mooltiroute reload` end the wait at once; if they come from variables, a restart does."
        }
    };
    format!(
        "To avoid locking the account, Mooltiroute does not send these credentials again for {}{later}. {end}",
        duration::in_words(duration::whole_seconds(wait))
    )
}

/// Says how long a ticket that was refused is held back, and what ends that.
pub(in crate::client::reply) fn ticket_held_back(wait: Duration, is_of_url: bool) -> String {
    let end = match is_of_url {
        true => "Another ticket or a restart",
        false => "Another ticket or `mooltiroute reload`",
    };
    format!(
        "Mooltiroute does not send this ticket again for {}. {end} ends the wait at once.",
        duration::in_words(duration::whole_seconds(wait))
    )
}

/// Says how long the hop is not asked for a target that it refuses to this user, and what ends that.
pub(in crate::client::reply) fn target_held_back(wait: Duration, is_of_url: bool) -> String {
    let end = if is_of_url { "A restart" } else { "`mooltiroute reload`" };
    format!(
        "Mooltiroute does not ask for this target again for {}. {end} ends the wait at once. Other targets don't wait.",
        duration::in_words(duration::whole_seconds(wait))
    )
}

/// Says the same to the user of `probe`, which has no memory of its own.
pub(in crate::client::reply) const PROBE_ASKS_AGAIN: &str = "Each probe asks for the target again.";

/// Says the same to the user of `probe`, which sends the ticket each time.
pub(in crate::client::reply) const PROBE_SENDS_THE_TICKET: &str =
    "Each probe sends the ticket again, which locks no account.";

/// Says the same to the user of `probe`, which has no memory of its own.
pub(in crate::client::reply) const PROBE_IS_A_LOGON: &str = "Each probe is one logon, and does not wait as the running proxy does: correct the credentials before the \
     next one, so that the account is not locked.";

/// The longest wait that may be followed by a longer one.
const SHORT_HOLD: Duration = Duration::from_secs(300);

const AFTER_ANOTHER: &str = ", and waits longer after another rejection, up to 35 min";
