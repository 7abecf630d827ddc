//! The words of replies: each text says what to do about one kind of failure.

use std::{borrow::Cow, fmt::Write as _, time::Duration};

use mooltiroute_hops::{Authority, HttpRefusal, InvalidPreferences, Refusal};

use crate::{
    proxy_error::ProxyError,
    upstream::chain::{ChainError, Stage, Step},
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

// Refusals of this proxy.
pub(super) const NO_SESSION: &str = "Each client chooses its own exit here, and this request names no session. Give this \
                                     proxy a username, as in `http://session-NAME@localhost:8888`; the password does \
                                     not matter.";
pub(super) const NO_SESSION_BESIDE_AUTH: &str = "Each client chooses its own exit here, and this request names no session. Append it to the username of \
     `server.auth`, as in `http://USER+session-NAME:PASSWORD@localhost:8888`.";
pub(super) const UNAUTHORIZED: &str = "This proxy asks for a username and a password of its own: those of \
                                       `server.auth` in its configuration, as in \
                                       `http://USER:PASSWORD@localhost:8888`.";
pub(super) const ONLY_READING: &str = "This can only be read: ask with GET or HEAD.";
pub(super) const OTHER_USERNAME: &str =
    "Give this proxy another username, as in `http://session-NAME@localhost:8888`.";
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
pub(super) const SILENT_HOP: &str = "It accepted the connection and says nothing. Try again; if it persists, check \
                                     whether the hop is overloaded, or raise `timeouts.handshake`.";

// Failures of a hop.
pub(super) const HUNG_UP: &str = "It hung up instead of answering. If it never answers, check whether this port speaks TLS (`tls: true`) or not \
     (`tls: false`), and look at its log.";
pub(super) const SPEAKS_TLS: &str = "This port seems to speak TLS: set `tls: true` for this hop.";
pub(super) const SPEAKS_NO_TLS: &str =
    "This port does not seem to speak TLS: set `tls: false` for this hop.";
pub(super) const SPEAKS_HTTP: &str =
    "This port seems to be an HTTP proxy: write `kind: http-connect` for this hop.";
pub(super) const SPEAKS_SOCKS5: &str =
    "This port seems to be a SOCKS5 proxy: write `kind: socks5` for this hop.";
pub(super) const KEEPS_CLOSING: &str =
    "It closes the connection after each step of its authentication. Look at its log.";
pub(super) const NOT_A_PROXY: &str =
    "Check that `address` is that of an HTTP proxy, and whether it wants TLS (`tls: true`).";
pub(super) const LARGE_HEAD: &str =
    "No sane proxy sends that much. Check that `address` is that of an HTTP proxy.";
pub(super) const HOP_CERTIFICATE: &str = "If it belongs to your company, give the authority that signed it as `tls: { \
                                          ca: FILE }`, or the name it was made for as `server_name`.";
pub(super) const HOP_TLS: &str = "Check whether it speaks TLS at all: `tls: false` if not.";
pub(super) const CHECK_SETTINGS: &str = "Check the settings of this hop.";

// Failures of TLS with the target.
pub(super) const TARGET_CERTIFICATE: &str = "Either the target has such a certificate, or a proxy on the way opens \
                                             TLS: then clients must trust the authority of that one.";
pub(super) const TARGET_TLS: &str = "Check that it speaks TLS at this port; if it does, something on the way does \
                                     not let TLS pass.";

// Refusals of a hop.
pub(super) const QUOTA: &str = "Look at this hop's account and credentials.";
pub(super) const BUSY: &str = "It asks for fewer connections at once.";
pub(super) const UNKNOWN_NAME: &str = "It can't look up the name.";
pub(super) const HOP_FAULT: &str = "It has a fault of its own; try again later.";
pub(super) const FORBIDDEN: &str = "It lets nobody go there; route this host another way.";
pub(super) const NOT_REACHED: &str =
    "It could not reach the next stop. Try again; if it stays so, look at its log.";
pub(super) const TARGET_REFUSED: &str =
    "It reached the next stop, which refused the connection. Check that something listens there.";
pub(super) const UNSUPPORTED: &str =
    "It can't do what it was asked. Route this host through another hop.";
pub(super) const UNCLEAR: &str = "Check that this hop is an HTTP proxy that allows CONNECT.";
const WRONG_CREDENTIALS: &str = "It wants credentials, or other ones than it got. Set or correct this hop's \
                                 `username` and `password`; the client needs none.";
const TARGET_UP: &str =
    "Check that the target is up, and that this machine may reach it without a proxy.";
const TARGET_NAME: &str =
    "Check the name; if only a proxy can look it up, route it through a chain that has one.";

pub(super) fn invalid_preferences(invalid: InvalidPreferences) -> String {
    format!("The username that was given to this proxy is not understood: {invalid}.")
}

pub(super) fn no_preferences(chain: &str) -> String {
    format!(
        "Clients have no say in their session or country here: no hop of chain `{chain}` has `sessions: by-client`."
    )
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
    let is_aside = matches!(subject.step, Step::Choose | Step::Extend);
    let comma = if is_aside { "," } else { "" };
    let mut text = format!("Mooltiroute: {subject}{comma} failed: {details}. {advice}");
    let _ = write!(text, " (chain `{}`)", error.chain);
    text
}

pub(super) fn bad_response(next_hop: &str, details: &str) -> String {
    format!(
        "Mooltiroute: the answer of `{next_hop}` can't be passed on: {details}. The fault is with the server or a hop \
         on the way to it; nothing was changed by the proxy."
    )
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

/// Returns whether the hop asks for credentials only by schemes that this program does not speak.
pub(super) fn needs_another_scheme(http: &HttpRefusal) -> bool {
    http.status == 407 && !http.schemes.is_empty() && !http.offers("Basic")
}

pub(super) fn credentials(refusal: &Refusal) -> Cow<'static, str> {
    match &refusal.http {
        Some(http) if needs_another_scheme(http) => format!(
            "It offers only {}, and this hop may only use Basic. For NTLM or Digest, list it in this hop's `auth`. \
             Otherwise ask its administrator for Basic.",
            http.schemes.join(", ")
        )
        .into(),
        _ => WRONG_CREDENTIALS.into(),
    }
}

/// Returns which ports a hop refused and which it may allow.
pub(super) fn refused_port(ChainError { stage, refused, .. }: &ChainError) -> String {
    let hop = stage.hop_name().unwrap_or_default();
    let host = stage.stop.host();
    let stops = if refused.is_empty() { std::slice::from_ref(&stage.stop) } else { refused };
    let ports: Vec<_> = stops.iter().map(|stop| stop.port().to_string()).collect();
    let plural = if ports.len() > 1 { "s" } else { "" };
    let ports = ports.join(", ");
    let text = format!("`{hop}` refuses CONNECT to port{plural} {ports} of `{host}`");
    if stops.iter().any(|stop| stop.port() == 443) {
        return format!("{text}; ask its administrator to allow this host.");
    }
    format!(
        "{text}; it may allow 443, as many do. Ask its administrator to allow this host and port."
    )
}

pub(super) fn slow_to_connect(stage: &Stage) -> String {
    format!("{} Or raise `timeouts.connect`.", is_it_up(stage))
}

pub(super) fn is_it_up(stage: &Stage) -> Cow<'static, str> {
    match address_setting(stage) {
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

/// Returns the key that has the hop's address. A member's may be below the pool, or below a name of its own.
fn address_setting(stage: &Stage) -> Option<String> {
    let hop = stage.hop_name()?;
    Some(match stage.member {
        Some(_) => format!("the address of `hops.{hop}`"),
        None => format!("`hops.{hop}.address`"),
    })
}
