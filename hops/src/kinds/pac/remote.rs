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
    state: Mutex<RemoteState>,
    /// Notified when a fetch has ended.
    fetched: Notify,
}

/// The state of the file.
#[derive(Debug, Default)]
struct RemoteState {
    /// The last good one.
    script: Option<Arc<Script>>,
    text: Option<Box<str>>,
    etag: Option<String>,
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

/// The file as a request finds it.
enum Found {
    Script(Arc<Script>),
    /// A fetch is under way. If it takes too long, requests use this script.
    Fetching(Option<Arc<Script>>),
    Failed(Failure),
}

impl Remote {
    pub(super) fn new(url: PacUrl, tls: Option<TlsClient>, head_bytes_max: usize) -> Self {
        Self { url, tls, head_bytes_max, state: Mutex::default(), fetched: Notify::new() }
    }

    pub(super) fn url(&self) -> &PacUrl {
        &self.url
    }

    /// Returns the script if nothing has to be waited for. May begin a fetch.
    pub(super) fn ready(self: &Arc<Self>, services: &Arc<dyn Services>) -> Option<Arc<Script>> {
        match self.find(services) {
            Found::Script(script) => Some(script),
            Found::Fetching(_) | Found::Failed(_) => None,
        }
    }

    /// Returns the script, and waits for it if need be.
    ///
    /// # Errors
    /// There is none, for this reason.
    pub(super) async fn script(
        self: &Arc<Self>,
        services: &Arc<dyn Services>,
    ) -> Result<Arc<Script>, Failure> {
        let end = Instant::now() + REFRESH_WAIT_MAX;
        loop {
            let mut fetched = std::pin::pin!(self.fetched.notified());
            fetched.as_mut().enable();
            match self.find(services) {
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
    fn find(self: &Arc<Self>, services: &Arc<dyn Services>) -> Found {
        let epoch = services.network_epoch();
        let mut state = self.state();
        let is_elsewhere = state.epoch != Some(epoch);
        let is_due = is_elsewhere || state.due.is_none_or(|due| due <= Instant::now());
        if is_due && !state.is_fetching {
            state.is_fetching = true;
            state.is_awaited = is_elsewhere;
            (state.epoch, state.due) = (Some(epoch), None);
            let fetch = Fetch { remote: Arc::clone(self), services: Arc::clone(services), epoch };
            #[expect(clippy::disallowed_methods, reason = "shutdown need not wait for it")]
            drop(tokio::spawn(fetch.run()));
        }
        match (&state.script, state.is_fetching) {
            // A fetch that began in another network is followed by one in this one.
            (script, true) if state.is_awaited || is_elsewhere => Found::Fetching(script.clone()),
            (Some(script), _) => Found::Script(Arc::clone(script)),
            (None, true) => Found::Fetching(None),
            (None, false) => Found::Failed(self.failure(&state)),
        }
    }

    fn failure(&self, state: &RemoteState) -> Failure {
        let why = state.problem.as_deref().unwrap_or("it was not fetched");
        Failure::not_loaded(&self.url.to_string(), why)
    }

    /// Returns why there is no script for those who may not fetch it.
    pub(super) fn not_fetched(&self) -> Failure {
        self.failure(&self.state())
    }

    pub(super) fn shown(&self) -> DeciderState {
        let state = self.state();
        DeciderState {
            source: self.url.to_string(),
            loaded: state.script.as_ref().map(|script| script.loaded),
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
    services: Arc<dyn Services>,
    epoch: u64,
}

impl Fetch {
    async fn run(self) {
        let Remote { url, tls, head_bytes_max, .. } = &*self.remote;
        let etag = self.remote.state().etag.clone();
        let server = Server {
            services: &*self.services,
            tls: tls.as_ref(),
            head_bytes_max: *head_bytes_max,
        };
        let fetched = server.fetch(url, etag.as_deref()).await;
        let loaded = match fetched {
            Err(error) => Err(error.to_string()),
            Ok(Fetched::NotModified) => Ok(None),
            Ok(Fetched::File { bytes, charset, etag }) => {
                let text = decode(&bytes, charset.as_deref());
                if self.remote.state().text.as_deref() == Some(&*text) {
                    Ok(None)
                } else {
                    let script = Script::load_later(&text).await;
                    let loaded = script.map(|script| {
                        script.begin_in(self.epoch);
                        Some(NewScript { script: Arc::new(script), text: text.into(), etag })
                    });
                    loaded.map_err(|error| error.to_string())
                }
            }
        };
        let problem = loaded.as_ref().err().cloned();
        if self.remote.state().record(loaded) {
            self.services.read(&url.to_string(), problem.as_deref());
        }
    }
}

/// A script that takes the place of another one.
struct NewScript {
    script: Arc<Script>,
    text: Box<str>,
    etag: Option<String>,
}

impl RemoteState {
    /// Records the end of a fetch: another script, the same one, or a failure. Returns whether that is news.
    fn record(&mut self, loaded: Result<Option<NewScript>, String>) -> bool {
        let now = Instant::now();
        self.checked = Some(SystemTime::now());
        match loaded {
            Ok(loaded) => {
                let is_news = loaded.is_some() || self.problem.is_some();
                if let Some(NewScript { script, text, etag }) = loaded {
                    (self.script, self.text, self.etag) = (Some(script), Some(text), etag);
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
