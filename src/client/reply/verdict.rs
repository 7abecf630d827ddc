//! The meaning of an error to a client: the status, the error type, the cause in a few words, and the advice.

use std::{borrow::Cow, io, time::Duration};

use mooltiroute_hops::{
    AskedToWait, HeldBack, HopError, Meaning, MissingCredentials, NoChoice, Party, Refusal, Spoken,
    tls::RejectionReason,
};

use super::{
    hop_advice,
    reason_phrase::{is_registered, standard_phrase},
    texts,
};
use crate::{
    proxy_error::ProxyError,
    system::open_files,
    upstream::{
        chain::{Cause, ChainError, FailedMembers, Stage, Step},
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
    pub(super) advice: Cow<'static, str>,
    /// The sentences of the advice about credentials that are held back.
    pub(super) hold: Option<Hold>,
    /// A field line that belongs to the status.
    pub(super) field: Option<Cow<'static, str>>,
}

impl FailureVerdict {
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
            hold: None,
            field: None,
        }
    }
}

impl FailureVerdict {
    /// Returns the sentences that say what to do, with those about credentials that are held back.
    pub(super) fn whole_advice(&self) -> String {
        match &self.hold {
            Some(hold) => format!("{} {}", self.advice, hold.text),
            None => self.advice.clone().into_owned(),
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
        _ => FailureVerdict::from(error).whole_advice(),
    }
}

impl From<&ChainError> for FailureVerdict {
    fn from(error: &ChainError) -> Self {
        let verdict = Self::of(error);
        match texts::near_target(error) {
            Some(note) => {
                let advice = format!("{note} {}", verdict.advice).into();
                Self { advice, ..verdict }
            }
            None => verdict,
        }
    }
}

impl FailureVerdict {
    fn of(error: &ChainError) -> Self {
        let stage = &error.stage;
        match &error.cause {
            Cause::Preferences(invalid) => Self::new(
                ProxyError::HttpRequest,
                texts::preferences_summary(*invalid),
                texts::other_preferences(*invalid),
            ),
            // The client that would read this has gone.
            Cause::Timeout(..) | Cause::ClientLeft(_) => timed_out(stage),
            Cause::Dial(error) => not_dialled(stage, error),
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

fn timed_out(stage: &Stage) -> FailureVerdict {
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
                texts::slow_to_connect(stage),
            )
        }
    }
}

fn not_dialled(stage: &Stage, error: &DialError) -> FailureVerdict {
    // A lack of descriptors shows as an error of the look-up or of the connection, and says nothing
    // about the stop.
    match error {
        DialError::Loop => {
            FailureVerdict::new(ProxyError::ProxyLoopDetected, "this proxy itself", texts::LOOP)
        }
        DialError::Lookup(source) | DialError::Connect(source)
            if open_files::are_exhausted(source) =>
        {
            no_descriptors()
        }
        DialError::Lookup(_) => {
            FailureVerdict::new(ProxyError::Dns, "name lookup failed", texts::look_up(stage))
        }
        DialError::NoAddress => {
            FailureVerdict::new(ProxyError::Dns, "name has no address", texts::look_up(stage))
        }
        DialError::Connect(source) => not_connected(stage, source),
    }
}

/// Reports that this process has no descriptor for the upstream connection. Neither target nor hop is responsible.
fn no_descriptors() -> FailureVerdict {
    FailureVerdict {
        field: Some(texts::RETRY_IN_A_SECOND.into()),
        ..FailureVerdict::new(
            ProxyError::ConnectionLimitReached,
            "too many open files here",
            texts::NO_DESCRIPTORS,
        )
    }
}

fn not_connected(stage: &Stage, source: &io::Error) -> FailureVerdict {
    let (error, summary) = match source.kind() {
        io::ErrorKind::TimedOut => (ProxyError::ConnectionTimeout, "connect timed out"),
        io::ErrorKind::ConnectionRefused => (ProxyError::ConnectionRefused, "connection refused"),
        // This machine has no way there, so the settings of the hop are not in doubt.
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
            let error = ProxyError::DestinationIpUnroutable;
            return FailureVerdict::new(error, "network unreachable", texts::NO_NETWORK);
        }
        _ => (ProxyError::DestinationUnavailable, "connect failed"),
    };
    FailureVerdict::new(error, summary, texts::is_it_up(stage))
}

