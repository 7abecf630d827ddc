//! A cache of a script's recent verdicts.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::OnceCell, time::Instant};

use super::{
    asked::{Asked, lower},
    plan::Verdict,
};
use crate::{Authority, Request};

/// Recent verdicts, by host and port or by URL.
#[derive(Debug)]
pub(super) struct Answers {
    /// Whether plain requests for different URLs of a host may have different answers.
    is_by_url: bool,
    slots: Mutex<Slots>,
}

/// A verdict that may still be pending. Concurrent requests wait for it, so that the script is called once.
pub(super) type Slot = Arc<OnceCell<Kept>>;

/// A verdict and the time at which it expires.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    pub(super) verdict: Verdict,
    pub(super) until: Instant,
}

#[derive(Debug, Default)]
struct Slots {
    tunnels: HashMap<Authority, Slot>,
    plain: HashMap<Authority, Slot>,
    by_url: HashMap<Box<str>, Slot>,
}

impl Answers {
    pub(super) fn new(is_by_url: bool) -> Self {
        Self { is_by_url, slots: Mutex::default() }
    }

    /// Returns the verdict on `request`, if it is known.
    pub(super) fn known(&self, request: Request<'_>) -> Option<Verdict> {
        let slots = self.slots();
        let slot = if request.plain.is_none() {
            slots.tunnels.get(&*lower(request.target))
        } else if self.is_by_url {
            slots.by_url.get(&Asked::new(request).query().url)
        } else {
            slots.plain.get(&*lower(request.target))
        };
        let kept = slot?.get().filter(|kept| kept.is_fresh())?;
        Some(kept.verdict.clone())
    }

    /// Returns the place of the verdict on `asked`, which may be empty.
    pub(super) fn slot(&self, asked: &Asked) -> Slot {
        let mut slots = self.slots();
        if slots.tunnels.len() + slots.plain.len() + slots.by_url.len() >= ANSWERS_MAX {
            *slots = Slots::default();
        }
        let slot = if asked.path.is_none() {
            slots.tunnels.entry(asked.target.clone()).or_default()
        } else if self.is_by_url {
            slots.by_url.entry(asked.query().url).or_default()
        } else {
            slots.plain.entry(asked.target.clone()).or_default()
        };
        if slot.get().is_some_and(|kept| !kept.is_fresh()) {
            *slot = Slot::default();
        }
        Arc::clone(slot)
    }

    /// Forgets all verdicts.
    pub(super) fn clear(&self) {
        *self.slots() = Slots::default();
    }

    fn slots(&self) -> MutexGuard<'_, Slots> {
        // Nothing in here panics half-way.
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    /// Makes a verdict that expires after `period`.
    pub(super) fn for_period(verdict: Verdict, period: Duration) -> Self {
        Self { verdict, until: Instant::now() + period }
    }

    fn is_fresh(&self) -> bool {
        self.until > Instant::now()
    }
}

/// The most verdicts that are kept. The next one clears them all.
const ANSWERS_MAX: usize = 4096;
