//! What clients are told when it is not the target that answers: the one place where an error becomes a status, a
//! `Proxy-Status` field (RFC 9209) and a paragraph for a person.

use std::{borrow::Cow, fmt::Write as _, io, sync::Arc};

use mooltiroute_hops::{Authority, HopError, InvalidPreferences, Meaning, Party, Refusal};

pub(crate) use crate::error::with_causes;
use crate::{
    system::open_files,
    upstream::{
        chain::{Cause, ChainError, Stage, Step},
        dial::DialError,
    },
};

/// An answer of the proxy's own. The connection is closed after it.
#[derive(Debug)]
pub struct Reply {
    status: Status,
    error: &'static str,
    next_hop: Option<String>,
    received_status: Option<u16>,
    details: String,
    text: String,
    field: Option<Cow<'static, str>>,
    fault: Option<Fault>,
}

/// Who is to blame where it is neither the client nor this proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The hop; `None`: the target.
    pub hop: Option<Arc<str>>,
    /// At which step: the name of a [`Step`], or `response`.
    pub stage: &'static str,
}

/// A status code and its reason phrase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Status(u16, &'static str);

impl Reply {
    /// What the client sent is not to be answered otherwise: `status` says of what kind the fault is.
    pub fn refused(status: u16, why: &str) -> Self {
        let status = Status::client_error(status);
        Self::of_ours(status, "http_request_error", why.to_owned())
    }

    /// The client did not send what `server.auth` asks for (RFC 9110 §15.5.8).
    pub fn unauthorized() -> Self {
        let text = "This proxy asks for a username and a password of its own: those of `server.auth` in its \
                    configuration, as in `http://USER:PASSWORD@localhost:8888`.";
        let status = Status(407, "Proxy Authentication Required");
        Self {
            field: Some(
                "Proxy-Authenticate: Basic realm=\"mooltiroute\", charset=\"UTF-8\"\r\n".into(),
            ),
            ..Self::of_ours(status, "http_request_denied", text.to_owned())
        }
    }

    /// The client's username tells no preferences, where a hop of `chain` would take them.
    pub fn invalid_preferences(invalid: InvalidPreferences) -> Self {
        Self::refused(
            400,
            &format!("The username that was given to this proxy is not understood: {invalid}."),
        )
    }

    /// Somebody prefers an exit where clients have no say.
    pub fn no_preferences(chain: &str) -> Self {
        Self::refused(
            400,
            &format!(
                "Clients have no say in their session or country here: no hop of chain `{chain}` has `sessions: \
                 by-client`."
            ),
        )
    }

    /// Only reading is allowed where the request went (RFC 9110 §15.5.6).
    pub fn only_reading() -> Self {
        let text = "This can only be read: ask with GET or HEAD.";
        let field = Some("Allow: GET, HEAD\r\n".into());
        Self { field, ..Self::refused(405, text) }
    }

    /// There are as many connections as `limits.connections` allows.
    pub fn over_limit(limit: usize) -> Self {
        let text = format!(
            "This proxy has its {limit} connections in use. Close some, or raise `limits.connections` in its \
             configuration."
        );
        let status = Status(503, "Service Unavailable");
        Self {
            field: Some("Retry-After: 1\r\n".into()),
            ..Self::of_ours(status, "connection_limit_reached", text)
        }
    }

    /// No route says where the target goes.
    pub fn no_route(target: &Authority) -> Self {
        let text = format!(
            "No route of the configuration matches `{target}`, and nothing goes another way than what is written. \
             Add a route, such as `- {{ chain: default }}` as the last one."
        );
        Self::of_ours(Status(502, "Bad Gateway"), "proxy_configuration_error", text)
    }

    /// The chain did not reach the target.
    pub fn unreachable(error: &ChainError) -> Self {
        let verdict = verdict(error);
        let details = with_causes(&error.cause);
        let subject = &error.stage;
        // What a hop was told or asked for is an aside, which ends where the sentence goes on.
        let is_aside = matches!(subject.step, Step::Choose | Step::Extend);
        let comma = if is_aside { "," } else { "" };
        let mut text = format!("Mooltiroute: {subject}{comma} failed: {details}.");
        if let Some(advice) = verdict.advice {
            text.push(' ');
            text.push_str(&advice);
        }
        let _ = write!(text, " (chain `{}`)", error.chain);
        Self {
            status: verdict.status,
            error: verdict.error,
            next_hop: Some(error.stage.hop_name().unwrap_or_else(|| error.stage.stop.to_string())),
            received_status: verdict.received_status,
            details,
            text,
            field: verdict.field,
            fault: Some(Fault { hop: error.stage.hop.clone(), stage: error.stage.step.name() }),
        }
    }

