//! The last good document and the state of fetching it.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::time::Instant;

use super::problem::{LoadCause, LoadProblem};
use crate::{KeptDocument, Validators};

/// The state of the document.
#[derive(Debug)]
pub(super) struct RemoteState<V> {
    /// The last good document.
    pub(super) document: Option<Document<V>>,
    /// The number of members of the document before it, if there was one.
    pub(super) members_before: Option<usize>,
    /// Whether the document of an earlier process was asked for.
    pub(super) is_restored: bool,
    /// The network of the last fetch.
    pub(super) epoch: Option<u64>,
    /// When the last fetch ended.
    pub(super) checked: Option<SystemTime>,
    /// When the last successful fetch ended, even if the document had not changed.
    pub(super) confirmed: Option<SystemTime>,
    /// The time from which a request starts another fetch.
    pub(super) due: Option<Instant>,
    /// The pause after the next failure.
    pub(super) pause: Duration,
    pub(super) is_fetching: bool,
    /// Whether an operator has asked for a fetch that has not begun yet.
    pub(super) is_ordered: bool,
    /// Whether requests wait for the present fetch, because it is the first one in its network or an operator asked for it.
    pub(super) is_awaited: bool,
    /// The network in which requests began to wait, and the time at which they stop.
    pub(super) wait: Option<(u64, Instant)>,
    /// Why the last fetch failed, if it did.
    pub(super) problem: Option<LoadProblem>,
}

/// A document that was fetched and read.
#[derive(Debug)]
pub(super) struct Document<V> {
    pub(super) value: Arc<V>,
    pub(super) doubt: Option<String>,
    pub(super) loaded: SystemTime,
    /// A hash by which the same document is recognised. The document itself is not kept, since it may be a list of
    /// credentials.
    pub(super) fingerprint: u64,
    pub(super) validators: Validators,
}

impl<V> RemoteState<V> {
    pub(super) fn value(&self) -> Option<Arc<V>> {
        self.document.as_ref().map(|document| Arc::clone(&document.value))
    }

    /// Describes the last good document, if there is one. `members` counts the members of its value.
    pub(super) fn kept(&self, members: impl FnOnce(&V) -> Option<usize>) -> Option<KeptDocument> {
        let Document { value, loaded, .. } = self.document.as_ref()?;
        Some(KeptDocument { loaded: *loaded, members: members(value) })
    }

    /// Returns how long requests use the present value before one of them begins another fetch. Zero if the next one does.
    pub(super) fn retry(&self) -> Duration {
        self.due.map_or(Duration::ZERO, |due| due.saturating_duration_since(Instant::now()))
    }

    /// Returns the reason why there is no value.
    pub(super) fn failure(&self) -> LoadProblem {
        let not_yet = || LoadProblem::new(LoadCause::NotYet, "it was not fetched");
        self.problem.clone().unwrap_or_else(not_yet)
    }

    /// Records the outcome of a fetch: a new document, no change, or a failure. Returns whether operators should be told.
    pub(super) fn record(
        &mut self,
        loaded: Result<Option<Document<V>>, LoadProblem>,
        every: Duration,
    ) -> bool {
        let now = Instant::now();
        self.checked = Some(SystemTime::now());
        match loaded {
            Ok(loaded) => {
                self.confirmed = self.checked;
                let is_news = loaded.is_some() || self.problem.is_some();
                if loaded.is_some() {
                    self.document = loaded;
                }
                self.problem = None;
                self.pause = RETRY_MIN;
                self.due = Some(now + every);
                is_news
            }
            Err(problem) => {
                let pause = self.pause.max(RETRY_MIN);
                self.due = Some(now + pause);
                self.pause = (pause * 2).min(RETRY_MAX);
                let is_news = self.problem.as_ref() != Some(&problem);
                self.problem = Some(problem);
                is_news
            }
        }
    }
}

impl<V> Default for RemoteState<V> {
    fn default() -> Self {
        Self {
            document: None,
            members_before: None,
            is_restored: false,
            epoch: None,
            checked: None,
            confirmed: None,
            due: None,
            pause: Duration::default(),
            is_fetching: false,
            is_ordered: false,
            is_awaited: false,
            wait: None,
            problem: None,
        }
    }
}

/// The pauses between attempts that fail.
const RETRY_MIN: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(60);
