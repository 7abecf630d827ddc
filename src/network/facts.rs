//! The present facts about the network, and which conditions they decide.

use std::{
    collections::{HashMap, HashSet},
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::SystemTime,
};

use tokio::time::Instant;

use super::{
    Interfaces, NetworkCondition, Question, Requirement, Truth, ask::Finding, condition::questions,
};

/// The present facts, and what is in force because of earlier ones.
///
/// An event of the network starts a new epoch. Answers of an earlier epoch describe another network, so they decide
/// nothing any more; until its questions are answered again, a condition is undecided. Then its outcome stays what it
/// was, and requests that depend on it wait. An answer of the same epoch stays until another one replaces it, so that a
/// lost datagram switches nothing.
#[derive(Debug, Default)]
pub(super) struct Facts {
    pub(super) interfaces: Option<Interfaces>,
    known: HashMap<Question, KnownFact>,
    epoch: u64,
    /// Counts the changes of the network: the beginning of each and its end. Shared, so that it is read without the lock.
    pub(super) changes: Arc<AtomicU64>,
    /// The conditions of the configuration in force, with the outcomes that are.
    in_force: HashMap<Arc<NetworkCondition>, bool>,
    /// Whether hops have to be notified of changes that no condition depends on.
    is_followed: bool,
    /// The conditions that were decided at some time.
    decided: HashSet<Arc<NetworkCondition>>,
    /// The conditions whose questions have been waited for long enough, in this epoch.
    pub(super) given_up: HashSet<Arc<NetworkCondition>>,
    /// When the first request of this epoch began to wait.
    pub(super) waiting_since: Option<Instant>,
    /// Whether an event has come, and more may follow before the network is at rest.
    pub(super) is_settling: bool,
    /// When questions were last asked.
    pub(super) last_asked: Option<Instant>,
    /// Whether the keeper is to ask all questions.
    pub(super) wants_answers: bool,
}

/// The last answer to a question, and the failure of a later attempt.
#[derive(Debug, Default)]
pub(super) struct KnownFact {
    /// The last answer that decided it.
    answer: Option<Decided>,
    /// Why the last attempt did not, if it did not.
    pub(super) failure: Option<Arc<str>>,
}

/// An answer that decides a question.
#[derive(Debug)]
pub(super) struct Decided {
    pub(super) answer: Finding,
    epoch: u64,
    pub(super) at: SystemTime,
    pub(super) instant: Instant,
}

impl Facts {
    /// Lists the interfaces, unless that was done.
    pub(super) fn complete_interfaces(&mut self) {
        if self.interfaces.is_none() {
            self.interfaces = Interfaces::list();
        }
    }

    /// Returns the questions of the conditions in force.
    pub(super) fn questions(&self) -> HashSet<Question> {
        questions(self.in_force.keys())
    }

    /// Notes for the keeper that an operator wants fresh answers. Returns whether there are any to wait for.
    pub(super) fn wants_fresh_answers(&mut self, now: Instant) -> bool {
        let is_fresh = self.last_asked.is_some_and(|last| now < last + FRESH_FOR_OPERATORS);
        let wants = !is_fresh && !self.is_settling && !self.questions().is_empty();
        self.wants_answers |= wants;
        wants
    }

    /// Returns whether every question was answered since `begun`.
    pub(super) fn has_answers_since(&self, begun: Instant) -> bool {
        let is_new = |question| self.answer(question).is_ok_and(|decided| decided.instant >= begun);
        self.questions().iter().all(is_new)
    }

    /// Returns whether the network has to be watched.
    pub(super) fn are_needed(&self) -> bool {
        self.is_followed || !self.in_force.is_empty()
    }

    pub(super) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Starts a new epoch, since the network has changed.
    pub(super) fn begin_epoch(&mut self) {
        // Answers of the epoch before stay, but `answer` passes over them. The wait of requests and what was given
        // up begin again, since the new network may answer.
        self.epoch += 1;
        self.changes.fetch_add(1, Ordering::Release);
        self.is_settling = true;
        self.waiting_since = None;
        self.given_up.clear();
    }

    /// Notes that the network is at rest. What was learned since the beginning of the epoch may be of a network that was
    /// not complete.
    pub(super) fn settle(&mut self) {
        self.is_settling = false;
        self.changes.fetch_add(1, Ordering::Release);
    }

