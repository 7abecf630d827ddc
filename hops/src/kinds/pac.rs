//! `kind: pac`: a PAC file chooses among other hops.
//!
//! The file names proxies, and the configuration says which hop each of them stands for, so that credentials come from
//! the operator and never from the file. A script runs in [`mooltiroute_pac`]; this module asks it, keeps its answers,
//! and fails over along the list that it returns.

mod answer;
mod answers;
mod asked;
mod choice;
mod config;
mod failure;
mod names;
mod pattern;
mod plan;
mod reader;
mod script;
mod way;

use std::{any::Any, sync::Arc};

pub use self::config::PacConfig;
use self::{
    asked::Asked,
    choice::Choosing,
    failure::Failure,
    plan::{PacPlan, Rules, Verdict},
    reader::PacReader,
    script::Script,
};
use super::{
    pool::{
        counts::MemberCounts,
        health::{Health, LeftOut},
    },
    wish::Wish,
};
use crate::{
    Asker, ChooseError, Chosen, Decider, Decision, Description, Eventual, Hop, MemberLedger,
    MemberStatus, PlainForm, Prediction, Request, Services, SourceKind, SourceState,
    member_ledger::{Labelled, labels},
    remote::{Attached, Remote},
    tls::TlsSettings,
};

/// A hop that hands each request to the hop that a PAC file chooses.
#[derive(Debug)]
struct Pac {
    source: Source,
    rules: Rules,
    members: Vec<PacMember>,
    health: Health,
    services: Arc<Attached>,
    takes_preferences: bool,
    requires_session: bool,
}

/// A hop that entries of the file stand for.
#[derive(Debug)]
struct PacMember {
    name: Arc<str>,
    /// `None` if it is switched off.
    hop: Option<Arc<dyn Hop>>,
    counts: Arc<MemberCounts>,
}

/// The source of the script.
#[derive(Debug)]
enum Source {
    /// A file, which is a part of the configuration.
    File { shown: String, script: Arc<Script> },
    /// A URL, which is fetched when a request needs it, with these checks of its server.
    Url { remote: Arc<Remote<PacReader>>, tls: TlsSettings },
}

impl PacMember {
    fn new(name: Arc<str>, hop: Option<Arc<dyn Hop>>) -> Self {
        Self { name, hop, counts: Arc::default() }
    }
}

impl Pac {
    /// Returns the verdict on a request if nothing has to be waited for.
    fn known(&self, request: Request<'_>) -> Option<Verdict> {
        let epoch = self.services.present().map(|services| services.network_epoch());
        let fetched;
        let script = match &self.source {
            Source::File { script, .. } => script,
            Source::Url { remote, .. } => {
                fetched = remote.ready(epoch?)?;
                &fetched
            }
        };
        script.follow_network(epoch);
        script.known(request)
    }

    /// Returns the verdict on a request. Fetches the script, runs it and looks up names as needed.
    async fn verdict(&self, asked: Asked) -> Verdict {
        let script = match &self.source {
            Source::File { script, .. } => Arc::clone(script),
            Source::Url { remote, .. } => remote.value().await.map_err(|why| {
                let failure = Failure::not_loaded(&remote.shown_url(), &why, remote.retry());
                Arc::new(failure.despite(self.rules.otherwise))
            })?,
        };
        let services = self.services.present().cloned();
        script.follow_network(services.as_ref().map(|services| services.network_epoch()));
        script.verdict(asked, &self.rules, &self.members, services).await
    }

    /// Returns whether connections by `plan` now go through `member`, or without a hop if that is `None`.
    fn is_first(&self, plan: &PacPlan, member: Option<&str>) -> bool {
        let first = plan.candidates().find(|candidate| match candidate.member() {
            Some(index) => self.health.is_in_use(index),
            None => true,
        });
        // If all are left out, one is as good as another.
        let Some(first) = first else { return true };
        match (first.member(), member) {
            (None, None) => true,
            (Some(first), Some(member)) => self.index_of(member) == Some(first),
            _ => false,
        }
    }

    /// Returns the members that are switched on.
    fn members_on(&self) -> impl Iterator<Item = &PacMember> {
        self.members.iter().filter(|member| member.hop.is_some())
    }

