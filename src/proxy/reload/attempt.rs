//! One attempt to apply the files.

use std::sync::atomic::Ordering::Relaxed;

use mooltiroute_hops::SourceKind;
use tracing::{debug, info};

use super::{
    Call, Reloads,
    hold::ReloadHold,
    messages::{brief_warnings, notes_on_replaced},
    rebind::{self, Rebind},
};
use crate::{
    config::{Config, Overridden},
    control::verdict::{ReloadOutcome, ReloadVerdict, note_on_variables},
    proxy::{
        changes::{edited_beneath, edited_in_vain},
        direct::direct_now,
    },
    state::generation::Generation,
};

impl Reloads {
    pub(super) async fn attempt(&mut self, call: Call) -> ReloadVerdict {
        self.rebind = None;
        let config = match self.whole_config(call).await {
            Ok(config) => config,
            Err(verdict) => return verdict,
        };
        self.tell_edits_in_vain(&config);
        let current = self.shared().live().current();
        // An operator who has had an account unlocked has nothing to edit.
        if call.is_of_operator() {
            current.built_hops().for_each(|(_, hop)| hop.release());
        }
        self.tell_edits_beneath(&config, &current);
        let changed = current.outline.changes(&config.outline);
        match changed.is_empty() {
            true => self.keep(&current, &config, call),
            false => self.replace(config, &changed, call).await,
        }
    }

    /// Loads the files, and waits for the rest of a file that lacks something.
    ///
    /// # Errors
    /// The verdict, if they are invalid or change too fast.
    async fn whole_config(&mut self, call: Call) -> Result<Config, ReloadVerdict> {
        let mut hold = ReloadHold::default();
        loop {
            let config = match self.load().await {
                Some(Ok(config)) => config,
                Some(Err(problems)) => return Err(self.reject(problems, call).await),
                // The generation in force stays. Files that change this fast change again, which calls for another
                // attempt.
                None => {
                    debug!("the files change too fast to be read");
                    return Err(self.unsettled(Vec::new()));
                }
            };
            if !self.is_completed_later(&config, call, &mut hold).await {
                return Ok(config);
            }
        }
    }

    /// Keeps the generation in force, since `config` means the same.
    ///
    /// Only the meaning counts: an edit of a comment makes no generation. The log mentions it if an operator asked for the
    /// reload, or if it takes back an edit that was rejected.
    fn keep(&mut self, current: &Generation, config: &Config, call: Call) -> ReloadVerdict {
        self.metrics().reloads.unchanged.fetch_add(1, Relaxed);
        if self.end_rejection() || call != Call::Edit {
            info!(generation = current.number(), "config unchanged");
        } else {
            debug!("an edit that changes no meaning");
        }
        let mut warnings = brief_warnings(config);
        // The watch may have taken the edit before the order for it came, and only the log has this warning then.
        if let Some(direct) = self.shared().went_direct() {
            warnings.push(direct_now(&direct.targets));
        }
        // The operator may have changed the value of a variable, which the files don't show.
        let mut notes = notes_on_replaced(config);
        notes.extend(config.has_variables.then(note_on_variables));
        // The operator may have changed a list or a PAC file, and not the files here.
        if call.is_of_operator() {
            notes.extend(fetch_documents(current));
        }
        let unchanged = self.in_force(ReloadOutcome::Unchanged, Vec::new());
        ReloadVerdict { warnings, notes, ..unchanged }
    }

    /// Applies `config`, in which the settings `changed` have other values, if its addresses can be listened on.
    async fn replace(&mut self, config: Config, changed: &[String], call: Call) -> ReloadVerdict {
        if let Some((address, why)) = self.listeners.newly_out_of_date(&config.server.listen) {
            let why = format!(
                "`{address}`: {why}, so it does not replace what is in force; {}",
                why.help()
            );
            let problem = self.about_listeners(why).await;
            return self.reject(vec![problem], call).await;
        }
        match self.listeners.prepare(&config.server.listen) {
            Ok(prepared) => {
                self.end_rejection();
                let cause = (call == Call::Rebind).then(|| BOUND.to_owned());
                let mut verdict = self.accept(config, prepared, changed, cause);
                if call.is_of_operator() {
                    verdict.notes.extend(fetch_documents(&self.shared().live().current()));
                }
                verdict
            }
            Err(error) => {
                self.rebind = Rebind::after(&error, &config.server.listen);
                let problem = self.about_listeners(rebind::in_words(&error)).await;
                self.reject(vec![problem], call).await
            }
        }
    }

    /// Logs the settings that were edited while an option of the command line has them.
    ///
    /// An operator would otherwise look for a mistake in the file. Only what this edit changed is said, or each reload
    /// would repeat it.
    fn tell_edits_in_vain(&mut self, config: &Config) {
        let vain = edited_in_vain(&self.overridden, &config.overridden);
        for Overridden { path, option, .. } in vain {
            info!(
                setting = path,
                option, "an edit has no effect: the command line has this setting"
            );
        }
        self.overridden.clone_from(&config.overridden);
    }

    /// Logs the settings that were edited in one file while a later file has them.
    fn tell_edits_beneath(&mut self, config: &Config, current: &Generation) {
        let (old, new) = (&self.shadowed, &config.shadowed);
        for edit in edited_beneath(old, new, &current.outline, &config.outline) {
            info!(
                setting = %edit.path,
                file = &*edit.file,
                overridden_by = %edit.by,
                "an edit has no effect: a later file has this setting"
            );
        }
        self.shadowed.clone_from(&config.shadowed);
    }
}

/// Fetches the lists and the PAC files at URLs again. Returns a note on each kind of document that there is.
fn fetch_documents(generation: &Generation) -> Vec<String> {
    let askers = generation.hops().iter().filter_map(|hop| Some((hop, hop.asker()?)));
    let fetched = askers.filter(|(_, asker)| asker.fetch_now());
    let (mut lists, mut pac_files) = (Vec::new(), Vec::new());
    for (hop, asker) in fetched {
        let names = match asker.state().kind {
            SourceKind::PacFile => &mut pac_files,
            _ => &mut lists,
        };
        names.push(format!("`{}`", hop.name));
    }
    let note = |(document, names): (&str, Vec<String>)| {
        (!names.is_empty()).then(|| {
            format!(
                "the {document} of {} is fetched now; `mooltiroute status` shows the outcome",
                names.join(", ")
            )
        })
    };
    [("list", lists), ("PAC file", pac_files)].into_iter().filter_map(note).collect()
}

/// The cause of a reload that no edit has started.
const BOUND: &str = "the addresses of `server.listen` have become available";
