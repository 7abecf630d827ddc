//! Pools, as operators see them: in the status, the metrics and the log, and what `check` says of them.

mod counts;
mod returns;

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;

use crate::support::{
    ConfigDir, Double, Proxy, Step, connect, exchange, free_port, head, open, run, status, within,
};

const REQUEST: &[u8] = b"CONNECT origin.test:443 HTTP/1.1\r\nHost: origin.test:443\r\n\r\n";

fn two_members(ports: [u16; 2]) -> String {
    let [first, second] = ports;
    format!(
        "hops:\n  exits:\n    kind: pool\n    members:\n      \
         - {{ kind: http-connect, address: \"127.0.0.1:{first}\" }}\n      \
         - {{ kind: http-connect, address: \"127.0.0.1:{second}\" }}\n\
         chains: {{ default: [exits] }}\n"
    )
}

async fn metrics(proxy: &Proxy) -> String {
    let address = proxy.address();
    let request = format!("GET /metrics HTTP/1.1\r\nHost: {address}\r\n\r\n");
    exchange(address, request.as_bytes()).await
}

#[tokio::test]
async fn a_member_that_leaves_and_one_that_comes_back_are_logged_and_counted() {
    let ports = [free_port(), free_port()];
    let proxy = Proxy::start(&two_members(ports)).await;
    assert!(exchange(proxy.address(), REQUEST).await.starts_with("HTTP/1.1 502 "));
    let left = proxy.event("pool member left").await;
    let fields = ["hop", "member"].map(|field| left.field(field));
    assert_eq!(fields, ["exits", "members[0]"]);
    assert!(left.field("error").contains(&format!("127.0.0.1:{}", ports[0])), "{left:?}");
    let advice = "Check that it is up, that the address of `hops.exits.members[0]` is right, and that this machine may reach it.";
    assert_eq!(left.field("advice"), advice);
    let told = metrics(&proxy).await;
    for line in [
        "mooltiroute_pool_members{hop=\"exits\",state=\"left_out\"} 2",
        "mooltiroute_pool_member_up{hop=\"exits\",member=\"members[0]\"} 0",
        "mooltiroute_pool_member_failures_total{hop=\"exits\",member=\"members[1]\"} 1",
    ] {
        assert!(told.contains(line), "{line}: {told}");
    }

    // All have failed, so the next connection tries the one that failed first.
    let address = format!("127.0.0.1:{}", ports[0]).parse().unwrap();
    let _member = Double::start_at(address, [Step::Answer("HTTP/1.1 200 OK\r\n\r\n".into())]).await;
    drop(connect(proxy.address(), "origin.test:443").await.tunnel());
    let back = proxy.event("pool member back").await;
    assert_eq!(["hop", "member"].map(|field| back.field(field)), ["exits", "members[0]"]);
    let pool = &status(proxy.address()).await["pools"]["exits"];
    assert_eq!((&pool["members"], &pool["working"]), (&json!(2), &json!(1)), "{pool}");
    let member = &pool["shown"][0];
    assert_eq!(member["address"], json!(address.to_string()));
    let state = ["working", "retry_seconds", "reached", "failed"].map(|field| &member[field]);
    assert_eq!(state, [&json!(true), &Value::Null, &json!(1), &json!(1)]);
    assert!(pool["shown"][1]["retry_seconds"].as_f64().is_some(), "{pool}");
}

