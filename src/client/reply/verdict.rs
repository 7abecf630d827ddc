//! The meaning of an error to a client: the status, the error type, the cause in a few words, and the advice.

mod failed_hops;
mod refusals;

use std::{borrow::Cow, io, time::Duration};

use mooltiroute_hops::{AskedToWait, HopError, Meaning, tls::RejectionReason};

pub(super) use self::refusals::HELD_BACK;
use self::{
    failed_hops::hop_failed,
    refusals::{held_back, refused},
};
use super::{hop_advice, reply_text::ReplyText, texts};
use crate::{
    proxy_error::ProxyError,
    system::own_lack::OwnLack,
    upstream::{
        chain::{Cause, ChainError, Stage, Step},
        dial::DialError,
    },
};

/// The meaning of an error to a client.
pub(super) struct FailureVerdict {
    /// The status to answer with.
    pub(super) status: u16,
    /// The error type of the `Proxy-Status` field.
    pub(super) error: ProxyError,
    /// The status that the hop answered with.
    pub(super) received_status: Option<u16>,
    /// The cause in a few words. It may have characters that a status line may not.
    pub(super) summary: Cow<'static, str>,
    /// Sentences that say what to do.
    pub(super) advice: ReplyText,
    /// The sentences of the advice about credentials that are held back.
    pub(super) hold: Option<Hold>,
    /// A field line that belongs to the status.
    pub(super) field: Option<Cow<'static, str>>,
}

impl FailureVerdict {
    fn new(
        error: ProxyError,
        summary: impl Into<Cow<'static, str>>,
        advice: impl Into<ReplyText>,
    ) -> Self {
        Self {
            status: error.status(),
            error,
            received_status: None,
            summary: summary.into(),
            advice: advice.into(),
            hold: None,
            field: None,
        }
    }
}

impl FailureVerdict {
    /// Returns the sentences that say what to do, with those about credentials that are held back.
    pub(super) fn whole_advice(&self) -> ReplyText {
        let advice = self.advice.clone();
        match &self.hold {
            Some(hold) => advice.words(" ").hold(hold.clone()),
            None => advice,
        }
    }
}

/// Returns what an operator can do about a chain that failed with `error`, as the answer to a client says it.
pub(crate) fn advice(error: &ChainError) -> String {
    let stage = &error.stage;
    match &error.cause {
        Cause::Timeout(..) | Cause::ClientLeft(_) if stage.is_sent => {
            texts::on_bad_response(Some(stage), ProxyError::HttpResponseTimeout).into_owned()
        }
        Cause::Hop(HopError::Io(_) | HopError::Closed) if stage.is_sent => {
            hop_advice::cut_plain_request(stage)
        }
        _ => FailureVerdict::from(error).whole_advice().at(None),
    }
}

impl From<&ChainError> for FailureVerdict {
    fn from(error: &ChainError) -> Self {
        let verdict = Self::of(error);
        let advice = match (texts::note_on_near_target(error), &error.cause) {
            // A hop that answered knew the target. One that says nothing may have another fault, and its own advice says
            // so.
            (Some(note), Cause::Hop(HopError::Refused(_))) => {
                ReplyText::from(note).words(" ").text(verdict.advice)
            }
            (Some(note), _) => verdict.advice.words(" ").words(note),
            (None, _) => return verdict,
        };
        Self { advice, ..verdict }
    }
}

impl FailureVerdict {
    fn of(error: &ChainError) -> Self {
        let stage = &error.stage;
        if let Some(lack) = error.cause.own_lack() {
            return lacking(lack);
        }
        match &error.cause {
            Cause::Preferences(invalid) => Self::new(
                ProxyError::HttpRequest,
                texts::preferences_summary(*invalid),
                texts::other_preferences(*invalid),
            ),
            // The client that would read this has gone.
            Cause::Timeout(..) | Cause::ClientLeft(_) => timed_out(error),
            Cause::Dial(cause) => not_dialled(error, cause),
            Cause::Hop(HopError::Refused(refusal)) => refused(error, refusal),
            Cause::Hop(HopError::HeldBack(held)) => held_back(error, held),
            Cause::Hop(HopError::AskedToWait(asked)) => asked_to_wait(error, asked),
            // The one step without a hop that can fail like this: TLS with the target, at the end
            // of the tunnel.
            Cause::Hop(error) if stage.hop.is_none() => target_failed(error),
            Cause::Hop(error) => hop_failed(stage, error),
        }
    }
}

fn timed_out(chain: &ChainError) -> FailureVerdict {
    let stage = &chain.stage;
    // A stop that accepts a connection and then says nothing has another problem than one that
    // can't be reached, so each step has its own advice.
    match stage.step {
        Step::Enter if stage.hop.is_none() => FailureVerdict::new(
            ProxyError::ConnectionTimeout,
            "no answer to TLS",
            texts::SILENT_TARGET,
        ),
        Step::Enter => FailureVerdict::new(
            ProxyError::ConnectionTimeout,
            "no answer to TLS",
            hop_advice::silent_at_tls(stage),
        ),
        Step::Extend => FailureVerdict::new(
            ProxyError::HttpResponseTimeout,
            if stage.is_login { "no answer to the login" } else { "no answer to CONNECT" },
            hop_advice::silent(stage),
        ),
        step => {
            let summary = if step == Step::Dial { "connect timed out" } else { "no answer" };
            FailureVerdict::new(
                ProxyError::ConnectionTimeout,
                summary,
                texts::slow_to_connect(chain),
            )
        }
    }
}

