//! A condition with its present value, for `check`, `explain` and `status`.

use std::fmt;

use serde::Serialize;
use tokio::time::Instant;

use super::{NetworkCondition, Requirement, Truth, ask::Finding, facts::Facts};
use crate::timestamp::rfc_3339;

/// A condition, its present value, and what it depends on.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct ShownCondition {
    /// The condition in words.
    pub when: String,
    /// `true`, `false` or `undecided`.
    pub value: &'static str,
    /// The state of the hop while it is undecided: `on` or `off`.
    pub unknown: &'static str,
    /// The statements in it.
    pub facts: Vec<ShownFact>,
}

/// One statement about the network.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct ShownFact {
    /// The statement in words.
    pub fact: String,
    /// `true`, `false` or `undecided`.
    pub value: &'static str,
    /// The fact that decided it, or the reason why it is undecided.
    pub reason: String,
    /// When that was heard.
    pub at: Option<String>,
    /// How long ago that was.
    pub age_seconds: Option<u64>,
}

impl ShownCondition {
    pub(super) fn new(condition: &NetworkCondition, facts: &Facts) -> Self {
        let mut shown = Vec::new();
        // The parts are shown as well, since the value of a combination does not say which of them decided it.
        condition.when.visit_leaves(&mut |leaf| shown.push(ShownFact::new(leaf, facts)));
        Self {
            when: condition.when.to_string(),
            value: facts.truth(&condition.when).word(),
            unknown: if condition.unknown { "on" } else { "off" },
            facts: shown,
        }
    }
}

impl ShownFact {
    fn new(leaf: &Requirement, facts: &Facts) -> Self {
        let truth = facts.truth(leaf);
        // A statement without a question is about interfaces.
        let (reason, heard) = match leaf.question().map(|question| facts.answer(&question)) {
            None if truth == Truth::Undecided => ("the interfaces can't be listed".into(), None),
            // A name is easily mistyped, so those that would have matched are listed.
            None => match (leaf, facts.interfaces.as_ref()) {
                (Requirement::Interface(_), Some(interfaces)) if truth == Truth::False => {
                    (format!("up are {}", interfaces.names_in_words()), None)
                }
                _ => ("by the interfaces of this machine".into(), None),
            },
            Some(Ok(decided)) => (answered(&decided.answer), Some((decided.at, decided.instant))),
            Some(Err(Some(why))) => (why.to_string(), None),
            Some(Err(None)) => ("not asked yet".into(), None),
        };
        Self {
            fact: leaf.to_string(),
            value: truth.word(),
            reason,
            at: heard.map(|(at, _)| rfc_3339(at)),
            age_seconds: heard.map(|(_, instant)| seconds_since(instant)),
        }
    }
}

fn answered(answer: &Finding) -> String {
    match answer {
        Finding::Addresses(addresses) => {
            let shown: Vec<_> = addresses.iter().take(4).map(ToString::to_string).collect();
            let more = if addresses.len() > shown.len() { ", …" } else { "" };
            format!("its addresses are {}{more}", shown.join(", "))
        }
        Finding::NoAddress => "the name has no address".into(),
        Finding::Connected => "the connection was accepted".into(),
        Finding::NotConnected => "the connection was not accepted".into(),
        Finding::Nothing(why) => why.to_string(),
    }
}

fn seconds_since(instant: Instant) -> u64 {
    instant.elapsed().as_secs()
}

impl fmt::Display for ShownFact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { fact, value, reason, .. } = self;
        write!(f, "{fact}: {value} ({reason}")?;
        if let Some(age) = self.age_seconds {
            write!(f, ", {age} s ago")?;
        }
        f.write_str(")")
    }
}
