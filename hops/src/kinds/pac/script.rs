//! A script that is loaded, with what it answered lately.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use mooltiroute_pac::{Outcome, PacError, PacRunner, looks_at_url};
use tokio::{
    sync::oneshot,
    time::{Instant, timeout},
};

use super::{
    PacMember,
    answers::{Answers, Kept},
    asked::Asked,
    failure::Failure,
    names::{Names, PacFacts},
    plan::{Rules, Verdict},
};
use crate::{Decision, Prediction, Request, Services};

/// A script on its thread, its answers, and the names that it asked for.
#[derive(Debug)]
pub(super) struct Script {
    runner: Arc<PacRunner>,
    answers: Answers,
    names: Arc<Names>,
    /// The network in which the answers were given.
    epoch: AtomicU64,
    pub(super) loaded: SystemTime,
}

impl Script {
    /// Loads a script, and waits until that is done.
    ///
    /// # Errors
    /// It can't be loaded.
    pub(super) fn load(text: &str) -> Result<Self, PacError> {
        Ok(Self::new(PacRunner::load(text.into())?, text))
    }

    /// Loads a script. Blocks no thread.
    ///
    /// # Errors
    /// It can't be loaded.
    pub(super) async fn load_later(text: &str) -> Result<Self, PacError> {
        let (sender, receiver) = oneshot::channel();
        let runner = PacRunner::start(text.into(), move |loaded| {
            // The receiver may have given up.
            let _ = sender.send(loaded);
        })?;
        match timeout(REPLY_MAX, receiver).await {
            Ok(Ok(loaded)) => loaded.map(|()| Self::new(runner, text)),
            Ok(Err(_)) | Err(_) => Err(PacError::Stuck),
        }
    }

    fn new(runner: PacRunner, text: &str) -> Self {
        Self {
            runner: Arc::new(runner),
            answers: Answers::new(looks_at_url(text)),
            names: Arc::default(),
            epoch: AtomicU64::new(0),
            loaded: SystemTime::now(),
        }
    }

    /// Returns the script for a hop that reads its answers by other rules. Both run on one thread.
    pub(super) fn for_other_rules(&self) -> Self {
        Self {
            runner: Arc::clone(&self.runner),
            answers: self.answers.emptied(),
            names: Arc::clone(&self.names),
            epoch: AtomicU64::new(self.epoch.load(Ordering::Relaxed)),
            loaded: self.loaded,
        }
    }

    /// Notes that the script was loaded in the network of this epoch.
    pub(super) fn begin_in(&self, epoch: u64) {
        self.epoch.store(epoch, Ordering::Relaxed);
    }

    /// Forgets the answers if the network has changed. `epoch` is `None` if the network is unknown.
    pub(super) fn follow_network(&self, epoch: Option<u64>) {
        let Some(epoch) = epoch else { return };
        if self.epoch.load(Ordering::Relaxed) != epoch
            && self.epoch.swap(epoch, Ordering::Relaxed) != epoch
        {
            self.names.clear();
            self.answers.clear();
        }
    }

    /// Returns the verdict on `request`, if it is known.
    pub(super) fn known(&self, request: Request<'_>) -> Option<Verdict> {
        self.answers.known(request)
    }

    /// Returns the verdict on a request.
    pub(super) async fn verdict(
        &self,
        asked: Asked,
        rules: &Rules,
        members: &[PacMember],
        services: Option<Arc<dyn Services>>,
    ) -> Verdict {
        let slot = self.answers.slot(&asked);
        let facts = PacFacts::new(Arc::clone(&self.names), services);
        // The first request asks. If its client leaves, the next one that waits takes over.
        let kept = slot.get_or_init(|| async {
            let (verdict, period) = self.ask(&asked, rules, members, Arc::new(facts)).await;
            Kept::for_period(verdict, period)
        });
        kept.await.verdict.clone()
    }

