//! The answer: a status line, a `Proxy-Status` field (RFC 9209) and a paragraph for a person.

mod refusals;

use std::{borrow::Cow, fmt::Write as _, sync::Arc};

use mooltiroute_hops::Refusal;

use super::{
    reason_phrase::{Summary, reason_phrase, room_beside, standard_phrase},
    reply_text::ReplyText,
    texts,
    verdict::{FailureVerdict, HELD_BACK},
};
use crate::{
    client::connection::Client,
    config::ProxyAddress,
    error::with_causes,
    proxy_error::ProxyError,
    upstream::chain::{ChainError, Stage},
};

/// An answer of the proxy's own. The connection is closed after it.
#[derive(Debug)]
pub struct Reply {
    status: u16,
    error: ProxyError,
    /// A few words for the status line, beside the standard reason phrase.
    summary: Option<String>,
    next_hop: Option<String>,
    received_status: Option<u16>,
    /// The number of unanswered requests for the same, if that is the reason. It tells a proxy such as this one, whose hop this
    /// is, that no other hop helps.
    unanswered: Option<usize>,
    details: String,
    text: ReplyText,
    field: Option<Cow<'static, str>>,
    blame: Option<Blame>,
}

/// The party upstream that is responsible for a failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blame {
    /// The hop, or `None` for the target.
    pub hop: Option<Arc<str>>,
    /// The names of the hops that it chose to go through.
    pub through: Vec<Arc<str>>,
    /// The names of the hops that left themselves out.
    pub left_out: Vec<Arc<str>>,
    /// The cause in a few words, without the name of the hop.
    pub cause: String,
    /// The advice, if there is more to say than the cause.
    pub advice: Option<ReplyText>,
    /// The name of the step that failed: that of a [`Step`](crate::upstream::chain::Step), or `response`.
    pub stage: &'static str,
    /// Whether this machine lacked something at that step, for which nobody upstream is responsible.
    pub is_own_lack: bool,
}

impl Reply {
    /// Explains why the chain did not reach the target.
    pub fn unreachable(error: &ChainError) -> Self {
        let verdict = FailureVerdict::from(error);
        let details = with_causes(&error.cause);
        // Without a hop, the stop that was to be reached takes its name.
        let next_hop = error.stage.hop_name().unwrap_or_else(|| error.stage.stop.to_string());
        let summary = Summary {
            failed_members: error.failed_members.as_ref(),
            name: &next_hop,
            cause: &verdict.summary,
            // A hop that is missing explains little about the others, and much about a target that is gone to without any.
            switched_off: if error.stage.hop.is_none() { &error.switched_off } else { &[] },
        };
        let advice = verdict.whole_advice();
        let cause = verdict.summary.strip_prefix(HELD_BACK).unwrap_or(&verdict.summary).to_owned();
        Self {
            status: verdict.status,
            error: verdict.error,
            summary: Some(summary.within(room_beside(standard_phrase(verdict.status)))),
            next_hop: Some(next_hop),
            received_status: verdict.received_status,
            unanswered: error.refusal().and_then(Refusal::unanswered),
            text: texts::failed(error, &details, advice.clone()),
            details: texts::after_others(error) + &details,
            field: verdict.field,
            blame: Some(Blame {
                hop: error.stage.hop.clone(),
                through: error.stage.through.clone(),
                left_out: error.direct_hops.iter().map(|hop| Arc::clone(&hop.name)).collect(),
                stage: error.stage.step.name(),
                is_own_lack: error.cause.own_lack().is_some(),
                cause,
                advice: Some(advice.text(texts::missing_hops(error))),
            }),
        }
    }

    /// Explains why an upstream's response to a plain request cannot be passed on.
    ///
    /// The hop that was asked at `stage` is responsible if that is given, and the origin otherwise.
    pub fn bad_response(
        next_hop: &str,
        stage: Option<&Stage>,
        error: ProxyError,
        details: &str,
    ) -> Self {
        let advice = texts::on_bad_response(stage, error);
        Self {
            summary: Some(format!("{next_hop}: {}", texts::response_summary(error))),
            next_hop: Some(next_hop.to_owned()),
            details: details.to_owned(),
            blame: Some(Blame {
                hop: stage.and_then(|stage| stage.hop.clone()),
                through: Vec::new(),
                left_out: Vec::new(),
                stage: "response",
                is_own_lack: false,
                cause: details.to_owned(),
                advice: Some(advice.clone().into()),
            }),
            ..Self::of_ours(
                error,
                texts::bad_response(next_hop, stage.is_some(), (error, details), &advice),
            )
        }
    }

