//! The reasons why there is no document, and a remedy for each.

use std::time::Duration;

use crate::SourceKind;

/// The reason why a document can't be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LoadProblem {
    /// A clause for people. It shows no path of a URL that must not be shown.
    pub(crate) words: String,
    pub(crate) cause: LoadCause,
}

/// The kinds of failure that have remedies of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LoadCause {
    /// The document was not fetched yet.
    NotYet,
    /// The server asks for a login, or refuses the token in the URL.
    Unauthorized,
    /// The server has nothing at this path.
    Missing,
    /// The server failed.
    ServerFault,
    /// The server gave another answer, such as a redirect that can't be followed.
    OtherAnswer,
    /// The server can't be reached, or does not answer in time.
    Unreachable,
    /// The certificate of the server is not accepted.
    Certificate,
    /// The server does not speak TLS, or not with this client.
    NoTls,
    /// The server ends connections without TLS, as one that speaks TLS at this port does.
    PerhapsTls,
    /// The answer is not a document of this kind.
    Content,
    /// The document is a PAC file, but has a mistake.
    #[cfg_attr(not(feature = "pac"), expect(dead_code, reason = "only `pac` reads a script"))]
    Mistake,
}

impl LoadProblem {
    pub(crate) fn new(cause: LoadCause, words: impl Into<String>) -> Self {
        Self { words: words.into(), cause }
    }
}

impl LoadCause {
    /// Returns the cause behind a status of HTTP.
    pub(super) fn of_status(status: u16) -> Self {
        match status {
            401 | 403 | 407 => Self::Unauthorized,
            404 | 410 => Self::Missing,
            500.. => Self::ServerFault,
            _ => Self::OtherAnswer,
        }
    }

    /// Returns sentences that say what to do. They name the settings of a hop with a document of this kind.
    pub(crate) fn remedy(self, kind: SourceKind) -> &'static str {
        let is_list = kind == SourceKind::List;
        match self {
            Self::NotYet => "It is fetched as soon as its server answers; try again.",
            Self::Unauthorized if is_list => {
                "The server requires a login, or its token in the URL is wrong or has expired: write a new link as \
                 `url` below `members_from`."
            }
            Self::Unauthorized => {
                "The server requires a login, or does not let everyone read the file. Mooltiroute sends it no \
                 credentials."
            }
            Self::Missing if is_list => {
                "Correct the path of the `url` below `members_from`: the server has nothing there."
            }
            Self::Missing => {
                "Correct the path of the `url` of this hop: the server has nothing there."
            }
            Self::ServerFault => {
                "The problem is at that server; ask its administrator if it persists."
            }
            Self::OtherAnswer if is_list => "Check the `url` below `members_from`.",
            Self::OtherAnswer => "Check the `url` of this hop.",
            Self::Unreachable if is_list => {
                "Check the `url` below `members_from`, and whether this machine reaches it: `via` names the chain to fetch it \
                 through. To do without it, save the list and name it as `file`."
            }
            Self::Unreachable => {
                "Check the `url` of this hop, and whether this machine reaches it: `via` names the chain to fetch it through."
            }
            Self::Certificate if is_list => {
                "Name the authority of its certificate as `ca` below `members_from`."
            }
            Self::Certificate => {
                "Write `tls: { ca: FILE }` with the authority of its certificate beside `url`."
            }
            Self::NoTls => {
                "The server may not speak TLS at this port: then begin the `url` with `http://`."
            }
            Self::PerhapsTls if is_list => {
                "Check the port of the `url` below `members_from`. The server may speak TLS there: then begin the `url` with \
                 `https://`."
            }
            Self::PerhapsTls => {
                "Check the port of the `url` of this hop. The server may speak TLS there: then begin the `url` with `https://`."
            }
            Self::Content if is_list => {
                "Check that the `url` below `members_from` leads to the list itself, as plain text with one proxy a line."
            }
            Self::Content => "Check that the `url` of this hop leads to the PAC file itself.",
            Self::Mistake => {
                "The `url` is right. Correct the PAC file, or tell its maintainer; it is fetched again."
            }
        }
    }
}

/// Says when a document is fetched again. Only a request causes a fetch.
pub(crate) fn next_fetch(retry: Duration) -> String {
    match retry.as_millis().div_ceil(1000) {
        0 => "the next request fetches it again".to_owned(),
        seconds => format!("the first request after {seconds} s fetches it again"),
    }
}
