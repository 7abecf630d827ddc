//! Keeps the facts up to date: waits for events, asks questions, announces what has changed.

use std::{convert::Infallible, sync::Arc, time::Duration};

use tokio::{
    task::{JoinError, JoinSet},
    time::{Instant, sleep_until},
};
use tracing::debug;

use super::{Interfaces, Network, Question, ask, ask::Finding, events::NetworkEvents};

/// Keeps the facts of a [`Network`] up to date while a configuration depends on it.
///
/// It sleeps until something arrives: an event, an answer, or a request that depends on a fact. Its only timers run
/// for a few seconds after an event.
pub(crate) struct NetworkKeeper {
    network: Arc<Network>,
    /// Open while something depends on the network.
    events: Option<NetworkEvents>,
    asks: JoinSet<(u64, Question, Finding)>,
    unrest: Option<Unrest>,
    /// When to ask again after an event, the next one last.
    repeats: Vec<Instant>,
}

/// A time in which events come one after the other.
#[derive(Clone, Copy, Debug)]
struct Unrest {
    /// When it is over if no further event comes.
    due: Instant,
    /// When it is over in any case.
    end: Instant,
}

impl NetworkKeeper {
    /// Keeps the facts of `network`.
    pub(crate) fn new(network: Arc<Network>) -> Self {
        Self { network, events: None, asks: JoinSet::new(), unrest: None, repeats: Vec::new() }
    }

    /// Runs until it is dropped.
    pub(crate) async fn run(mut self) -> Infallible {
        loop {
            if !self.network.facts().are_needed() {
                // A configuration that needs nothing of the network pays for none of this: no watch, no timer, no question.
                self.events = None;
                // The end of unrest can't be noticed without the watch. If conditions came back, their requests would
                // wait for it.
                if self.unrest.take().is_some() {
                    self.network.facts().settle();
                }
                self.repeats.clear();
                self.asks.abort_all();
                self.network.wanted.notified().await;
                continue;
            }
            if self.events.is_none() {
                self.events = Some(NetworkEvents::open());
                // The interfaces may have changed since they were read for the configuration, before they were
                // watched.
                self.look_at_interfaces();
                self.ask_all();
                self.network.announce();
            }
            self.step().await;
        }
    }

    /// Waits for one thing to happen, and acts on it.
    async fn step(&mut self) {
        // One timer at most, and none unless an event has come: a timer that is always set costs open tunnels
        // time.
        let due = self.unrest.map(|unrest| unrest.due).or(self.repeats.last().copied());
        let network = Arc::clone(&self.network);
        tokio::select! {
            () = next_event(self.events.as_mut()) => self.disturbed(),
            Some(heard) = self.asks.join_next(), if !self.asks.is_empty() => self.heard(heard),
            () = network.wanted.notified() => self.wanted(),
            () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => self.due(),
        }
    }

    /// Notes that something has changed. Requests wait from now on, until no event has come for a while and all is known again.
    fn disturbed(&mut self) {
        let now = Instant::now();
        // Each further event moves the time when the network counts as at rest, but not past the end. An interface
        // that never stops flapping must not keep requests waiting.
        let end = self.unrest.map_or(now + UNREST_MAX, |unrest| unrest.end);
        // One epoch for all events of one change. Connecting a VPN causes several.
        if self.unrest.is_none() {
            self.network.facts().begin_epoch();
        }
        self.unrest = Some(Unrest { due: (now + REST_AFTER).min(end), end });
    }

    fn due(&mut self) {
        if self.unrest.take().is_some() {
            // The interfaces are listed before outcomes are compared. The answers to the questions come later, and
            // are compared then.
            debug!("the network has changed");
            self.look_at_interfaces();
            self.network.facts().settle();
            let now = Instant::now();
            self.repeats = REPEATS.map(|after| now + after).to_vec();
        } else {
            self.repeats.pop();
        }
        self.ask_all();
        self.network.announce();
    }

    /// Asks what a request or a new configuration wants to know.
    fn wanted(&mut self) {
        // Not every system reports a change of the resolver, so a request is a moment to look.
        if self.events.as_mut().is_some_and(NetworkEvents::resolver_has_changed) {
            return self.disturbed();
        }
        if std::mem::take(&mut self.network.facts().wants_answers) {
            self.look_at_interfaces();
            self.ask_all();
            self.network.announce();
        }
    }

    fn look_at_interfaces(&self) {
        let listed = Interfaces::list();
        self.network.facts().interfaces = listed;
    }

    /// Asks every question of the conditions in force.
    fn ask_all(&mut self) {
        let mut facts = self.network.facts();
        let (questions, epoch) = (facts.questions(), facts.epoch());
        facts.wants_answers = false;
        if questions.is_empty() {
            self.repeats.clear();
            return;
        }
        // Noted even if nothing is asked below, or each request would call for it again.
        facts.last_asked = Some(Instant::now());
        if self.asks.len() + questions.len() > ASKS_MAX {
            // A silent resolver holds as many threads as it may.
            return;
        }
        for question in questions {
            self.asks.spawn(async move { (epoch, question.clone(), ask::ask(question).await) });
        }
    }

    fn heard(&mut self, heard: Result<(u64, Question, Finding), JoinError>) {
        let Ok((epoch, question, answer)) = heard else { return };
        {
            let mut facts = self.network.facts();
            // The answer is about the network before the last event. Those of the new epoch have been asked for
            // already, or are asked when it is at rest.
            if epoch != facts.epoch() {
                return;
            }
            facts.heard(question, answer);
        }
        self.network.announce();
    }
}

async fn next_event(events: Option<&mut NetworkEvents>) {
    match events {
        Some(events) => events.next().await,
        None => std::future::pending().await,
    }
}

/// How long no event may come before the network counts as at rest.
const REST_AFTER: Duration = Duration::from_millis(250);
/// A network that never rests is looked at this often.
const UNREST_MAX: Duration = Duration::from_secs(1);
/// When questions are asked again after an event, the last one first. Name servers often change a moment after the link.
const REPEATS: [Duration; 3] =
    [Duration::from_millis(3000), Duration::from_millis(1200), Duration::from_millis(400)];
/// Questions that may wait for an answer at once.
const ASKS_MAX: usize = 256;