    /// Records what `question` of this epoch led to.
    pub(super) fn heard(&mut self, question: Question, answer: Finding) {
        let (epoch, known) = (self.epoch, self.known.entry(question).or_default());
        match answer {
            // An answer of this epoch outlives attempts without one: a lost datagram switches nothing.
            Finding::Nothing(why) => known.failure = Some(why),
            answer => {
                let (at, instant) = (SystemTime::now(), Instant::now());
                *known = KnownFact {
                    answer: Some(Decided { answer, epoch, at, instant }),
                    failure: None,
                };
            }
        }
    }

    /// Returns the answer of this epoch, or why there is none.
    pub(super) fn answer(&self, question: &Question) -> Result<&Decided, Option<Arc<str>>> {
        let known = self.known.get(question).ok_or(None)?;
        let current = known.answer.as_ref().filter(|decided| decided.epoch == self.epoch);
        current.ok_or_else(|| known.failure.clone())
    }

    /// Returns whether `requirement` holds.
    pub(super) fn truth(&self, requirement: &Requirement) -> Truth {
        // A list that the system did not give decides nothing, neither that an address is there nor that it is
        // not.
        let interfaces = |decide: &dyn Fn(&Interfaces) -> bool| {
            self.interfaces.as_ref().map_or(Truth::Undecided, |all| decide(all).into())
        };
        match requirement {
            Requirement::AddressIn(networks) => interfaces(&|all| all.has_address_in(networks)),
            Requirement::Interface(glob) => interfaces(&|all| all.has_name(glob)),
            Requirement::Any(parts) => Truth::any(parts.iter().map(|part| self.truth(part))),
            Requirement::All(parts) => Truth::all(parts.iter().map(|part| self.truth(part))),
            Requirement::Not(part) => !self.truth(part),
            Requirement::Resolves { .. } | Requirement::Reachable(_) => {
                let answer = requirement.question().map(|question| self.answer(&question));
                match answer {
                    Some(Ok(decided)) => holds(requirement, &decided.answer),
                    _ => Truth::Undecided,
                }
            }
        }
    }

    /// Returns whether the hop with `condition` is on.
    ///
    /// While it is undecided, the outcome in force stays, since requests wait for a better one. Once they have waited
    /// long enough, `unknown` holds. A condition that was decided before is on then, so that a network in which nothing
    /// can be asked sends no request direct.
    pub(super) fn is_on(&self, condition: &NetworkCondition) -> bool {
        self.truth(&condition.when).decided().unwrap_or_else(|| {
            match self.in_force.get(condition) {
                Some(is_on) if !self.given_up.contains(condition) => *is_on,
                _ => self.decided.contains(condition) || condition.unknown,
            }
        })
    }

    /// Returns the outcome in force, or `None` if the configuration in force has no such condition.
    pub(super) fn in_force(&self, condition: &NetworkCondition) -> Option<bool> {
        self.in_force.get(condition).copied()
    }

    pub(super) fn put_in_force(
        &mut self,
        outcomes: HashMap<Arc<NetworkCondition>, bool>,
        is_followed: bool,
    ) {
        self.is_followed = is_followed;
        // Only a new condition may have questions that were never asked.
        let has_new = outcomes.keys().any(|condition| !self.in_force.contains_key(condition));
        self.wants_answers |= has_new;
        self.in_force = outcomes;
        let in_force = &self.in_force;
        // Edit after edit must not fill the memory with conditions that no configuration has any more.
        self.decided.retain(|condition| in_force.contains_key(condition));
        self.given_up.retain(|condition| in_force.contains_key(condition));
        let asked = questions(in_force.keys());
        self.known.retain(|question, _| asked.contains(question));
        self.remember_decided();
    }

    /// Remembers which conditions are decided now.
    pub(super) fn remember_decided(&mut self) {
        let decided =
            |condition: &&Arc<NetworkCondition>| self.truth(&condition.when) != Truth::Undecided;
        let decided: Vec<_> = self.in_force.keys().filter(decided).cloned().collect();
        self.decided.extend(decided);
    }

    /// Returns whether an outcome differs from the one in force. It may only do so once the network is at rest.
    pub(super) fn differs(&self) -> bool {
        // Not in the middle of an event: interfaces come and go one by one, and each step would be a generation.
        !self.is_settling
            && self.in_force.iter().any(|(condition, is_on)| self.is_on(condition) != *is_on)
    }