fn hop_failed(stage: &Stage, error: &HopError) -> FailureVerdict {
    // These two carry words of their own, which say more.
    if let HopError::Other(why) = error {
        return FailureVerdict::new(ProxyError::HttpProtocol, why.clone(), texts::CHECK_SETTINGS);
    }
    if let HopError::NoCredentials(missing) = error {
        return no_credentials(stage, missing);
    }
    if let HopError::NoChoice(reason) = error {
        let NoChoice { summary, advice, .. } = &**reason;
        return FailureVerdict::new(
            ProxyError::ProxyConfiguration,
            summary.clone(),
            advice.clone(),
        );
    }
    let (error, summary, advice): (_, _, Cow<'static, str>) = match error {
        HopError::OtherProtocol(spoken) => return other_protocol(stage, *spoken),
        HopError::Io(_) => (
            ProxyError::ConnectionTerminated,
            "connection broke",
            hop_advice::hung_up(stage).into(),
        ),
        HopError::Closed if stage.next.is_some() => (
            ProxyError::ConnectionTerminated,
            "closed the connection when asked for the next hop",
            hop_advice::hung_up(stage).into(),
        ),
        HopError::Closed => (
            ProxyError::ConnectionTerminated,
            "closed the connection",
            hop_advice::hung_up(stage).into(),
        ),
        HopError::Again(_) => (
            ProxyError::ConnectionTerminated,
            "keeps closing the connection",
            texts::KEEPS_CLOSING.into(),
        ),
        HopError::Malformed(_) => (
            ProxyError::HttpProtocol,
            "answer not understood",
            hop_advice::not_a_proxy(stage).into(),
        ),
        HopError::HeadTooLarge { .. } => (
            ProxyError::HttpResponseHeaderSectionSize,
            "answer head too large",
            hop_advice::large_head(stage).into(),
        ),
        HopError::Certificate(rejected) => (
            ProxyError::TlsCertificate,
            certificate_summary(&rejected.reason),
            hop_advice::certificate(stage, rejected).into(),
        ),
        HopError::Tls(_) => {
            (ProxyError::TlsProtocol, "TLS failed", hop_advice::tls_failed(stage).into())
        }
        _ => (ProxyError::HttpProtocol, "failed", texts::CHECK_SETTINGS.into()),
    };
    FailureVerdict::new(error, summary, advice)
}

fn certificate_summary(reason: &RejectionReason) -> &'static str {
    match reason {
        RejectionReason::UnknownIssuer { .. } => "certificate of an unknown authority",
        RejectionReason::SelfSigned => "certificate is self-signed",
        RejectionReason::OtherName { .. } => "certificate is for another name",
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
    fn of_logon(wait: Duration, is_of_url: bool) -> Self {
        Self { text: texts::held_back(wait, is_of_url), of_probe: texts::PROBE_IS_A_LOGON }
    }

    fn of_ticket(wait: Duration, is_of_url: bool) -> Self {
        Self {
            text: texts::ticket_held_back(wait, is_of_url),
            of_probe: texts::PROBE_SENDS_THE_TICKET,
        }
    }
}

/// Adds to the advice of a kind, which names keys, where these are in a URL of the command line.
fn with_settings_of_url(stage: &Stage, advice: String) -> String {
    match &stage.url {
        Some(url) => format!("{advice} {}", hop_advice::settings_of_url(url)),
        None => advice,
    }
}

fn no_credentials(stage: &Stage, missing: &MissingCredentials) -> FailureVerdict {
    let summary = missing.summary.clone();
    let advice = with_settings_of_url(stage, missing.advice.clone());
    let mut verdict = FailureVerdict::new(ProxyError::ProxyConfiguration, summary, advice);
    verdict.hold = missing.retry_after.map(|wait| Hold::of_logon(wait, stage.url.is_some()));
    // A server of credentials that is silent makes the client wait as a silent hop does.
    if missing.is_timeout {
        verdict.status = ProxyError::ConnectionTimeout.status();
    }
    verdict.field = missing.retry_after.map(|wait| texts::retry_after(wait).into());
    verdict
}