    /// Blames the hops that the responsible hop chose to go through, too.
    #[must_use]
    pub fn blaming_chosen(mut self, through: &[Arc<str>]) -> Self {
        if let Some(blame) = &mut self.blame {
            blame.through = through.to_vec();
        }
        self
    }

    /// Returns the reply of a probe: it makes a logon each time, whatever the running proxy holds back.
    #[must_use]
    pub(crate) fn for_probe(mut self) -> Self {
        self.text = self.text.for_probe();
        self
    }

    /// Returns the status code.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// Returns the paragraph for a person who reaches the proxy at `address`.
    pub(crate) fn text_at(&self, address: Option<ProxyAddress>) -> String {
        self.text.at(address)
    }

    /// Returns the error type that the client receives.
    pub fn error(&self) -> ProxyError {
        self.error
    }

    /// Returns who is responsible, or `None` for the client and this proxy.
    pub fn blame(&self) -> Option<&Blame> {
        self.blame.as_ref()
    }

    /// Returns the complete message to `client`, or its head alone after a HEAD request.
    pub(crate) fn message(&self, client: &Client, is_head: bool) -> Vec<u8> {
        let text = self.text_for(client);
        // The connection closes after it: what follows a request that was refused may be the rest
        // of it, or the first bytes of a tunnel, and must not be read as another request.
        let mut message = format!(
            "HTTP/1.1 {} {}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\n\
             Connection: close\r\nProxy-Status: {}\r\n{}\r\n",
            self.status,
            reason_phrase(self.status, self.summary.as_deref()),
            text.len() + 1,
            self.proxy_status(),
            self.field.as_deref().unwrap_or_default(),
        );
        if !is_head {
            message.push_str(&text);
            message.push('\n');
        }
        message.into_bytes()
    }

    /// Returns the text with the address at which `client` has reached this proxy.
    fn text_for(&self, client: &Client) -> String {
        // The address of the socket, and not the `Host` field, which the client may have chosen.
        let reached = client.reached();
        self.text
            .for_client_at(reached.map(|socket| ProxyAddress { socket, is_tls: client.is_tls }))
    }

    fn of_ours(error: ProxyError, text: impl Into<ReplyText>) -> Self {
        Self {
            status: error.status(),
            error,
            summary: None,
            next_hop: None,
            received_status: None,
            unanswered: None,
            details: String::new(),
            text: text.into(),
            field: None,
            blame: None,
        }
    }

    fn proxy_status(&self) -> String {
        let mut field = format!("mooltiroute; error={}", self.error.name());
        // First, so that no words of others come before it.
        if let Some(unanswered) = self.unanswered {
            let _ = write!(field, "; unanswered={unanswered}");
        }
        // Names and words may come from hops, so each text is quoted. A parameter without a value
        // is left out.
        if let Some(next_hop) = &self.next_hop {
            let _ = write!(field, "; next-hop={}", quoted(&percent_encoded(next_hop)));
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

/// Returns `name` with `%XX` in place of each byte that is not ASCII, so that a hop `größe` can still be told from
/// others.
fn percent_encoded(name: &str) -> Cow<'_, str> {
    if name.is_ascii() {
        return name.into();
    }
    let mut encoded = String::new();
    for byte in name.bytes() {
        let _ = match byte.is_ascii() {
            true => write!(encoded, "{}", char::from(byte)),
            false => write!(encoded, "%{byte:02X}"),
        };
    }
    encoded.into()
}

/// Returns a quoted string of RFC 9651 §3.3.3, which has printable ASCII only.
fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    // A string of RFC 9651 has these two escapes, and can't hold anything but printable ASCII.
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
