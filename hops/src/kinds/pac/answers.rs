//! A cache of a script's recent verdicts.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::OnceCell, time::Instant};

use super::{asked::Asked, plan::Verdict};
use crate::{Authority, Request};

/// Recent verdicts, by target or by URL.
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
    /// The verdicts on tunnels, whose URL says no more than their target. Those on plain requests too, if the script
    /// looks at no URL.
    by_target: HashMap<Authority, Slot>,
    /// The verdicts on plain requests, if the script may look at their URL.
    by_url: HashMap<Box<str>, Slot>,
}

impl Answers {
    pub(super) fn new(is_by_url: bool) -> Self {
        Self { is_by_url, slots: Mutex::default() }
    }

    /// Returns the verdict on `request`, if it is known.
    pub(super) fn known(&self, request: Request<'_>) -> Option<Verdict> {
        // Made before the lock is taken.
        let has_url = self.is_by_url && request.plain.is_some();
        let url = has_url.then(|| Asked::new(request).query().url);
        let target = request.target.to_lower();
        let slots = self.slots();
        let slot = match url {
            Some(url) => slots.by_url.get(&url),
            None => slots.by_target.get(&*target),
        };
        let kept = slot?.get().filter(|kept| kept.is_fresh())?;
        Some(kept.verdict.clone())
    }

    /// Returns the place of the verdict on `asked`, which may be empty. That of a long URL is not kept.
    pub(super) fn slot(&self, asked: &Asked) -> Slot {
        let url = (self.is_by_url && asked.path.is_some()).then(|| asked.query().url);
        if url.as_ref().is_some_and(|url| url.len() > URL_BYTES_MAX) {
            return Slot::default();
        }
        let mut slots = self.slots();
        if slots.by_target.len() + slots.by_url.len() >= ANSWERS_MAX {
            *slots = Slots::default();
        }
        let slot = match url {
            Some(url) => slots.by_url.entry(url).or_default(),
            None => slots.by_target.entry(asked.target.clone()).or_default(),
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
/// The longest URL whose verdict is kept. A request may have one of many KiB, and thousands of them are kept.
const URL_BYTES_MAX: usize = 2048;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Preferences, RequestLine};

    #[test]
    fn a_verdict_counts_for_a_target_or_for_one_url_if_the_script_looks_at_it() {
        let (target, preferences) = ("A.test:80".parse().unwrap(), Preferences::default());
        let tunnel = Request::new(&target, &preferences);
        let plain = |uri| tunnel.with_plain(RequestLine { method: "GET", uri });
        let (one, two) = (&"http://a.test/1", &"http://a.test/2");
        for (is_by_url, asked, expected) in [
            (false, tunnel, [true, true, true]),
            (false, plain(one), [true, true, true]),
            (true, tunnel, [true, false, false]),
            (true, plain(one), [false, true, false]),
        ] {
            let answers = Answers::new(is_by_url);
            let verdict = Err(Arc::new(super::super::plan::Failure::too_many_names(1)));
            let slot = answers.slot(&Asked::new(asked));
            slot.set(Kept::for_period(verdict, Duration::from_secs(60))).unwrap();
            let known = [tunnel, plain(one), plain(two)].map(|one| answers.known(one).is_some());
            assert_eq!(known, expected, "{is_by_url}");
            answers.clear();
            assert!(answers.known(asked).is_none());
        }
    }

    #[test]
    fn the_verdict_on_a_long_url_takes_no_room() {
        let (target, preferences) = ("a.test:80".parse().unwrap(), Preferences::default());
        let answers = Answers::new(true);
        for (length, expected) in [(URL_BYTES_MAX, false), (1000, true)] {
            let uri = format!("http://a.test/{}", "x".repeat(length));
            let line = RequestLine { method: "GET", uri: &uri };
            let request = Request::new(&target, &preferences).with_plain(line);
            let verdict = Err(Arc::new(super::super::plan::Failure::too_many_names(1)));
            let slot = answers.slot(&Asked::new(request));
            slot.set(Kept::for_period(verdict, Duration::from_secs(60))).unwrap();
            assert_eq!(answers.known(request).is_some(), expected, "{length}");
        }
    }
}
