//! The words of replies: each text says what to do about one kind of failure.

use std::{
    borrow::Cow,
    fmt::Write as _,
    net::SocketAddr,
    time::{Duration, SystemTime},
};

use mooltiroute_hops::{Authority, HopError, InvalidPreferences, Meaning, Refusal};

use super::{
    hop_advice::{self, address_setting, lower_first},
    near_target::NearTarget,
};
use crate::{
    client::ask::no_say,
    duration,
    proxy_error::ProxyError,
    state::generation::OverBudget,
    timestamp::rfc_3339,
    upstream::chain::{Cause, ChainError, Stage, Step},
};

// Field lines that belong to a status.
pub(super) const CHALLENGE: &str =
    "Proxy-Authenticate: Basic realm=\"mooltiroute\", charset=\"UTF-8\"\r\n";
// Browsers and git show the realm when they ask for a username.
pub(super) const SESSION_CHALLENGE: &str = "Proxy-Authenticate: Basic realm=\"mooltiroute: the username chooses the exit; \
                                            write session-NAME, and any password\", charset=\"UTF-8\"\r\n";
pub(super) const SESSION_CHALLENGE_BESIDE_AUTH: &str = "Proxy-Authenticate: Basic realm=\"mooltiroute: append +session-NAME to the username to choose the exit\", \
     charset=\"UTF-8\"\r\n";
pub(super) const ALLOW: &str = "Allow: GET, HEAD\r\n";
pub(super) const RETRY_IN_A_SECOND: &str = "Retry-After: 1\r\n";
pub(super) const RETRY_IN_FIVE_SECONDS: &str = "Retry-After: 5\r\n";

/// The address of the proxy in examples. In answers, the address that the client has reached replaces it.
const EXAMPLE_ADDRESS: &str = "localhost:8888";

// Refusals of this proxy.
pub(super) const NO_SESSION: &str = "Each client chooses its own exit here, and this request names no session. Give this \
                                     proxy a username, as in `http://session-NAME:x@localhost:8888`; any password \
                                     will do, but many programs send no username without one.";
pub(super) const NO_USERNAME: &str = "Each client chooses its own exit here by its username, and this request was sent without one. Give this \
                                      proxy a username, as in `http://session-NAME:x@localhost:8888`; any password \
                                      will do, but many programs send no username without one.";
pub(super) const NO_SESSION_BESIDE_AUTH: &str = "Each client chooses its own exit here, and this request names no session. Append it to the username of \
     `server.auth`, as in `http://USER+session-NAME:PASSWORD@localhost:8888`.";
pub(super) const UNAUTHORIZED: &str = "This proxy asks for a username and a password of its own: those of \
                                       `server.auth` in its configuration, as in \
                                       `http://USER:PASSWORD@localhost:8888`. It takes them by Basic authentication only, \
                                       so a client that is set to Digest, NTLM or Negotiate sends none.";
pub(super) const WRONG_CREDENTIALS: &str = "The username or the password that was given to this proxy is not that of \
                                            `server.auth` in its configuration. A URL with both is \
                                            `http://USER:PASSWORD@localhost:8888`; the name of a session follows the \
                                            username, as in `USER+session-NAME`.";
pub(super) const UNAUTHORIZED_PAGE: &str = "This page asks for the username and the password of `server.auth`: write `curl -u \
                                            USER:PASSWORD URL`, or `basic_auth` for a scrape of Prometheus.";
pub(super) const PAGE_NOT_MADE: &str =
    "This page could not be made. The log of the proxy says why.";
pub(super) const ONLY_READING: &str = "This can only be read: ask with GET or HEAD.";
const NO_COUNTRY: &str = "Leave `country-…` out of the username that was given to this proxy, or `--country` of `mooltiroute exec`. A hop of \
                          `kind: rotating` chooses a country if its template has `{country}`.";
const COUNTRY_ALONE: &str = "Write both, as in `http://session-NAME,country-us:x@localhost:8888`, or \
                             `http://USER+session-NAME,country-us:PASSWORD@localhost:8888` if this proxy asks for credentials of its \
                             own.";
const OTHER_USERNAME: &str = "Give this proxy another username, as in `http://session-NAME:x@localhost:8888`, or \
     `http://USER+session-NAME:PASSWORD@localhost:8888` if it asks for credentials of its own.";
