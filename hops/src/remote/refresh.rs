//! One fetch in the background. The first one begins with the saved document.

use std::{hash::BuildHasher as _, sync::Arc, time::SystemTime};

use tokio::time::Instant;

use super::{
    LoadProblem, ReadDocument, Reader, Remote, RemoteBody, RemoteServer,
    fetch::{Fetched, Server},
    state::Document,
};
use crate::{KeptDocument, SavedDocument, Services, SourceNews, Validators, thread_pool};

/// One fetch. Its end wakes the requests that wait for it, even if its task is dropped.
pub(super) struct Fetch<R: Reader> {
    pub(super) remote: Arc<Remote<R>>,
    pub(super) epoch: u64,
}

impl<R: Reader> Fetch<R> {
    pub(super) async fn run(self) {
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
            thread_pool::detach(move || saving.confirm(&name));
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

    /// Uses the document that an earlier process saved, if there is none yet. Requests that wait get it at once.
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
        let saved = thread_pool::run(move || looking.saved(&name)).await;
        let Ok(Some(SavedDocument { bytes, charset, validators, loaded })) = saved else { return };
        let fingerprint = remote.server.hasher.hash_one((&*bytes, &charset));
        let read = remote.reader.read(RemoteBody { bytes, charset }, None, *epoch).await;
        let ReadDocument { value, doubt } = match read {
            Ok(read) => read,
            // Another version of this program may have saved it. It is fetched right after this.
            Err(problem) => {
                let news = SourceNews::NotRestored(&problem.words);
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
        let ReadDocument { value, doubt } = read?;
        if let Some(saved) = saved {
            self.save(services, saved);
        }
        let value = Arc::new(value);
        Ok(Some(Document { value, doubt, loaded, fingerprint: present, validators }))
    }

    /// Stores the validators of the present document, whose text is `body`. They may have changed, for instance because the
    /// same document was uploaded again.
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

    /// Saves a document, without waiting for the disk.
    fn save(&self, services: &Arc<dyn Services>, document: SavedDocument) {
        let (services, name) = (Arc::clone(services), self.remote.saved_name());
        thread_pool::detach(move || services.save(&name, &document));
    }
}

impl<R: Reader> Drop for Fetch<R> {
    fn drop(&mut self) {
        let mut state = self.remote.state();
        (state.is_fetching, state.wait) = (false, None);
        // There is no time yet if the task was dropped before its end.
        state.due.get_or_insert_with(Instant::now);
        drop(state);
        self.remote.fetched.notify_waiters();
    }
}
