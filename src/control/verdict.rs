//! The outcome of a reload that was asked for, and the channel to the task that reloads.

use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

use crate::config::{Problem, Problems};

/// The outcome of a reload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ReloadVerdict {
    /// Which outcome it is.
    pub verdict: ReloadOutcome,
    /// The generation that is in force now.
    pub generation: u64,
    /// Since when it is, in UTC.
    #[serde(default)]
    pub since: Option<String>,
    /// The settings that changed, with their new values unless those could be secret.
    #[serde(default)]
    pub changed: Vec<String>,
    /// Warnings about the configuration in force, such as that some targets go direct now.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// Explanations of what the proxy can't see or do, such as a new value of a variable.
    #[serde(default)]
    pub notes: Vec<String>,
    /// Everything that is wrong with a rejected configuration.
    #[serde(default)]
    pub problems: Vec<ToldProblem>,
    /// The settings whose value in the files has no effect, because the command line of the proxy has them.
    #[serde(default)]
    pub overridden: Vec<OverriddenSetting>,
}

/// The kind of outcome of a reload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ReloadOutcome {
    /// A new generation took effect.
    Applied,
    /// The files mean the same as the generation in force.
    Unchanged,
    /// The files are invalid, or an address can't be listened on.
    Rejected,
    /// The files changed faster than they could be read. Another attempt follows by itself.
    Unsettled,
}

/// A problem as text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ToldProblem {
    /// Place, path and message on one line.
    pub brief: String,
    /// The problem with the line of the file and advice, as `check` shows it.
    pub text: String,
    /// The kind of problem, such as `variable`, or nothing.
    #[serde(default)]
    pub code: String,
    /// Advice, for the log. It is a part of `text` too.
    #[serde(skip)]
    pub help: Option<String>,
}

/// A setting that the command line of the proxy has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OverriddenSetting {
    /// Its path, such as `hops.corporate.enabled`.
    pub path: String,
    /// The option, such as `--no-corporate`.
    pub option: String,
}

/// A request to reload. The verdict is sent back.
#[derive(Debug)]
pub(crate) struct ReloadOrder(pub oneshot::Sender<ReloadVerdict>);

/// Gives orders to reload.
#[derive(Clone, Debug)]
pub(crate) struct ReloadOrders(mpsc::Sender<ReloadOrder>);

impl ReloadOrders {
    /// Returns both ends of a channel for orders.
    pub(crate) fn channel() -> (Self, mpsc::Receiver<ReloadOrder>) {
        let (sender, receiver) = mpsc::channel(ORDERS_MAX);
        (Self(sender), receiver)
    }

    /// Orders a reload and waits for the verdict. Returns `None` if the proxy is shutting down.
    pub(crate) async fn reload(&self) -> Option<ReloadVerdict> {
        // Either half ends without a value if the task that reloads is gone.
        let (verdict, told) = oneshot::channel();
        self.0.send(ReloadOrder(verdict)).await.ok()?;
        told.await.ok()
    }
}

impl ReloadVerdict {
    /// Creates a verdict without details.
    pub(crate) fn new(verdict: ReloadOutcome, generation: u64) -> Self {
        let (changed, problems, overridden) = (Vec::new(), Vec::new(), Vec::new());
        let (warnings, notes) = (Vec::new(), Vec::new());
        let since = None;
        Self { verdict, generation, since, changed, warnings, notes, problems, overridden }
    }
}

impl ToldProblem {
    /// Creates a problem whose text is a single line.
    pub(crate) fn line(text: String) -> Self {
        Self { brief: text.clone(), text, code: String::new(), help: None }
    }

    /// Returns each of `problems` on one line for the log, with its advice if that fits on the line. Of the long advice, such as
    /// how to give a right to a file, only the first few are written.
    pub(crate) fn logged(problems: &[Self]) -> Vec<String> {
        let mut long_left = LONG_HELPS_MAX;
        let mut fits = |help: &&str| {
            let is_long = help.len() > SHORT_HELP_BYTES;
            let fits = help.len() <= LONG_HELP_BYTES && !help.contains('\n');
            if is_long && fits {
                let has_room = long_left > 0;
                long_left -= usize::from(has_room);
                return has_room;
            }
            fits
        };
        let logged = |problem: &Self| match problem.help.as_deref().filter(&mut fits) {
            Some(help) => format!("{} ({help})", problem.brief),
            None => problem.brief.clone(),
        };
        problems.iter().map(logged).collect()
    }

    /// Returns each of `problems` as text.
    pub(crate) fn all(problems: &Problems) -> Vec<Self> {
        problems.0.iter().map(Self::from).collect()
    }
}

impl From<&Problem> for ToldProblem {
    fn from(problem: &Problem) -> Self {
        let (brief, text) = (problem.brief().to_string(), problem.to_string());
        Self { brief, text, code: problem.code.to_owned(), help: problem.help.clone() }
    }
}

/// Returns notes on what the proxy can't see of a configuration that is rejected for `problems`.
pub(crate) fn notes_on_rejected(problems: &[ToldProblem]) -> Vec<String> {
    let is_unset = problems.iter().any(|problem| problem.code == "variable");
    is_unset.then(note_on_variables).into_iter().collect()
}

/// Returns a note on why variables have their old values.
pub(crate) fn note_on_variables() -> String {
    format!(
        "variables have the values that they had when the proxy was started (process {}): restart it for new ones. A hop \
         that may have `password_file` or `pass_file` can take its password from a file instead, which is read at each reload",
        std::process::id()
    )
}

/// The longest advice that a line of the log has beside each problem.
const SHORT_HELP_BYTES: usize = 160;

/// The longest advice that a line of the log has at all, and how many of such length.
const LONG_HELP_BYTES: usize = 480;
const LONG_HELPS_MAX: usize = 2;

/// Orders that wait for their turn. More of them wait at the socket.
const ORDERS_MAX: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_first_long_advice_is_logged() {
        let problem = |help: String| {
            let help = Some(help);
            ToldProblem { help, ..ToldProblem::line("a".into()) }
        };
        let helps = ["x".repeat(161), "x".repeat(481), "a\nb".into(), "y".into()];
        let long = |count: usize| vec![problem("z".repeat(480)); count];
        let all: Vec<_> = helps.into_iter().map(problem).chain(long(2)).collect();
        let expected = [format!("a ({})", "x".repeat(161)), "a".into(), "a".into(), "a (y)".into()];
        let rest = [format!("a ({})", "z".repeat(480)), "a".into()];
        assert_eq!(ToldProblem::logged(&all), [&expected[..], &rest].concat());
    }
}