    /// What the upstream sent in answer to a plain request can't be passed on. `hop`: that one sent it, and not the
    /// origin.
    pub fn bad_response(
        next_hop: &str,
        hop: Option<&Arc<str>>,
        error: &'static str,
        details: &str,
    ) -> Self {
        let status = if error.ends_with("timeout") {
            Status(504, "Gateway Timeout")
        } else {
            Status(502, "Bad Gateway")
        };
        let text = format!(
            "Mooltiroute: the answer of `{next_hop}` can't be passed on: {details}. The fault is with the server or \
             a hop on the way to it; nothing was changed by the proxy."
        );
        Self {
            status,
            error,
            next_hop: Some(next_hop.to_owned()),
            received_status: None,
            details: details.to_owned(),
            text,
            field: None,
            fault: Some(Fault { hop: hop.cloned(), stage: "response" }),
        }
    }

    /// The status code.
    pub fn status(&self) -> u16 {
        self.status.0
    }

    /// The paragraph for a person.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The error type of RFC 9209 §2.3 that the client is told.
    pub fn error(&self) -> &'static str {
        self.error
    }

    /// Who is to blame, where it is neither the client nor this proxy.
    pub fn fault(&self) -> Option<&Fault> {
        self.fault.as_ref()
    }

    /// The whole message; after a HEAD request, its head alone.
    pub fn message(&self, is_head: bool) -> Vec<u8> {
        let Status(code, reason) = self.status;
        let mut message = format!(
            "HTTP/1.1 {code} {reason}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\n\
             Connection: close\r\nProxy-Status: {}\r\n{}\r\n",
            self.text.len() + 1,
            self.proxy_status(),
            self.field.as_deref().unwrap_or_default(),
        );
        if !is_head {
            message.push_str(&self.text);
            message.push('\n');
        }
        message.into_bytes()
    }

    fn of_ours(status: Status, error: &'static str, text: String) -> Self {
        Self {
            status,
            error,
            next_hop: None,
            received_status: None,
            details: String::new(),
            text,
            field: None,
            fault: None,
        }
    }

    fn proxy_status(&self) -> String {
        let mut field = format!("mooltiroute; error={}", self.error);
        if let Some(next_hop) = &self.next_hop {
            let _ = write!(field, "; next-hop={}", quoted(next_hop));
        }
        if let Some(status) = self.received_status {
            let _ = write!(field, "; received-status={status}");
        }
        if !self.details.is_empty() {
            let _ = write!(field, "; details={}", quoted(&self.details));
        }
        field
    }
}

impl Status {
    fn client_error(code: u16) -> Self {
        Self(
            code,
            match code {
                403 => "Forbidden",
                404 => "Not Found",
                405 => "Method Not Allowed",
                408 => "Request Timeout",
                414 => "URI Too Long",
                431 => "Request Header Fields Too Large",
                501 => "Not Implemented",
                505 => "HTTP Version Not Supported",
                _ => return Self(400, "Bad Request"),
            },
        )
    }
}

/// What an error means to a client.
struct Verdict {
    status: Status,
    error: &'static str,
    received_status: Option<u16>,
    advice: Option<String>,
    field: Option<Cow<'static, str>>,
}

impl Verdict {
    fn bad_gateway(error: &'static str, advice: impl Into<String>) -> Self {
        let advice = Some(advice.into());
        Self {
            status: Status(502, "Bad Gateway"),
            error,
            received_status: None,
            advice,
            field: None,
        }
    }

    fn timeout(error: &'static str, advice: impl Into<String>) -> Self {
        Self { status: Status(504, "Gateway Timeout"), ..Self::bad_gateway(error, advice) }
    }
}