    /// Returns the statements that make outcomes differ from those in force, with their values.
    pub(super) fn causes(&self) -> Vec<String> {
        let differs = self.in_force.iter();
        let differs = differs.filter(|(condition, is_on)| self.is_on(condition) != **is_on);
        let mut causes: Vec<String> = differs
            .map(|(condition, _)| match self.truth(&condition.when) {
                Truth::True => format!("{}: true now", condition.when),
                Truth::False => format!("{}: false now", condition.when),
                Truth::Undecided => format!("{}: can't be decided now", condition.when),
            })
            .collect();
        // Sorted, since the order of a hash map would give the same cause different lines.
        causes.sort();
        causes
    }
}

fn holds(requirement: &Requirement, answer: &Finding) -> Truth {
    match (requirement, answer) {
        (Requirement::Resolves { into, .. }, Finding::Addresses(addresses)) => {
            let is_in = |address: &IpAddr| into.iter().any(|network| network.contains(address));
            (into.is_empty() || addresses.iter().any(is_in)).into()
        }
        (_, Finding::Connected) => Truth::True,
        (_, Finding::Nothing(_)) => Truth::Undecided,
        _ => Truth::False,
    }
}

/// The maximum age of answers that an operator is shown.
const FRESH_FOR_OPERATORS: std::time::Duration = std::time::Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    fn condition(unknown: bool) -> Arc<NetworkCondition> {
        let into = vec!["10.0.0.0/8".parse().unwrap()];
        let when = Requirement::Resolves { name: "proxy.test".into(), into };
        Arc::new(NetworkCondition { when, unknown })
    }

    fn addresses(list: &[&str]) -> Finding {
        Finding::Addresses(list.iter().map(|address| address.parse().unwrap()).collect())
    }

    fn hear(facts: &mut Facts, answer: Finding) {
        facts.heard(Question::Addresses("proxy.test".into()), answer);
        facts.remember_decided();
    }

    #[test]
    fn one_address_of_several_is_enough_and_another_network_is_not() {
        let (mut facts, condition) = (Facts::default(), condition(false));
        assert_eq!(facts.truth(&condition.when), Truth::Undecided);
        hear(&mut facts, addresses(&["192.0.2.1", "10.1.2.3"]));
        assert_eq!(facts.truth(&condition.when), Truth::True);
        hear(&mut facts, addresses(&["192.0.2.1", "2001:db8::1"]));
        assert_eq!(facts.truth(&condition.when), Truth::False);
        hear(&mut facts, Finding::NoAddress);
        assert_eq!(facts.truth(&condition.when), Truth::False);
        hear(&mut facts, Finding::Nothing("silence".into()));
        assert_eq!(facts.truth(&condition.when), Truth::False, "nothing has happened since");
    }

    #[test]
    fn what_was_decided_and_cannot_be_asked_after_an_event_is_on() {
        for unknown in [true, false] {
            let (mut facts, condition) = (Facts::default(), condition(unknown));
            assert_eq!(facts.is_on(&condition), unknown, "before anything is known");
            facts.put_in_force([(Arc::clone(&condition), unknown)].into(), false);
            hear(&mut facts, Finding::NoAddress);
            assert!(!facts.is_on(&condition));
            facts.put_in_force([(Arc::clone(&condition), false)].into(), false);
            facts.begin_epoch();
            hear(&mut facts, Finding::Nothing("silence".into()));
            assert!(!facts.is_on(&condition), "requests wait, so nothing is changed yet");
            facts.given_up.insert(Arc::clone(&condition));
            assert!(facts.is_on(&condition), "nothing goes direct");
            hear(&mut facts, Finding::NoAddress);
            assert!(!facts.is_on(&condition));
        }
    }

    #[test]
    fn a_combination_is_decided_as_soon_as_its_parts_allow() {
        let mut facts = Facts { interfaces: Some(Interfaces::default()), ..Facts::default() };
        let asked = condition(true).when.clone();
        let down = Requirement::Interface(super::super::Glob::new("tun*"));
        let all = Requirement::All(vec![asked.clone(), down.clone()]);
        let any = Requirement::Any(vec![asked, Requirement::Not(Box::new(down))]);
        assert_eq!((facts.truth(&all), facts.truth(&any)), (Truth::False, Truth::True));
        facts.interfaces = None;
        assert_eq!((facts.truth(&all), facts.truth(&any)), (Truth::Undecided, Truth::Undecided));
    }
}