    /// Returns the labels of the members that are switched on.
    fn labels(&self) -> impl Iterator<Item = Arc<str>> {
        let labelled = |member: &PacMember| Labelled {
            usual: Some(member.name.to_string()),
            name: Arc::clone(&member.name),
        };
        labels(self.members_on().map(labelled))
    }

    /// Returns the index of the hop that `member` names. A dot and the hop's own choice may follow its name. Names can
    /// have dots themselves, so the longest one that fits is right.
    fn index_of(&self, member: &str) -> Option<usize> {
        let fits = |name: &str| {
            let rest = member.strip_prefix(name);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        let fitting = self.members.iter().enumerate().filter(|(_, member)| fits(&member.name));
        fitting.max_by_key(|(_, member)| member.name.len()).map(|(index, _)| index)
    }
}

impl Hop for Pac {
    fn describe(&self) -> Description<'_> {
        Description {
            takes_preferences: self.takes_preferences,
            requires_session: self.requires_session,
            ..Description::default()
        }
    }

    fn members(&self) -> Vec<MemberStatus> {
        let left_out = self.health.left_out();
        let on = |(index, member): (usize, &'_ PacMember)| {
            member.hop.as_ref().map(|_| (index, left_out.get(&index)))
        };
        let on: Vec<_> = self.members.iter().enumerate().filter_map(on).collect();
        let status = |(index, left_out): (usize, Option<&LeftOut>)| {
            let member: &PacMember = self.members.get(index)?;
            let address = member.hop.as_ref().and_then(|hop| hop.describe().address.cloned());
            let status = MemberStatus::new(Arc::clone(&member.name), address);
            Some(member.counts.shown_in(LeftOut::shown_in(left_out, member.hop.as_deref(), status)))
        };
        let labelled = |(status, label)| MemberStatus { label, ..status };
        on.into_iter().filter_map(status).zip(self.labels()).map(labelled).collect()
    }

    /// Each request goes to the hop that the script chooses for it.
    fn plain_form(&self) -> PlainForm {
        PlainForm::of_any(self.members.iter().filter_map(|member| member.hop.as_deref()))
    }

    fn asker(&self) -> Option<&dyn Asker> {
        Some(self)
    }

    fn decider(&self) -> Option<&dyn Decider> {
        Some(self)
    }

    /// Takes over the last good file of a hop whose other settings an edit has changed, such as those of its members. A
    /// server that is down then takes nothing away. The file is asked for again with the next request.
    fn inherit(&self, before: &dyn Hop, is_unchanged: bool) {
        let Some(before) = (before as &dyn Any).downcast_ref::<Self>() else { return };
        let (Source::Url { remote, tls }, Source::Url { remote: theirs, tls: their_tls }) =
            (&self.source, &before.source)
        else {
            return;
        };
        // A file that came another way may not be trusted any more.
        if !is_unchanged && self.rules.via == before.rules.via && tls == their_tls {
            remote.inherit(theirs, |script| Arc::new(script.for_other_rules()));
            remote.ask_again();
        }
    }

    fn count_in(&self, ledger: &Arc<MemberLedger>) {
        for (member, label) in self.members_on().zip(self.labels()) {
            member.counts.count_in(|| ledger.tally(&label));
        }
    }

    fn choose(
        self: Arc<Self>,
        request: Request<'_>,
    ) -> Eventual<'static, Result<Chosen, ChooseError>> {
        if let Some(verdict) = self.known(request) {
            return match verdict {
                Ok(plan) => Choosing::new(self, plan, Wish::of(request)).next(),
                Err(failure) => Eventual::Ready(Err(failure.to_error().into())),
            };
        }
        let (asked, wish) = (Asked::new(request), Wish::of(request));
        Eventual::later(async move {
            match self.verdict(asked).await {
                Ok(plan) => Choosing::new(self, plan, wish).next().wait().await,
                Err(failure) => Err(failure.to_error().into()),
            }
        })
    }
}

impl Asker for Pac {
    fn attach(&self, services: Arc<dyn Services>) {
        self.services.take(services);
    }

    fn via(&self) -> &str {
        &self.rules.via
    }

