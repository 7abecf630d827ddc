//! A document at a URL, such as a PAC file or a list of proxies: when it is fetched, and what is kept of it.

mod attached;
mod fetch;
mod problem;
mod state;
mod url;

use std::{
    fmt,
    hash::{BuildHasher as _, RandomState},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
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
    url::RemoteUrl,
};
use self::{
    fetch::{Fetched, Server},
    state::{Document, RemoteState},
};
use crate::{
    Eventual, KeptDocument, SavedDocument, Services, SourceKind, SourceNews, SourceState,
    Validators, tls::TlsClient,
};

/// Turns a document into the value that a hop uses.
pub(crate) trait Reader: fmt::Debug + Send + Sync + 'static {
    /// The value.
    type Value: fmt::Debug + Send + Sync + 'static;

    /// The kind of document.
    const KIND: SourceKind;
    /// The media types to ask for.
    const ACCEPT: &'static str;
    /// Whether the path of the URL must not be shown.
    const HIDES_URL: bool;
    /// Whether the last good document is saved, and used again by the next process until it has fetched a newer one.
    const IS_SAVED: bool;

    /// Returns the number of members that a value names, if it is a list.
    fn members(_value: &Self::Value) -> Option<usize> {
        None
    }

    /// Reads a document that differs from the last one, which gave the value `last`. `epoch` is that of the network.
    ///
    /// # Errors
    /// The reason why it can't be used, as a clause. The last value stays in use.
    fn read(
        &self,
        body: RemoteBody,
        last: Option<Arc<Self::Value>>,
        epoch: u64,
    ) -> impl Future<Output = Result<ReadDocument<Self::Value>, String>> + Send;
}

/// A document that was read.
#[derive(Debug)]
pub(crate) struct ReadDocument<V> {
    /// The value that it gave.
    pub(crate) value: V,
    /// Why a part of it was left out, if it was.
    pub(crate) doubt: Option<String>,
}

/// When a document is fetched.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FetchPolicy {
    /// How long a document is used before it is asked for again.
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
    /// Recognises a document by its hash, also after a reload that made another hop of this one.
    pub(crate) hasher: RandomState,
}

