//! The choice of a hop that chooses by what is asked for, such as by a PAC file.

use std::io::{self, Write};

use mooltiroute_hops::{Decision, Prediction, Preferences, Request, RequestLine};
use serde::Serialize;

use super::{Asked, Form};
use crate::config::NamedHop;

/// A hop that chooses by what is asked for, and its choice for one request.
#[derive(Serialize)]
pub(super) struct DecidedHop<'a> {
    pub(super) hop: &'a str,
    /// The source of its rules.
    source: String,
    /// The text that those gave, such as `PROXY a.example:3128; DIRECT`.
    answer: Option<String>,
    /// `hop`, `direct`, `refused` or `unknown`.
    choice: &'static str,
    /// The hop that takes the request.
    taken: Option<String>,
    reason: String,
    #[serde(skip)]
    pub(super) decision: Decision,
}

impl<'a> DecidedHop<'a> {
    /// Has `hop` choose for the request `asked`. Returns `None` for a hop that does not choose by that.
    pub(super) fn new(hop: &'a NamedHop, asked: &Asked) -> Option<Self> {
        let decider = hop.decider()?;
        let preferences = Preferences::default();
        let request = Request::new(&asked.target, &preferences);
        let uri = format!("http://{}{}", asked.target, asked.path);
        let request = match asked.form {
            Form::Tunnel => request,
            Form::Plain => request.with_plain(RequestLine { method: "GET", uri: &uri }),
        };
        let Prediction { decision, answer, reason, .. } = decider.predict(request);
        let (choice, taken) = match &decision {
            Decision::Hop(name) => ("hop", Some(name.to_string())),
            Decision::LeftOut => ("direct", None),
            Decision::Refused => ("refused", None),
            _ => ("unknown", None),
        };
        let source = hop.asker().map(|asker| asker.state().source).unwrap_or_default();
        Some(Self { hop: &hop.name, source, answer, choice, taken, reason, decision })
    }

    /// Returns whether the request is served.
    pub(super) fn is_served(&self) -> bool {
        matches!(self.decision, Decision::Hop(_) | Decision::LeftOut)
    }

    pub(super) fn describe(&self, out: &mut dyn Write) -> io::Result<()> {
        let Self { hop, source, answer, taken, reason, .. } = self;
        writeln!(out, "\n{hop} is chosen by the PAC file {source}")?;
        if let Some(answer) = answer {
            writeln!(out, "  it says: {answer}")?;
        }
        match &self.decision {
            Decision::Hop(_) => {
                writeln!(out, "  taken: {}, since {reason}", taken.as_deref().unwrap_or_default())
            }
            Decision::LeftOut => writeln!(out, "  taken: no hop, since {reason}"),
            Decision::Refused => writeln!(out, "  the request is refused: {reason}"),
            _ => writeln!(
                out,
                "  it is unknown who will serve the request: {reason}\n  \
                 `explain` opens no connection; `mooltiroute probe` asks as the proxy does."
            ),
        }
    }
}
