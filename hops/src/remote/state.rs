//! The last good document, and what is known of the fetches after it.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::time::Instant;

/// The state of the document.
#[derive(Debug)]
pub(super) struct RemoteState<V> {
    /// The last good document.
    pub(super) document: Option<Document<V>>,
    /// The network in which it was last asked for.
    pub(super) epoch: Option<u64>,
    /// When it was last asked for.
    pub(super) checked: Option<SystemTime>,
    /// The time from which a request starts another fetch.
    pub(super) due: Option<Instant>,
    /// The pause after the next failure.
    pub(super) pause: Duration,
    pub(super) is_fetching: bool,
    /// Whether requests wait for the fetch under way, because it is the first one in its network.
    pub(super) is_awaited: bool,
    /// The network in which requests began to wait, and the time at which they stop.
    pub(super) wait: Option<(u64, Instant)>,
    /// Why the last fetch failed, if it did.
    pub(super) problem: Option<String>,
}

/// A document that was fetched and read.
#[derive(Debug)]
pub(super) struct Document<V> {
    pub(super) value: Arc<V>,
    pub(super) doubt: Option<String>,
    pub(super) loaded: SystemTime,
    /// A hash by which an equal document is recognised. The document itself may be a list of credentials, of which no
    /// copy is kept.
    pub(super) fingerprint: u64,
    pub(super) etag: Option<String>,
}

impl<V> RemoteState<V> {
    pub(super) fn value(&self) -> Option<Arc<V>> {
        self.document.as_ref().map(|document| Arc::clone(&document.value))
    }

    /// Returns the reason why there is no value.
    pub(super) fn failure(&self) -> String {
        self.problem.clone().unwrap_or_else(|| "it was not fetched".to_owned())
    }

    /// Records the end of a fetch: another document, the same one, or a failure. Returns whether that is news.
    pub(super) fn record(
        &mut self,
        loaded: Result<Option<Document<V>>, String>,
        every: Duration,
    ) -> bool {
        let now = Instant::now();
        self.checked = Some(SystemTime::now());
        match loaded {
            Ok(loaded) => {
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
            epoch: None,
            checked: None,
            due: None,
            pause: Duration::default(),
            is_fetching: false,
            is_awaited: false,
            wait: None,
            problem: None,
        }
    }
}

/// The pauses between attempts that fail.
const RETRY_MIN: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(60);