fn not_dialled(chain: &ChainError, error: &DialError) -> FailureVerdict {
    match error {
        DialError::Loop => {
            FailureVerdict::new(ProxyError::ProxyLoopDetected, "this proxy itself", texts::LOOP)
        }
        DialError::OwnLack(lack, _) => lacking(*lack),
        DialError::Lookup(_) => {
            FailureVerdict::new(ProxyError::Dns, "name lookup failed", texts::look_up(chain))
        }
        DialError::NoAddress => {
            FailureVerdict::new(ProxyError::Dns, "name has no address", texts::look_up(chain))
        }
        DialError::Connect(source) => not_connected(chain, source),
    }
}

/// Reports that this machine lacks something for the upstream connection. Neither target nor hop is responsible.
fn lacking(lack: OwnLack) -> FailureVerdict {
    let (summary, advice) = match lack {
        OwnLack::Descriptors => ("too many open files here", texts::NO_DESCRIPTORS),
        OwnLack::Memory => ("no memory for a connection here", texts::NO_MEMORY),
        OwnLack::Ports => ("no free local port here", texts::NO_PORTS),
    };
    FailureVerdict {
        field: Some(texts::RETRY_IN_A_SECOND.into()),
        ..FailureVerdict::new(ProxyError::ConnectionLimitReached, summary, advice)
    }
}

fn not_connected(chain: &ChainError, source: &io::Error) -> FailureVerdict {
    let (error, summary) = match source.kind() {
        io::ErrorKind::TimedOut => (ProxyError::ConnectionTimeout, "connect timed out"),
        io::ErrorKind::ConnectionRefused => (ProxyError::ConnectionRefused, "connection refused"),
        // This machine has no way there, so the settings of the hop are not in doubt.
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
            let error = ProxyError::DestinationIpUnroutable;
            let advice = format!("{}{}", texts::NO_NETWORK, texts::direct_hops(chain));
            return FailureVerdict::new(error, "network unreachable", advice);
        }
        _ => (ProxyError::DestinationUnavailable, "connect failed"),
    };
    FailureVerdict::new(error, summary, texts::is_it_up(chain))
}

fn certificate_summary(reason: &RejectionReason) -> &'static str {
    match reason {
        RejectionReason::UnknownIssuer { .. } => "certificate of an unknown authority",
        RejectionReason::SelfSigned => "certificate is self-signed",
        RejectionReason::OtherName { .. } => "certificate is for another name",
        RejectionReason::OldVersion => "certificate is not of version 3",
        RejectionReason::Expired(_) => "certificate has expired",
        RejectionReason::NotYetValid(_) => "certificate is not valid yet",
        _ => "certificate not accepted",
    }
}

/// The sentence that credentials are held back, and what `probe` says in its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hold {
    pub(super) text: String,
    pub(super) of_probe: &'static str,
}

impl Hold {
    pub(super) fn of_logon(wait: Duration, is_of_url: bool) -> Self {
        Self { text: texts::held_back(wait, is_of_url), of_probe: texts::PROBE_IS_A_LOGON }
    }

    fn of_ticket(wait: Duration, is_of_url: bool) -> Self {
        Self {
            text: texts::ticket_held_back(wait, is_of_url),
            of_probe: texts::PROBE_SENDS_THE_TICKET,
        }
    }

    fn of_target(wait: Duration, is_of_url: bool) -> Self {
        Self { text: texts::target_held_back(wait, is_of_url), of_probe: texts::PROBE_ASKS_AGAIN }
    }
}

/// Judges an error of TLS with the target itself.
fn target_failed(error: &HopError) -> FailureVerdict {
    match error {
        HopError::Certificate(rejected) => FailureVerdict::new(
            ProxyError::TlsCertificate,
            certificate_summary(&rejected.reason),
            match &rejected.reason {
                RejectionReason::Expired(_) | RejectionReason::NotYetValid(_) => {
                    hop_advice::expired_certificate("the target")
                }
                _ => texts::TARGET_CERTIFICATE.to_owned(),
            },
        ),
        _ => FailureVerdict::new(ProxyError::TlsProtocol, "TLS failed", texts::TARGET_TLS),
    }
}

/// Judges a request for which no member of a pool was asked, since all of them asked to be left alone for a while.
fn asked_to_wait(chain: &ChainError, asked: &AskedToWait) -> FailureVerdict {
    let verdict = refused(chain, &asked.refusal);
    let seconds = asked.wait.as_secs();
    let summary = match asked.members {
        1 => format!("asked to wait, for another {seconds} s"),
        count => format!("{count} members asked to wait, the first for another {seconds} s"),
    };
    let advice = match asked.refusal.meaning {
        Meaning::Busy => texts::ASKED_TO_WAIT.into(),
        _ => verdict.advice,
    };
    FailureVerdict {
        // Nothing was sent, so there is no status that was received.
        received_status: None,
        summary: summary.into(),
        advice,
        field: Some(texts::retry_after(asked.wait).into()),
        ..verdict
    }
}

/// Adds to the advice of a kind, which names keys, where these are in a URL of the command line.
fn with_settings_of_url(stage: &Stage, advice: String) -> String {
    match &stage.url {
        Some(url) => format!("{advice} {}", hop_advice::settings_of_url(url)),
        None => advice,
    }
}
