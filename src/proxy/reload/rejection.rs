//! Configurations that do not come in force.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::SystemTime,
};

use mooltiroute_hops::KeyPath;
use tokio::task;
use tracing::{error, info};

use super::{Call, Reloads, words::note_on_variables};
use crate::{
    control::verdict::{ReloadOutcome, ReloadVerdict, ToldProblem},
    state::shared::Rejection,
};

impl Reloads {
    /// Returns the verdict on files that are not complete, with the reasons. Their next change starts another attempt.
    pub(super) fn unsettled(&self, problems: Vec<ToldProblem>) -> ReloadVerdict {
        let generation = self.shared().live().current().number();
        ReloadVerdict { problems, ..ReloadVerdict::new(ReloadOutcome::Unsettled, generation) }
    }

    /// Describes an address that can't be listened on as configured, with the place of the setting.
    pub(super) async fn about_listeners(&self, why: String) -> ToldProblem {
        let loader = Arc::clone(&self.loader);
        let path = KeyPath::of(["server", "listen"]);
        let line = ToldProblem::line(format!("{path}: {why}"));
        // The files are read again only to find the line.
        let problem = task::spawn_blocking(move || loader.problem_at(&path, "listen", why)).await;
        problem.map_or(line, |problem| ToldProblem::from(&problem))
    }

    /// Logs that the configuration on disk is valid again, if the last one was rejected. Returns whether it was.
    pub(super) fn end_rejection(&mut self) -> bool {
        self.shared().set_rejection(None);
        let was_rejected = self.rejected.take().is_some();
        if was_rejected {
            info!("config valid again");
        }
        was_rejected
    }

    pub(super) fn reject(&mut self, told: Vec<ToldProblem>, call: Call) -> ReloadVerdict {
        let generation = self.shared().live().current().number();
        // The caller gets each problem with its excerpt of the file; the log and the status have one line for
        // each.
        let problems: Vec<_> = told.iter().map(|problem| problem.brief.clone()).collect();
        let is_unset = told.iter().any(|problem| problem.code == "variable");
        let verdict = ReloadVerdict {
            notes: is_unset.then(note_on_variables).into_iter().collect(),
            problems: told,
            ..ReloadVerdict::new(ReloadOutcome::Rejected, generation)
        };
        // One save can be seen as several changes. The same problems are logged and counted once, unless an
        // operator asked for the reload.
        if call == Call::Edit && self.rejected.as_ref() == Some(&problems) {
            return verdict;
        }
        error!(generation, problems = problems.join("; "), "config rejected");
        self.metrics().reloads.rejected.fetch_add(1, Relaxed);
        let at = SystemTime::now();
        self.shared().set_rejection(Some(Rejection { at, problems: problems.clone() }));
        self.rejected = Some(problems);
        verdict
    }
}