/// A document at a URL, and the value that `R` makes of it.
///
/// It is fetched when a request needs it: at first, after the time that its policy says, and after a change of the
/// network. Without requests there is no traffic and no timer. A fetch is a task of its own, which no client's end
/// cancels. While a good value is in use, requests wait for a fetch only after a change of the network, and not for long.
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
    /// A fetch is under way. If it takes until then, requests use this value.
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

    /// Takes over the last good document of `before`, if that has the same URL. `value` makes the value of it.
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
        // A fetch that is under way for `before` is not waited for.
        ours.due = Some(theirs.due.map_or_else(Instant::now, |due| due.min(soon)));
        ours.problem.clone_from(&theirs.problem);
    }

    /// Lets the next request begin a fetch. It does not wait for it.
    pub(crate) fn ask_again(&self) {
        self.state().due = Some(Instant::now());
    }

    /// Begins a fetch, whatever the age of the document. One that is under way is followed by another, since the order may
    /// be younger than its answer. If the document follows the network, requests wait for it as after a change of that.
    /// Returns whether it can be fetched.
    pub(crate) fn fetch_now(self: &Arc<Self>) -> bool {
        let Some(services) = self.server.services.present() else { return false };
        self.state().is_ordered = true;
        // This begins the fetch, and what it finds is not needed here.
        self.find(services.network_epoch());
        true
    }

    /// Returns the URL as far as it may be shown.
    pub(crate) fn shown_url(&self) -> String {
        let url = &self.server.url;
        if R::HIDES_URL { url.server() } else { url.expose() }
    }

    /// Returns how long requests use what there is before one of them asks again.
    pub(crate) fn retry(&self) -> Duration {
        self.state().retry()
    }

    /// Returns the value that is in use, if there is one. Begins no fetch.
    pub(crate) fn present(&self) -> Option<Arc<R::Value>> {
        self.state().value()
    }

    /// Returns the value if nothing has to be waited for in the network of this epoch. May begin a fetch.
    pub(crate) fn ready(self: &Arc<Self>, epoch: u64) -> Option<Arc<R::Value>> {
        match self.find(epoch) {
            Found::Value(value) => Some(value),
            Found::Fetching | Found::Refreshing(..) | Found::Failed(_) => None,
        }
    }

    /// Waits until [`value`](Self::value) no longer has to.
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

    /// Looks at what there is, and begins a fetch if one is due.
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
            // A fetch that began in another network, or before an order, is followed by another one.
            (Some(value), true) if state.is_awaited || must_wait => {
                // One wait for all requests of this network, and for one that asks again.
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
            // Before the first request there is nothing to ask again.
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
        // Nothing in here panics half-way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One fetch. Its end wakes the requests that wait for it, even if its task is dropped.
struct Fetch<R: Reader> {
    remote: Arc<Remote<R>>,
    epoch: u64,
}

impl<R: Reader> Fetch<R> {
    async fn run(self) {
        let Self { remote, .. } = &self;
        let Some(services) = remote.server.services.present() else { return };
        self.restore(services).await;
        let loaded = self.load(services).await;
        let problem = loaded.as_ref().err().cloned();
        let is_unchanged = matches!(loaded, Ok(None));
        let is_new = matches!(loaded, Ok(Some(_)));
        let doubt = loaded.as_ref().ok().and_then(|new| new.as_ref()?.doubt.clone());
        let (is_news, kept, before, retry) = {
            let mut state = remote.state();
            let before = state.kept(R::members).filter(|_| is_new).and_then(|last| last.members);
            state.members_before = before.or(state.members_before);
            let is_news = state.record(loaded, remote.policy.every);
            (is_news, state.kept(R::members), before, state.retry())
        };
        if R::IS_SAVED && is_unchanged {
            let (saving, name) = (Arc::clone(services), remote.saved_name());
            drop(tokio::task::spawn_blocking(move || saving.confirm(&name)));
        }
        if is_news {
            let source = remote.shown_url();
            let news = match &problem {
                Some(problem) => SourceNews::NotLoaded { problem: &problem.words, kept, retry },
                None => SourceNews::Loaded { members: kept.and_then(|kept| kept.members), before },
            };
            services.report(R::KIND, &source, news);
            if let Some(doubt) = &doubt {
                services.report(R::KIND, &source, SourceNews::Doubtful(doubt));
            }
        }
    }

    /// Takes the document that an earlier process saved, if there is none yet. Requests that wait use it at once.
    async fn restore(&self, services: &Arc<dyn Services>) {
        let Self { remote, epoch } = self;
        let is_due = {
            let mut state = remote.state();
            R::IS_SAVED
                && state.document.is_none()
                && !std::mem::replace(&mut state.is_restored, true)
        };
        if !is_due {
            return;
        }
        let (looking, name) = (Arc::clone(services), remote.saved_name());
        let saved = tokio::task::spawn_blocking(move || looking.saved(&name)).await;
        let Ok(Some(SavedDocument { bytes, charset, validators, loaded })) = saved else { return };
        let fingerprint = remote.server.hasher.hash_one((&*bytes, &charset));
        let read = remote.reader.read(RemoteBody { bytes, charset }, None, *epoch).await;
        let ReadDocument { value, doubt } = match read {
            Ok(read) => read,
            // A later version may read it in another way. It is about to be fetched again.
            Err(problem) => {
                let news = SourceNews::NotRestored(&problem);
                services.report(R::KIND, &remote.shown_url(), news);
                return;
            }
        };
        let kept = KeptDocument { loaded, members: R::members(&value) };
        let value = Arc::new(value);
        remote.state().document = Some(Document { value, doubt, loaded, fingerprint, validators });
        remote.fetched.notify_waiters();
        services.report(R::KIND, &remote.shown_url(), SourceNews::Restored(kept));
    }

    /// Fetches the document and reads it. Returns `None` if it has not changed.
    ///
    /// # Errors
    /// The reason why there is no document, or no value in it.
    async fn load(
        &self,
        services: &Arc<dyn Services>,
    ) -> Result<Option<Document<R::Value>>, LoadProblem> {
        let Remote { reader, server, policy, .. } = &*self.remote;
        let (last, fingerprint, known) = {
            let state = self.remote.state();
            let document = state.document.as_ref();
            let fingerprint = document.map(|document| document.fingerprint);
            let known = document.map(|document| document.validators.clone());
            (state.value(), fingerprint, known.unwrap_or_default())
        };
        let RemoteServer { url, tls, head_bytes_max, hasher, .. } = server;
        let server = Server {
            services: &**services,
            tls: tls.as_ref(),
            head_bytes_max: *head_bytes_max,
            accept: R::ACCEPT,
            patience: policy.patience,
        };
        let (body, mut validators) = match server.fetch(url, &known).await {
            Ok(Fetched::Document { body, validators }) => (body, validators),
            Ok(Fetched::NotModified) => return Ok(None),
            Err(error) => {
                let words = if R::HIDES_URL { error.without_urls() } else { error.to_string() };
                return Err(LoadProblem::new(error.cause(url.is_tls()), words));
            }
        };
        if policy.follows_network {
            // In another network, the same URL may lead to a different and older document.
            validators.last_modified = None;
        }
        let present = hasher.hash_one((&*body.bytes, &body.charset));
        if fingerprint == Some(present) {
            self.revalidated(services, body, validators);
            return Ok(None);
        }
        let loaded = SystemTime::now();
        let saved = R::IS_SAVED.then(|| SavedDocument {
            bytes: body.bytes.clone(),
            charset: body.charset.clone(),
            validators: validators.clone(),
            loaded,
        });
        let read = reader.read(body, last, self.epoch).await;
        let ReadDocument { value, doubt } =
            read.map_err(|words| LoadProblem::new(LoadCause::Content, words))?;
        if let Some(saved) = saved {
            self.save(services, saved);
        }
        let value = Arc::new(value);
        Ok(Some(Document { value, doubt, loaded, fingerprint: present, validators }))
    }

    /// Notes how the server knows the present document, which is `body`. It may do so in another way than before, as after
    /// the same document was uploaded again.
    fn revalidated(&self, services: &Arc<dyn Services>, body: RemoteBody, validators: Validators) {
        let loaded = {
            let mut state = self.remote.state();
            let changed = state.document.as_mut().filter(|known| known.validators != validators);
            let Some(document) = changed else { return };
            document.validators = validators.clone();
            document.loaded
        };
        if R::IS_SAVED {
            let RemoteBody { bytes, charset } = body;
            self.save(services, SavedDocument { bytes, charset, validators, loaded });
        }
    }

    /// Saves a document. Nothing waits for the disk.
    fn save(&self, services: &Arc<dyn Services>, document: SavedDocument) {
        let (services, name) = (Arc::clone(services), self.remote.saved_name());
        drop(tokio::task::spawn_blocking(move || services.save(&name, &document)));
    }
}

impl<R: Reader> Drop for Fetch<R> {
    fn drop(&mut self) {
        let mut state = self.remote.state();
        (state.is_fetching, state.wait) = (false, None);
        // Only if the task was dropped half-way.
        state.due.get_or_insert_with(Instant::now);
        drop(state);
        self.remote.fetched.notify_waiters();
    }
}

/// How long requests wait for a fetch after a change of the network while they could have the last good value.
const REFRESH_WAIT_MAX: Duration = Duration::from_secs(3);