    fn state(&self) -> SourceState {
        match &self.source {
            Source::File { shown, script } => SourceState {
                loaded: Some(script.loaded),
                checked: Some(script.loaded),
                confirmed: Some(script.loaded),
                ..SourceState::new(SourceKind::PacFile, shown.clone())
            },
            Source::Url { remote, .. } => remote.shown(),
        }
    }

    fn fetch_now(&self) -> bool {
        match &self.source {
            Source::File { .. } => false,
            Source::Url { remote, .. } => remote.fetch_now(),
        }
    }

    fn prepare(&self) -> Eventual<'static, ()> {
        match &self.source {
            Source::File { .. } => Eventual::Ready(()),
            Source::Url { remote, .. } => remote.prepare(),
        }
    }
}

impl Decider for Pac {
    fn agrees<'a>(&'a self, request: Request<'_>, member: Option<&str>) -> Eventual<'a, bool> {
        if let Some(verdict) = self.known(request) {
            return Eventual::Ready(verdict.is_ok_and(|plan| self.is_first(&plan, member)));
        }
        let (asked, member) = (Asked::new(request), member.map(str::to_owned));
        Eventual::later(async move {
            let verdict = self.verdict(asked).await;
            verdict.is_ok_and(|plan| self.is_first(&plan, member.as_deref()))
        })
    }

    fn predict(&self, request: Request<'_>) -> Prediction {
        match &self.source {
            Source::Url { remote, .. } => {
                let reason = format!("{} is not fetched", remote.shown_url());
                Prediction::new(Decision::Unknown, None, reason)
            }
            Source::File { script, .. } => {
                let verdict = script.predict(&Asked::new(request), &self.rules, &self.members);
                verdict.map_or_else(|unknown| unknown, |verdict| self.predicted(verdict))
            }
        }
    }

    fn terms(&self) -> Vec<String> {
        self.rules.terms(&self.members, matches!(self.source, Source::Url { .. }))
    }
}

impl Pac {
    fn predicted(&self, verdict: Verdict) -> Prediction {
        match verdict {
            Ok(plan) => {
                let (decision, reason) = self.rules.explain(&plan, &self.members);
                Prediction::new(decision, Some(plan.answer.to_string()), reason)
            }
            Err(failure) => {
                let answer = failure.answer.clone();
                Prediction::new(Decision::Refused, answer, failure.details.clone())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Authority, HopError, Link, Tunnel, async_trait};

    #[test]
    fn a_name_with_a_dot_does_not_pass_for_the_hop_of_the_part_before_it() {
        let hop: Arc<dyn Hop> = Arc::new(Fixed("a.example:1".parse().unwrap()));
        let member = |name: &str| PacMember::new(name.into(), Some(Arc::clone(&hop)));
        let text = "function FindProxyForURL(url, host) { return 'DIRECT'; }";
        let script = Arc::new(Script::load(text).unwrap());
        let pattern = pattern::EntryPattern::parse("*").unwrap();
        let rules = Rules {
            patterns: vec![("*".into(), pattern, 0)],
            unknown: None,
            otherwise: Default::default(),
            via: "direct".into(),
        };
        let members = vec![member("a"), member("a.b"), member("b")];
        let plan = rules.plan("PROXY p:1", &members).unwrap();
        let pac = Pac {
            source: Source::File { shown: "x.pac".into(), script },
            rules,
            members,
            health: Default::default(),
            services: Default::default(),
            takes_preferences: false,
            requires_session: false,
        };
        for (member, expected) in [
            (Some("a"), true),
            (Some("a.members[0]"), true),
            (Some("a.b"), false),
            (Some("a.b.members[0]"), false),
            (Some("ab"), false),
            (Some("b"), false),
            (None, false),
        ] {
            assert_eq!(pac.is_first(&plan, member), expected, "{member:?}");
        }
    }

    /// A hop at one address.
    #[derive(Debug)]
    pub(super) struct Fixed(pub(super) Authority);

    #[async_trait]
    impl Link for Fixed {
        fn address(&self) -> &Authority {
            &self.0
        }

        async fn extend(&self, tunnel: Tunnel, _: &Authority) -> Result<Tunnel, HopError> {
            Ok(tunnel)
        }
    }
}
