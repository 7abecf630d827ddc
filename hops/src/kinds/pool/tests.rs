//! Tests of pools, with members that do not connect.

use super::*;
use crate::{
    BuildContext, InvalidPreferences, InvalidSetting, Preferences, Registry, Settings,
    preferences::stable_number,
};

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
        let registry =
            registry.with::<crate::kinds::http_connect::HttpConnectConfig>().with::<PoolConfig>();
        let kind: String = settings.take("kind").unwrap().read().unwrap();
        registry.kind(&kind).unwrap().build(&settings, context)
    }
}

fn pool(yaml: &str) -> Result<Arc<dyn Hop>, Vec<InvalidSetting>> {
    let settings: Settings = serde_yaml::from_str(&format!("{{kind: pool, {yaml}}}")).unwrap();
    BuildContext::new(".".as_ref()).with_siblings(&Alone).build(&settings)
}

fn pick(pool: &Arc<dyn Hop>, target: &str, said: &str) -> Chosen {
    let preferences = if said.is_empty() { Preferences::default() } else { said.parse().unwrap() };
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
    let host =
        |target: &str, said: &str| pick(&pool, target, said).link.unwrap().address().to_string();
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
        paths("members: [{kind: http-connect, address: a, tls: 5}, {kind: pool, members: [x, y]}]"),
        ["members[0].tls", "members[0].address", "members[1].members[0]", "members[1].members[1]"]
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
        ["line 3 a.example:1", "line 4 b.example:2", "line 5 c.example:3", "line 6 d.example:4"]
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
        pick(pool, "t.example:1", &format!("session-{number}")).link.unwrap().address().to_string()
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
    for pick_by in [Pick::Failover, Pick::RoundRobin, Pick::Random, Pick::Sticky, Pick::LeastUsed] {
        let looked_at = |count: usize| {
            let hop: Arc<dyn Hop> = Arc::new(Slow(None));
            let member = |index: usize| {
                let identity = stable_number(&index.to_string());
                PoolMember::new(Arc::clone(&hop), index.to_string(), identity)
            };
            let pool = Roster::new((0..count).map(member).collect(), pick_by);
            let (target, preferences) = ("t.example:1".parse().unwrap(), Preferences::default());
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
