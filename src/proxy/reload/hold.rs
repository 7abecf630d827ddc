//! Holds back a configuration whose end is missing.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;
use tracing::warn;

use super::{Call, Reloads};
use crate::{config::Config, proxy::direct::would_go_direct};

impl Reloads {
    /// Waits for the rest of `config` if the end of a file is missing and targets would go direct for that. Returns whether
    /// the files have changed meanwhile, so that they must be read again.
    ///
    /// A program that saves in two steps closes the file between them, so nothing else tells that more will come. Of several
    /// waits for one reload, `hold` has the common end: a file that stays as it is means what it says.
    pub(super) async fn is_completed_later(
        &mut self,
        config: &Config,
        call: Call,
        hold: &mut Option<Instant>,
    ) -> bool {
        let current = self.shared().live().current();
        let Some(watch) = &self.watch else { return false };
        let cut = watch.cut().await;
        if cut.is_empty() || !would_go_direct(&current, config) {
            return false;
        }
        let limit = if call == Call::Order { HOLD_OF_AN_ORDER } else { HOLD };
        let deadline = *hold.get_or_insert_with(|| {
            let source = self.loader.source();
            let files: Vec<_> =
                cut.iter().map(|file| source.as_written(file).display().to_string()).collect();
            warn!(files = files.join(", "), "{WAITING}");
            Instant::now() + limit
        });
        let network = Arc::clone(current.network());
        drop(current);
        loop {
            let Some(watch) = &mut self.watch else { return false };
            tokio::select! {
                differs = watch.differs_before(deadline) => {
                    if differs {
                        watch.complete_again().await;
                    }
                    return differs;
                }
                // It builds on the files in force, so a missing end makes no difference.
                () = network.changed() => {}
            }
            self.follow_network(&network).await;
        }
    }
}

const WAITING: &str =
    "the end of these files is missing, and targets would go direct; waiting for the rest";

/// How long the rest is waited for.
const HOLD: Duration = Duration::from_secs(5);
/// How long it is waited for if an operator waits for the answer.
const HOLD_OF_AN_ORDER: Duration = Duration::from_secs(2);