pub(super) const NO_DESCRIPTORS: &str =
    "This process may open no more files at the moment. Raise its limit (`ulimit -n`).";
pub(super) const LOOP: &str = "The request would come back to this proxy again and again. Take the proxy's own \
                               address out of the hops, or ask for another target.";

pub(super) const LOOP_THROUGH_HOPS: &str = "Two proxies are probably each other's hop. Check the addresses of their \
                                            hops.";

// Failures of the way to a stop.
pub(super) const NO_NETWORK: &str = "This machine has no way there: is the network up?";
pub(super) const SILENT_TARGET: &str = "It accepted the connection and says nothing. Check that it speaks TLS at this \
                                        port, or raise `timeouts.connect`.";
// Failures of a hop.
pub(super) const KEEPS_CLOSING: &str = "It closes the connection after each step of its authentication, and NTLM and Negotiate need one connection that stays \
     open. Look for a load balancer before it that closes connections, as `option httpclose` of HAProxy does, and at its log.";
pub(super) const CHECK_SETTINGS: &str = "Check the settings of this hop.";

// Failures of TLS with the target.
pub(super) const TARGET_CERTIFICATE: &str = "Either the target has such a certificate, or a proxy on the way opens \
                                             TLS: then clients must trust the authority of that one. `mooltiroute probe --ca FILE` trusts the certificate or the authority in \
                                             FILE.";
pub(super) const TARGET_TLS: &str = "Check that it speaks TLS at this port; if it does, something on the way does \
                                     not let TLS pass.";

// Refusals of a hop.
pub(super) const QUOTA: &str = "Look at this hop's account and credentials.";
pub(super) const PAYMENT: &str = "Its provider wants to be paid: the account has no traffic left, or an invoice is open. Look at the account there.";
pub(super) const TRAFFIC: &str = "It says that a limit on traffic is reached: the account may have no traffic left, or may use too much of it at \
                                  once. Look at the account at its provider.";
pub(super) const HOP_FAULT: &str = "It has a fault of its own; try again later.";
pub(super) const FORBIDDEN: &str = "It lets no client go there; route this host another way.";
pub(super) const UNSUPPORTED: &str =
    "It can't do what it was asked. Route this host through another hop.";
const TARGET_UP: &str =
    "Check that the target is up, and that this machine may reach it without a proxy.";
const TARGET_NAME: &str =
    "Check the name; if only a proxy can look it up, route it through a chain that has one.";

/// Describes in a few words the mistake in a client's preferences.
pub(super) fn preferences_summary(invalid: InvalidPreferences) -> &'static str {
    match invalid {
        InvalidPreferences::NoCountry => "can't choose a country",
        InvalidPreferences::CountryAlone => "country without session",
        _ => "username not understood",
    }
}

/// Says how to write preferences that the hop can meet.
pub(super) fn other_preferences(invalid: InvalidPreferences) -> &'static str {
    match invalid {
        InvalidPreferences::NoCountry => NO_COUNTRY,
        InvalidPreferences::CountryAlone => COUNTRY_ALONE,
        _ => OTHER_USERNAME,
    }
}

pub(super) fn invalid_preferences(invalid: InvalidPreferences, is_beside_auth: bool) -> String {
    // These two are understood. The hop can't do what they ask for.
    if let InvalidPreferences::NoCountry | InvalidPreferences::CountryAlone = invalid {
        let advice = other_preferences(invalid);
        return format!(
            "The username that was given to this proxy can't be followed: {invalid}. {advice}"
        );
    }
    if is_beside_auth {
        return format!(
            "The part behind the `+` of the username that was given to this proxy is not understood: {invalid}. A whole URL \
             of the proxy is `http://USER+session-NAME:PASSWORD@localhost:8888`, with the credentials of `server.auth`."
        );
    }
    format!(
        "The username that was given to this proxy is not understood: {invalid}. A whole URL of the proxy is \
         `http://session-NAME:x@localhost:8888`; any password will do, but many programs send no username without one."
    )
}

pub(super) fn no_say_beside_auth(chain: &str) -> String {
    let why = no_say(chain, false);
    format!(
        "The credentials are right, but {why}. Leave out the `+` of the username and what follows it, or `--session` and \
         `--country` if `mooltiroute exec` has written it."
    )
}

