//! The step that applies a configuration.

use std::sync::atomic::Ordering::Relaxed;

use tracing::{info, warn};

use super::{
    Reloads,
    messages::{Announced, announce, brief_warnings, notes_on_replaced},
};
use crate::{
    client::reply::with_causes,
    config::{Config, Overridden},
    control::verdict::{OverriddenSetting, ReloadOutcome, ReloadVerdict, ToldProblem},
    proxy::{
        changes::with_new_value,
        direct::{direct_now, direct_since, targets_that_go_direct},
        listeners::Prepared,
        lists::changed_lists,
    },
    state::{
        generation::{Generation, is_cut},
        shared::DirectTarget,
    },
    timestamp::rfc_3339,
};

impl Reloads {
    /// Puts `config` in force, which differs from the one in force only by outcomes.
    pub(super) fn follow_with(
        &mut self,
        config: Config,
        causes: Vec<String>,
    ) -> Result<(), Vec<ToldProblem>> {
        let last = self.shared().live().current();
        let changed = last.outline.changes(&config.outline);
        if changed.is_empty() {
            // The network went back while the configuration was built. Applying the outcomes again compares them with
            // the facts once more, so a difference that has come since calls for another reload.
            last.put_outcomes_in_force();
            return Ok(());
        }
        // Outcomes don't change `server.listen`, so this finds every socket open and binds none.
        let prepared = self.listeners.prepare(&config.server.listen);
        let prepared = prepared.map_err(|error| vec![ToldProblem::line(with_causes(&error))])?;
        self.accept(config, prepared, &changed, Some(causes.join("; ")));
        Ok(())
    }

    /// Puts `config` in force. Its listeners are bound, so nothing fails from here on. `cause` is the change of the
    /// network that called for it.
    pub(super) fn accept(
        &mut self,
        config: Config,
        prepared: Prepared,
        changed: &[String],
        cause: Option<String>,
    ) -> ReloadVerdict {
        let changed: Vec<_> = changed.iter().map(|path| with_new_value(path, &config)).collect();
        // After an edit or an order, every warning is logged. A condition of the network may switch every few seconds, and must
        // not fill the log with what nobody has changed.
        let last_announced = match cause {
            Some(_) => std::mem::take(&mut self.announced),
            None => Announced::default(),
        };
        let mut announced = announce(&config, &last_announced);
        self.written.clone_from(&config.written);
        let (log, workers) = (config.log, config.server.workers.get().get());
        let mut warnings = brief_warnings(&config);
        let notes = notes_on_replaced(&config);
        // The threads and their heaps were set up at the start, so a reload can only say that the number differs.
        if workers != self.server.worker_count() {
            let running = self.server.worker_count();
            let line = format!("server.workers {workers}");
            if announced.is_new_warning(&line, &last_announced) {
                warn!(
                    running,
                    configured = workers,
                    "`server.workers` takes effect at the next start"
                );
            }
            warnings.push(format!(
                "`server.workers` takes effect at the next start; until then, {running} run"
            ));
        }
        // The new generation refuses to dial the addresses of this proxy itself, which would be a loop.
        let listening = self.listeners.addresses_after(&prepared);
        let last = self.shared().live().current();
        let next = last.next(config, listening);
        // A route or a hop that is missing by mistake takes targets off their hops, so the log names them.
        let direct = targets_that_go_direct(&last, &next);
        if !direct.is_empty() {
            let targets = DirectTarget::in_words(&direct).join(", ");
            warn!(targets, "targets that went through hops go direct now");
            warnings.push(direct_now(&direct));
        }
        let direct = direct_since(self.shared().went_direct().as_deref(), direct, &next);
        self.shared().set_went_direct(direct);
        let lists = changed_lists(&last, &next);
        let generation = next.number();
        // Before the swap: the new generation may let clients in without credentials because its listeners ask for more.
        self.listeners.change_terms(&prepared);
        // From here on requests take the new generation. The outcomes are in force only after that, because a
        // request that waits for them takes the generation that is current then.
        self.shared().live().replace(next);
        let next = self.shared().live().current();
        next.put_outcomes_in_force();
        // Each chain with `warm` gets a keeper, also one that has a keeper already: the older of two ends by
        // itself.
        self.server.keep_warm();
        // After the swap, so that a client that connects again at once takes the new way.
        let cut = self.cut_tunnels_of_hops_that_left(&last, &next);
        self.metrics().reloads.applied.fetch_add(1, Relaxed);
        // After the swap too: a client of a new address must not meet a configuration that does not have it.
        let begun = self.listeners.replace(prepared);
        self.shared().set_tls_listeners(self.listeners.sockets().with_tls());
        for begun in begun {
            self.server.begin(begun);
        }
        if let Some(control) = &self.log {
            // So the line below is written with the new level and format.
            control.set(&log);
        }
        for list in &lists {
            list.log();
            warnings.extend(list.is_shrunk().then(|| list.in_words()));
        }
        let shown = changed.join(", ");
        let known_warnings = Some(announced.known_warnings).filter(|count| *count > 0);
        self.announced = announced;
        info!(generation, changed = shown, cause, known_warnings, "config reloaded");
        if cut > 0 {
            info!(generation, tunnels = cut, "cut the tunnels of hops that were switched off");
        }
        ReloadVerdict { warnings, notes, ..self.in_force(ReloadOutcome::Applied, changed) }
    }

    /// Cuts the tunnels through hops that were on in `last`, are off in `next`, and have `on_leave: cut`. Returns their
    /// number.
    fn cut_tunnels_of_hops_that_left(&self, last: &Generation, next: &Generation) -> usize {
        let left = last.hops_that_leave(next);
        // Most reloads switch no such hop, and need no copy of the table of connections.
        if left.is_empty() {
            return 0;
        }
        let cut = self.shared().connections().kill(|row| is_cut(row, &left));
        cut.len()
    }

    /// Returns the verdict on a configuration that is in force now.
    pub(super) fn in_force(&self, outcome: ReloadOutcome, changed: Vec<String>) -> ReloadVerdict {
        let overridden = self.overridden.iter().map(|Overridden { path, option, .. }| {
            OverriddenSetting { path: path.clone(), option: (*option).to_owned() }
        });
        let overridden = overridden.collect();
        let current = self.shared().live().current();
        let since = Some(rfc_3339(current.since));
        let verdict = ReloadVerdict::new(outcome, current.number());
        ReloadVerdict { since, changed, overridden, ..verdict }
    }
}
