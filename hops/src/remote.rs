//! Fetches and keeps a document at a URL, such as a PAC file or a list of proxies.

mod attached;
mod fetch;
mod problem;
mod reader;
mod refresh;
mod state;
mod url;

use std::{
    hash::RandomState,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use sha2::{Digest as _, Sha256};
use tokio::{
    sync::Notify,
    time::{Instant, timeout_at},
};

pub(crate) use self::{
    attached::Attached,
    fetch::RemoteBody,
    problem::{LoadCause, LoadProblem, next_fetch},
    reader::{ReadDocument, Reader},
    url::RemoteUrl,
};
use self::{
    refresh::Fetch,
    state::{Document, RemoteState},
};
use crate::{Eventual, SourceState, tls::TlsClient};

/// When a document is fetched.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FetchPolicy {
    /// How long a document is used before it is fetched again.
    pub(crate) every: Duration,
    /// The longest time that a fetch may take.
    pub(crate) patience: Duration,
    /// Whether the document may be another one in another network. Requests then wait for a short while after a change
    /// of the network.
    pub(crate) follows_network: bool,
}

/// The server of a document, and how its answers are read.
#[derive(Debug)]
pub(crate) struct RemoteServer {
    pub(crate) url: RemoteUrl,
    pub(crate) tls: Option<TlsClient>,
    pub(crate) head_bytes_max: usize,
    pub(crate) services: Arc<Attached>,
    /// Hashes documents, so that the same one is recognised even after a reload has built the hop again.
    pub(crate) hasher: RandomState,
}

/// A document at a URL, and the value that `R` makes of it.
///
/// It is fetched when a request needs it: at first, when it is older than its policy allows, and after a change of the
/// network. Without requests there is no traffic and no timer. A fetch is a task of its own, so it goes on if the client that
/// caused it leaves. While a good value is in use, requests wait for a fetch only after a change of the network, and not for
/// long.
#[derive(Debug)]
pub(crate) struct Remote<R: Reader> {
    reader: R,
    server: RemoteServer,
    policy: FetchPolicy,
    state: Mutex<RemoteState<R::Value>>,
    /// Notified when a fetch has ended.
    fetched: Notify,
}

/// The value as a request finds it.
enum Found<V> {
    Value(Arc<V>),
    /// A fetch is under way, and there is no value yet.
    Fetching,
    /// A fetch is under way. Requests use this value if the fetch takes longer than until then.
    Refreshing(Arc<V>, Instant),
    /// There is no value, for this reason.
    Failed(LoadProblem),
}

impl<R: Reader> Remote<R> {
    pub(crate) fn new(reader: R, server: RemoteServer, policy: FetchPolicy) -> Self {
        let (state, fetched) = (Mutex::default(), Notify::new());
        Self { reader, server, policy, state, fetched }
    }

    pub(crate) fn reader(&self) -> &R {
        &self.reader
    }

    /// Takes over the last good document of `before` if both have the same URL. `value` converts its value.
    pub(crate) fn inherit(
        &self,
        before: &Self,
        value: impl FnOnce(&Arc<R::Value>) -> Arc<R::Value>,
    ) {
        let theirs = before.state();
        let Some(document) = &theirs.document else { return };
        if self.server.url != before.server.url {
            return;
        }
        let soon = Instant::now() + self.policy.every;
        let mut ours = self.state();
        ours.document = Some(Document {
            value: value(&document.value),
            doubt: document.doubt.clone(),
            validators: document.validators.clone(),
            ..*document
        });
        (ours.epoch, ours.checked, ours.confirmed) =
            (theirs.epoch, theirs.checked, theirs.confirmed);
        ours.members_before = theirs.members_before;
        // Nobody waits for a fetch that `before` has begun.
        ours.due = Some(theirs.due.map_or_else(Instant::now, |due| due.min(soon)));
        ours.problem.clone_from(&theirs.problem);
    }

    /// Lets the next request begin a fetch. It does not wait for it.
    #[cfg(feature = "pac")]
    pub(crate) fn ask_again(&self) {
        self.state().due = Some(Instant::now());
    }

    /// Begins a fetch, whatever the age of the document. If one is under way, another follows, since its answer may be older
    /// than this order. If the document depends on the network, requests wait as after a change of the network. Returns
    /// whether the document can be fetched.
    pub(crate) fn fetch_now(self: &Arc<Self>) -> bool {
        let Some(services) = self.server.services.present() else { return false };
        self.state().is_ordered = true;
        // This begins the fetch. The value is not needed here.
        self.find(services.network_epoch());
        true
    }

    /// Returns the URL as far as it may be shown.
    pub(crate) fn shown_url(&self) -> String {
        let url = &self.server.url;
        if R::HIDES_URL { url.server() } else { url.expose() }
    }

    /// Returns how long requests use the present value before one of them begins another fetch.
    pub(crate) fn retry(&self) -> Duration {
        self.state().retry()
    }

