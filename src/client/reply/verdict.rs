//! The meaning of an error to a client: the status, the error type, the cause in a few words, and the advice.

use std::{borrow::Cow, io};

use mooltiroute_hops::{HopError, Meaning, MissingCredentials, NoChoice, Party, Refusal};

use super::texts;
use crate::{
    proxy_error::ProxyError,
    system::open_files,
    upstream::{
        chain::{Cause, ChainError, Stage, Step},
        dial::DialError,
    },
};

/// The meaning of an error to a client.
pub(super) struct Verdict {
    /// The status to answer with.
    pub(super) status: u16,
    /// The error type of the `Proxy-Status` field.
    pub(super) error: ProxyError,
    /// The status that the hop answered with.
    pub(super) received_status: Option<u16>,
    /// The cause in a few words. It may have characters that a status line may not.
    pub(super) summary: Cow<'static, str>,
    /// Sentences that say what to do.
    pub(super) advice: Cow<'static, str>,
    /// A field line that belongs to the status.
    pub(super) field: Option<Cow<'static, str>>,
}

impl Verdict {
    fn new(
        error: ProxyError,
        summary: impl Into<Cow<'static, str>>,
        advice: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            status: error.status(),
            error,
            received_status: None,
            summary: summary.into(),
            advice: advice.into(),
            field: None,
        }
    }
}

impl From<&ChainError> for Verdict {
    fn from(error: &ChainError) -> Self {
        let stage = &error.stage;
        match &error.cause {
            Cause::Preferences(_) => {
                Self::new(ProxyError::HttpRequest, "username not understood", texts::OTHER_USERNAME)
            }
            Cause::Timeout(_) => timed_out(stage),
            Cause::Dial(error) => not_dialled(stage, error),
            Cause::Hop(HopError::Refused(refusal)) => refused(error, refusal),
            Cause::Hop(error) if stage.hop.is_none() => target_failed(error),
            Cause::Hop(error) => hop_failed(error),
        }
    }
}

fn timed_out(stage: &Stage) -> Verdict {
    match stage.step {
        Step::Enter if stage.hop.is_none() => {
            Verdict::new(ProxyError::ConnectionTimeout, "no answer to TLS", texts::SILENT_TARGET)
        }
        Step::Extend => {
            Verdict::new(ProxyError::HttpResponseTimeout, "no answer to CONNECT", texts::SILENT_HOP)
        }
        step => {
            let summary = if step == Step::Dial { "connect timed out" } else { "no answer" };
            Verdict::new(ProxyError::ConnectionTimeout, summary, texts::slow_to_connect(stage))
        }
    }
}

fn not_dialled(stage: &Stage, error: &DialError) -> Verdict {
    match error {
        DialError::Loop => {
            Verdict::new(ProxyError::ProxyLoopDetected, "this proxy itself", texts::LOOP)
        }
        DialError::Lookup(source) | DialError::Connect(source)
            if open_files::are_exhausted(source) =>
        {
            no_descriptors()
        }
        DialError::Lookup(_) => {
            Verdict::new(ProxyError::Dns, "name lookup failed", texts::look_up(stage))
        }
        DialError::NoAddress => {
            Verdict::new(ProxyError::Dns, "name has no address", texts::look_up(stage))
        }
        DialError::Connect(source) => not_connected(stage, source),
    }
}

/// Reports that this process has no descriptor for the upstream connection. Neither target nor hop is responsible.
fn no_descriptors() -> Verdict {
    Verdict {
        field: Some(texts::RETRY_IN_A_SECOND.into()),
        ..Verdict::new(
            ProxyError::ConnectionLimitReached,
            "too many open files here",
            texts::NO_DESCRIPTORS,
        )
    }
}

fn not_connected(stage: &Stage, source: &io::Error) -> Verdict {
    let (error, summary) = match source.kind() {
        io::ErrorKind::TimedOut => (ProxyError::ConnectionTimeout, "connect timed out"),
        io::ErrorKind::ConnectionRefused => (ProxyError::ConnectionRefused, "connection refused"),
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
            let error = ProxyError::DestinationIpUnroutable;
            return Verdict::new(error, "network unreachable", texts::NO_NETWORK);
        }
        _ => (ProxyError::DestinationUnavailable, "connect failed"),
    };
    Verdict::new(error, summary, texts::is_it_up(stage))
}

