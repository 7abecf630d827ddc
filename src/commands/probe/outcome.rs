//! The outcome of a probe, as text and as JSON.

use std::{
    collections::BTreeMap,
    io::{self, Write},
    sync::Arc,
    time::Duration,
};

use serde_json::{Value, json};

use super::{
    probe_request::ProbeRequest,
    report::{NOT_BY_TARGET, describe, failure, refusal_of_a_proxy},
    steps::{Note, milliseconds},
    visit::ProbeAnswer,
};
use crate::{
    client::reply::Reply,
    commands::{
        ASK_WITH_A_SESSION, describe::switches_by_chain, doubtful_preferences, example_address,
        explain::NO_EFFECT, running,
    },
    config::{Config, Problem, ProxyAddress},
    network::Network,
    state::generation::Way,
};

/// The parts of a configuration that the outcome mentions.
pub(super) struct ConfigFacts {
    /// The warnings about it.
    pub(super) warnings: Vec<Problem>,
    /// The hops of each chain that a condition or an option has switched, in words.
    pub(super) switches: BTreeMap<Arc<str>, Vec<String>>,
    /// An address of the proxy, for examples.
    address: Option<ProxyAddress>,
    /// The hops with a budget.
    budgeted: Vec<Arc<str>>,
}

/// The outcome of a probe.
pub(super) struct ProbeOutcome<'a> {
    pub(super) probe_request: &'a ProbeRequest,
    /// The way of the request, if a route leads somewhere.
    pub(super) way: Option<Way<'a>>,
    pub(super) facts: ConfigFacts,
    /// The steps that were made, which people have seen already.
    pub(super) steps: Vec<Note>,
    pub(super) took: Duration,
    /// The answer, or `None` if a tunnel is open and there was nothing to ask; or the reply that a client would get.
    pub(super) reached: Result<Option<ProbeAnswer>, Reply>,
    /// Whether the request was refused because it names no session.
    pub(super) lacks_session: bool,
    pub(super) remarks: Remarks,
}

/// Circumstances that may be why the outcome is as it is.
pub(super) struct Remarks {
    /// The doubtful credentials of the hop that failed.
    pub(super) doubts: Vec<String>,
    /// The lists whose last good copies were used.
    pub(super) kept_lists: Vec<String>,
    /// The reason why the client's preferences have no effect, if so.
    pub(super) ignored: Option<String>,
    /// The hops on the way whose budget is used up.
    pub(super) used_up: Vec<String>,
}

impl ConfigFacts {
    pub(super) fn of(config: &Config, network: &Network) -> Self {
        let budgeted = config.hops.iter().filter(|hop| hop.budget.is_some());
        Self {
            warnings: config.warnings.clone(),
            switches: switches_by_chain(config, network),
            address: example_address(&config.server),
            budgeted: budgeted.map(|hop| Arc::clone(&hop.name)).collect(),
        }
    }

    /// Returns the hops on `way` with a budget.
    pub(super) fn budgeted_on(&self, way: Option<&Way<'_>>) -> Vec<&Arc<str>> {
        let is_on_way = |name: &&Arc<str>| {
            way.is_some_and(|way| way.chain.hops().iter().any(|hop| hop.name == **name))
        };
        self.budgeted.iter().filter(is_on_way).collect()
    }
}

impl ProbeOutcome<'_> {
    /// Returns whether the target was reached, and not a proxy that answered in its place.
    pub(super) fn is_reached(&self) -> bool {
        matches!(&self.reached, Ok(answer) if answer.as_ref().is_none_or(|one| one.sign.is_none()))
    }

    /// Writes what people have not seen yet.
    pub(super) fn describe(&self, out: &mut dyn Write) -> io::Result<()> {
        let Remarks { doubts, kept_lists, ignored, used_up } = &self.remarks;
        match &self.reached {
            Ok(answer) => self.describe_answer(answer.as_ref(), out)?,
            Err(reply) => self.describe_failure(reply, out)?,
        }
        for note in doubts.iter().chain(kept_lists) {
            writeln!(out, "{note}")?;
        }
        if let Some(why) = ignored {
            writeln!(out, "{NO_EFFECT}: {why}")?;
        }
        for note in doubtful_preferences(&self.probe_request.preferences) {
            writeln!(out, "{note}")?;
        }
        match running::note_on_budgets(used_up) {
            Some(note) => writeln!(out, "{note}"),
            None => Ok(()),
        }
    }

    fn describe_answer(&self, answer: Option<&ProbeAnswer>, out: &mut dyn Write) -> io::Result<()> {
        describe(answer, out)?;
        let took = milliseconds(self.took);
        match answer.map(|answer| (&answer.perhaps_by, &answer.sign)) {
            Some((_, Some(_))) => writeln!(out, "answered in {took}; {NOT_BY_TARGET}"),
            Some((Some(_), None)) => writeln!(out, "answered in {took}"),
            _ => writeln!(out, "reached in {took}"),
        }
    }

    fn describe_failure(&self, reply: &Reply, out: &mut dyn Write) -> io::Result<()> {
        // The line of the route is already followed by an empty line.
        let gap = if self.way.is_some() && self.steps.is_empty() { "" } else { "\n" };
        writeln!(out, "{gap}not reached\n{}", reply.text_at(self.facts.address))?;
        match self.lacks_session {
            true => writeln!(out, "{ASK_WITH_A_SESSION}"),
            false => Ok(()),
        }
    }

    /// Returns all of it as one document.
    pub(super) fn to_json(&self) -> Value {
        let Self { probe_request, way, facts, steps, took, reached, remarks, .. } = self;
        let preferences = &probe_request.preferences;
        let answer = reached.as_ref().ok().and_then(Option::as_ref);
        let refusal = answer.and_then(refusal_of_a_proxy);
        let failure = reached.as_ref().err().map(|reply| failure(reply, facts.address));
        let failure = failure.or(refusal);
        json!({
            "request": probe_request.to_string(),
            "target": probe_request.target.to_string(),
            "as": (!preferences.is_empty()).then(|| preferences.to_string()),
            "route": way.map(|way| way.route),
            "chain": way.map(|way| way.chain.name().as_ref()),
            "switches": way.and_then(|way| facts.switches.get(way.chain.name())),
            "steps": steps,
            "seconds": took.as_secs_f64(),
            "reached": failure.is_none(),
            "ignored": remarks.ignored,
            "kept_lists": remarks.kept_lists,
            "doubtful_credentials": remarks.doubts,
            "budgets_used_up": remarks.used_up,
            "status": answer.map(|answer| answer.status),
            "exit": answer.and_then(|answer| answer.exit),
            "perhaps_by": answer.and_then(|answer| answer.perhaps_by.as_deref()),
            "note": answer.and_then(|answer| answer.note.as_deref()),
            "failure": failure,
        })
    }
}