/// Refuses credentials of another scheme than Basic.
pub(super) fn other_scheme(scheme: &str) -> String {
    format!(
        "The client sent {scheme} credentials, and `server.auth` of this proxy takes Basic only. Set the client to Basic for \
         this proxy (curl: `--proxy-basic`, which is its default), with the username and the password of `server.auth`."
    )
}

/// Names the hops that are missing from the way of a request. Returns nothing if all are there.
pub(super) fn missing_hops(error: &ChainError) -> String {
    let names: Vec<_> = error.switched_off.iter().map(|name| format!("`{name}`")).collect();
    let (subject, verb, them) = match &*names {
        [] => return String::new(),
        [one] => (format!("Hop {one}"), "is", "it"),
        several => (format!("The hops {}", several.join(", ")), "are", "them"),
    };
    let effect = match error.stage.hop.is_none() {
        true => "so the request went to the target without",
        false => "and left out",
    };
    let effect = if error.stage.hop.is_none() { format!("{effect} {them}") } else { effect.into() };
    let commands: Vec<_> =
        error.switched_off.iter().map(|name| format!("{SWITCH}{name}{SWITCH_ON}")).collect();
    let (commands, switch) = match commands.len() {
        1 => (commands.concat(), "switches it on"),
        _ => (commands.join(" and "), "switch them on"),
    };
    format!(
        " {subject} of this chain {verb} switched off, {effect}: `mooltiroute status` says by what, and {commands} {switch}."
    )
}

/// Returns `text` with this address of the proxy in place of the example, and in the commands that switch hops on.
pub(crate) fn with_addresses(text: &str, address: Option<(SocketAddr, bool)>) -> Cow<'_, str> {
    let text = with_address(text, address);
    match address {
        Some((address, _)) => with_address_of_switch(&text, address).into(),
        None => text,
    }
}

/// Returns `text` with this address of the proxy in place of the example, and whether clients speak TLS to it.
pub(crate) fn with_address(text: &str, address: Option<(SocketAddr, bool)>) -> Cow<'_, str> {
    let Some((address, is_tls)) = address.filter(|_| text.contains(EXAMPLE_ADDRESS)) else {
        return text.into();
    };
    let mut text = text.replace(EXAMPLE_ADDRESS, &address.to_string());
    if is_tls {
        text = text.replace("`http://", "`https://");
        text = text.replace(&format!(" http://{address}"), &format!(" https://{address}"));
    }
    text.into()
}

/// Names the proxy at `address` in advice to switch a hop, since the command may not find its configuration.
fn with_address_of_switch(text: &str, address: SocketAddr) -> String {
    // The name of a hop has no spaces, so the first ` on` after the beginning of a command belongs to that command.
    let mut parts = text.split(SWITCH);
    let mut addressed = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        addressed.push_str(SWITCH);
        addressed.push_str(&part.replacen(SWITCH_ON, &format!(" on --address {address}`"), 1));
    }
    addressed
}

/// The beginning of the command that switches a hop on.
const SWITCH: &str = "`mooltiroute hop ";
/// The end of that command, after the name of the hop.
const SWITCH_ON: &str = " on`";

pub(super) fn over_budget(budget: &OverBudget) -> String {
    let OverBudget { hop, bytes, per, left } = budget;
    let left = duration::in_words(*left);
    let bytes = in_units(*bytes);
    format!(
        "Hop `{hop}` has carried the {bytes} that its budget allows for one {per}. The next {per} begins in {left}. \
         To go on now, raise `hops.{hop}.budget.bytes`, or name another chain in `then`; `mooltiroute usage` shows what \
         the bytes were used for."
    )
}

/// Returns a size as an operator writes it: in the largest unit that divides it.
fn in_units(bytes: u64) -> String {
    let units = [(30, "GiB"), (20, "MiB"), (10, "KiB")];
    let fits = |(shift, _): &&(u32, &str)| bytes > 0 && bytes.is_multiple_of(1 << shift);
    match units.iter().find(fits) {
        Some((shift, unit)) => format!("{} {unit}", bytes >> shift),
        None => format!("{bytes} bytes"),
    }
}

