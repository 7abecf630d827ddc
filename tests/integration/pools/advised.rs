//! Commands and log messages that say how a pool chooses.

use tokio::io::AsyncWriteExt as _;

use super::{ANSWER, REQUEST, plain, two_members};
use crate::support::{ConfigDir, Double, Proxy, Step, exchange, head, open, run};

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
