//! Scripts that are broken or hostile.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that can't go on must stop")]

use std::{
    sync::{
        Arc,
        mpsc::{self, Receiver, Sender},
    },
    time::{Duration, Instant, SystemTime},
};

use mooltiroute_pac::{Engine, NoNames, Outcome, PacError, PacRunner, PendingCall, Place, Query};

fn query(host: &str) -> Query {
    Query { url: format!("https://{host}/").into(), host: host.into() }
}

fn call(body: &str) -> Result<Outcome, PacError> {
    let text = format!("function FindProxyForURL(url, host) {{ {body} }}");
    Engine::load(text.into()).unwrap().call(&query("a.example"), Arc::new(NoNames))
}

#[track_caller]
fn threw(body: &str) -> (String, Option<Place>) {
    match call(body) {
        Err(PacError::Threw { message, place }) => (message, place),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_text_that_is_not_a_script_is_refused_with_the_place() {
    let error = |text: &str| Engine::load(text.into()).unwrap_err();
    let syntax = error("function FindProxyForURL(url, host) {\n  return 'DIRECT'\n  oops oops\n}");
    assert_eq!(syntax.place().unwrap().line, 3, "{syntax}");
    assert!(matches!(syntax, PacError::Syntax { .. }));
    assert_eq!(error("\n <!DOCTYPE html><p>404"), PacError::Html);
    assert_eq!(error(""), PacError::NoFunction);
    assert_eq!(error("var FindProxyForURL = 1;"), PacError::NoFunction);
    assert!(matches!(error("nothing.here();"), PacError::Threw { .. }));
    assert!(matches!(error("while (true) {}"), PacError::TooSlow(_)));
    assert!(
        Engine::load("function FindProxyForURLEx(url, host) { return 'DIRECT'; }".into()).is_ok()
    );
}

#[test]
fn an_answer_that_is_not_a_text_is_an_error() {
    assert_eq!(call(""), Err(PacError::NotText("undefined")));
    assert_eq!(call("return null;"), Err(PacError::NotText("null")));
    assert_eq!(call("return 7;"), Err(PacError::NotText("int")));
    assert_eq!(call("return '\\ud800';"), Err(PacError::NotText("half a character")));
    assert!(matches!(call("return new Array(1e5).join('x');"), Err(PacError::TooLong(_))));
    assert_eq!(call("return '';"), Ok(Outcome::Answer(String::new())));
}

#[test]
fn an_exception_is_shown_with_its_place() {
    let (message, place) = threw("\n  throw new Error('no such site');");
    assert_eq!((&*message, place.unwrap().line), ("no such site", 2));
    assert_eq!(threw("throw 'plain';").0, "plain");
    assert_eq!(threw("throw {};").0, "a value of type object");
    assert_eq!(threw("throw new Error(new Array(1e5).join('x'));").0.len(), 200);
    assert!(threw("return shExpMatch(host, '[');").1.is_some());
    assert_eq!(threw("return new Array(-1);").0, "invalid array length");
}

#[test]
fn endless_work_ends_within_the_budget() {
    for body in [
        "while (true) {}",
        "for (;;) { try { for (;;) {} } catch (e) {} }",
        "function f() { try { f(); } finally { f(); } } f();",
        "return /^(a+)+$/.test('aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!');",
        "while (true) { 'x'.replace(/x/, 'y'); }",
        "while (true) { shExpMatch(host, '*'); }",
    ] {
        let began = Instant::now();
        let outcome = call(body);
        assert!(matches!(outcome, Err(PacError::TooSlow(_))), "{body}: {outcome:?}");
        // The budget counts processor time, and other tests run at the same time.
        assert!(began.elapsed() < Duration::from_secs(5), "{body}");
    }
}

#[test]
fn memory_and_stack_are_limited() {
    for body in [
        "var list = []; while (true) list.push(new Array(1000).join('x') + list.length);",
        "var text = 'x'; while (true) text += text;",
        "return 'x'.repeat(1e9);",
        "var text = new Array(7e6).join('x'); return dnsResolve(text + text + text);",
        "(function f() { return 1 + f(); })();",
    ] {
        let outcome = call(body);
        let is_ended = matches!(outcome, Err(PacError::Exhausted | PacError::TooSlow(_)));
        assert!(is_ended, "{body}: {outcome:?}");
    }
    let deep = format!("var x = {}{};", "[".repeat(100_000), "]".repeat(100_000));
    let many = "var list = []; while (true) list.push(new Array(100000));".to_owned();
    for text in [deep, many] {
        let error = Engine::load(text.into()).unwrap_err();
        // Other systems count real time, which may run out first on a busy machine.
        let is_late = !cfg!(unix) && matches!(error, PacError::TooSlow(_));
        assert!(is_late || error == PacError::Exhausted, "{error}");
    }
}

#[test]
fn a_call_that_fails_leaves_nothing_behind() {
    let text = "var kept = [], calls = 0;
        function FindProxyForURL(url, host) {
            calls += 1;
            while (host === 'bomb.example') kept.push(new Array(1000).join('x') + kept.length);
            return 'PROXY p' + calls + ':1';
        }";
    let mut engine = Engine::load(text.into()).unwrap();
    let mut ask = |host: &str| engine.call(&query(host), Arc::new(NoNames));
    let answer = |text: &str| Ok(Outcome::Answer(text.to_owned()));
    assert_eq!(ask("a.example"), answer("PROXY p1:1"));
    assert_eq!(ask("a.example"), answer("PROXY p2:1"));
    assert!(ask("bomb.example").is_err());
    assert_eq!(ask("a.example"), answer("PROXY p1:1"));
}

#[test]
fn a_call_that_fails_says_why_even_if_the_script_can_not_be_loaded_again() {
    // The first load has to end before that, on a busy machine too.
    let end = SystemTime::now() + Duration::from_secs(2);
    let milliseconds = end.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis();
    let text = format!(
        "if (Date.now() > {milliseconds}) throw 'too late';
        function FindProxyForURL(url, host) {{ throw 'the call'; }}"
    );
    let mut engine = Engine::load(text.into()).unwrap();
    let mut ask = || engine.call(&query("a.example"), Arc::new(NoNames));
    while SystemTime::now() <= end {
        std::thread::sleep(Duration::from_millis(10));
    }
    for expected in ["the call", "too late", "too late"] {
        assert!(matches!(ask(), Err(PacError::Threw { message, .. }) if message == expected));
    }
}

/// Calls that were made of one script.
struct Calls {
    runner: PacRunner,
    pending: Vec<PendingCall>,
    sender: Sender<Reply>,
    replies: Receiver<Reply>,
}

/// The host of a call, and its outcome.
type Reply = (String, Result<Outcome, PacError>);

impl Calls {
    fn of(text: &str) -> Self {
        let runner = PacRunner::load(text.into()).unwrap();
        let (sender, replies) = mpsc::channel();
        Self { runner, pending: Vec::new(), sender, replies }
    }

    fn ask(&mut self, host: &str) {
        let (sender, of) = (self.sender.clone(), host.to_owned());
        // A thread that is stuck comes back after the test.
        let reply = move |outcome| drop(sender.send((of, outcome)));
        self.pending.push(self.runner.ask(query(host), Arc::new(NoNames), reply));
    }

    /// Waits for the next reply, and relieves the runner meanwhile.
    fn reply(&self) -> Reply {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            match self.replies.recv_timeout(Duration::from_millis(10)) {
                Ok(reply) => return reply,
                Err(_) => self.runner.relieve(),
            }
            assert!(Instant::now() < deadline, "the thread was not replaced");
        }
    }

    #[track_caller]
    fn assert_direct(&self, host: &str) {
        assert_eq!(self.reply(), (host.into(), Ok(Outcome::Answer("DIRECT".into()))));
    }
}

#[test]
fn a_runner_goes_on_after_an_endless_loop() {
    let mut calls = Calls::of(
        "function FindProxyForURL(url, host) {
            while (host === 'loop.example') {}
            return 'DIRECT';
        }",
    );
    calls.ask("loop.example");
    calls.ask("a.example");
    // Another thread may have taken over the second call before the first one ends.
    let mut replies = [calls.reply(), calls.reply()];
    replies.sort_by(|(one, _), (other, _)| one.cmp(other));
    let [(_, honest), (_, endless)] = replies;
    assert_eq!(honest, Ok(Outcome::Answer("DIRECT".into())));
    assert!(matches!(endless, Err(PacError::TooSlow(_))), "{endless:?}");
}

/// A search that takes minutes inside one function of the engine.
const SEARCH: &str = "function FindProxyForURL(url, host) {
    if (host === 'search.example') {
        var half = new Array(1 << 20).join('a');
        (half + half).indexOf(half + 'b');
    }
    return 'DIRECT';
}";

#[test]
fn another_thread_takes_over_the_calls_behind_one_that_can_not_be_interrupted() {
    let mut calls = Calls::of(SEARCH);
    calls.ask("search.example");
    let hosts: Vec<_> = (0..20).map(|number| format!("host-{number}.example")).collect();
    hosts.iter().for_each(|host| calls.ask(host));
    for host in &hosts {
        calls.assert_direct(host);
    }
    assert!(calls.pending[0].has_begun());
}

#[test]
fn a_script_that_can_not_be_loaded_starts_no_runner() {
    assert!(matches!(PacRunner::load("oops oops".into()), Err(PacError::Syntax { .. })));
    assert!(matches!(PacRunner::load("while (true) {}".into()), Err(PacError::TooSlow(_))));
}
