//! How a request ended, and what becomes of its client's connection.

use std::fmt;

use crate::client::{departure::Interruption, reply::Reply};

/// How a request ended, for the log and for [`Next`].
#[derive(Debug)]
pub(crate) enum Ending {
    /// The client has the whole answer.
    Whole {
        /// Whether the client's connection can carry another request, as the client was told.
        keeps_client: bool,
        /// Whether the upstream connection can carry another request.
        keeps_upstream: bool,
    },
    /// Both ends agreed to speak another protocol from now on.
    Switched,
    /// The request can't be passed on. The client has nothing of an answer, and is to get this one, for this reason.
    Refused(Box<Reply>, String),
    /// The upstream's answer can't be passed on. The client has nothing of it, and is to get this one, for this reason.
    BadAnswer(Box<Reply>, String),
    /// The exchange broke off for this reason, perhaps in the middle of the answer.
    Truncated(BreakSign, &'static str),
    /// The client's connection broke.
    ClientBroke,
    /// The client ended its connection, and nothing of its answer was on the way.
    ClientLeft(BreakSign),
    /// The client took nothing of the answer for too long.
    ClientStalled,
    /// The proxy was shut down.
    Cut,
    /// An operator ended the request.
    Killed,
}

/// Whether a client can tell a broken answer from a whole one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BreakSign {
    /// It can: nothing of the answer was sent, or the framing shows that something is missing.
    Visible,
    /// It can't: the answer lasts until the connection closes.
    Missing,
}

/// The future of a client's connection after a request; `T` is what a tunnel is made of.
#[derive(Debug)]
pub(crate) enum Next<T> {
    /// It can carry another request.
    Keep,
    /// It is a tunnel from now on.
    Tunnel(T),
    /// It closes, after the client has had time to read what it was sent.
    Close,
    /// It breaks, so that what the client has is not taken for a whole answer.
    Reset,
    /// It closes after this answer.
    Say(Box<Reply>),
}

impl Ending {
    /// Returns whether the exchange was interrupted, so that bytes of it may never leave.
    pub(super) fn is_broken(&self) -> bool {
        !matches!(self, Self::Whole { .. } | Self::Switched | Self::Refused(..))
    }

    /// Decides what becomes of the client's connection. `tunnel` is called only for a switch of protocols.
    pub(crate) fn next<T>(self, tunnel: impl FnOnce() -> Option<T>) -> Next<T> {
        match self {
            Self::Whole { keeps_client: true, .. } => Next::Keep,
            Self::Whole { keeps_client: false, .. } => Next::Close,
            Self::Switched => tunnel().map_or(Next::Reset, Next::Tunnel),
            Self::Refused(reply, _) | Self::BadAnswer(reply, _) => Next::Say(reply),
            // The bytes before the break are worth having.
            Self::Truncated(BreakSign::Visible, _) | Self::ClientLeft(BreakSign::Visible) => {
                Next::Close
            }
            // A close would pass for the end of a body that lasts until then.
            Self::Truncated(BreakSign::Missing, _) | Self::ClientLeft(BreakSign::Missing) => {
                Next::Reset
            }
            Self::ClientBroke | Self::ClientStalled | Self::Cut | Self::Killed => Next::Reset,
        }
    }
}

impl From<Interruption> for Ending {
    /// Returns the end of a request that was broken off before anything was sent.
    fn from(interruption: Interruption) -> Self {
        match interruption {
            Interruption::Cut => Self::Cut,
            Interruption::ClientLeft => Self::ClientLeft(BreakSign::Visible),
        }
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole { .. } | Self::Switched => f.write_str("whole"),
            Self::Refused(_, why) | Self::BadAnswer(_, why) => f.write_str(why),
            Self::Truncated(_, why) => write!(f, "truncated: {why}"),
            Self::ClientBroke => f.write_str("client broke"),
            Self::ClientLeft(_) => f.write_str("client left"),
            Self::ClientStalled => f.write_str("client stalled"),
            Self::Cut => f.write_str("cut at shutdown"),
            Self::Killed => f.write_str("killed"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_ending_has_one_consequence_and_one_line_in_the_log() {
        let reply = || Box::new(Reply::refused(400, "why"));
        let whole = |keeps_client, keeps_upstream| Ending::Whole { keeps_client, keeps_upstream };
        for (ending, next, words) in [
            (whole(true, true), "Keep", "whole"),
            (whole(true, false), "Keep", "whole"),
            (whole(false, true), "Close", "whole"),
            (whole(false, false), "Close", "whole"),
            (Ending::Switched, "Tunnel", "whole"),
            (Ending::Refused(reply(), "refused".into()), "Say", "refused"),
            (Ending::BadAnswer(reply(), "bad".into()), "Say", "bad"),
            (Ending::Truncated(BreakSign::Visible, "cut"), "Close", "truncated: cut"),
            (Ending::Truncated(BreakSign::Missing, "cut"), "Reset", "truncated: cut"),
            (Ending::ClientBroke, "Reset", "client broke"),
            (Ending::ClientLeft(BreakSign::Visible), "Close", "client left"),
            (Ending::ClientLeft(BreakSign::Missing), "Reset", "client left"),
            (Ending::ClientStalled, "Reset", "client stalled"),
            (Ending::Cut, "Reset", "cut at shutdown"),
            (Ending::Killed, "Reset", "killed"),
        ] {
            let shown = format!("{ending:?}");
            assert_eq!(ending.to_string(), words, "{shown}");
            let name = match ending.next(|| Some(())) {
                Next::Keep => "Keep",
                Next::Tunnel(()) => "Tunnel",
                Next::Close => "Close",
                Next::Reset => "Reset",
                Next::Say(_) => "Say",
            };
            assert_eq!(name, next, "{shown}");
        }
    }
}