    /// Calls the script, again and again until every name that it asks for is looked up. Returns the verdict, and how
    /// long it counts.
    async fn ask(
        &self,
        asked: &Asked,
        rules: &Rules,
        members: &[PacMember],
        facts: Arc<PacFacts>,
    ) -> (Verdict, Duration) {
        for lookups_left in (0..=LOOKUPS_MAX).rev() {
            match self.call(asked, Arc::clone(&facts)).await {
                Ok(Outcome::Answer(text)) => return (rules.plan(&text, members), KEEP),
                Ok(Outcome::Lookup(_)) if lookups_left == 0 => break,
                Ok(Outcome::Lookup(name)) => facts.look_up(name).await,
                Err(error) => {
                    let period = match error {
                        // The reason may be gone in a moment.
                        PacError::Busy | PacError::HeldUp | PacError::NoThread(_) => KEEP_TROUBLE,
                        PacError::Stuck => KEEP_STUCK,
                        _ => KEEP,
                    };
                    return (rules.failed(&error), period);
                }
            }
        }
        (Err(Arc::new(Failure::too_many_names(LOOKUPS_MAX))), KEEP)
    }

    /// Calls the script once. While the call waits behind one that takes long, it has another thread take over.
    async fn call(&self, asked: &Asked, facts: Arc<PacFacts>) -> Result<Outcome, PacError> {
        let (sender, mut receiver) = oneshot::channel();
        // Dropped with this future if the client leaves, which gives the call up.
        let pending = self.runner.ask(asked.query(), facts, move |outcome| {
            let _ = sender.send(outcome);
        });
        let end = Instant::now() + REPLY_MAX;
        loop {
            match timeout(RELIEVE_EVERY, &mut receiver).await {
                Ok(Ok(outcome)) => return outcome,
                // Its thread has broken down.
                Ok(Err(_)) => return Err(PacError::Stuck),
                Err(_) if Instant::now() < end => self.runner.relieve(),
                Err(_) if pending.has_begun() => return Err(PacError::Stuck),
                Err(_) => return Err(PacError::HeldUp),
            }
        }
    }

    /// Calls the script once, for a command that looks nothing up.
    ///
    /// # Errors
    /// It asks for a name.
    pub(super) fn predict(
        &self,
        asked: &Asked,
        rules: &Rules,
        members: &[PacMember],
    ) -> Result<Verdict, Prediction> {
        let (sender, receiver) = std::sync::mpsc::sync_channel(1);
        let facts = PacFacts::new(Arc::clone(&self.names), None);
        let _pending = self.runner.ask(asked.query(), Arc::new(facts), move |outcome| {
            let _ = sender.send(outcome);
        });
        match receiver.recv_timeout(REPLY_MAX).unwrap_or(Err(PacError::Stuck)) {
            Ok(Outcome::Answer(text)) => Ok(rules.plan(&text, members)),
            Ok(Outcome::Lookup(name)) => {
                let name = super::answer::shown(&name);
                let reason =
                    format!("it asks for the addresses of `{name}`, which are not looked up here");
                Err(Prediction::new(Decision::Unknown, None, reason))
            }
            Err(error) => Ok(rules.failed(&error)),
        }
    }
}

/// How long an answer counts. Scripts may look at the time of day, and addresses change.
const KEEP: Duration = Duration::from_secs(60);
/// How long a failure is kept that the script did not cause.
const KEEP_TROUBLE: Duration = Duration::from_secs(1);
/// How long the failure of a call that did not end is kept. Each such call takes a thread from the few that may be lost.
const KEEP_STUCK: Duration = Duration::from_secs(10 * 60);
/// The longest wait for the thread of the script. Its own limits are much shorter.
const REPLY_MAX: Duration = Duration::from_secs(2);
/// How often a call that waits looks for the reason.
const RELIEVE_EVERY: Duration = Duration::from_millis(10);
/// The names that one call may ask for.
const LOOKUPS_MAX: usize = 20;