#[tokio::test]
async fn a_member_that_leaves_is_logged_with_what_to_do() {
    let rejecting = Double::start([
        Step::Answer("HTTP/1.1 407 Who\r\nContent-Length: 0\r\n\r\n".into()),
        Step::End,
    ])
    .await;
    let silent = Double::start([Step::Listen]).await;
    let (rejecting, silent) = (rejecting.address(), silent.address());
    for (member, request, advice) in [
        (
            format!(
                "{{ kind: http-connect, address: '{rejecting}', username: svc, password: Hunter2x }}"
            ),
            String::from_utf8(REQUEST.into()).unwrap(),
            "Correct this hop's `username` and `password`",
        ),
        (
            format!("{{ kind: http-connect, address: '{rejecting}', tls: true }}"),
            String::from_utf8(REQUEST.into()).unwrap(),
            "write `tls: false` for this hop",
        ),
        (
            "{ kind: http-connect, address: 'nosuch.invalid:1' }".to_owned(),
            String::from_utf8(REQUEST.into()).unwrap(),
            "this machine's name servers answer and know the name",
        ),
        (
            format!("{{ kind: http-connect, address: '{silent}' }}"),
            plain("GET"),
            "raise `timeouts.response`",
        ),
    ] {
        let proxy = Proxy::start(&format!(
            "timeouts: {{ response: 1s }}\nhops:\n  exits: {{ kind: pool, members: [{member}] }}\nchains: {{ default: [exits] }}\n"
        ))
        .await;
        exchange(proxy.address(), request.as_bytes()).await;
        let left = proxy.event("pool member left").await;
        assert!(left.field("advice").contains(advice), "{advice}: {left:?}");
        assert!(!left.text().contains("Hunter2x"), "{left:?}");
    }
}

#[tokio::test]
async fn labels_of_a_long_list_are_bounded() {
    let config = ConfigDir::new(
        "hops:\n  exits: { kind: pool, members_from: { file: exits.txt } }\nchains: { default: [exits] }\n",
    );
    let list: String = (1..=2000).map(|port| format!("127.0.0.1:{port}:user:pAsSwOrD\n")).collect();
    config.write("exits.txt", &list);
    let proxy = Proxy::on(config, &[]).await;
    let told = metrics(&proxy).await;
    assert!(
        told.contains("mooltiroute_pool_members{hop=\"exits\",state=\"working\"} 2000"),
        "{told}"
    );
    for name in ["pool_member_connections_total", "pool_member_failures_total"] {
        let samples: Vec<_> =
            told.lines().filter(|line| line.contains(&format!("{name}{{"))).collect();
        assert_eq!(samples.len(), 51, "{samples:?}");
        assert!(samples[50].contains("member=\"other\""), "{samples:?}");
        // A line number would be another proxy's after an edit of the list.
        assert!(samples[0].contains("member=\"127.0.0.1:1\""), "{samples:?}");
    }
    assert_eq!(status(proxy.address()).await["pools"]["exits"]["other"]["members"], 1950);
    let output = run(["check", "-c", proxy.config().path().to_str().unwrap()]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("2000 members") && text.contains("and 1980 more"), "{text}");
    assert!(!text.contains("pAsSwOrD") && !told.contains("pAsSwOrD"));
}

fn plain(method: &str) -> String {
    format!(
        "{method} http://origin.test/ HTTP/1.1\r\nHost: origin.test\r\nConnection: close\r\n\r\n"
    )
}

const ANSWER: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";

/// Reads a head, and closes or breaks the connection.
fn hangs_up(end: Step) -> [Step; 2] {
    [Step::Hear("\r\n\r\n".into()), end]
}

/// Returns how many connections each of the two members failed, and whether connections use them.
async fn failures(proxy: &Proxy) -> [(Value, Value); 2] {
    let pool = status(proxy.address()).await["pools"]["exits"].clone();
    [0, 1].map(|index| {
        let member = &pool["shown"][index];
        (member["failed"].clone(), member["working"].clone())
    })
}

