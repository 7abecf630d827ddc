//! The generation in force, and waiting for the one that serves a request.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use arc_swap::ArcSwap;
use mooltiroute_hops::Eventual;
use tokio::sync::Notify;

use super::Generation;
use crate::{
    network::{Dependence, Unsettled},
    router::Query,
    upstream::warm::Warm,
};

/// The generation in force. Reading it never waits; replacing it is one step.
#[derive(Debug)]
pub(crate) struct Live {
    /// Shared with the services of hops, which hold it weakly.
    current: Arc<ArcSwap<Generation>>,
    /// The generations that may still have users, and the one in force.
    alive: Mutex<Vec<Weak<Generation>>>,
    /// Notified when another generation is in force.
    replaced: Notify,
}

impl Live {
    /// Begins with `first`.
    pub(crate) fn new(first: Generation) -> Self {
        first.set_budgets();
        let first = Arc::new(first);
        let alive = Mutex::new(vec![Arc::downgrade(&first)]);
        let current = Arc::new(ArcSwap::new(first));
        current.load().attach_services(&current);
        Self { current, alive, replaced: Notify::new() }
    }

    /// Returns the generation in force.
    pub(crate) fn current(&self) -> Arc<Generation> {
        self.current.load_full()
    }

    /// Puts `next` in force: every request that begins from now on takes it.
    pub(crate) fn replace(&self, next: Generation) {
        let next = Arc::new(next);
        // Locked across the swap, so that the list always ends with the generation in force. It holds weak
        // references, which keep no generation alive, and forgets those that are gone.
        let mut alive = self.known();
        alive.retain(|generation| generation.strong_count() > 0);
        alive.push(Arc::downgrade(&next));
        next.set_budgets();
        // Before the swap, so that no request meets a hop without services.
        next.attach_services(&self.current);
        let last = self.current.swap(Arc::clone(&next));
        // No new request takes a chain that the new generation does not have, so its spares would only hold
        // connections open. Chains of both may share theirs.
        let is_kept =
            |warm: &Arc<Warm>| next.warm_chains().any(|(_, kept)| Arc::ptr_eq(kept, warm));
        last.warm_chains().filter(|(_, warm)| !is_kept(warm)).for_each(|(_, warm)| warm.clear());
        self.replaced.notify_waiters();
    }

    /// Waits until the hops on the way to the target of `query` are known, and have the documents that they choose by, or
    /// can't have them. Returns the generation that is in force then: `generation`, or a later one.
    ///
    /// A request that waits here has not begun its way. So it follows a reload at once: it neither uses a hop that is gone
    /// nor waits for a document that is no longer needed, and it has the new one if that is there.
    ///
    /// # Errors
    /// As [`settled`].
    pub(crate) async fn prepared(
        &self,
        query: &Query<'_>,
        mut generation: Arc<Generation>,
    ) -> Result<Arc<Generation>, Unsettled> {
        let depends_on = |generation: &Generation| {
            generation.present_way(query).and_then(|way| way.dependence.cloned())
        };
        loop {
            generation = settled(&self.current, generation, depends_on).await?;
            let wait = generation.present_way(query).map(|way| way.chain.prepare());
            let Some(Eventual::Pending(wait)) = wait else { return Ok(generation) };
            tokio::select! {
                () = wait => {}
                () = self.replaced(&generation) => {}
            }
            let current = self.current();
            if Arc::ptr_eq(&current, &generation) {
                return Ok(generation);
            }
            generation = current;
        }
    }

    /// Waits until another generation than this one is in force.
    async fn replaced(&self, generation: &Arc<Generation>) {
        loop {
            let mut replaced = std::pin::pin!(self.replaced.notified());
            // Before the look, so that no reload is missed.
            replaced.as_mut().enable();
            if !Arc::ptr_eq(&self.current(), generation) {
                return;
            }
            replaced.await;
        }
    }

    /// Returns the generations that are in use, the one in force last.
    pub(crate) fn alive(&self) -> Vec<Arc<Generation>> {
        self.known().iter().filter_map(Weak::upgrade).collect()
    }

    fn known(&self) -> MutexGuard<'_, Vec<Weak<Generation>>> {
        // The list is still right after a panic of a holder.
        self.alive.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits until the conditions of the network that `depends_on` finds in a generation are decided and in force. Returns the
/// generation that is in force then: `generation`, or a later one.
///
/// Each wait may end because of a reload, which may have brought other hops with conditions of their own. So the
/// conditions of the generation in force are looked at again, until one wait ends in the generation in which it began.
///
/// # Errors
/// The outcome of a condition could not take effect. A request that went on would perhaps go round a hop.
pub(crate) async fn settled(
    in_force: &ArcSwap<Generation>,
    mut generation: Arc<Generation>,
    depends_on: impl Fn(&Generation) -> Option<Dependence>,
) -> Result<Arc<Generation>, Unsettled> {
    loop {
        let Some(dependence) = depends_on(&generation) else { return Ok(generation) };
        dependence.settle(generation.timeouts.connect).await?;
        let current = in_force.load_full();
        if Arc::ptr_eq(&current, &generation) {
            return Ok(generation);
        }
        generation = current;
    }
}