fn hop_failed(error: &HopError) -> Verdict {
    if let HopError::Other(why) = error {
        return Verdict::new(ProxyError::HttpProtocol, why.clone(), texts::CHECK_SETTINGS);
    }
    if let HopError::NoCredentials(missing) = error {
        return no_credentials(missing);
    }
    if let HopError::NoChoice(reason) = error {
        let NoChoice { summary, advice, .. } = &**reason;
        return Verdict::new(ProxyError::ProxyConfiguration, summary.clone(), advice.clone());
    }
    let (error, summary, advice) = match error {
        HopError::Io(_) => (ProxyError::ConnectionTerminated, "connection broke", texts::HUNG_UP),
        HopError::Closed => {
            (ProxyError::ConnectionTerminated, "closed the connection", texts::HUNG_UP)
        }
        HopError::Again(_) => {
            (ProxyError::ConnectionTerminated, "keeps closing the connection", texts::KEEPS_CLOSING)
        }
        HopError::Malformed(_) => {
            (ProxyError::HttpProtocol, "answer not understood", texts::NOT_A_PROXY)
        }
        HopError::HeadTooLarge { .. } => {
            (ProxyError::HttpResponseHeaderSectionSize, "answer head too large", texts::LARGE_HEAD)
        }
        HopError::Certificate(_) => {
            (ProxyError::TlsCertificate, "certificate not accepted", texts::HOP_CERTIFICATE)
        }
        HopError::Tls(_) => (ProxyError::TlsProtocol, "TLS failed", texts::HOP_TLS),
        _ => (ProxyError::HttpProtocol, "failed", texts::CHECK_SETTINGS),
    };
    Verdict::new(error, summary, advice)
}

fn no_credentials(missing: &MissingCredentials) -> Verdict {
    let (summary, advice) = (missing.summary.clone(), missing.advice.clone());
    let mut verdict = Verdict::new(ProxyError::ProxyConfiguration, summary, advice);
    if missing.is_timeout {
        verdict.status = ProxyError::ConnectionTimeout.status();
    }
    verdict.field = missing.retry_after.map(|wait| texts::retry_after(wait).into());
    verdict
}

/// Judges an error of TLS with the target itself.
fn target_failed(error: &HopError) -> Verdict {
    match error {
        HopError::Certificate(_) => Verdict::new(
            ProxyError::TlsCertificate,
            "certificate not accepted",
            texts::TARGET_CERTIFICATE,
        ),
        _ => Verdict::new(ProxyError::TlsProtocol, "TLS failed", texts::TARGET_TLS),
    }
}

fn refused(chain: &ChainError, refusal: &Refusal) -> Verdict {
    let is_loop = refusal.http.as_ref().is_some_and(|http| http.status == 508);
    let (error, advice) = match refusal.meaning {
        _ if is_loop => (ProxyError::ProxyLoopDetected, texts::LOOP_THROUGH_HOPS.into()),
        Meaning::Credentials => (ProxyError::ProxyConfiguration, texts::credentials(refusal)),
        Meaning::Quota => (ProxyError::ProxyConfiguration, texts::QUOTA.into()),
        Meaning::Forbidden => (ProxyError::HttpRequestDenied, texts::FORBIDDEN.into()),
        Meaning::Policy => (ProxyError::HttpProtocol, texts::refused_port(chain).into()),
        Meaning::Busy => (ProxyError::ConnectionLimitReached, texts::BUSY.into()),
        Meaning::UnknownName => (ProxyError::Dns, texts::UNKNOWN_NAME.into()),
        Meaning::Fault => (ProxyError::ProxyInternal, texts::HOP_FAULT.into()),
        Meaning::TargetRefused => (ProxyError::ConnectionRefused, texts::TARGET_REFUSED.into()),
        Meaning::NetworkUnreachable => {
            (ProxyError::DestinationIpUnroutable, texts::NOT_REACHED.into())
        }
        Meaning::Unreachable | Meaning::Timeout => {
            (ProxyError::DestinationUnavailable, texts::NOT_REACHED.into())
        }
        Meaning::Unsupported => (ProxyError::HttpProtocol, texts::UNSUPPORTED.into()),
        _ if is_server_error(refusal) => {
            (ProxyError::DestinationUnavailable, texts::NOT_REACHED.into())
        }
        _ => (ProxyError::HttpProtocol, texts::UNCLEAR.into()),
    };
    let advice = refusal.advice.clone().map_or(advice, Cow::Owned);
    let mut verdict = Verdict::new(error, refusal_summary(refusal), advice);
    verdict.received_status = refusal.http.as_ref().map(|http| http.status);
    if refusal.meaning == Meaning::Timeout {
        verdict.status = ProxyError::ConnectionTimeout.status();
    }
    if refusal.meaning == Meaning::Busy {
        verdict.field = Some(texts::RETRY_IN_FIVE_SECONDS.into());
    }
    if let Some(wait) = refusal.retry_after {
        verdict.field = Some(texts::retry_after(wait).into());
    }
    verdict
}

/// Returns the hop's words, or the schemes that it offers if this program speaks none of them.
fn refusal_summary(refusal: &Refusal) -> String {
    match &refusal.http {
        // A kind that gives advice knows more than the challenge says.
        Some(http) if refusal.advice.is_none() && texts::needs_another_scheme(http) => {
            format!("{}, offers {}", http.status, http.schemes.join(", "))
        }
        _ => match &refusal.detail {
            Some(detail) => format!("{}, {detail}", refusal.said),
            None => refusal.said.clone(),
        },
    }
}

/// Returns whether the hop answered with a server error, or did not reach the next stop and gives no reason.
fn is_server_error(refusal: &Refusal) -> bool {
    match &refusal.http {
        Some(http) => http.status >= 500,
        None => refusal.about == Party::Next,
    }
}
