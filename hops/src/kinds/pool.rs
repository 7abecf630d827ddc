//! `kind: pool`: several hops. Each connection takes one of them.

pub(super) mod counts;
mod every;
pub(super) mod health;
mod known;
mod list;
mod listing;
mod member;
mod members_from;
mod order;
mod picked;
mod remote_list;
mod roster;

use std::{
    any::Any,
    sync::{Arc, OnceLock},
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use self::{
    known::{KnownMembers, ListFile},
    member::Member,
    members_from::MembersFrom,
    order::PoolMember,
    remote_list::RemoteList,
    roster::Roster,
};
use crate::{
    Asker, BuildContext, ChooseError, Chosen, Description, Eventual, Hop, HopConfig,
    InvalidSetting, InvalidSettings, KeptExit, Key, LoginShape, MemberStatus, PlainForm,
    Preferences, Request, SourceState, kinds::wish::Wish, preferences::stable_number,
};

/// The settings of a pool.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PoolConfig {
    /// Names of hops, or hops written out as below `hops`. A member that is not enabled is left out.
    #[serde(default)]
    members: Option<Vec<Member>>,
    /// A list of proxies, one a line, instead of `members`: a mapping of `file` or `url`.
    members_from: Option<MembersFrom>,
    /// Which of the members that work a connection of a client uses. All plain requests that the client sends over the
    /// connection take that member, for as long as the member keeps its own connection open.
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
    /// The one that carried the fewest connections so far.
    LeastUsed,
}

/// A hop that represents several. Each connection takes one of them.
#[derive(Debug)]
struct Pool(Members);

/// The members of a pool.
#[derive(Debug)]
enum Members {
    /// Members that stay for as long as the pool does.
    Known(KnownMembers),
    /// Members from a list at a URL, which changes.
    Listed(Arc<RemoteList>),
}

impl HopConfig for PoolConfig {
    const KIND: &'static str = "pool";
    const SHOWN: &'static [&'static str] = &["members", "pick"];

    fn build(self, context: &BuildContext<'_>) -> Result<Arc<dyn Hop>, InvalidSettings> {
        let members = match (&self.members, &self.members_from) {
            (Some(members), None) => {
                Members::known(written_members(members, context)?, self.pick, None)
            }
            (None, Some(list)) => list.members(self.pick, context)?,
            (Some(_), Some(_)) => {
                let message = "can't be beside `members`; write one of the two";
                return Err(InvalidSetting::new("members_from", message).into());
            }
            (None, None) => return Err(InvalidSetting::missing("members").into()),
        };
        Ok(Arc::new(Pool(members)))
    }
}

