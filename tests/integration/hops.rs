//! The kinds of hop: the requests that each sends, and how it reads the answers.

use tokio::io::AsyncWriteExt as _;

use crate::support::{
    Double, EchoOrigin, Network, Proxy, Squid, SquidRules, Step, assert_reads, connect, exchange,
    free_port, head, open, ping, status,
};

#[tokio::test]
async fn an_error_of_the_target_passes_untouched() {
    for status in
        ["402 Pay", "403 No", "429 Slow", "500 Oops", "502 Bad Gateway", "503 Busy", "504 Late"]
    {
        for fields in [
            "",
            "Via: 1.1 cdn.test\r\nServer: squid\r\nProxy-Status: cdn.test; error=connection_timeout\r\n",
            "X-Squid-Error: ERR_CONNECT_FAIL 111\r\nVia: 1.1 their-squid, 1.1 hop\r\n",
        ] {
            let answer = format!("HTTP/1.1 {status}\r\n{fields}Content-Length: 5\r\n\r\ntheir");
            let hop = Double::start(vec![Step::Answer(answer.clone())]).await;
            let plain = format!(
                "hops: {{ corporate: {{ kind: http-connect, address: \"{}\" }} }}\nchains: {{ default: [corporate] }}\n",
                hop.address()
            );
            for yaml in [plain, webshare(&hop, "")] {
                let proxy = Proxy::start(&yaml).await;
                let told = exchange(proxy.address(), GET).await;
                // The client wanted no more than one.
                let expected = answer.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n");
                assert_eq!(told, expected);
            }
        }
    }
}

