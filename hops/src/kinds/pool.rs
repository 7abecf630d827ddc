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
    Authority, BuildContext, Forwarding, Hop, HopConfig, HopError, InvalidPreferences,
    InvalidSetting, InvalidSettings, Key, Preferences, Refusal, Request, Reuse, Tunnel,
    async_trait, preferences::stable_number,
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
    /// The same one for the same session of a client, or where it named none, for the same host.
    Sticky,
}

/// A hop that is one of several for each connection.
#[derive(Clone, Debug)]
struct Pool(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    members: Vec<Place>,
    pick: Pick,
    health: Health,
    turns: AtomicUsize,
}

/// A member, and its place in the list as it is written.
#[derive(Debug)]
struct Place {
    index: usize,
    hop: Arc<dyn Hop>,
}

/// The member that a connection takes.
#[derive(Debug)]
struct Picked {
    pool: Arc<Shared>,
    taken: Taken,
    hop: Arc<dyn Hop>,
    wish: Arc<Wish>,
    /// The members that the connection may still take in its place, the favourite first.
    others: Vec<usize>,
    /// Whether the pool was told how it went.
    is_settled: AtomicBool,
}

/// What the connection is for.
#[derive(Debug)]
struct Wish {
    target: Authority,
    preferences: Preferences,
}

impl HopConfig for Config {
    const KIND: &'static str = "pool";

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
                Ok(built) => members.extend(built.map(|hop| Place { index, hop })),
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
        Ok(Arc::new(Pool(Arc::new(Shared { members, pick: self.pick, health, turns }))))
    }
}

#[async_trait]
impl Hop for Pool {
    /// That of the first member, to show; a connection takes that of the member which was chosen.
    fn address(&self) -> &Authority {
        self.0.members[0].hop.address()
    }

    async fn extend(&self, _: Tunnel, _: &Authority) -> Result<Tunnel, HopError> {
        Err(HopError::Other("a pool was asked, and none of its members".into()))
    }

    fn takes_preferences(&self) -> bool {
        self.0.members.iter().any(|place| place.hop.takes_preferences())
    }

    fn choose(&self, request: &Request<'_>) -> Result<Option<Arc<dyn Hop>>, InvalidPreferences> {
        let Request { target, preferences } = request;
        let wish = Wish { target: (*target).clone(), preferences: (*preferences).clone() };
        let mut order = self.0.order(request);
        if !preferences.is_empty() && self.takes_preferences() {
            order.retain(|member| self.0.members[*member].hop.takes_preferences());
        }
        Picked::take(&self.0, order, &Arc::new(wish)).map(Some)
    }
}

impl Shared {
    /// All members, the favourite for `request` first.
    fn order(&self, request: &Request<'_>) -> Vec<usize> {
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
    /// Takes one of `members` that can meet the wish.
    fn take(
        pool: &Arc<Shared>,
        mut members: Vec<usize>,
        wish: &Arc<Wish>,
    ) -> Result<Arc<dyn Hop>, InvalidPreferences> {
        let mut unmet = InvalidPreferences::Unknown;
        while let Some(taken) = pool.health.take(members.iter().copied()) {
            members.retain(|member| *member != taken.member);
            let hop = &pool.members[taken.member].hop;
            match hop.choose(&Request::new(&wish.target, &wish.preferences)) {
                Ok(chosen) => {
                    return Ok(Arc::new(Self {
                        pool: Arc::clone(pool),
                        taken,
                        hop: chosen.unwrap_or_else(|| Arc::clone(hop)),
                        wish: Arc::clone(wish),
                        others: members,
                        is_settled: AtomicBool::new(false),
                    }));
                }
                Err(invalid) => {
                    pool.health.released(taken);
                    unmet = invalid;
                }
            }
        }
        Err(unmet)
    }

    /// Whether nobody has told yet how it went; asked once.
    fn settle(&self) -> bool {
        !self.is_settled.swap(true, Ordering::Relaxed)
    }
}

#[async_trait]
impl Hop for Picked {
    fn address(&self) -> &Authority {
        self.hop.address()
    }

