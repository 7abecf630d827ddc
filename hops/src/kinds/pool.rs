//! `kind: pool`: several hops, of which each connection takes one.

mod health;
mod member;

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use self::{
    health::{Health, Taken},
    member::Member,
};
use crate::{
    Authority, BuildContext, ChooseError, Chosen, Description, Eventual, Hop, HopConfig,
    InvalidPreferences, InvalidSetting, InvalidSettings, Key, Preferences, Request, Selection,
    preferences::stable_number,
};

/// The settings of a pool.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Names of hops, or hops written out as below `hops`. A member that is not enabled is left out.
    members: Vec<Member>,
    /// Which of the members that work a connection uses.
    #[serde(default)]
    pick: Pick,
}

/// Which member a connection takes, of those that are well.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Pick {
    /// The first one.
    #[default]
    Failover,
    /// Each in turn.
    RoundRobin,
    /// Any.
    Random,
    /// The member of a client's session or, if it named none, of the target's host.
    Sticky,
}

/// A hop that stands for several, of which each connection takes one.
#[derive(Debug)]
struct Pool {
    members: Vec<PoolMember>,
    pick: Pick,
    health: Health,
    turns: AtomicUsize,
}

/// A member that is switched on, and its place in the list as written.
#[derive(Debug)]
struct PoolMember {
    index: usize,
    hop: Arc<dyn Hop>,
}

/// The member that a connection takes.
#[derive(Debug)]
struct Picked {
    pool: Arc<Pool>,
    taken: Taken,
    /// The choice that the member itself made, if it had one.
    inner: Option<Box<dyn Selection>>,
    wish: Arc<Wish>,
    /// The members that the connection may still take instead, the favourite first.
    others: Vec<usize>,
    /// Whether the pool knows how it went.
    is_settled: AtomicBool,
}

/// The request of a connection, kept for the case that its member fails.
#[derive(Debug)]
struct Wish {
    target: Authority,
    preferences: Preferences,
}

impl HopConfig for Config {
    const KIND: &'static str = "pool";
    const SHOWN: &'static [&'static str] = &["members", "pick"];

    fn build(self, context: &BuildContext<'_>) -> Result<Arc<dyn Hop>, InvalidSettings> {
        if self.members.is_empty() || self.members.len() > MEMBERS_MAX {
            let message = format!("must have from 1 to {MEMBERS_MAX} hops");
            return Err(InvalidSetting::new("members", message).into());
        }
        let mut members = Vec::with_capacity(self.members.len());
        let (mut invalid, mut is_whole) = (Vec::new(), true);
        for (index, member) in self.members.iter().enumerate() {
            let below = |one: InvalidSetting| {
                one.below(Key::Index(index)).below(Key::Name("members".into()))
            };
            match member.build(context) {
                Ok(built) => members.extend(built.map(|hop| PoolMember { index, hop })),
                Err(wrong) => {
                    is_whole = false;
                    invalid.extend(wrong.into_iter().map(below));
                }
            }
        }
        if !is_whole {
            return Err(invalid.into());
        }
        if members.is_empty() {
            return Err(InvalidSetting::switched_off("members").into());
        }
        let health = Health::new(members.len());
        let turns = AtomicUsize::new(0);
        Ok(Arc::new(Pool { members, pick: self.pick, health, turns }))
    }
}

impl Hop for Pool {
    /// Shows the address of the first member.
    fn describe(&self) -> Description<'_> {
        Description {
            address: self.members.first().and_then(|member| member.hop.describe().address),
            forwards: false,
            takes_preferences: self.takes_preferences(),
        }
    }

    fn choose(
        self: Arc<Self>,
        request: Request<'_>,
    ) -> Eventual<'static, Result<Chosen, ChooseError>> {
        let Request { target, preferences } = request;
        let wish = Arc::new(Wish { target: target.clone(), preferences: preferences.clone() });
        let mut order = self.order(request);
        if !preferences.is_empty() && self.takes_preferences() {
            order.retain(|member| self.members[*member].hop.describe().takes_preferences);
        }
        self.pick(order, wish)
    }
}

impl Pool {
    fn takes_preferences(&self) -> bool {
        self.members.iter().any(|member| member.hop.describe().takes_preferences)
    }

