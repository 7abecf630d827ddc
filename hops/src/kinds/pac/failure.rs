//! Why a request has no hop, in words.

use std::{borrow::Cow, sync::Arc, time::Duration};

use mooltiroute_pac::PacError;

use super::{
    answer::{self, shown},
    config::Otherwise,
    plan::{PacPlan, with_other_port},
};
use crate::{
    Authority, HopError, NoChoice, SourceKind,
    remote::{LoadProblem, next_fetch},
};

/// Why a request has no plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    /// A few words.
    pub(super) summary: String,
    /// A clause.
    pub(super) details: String,
    pub(super) advice: Cow<'static, str>,
    /// The text of the script, if it gave one.
    pub(super) answer: Option<String>,
}

impl Failure {
    pub(super) fn no_list(no_list: &answer::NoList, text: &str) -> Self {
        Self {
            summary: "the PAC file gave no list of proxies".into(),
            details: format!("the PAC file gave no list: {no_list}"),
            advice: REPORT_OR_GO_DIRECT.into(),
            answer: Some(shown(text)),
        }
    }

    /// Describes a choice of hops that are all `off`.
    pub(super) fn all_off(text: &str, off: &[Arc<str>]) -> Self {
        Self {
            summary: format!("the PAC file's choice is off: {}", off.join(", ")),
            details: format!(
                "every hop that the PAC file chose is switched off: {}, for its answer `{}`",
                in_words(off),
                shown(text)
            ),
            advice: "Switch the hop on, or route this host another way. `mooltiroute status` names an option of the command \
                     line or a condition that keeps it off."
                .into(),
            answer: Some(shown(text)),
        }
    }

    /// Describes an `entry` that is due by `plan` and matches no pattern. The pattern `other_port` has its host and another
    /// port. The entry may be due because the hops of other entries are switched off.
    pub(super) fn unknown_entry(
        entry: &Authority,
        other_port: Option<&str>,
        plan: &PacPlan,
    ) -> Self {
        let PacPlan { answer, off, .. } = plan;
        let summary = format!("the PAC file chose {entry}, which is not a hop");
        let note = with_other_port(other_port);
        let what =
            format!("the PAC file chose `{entry}`, which matches no pattern of `hops`{note}");
        let add = "Add a pattern for this proxy to the hop's `hops`, or name a hop as `unknown`.";
        let (details, advice) = match &**off {
            [] => (what, add.into()),
            off => {
                let names = in_words(off);
                let advice =
                    format!("Switch {names} on if the file should take it. Otherwise: {add}");
                (format!("{what}; it also names {names}, {OFF}"), advice.into())
            }
        };
        Self { summary, details, advice, answer: Some(answer.to_string()) }
    }

    pub(super) fn script(error: &PacError) -> Self {
        let summary = match error {
            PacError::TooSlow(_) | PacError::Stuck | PacError::HeldUp => {
                "the PAC file takes too long"
            }
            PacError::Exhausted => "the PAC file takes too much memory",
            PacError::Busy | PacError::NoThread(_) => "the PAC file can't be asked now",
            PacError::NotText(_) => "the PAC file gave no answer",
            _ => "the PAC file failed",
        };
        let details = format!("the PAC file gave no answer: {error}");
        let advice = if is_final(error) { REPORT_OR_GO_DIRECT } else { REPORT };
        Self { summary: summary.into(), details, advice: advice.into(), answer: None }
    }

    pub(super) fn too_many_names(count: usize) -> Self {
        Self {
            summary: "the PAC file takes too long".into(),
            details: format!("the PAC file asks for the addresses of over {count} names"),
            advice: REPORT.into(),
            answer: None,
        }
    }

    /// Describes a file at `url` that can't be used. A request after `retry` asks for it again.
    pub(super) fn not_loaded(url: &str, problem: &LoadProblem, retry: Duration) -> Self {
        let LoadProblem { words, cause } = problem;
        let next = next_fetch(retry);
        Self {
            summary: format!("no PAC file: {}", shown(words)),
            details: format!("the PAC file {url} can't be used: {words}; {next}"),
            advice: cause.remedy(SourceKind::PacFile).into(),
            answer: None,
        }
    }

    /// Says that `otherwise: direct` is not for a file that can't be used, if it is written.
    pub(super) fn despite(mut self, otherwise: Otherwise) -> Self {
        if otherwise == Otherwise::Direct {
            self.advice = format!("{} {NOT_COVERED}", self.advice).into();
        }
        self
    }

    /// Returns the error that the chain gets.
    pub(super) fn to_error(&self) -> HopError {
        let Self { summary, details, advice, .. } = self.clone();
        NoChoice { summary, details, advice: advice.into_owned() }.into()
    }
}

/// Returns the names of hops in words.
pub(super) fn in_words(hops: &[Arc<str>]) -> String {
    hops.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// Returns whether a script that failed like this has no answer at all, so that `otherwise` applies. After any other
/// error, such as one about time or memory, it may have an answer that it could not deliver.
pub(super) fn is_final(error: &PacError) -> bool {
    matches!(error, PacError::Threw { .. } | PacError::NotText(_) | PacError::NoFunction)
}

pub(super) const OFF: &str = "which is switched off";
const NOT_COVERED: &str = "`otherwise: direct` of this hop is for the answers of the file, and not for a file that can't be fetched. To \
                           go direct outside of the company's network, write `enabled: { when: … }` for this hop.";
const REPORT: &str = "Report it to the administrator of the PAC file.";
const REPORT_OR_GO_DIRECT: &str = "Report it to the administrator of the PAC file, or write `otherwise: direct` in \
                                   this hop if such requests are meant to go without a proxy.";