#[tokio::test]
async fn an_error_of_squid_itself_is_explained() {
    let Some(squid) = Squid::start(SquidRules::Open).await else { return };
    let yaml = format!(
        "hops: {{ corporate: {{ kind: http-connect, address: \"{}\" }} }}\nchains: {{ default: [corporate] }}\n",
        squid.address()
    );
    let proxy = Proxy::start(&yaml).await;
    let down = format!("127.0.0.1:{}", free_port());
    let request = format!("GET http://{down}/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    let told = exchange(proxy.address(), request.as_bytes()).await;
    assert!(told.starts_with("HTTP/1.1 502 "), "{told}");
    let words = format!("hop `corporate`, asked for `{down}`, failed: it answered 503");
    assert!(told.contains(&words) && told.contains("ERR_CONNECT_FAIL"), "{told}");
    assert!(!told.contains("<html"), "{told}");
}

/// What a hop says of itself, in words that a target can imitate.
const OWN: [&str; 4] = [
    "407 No\r\nProxy-Authenticate: Basic",
    "402 No\r\nX-Webshare-Reason: bandwidthlimit",
    "500 No\r\nX-Webshare-Reason: internal_error",
    "500 No\r\nX-Squid-Error: ERR_ANY 0",
];

/// Returns a pool of the provider's hops.
fn pool_of(members: &[&Double]) -> String {
    let member = |hop: &&Double| {
        let address = hop.address();
        format!("{{ kind: webshare, address: \"{address}\", username: dev, password: secret }}")
    };
    let members: Vec<_> = members.iter().map(member).collect();
    let members = members.join(", ");
    format!(
        "hops: {{ exits: {{ kind: pool, members: [{members}] }} }}\nchains: {{ default: [exits] }}\n"
    )
}

fn refuses(own: &str) -> Step {
    Step::Answer(format!("HTTP/1.1 {own}\r\nContent-Length: 0\r\n\r\n"))
}

#[tokio::test]
async fn a_target_that_imitates_a_hop_harms_only_itself() {
    for imitated in OWN {
        let [first, second] =
            [Double::start([refuses(imitated)]).await, Double::start([refuses(imitated)]).await];
        let proxy = Proxy::start(&pool_of(&[&first, &second])).await;
        let told = exchange(proxy.address(), GET).await;
        assert!(told.contains("next-hop=\"exits.members[1]\""), "{imitated}: {told}");
        assert_eq!(proxy.event("request failed").await.number("attempts"), 2.0);
        // The next client goes the same way as before, since no member was left out.
        first.becomes([Step::Answer(ORIGIN.into())]);
        assert!(exchange(proxy.address(), GET).await.starts_with("HTTP/1.1 200 "));
        let connections = [&first, &second].map(|hop| hop.record().now().len());
        assert_eq!(connections, [2, 1], "{imitated}");
        let pool = &status(proxy.address()).await["pools"]["exits"];
        assert_eq!(pool["working"], 2, "{pool}");
    }
}

#[tokio::test]
async fn a_request_that_a_member_refuses_is_tried_through_the_others_if_that_is_safe() {
    for refused in OWN {
        let first = Double::start([refuses(refused)]).await;
        let second = Double::start([Step::Answer(ORIGIN.into())]).await;
        let proxy = Proxy::start(&pool_of(&[&first, &second])).await;
        for count in 1..=2 {
            assert!(exchange(proxy.address(), GET).await.starts_with("HTTP/1.1 200 "), "{refused}");
            assert_eq!(first.record().now().len(), count, "it stays in use");
        }
        let line = proxy.event("request").await;
        assert!(line.field("hops").contains("exits.members[1]@"), "{line:?}");
        assert_eq!(line.number("attempts"), 2.0);
        let post = String::from_utf8_lossy(GET).replace("GET ", "POST ");
        let told = exchange(proxy.address(), post.as_bytes()).await;
        assert!(told.contains("next-hop=\"exits.members[0]\""), "{told}");
    }
}

#[tokio::test]
async fn a_refusal_reaches_the_client_after_four_members() {
    let mut members = Vec::new();
    for _ in 0..6 {
        members.push(Double::start([refuses(OWN[0])]).await);
    }
    let proxy = Proxy::start(&pool_of(&members.iter().collect::<Vec<_>>())).await;
    let told = exchange(proxy.address(), GET).await;
    assert!(told.contains("next-hop=\"exits.members[3]\""), "{told}");
    let connections: Vec<_> = members.iter().map(|hop| hop.record().now().len()).collect();
    assert_eq!(connections, [1, 1, 1, 1, 0, 0]);
}

#[tokio::test]
async fn a_refusal_that_is_about_the_target_is_not_tried_through_other_members() {
    let about_target = "503 Service Unavailable\r\nX-Squid-Error: ERR_CONNECT_FAIL 111";
    let first = Double::start([refuses(about_target)]).await;
    let second = Double::start([Step::Answer(ORIGIN.into())]).await;
    let proxy = Proxy::start(&pool_of(&[&first, &second])).await;
    let told = exchange(proxy.address(), GET).await;
    assert!(told.contains("next-hop=\"exits.members[0]\""), "{told}");
    assert!(second.record().now().is_empty());
}

#[tokio::test]
async fn a_client_chooses_its_session_without_knowing_the_credentials() {
    let provider = Double::start(vec![Step::Answer(ORIGIN.into()); 4]).await;
    let proxy = Proxy::start(&webshare(&provider, ", sessions: by-client, session_max: 100")).await;
    let mut client = open(proxy.address()).await;
    // One client connection, whose two sessions must not meet.
    for session in ["session-alice", "session-alice", "session-bob,country-us"] {
        let request = plain(session);
        client.write_all(request.as_bytes()).await.unwrap();
        assert!(head(&mut client).await.starts_with("HTTP/1.1 200 "));
        assert_reads(&mut client, "ok").await;
    }
    let seen: Vec<String> = provider.record().now().iter().map(|seen| seen.text()).collect();
    assert_eq!(seen.len(), 2, "{seen:?}");
    assert_eq!(seen[0].matches(&basic("dev-73:secret")).count(), 2, "{seen:?}");
    assert!(seen[1].contains(&basic("dev-us-65:secret")), "{seen:?}");
    assert!(!seen.concat().contains("alice"), "{seen:?}");
    for wrong in ["alice", "session-alice,session-bob", "country-usa"] {
        let told = exchange(proxy.address(), plain(wrong).as_bytes()).await;
        assert!(told.starts_with("HTTP/1.1 400 "), "{told}");
    }
}

#[tokio::test]
async fn a_client_that_must_authenticate_adds_its_session_behind_a_plus() {
    let provider = Double::start(vec![Step::Answer(ORIGIN.into()); 4]).await;
    let auth = "server: { auth: { username: joe, password: word } }\n";
    let by_client = webshare(&provider, ", sessions: by-client, session_max: 100");
    let proxy = Proxy::start(&format!("{auth}{by_client}")).await;
    let ask = |credentials: &'static str| {
        let request = format!(
            "GET http://target.test/ HTTP/1.1\r\nHost: target.test\r\nConnection: close\r\n{}\r\n\r\n",
            basic(credentials)
        );
        let address = proxy.address();
        async move { exchange(address, request.as_bytes()).await[..12].to_owned() }
    };
    assert_eq!(ask("joe+session-alice:word").await, "HTTP/1.1 200");
    assert!(provider.sent().contains(&basic("dev-73:secret")), "{}", provider.sent());
    assert_eq!(ask("joe:word").await, "HTTP/1.1 200");
    assert_eq!(ask("joe+alice:word").await, "HTTP/1.1 400");
    assert_eq!(ask("joe+session-alice:wrong").await, "HTTP/1.1 407");
    assert_eq!(ask("session-alice:word").await, "HTTP/1.1 407");
    let fixed = Proxy::start(&format!("{auth}{}", webshare(&provider, ""))).await;
    let request =
        format!("CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n{}\r\n\r\n", basic("joe+session-a:word"));
    let told = exchange(fixed.address(), request.as_bytes()).await;
    assert!(told.starts_with("HTTP/1.1 407 "), "{told}");
}