    /// Takes the first of `members` that is well and can meet the wish.
    ///
    /// A member may be a hop that has to wait for its own choice. Then the rest of the search waits with it, and is
    /// boxed; as long as every member answers at once, nothing is.
    fn pick(
        self: Arc<Self>,
        mut members: Vec<usize>,
        wish: Arc<Wish>,
    ) -> Eventual<'static, Result<Chosen, ChooseError>> {
        let mut unmet = ChooseError::from(InvalidPreferences::Unknown);
        while let Some(taken) = self.health.take(members.iter().copied()) {
            members.retain(|member| *member != taken.member);
            let hop = Arc::clone(&self.members[taken.member].hop);
            let mut picked = Picked {
                pool: Arc::clone(&self),
                taken,
                inner: None,
                wish: Arc::clone(&wish),
                others: members.clone(),
                is_settled: AtomicBool::new(false),
            };
            match hop.choose(Request::new(&wish.target, &wish.preferences)) {
                Eventual::Ready(Ok(chosen)) => return Eventual::Ready(Ok(picked.of(chosen))),
                // Dropping `picked` gives the member back.
                Eventual::Ready(Err(error)) => unmet = error,
                Eventual::Pending(choice) => {
                    return Eventual::later(async move {
                        match choice.await {
                            Ok(chosen) => Ok(picked.of(chosen)),
                            Err(error) if picked.others.is_empty() => Err(error),
                            Err(_) => {
                                let others = std::mem::take(&mut picked.others);
                                drop(picked);
                                self.pick(others, wish).wait().await
                            }
                        }
                    });
                }
            }
        }
        Eventual::Ready(Err(unmet))
    }

    /// Returns all members, the favourite for `request` first.
    fn order(&self, request: Request<'_>) -> Vec<usize> {
        let count = self.members.len();
        let mut order: Vec<usize> = (0..count).collect();
        match self.pick {
            Pick::Failover => {}
            Pick::RoundRobin => {
                let turn = self.turns.fetch_add(1, Ordering::Relaxed);
                order.rotate_left(turn % count);
            }
            Pick::Random => {
                let turn = self.turns.fetch_add(1, Ordering::Relaxed);
                let seed = std::hash::RandomState::new();
                order.sort_by_cached_key(|member| {
                    std::hash::BuildHasher::hash_one(&seed, (member, turn))
                });
            }
            Pick::Sticky => {
                let key = match &request.preferences.session {
                    Some(session) => format!("session {session}"),
                    None => format!("host {}", request.target.host()).to_ascii_lowercase(),
                };
                // Each key has an order of its own, so that a member that fails moves its own keys alone.
                order.sort_by_cached_key(|member| {
                    stable_number(&format!("{} {key}", self.members[*member].index))
                });
            }
        }
        order
    }
}

impl Picked {
    /// Makes the choice of a member the pool's own.
    fn of(mut self, chosen: Chosen) -> Chosen {
        self.inner = chosen.selection;
        Chosen { link: chosen.link, selection: Some(Box::new(self)) }
    }

    /// Returns whether the pool did not know yet how it went, and makes it so.
    fn settle(&self) -> bool {
        !self.is_settled.swap(true, Ordering::Relaxed)
    }

    /// The member failed, with all hops that it may hold: takes another one.
    fn next_member(mut self) -> Eventual<'static, Option<Chosen>> {
        self.settle();
        self.pool.health.failed(self.taken);
        let others = std::mem::take(&mut self.others);
        match Arc::clone(&self.pool).pick(others, Arc::clone(&self.wish)) {
            Eventual::Ready(chosen) => Eventual::Ready(chosen.ok()),
            Eventual::Pending(chosen) => Eventual::later(async { chosen.await.ok() }),
        }
    }
}

impl Selection for Picked {
    fn member(&self) -> String {
        let index = self.pool.members[self.taken.member].index;
        match &self.inner {
            Some(inner) => format!("members[{index}].{}", inner.member()),
            None => format!("members[{index}]"),
        }
    }

    fn reached(&self) {
        if let Some(inner) = &self.inner {
            inner.reached();
        }
        if self.settle() {
            self.pool.health.reached(self.taken);
        }
    }

    /// A pool in the pool has failed only when none of its own members is left.
    fn instead(mut self: Box<Self>) -> Eventual<'static, Option<Chosen>> {
        let Some(inner) = self.inner.take() else { return self.next_member() };
        match inner.instead() {
            Eventual::Ready(Some(chosen)) => Eventual::Ready(Some((*self).of(chosen))),
            Eventual::Ready(None) => self.next_member(),
            Eventual::Pending(chosen) => Eventual::later(async move {
                match chosen.await {
                    Some(chosen) => Some((*self).of(chosen)),
                    None => self.next_member().wait().await,
                }
            }),
        }
    }
}