/// Judges a hop whose first bytes are those of another protocol than its settings say.
fn other_protocol(stage: &Stage, spoken: Spoken) -> FailureVerdict {
    let (error, summary) = match spoken {
        Spoken::Tls => (ProxyError::HttpProtocol, "speaks TLS"),
        Spoken::NoTls => (ProxyError::TlsProtocol, "speaks no TLS"),
        Spoken::Http => (ProxyError::HttpProtocol, "speaks HTTP"),
        Spoken::Socks5 => (ProxyError::HttpProtocol, "speaks SOCKS5"),
        _ => (ProxyError::HttpProtocol, "answer not understood"),
    };
    FailureVerdict::new(error, summary, hop_advice::other_protocol(stage, spoken))
}

/// Judges an error of TLS with the target itself.
fn target_failed(error: &HopError) -> FailureVerdict {
    match error {
        HopError::Certificate(rejected) => FailureVerdict::new(
            ProxyError::TlsCertificate,
            certificate_summary(&rejected.reason),
            match &rejected.reason {
                RejectionReason::Expired(_) | RejectionReason::NotYetValid(_) => {
                    texts::expired_certificate("the target")
                }
                _ => texts::TARGET_CERTIFICATE.to_owned(),
            },
        ),
        _ => FailureVerdict::new(ProxyError::TlsProtocol, "TLS failed", texts::TARGET_TLS),
    }
}