/// Builds the members that are written out, without those that are switched off.
fn written_members(
    written: &[Member],
    context: &BuildContext<'_>,
) -> Result<Vec<PoolMember>, InvalidSettings> {
    if written.is_empty() {
        let help = "write the names of hops, as in `members: [HOP, HOP]`";
        return Err(InvalidSetting::new("members", "is empty").with_help(help).into());
    }
    if written.len() > MEMBERS_MAX {
        let message = format!("has {} hops; at most {MEMBERS_MAX} are allowed", written.len());
        let help = "write them into a file, one proxy a line, and `members_from: { file: FILE }`";
        return Err(InvalidSetting::new("members", message).with_help(help).into());
    }
    warn_of_repeated(written, context);
    let mut members = Vec::with_capacity(written.len());
    let (mut invalid, mut is_whole) = (Vec::new(), true);
    for (index, member) in written.iter().enumerate() {
        let below =
            |one: InvalidSetting| one.below(Key::Index(index)).below(Key::Name("members".into()));
        match member.build(context) {
            Ok(Some(hop)) if hop.decider().is_some() => {
                is_whole = false;
                let message =
                    "chooses by the target, as `kind: pac` does, which a member of a pool can't";
                invalid.push(below(InvalidSetting::new("", message)));
            }
            // The program lets the hops below `hops` ask, and does not see the members of their members.
            Ok(Some(hop)) if hop.asker().is_some() && matches!(member, Member::Own(_)) => {
                is_whole = false;
                let message = "has a list at a `url`: write it below `hops`, and its name here";
                invalid.push(below(InvalidSetting::new("", message)));
            }
            Ok(built) => members.extend(built.map(|hop| {
                let name = format!("members[{index}]");
                let identity = stable_number(&name);
                PoolMember::new(hop, name, identity).named(member.hop_name().map(Arc::from))
            })),
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
    Ok(members)
}

/// Warns of a hop that is named as a member twice.
fn warn_of_repeated(written: &[Member], context: &BuildContext<'_>) {
    for (index, member) in written.iter().enumerate() {
        let Some(name) = member.hop_name() else { continue };
        let Some(first) = written[..index].iter().position(|other| other.hop_name() == Some(name))
        else {
            continue;
        };
        let message = format!("is the same hop as `members[{first}]`");
        let help =
            "remove one of the two, unless this hop is to be used more often than the others";
        let warning = InvalidSetting::new("", message).with_help(help);
        context.warn(warning.below(Key::Index(index)).below(Key::Name("members".into())));
    }
}

impl Members {
    fn known(members: Vec<PoolMember>, pick: Pick, list: Option<ListFile>) -> Self {
        // The pool does not know which member a client will get, so it asks for what any of them requires.
        let requires_session = members.iter().any(|member| member.hop.describe().requires_session);
        let roster = Arc::new(Roster::new(members, pick));
        Self::Known(KnownMembers { roster, inherited: OnceLock::new(), list, requires_session })
    }
}

impl Hop for Pool {
    /// Shows the address of the first member.
    fn describe(&self) -> Description<'_> {
        match &self.0 {
            Members::Known(known) => Description {
                // Its members may have different ones.
                scheme: None,
                address: known.roster.members.first().and_then(|one| one.hop.describe().address),
                forwards: false,
                takes_preferences: known.roster.takes_preferences(),
                requires_session: known.requires_session,
            },
            // Proxies of a list take no preferences, but a session may choose among them.
            Members::Listed(list) => {
                let takes_preferences = list.pick() == Pick::Sticky;
                Description { takes_preferences, ..Description::default() }
            }
        }
    }

    fn list(&self) -> Option<String> {
        match &self.0 {
            Members::Known(known) => known.list.as_ref().map(|list| list.name.clone()),
            Members::Listed(list) => Some(list.shown_url()),
        }
    }

    fn members(&self) -> Vec<MemberStatus> {
        match &self.0 {
            Members::Known(known) => known.roster().status(),
            Members::Listed(list) => list.present().map_or_else(Vec::new, |roster| roster.status()),
        }
    }

    /// A pool with one member has the exit of that.
    fn kept_exit(&self) -> Option<KeptExit> {
        match &self.0 {
            Members::Known(known) => match &known.roster().members[..] {
                [one] => one.hop.kept_exit(),
                _ => None,
            },
            Members::Listed(_) => None,
        }
    }

    fn usual_member(&self, request: Request<'_>) -> Option<usize> {
        match &self.0 {
            Members::Known(known) => known.roster().usual_member(request),
            Members::Listed(list) => list.present()?.usual_member(request),
        }
    }

    fn plain_form(&self) -> PlainForm {
        match &self.0 {
            Members::Known(known) => known.roster().plain_form(),
            Members::Listed(list) => {
                list.present().map_or(PlainForm::ByMember, |roster| roster.plain_form())
            }
        }
    }

    fn login_shape(&self, preferences: &Preferences) -> Vec<LoginShape> {
        match &self.0 {
            Members::Known(known) => known.roster().login_shape(preferences),
            Members::Listed(_) => Vec::new(),
        }
    }

    fn release(&self) {
        match &self.0 {
            Members::Known(known) => known.roster().release(),
            Members::Listed(list) => {
                if let Some(roster) = list.present() {
                    roster.release();
                }
            }
        }
    }

    fn asker(&self) -> Option<&dyn Asker> {
        match &self.0 {
            Members::Known(_) => None,
            Members::Listed(list) => Some(&**list),
        }
    }

    fn source(&self) -> Option<SourceState> {
        match &self.0 {
            Members::Known(known) => known.source(),
            Members::Listed(list) => Some(list.state()),
        }
    }

    fn inherit(&self, before: &dyn Hop, is_unchanged: bool) {
        let Some(Self(before)) = (before as &dyn Any).downcast_ref() else { return };
        match (&self.0, before) {
            (Members::Listed(list), Members::Listed(before)) => list.inherit(before, is_unchanged),
            (Members::Known(known), Members::Known(before)) => {
                let roster = match (is_unchanged, &known.list) {
                    (true, _) => Arc::clone(before.roster()),
                    (false, Some(_)) => Arc::new(known.roster.with_knowledge_of(before.roster())),
                    (false, None) => return,
                };
                known.follow(before);
                // Set once, before the pool is used.
                let _ = known.inherited.set(roster);
            }
            _ => {}
        }
    }

    fn choose(
        self: Arc<Self>,
        request: Request<'_>,
    ) -> Eventual<'static, Result<Chosen, ChooseError>> {
        let list = match &self.0 {
            Members::Known(known) => return Arc::clone(known.roster()).choose(request),
            Members::Listed(list) => Arc::clone(list),
        };
        if let Some(roster) = list.ready() {
            return roster.choose(request);
        }
        let wish = Wish::of(request);
        Eventual::later(async move {
            let roster = list.roster().await?;
            roster.choose(wish.request()).wait().await
        })
    }
}