impl Drop for Picked {
    /// A connection that was cancelled says nothing about the member.
    fn drop(&mut self) {
        if self.settle() {
            self.pool.health.released(self.taken);
        }
    }
}

/// Each may be tried before a client is told anything.
const MEMBERS_MAX: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Registry, Settings};

    const MEMBERS: &str = "[{kind: http-connect, address: 'a.example:1'}, \
        {kind: http-connect, address: 'b.example:1'}, {kind: http-connect, address: 'c.example:1'}]";

    /// Builds what is written out, and knows no other hop.
    #[derive(Debug)]
    struct Alone;

    impl crate::Siblings for Alone {
        fn hop(&self, _: &str) -> Result<Option<Arc<dyn Hop>>, InvalidSetting> {
            Err(InvalidSetting::unknown_hop())
        }

        fn build(
            &self,
            settings: &Settings,
            context: &BuildContext<'_>,
        ) -> Result<Arc<dyn Hop>, Vec<InvalidSetting>> {
            let (mut settings, registry) = (settings.clone(), Registry::default());
            let registry = registry.with::<crate::kinds::http_connect::Config>().with::<Config>();
            let kind: String = settings.take("kind").unwrap().read().unwrap();
            registry.kind(&kind).unwrap().build(&settings, context)
        }
    }

    fn pool(yaml: &str) -> Result<Arc<dyn Hop>, Vec<InvalidSetting>> {
        let settings: Settings = serde_yaml::from_str(&format!("{{kind: pool, {yaml}}}")).unwrap();
        BuildContext::new(".".as_ref()).with_siblings(&Alone).build(&settings)
    }

    fn pick(pool: &Arc<dyn Hop>, target: &str, said: &str) -> Chosen {
        let preferences =
            if said.is_empty() { Preferences::default() } else { said.parse().unwrap() };
        let target = target.parse().unwrap();
        now(Arc::clone(pool).choose(Request::new(&target, &preferences))).unwrap()
    }

    fn now<T>(eventual: Eventual<'_, T>) -> T {
        match eventual {
            Eventual::Ready(value) => value,
            Eventual::Pending(_) => panic!("there is nothing to wait for"),
        }
    }

    fn hosts(pool: &Arc<dyn Hop>, count: usize) -> String {
        let host = |_| pick(pool, "t.example:1", "").link.address().to_string()[..1].to_owned();
        (0..count).map(host).collect()
    }

    #[test]
    fn members_are_picked_as_told() {
        let of = |how: &str| pool(&format!("members: {MEMBERS}{how}")).unwrap();
        assert_eq!(hosts(&of(""), 4), "aaaa");
        assert_eq!(hosts(&of(", pick: round-robin"), 7), "abcabca");
        let random = hosts(&of(", pick: random"), 200);
        assert!(["a", "b", "c"].iter().all(|host| random.contains(host)), "{random}");
    }

    #[test]
    fn a_session_or_a_host_stays_with_its_member() {
        let pool = pool(&format!("members: {MEMBERS}, pick: sticky")).unwrap();
        let host = |target: &str, said: &str| pick(&pool, target, said).link.address().to_string();
        assert_eq!(host("x.example:1", ""), host("X.example:2", ""));
        assert_eq!(host("x.example:1", "session-a"), host("y.example:1", "session-a"));
        let all: std::collections::BTreeSet<_> =
            (0..50).map(|n| host(&format!("h{n}.example:1"), "")).collect();
        assert_eq!(all.len(), 3);
        // A member that fails moves its own sessions alone.
        let before: Vec<_> = (0..50).map(|n| host(&format!("h{n}.example:1"), "")).collect();
        let failing = pick(&pool, "x.example:1", "");
        let gone = failing.link.address().to_string();
        drop(now(failing.instead()));
        let after: Vec<_> = (0..50).map(|n| host(&format!("h{n}.example:1"), "")).collect();
        let is_moved = |(old, new): (&String, &String)| old != new;
        let moved: Vec<_> = before.iter().zip(&after).map(is_moved).collect();
        let expected: Vec<_> = before.iter().map(|host| *host == gone).collect();
        assert_eq!(moved, expected);
    }

    #[test]
    fn a_member_that_fails_is_left_out_and_each_is_tried_once() {
        let pool = pool(&format!("members: {MEMBERS}")).unwrap();
        let first = pick(&pool, "t.example:1", "");
        assert_eq!(first.member().as_deref(), Some("members[0]"));
        let second = now(first.instead()).unwrap();
        let third = now(second.instead()).unwrap();
        assert_eq!(third.member().as_deref(), Some("members[2]"));
        assert!(now(third.instead()).is_none());
        assert_eq!(hosts(&pool, 2), "aa", "where all are ill, the one that was ill first");
    }

    #[test]
    fn a_member_that_served_goes_on_to() {
        let pool = pool(&format!("members: {MEMBERS}")).unwrap();
        let second = now(pick(&pool, "t.example:1", "").instead()).unwrap();
        second.reached();
        // The pool keeps what it has learned, however the connection ends.
        drop(second);
        assert_eq!(hosts(&pool, 2), "bb");
    }

    #[test]
    fn a_pool_in_a_pool_fails_when_its_last_member_does() {
        let pool = pool(&format!(
            "members: [{{kind: pool, members: {MEMBERS}}}, {{kind: http-connect, address: 'd.example:1'}}]"
        ))
        .unwrap();
        let mut hop = pick(&pool, "t.example:1", "");
        let mut names = vec![hop.member().unwrap()];
        while let Some(next) = now(hop.instead()) {
            names.push(next.member().unwrap());
            hop = next;
        }
        let inner = |index| format!("members[0].members[{index}]");
        assert_eq!(names, [inner(0), inner(1), inner(2), "members[1]".into()]);
    }

    /// Chooses, once it was polled twice, a link or nothing.
    #[derive(Debug)]
    struct Slow(Option<Arc<dyn Hop>>);

    impl Hop for Slow {
        fn describe(&self) -> Description<'_> {
            Description::default()
        }

        fn choose(
            self: Arc<Self>,
            request: Request<'_>,
        ) -> Eventual<'static, Result<Chosen, ChooseError>> {
            let inner = self.0.clone().map(|hop| hop.choose(request));
            Eventual::later(async move {
                tokio::task::yield_now().await;
                match inner {
                    Some(inner) => inner.wait().await,
                    None => Err(InvalidPreferences::NoCountry.into()),
                }
            })
        }
    }

    #[tokio::test]
    async fn members_that_have_to_wait_for_their_choice_fail_over_too() {
        let fixed = pool(&format!("members: {MEMBERS}")).unwrap();
        let hops: [Arc<dyn Hop>; 3] =
            [Arc::new(Slow(None)), Arc::new(Slow(Some(fixed))), Arc::new(Slow(None))];
        let members: Vec<_> =
            hops.into_iter().enumerate().map(|(index, hop)| PoolMember { index, hop }).collect();
        let (health, turns) = (Health::new(members.len()), AtomicUsize::new(0));
        let pool = Arc::new(Pool { members, pick: Pick::Failover, health, turns });
        let (target, preferences) = ("t.example:1".parse().unwrap(), Preferences::default());
        let chosen = pool.choose(Request::new(&target, &preferences)).wait().await;
        let mut chosen = chosen.unwrap();
        let mut names = vec![chosen.member().unwrap()];
        while let Some(next) = chosen.instead().wait().await {
            names.push(next.member().unwrap());
            chosen = next;
        }
        let inner = |index| format!("members[1].members[{index}]");
        assert_eq!(names, [inner(0), inner(1), inner(2)]);
    }

    #[test]
    fn what_is_wrong_is_found_below_its_member() {
        let paths = |yaml: &str| {
            let invalid = pool(yaml).unwrap_err();
            invalid.iter().map(|one| one.path().to_string()).collect::<Vec<_>>()
        };
        assert_eq!(paths("members: []"), ["members"]);
        assert_eq!(paths("members: [other]"), ["members[0]"]);
        assert_eq!(paths(&format!("members: {MEMBERS}, pick: best")), ["pick"]);
        // Of each member, and all of it.
        assert_eq!(
            paths(
                "members: [{kind: http-connect, address: a, tls: 5}, {kind: pool, members: [x, y]}]"
            ),
            [
                "members[0].tls",
                "members[0].address",
                "members[1].members[0]",
                "members[1].members[1]"
            ]
        );
    }
}
