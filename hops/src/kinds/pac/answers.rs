//! A cache of a script's recent verdicts.

use std::{
    borrow::Cow,
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use foldhash::fast::RandomState;
use tokio::{sync::OnceCell, time::Instant};

use super::{
    asked::{Asked, with_path},
    plan::Verdict,
};
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

/// The places of verdicts. A target is in lower case here.
///
/// Every request looks here, so the hash is a fast one. Clients choose the keys; its random seed and [`ANSWERS_MAX`] limit
/// what keys with equal hashes could cost.
#[derive(Debug, Default)]
struct Slots {
    /// The verdicts on tunnels, whose URL says no more than their target. Those on plain requests too, if the script
    /// looks at no URL.
    by_target: HashMap<Authority, Slot, RandomState>,
    /// The verdicts on plain requests, if the script may look at their URL: by target, and by path and query. A verdict is
    /// found by parts of the request, without a copy of them.
    by_url: HashMap<Authority, HashMap<Box<str>, Slot, RandomState>, RandomState>,
    /// The number of all verdicts.
    count: usize,
}

impl Answers {
    pub(super) fn new(is_by_url: bool) -> Self {
        Self { is_by_url, slots: Mutex::default() }
    }

    /// Returns a cache for the same script, without a verdict.
    pub(super) fn emptied(&self) -> Self {
        Self::new(self.is_by_url)
    }

    /// Returns the verdict on `request`, if it is known.
    pub(super) fn known(&self, request: Request<'_>) -> Option<Verdict> {
        match request.plain.as_ref().filter(|_| self.is_by_url) {
            None => self.known_at(request, None),
            Some(line) => with_path(line, |path| self.known_at(request, Some(path))),
        }
    }

    fn known_at(&self, request: Request<'_>, path: Option<&str>) -> Option<Verdict> {
        let slots = self.slots();
        let kept = slots.find(request.target, path)?.get()?;
        let now = request.begun.unwrap_or_else(Instant::now);
        kept.is_fresh(now).then(|| kept.verdict.clone())
    }

    /// Returns the place of the verdict on `asked`, which may be empty. That of a long URL is not kept.
    pub(super) fn slot(&self, asked: &Asked) -> Slot {
        let path = asked.path.as_deref().filter(|_| self.is_by_url);
        if path.is_some_and(|path| path.len() > PATH_BYTES_MAX) {
            return Slot::default();
        }
        let mut slots = self.slots();
        if slots.count >= ANSWERS_MAX {
            *slots = Slots::default();
        }
        let slot = slots.place(&asked.target, path);
        if slot.get().is_some_and(|kept| !kept.is_fresh(Instant::now())) {
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

impl Slots {
    /// Returns the place of the verdict on a request for `target`, if it has one.
    fn find(&self, target: &Authority, path: Option<&str>) -> Option<&Slot> {
        let find = |target: &Authority| match path {
            None => self.by_target.get(target),
            Some(path) => self.by_url.get(target)?.get(path),
        };
        // Most names are in lower case already. To look for the name as it is costs such a request less than to check it.
        find(target).or_else(|| match target.to_lower() {
            Cow::Owned(lower) => find(&lower),
            Cow::Borrowed(_) => None,
        })
    }

    /// Returns the place of the verdict on a request for `target`, which is in lower case. Makes one if there is none.
    fn place(&mut self, target: &Authority, path: Option<&str>) -> &mut Slot {
        let Self { by_target, by_url, count } = self;
        let new = || {
            *count += 1;
            Slot::default()
        };
        match path {
            None => by_target.entry(target.clone()).or_insert_with(new),
            Some(path) => {
                let of_target = by_url.entry(target.clone()).or_default();
                of_target.entry(path.into()).or_insert_with(new)
            }
        }
    }
}

impl Kept {
    /// Makes a verdict that expires after `period`.
    pub(super) fn for_period(verdict: Verdict, period: Duration) -> Self {
        Self { verdict, until: Instant::now() + period }
    }

    fn is_fresh(&self, now: Instant) -> bool {
        self.until > now
    }
}

/// The most verdicts that are kept. The next one clears them all.
const ANSWERS_MAX: usize = 4096;
/// The longest path and query of a URL whose verdict is kept. A request may have one of many KiB, and thousands of them are
/// kept.
const PATH_BYTES_MAX: usize = 2048;

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
            let verdict = Err(Arc::new(super::super::failure::Failure::too_many_names(1)));
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
        for (length, expected) in [(PATH_BYTES_MAX, false), (1000, true)] {
            let uri = format!("http://a.test/{}", "x".repeat(length));
            let line = RequestLine { method: "GET", uri: &uri };
            let request = Request::new(&target, &preferences).with_plain(line);
            let verdict = Err(Arc::new(super::super::failure::Failure::too_many_names(1)));
            let slot = answers.slot(&Asked::new(request));
            slot.set(Kept::for_period(verdict, Duration::from_secs(60))).unwrap();
            assert_eq!(answers.known(request).is_some(), expected, "{length}");
        }
    }
}