fn refused(chain: &ChainError, refusal: &Refusal) -> FailureVerdict {
    // 508 is the answer of a proxy such as this one to a request that comes back to it. That says
    // more than the meaning which a kind gives to the status.
    let status = refusal.http.as_ref().map(|http| http.status);
    let is_loop = status == Some(508);
    let own_status = status.filter(|status| *status >= 400 && !is_registered(*status));
    let stage = &chain.stage;
    let (error, advice): (_, Cow<'static, str>) = match refusal.meaning {
        _ if is_loop => (ProxyError::ProxyLoopDetected, texts::LOOP_THROUGH_HOPS.into()),
        // Never a 407: the credentials are those of the hop, and the client does not have them.
        Meaning::Credentials => {
            (ProxyError::ProxyConfiguration, hop_advice::credentials(stage, refusal).into())
        }
        Meaning::Quota => (ProxyError::ProxyConfiguration, texts::QUOTA.into()),
        Meaning::Forbidden => (ProxyError::HttpRequestDenied, texts::FORBIDDEN.into()),
        Meaning::Policy => {
            let advice = match refusal.login {
                Some(login) if login.was_asked_for => texts::refused_after_login(stage),
                Some(_) => texts::refused_with_credentials(stage),
                None => texts::refused_port(chain),
            };
            (ProxyError::HttpProtocol, texts::after_own_words(refusal, &advice).into())
        }
        Meaning::Busy => (ProxyError::ConnectionLimitReached, texts::busy(refusal).into()),
        Meaning::UnknownName => (ProxyError::Dns, hop_advice::unknown_name(stage).into()),
        Meaning::Fault => (ProxyError::ProxyInternal, texts::HOP_FAULT.into()),
        Meaning::TargetRefused => {
            (ProxyError::ConnectionRefused, hop_advice::target_refused(stage).into())
        }
        Meaning::NetworkUnreachable => {
            (ProxyError::DestinationIpUnroutable, hop_advice::not_reached(stage).into())
        }
        _ if stage.next.is_none() && is_about_a_name(refusal) => {
            (ProxyError::DestinationUnavailable, hop_advice::unknown_name(stage).into())
        }
        Meaning::Unreachable | Meaning::Timeout => {
            (ProxyError::DestinationUnavailable, hop_advice::not_reached(stage).into())
        }
        // Providers send it when the traffic of an account is used up or not paid for.
        Meaning::Unclear if status == Some(402) => {
            (ProxyError::ProxyConfiguration, texts::PAYMENT.into())
        }
        Meaning::Unsupported => (ProxyError::HttpProtocol, texts::UNSUPPORTED.into()),
        _ if refusal.http.as_ref().is_some_and(|http| (300..400).contains(&http.status)) => {
            (ProxyError::HttpProtocol, hop_advice::redirected(stage, refusal).into())
        }
        // Apache and many providers answer 509 when an account has used up its traffic.
        _ if status == Some(509) => (ProxyError::ProxyConfiguration, texts::TRAFFIC.into()),
        // The gate of a network says so (RFC 6585 §6).
        _ if status == Some(511) => {
            (ProxyError::HttpProtocol, hop_advice::gate_of_network(stage).into())
        }
        _ if own_status.is_some() => {
            let error = match is_server_error(refusal) {
                true => ProxyError::DestinationUnavailable,
                false => ProxyError::HttpProtocol,
            };
            (error, hop_advice::own_status(stage, own_status.unwrap_or_default()).into())
        }
        // The answer of a server that does not know the method (RFC 9110 §15.6.2).
        _ if refusal.http.as_ref().is_some_and(|http| http.status == 501) => {
            (ProxyError::HttpProtocol, hop_advice::perhaps_a_web_server(stage).into())
        }
        _ if is_server_error(refusal) => {
            (ProxyError::DestinationUnavailable, hop_advice::not_reached(stage).into())
        }
        _ => {
            let advice = hop_advice::perhaps_a_web_server(stage);
            (ProxyError::HttpProtocol, texts::after_own_words(refusal, &advice).into())
        }
    };
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
    let mut verdict = FailureVerdict::new(error, refusal_summary(stage, refusal), advice);
    let hold = if refusal.is_of_ticket { Hold::of_ticket } else { Hold::of_logon };
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

/// Judges a request whose credentials were not sent, since the hop rejected them a short time ago.
fn held_back(chain: &ChainError, HeldBack { wait, refusal }: &HeldBack) -> FailureVerdict {
    let mut refusal = refusal.clone();
    refusal.held_back = Some(*wait);
    refusal.summary.get_or_insert("credentials rejected".into());
    let verdict = refused(chain, &refusal);
    // Nothing was sent, so there is no status that was received.
    let summary = format!("{HELD_BACK}{}", verdict.summary).into();
    FailureVerdict { received_status: None, summary, ..verdict }
}

/// Begins the summary of a request whose credentials were not sent.
pub(super) const HELD_BACK: &str = "held back; ";

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
                // `502 Bad Gateway` behind the same words of this proxy says nothing of where the way ends.
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

/// Returns whether the hop failed to reach the next stop and says that it can't look up a name. Only advice depends on
/// the words.
fn is_about_a_name(refusal: &Refusal) -> bool {
    let is_meant = matches!(refusal.meaning, Meaning::Unreachable | Meaning::Timeout)
        || refusal.meaning == Meaning::Unclear && is_server_error(refusal);
    let detail = refusal.detail.as_deref().unwrap_or_default();
    let page = refusal.page.as_deref().unwrap_or_default();
    let said = format!("{} {detail} {page}", refusal.said).to_ascii_lowercase();
    is_meant && NAME_WORDS.iter().any(|words| said.contains(words))
}

/// Words of proxies that can't look up a name.
const NAME_WORDS: [&str; 12] = [
    "resolv",
    "resolution",
    "dns",
    "nxdomain",
    "no such host",
    "unknown host",
    "host not found",
    "name or service not known",
    "getaddrinfo",
    "enotfound",
    "ip address from host name",
    "name does not exist",
];

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

/// Returns whether the hop answered with a server error, or did not reach the next stop and gives no reason.
fn is_server_error(refusal: &Refusal) -> bool {
    match &refusal.http {
        Some(http) => http.status >= 500,
        None => refusal.about == Party::Next,
    }
}