/// Returns the field line that asks clients to wait.
pub(super) fn retry_after(wait: Duration) -> String {
    format!("Retry-After: {}\r\n", wait.as_secs())
}

pub(super) fn over_limit(limit: usize) -> String {
    format!(
        "This proxy has its {limit} connections in use. Close some, or raise `limits.connections` in its configuration."
    )
}

pub(super) fn looped(target: &Authority) -> String {
    format!(
        "The request for `{target}` loops: its `Via` field says that it has been here before. {LOOP_THROUGH_HOPS}"
    )
}

pub(super) fn seems_to_loop(count: usize, target: &Authority) -> String {
    format!(
        "The request for `{target}` seems to loop: {count} equal requests came one after the other, and none has been \
         answered. {LOOP_THROUGH_HOPS}"
    )
}

pub(super) fn unanswered(count: usize, target: &Authority) -> String {
    format!(
        "{count} equal requests for `{target}` are waiting for the hops, and none has been answered. Check that the hops \
         answer and that none of them leads back to this proxy, or raise `limits.connections`: equal requests may \
         take a tenth of it."
    )
}

pub(super) fn unsettled(target: &Authority) -> String {
    format!(
        "The network has changed, and a hop on the way to `{target}` has to be switched on or off for it. That did not \
         work, and Mooltiroute never sends a request round a hop. `mooltiroute status` says why."
    )
}

pub(super) fn no_route(target: &Authority) -> String {
    format!(
        "No route of the configuration matches `{target}`, and Mooltiroute never falls back to a direct connection. \
         Add a route, such as `- {{ chain: default }}` as the last one."
    )
}

/// Returns the paragraph about a chain that did not reach the target: what failed, why, and the advice.
pub(super) fn failed(error: &ChainError, details: &str, advice: &str) -> String {
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
    let mut text = format!("Mooltiroute: {others}{failed}: {details}. {advice}");
    text.push_str(&missing_hops(error));
    let _ = write!(text, " (chain `{}`)", error.chain);
    text
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
            "Mooltiroute: {noun}`{next_hop}` took the request and did not answer in time: {details}. {advice}"
        ),
        _ => format!(
            "Mooltiroute: the answer of {noun}`{next_hop}` can't be passed on: {details}. {advice}"
        ),
    }
}

/// Advice about an answer that can't be passed on. It came from the hop of `stage`, or from the origin if there is none.
pub(super) fn on_bad_response(stage: Option<&Stage>, error: ProxyError) -> Cow<'static, str> {
    match (error, stage) {
        (ProxyError::HttpResponseTimeout, Some(stage)) => format!(
            "The hop, or the server behind it, is slow or hangs. Check both; if they need longer, raise `timeouts.response`{}.",
            hop_advice::needs_file(stage)
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
pub(super) fn near_target(error: &ChainError) -> Option<String> {
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
        ProxyError::ConnectionWriteTimeout => "takes nothing of the request",
        ProxyError::HttpResponseHeaderSectionSize => "answer head too large",
        ProxyError::HttpResponseTransferCoding => "unknown transfer coding",
        ProxyError::HttpUpgradeFailed => "upgrade failed",
        _ => "invalid answer",
    }
}

/// Returns which ports a hop refused and which it may allow.
pub(super) fn refused_port(ChainError { stage, refused, .. }: &ChainError) -> String {
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
            "{text}; ask its administrator to allow this host. If it refuses every host, its port may be that of a web \
             server."
        );
    }
    format!(
        "{text}; it may allow 443, as many do. Ask its administrator to allow this host and port."
    )
}

/// Advice about a certificate of `owner` whose time has not come, or is over.
pub(super) fn expired_certificate(owner: &str) -> String {
    let now = rfc_3339(SystemTime::now());
    format!(
        "The administrator of {owner} must renew it. If the date seems right, check the clock of this machine: it says {now}."
    )
}

/// Advice about a pool whose members all asked to be left alone for a while.
pub(super) const ASKED_TO_WAIT: &str = "Mooltiroute asks no member before its time is over, since that would only make the wait longer. Send fewer requests, or \
                                        send them more slowly, or add members.";