#[tokio::test]
async fn a_refusal_by_a_stock_squid_names_each_port() {
    let Some(squid) = Squid::start(SquidRules::Stock).await else { return };
    let yaml = format!(
        "hops:\n  corporate: {{ kind: http-connect, address: \"{}\" }}\n  \
         webshare: {{ kind: webshare, address: \"127.0.0.1:80\", ports: [3128, 1080], username: dev, password: secret }}\n\
         chains: {{ default: [corporate, webshare] }}\n",
        squid.address()
    );
    let proxy = Proxy::start(&yaml).await;
    let told = exchange(proxy.address(), CONNECT).await;
    assert!(told.starts_with("HTTP/1.1 502 "), "{told}");
    let words =
        "`corporate` refuses CONNECT to ports 80, 3128, 1080 of `127.0.0.1`; it may allow 443";
    assert!(told.contains(words), "{told}");
    let asked: Vec<_> =
        squid.passed_at_least(3).await.into_iter().map(|passed| passed.target).collect();
    assert_eq!(asked, ["127.0.0.1:80", "127.0.0.1:3128", "127.0.0.1:1080"]);
}

#[tokio::test]
async fn a_member_that_is_killed_under_load_fails_no_later_client() {
    let (Some(first), Some(second)) =
        (Squid::start(SquidRules::Open).await, Squid::start(SquidRules::Open).await)
    else {
        return;
    };
    let echo = EchoOrigin::start().await;
    let yaml = format!(
        "hops:\n  exits:\n    kind: pool\n    pick: round-robin\n    members:\n      \
         - {{ kind: http-connect, address: \"{}\" }}\n      - {{ kind: http-connect, address: \"{}\" }}\n\
         chains: {{ default: [exits] }}\n",
        first.address(),
        second.address()
    );
    let proxy = Proxy::start(&yaml).await;
    let (address, target) = (proxy.address(), echo.address());
    let (kill, mut killed) = tokio::sync::watch::channel(false);
    let load = (0..4).map(|_| {
        let mut killed = killed.clone();
        tokio::spawn(async move {
            for round in 0..40 {
                let began_after = *killed.borrow_and_update();
                let answer = connect(address, target).await;
                let is_open = answer.head.starts_with("HTTP/1.1 200 ");
                // A handshake that was under way when the member died may fail; none that began later.
                assert!(is_open || !began_after, "round {round}: {}", answer.head);
                if began_after {
                    let mut tunnel = answer.stream;
                    ping(&mut tunnel).await;
                }
                if round == 10 {
                    let _ = killed.wait_for(|is_killed| *is_killed).await;
                }
            }
        })
    });
    let load: Vec<_> = load.collect();
    first.passed_at_least(3).await;
    drop(first);
    kill.send(true).unwrap();
    killed.mark_unchanged();
    for one in load {
        one.await.unwrap();
    }
    assert!(second.passed_at_least(100).await.len() >= 100);
}

