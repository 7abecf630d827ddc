//! Advice about a hop that speaks another protocol than its settings say, or may do so.

use mooltiroute_hops::{LinkSettings, Spoken};

use super::{place, this_hop};
use crate::upstream::chain::{Stage, Step};

/// Returns advice for a hop whose first bytes are those of another protocol.
pub(in crate::client::reply) fn other_protocol(stage: &Stage, spoken: Spoken) -> String {
    let settings = &stage.settings;
    match (spoken, stage.listed()) {
        (Spoken::Tls, None) if !settings.has_tls_key => format!(
            "This port seems to speak TLS, which this kind of hop never does: check {}.",
            place(stage)
        ),
        (Spoken::Tls, Some(line)) if settings.is_socks => {
            format!(
                "This port seems to speak TLS, and lists have no SOCKS5 over TLS: check {line}."
            )
        }
        (Spoken::Tls, _) => {
            format!("This port seems to speak TLS: {}.", write(stage, Wanted::Tls))
        }
        (Spoken::NoTls, _) => {
            format!("This port does not seem to speak TLS: {}.", write(stage, Wanted::NoTls))
        }
        (Spoken::Http, _) => {
            format!("This port seems to be an HTTP proxy: {}.", write(stage, Wanted::Http))
        }
        (Spoken::Socks5, _) => {
            format!("This port seems to be a SOCKS5 proxy: {}.", write(stage, Wanted::Socks5))
        }
        _ => format!("Check {}.", place(stage)),
    }
}

/// Returns the protocol that a silent hop may speak in place of its own, with what to write then.
pub(super) fn silent_protocol(stage: &Stage) -> Option<String> {
    // An HTTP proxy waits for the rest of a line that never comes.
    let is_asked = stage.settings.is_socks && stage.step == Step::Extend;
    (is_asked && !stage.has_answered).then(|| {
        let write = write(stage, Wanted::Http);
        format!("This port may not speak SOCKS5: an HTTP proxy would wait for more. Then {write}.")
    })
}

/// Says what to write if the hop hung up because its port speaks TLS or SOCKS5.
pub(super) fn perhaps_other_protocol(stage: &Stage) -> String {
    let can_be_said = stage.listed().is_some() || stage.settings.has_tls_key;
    if !can_be_said || stage.is_secure {
        return String::new();
    }
    let tls = write(stage, Wanted::Tls);
    match stage.settings.is_socks {
        true => format!(" This port may speak TLS: then {tls}."),
        false => {
            let socks = write(stage, Wanted::Socks5);
            format!(" This port may speak TLS: then {tls}. Or SOCKS5: then {socks}.")
        }
    }
}

/// Returns advice for a hop with which TLS failed.
pub(in crate::client::reply) fn tls_failed(stage: &Stage) -> String {
    let (plain, socks) = (write(stage, Wanted::NoTls), write(stage, Wanted::Socks5));
    match stage.settings.is_socks {
        true => format!("Check whether it speaks TLS at all; if not, {plain}."),
        false => format!(
            "Check whether it speaks TLS at all; if not, {plain}, or, for a SOCKS5 proxy, {socks}."
        ),
    }
}

/// The protocol that a hop should be told to speak.
#[derive(Clone, Copy, Debug)]
pub(super) enum Wanted {
    Tls,
    NoTls,
    Http,
    Socks5,
}

impl Wanted {
    /// Returns the key and the value that ask a hop with these settings for it.
    fn setting(self, settings: &LinkSettings) -> (&'static str, &'static str) {
        match self {
            Self::Tls => ("tls", "true"),
            Self::NoTls => ("tls", "false"),
            // The name of the protocol depends on the key.
            Self::Http if settings.protocol_key == "kind" => ("kind", "http-connect"),
            Self::Http => (settings.protocol_key, "http"),
            Self::Socks5 => (settings.protocol_key, "socks5"),
        }
    }

    /// Returns the scheme that asks for it, in a line of a list or in a URL.
    fn scheme(self) -> &'static str {
        match self {
            Self::Tls => "https",
            Self::NoTls | Self::Http => "http",
            Self::Socks5 => "socks5",
        }
    }

    /// Returns the part after the `?` of `--hop` that asks for it, if the scheme of the URL does not say it.
    fn after_question_mark(self, settings: &LinkSettings) -> Option<String> {
        let is_scheme = match self {
            Self::Tls | Self::NoTls => !settings.is_socks && settings.protocol_key == "kind",
            Self::Http | Self::Socks5 => settings.protocol_key == "kind",
        };
        let (key, value) = self.setting(settings);
        (!is_scheme).then(|| format!("{key}={value}"))
    }
}

/// Returns what to write: a setting of the hop, the scheme before the address in a line of a list, or a part of the URL.
pub(super) fn write(stage: &Stage, wanted: Wanted) -> String {
    match (&stage.url, stage.listed()) {
        (Some(url), _) => match wanted.after_question_mark(&stage.settings) {
            Some(part) => format!("write `{part}` after a `?` at the end of {url}"),
            None => format!("begin {url} with `{}://`", wanted.scheme()),
        },
        (None, Some(line)) => format!("begin {line} with `{}://`", wanted.scheme()),
        (None, None) => format!("write `{}` for {}", written(stage, wanted), this_hop(stage)),
    }
}

/// Returns the setting of the hop, or the part of its URL, that asks for `wanted`.
pub(super) fn written(stage: &Stage, wanted: Wanted) -> String {
    let (key, value) = wanted.setting(&stage.settings);
    match (&stage.url, wanted.after_question_mark(&stage.settings)) {
        (None, _) => format!("{key}: {value}"),
        (Some(_), Some(part)) => format!("?{part}"),
        (Some(_), None) => format!("{}://", wanted.scheme()),
    }
}