    fn alternatives(&self) -> &[Authority] {
        self.hop.alternatives()
    }

    async fn enter(&self, tunnel: Tunnel) -> Result<Tunnel, HopError> {
        self.hop.enter(tunnel).await
    }

    fn entered_by(&self) -> Option<&'static str> {
        self.hop.entered_by()
    }

    async fn extend(&self, tunnel: Tunnel, next: &Authority) -> Result<Tunnel, HopError> {
        self.hop.extend(tunnel, next).await
    }

    fn forwarding(&self) -> Option<&Forwarding> {
        self.hop.forwarding()
    }

    fn reuse(&self) -> Reuse {
        self.hop.reuse()
    }

    fn refuses(&self, refusal: &Refusal) -> bool {
        self.hop.refuses(refusal)
    }

    fn explain(&self, refusal: &mut Refusal) {
        self.hop.explain(refusal);
    }

    fn reached(&self) {
        self.hop.reached();
        if self.settle() {
            self.pool.health.reached(self.taken);
        }
    }

    fn instead(&self) -> Option<Arc<dyn Hop>> {
        // A pool in the pool is at fault only when none of its own members is left.
        if let Some(hop) = self.hop.instead() {
            self.settle();
            return Some(Arc::new(Self {
                pool: Arc::clone(&self.pool),
                taken: self.taken,
                hop,
                wish: Arc::clone(&self.wish),
                others: self.others.clone(),
                is_settled: AtomicBool::new(false),
            }));
        }
        self.settle();
        self.pool.health.failed(self.taken);
        Self::take(&self.pool, self.others.clone(), &self.wish).ok()
    }

    fn member(&self) -> Option<String> {
        let index = self.pool.members[self.taken.member].index;
        Some(match self.hop.member() {
            Some(inner) => format!("members[{index}].{inner}"),
            None => format!("members[{index}]"),
        })
    }
}

impl Drop for Picked {
    /// A connection that was broken off says nothing of the member.
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

    fn pick(pool: &Arc<dyn Hop>, target: &str, said: &str) -> Arc<dyn Hop> {
        let preferences =
            if said.is_empty() { Preferences::default() } else { said.parse().unwrap() };
        let target = target.parse().unwrap();
        pool.choose(&Request::new(&target, &preferences)).unwrap().unwrap()
    }

    fn hosts(pool: &Arc<dyn Hop>, count: usize) -> String {
        let host = |_| pick(pool, "t.example:1", "").address().to_string()[..1].to_owned();
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
        let host = |target: &str, said: &str| pick(&pool, target, said).address().to_string();
        assert_eq!(host("x.example:1", ""), host("X.example:2", ""));
        assert_eq!(host("x.example:1", "session-a"), host("y.example:1", "session-a"));
        let all: std::collections::BTreeSet<_> =
            (0..50).map(|n| host(&format!("h{n}.example:1"), "")).collect();
        assert_eq!(all.len(), 3);
        // A member that fails moves its own sessions alone.
        let before: Vec<_> = (0..50).map(|n| host(&format!("h{n}.example:1"), "")).collect();
        let failing = pick(&pool, "x.example:1", "");
        let gone = failing.address().to_string();
        drop(failing.instead());
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
        let second = first.instead().unwrap();
        let third = second.instead().unwrap();
        assert_eq!(third.member().as_deref(), Some("members[2]"));
        assert!(third.instead().is_none());
        assert_eq!(hosts(&pool, 2), "aa", "where all are ill, the one that was ill first");
    }

    #[test]
    fn a_member_that_served_goes_on_to() {
        let pool = pool(&format!("members: {MEMBERS}")).unwrap();
        let second = pick(&pool, "t.example:1", "").instead().unwrap();
        second.reached();
        // What the pool was told once holds, however the connection ends.
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
        while let Some(next) = hop.instead() {
            names.push(next.member().unwrap());
            hop = next;
        }
        let inner = |index| format!("members[0].members[{index}]");
        assert_eq!(names, [inner(0), inner(1), inner(2), "members[1]".into()]);
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