#[tokio::test]
async fn a_plain_request_goes_on_through_another_member_if_the_first_hangs_up() {
    for end in [Step::End, Step::Reset] {
        let first = Double::start(hangs_up(end.clone())).await;
        let second = Double::start([Step::Answer(ANSWER.into())]).await;
        let proxy =
            Proxy::start(&two_members([&first, &second].map(|one| one.address().port()))).await;
        for _ in 0..3 {
            let answer = exchange(proxy.address(), plain("GET").as_bytes()).await;
            assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("hi"), "{answer}");
        }
        assert_eq!(first.record().now().len(), 1, "it is left out after the first failure");
        let left = proxy.event("pool member left").await;
        assert_eq!(["hop", "member"].map(|field| left.field(field)), ["exits", "members[0]"]);
        let expected = [(json!(1), json!(false)), (json!(0), json!(true))];
        assert_eq!(failures(&proxy).await, expected, "{end:?}");
        let carried =
            status(proxy.address()).await["pools"]["exits"]["shown"][0]["reached"].clone();
        assert_eq!(carried, 0);
    }
}

#[tokio::test]
async fn a_plain_request_that_is_unsafe_to_repeat_fails_and_its_member_is_left_out() {
    let body = "PUT http://origin.test/ HTTP/1.1\r\nHost: origin.test\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi";
    for request in [plain("POST"), body.to_owned()] {
        let first = Double::start(hangs_up(Step::End)).await;
        let second = Double::start([Step::Answer(ANSWER.into())]).await;
        let proxy =
            Proxy::start(&two_members([&first, &second].map(|one| one.address().port()))).await;
        let answer = exchange(proxy.address(), request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
        assert!(second.record().now().is_empty(), "{request}");
        let answer = exchange(proxy.address(), request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        assert_eq!(failures(&proxy).await[0], (json!(1), json!(false)));
    }
}

#[tokio::test]
async fn a_member_that_never_answers_a_plain_request_is_left_out() {
    let first = Double::start([Step::Listen]).await;
    let second = Double::start([Step::Answer(ANSWER.into())]).await;
    let config = two_members([&first, &second].map(|one| one.address().port()));
    let proxy = Proxy::start(&format!("timeouts: {{ response: 300ms }}\n{config}")).await;
    let answer = exchange(proxy.address(), plain("GET").as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 504 "), "{answer}");
    let answer = exchange(proxy.address(), plain("GET").as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert_eq!(failures(&proxy).await[0], (json!(1), json!(false)));
}

#[tokio::test]
async fn a_slow_origin_does_not_make_a_pool_leave_a_member_that_answers_others() {
    let first = Double::start([Step::Listen]).await;
    let second = Double::start([Step::Answer(ANSWER.into())]).await;
    let config = two_members([&first, &second].map(|one| one.address().port()));
    let proxy = Proxy::start(&format!("timeouts: {{ response: 1s }}\n{config}")).await;
    let (address, request) = (proxy.address(), plain("GET"));
    let slow = tokio::spawn(async move { exchange(address, request.as_bytes()).await });
    within("the slow request is sent", async {
        while first.record().now().is_empty() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    })
    .await;
    first.becomes([Step::Answer(ANSWER.into())]);
    let answer = exchange(proxy.address(), plain("GET").as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(slow.await.unwrap().starts_with("HTTP/1.1 504 "));
    assert_eq!(failures(&proxy).await[0], (json!(0), json!(true)));
    assert!(second.record().now().is_empty());
}

#[tokio::test]
async fn a_plain_request_that_every_member_hangs_up_on_fails_with_the_last_of_them() {
    let member = Double::start(hangs_up(Step::End)).await;
    let port = member.address().port();
    let proxy = Proxy::start(&two_members([port, port])).await;
    let answer = exchange(proxy.address(), plain("GET").as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
    assert!(answer.contains("all 2 members"), "{answer}");
    assert_eq!(member.record().now().len(), 2);
}

#[tokio::test]
async fn a_tunnel_that_a_member_answers_with_500_is_tried_through_another_and_leaves_none_out() {
    let failing = "HTTP/1.1 500 Unable to connect\r\nContent-Length: 0\r\n\r\n";
    let first = Double::start([Step::Answer(failing.into())]).await;
    let second = Double::start([Step::Answer(failing.into())]).await;
    let config = two_members([&first, &second].map(|one| one.address().port()));
    let proxy = Proxy::start(&config).await;
    let connect = b"CONNECT nosuch.test:443 HTTP/1.1\r\nHost: nosuch.test:443\r\n\r\n";
    for _ in 0..3 {
        let answer = exchange(proxy.address(), connect).await;
        assert!(
            answer.starts_with("HTTP/1.1 502 ") && answer.contains("all 2 members"),
            "{answer}"
        );
    }
    assert_eq!([&first, &second].map(|one| one.record().now().len()), [3, 3]);
    let pool = status(proxy.address()).await["pools"]["exits"].clone();
    for index in [0, 1] {
        let member = &pool["shown"][index];
        assert_eq!([&member["failed"], &member["refused"]], [0, 3], "{member}");
        assert_eq!(member["working"], true, "{member}");
    }
    // A member that works serves what a broken one can't.
    second.becomes([Step::Answer("HTTP/1.1 200 OK\r\n\r\n".into()), Step::End]);
    for _ in 0..2 {
        let answer = exchange(proxy.address(), connect).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }
}

#[tokio::test]
async fn a_member_that_speaks_another_protocol_is_passed_over_and_carries_nothing() {
    let socks = [Step::Hear("\r\n\r\n".into()), Step::Say("\x05\u{7f}".into()), Step::End];
    let first = Double::start(socks).await;
    let second = Double::start([Step::Answer(ANSWER.into())]).await;
    let config = two_members([&first, &second].map(|one| one.address().port()));
    let proxy = Proxy::start(&config).await;
    for _ in 0..3 {
        let answer = exchange(proxy.address(), plain("GET").as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }
    // It has never answered in HTTP, so it is left out.
    let member = status(proxy.address()).await["pools"]["exits"]["shown"][0].clone();
    assert_eq!(member["failed"], first.record().now().len(), "{member}");
    assert_eq!([&member["reached"], &member["refused"]], [0, 0], "{member}");
    assert_eq!(member["working"], false, "{member}");
}

#[tokio::test]
async fn a_member_that_speaks_another_protocol_after_http_stays_in_use() {
    let first = Double::start([Step::Answer(ANSWER.into())]).await;
    let second = Double::start([Step::Answer(ANSWER.into())]).await;
    let config = two_members([&first, &second].map(|one| one.address().port()));
    let proxy = Proxy::start(&config).await;
    for _ in 0..2 {
        exchange(proxy.address(), plain("GET").as_bytes()).await;
    }
    let asked = first.record().now().len();
    first.becomes([Step::Hear("\r\n\r\n".into()), Step::Say("\x05\u{7f}".into()), Step::End]);
    // A request that must not be repeated is not, and learns the reason.
    let mut answer = exchange(proxy.address(), plain("POST").as_bytes()).await;
    if answer.starts_with("HTTP/1.1 200 ") {
        answer = exchange(proxy.address(), plain("POST").as_bytes()).await;
    }
    assert!(answer.contains("seems to be a SOCKS5 proxy"), "{answer}");
    let member = status(proxy.address()).await["pools"]["exits"]["shown"][0].clone();
    // A target could make a careless hop pass on such bytes, so it is not left out.
    assert_eq!([&member["refused"], &member["failed"]], [1, 0], "{member}");
    assert_eq!(member["reached"], asked, "{member}");
    assert_eq!(member["working"], true, "{member}");
}

#[test]
fn check_shows_the_age_and_the_budget_of_a_pool_and_warns_of_the_same_exit() {
    let told = |pick: &str| {
        let config = ConfigDir::new(&format!(
            "hops: {{ exits: {{ kind: pool, pick: {pick}, rotate_after: 10m, budget: {{ bytes: 5GiB, per: day }}, \
             members: [{{ kind: socks5, address: \"a.test:1\" }}, {{ kind: socks5, address: \"b.test:1\" }}] }} }}\n\
             chains: {{ default: [exits] }}\n"
        ));
        let output = run(["check", "-c", config.path().to_str().unwrap()]);
        String::from_utf8(output.stdout).unwrap()
    };
    let (sticky, random) = (told("sticky"), told("random"));
    for text in [&sticky, &random] {
        assert!(text.contains("rotate_after 10m"), "{text}");
        assert!(text.contains("budget 5GiB per day, then refuse"), "{text}");
    }
    assert!(sticky.contains("`pick: sticky` gives them the same member again"), "{sticky}");
    assert!(!random.contains("same member"), "{random}");
}

#[test]
fn explain_names_the_member_of_a_session_or_says_that_each_connection_gets_one() {
    let told = |pick: &str, session: usize| {
        let config = ConfigDir::new(
            &two_members([1, 2]).replace("pool\n", &format!("pool\n    pick: {pick}\n")),
        );
        let session = format!("session-{session}");
        let path = config.path().to_str().unwrap().to_owned();
        let output = run(["explain", "-c", &path, "--as", &session, "https://t.test/"]);
        String::from_utf8(output.stdout).unwrap()
    };
    let sticky: Vec<_> = (0..8).map(|session| told("sticky", session)).collect();
    for (member, address) in [("members[0]", "127.0.0.1:1,"), ("members[1]", "127.0.0.1:2,")] {
        let words = format!("{address} its {member}, chosen by the session `");
        assert!(sticky.iter().any(|text| text.contains(&words)), "{sticky:?}");
    }
    assert!(sticky[3].contains("chosen by the session `3`"), "{}", sticky[3]);
    let text = told("failover", 1);
    assert!(text.contains("127.0.0.1:1, its members[0] while that works"), "{text}");
    let config = ConfigDir::new(&two_members([1, 2]).replace("pool\n", "pool\n    pick: sticky\n"));
    let path = config.path().to_str().unwrap();
    let output = run(["explain", "-c", path, "https://t.test/"]);
    let text = String::from_utf8(output.stdout).unwrap();
    let words = "chosen by the target's host, as the client names no session";
    assert!(text.contains(words), "{text}");
    let text = told("round-robin", 1);
    assert!(text.contains("one of its 2 members, chosen for each connection"), "{text}");
}

/// Opens a tunnel by `request`, and closes it.
async fn opens_tunnel(proxy: &Proxy, request: &[u8]) {
    let mut client = open(proxy.address()).await;
    client.write_all(request).await.unwrap();
    let answer = head(&mut client).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

#[tokio::test]
async fn the_log_says_once_that_a_sticky_pool_chooses_by_the_host() {
    let member = Double::start(vec![Step::Answer(ANSWER.into()); 60]).await;
    let other = Double::start(vec![Step::Answer(ANSWER.into()); 60]).await;
    let ports = [&member, &other].map(|one| one.address().port());
    for (pick, is_told) in [("sticky", true), ("failover", false)] {
        let yaml = two_members(ports).replace("pool\n", &format!("pool\n    pick: {pick}\n"));
        let proxy = Proxy::start(&yaml).await;
        let notes = || {
            let events = proxy.events().into_iter();
            events
                .filter(|event| event.message() == "the client names no session")
                .collect::<Vec<_>>()
        };
        if is_told {
            let named = "CONNECT a.test:443 HTTP/1.1\r\nHost: a.test\r\nProxy-Authorization: Basic \
                         c2Vzc2lvbi1hOng=\r\n\r\n";
            opens_tunnel(&proxy, named.as_bytes()).await;
            assert_eq!(notes().len(), 0, "the client names a session");
        }
        for _ in 0..2 {
            opens_tunnel(&proxy, REQUEST).await;
        }
        if is_told {
            proxy.event("the client names no session").await;
        }
        let notes = notes();
        assert_eq!(notes.len(), usize::from(is_told), "{notes:?}");
        if let Some(note) = notes.first() {
            let advice = note.field("advice");
            assert!(advice.contains("the target's host chooses the member"), "{advice}");
            let url = format!("`http://session-NAME:x@{}`", proxy.address());
            assert!(advice.contains(&url), "{advice}");
        }
    }
}

/// Answers each CONNECT with this status, and closes.
fn refuses_with(head: &str) -> [Step; 2] {
    [Step::Answer(format!("HTTP/1.1 {head}\r\nContent-Length: 0\r\n\r\n")), Step::End]
}

/// Returns the `Retry-After` of an answer.
fn retry_after(answer: &str) -> u64 {
    let value = answer.lines().find_map(|line| line.strip_prefix("Retry-After: "));
    value.unwrap_or_else(|| panic!("{answer}")).parse().unwrap()
}

#[tokio::test]
async fn a_member_that_asked_to_wait_is_not_asked_before_its_time() {
    for (one, other, expected) in [
        ("429 Slow\r\nRetry-After: 40", "429 Slow\r\nRetry-After: 20", "HTTP/1.1 503 "),
        ("503 Later\r\nRetry-After: 40", "503 Later\r\nRetry-After: 20", "HTTP/1.1 502 "),
        (
            "429 Slow\r\nRetry-After: Fri, 01 Jan 2100 00:00:00 GMT",
            "503 Later\r\nRetry-After: 20",
            "HTTP/1.1 502 ",
        ),
    ] {
        let first = Double::start(refuses_with(one)).await;
        let second = Double::start(refuses_with(other)).await;
        let ports = [&first, &second].map(|one| one.address().port());
        let proxy = Proxy::start(&two_members(ports)).await;
        let tried = exchange(proxy.address(), REQUEST).await;
        assert!(tried.starts_with(expected), "{tried}");
        assert_eq!(retry_after(&tried), 20, "the shortest: {tried}");
        for request in [REQUEST, plain("GET").as_bytes()] {
            let answer = exchange(proxy.address(), request).await;
            assert!(answer.starts_with(expected), "{answer}");
            assert!((15..=20).contains(&retry_after(&answer)), "{answer}");
            let words = "all 2 members of `exits` asked to wait; the first for another ";
            assert!(answer.contains(words), "{answer}");
            let is_limit = expected.contains("503");
            assert_eq!(answer.contains("Send fewer requests"), is_limit, "{answer}");
        }
        for member in [&first, &second] {
            assert_eq!(member.record().now().len(), 1, "it was asked once");
        }
        let pool = &status(proxy.address()).await["pools"]["exits"];
        assert_eq!(pool["asked_to_wait"], 2, "{pool}");
        for (index, limit) in [(0, 300.0), (1, 20.0)] {
            let member = &pool["shown"][index];
            assert_eq!(member["failed"], 1, "{member}");
            assert!(member["asked_until"].as_str().is_some_and(|at| at.ends_with('Z')), "{member}");
            assert!(member["retry_seconds"].as_f64().is_some_and(|left| left <= limit), "{member}");
        }
    }
}

#[tokio::test]
async fn a_member_that_asked_to_wait_gives_way_to_one_that_works() {
    let first = Double::start(refuses_with("429 Slow\r\nRetry-After: 1")).await;
    let second = Double::start([Step::Answer("HTTP/1.1 200 OK\r\n\r\n".into())]).await;
    let ports = [&first, &second].map(|one| one.address().port());
    let proxy = Proxy::start(&two_members(ports)).await;
    for _ in 0..3 {
        drop(connect(proxy.address(), "origin.test:443").await.tunnel());
    }
    assert_eq!(first.record().now().len(), 1);
    // Its time is shorter than the pause after a failure, and counts anyway.
    first.becomes([Step::Answer("HTTP/1.1 200 OK\r\n\r\n".into())]);
    within("it is asked again", async {
        while first.record().now().len() < 2 {
            drop(connect(proxy.address(), "origin.test:443").await.tunnel());
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    })
    .await;
    proxy.event("pool member back").await;
}

#[tokio::test]
async fn a_503_without_a_time_takes_no_member_out_of_its_pool() {
    let member = Double::start(refuses_with("503 Dead")).await;
    let proxy = Proxy::start(&two_members([member.address().port(), free_port()])).await;
    exchange(proxy.address(), REQUEST).await;
    assert_eq!(failures(&proxy).await[0], (json!(0), json!(true)));
}

#[tokio::test]
async fn credentials_that_are_held_back_have_one_time_and_count_as_no_failure() {
    let rejecting =
        Double::start(refuses_with("407 Who\r\nProxy-Authenticate: Basic realm=x")).await;
    let address = rejecting.address();
    let proxy = Proxy::start(&format!(
        "hops:\n  exits: {{ kind: pool, members: [own] }}\n  \
         own: {{ kind: http-connect, address: '{address}', username: svc, password: Hunter2x }}\n\
         chains: {{ default: [exits] }}\n"
    ))
    .await;
    exchange(proxy.address(), REQUEST).await;
    // Nothing has asked for the credentials since they were rejected, and they are held back already.
    let first = status(proxy.address()).await["pools"]["exits"].clone();
    assert_eq!(first["working"], 0, "{first}");
    assert!(first["shown"][0]["held_back_seconds"].as_u64().unwrap() > 0, "{first}");
    let text = String::from_utf8(proxy.command(&["status"]).stdout).unwrap();
    assert!(text.contains("credentials rejected, held back for "), "{text}");
    for _ in 0..3 {
        exchange(proxy.address(), REQUEST).await;
    }
    let told = status(proxy.address()).await;
    let member = &told["pools"]["exits"]["shown"][0];
    assert_eq!(member["failed"], 1, "the others sent nothing: {member}");
    let held = told["hops"]["own"]["held_back_seconds"].as_f64().unwrap();
    let left = member["retry_seconds"].as_f64().unwrap();
    assert!((held - 1.0..=held + 1.0).contains(&left), "{held} s: {member}");
    let problem = member["problem"].as_str().unwrap();
    assert!(problem.contains("407") && !problem.contains("another"), "{problem}");
    assert!(member["asked_until"].is_null(), "{member}");
    let text = String::from_utf8(proxy.command(&["status"]).stdout).unwrap();
    assert!(
        text.contains("until rejected credentials may be sent again, requests are refused"),
        "{text}"
    );
}

#[tokio::test]
async fn a_client_that_keeps_its_connection_hears_once_that_it_keeps_its_exit() {
    let member = Double::start(vec![Step::Answer(ANSWER.into()); 60]).await;
    let other = Double::start(vec![Step::Answer(ANSWER.into()); 60]).await;
    let ports = [&member, &other].map(|one| one.address().port());
    for (pick, is_told) in [("round-robin", true), ("random", true), ("failover", false)] {
        let config = two_members(ports).replace("pool\n", &format!("pool\n    pick: {pick}\n"));
        let proxy = Proxy::start(&config).await;
        let request = plain("GET").replace("Connection: close\r\n", "");
        let last = plain("GET");
        for count in [9, 10, 10] {
            let requests = request.repeat(count - 1) + &last;
            let answers = exchange(proxy.address(), requests.as_bytes()).await;
            assert_eq!(answers.matches("HTTP/1.1 200 ").count(), count, "{answers}");
        }
        const KEEPS: &str = "the client keeps its connection, and so its exit";
        if is_told {
            let told = proxy.event(KEEPS).await;
            assert_eq!(told.field("hop"), "exits");
            let advice = told.field("advice");
            assert!(advice.contains("Connection: close") && advice.contains(pick), "{advice}");
        }
        let told = proxy.events().iter().filter(|event| event.message() == KEEPS).count();
        assert_eq!(told, usize::from(is_told), "{pick}");
    }
}
