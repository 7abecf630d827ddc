//! Holds back a configuration that lacks something.

use std::{path::PathBuf, sync::Arc, time::Duration};

use tokio::time::Instant;
use tracing::warn;

use super::{
    Call, Reloads,
    triggers::{next_order, next_request},
};
use crate::{
    config::Config,
    network::Network,
    proxy::{direct::would_go_direct, watch::LackingFiles},
};

/// The waits for one reload.
#[derive(Debug, Default)]
pub(super) struct ReloadHold {
    /// The end of all waits.
    deadline: Option<Instant>,
    /// Whether the log says what is waited for.
    is_told: bool,
}

impl Reloads {
    /// Waits for the rest of `config` if a file has lost its end or is gone, and targets would go direct for that. Returns whether
    /// the files must be read again, since they have changed meanwhile or an operator has asked for a reload.
    ///
    /// A program that saves in two steps closes the file or removes it between them, so nothing else tells that more will
    /// come. Of several waits for one reload, `hold` has the common end: a file that stays as it is means what it says. An
    /// operator who asks for a reload has removed the file on purpose.
    pub(super) async fn is_completed_later(
        &mut self,
        config: &Config,
        call: Call,
        hold: &mut ReloadHold,
    ) -> bool {
        let current = self.shared().live().current();
        let Some(watch) = &self.watch else { return false };
        let mut lacking = watch.lacking().await;
        if call.is_of_operator() || self.asked.is_any() {
            lacking.gone.clear();
        }
        // A file that is there now may have been missing a moment ago, when the files were read.
        let is_over = lacking.is_empty() && watch.is_undisturbed().await;
        if is_over || !would_go_direct(&current, config) {
            return false;
        }
        let limit = if call == Call::Order { HOLD_OF_AN_ORDER } else { HOLD };
        let deadline = *hold.deadline.get_or_insert_with(|| Instant::now() + limit);
        if Instant::now() >= deadline {
            // A program that saves another file all the time must not keep an edit from taking effect.
            return false;
        }
        let lines = self.waits(&lacking);
        if !lines.is_empty() && !hold.is_told {
            hold.is_told = true;
            lines.iter().for_each(|(message, files)| warn!(files, "{message}"));
        }
        let lines = lines.iter().map(|(message, files)| format!("{files}: {message}"));
        self.shared().set_held(Some(lines.collect()));
        let network = Arc::clone(current.network());
        drop(current);
        let must_read = self.waits_until(deadline, &lacking, &network).await;
        self.shared().set_held(None);
        must_read
    }

    async fn waits_until(
        &mut self,
        deadline: Instant,
        lacking: &LackingFiles,
        network: &Network,
    ) -> bool {
        loop {
            let Some(watch) = &mut self.watch else { return false };
            let can_ask = !self.asked.is_any();
            let (mut no_order, mut no_signal) = (None, false);
            tokio::select! {
                differs = watch.differs_before(deadline) => {
                    if differs {
                        watch.complete_again().await;
                    }
                    return differs;
                }
                // It builds on the files in force, so what is missing makes no difference.
                () = network.changed() => self.follow_network(network).await,
                // It is answered after this reload.
                order = next_order(self.orders.as_mut(), &mut no_order), if can_ask => {
                    self.asked.order = Some(order);
                    if !lacking.gone.is_empty() {
                        return true;
                    }
                }
                () = next_request(self.requests.as_mut(), &mut no_signal), if can_ask => {
                    self.asked.is_signalled = true;
                    if !lacking.gone.is_empty() {
                        return true;
                    }
                }
            }
        }
    }

    /// Returns what is waited for: the messages, each with its files.
    fn waits(&self, lacking: &LackingFiles) -> Vec<(&'static str, String)> {
        let source = self.loader.source();
        let listed = |files: &[PathBuf]| {
            let files: Vec<_> =
                files.iter().map(|file| source.as_written(file).display().to_string()).collect();
            files.join(", ")
        };
        let lines = [(WAITING_FOR_END, &lacking.cut), (WAITING_FOR_FILES, &lacking.gone)];
        let lines = lines.into_iter().filter(|(_, files)| !files.is_empty());
        lines.map(|(message, files)| (message, listed(files))).collect()
    }
}

const WAITING_FOR_END: &str =
    "these files look incomplete, and targets would go direct; waiting for the rest";
const WAITING_FOR_FILES: &str = "these files are missing, and targets would go direct; waiting for them, or for \
`mooltiroute reload`";

/// How long the rest is waited for.
pub(crate) const HOLD: Duration = Duration::from_secs(5);
/// How long it is waited for if an operator waits for the answer.
const HOLD_OF_AN_ORDER: Duration = Duration::from_secs(2);