fn verdict(error: &ChainError) -> Verdict {
    let ChainError { stage, cause, .. } = error;
    match cause {
        Cause::Preferences(_) => Verdict {
            status: Status(400, "Bad Request"),
            ..Verdict::bad_gateway(
                "http_request_error",
                "Give this proxy another username, as in `http://session-NAME@localhost:8888`.",
            )
        },
        Cause::Timeout(_) if stage.hop.is_none() && stage.step == Step::Enter => Verdict::timeout(
            "connection_timeout",
            "It took the connection and says nothing. Check that it speaks TLS at this port, or raise `timeouts.connect`.",
        ),
        Cause::Timeout(_) if stage.step == Step::Extend => Verdict::timeout(
            "http_response_timeout",
            "It took the connection and says nothing. Try again; if it stays so, look whether it is overloaded, or \
             raise `timeouts.handshake`.",
        ),
        Cause::Timeout(_) => Verdict::timeout(
            "connection_timeout",
            format!("{} Or raise `timeouts.connect`.", is_it_up(stage)),
        ),
        Cause::Dial(DialError::Loop) => Verdict {
            status: Status(508, "Loop Detected"),
            ..Verdict::bad_gateway(
                "proxy_loop_detected",
                "The request would come back to this proxy for ever. Take the proxy's own address out of the hops, \
                 or ask for another target.",
            )
        },
        Cause::Dial(DialError::Lookup(source) | DialError::Connect(source))
            if open_files::are_exhausted(source) =>
        {
            no_descriptors()
        }
        Cause::Dial(DialError::Lookup(_) | DialError::NoAddress) => {
            Verdict::bad_gateway("dns_error", look_up(stage))
        }
        Cause::Dial(DialError::Connect(source)) => dialled(stage, source),
        Cause::Hop(HopError::Refused(refusal)) => refused(error, refusal),
        Cause::Hop(error) if stage.hop.is_none() => target_failed(error),
        Cause::Hop(error) => hop_failed(error),
    }
}

/// This process has no descriptor for the upstream connection; the target and the hops are not to blame.
fn no_descriptors() -> Verdict {
    Verdict {
        status: Status(503, "Service Unavailable"),
        field: Some("Retry-After: 1\r\n".into()),
        ..Verdict::bad_gateway(
            "connection_limit_reached",
            "This process may open no more files at the moment. Raise its limit (`ulimit -n`).",
        )
    }
}

fn dialled(stage: &Stage, source: &io::Error) -> Verdict {
    match source.kind() {
        io::ErrorKind::TimedOut => Verdict::timeout("connection_timeout", is_it_up(stage)),
        io::ErrorKind::ConnectionRefused => {
            Verdict::bad_gateway("connection_refused", is_it_up(stage))
        }
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => Verdict::bad_gateway(
            "destination_ip_unroutable",
            "This machine has no way there: is the network up?",
        ),
        _ => Verdict::bad_gateway("destination_unavailable", is_it_up(stage)),
    }
}

fn hop_failed(error: &HopError) -> Verdict {
    match error {
        HopError::Io(_) | HopError::Closed => Verdict::bad_gateway(
            "connection_terminated",
            "It hung up instead of answering. Try again; if it stays so, look at its log.",
        ),
        HopError::Again(_) => Verdict::bad_gateway(
            "connection_terminated",
            "It closes the connection after each step of its authentication. Look at its log.",
        ),
        HopError::Malformed(_) => Verdict::bad_gateway(
            "http_protocol_error",
            "Check that `address` is that of an HTTP proxy, and whether it wants TLS (`tls: true`).",
        ),
        HopError::HeadTooLarge { .. } => Verdict::bad_gateway(
            "http_response_header_section_size",
            "No sane proxy sends that much. Check that `address` is that of an HTTP proxy.",
        ),
        HopError::Certificate(_) => Verdict::bad_gateway(
            "tls_certificate_error",
            "If it belongs to your company, give the authority that signed it as `tls: { ca: FILE }`, or the name \
             it was made for as `server_name`.",
        ),
        HopError::Tls(_) => Verdict::bad_gateway(
            "tls_protocol_error",
            "Check whether it speaks TLS at all: `tls: false` if not.",
        ),
        _ => Verdict::bad_gateway("http_protocol_error", "Check the settings of this hop."),
    }
}

/// The target failed where TLS was made with it.
fn target_failed(error: &HopError) -> Verdict {
    match error {
        HopError::Certificate(_) => Verdict::bad_gateway(
            "tls_certificate_error",
            "Either the target has such a certificate, or a proxy on the way opens TLS: then clients must trust the \
             authority of that one.",
        ),
        _ => Verdict::bad_gateway(
            "tls_protocol_error",
            "Check that it speaks TLS at this port; if it does, something on the way does not let TLS pass.",
        ),
    }
}