/// Advice about a hop that wants fewer connections, or fewer requests in a given time (429, RFC 6585 §4).
pub(super) fn busy(refusal: &Refusal) -> String {
    let wait = refusal.retry_after.map_or_else(String::new, |wait| {
        format!(" It says that {} have to pass first.", duration::in_words(wait))
    });
    match refusal.http.as_ref().map(|http| http.status) {
        Some(429) => format!(
            "It limits how many requests it takes at once, or in a given time: send fewer, or more slowly.{wait}"
        ),
        _ => format!("It asks for fewer connections at once.{wait}"),
    }
}

/// Makes `advice` follow the words of the hop itself, which may tell what to do.
pub(super) fn after_own_words(refusal: &Refusal, advice: &str) -> String {
    match refusal.page {
        Some(_) => format!("If its words don't tell what to do: {}", lower_first(advice)),
        None => advice.to_owned(),
    }
}

/// Advice about a hop that refused a request with the login for which it had asked.
pub(super) fn refused_after_login(stage: &Stage) -> String {
    let hop = stage.hop_name().unwrap_or_default();
    let stop = &stage.stop;
    format!(
        "It refused the request after the login. The account may be locked, or not allowed to use `{hop}`; or `{hop}` does \
         not allow CONNECT to port {} of `{}`. Ask its administrator.",
        stop.port(),
        stop.host()
    )
}

/// Advice about a hop that refused a request with credentials for which it had not asked.
pub(super) fn refused_with_credentials(stage: &Stage) -> String {
    let hop = stage.hop_name().unwrap_or_default();
    let stop = &stage.stop;
    format!(
        "It may not allow CONNECT to port {} of `{}`: many proxies allow 443 only. Or the account may be locked, or not \
         allowed to use `{hop}`: nothing says that it has looked at the credentials. Ask its administrator.",
        stop.port(),
        stop.host()
    )
}

/// Says how long credentials are held back, and what ends that.
pub(super) fn held_back(wait: Duration, is_of_url: bool) -> String {
    let later = if wait > SHORT_HOLD { "" } else { AFTER_ANOTHER };
    let end = match is_of_url {
        true => "A start with another URL ends the wait at once.",
        false => {
            "An edit of the hop or `mooltiroute reload` ends the wait at once; if they come from variables, a restart does."
        }
    };
    format!(
        "To keep the account from being locked, Mooltiroute sends these credentials again in {} at the earliest{later}. {end}",
        duration::in_words(duration::whole_seconds(wait))
    )
}

/// Says how long a ticket that was refused is held back, and what ends that.
pub(super) fn ticket_held_back(wait: Duration, is_of_url: bool) -> String {
    let end = match is_of_url {
        true => "Another ticket or a restart",
        false => "Another ticket, an edit of the hop or `mooltiroute reload`",
    };
    format!(
        "Mooltiroute sends this ticket again in {} at the earliest. {end} ends the wait at once.",
        duration::in_words(duration::whole_seconds(wait))
    )
}

/// Says the same to the user of `probe`, which sends the ticket each time.
pub(super) const PROBE_SENDS_THE_TICKET: &str =
    "Each probe sends the ticket again, which locks no account.";
/// Says the same to the user of `probe`, which has no memory of its own.
pub(super) const PROBE_IS_A_LOGON: &str = "Each probe is one logon, and does not wait as the running proxy does: correct the credentials before the \
     next one, so that the account is not locked.";
/// The longest wait that may be followed by a longer one.
const SHORT_HOLD: Duration = Duration::from_secs(300);
const AFTER_ANOTHER: &str = ", and waits longer after another rejection, up to 35 min";

pub(super) fn slow_to_connect(stage: &Stage) -> String {
    format!("{} Or raise `timeouts.connect`{}.", is_it_up(stage), hop_advice::needs_file(stage))
}

pub(super) fn is_it_up(stage: &Stage) -> Cow<'static, str> {
    match address_setting(stage) {
        // The address of a hop is in the configuration, so the advice names its key.
        Some(address) => format!(
            "Check that it is up, that {address} is right, and that this machine may reach it."
        )
        .into(),
        None => TARGET_UP.into(),
    }
}

pub(super) fn look_up(stage: &Stage) -> Cow<'static, str> {
    match address_setting(stage) {
        Some(address) => {
            format!("Check {address}, and that this machine's DNS knows the name.").into()
        }
        None => TARGET_NAME.into(),
    }
}
