//! A PAC file at a URL: when it is fetched, and what is kept of it.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use mooltiroute_pac::decode;
use tokio::{
    sync::Notify,
    time::{Instant, timeout_at},
};

use super::{
    attached::Attached,
    fetch::{Fetched, PacUrl, Server},
    plan::Failure,
    script::Script,
};
use crate::{DeciderState, Services, tls::TlsClient};

/// A PAC file at a URL.
///
/// It is fetched when a request needs it: at first, ten minutes after the last time, and after a change of the network.
/// Without requests there is no traffic and no timer. A fetch is a task of its own, which no client's end cancels. While
/// a good script is in use, requests wait for a fetch only after a change of the network, and not for long.
#[derive(Debug)]
pub(super) struct Remote {
    url: PacUrl,
    tls: Option<TlsClient>,
    head_bytes_max: usize,
    services: Arc<Attached>,
    state: Mutex<RemoteState>,
    /// Notified when a fetch has ended.
    fetched: Notify,
}

/// The state of the file.
#[derive(Debug, Default)]
struct RemoteState {
    /// The last good file.
    file: Option<RemoteFile>,
    /// The network in which it was last asked for.
    epoch: Option<u64>,
    /// When it was last asked for.
    checked: Option<SystemTime>,
    /// The time from which a request starts another fetch.
    due: Option<Instant>,
    /// The pause after the next failure.
    pause: Duration,
    is_fetching: bool,
    /// Whether requests wait for the fetch under way, because it is the first one in its network.
    is_awaited: bool,
    /// Why the last fetch failed, if it did.
    problem: Option<String>,
}

/// A file that was fetched and loaded.
#[derive(Debug)]
struct RemoteFile {
    script: Arc<Script>,
    text: Box<str>,
    etag: Option<String>,
}

/// The script as a request finds it.
enum Found {
    Script(Arc<Script>),
    /// A fetch is under way. If it takes too long, requests use this script.
    Fetching(Option<Arc<Script>>),
    Failed(Failure),
}

impl Remote {
    pub(super) fn new(
        url: PacUrl,
        tls: Option<TlsClient>,
        head_bytes_max: usize,
        services: Arc<Attached>,
    ) -> Self {
        let (state, fetched) = (Mutex::default(), Notify::new());
        Self { url, tls, head_bytes_max, services, state, fetched }
    }

    pub(super) fn url(&self) -> &PacUrl {
        &self.url
    }

    /// Returns the script if nothing has to be waited for in the network of this epoch. May begin a fetch.
    pub(super) fn ready(self: &Arc<Self>, epoch: u64) -> Option<Arc<Script>> {
        match self.find(epoch) {
            Found::Script(script) => Some(script),
            Found::Fetching(_) | Found::Failed(_) => None,
        }
    }

    /// Returns the script, and waits for it if need be.
    ///
    /// # Errors
    /// There is none, for this reason.
    pub(super) async fn script(self: &Arc<Self>) -> Result<Arc<Script>, Failure> {
        let end = Instant::now() + REFRESH_WAIT_MAX;
        loop {
            let mut fetched = std::pin::pin!(self.fetched.notified());
            fetched.as_mut().enable();
            let Some(services) = self.services.present() else {
                return Err(self.failure(&self.state()));
            };
            match self.find(services.network_epoch()) {
                Found::Script(script) => return Ok(script),
                Found::Failed(failure) => return Err(failure),
                Found::Fetching(None) => fetched.await,
                Found::Fetching(Some(script)) => {
                    if timeout_at(end, fetched).await.is_err() {
                        return Ok(script);
                    }
                }
            }
        }
    }