fn refused(chain: &ChainError, refusal: &Refusal) -> Verdict {
    let (error, advice) = match refusal.meaning {
        Meaning::Credentials => ("proxy_configuration_error", credentials(refusal)),
        Meaning::Quota => {
            ("proxy_configuration_error", "Look at this hop's account and credentials.".to_owned())
        }
        Meaning::Forbidden => ("http_request_denied", FORBIDDEN.to_owned()),
        Meaning::Policy => ("http_protocol_error", refused_port(chain)),
        Meaning::Busy => {
            ("connection_limit_reached", "It asks for fewer connections at once.".to_owned())
        }
        Meaning::UnknownName => ("dns_error", "It can't look up the name.".to_owned()),
        Meaning::Fault => {
            ("proxy_internal_error", "It has a fault of its own; try again later.".to_owned())
        }
        Meaning::TargetRefused => ("connection_refused", TARGET_REFUSED.to_owned()),
        Meaning::NetworkUnreachable => ("destination_ip_unroutable", NOT_REACHED.to_owned()),
        Meaning::Unreachable | Meaning::Timeout => {
            ("destination_unavailable", NOT_REACHED.to_owned())
        }
        Meaning::Unsupported => ("http_protocol_error", UNSUPPORTED.to_owned()),
        _ if is_server_error(refusal) => ("destination_unavailable", NOT_REACHED.to_owned()),
        _ => ("http_protocol_error", UNCLEAR.to_owned()),
    };
    let advice = refusal.advice.clone().unwrap_or(advice);
    let mut verdict = Verdict::bad_gateway(error, advice);
    verdict.received_status = refusal.http.as_ref().map(|http| http.status);
    match refusal.meaning {
        Meaning::Busy => {
            verdict.status = Status(503, "Service Unavailable");
            verdict.field = Some("Retry-After: 5\r\n".into());
        }
        Meaning::Forbidden => verdict.status = Status(403, "Forbidden"),
        Meaning::Timeout => verdict.status = Status(504, "Gateway Timeout"),
        _ => {}
    }
    if let Some(wait) = refusal.retry_after {
        verdict.field = Some(format!("Retry-After: {}\r\n", wait.as_secs()).into());
    }
    verdict
}

/// Whether the hop answered with a server error, or did not reach the next stop for a reason that it does not give.
fn is_server_error(refusal: &Refusal) -> bool {
    match &refusal.http {
        Some(http) => http.status >= 500,
        None => refusal.about == Party::Next,
    }
}

fn credentials(refusal: &Refusal) -> String {
    match &refusal.http {
        Some(http) if http.status == 407 && !http.schemes.is_empty() && !http.offers("Basic") => {
            format!(
                "It offers only {}, and this hop can only do Basic. If that is NTLM or Digest, list it in this hop's `auth`; \
                 or ask its administrator for Basic.",
                http.schemes.join(", ")
            )
        }
        _ => WRONG_CREDENTIALS.to_owned(),
    }
}

const WRONG_CREDENTIALS: &str = "It wants credentials, or other ones than it got. Set or correct this hop's \
                                 `username` and `password`; the client needs none.";
const FORBIDDEN: &str = "It lets nobody go there; route this host another way.";
const NOT_REACHED: &str =
    "It could not reach the next stop. Try again; if it stays so, look at its log.";
const TARGET_REFUSED: &str =
    "It reached the next stop, which refused the connection. Check that something listens there.";
const UNSUPPORTED: &str = "It can't do what it was asked. Route this host through another hop.";
const UNCLEAR: &str = "Check that this hop is an HTTP proxy that allows CONNECT.";

/// What a proxy does not allow, and might.
fn refused_port(ChainError { stage, refused, .. }: &ChainError) -> String {
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

fn is_it_up(stage: &Stage) -> String {
    match address_setting(stage) {
        Some(address) => format!(
            "Check that it is up, that {address} is right, and that this machine may reach it."
        ),
        None => "Check that the target is up, and that this machine may reach it without a proxy."
            .to_owned(),
    }
}

/// Where the hop's address is written. That of a member may be below the pool, or below a name of its own.
fn address_setting(stage: &Stage) -> Option<String> {
    let hop = stage.hop_name()?;
    Some(match stage.member {
        Some(_) => format!("the address of `hops.{hop}`"),
        None => format!("`hops.{hop}.address`"),
    })
}

fn look_up(stage: &Stage) -> String {
    match address_setting(stage) {
        Some(address) => format!("Check {address}, and that this machine's DNS knows the name."),
        None => {
            "Check the name; if only a proxy can look it up, route it through a chain that has one."
                .to_owned()
        }
    }
}

/// A quoted string of RFC 9651 §3.3.3, which has printable ASCII only.
fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            ' '..='~' => quoted.push(character),
            _ => quoted.push('?'),
        }
    }
    quoted.push('"');
    quoted
}
