//! The words about lines that were left out.

use std::borrow::Cow;

use tracing::{field::display, info, warn};

use super::{ClientLine, RefusalReason};

impl ClientLine {
    /// Logs that so many lines of this kind were left out after the last one.
    pub(super) fn log_skipped(&self, skipped: u64) {
        let protocol = match self {
            Self::Refused(protocol, _) | Self::AddressForName(protocol) => Some(display(protocol)),
            _ => None,
        };
        let (like, reason) = self.in_words();
        // At the level of the line itself.
        if let Self::AddressForName(_) = self {
            info!(like, protocol, skipped, "{LEFT_OUT}");
        } else {
            warn!(like, protocol, reason = reason.as_deref(), skipped, "{LEFT_OUT}");
        }
    }

    /// Returns the message of the line, and its reason in a few words.
    fn in_words(&self) -> (&'static str, Option<Cow<'static, str>>) {
        const NO_EFFECT: &str = "the client's username has no effect";
        match self {
            Self::Refused(_, reason) => ("request denied", Some(reason.in_words())),
            Self::UnusedPreferences => {
                (NO_EFFECT, Some("no hop on the way lets clients choose".into()))
            }
            Self::UsernameOfProvider => {
                (NO_EFFECT, Some("it looks like that of an account at a provider".into()))
            }
            Self::UnreadUsername(_) => {
                (NO_EFFECT, Some("its `Proxy-Authorization` is not understood".into()))
            }
            Self::CountryInSession => ("a country in the name of a session has no effect", None),
            Self::NoSession(_) => ("the client names no session", None),
            Self::KeptExit(_) => ("the client keeps its connection, and so its exit", None),
            Self::AddressForName(_) => {
                ("the client sent an address; routes by name need the name", None)
            }
        }
    }
}

impl RefusalReason {
    fn in_words(&self) -> Cow<'static, str> {
        match self {
            Self::NoCredentials => "no credentials for `server.auth`",
            Self::Unauthorized => "other credentials than those of `server.auth`",
            Self::OtherScheme => "credentials by another scheme than Basic",
            Self::NoRoute => "no route matches",
            Self::Preferences(_) => "the username is not understood",
            Self::NoSay => "the username chooses an exit, and no hop on the way takes that",
            Self::OverBudget(hop) => return format!("the budget of hop `{hop}` is used up").into(),
            Self::NoSession => "the username names no session",
            Self::NotAdmitted => "too many equal requests are unanswered",
            Self::Unsettled => "the network has changed",
            Self::Tls => "TLS to a listener without it",
            Self::TlsTwice => "TLS inside TLS",
            Self::Socks => "SOCKS to a listener with TLS",
            Self::Http2 => "HTTP/2",
            Self::ProxyProtocol => "the PROXY protocol",
            Self::NeedsConnect => "an `https://` URL without CONNECT",
            Self::UnknownScheme => "a URL with an unknown scheme",
            Self::ConnectTarget => "CONNECT without a host and a port",
            Self::SocksBind => "BIND of SOCKS",
            Self::SocksUdp => "UDP ASSOCIATE of SOCKS",
            Self::SocksCommand => "an unknown command of SOCKS",
            Self::SocksMethod => "no method of authentication that is served",
            Self::SocksTarget => "a target that is no host with a port",
            Self::Malformed => "a malformed request",
        }
        .into()
    }
}

const LEFT_OUT: &str = "more lines like this were left out";