    /// Returns the value that is in use, if there is one. Begins no fetch.
    pub(crate) fn present(&self) -> Option<Arc<R::Value>> {
        self.state().value()
    }

    /// Returns the value if requests in the network of this epoch need not wait. May begin a fetch.
    pub(crate) fn ready(self: &Arc<Self>, epoch: u64) -> Option<Arc<R::Value>> {
        match self.find(epoch) {
            Found::Value(value) => Some(value),
            Found::Fetching | Found::Refreshing(..) | Found::Failed(_) => None,
        }
    }

    /// Waits until [`value`](Self::value) can return at once.
    #[cfg_attr(not(feature = "pac"), expect(dead_code, reason = "only PAC files are waited for"))]
    pub(crate) fn prepare(self: &Arc<Self>) -> Eventual<'static, ()> {
        let Some(services) = self.server.services.present() else { return Eventual::Ready(()) };
        match self.find(services.network_epoch()) {
            Found::Value(_) | Found::Failed(_) => Eventual::Ready(()),
            Found::Fetching | Found::Refreshing(..) => {
                let remote = Arc::clone(self);
                Eventual::later(async move {
                    // The request finds the value, or the reason why there is none.
                    let _ = remote.value().await;
                })
            }
        }
    }

    /// Returns the value, and waits for it if need be.
    ///
    /// # Errors
    /// There is none, for this reason.
    pub(crate) async fn value(self: &Arc<Self>) -> Result<Arc<R::Value>, LoadProblem> {
        let end = Instant::now() + REFRESH_WAIT_MAX;
        loop {
            let mut fetched = std::pin::pin!(self.fetched.notified());
            fetched.as_mut().enable();
            let Some(services) = self.server.services.present() else {
                return Err(self.state().failure());
            };
            match self.find(services.network_epoch()) {
                Found::Value(value) => return Ok(value),
                Found::Failed(why) => return Err(why),
                Found::Fetching => fetched.await,
                Found::Refreshing(value, until) => {
                    if timeout_at(until.min(end), fetched).await.is_err() {
                        return Ok(value);
                    }
                }
            }
        }
    }

    /// Returns the present state, after beginning a fetch if one is due.
    fn find(self: &Arc<Self>, epoch: u64) -> Found<R::Value> {
        let mut state = self.state();
        let is_elsewhere = state.epoch != Some(epoch);
        let must_wait = (is_elsewhere || state.is_ordered) && self.policy.follows_network;
        // Another network may reach a server that the last one did not.
        let may_work_now = is_elsewhere && (state.document.is_none() || state.problem.is_some());
        let now = Instant::now();
        let is_over = state.due.is_none_or(|due| due <= now);
        if (must_wait || may_work_now || is_over || state.is_ordered) && !state.is_fetching {
            (state.is_fetching, state.is_ordered) = (true, false);
            state.is_awaited = must_wait;
            (state.epoch, state.due) = (Some(epoch), None);
            let fetch = Fetch { remote: Arc::clone(self), epoch };
            #[expect(clippy::disallowed_methods, reason = "shutdown need not wait for it")]
            drop(tokio::spawn(fetch.run()));
        }
        match (state.value(), state.is_fetching) {
            // If the fetch began in another network, or before an order, another one follows.
            (Some(value), true) if state.is_awaited || must_wait => {
                // All requests in this network share one deadline, even if they ask several times.
                let wait = state.wait.filter(|(of, _)| *of == epoch);
                let (_, until) =
                    *state.wait.insert(wait.unwrap_or((epoch, now + REFRESH_WAIT_MAX)));
                if now < until { Found::Refreshing(value, until) } else { Found::Value(value) }
            }
            (Some(value), _) => Found::Value(value),
            (None, true) => Found::Fetching,
            (None, false) => Found::Failed(state.failure()),
        }
    }

    /// Describes the document and its last fetch.
    pub(crate) fn shown(&self) -> SourceState {
        let state = self.state();
        let document = state.document.as_ref();
        SourceState {
            loaded: document.map(|document| document.loaded),
            members: document.and_then(|document| R::members(&document.value)),
            members_before: state.members_before,
            checked: state.checked,
            confirmed: state.confirmed,
            // Before the first fetch there is nothing to repeat.
            retry: state.checked.map(|_| state.retry()),
            problem: state.problem.as_ref().map(|problem| problem.words.clone()),
            doubt: document.and_then(|document| document.doubt.clone()),
            ..SourceState::new(R::KIND, self.shown_url())
        }
    }

    /// Returns the name under which the document is saved. It is a hash, since the URL may be a credential.
    pub(crate) fn saved_name(&self) -> String {
        let hash = Sha256::digest(self.server.url.expose().as_bytes());
        hash.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn state(&self) -> MutexGuard<'_, RemoteState<R::Value>> {
        // Nothing panics under the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How long requests wait for a fetch after a change of the network although there is a good value.
const REFRESH_WAIT_MAX: Duration = Duration::from_secs(3);
