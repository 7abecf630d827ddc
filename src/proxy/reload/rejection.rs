//! Configurations that are rejected.

mod still;

use std::{
    path::PathBuf,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::SystemTime,
};

use mooltiroute_hops::{KeyPath, thread_pool};
use tracing::{error, info};

pub(super) use self::still::{LastRejected, next_due};
use super::{Call, Reloads};
use crate::{
    control::verdict::{ReloadOutcome, ReloadVerdict, ToldProblem, notes_on_rejected},
    proxy::watch::ContentHashes,
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
        let problem = thread_pool::run(move || loader.problem_at(&path, "listen", why)).await;
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

    pub(super) async fn reject(&mut self, told: Vec<ToldProblem>, call: Call) -> ReloadVerdict {
        let generation = self.shared().live().current().number();
        // The caller gets each problem with its excerpt of the file; the log and the status have one line for
        // each.
        let problems: Vec<_> = told.iter().map(|problem| problem.brief.clone()).collect();
        let logged = ToldProblem::logged(&told);
        let notes = notes_on_rejected(&told);
        let verdict = ReloadVerdict {
            notes: notes.clone(),
            problems: told,
            ..ReloadVerdict::new(ReloadOutcome::Rejected, generation)
        };
        let files = match &self.watch {
            Some(watch) => watch.content_hashes().await,
            None => ContentHashes::default(),
        };
        let is_by_operator = call.is_of_operator();
        // One save can be seen as several changes, so the same problems of the same files are logged and counted once,
        // unless an operator asked for the reload.
        if let Some(last) = &mut self.rejected
            && !is_by_operator
            && last.problems() == logged
        {
            if last.note(files) {
                self.count_rejection(problems, notes);
                self.tell_still_rejected();
            }
            return verdict;
        }
        let untold = self.rejected.as_ref().map_or(0, LastRejected::untold);
        // Edits with the problems of before, about which no line was logged yet.
        let skipped = (untold > 0).then_some(untold);
        let note = notes.first();
        error!(generation, problems = logged.join("; "), note, skipped, "config rejected");
        self.rejected = Some(LastRejected::new(logged, files, self.rejected.take()));
        self.count_rejection(problems, notes);
        verdict
    }

    /// Logs the edits that were rejected for the same problems as before, unless a line about others was logged a moment
    /// ago.
    pub(super) fn tell_still_rejected(&mut self) {
        let generation = self.shared().live().current().number();
        let Some(last) = &mut self.rejected else { return };
        let Some(edits) = last.take_due() else { return };
        let source = self.loader.source();
        let written = |file: &PathBuf| source.as_written(file).display().to_string();
        let mut changed: Vec<_> = edits.files.iter().take(FILES_MAX).map(written).collect();
        if let Some(more @ 1..) = edits.files.len().checked_sub(FILES_MAX) {
            changed.push(format!("and {more} more"));
        }
        let (changed, problems) = (changed.join(", "), last.problems().join("; "));
        let skipped = edits.count - 1;
        error!(generation, changed, problems, skipped, "config still rejected");
    }

    fn count_rejection(&self, problems: Vec<String>, notes: Vec<String>) {
        self.metrics().reloads.rejected.fetch_add(1, Relaxed);
        self.shared().set_rejection(Some(Rejection { at: SystemTime::now(), problems, notes }));
    }
}

/// The most files that a line of the log names.
const FILES_MAX: usize = 5;