#[tokio::test]
async fn a_pool_without_a_member_that_works_names_the_last_it_tried() {
    let yaml = format!(
        "hops:\n  one: {{ kind: http-connect, address: \"127.0.0.1:{}\" }}\n  \
         exits: {{ kind: pool, members: [one, {{ kind: http-connect, address: \"127.0.0.1:{}\" }}] }}\n\
         chains: {{ default: [exits] }}\n",
        free_port(),
        free_port()
    );
    let proxy = Proxy::start(&yaml).await;
    for request in [CONNECT, GET] {
        let told = exchange(proxy.address(), request).await;
        assert!(told.starts_with("HTTP/1.1 502 "), "{told}");
        assert!(told.contains("next-hop=\"exits.members["), "{told}");
        assert!(told.contains("that the address of `hops.exits.members["), "{told}");
    }
}

#[tokio::test]
async fn a_pool_in_the_middle_goes_round_the_members_that_fail() {
    let (Some(network), Some(well)) =
        (Network::start().await, Squid::start(SquidRules::Open).await)
    else {
        return;
    };
    let echo = EchoOrigin::start().await;
    let refusal = "HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n";
    let refusing = Double::start([Step::Answer(refusal.into())]).await;
    let down = format!("127.0.0.1:{}", free_port());
    let refusing_address = refusing.address().to_string();
    let yaml = format!(
        "{}  middle:\n    kind: pool\n    members:\n      - {{ kind: http-connect, address: \"{down}\" }}\n      \
         - {{ kind: http-connect, address: \"{refusing_address}\" }}\n      \
         - {{ kind: http-connect, address: \"{}\" }}\n\
         chains: {{ default: [corporate, middle, webshare] }}\n",
        network.hops(true),
        well.address()
    );
    let proxy = Proxy::start(&yaml).await;
    for round in ["first", "second"] {
        let mut tunnel = connect(proxy.address(), echo.address()).await.tunnel();
        tunnel.write_all(round.as_bytes()).await.unwrap();
        assert_reads(&mut tunnel, round).await;
        drop(tunnel);
    }
    // The one that is down, the one that refuses, the one that is well; then the last alone, as the others are known.
    let asked = network.corporate.passed_at_least(4).await;
    let mut asked: Vec<_> = asked.into_iter().map(|passed| passed.target).collect();
    asked.sort();
    let well_address = well.address().to_string();
    let mut expected = vec![down, refusing_address, well_address.clone(), well_address];
    expected.sort();
    assert_eq!(asked, expected);
    let provider = network.provider.address().to_string();
    let passed = well.passed_at_least(2).await;
    assert!(passed.iter().all(|passed| passed.target == provider), "{passed:?}");
    assert!(!refusing.sent().contains("Authorization"), "the next hop's are not for this one");
}

fn webshare(provider: &Double, more: &str) -> String {
    format!(
        "hops: {{ webshare: {{ kind: webshare, address: \"{}\", username: dev, password: secret{more} }} }}\n\
         chains: {{ default: [webshare] }}\n",
        provider.address()
    )
}

fn plain(username: &str) -> String {
    format!(
        "GET http://target.test/ HTTP/1.1\r\nHost: target.test\r\n{}\r\n\r\n",
        basic(&format!("{username}:"))
    )
}

fn basic(credentials: &str) -> String {
    use base64::Engine as _;
    let encoded = base64::engine::general_purpose::STANDARD.encode(credentials);
    format!("Proxy-Authorization: Basic {encoded}")
}

const CONNECT: &[u8] = b"CONNECT target.test:443 HTTP/1.1\r\nHost: target.test:443\r\n\r\n";
const GET: &[u8] =
    b"GET http://target.test/ HTTP/1.1\r\nHost: target.test\r\nConnection: close\r\n\r\n";
const ORIGIN: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