    /// Looks at what there is, and begins a fetch if one is due.
    fn find(self: &Arc<Self>, epoch: u64) -> Found {
        let mut state = self.state();
        let is_elsewhere = state.epoch != Some(epoch);
        let is_due = is_elsewhere || state.due.is_none_or(|due| due <= Instant::now());
        if is_due && !state.is_fetching {
            state.is_fetching = true;
            state.is_awaited = is_elsewhere;
            (state.epoch, state.due) = (Some(epoch), None);
            let fetch = Fetch { remote: Arc::clone(self), epoch };
            #[expect(clippy::disallowed_methods, reason = "shutdown need not wait for it")]
            drop(tokio::spawn(fetch.run()));
        }
        let script = state.file.as_ref().map(|file| Arc::clone(&file.script));
        match (script, state.is_fetching) {
            // A fetch that began in another network is followed by one in this one.
            (script, true) if state.is_awaited || is_elsewhere => Found::Fetching(script),
            (Some(script), _) => Found::Script(script),
            (None, true) => Found::Fetching(None),
            (None, false) => Found::Failed(self.failure(&state)),
        }
    }

    fn failure(&self, state: &RemoteState) -> Failure {
        let why = state.problem.as_deref().unwrap_or("it was not fetched");
        Failure::not_loaded(&self.url.to_string(), why)
    }

    pub(super) fn shown(&self) -> DeciderState {
        let state = self.state();
        DeciderState {
            source: self.url.to_string(),
            loaded: state.file.as_ref().map(|file| file.script.loaded),
            checked: state.checked,
            problem: state.problem.clone(),
        }
    }

    fn state(&self) -> MutexGuard<'_, RemoteState> {
        // Nothing in here panics half-way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One fetch. Its end wakes the requests that wait for it, even if its task is dropped.
struct Fetch {
    remote: Arc<Remote>,
    epoch: u64,
}

impl Fetch {
    async fn run(self) {
        let Self { remote, .. } = &self;
        let Some(services) = remote.services.present() else { return };
        let loaded = self.load(&**services).await;
        let problem = loaded.as_ref().err().cloned();
        if remote.state().record(loaded) {
            services.read(&remote.url.to_string(), problem.as_deref());
        }
    }

    /// Fetches the file and loads the script. Returns `None` if the file has not changed.
    ///
    /// # Errors
    /// The reason why there is no file, or no script in it.
    async fn load(&self, services: &dyn Services) -> Result<Option<RemoteFile>, String> {
        let Remote { url, tls, head_bytes_max, .. } = &*self.remote;
        let etag = self.remote.state().file.as_ref().and_then(|file| file.etag.clone());
        let server = Server { services, tls: tls.as_ref(), head_bytes_max: *head_bytes_max };
        let fetched = server.fetch(url, etag.as_deref()).await;
        let (bytes, charset, etag) = match fetched.map_err(|error| error.to_string())? {
            Fetched::NotModified => return Ok(None),
            Fetched::File { bytes, charset, etag } => (bytes, charset, etag),
        };
        let text: Box<str> = decode(&bytes, charset.as_deref()).into();
        if self.remote.state().file.as_ref().is_some_and(|file| file.text == text) {
            return Ok(None);
        }
        let script = Script::load_later(&text).await.map_err(|error| error.to_string())?;
        script.begin_in(self.epoch);
        Ok(Some(RemoteFile { script: Arc::new(script), text, etag }))
    }
}

impl RemoteState {
    /// Records the end of a fetch: another script, the same one, or a failure. Returns whether that is news.
    fn record(&mut self, loaded: Result<Option<RemoteFile>, String>) -> bool {
        let now = Instant::now();
        self.checked = Some(SystemTime::now());
        match loaded {
            Ok(loaded) => {
                let is_news = loaded.is_some() || self.problem.is_some();
                if loaded.is_some() {
                    self.file = loaded;
                }
                self.problem = None;
                self.pause = RETRY_MIN;
                self.due = Some(now + FRESH);
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

impl Drop for Fetch {
    fn drop(&mut self) {
        let mut state = self.remote.state();
        state.is_fetching = false;
        // Only if the task was dropped half-way.
        state.due.get_or_insert_with(Instant::now);
        drop(state);
        self.remote.fetched.notify_waiters();
    }
}

/// How long a file is used before it is asked for again.
const FRESH: Duration = Duration::from_secs(10 * 60);
/// How long requests wait for a fetch after a change of the network while they could have the last good script.
const REFRESH_WAIT_MAX: Duration = Duration::from_secs(3);
/// The pauses between attempts that fail.
const RETRY_MIN: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(60);