/// The most entries in `members`. One request may try them all before its client gets an answer.
const MEMBERS_MAX: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{InvalidPreferences, Preferences, Registry, Settings};

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
            let registry = registry
                .with::<crate::kinds::http_connect::HttpConnectConfig>()
                .with::<PoolConfig>();
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
        let host =
            |_| pick(pool, "t.example:1", "").link.unwrap().address().to_string()[..1].to_owned();
        (0..count).map(host).collect()
    }

    #[test]
    fn members_are_picked_as_told() {
        let of = |how: &str| pool(&format!("members: {MEMBERS}{how}")).unwrap();
        assert_eq!(hosts(&of(""), 4), "aaaa");
        assert_eq!(hosts(&of(", pick: round-robin"), 7), "abcabca");
        assert_eq!(hosts(&of(", pick: least-used"), 7), "abcabca");
        let random = hosts(&of(", pick: random"), 200);
        assert!(["a", "b", "c"].iter().all(|host| random.contains(host)), "{random}");
    }

    #[test]
    fn a_choice_is_made_again_by_its_numbers_while_its_member_is_in_use() {
        let inner = format!("{{kind: pool, pick: random, members: {MEMBERS}}}");
        for pick in ["failover", "round-robin", "random", "least-used", "sticky"] {
            let pool = pool(&format!("members: [{inner}, {inner}], pick: {pick}")).unwrap();
            for _ in 0..20 {
                let first = self::pick(&pool, "t.example:1", "");
                let first = first.selection.unwrap();
                let (member, numbers) = (first.member(), first.numbers());
                assert_eq!(numbers.len(), 2, "{member}");
                pick_with(&pool, &[]);
                assert_eq!(pick_with(&pool, &numbers), member, "{pick}");
            }
        }
        let pool = pool(&format!("members: {MEMBERS}, pick: round-robin")).unwrap();
        let a = pick(&pool, "t.example:1", "");
        let numbers = a.selection.as_ref().unwrap().numbers();
        let again = || pick_with(&pool, &numbers);
        assert_eq!([again(), again()], ["members[0]", "members[0]"]);
        assert_eq!(hosts(&pool, 1), "b", "it took no turn of another");
        drop(now(a.instead()));
        assert_ne!(again(), "members[0]", "it failed, and is left out");
        assert_eq!(pick_with(&pool, &[usize::MAX]), "members[2]", "a member that is gone");
    }

    fn pick_with(pool: &Arc<dyn Hop>, numbers: &[usize]) -> String {
        let (target, none) = ("t.example:1".parse().unwrap(), Preferences::default());
        let request = Request::new(&target, &none).repeating(numbers);
        now(Arc::clone(pool).choose(request)).unwrap().member().unwrap()
    }

    #[test]
    fn the_turns_of_members_that_are_left_out_are_shared_by_all_others() {
        let member = |name| format!("{{kind: http-connect, address: '{name}.example:1'}}");
        let members = ["a", "b", "c", "d", "e"].map(member).join(", ");
        let pool = pool(&format!("members: [{members}], pick: round-robin")).unwrap();
        assert_eq!(hosts(&pool, 1), "a");
        let c = now(pick(&pool, "t.example:1", "").instead()).unwrap();
        let d = now(c.instead()).unwrap();
        now(d.instead()).unwrap().reached();
        assert_eq!(hosts(&pool, 6), "eaeaea");
    }

    #[test]
    fn a_session_or_a_host_stays_with_its_member() {
        let pool = pool(&format!("members: {MEMBERS}, pick: sticky")).unwrap();
        let host = |target: &str, said: &str| {
            pick(&pool, target, said).link.unwrap().address().to_string()
        };
        assert_eq!(host("x.example:1", ""), host("X.example:2", ""));
        assert_eq!(host("x.example:1", "session-a"), host("y.example:1", "session-a"));
        let all: std::collections::BTreeSet<_> =
            (0..50).map(|n| host(&format!("h{n}.example:1"), "")).collect();
        assert_eq!(all.len(), 3);
        // A member that fails moves its own sessions alone.
        let before: Vec<_> = (0..50).map(|n| host(&format!("h{n}.example:1"), "")).collect();
        let failing = pick(&pool, "x.example:1", "");
        let gone = failing.link.as_ref().unwrap().address().to_string();
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
        let member = |(index, hop)| PoolMember::new(hop, format!("members[{index}]"), 0);
        let members: Vec<_> = hops.into_iter().enumerate().map(member).collect();
        let pool = Arc::new(Roster::new(members, Pick::Failover));
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

    type BuildResult = Result<Arc<dyn Hop>, Vec<InvalidSetting>>;

    /// Builds a pool of the list `text`, whose file is written beside nothing else.
    fn listed(text: &str, more: &str) -> (BuildResult, Vec<String>) {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("list"), text).unwrap();
        let yaml = format!("{{kind: pool, members_from: {{file: list{more}}}}}");
        let settings: Settings = serde_yaml::from_str(&yaml).unwrap();
        let context = BuildContext::new(directory.path()).with_siblings(&Alone);
        let built = context.build(&settings);
        let shown = |warning: &InvalidSetting| {
            let lines = warning.details().iter().map(|line| format!("\n{line}"));
            warning.to_string() + &lines.collect::<String>()
        };
        (built, context.warnings().iter().map(shown).collect())
    }

    #[test]
    fn a_list_gives_the_members_and_its_bad_lines_are_told_without_credentials() {
        let text = "\u{feff}# from the provider\r\n\r\na.example:1\r\nb.example:2:user:canary:x\r\n\
                    user:canary@c.example:3\nhttp://us%40er:p%3Aw@d.example:4\n  broken canary\n\
                    e.example\nh.example\nftp://f.example:1\ng.example:99999:u:canary\n";
        let text = text.to_owned() + &"canary\n".repeat(7) + &"canary 1 x\ncanary\n".repeat(4);
        let (built, warnings) = listed(&text, "");
        let pool = built.unwrap();
        let mut chosen = Some(pick(&pool, "t.example:1", ""));
        let mut seen = Vec::new();
        while let Some(now_chosen) = chosen {
            seen.push(format!(
                "{} {}",
                now_chosen.member().unwrap(),
                now_chosen.link.as_ref().unwrap().address()
            ));
            chosen = now(now_chosen.instead());
        }
        assert_eq!(
            seen,
            [
                "line 3 a.example:1",
                "line 4 b.example:2",
                "line 5 c.example:3",
                "line 6 d.example:4"
            ]
        );
        let [doubt, warning] = &warnings[..] else { panic!("{warnings:?}") };
        assert!(doubt.contains("line 4: everything after the third `:`"), "{doubt}");
        assert!(warning.contains("20 of 24 lines") && warning.contains("\nline 7: "), "{warning}");
        assert!(warning.contains("\nlines 8 to 9: "), "neighbours are put together: {warning}");
        assert!(warning.ends_with("\nand 16 more lines"), "three are enough: {warning}");
        assert!(!warning.contains("canary"), "{warning}");
        let (failed, _) = listed("# nothing\n", "");
        assert_eq!(failed.unwrap_err()[0].path().to_string(), "members_from.file");
    }

    #[test]
    fn a_session_stays_with_its_member_when_others_leave_the_list() {
        let line = |number: usize| format!("h{number}.example:1\n");
        let (all, _) = listed(&(0..200).map(line).collect::<String>(), "");
        drop(all);
        let sticky = |numbers: &mut dyn Iterator<Item = usize>| {
            let directory = tempfile::tempdir().unwrap();
            std::fs::write(directory.path().join("list"), numbers.map(line).collect::<String>())
                .unwrap();
            let yaml = "{kind: pool, members_from: {file: list}, pick: sticky}";
            let settings: Settings = serde_yaml::from_str(yaml).unwrap();
            BuildContext::new(directory.path()).with_siblings(&Alone).build(&settings).unwrap()
        };
        let (before, after) = (sticky(&mut (0..200)), sticky(&mut (0..200).filter(|n| *n != 7)));
        let host = |pool: &Arc<dyn Hop>, number: usize| {
            pick(pool, "t.example:1", &format!("session-{number}"))
                .link
                .unwrap()
                .address()
                .to_string()
        };
        for number in 0..500 {
            let old = host(&before, number);
            assert!(old == "h7.example:1" || old == host(&after, number), "{number}");
        }
    }

    #[test]
    fn the_usual_member_of_a_session_is_the_one_that_it_gets() {
        for (picked, is_usual) in
            [("sticky", true), ("failover", true), ("round-robin", false), ("random", false)]
        {
            let hop = pool(&format!("members: {MEMBERS}, pick: {picked}")).unwrap();
            let target = "t.example:1".parse().unwrap();
            for session in 0..20 {
                let said =
                    if picked == "sticky" { format!("session-{session}") } else { String::new() };
                let preferences =
                    if said.is_empty() { Preferences::default() } else { said.parse().unwrap() };
                let usual = hop.usual_member(Request::new(&target, &preferences));
                let taken = pick(&hop, "t.example:1", &said).member();
                let usual = usual.map(|index| hop.members()[index].name.to_string());
                assert_eq!(usual, is_usual.then(|| taken.unwrap()), "{picked} {said}");
            }
        }
    }

    #[test]
    fn ten_thousand_members_cost_what_ten_do() {
        for pick_by in
            [Pick::Failover, Pick::RoundRobin, Pick::Random, Pick::Sticky, Pick::LeastUsed]
        {
            let looked_at = |count: usize| {
                let hop: Arc<dyn Hop> = Arc::new(Slow(None));
                let member = |index: usize| {
                    let identity = stable_number(&index.to_string());
                    PoolMember::new(Arc::clone(&hop), index.to_string(), identity)
                };
                let pool = Roster::new((0..count).map(member).collect(), pick_by);
                let (target, preferences) =
                    ("t.example:1".parse().unwrap(), Preferences::default());
                let request = Request::new(&target, &preferences);
                let mut candidates = pool.order.candidates(request, false);
                let taken = pool.order.take(&mut candidates, &pool.members, &pool.health);
                assert!(taken.is_some());
                candidates.looked_at()
            };
            assert_eq!((looked_at(10), looked_at(10_000)), (1, 1), "{pick_by:?}");
        }
    }

    #[test]
    fn only_members_that_failed_have_a_state() {
        let hop = pool(&format!("members: {MEMBERS}, pick: random")).unwrap();
        for _ in 0..10 {
            pick(&hop, "t.example:1", "").reached();
        }
        let members =
            (0..10_000).map(|index| PoolMember::new(Arc::new(Slow(None)), index.to_string(), 0));
        let pool = Roster::new(members.collect(), Pick::RoundRobin);
        let (target, preferences) = ("t.example:1".parse().unwrap(), Preferences::default());
        for _ in 0..5 {
            let mut candidates = pool.order.candidates(Request::new(&target, &preferences), false);
            let taken = pool.order.take(&mut candidates, &pool.members, &pool.health);
            pool.health.failed(taken.unwrap().1, health::LeftFor::default());
        }
        assert_eq!(pool.health.ill(), 5);
    }
}
