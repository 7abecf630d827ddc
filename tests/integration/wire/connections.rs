//! Which connections carry which requests.

use std::{sync::Arc, time::Duration};

use tokio::{io::AsyncWriteExt as _, sync::Notify, time::sleep};

use super::{OK, answer, at, direct, told};
use crate::support::{
    ConfigDir, Double, Proxy, Seen, Step, assert_reads, exchange, head, open, rest, within,
};

#[tokio::test]
async fn requests_in_one_breath_are_answered_in_order() {
    let slow =
        Double::start([answer("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1"), answer(OK)]).await;
    let fast = Double::start([answer("HTTP/1.1 204 None\r\n\r\n")]).await;
    let proxy = direct().await;
    let mut client = open(proxy.address()).await;
    let requests = "POST http://{o}/1 HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabcGET http://{f}/2 HTTP/1.1\r\nHost: x\r\n\r\n\
                    \r\nGET http://{o}/3 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\nGET http://{o}/4 HTTP/1.1\r\n\r\n";
    slow.becomes([
        Step::Hear("abc".into()),
        Step::Say("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1".into()),
        answer(OK),
    ]);
    let requests = at(&slow, requests).replace("{f}", &fast.address().to_string());
    client.write_all(requests.as_bytes()).await.unwrap();
    slow.record()
        .until("the first request", |seen| seen.first()?.text().ends_with("abc").then_some(()))
        .await;
    // The way back to the first origin is a new connection, for a client has one at a time.
    slow.becomes([answer(OK)]);
    assert_eq!(
        rest(&mut client).await,
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1HTTP/1.1 204 None\r\n\r\n\
         HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"
    );
    assert!(!slow.sent().contains("/4"), "{:?}", slow.sent());
}

#[tokio::test]
async fn an_upstream_connection_is_kept_for_the_same_origin_alone() {
    let origin = Double::start([answer(OK), answer(OK)]).await;
    let proxy = direct().await;
    let mut client = open(proxy.address()).await;
    for _ in 0..2 {
        get(&origin, &mut client).await;
    }
    assert_eq!(origin.record().now().len(), 1);
    let mut other = open(proxy.address()).await;
    get(&origin, &mut other).await;
    assert_eq!(origin.record().now().len(), 2);
}

#[tokio::test]
async fn a_client_that_takes_its_time_between_requests_keeps_its_connections() {
    let origin = Double::start([answer(OK), answer(OK), answer(OK)]).await;
    let proxy = direct().await;
    let mut client = open(proxy.address()).await;
    for pause in [0, 300, 300] {
        sleep(Duration::from_millis(pause)).await;
        get(&origin, &mut client).await;
    }
    assert_eq!(origin.record().now().len(), 1);
}

#[tokio::test]
async fn bytes_on_an_idle_upstream_connection_discard_it() {
    for more in ["HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil", "\r\n"] {
        let allowed = Arc::new(Notify::new());
        let origin = Double::start([
            answer(OK),
            Step::Await(Arc::clone(&allowed)),
            Step::Say(more.into()),
            Step::Listen,
        ])
        .await;
        let proxy = direct().await;
        let mut client = open(proxy.address()).await;
        get(&origin, &mut client).await;
        origin.becomes([answer(OK)]);
        allowed.notify_one();
        // A request whose answer comes through the proxy after what it was to see.
        get(&Double::start([answer(OK)]).await, &mut open(proxy.address()).await).await;
        get(&origin, &mut client).await;
        origin
            .record()
            .until("the first connection is closed", |seen| seen.first()?.is_ended.then_some(()))
            .await;
        assert_eq!(origin.record().now().len(), 2);
    }
    // And what comes behind an answer, in the same breath.
    let origin =
        Double::start([answer(&format!("{OK}HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"))])
            .await;
    let proxy = direct().await;
    let mut client = open(proxy.address()).await;
    get(&origin, &mut client).await;
    get(&origin, &mut client).await;
    assert_eq!(origin.record().now().len(), 2);
}

#[tokio::test]
async fn a_request_on_a_stale_connection_is_repeated_once() {
    for method in ["GET", "DELETE", "PROPFIND", "MKCOL"] {
        // It takes the second request and closes on it, as one whose patience ran out in this moment.
        let origin = Double::start([answer(OK), answer(""), Step::Reset]).await;
        let proxy = direct().await;
        let mut client = open(proxy.address()).await;
        get(&origin, &mut client).await;
        origin.becomes([answer(OK)]);
        let request =
            format!("{method} http://{{o}}/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        client.write_all(at(&origin, &request).as_bytes()).await.unwrap();
        let told = rest(&mut client).await;
        assert!(told.starts_with("HTTP/1.1 200 "), "{request:?}: {told:?}");
        assert_eq!(origin.record().now().len(), 2, "{request:?}");
    }
    // A new connection that closes is an error, and not tried again.
    let (told, origin) = told(
        &direct().await,
        "GET http://{o}/ HTTP/1.1\r\nHost: x\r\n\r\n",
        vec![answer(""), Step::End],
    )
    .await;
    assert!(told.starts_with("HTTP/1.1 502 "), "{told:?}");
    assert_eq!(origin.record().now().len(), 1);
}

#[tokio::test]
async fn a_request_that_cannot_be_repeated_never_meets_a_connection_that_is_just_closing() {
    for (method, more) in [
        ("POST", "\r\n"),
        ("POST", "Content-Length: 3\r\n\r\nabc"),
        ("POST", "Expect: 100-continue\r\nContent-Length: 3\r\n\r\nabc"),
        ("POST", "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"),
        ("PATCH", "\r\n"),
        ("LOCK", "\r\n"),
        ("BREW", "\r\n"),
        ("PUT", "Content-Length: 1\r\n\r\na"),
        ("PROPFIND", "Content-Length: 1\r\n\r\na"),
    ] {
        // It closes on a second request, so that nothing shows its end before.
        let origin = Double::start([answer(OK), answer(""), Step::Reset]).await;
        let proxy = direct().await;
        let mut client = open(proxy.address()).await;
        get(&origin, &mut client).await;
        origin.becomes([answer(OK)]);
        let request = format!("{method} http://{{o}}/ HTTP/1.1\r\nHost: x\r\n{more}");
        client.write_all(at(&origin, &request).as_bytes()).await.unwrap();
        let told = head(&mut client).await;
        assert!(told.starts_with("HTTP/1.1 200 "), "{request:?}: {told:?}");
        let seen = origin.record().now();
        assert_eq!(seen.len(), 2, "{request:?}");
        assert!(seen[1].text().starts_with(&format!("{method} / ")), "{:?}", seen[1].text());
    }
}

#[tokio::test]
async fn the_new_connection_of_a_request_that_cannot_be_repeated_is_kept_for_the_next_one() {
    let origin = Double::start([answer(OK), answer(OK)]).await;
    let proxy = direct().await;
    let mut client = open(proxy.address()).await;
    get(&origin, &mut client).await;
    let post = "POST http://{o}/ HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n";
    client.write_all(at(&origin, post).as_bytes()).await.unwrap();
    assert_eq!(head(&mut client).await, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n");
    assert_reads(&mut client, "ok").await;
    get(&origin, &mut client).await;
    // A client has one connection at a time.
    let is_over = |seen: &[Seen]| seen.first()?.is_ended.then_some(());
    origin.record().until("the first connection is closed", is_over).await;
    let seen = origin.record().now();
    assert!(seen.len() == 2 && seen[1].text().contains("GET "), "{seen:?}");
}

#[tokio::test]
async fn a_client_that_logs_on_to_the_origin_keeps_its_connection_for_each_request() {
    for scheme in ["NTLM", "ntlm", "Negotiate"] {
        let challenge = format!(
            "HTTP/1.1 401 Who\r\nWWW-Authenticate: {scheme} Yg==\r\nContent-Length: 2\r\n\r\nok"
        );
        let origin = Double::start([
            Step::Answer(challenge),
            Step::Hear("\r\n\r\nabc".into()),
            Step::Say(OK.into()),
            Step::Hear("\r\n\r\ndef".into()),
            Step::Say(OK.into()),
        ])
        .await;
        let proxy = direct().await;
        let mut client = open(proxy.address()).await;
        let first = format!("Authorization: {scheme} YQ==\r\nContent-Length: 0\r\n\r\n");
        let last = format!("Authorization: {scheme} Yw==\r\nContent-Length: 3\r\n\r\nabc");
        let later = "Content-Length: 3\r\n\r\ndef".to_owned();
        for (fields, status) in [(first, 401), (last, 200), (later, 200)] {
            let request = format!("POST http://{{o}}/ HTTP/1.1\r\nHost: x\r\n{fields}");
            client.write_all(at(&origin, &request).as_bytes()).await.unwrap();
            let told = head(&mut client).await;
            assert!(told.starts_with(&format!("HTTP/1.1 {status} ")), "{scheme}: {told}");
            assert_reads(&mut client, "ok").await;
        }
        assert_eq!(origin.record().now().len(), 1, "{scheme}");
    }
}

#[tokio::test]
async fn a_client_of_a_pool_keeps_its_exit_for_each_request() {
    for pick in ["round-robin", "random", "least-used", "sticky", "failover"] {
        for chain in ["exits", "office"] {
            let members = [closing().await, closing().await];
            let proxy = of_pool(&members, &format!("pick: {pick}"), chain).await;
            let mut client = open(proxy.address()).await;
            for (count, method) in ["GET", "POST", "POST", "PATCH"].into_iter().enumerate() {
                ask(&mut client, method).await;
                let seen = members.iter().map(|member| member.record().now().len());
                let mut seen: Vec<_> = seen.collect();
                seen.sort_unstable();
                assert_eq!(seen, [0, count + 1], "{pick} in {chain}: the same member");
            }
        }
    }
}

#[tokio::test]
async fn a_client_whose_requests_can_not_be_repeated_gets_another_exit_at_its_time() {
    let members = [closing().await, closing().await];
    let proxy = of_pool(&members, "pick: round-robin, rotate_after: 1s", "exits").await;
    let mut client = open(proxy.address()).await;
    within("another exit", async {
        while members.iter().any(|member| member.record().now().is_empty()) {
            ask(&mut client, "POST").await;
            sleep(Duration::from_millis(200)).await;
        }
    })
    .await;
    let before = members[0].record().now().len();
    assert!(before > 1, "the first exit was left after {before} requests");
}

/// A member of a pool that closes on the second request of each connection, so that nothing shows its end before.
async fn closing() -> Double {
    Double::start([answer(OK), answer(""), Step::Reset]).await
}

/// A proxy whose default chain has the hop `chain`: the pool `exits` of `members`, or a PAC file that chooses it.
async fn of_pool(members: &[Double; 2], pool: &str, chain: &str) -> Proxy {
    let [a, b] = members.each_ref().map(Double::address);
    let office = match chain {
        "office" => "office: { kind: pac, file: office.pac, hops: { \"*\": exits } }\n  ",
        _ => "",
    };
    let config = ConfigDir::new(&format!(
        "hops:\n  exits: {{ kind: pool, members: [a, b], {pool} }}\n  {office}\
         a: {{ kind: http-connect, address: \"{a}\" }}\n  b: {{ kind: http-connect, address: \"{b}\" }}\n\
         chains: {{ default: [{chain}] }}\n"
    ));
    config.write("office.pac", "function FindProxyForURL() { return 'PROXY proxy.test:1'; }\n");
    Proxy::on(config, &[]).await
}

async fn ask(client: &mut tokio::net::TcpStream, method: &str) {
    let request =
        format!("{method} http://a.example/ HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n");
    client.write_all(request.as_bytes()).await.unwrap();
    let told = head(client).await;
    assert!(told.starts_with("HTTP/1.1 200 "), "{method}: {told}");
    assert_reads(client, "ok").await;
}

#[tokio::test]
async fn a_reload_reaches_the_next_request_of_a_kept_connection() {
    let origin = Double::start([answer(OK)]).await;
    let hop = Double::start([answer(OK)]).await;
    let config = ConfigDir::new("chains: { default: [] }\n");
    let proxy = Proxy::on(config, &[]).await;
    let mut client = open(proxy.address()).await;
    get(&origin, &mut client).await;
    proxy.config().write(
        "10-test.yaml",
        &format!("hops: {{ a: {{ kind: http-connect, address: \"{}\" }} }}\nchains: {{ default: [a] }}\n", hop.address()),
    );
    proxy.event("config reloaded").await;
    get(&origin, &mut client).await;
    assert!(
        hop.sent().starts_with(&at(&origin, "GET http://{o}/ HTTP/1.1\r\n")),
        "{:?}",
        hop.sent()
    );
    assert_eq!(origin.record().now().len(), 1);
}

#[tokio::test]
async fn an_upgrade_goes_through_a_tunnel_of_the_last_hop() {
    let switch = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nX: y\r\n\r\nearly";
    let hop = Double::start([
        answer("HTTP/1.1 200 OK\r\n\r\n"),
        answer(switch),
        Step::Hear("ping".into()),
        Step::Say("pong".into()),
        Step::End,
    ])
    .await;
    let proxy = Proxy::start(&format!(
        "hops: {{ a: {{ kind: http-connect, address: \"{}\" }} }}\nchains: {{ default: [a] }}\n",
        hop.address()
    ))
    .await;
    let request = "GET http://origin.test/ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nping";
    let told = exchange(proxy.address(), request.as_bytes()).await;
    assert_eq!(
        told,
        "HTTP/1.1 101 Switching Protocols\r\nX: y\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nearlypong"
    );
    assert_eq!(
        hop.sent(),
        "CONNECT origin.test:80 HTTP/1.1\r\nHost: origin.test:80\r\n\r\n\
         GET /ws HTTP/1.1\r\nHost: origin.test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nping"
    );
}

#[tokio::test]
async fn an_offer_of_another_protocol_is_removed_and_the_request_goes_on() {
    let hop = Double::start([answer(OK)]).await;
    let hops = format!(
        "hops: {{ a: {{ kind: http-connect, address: \"{}\" }} }}\nchains: {{ default: [a] }}\n",
        hop.address()
    );
    let proxy = Proxy::start(&hops).await;
    for (number, offer) in [
        "Connection: Upgrade\r\nUpgrade: TLS/1.2\r\n",
        "connection: keep-alive, UPGRADE\r\nupgrade: tls/1.0, tLs/1.3\r\n",
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMA\r\n",
        "Upgrade: whatever/9\r\nConnection: upgrade\r\n",
        "Upgrade: TLS/1.2\r\nConnection: Upgrade\r\nUpgrade: IRC/6.9, RTA/x11\r\n",
    ]
    .into_iter()
    .enumerate()
    {
        let request = format!(
            "GET http://origin.test/{number} HTTP/1.1\r\nHost: x\r\n{offer}A: b\r\nConnection: close\r\n\r\n"
        );
        let told = exchange(proxy.address(), request.as_bytes()).await;
        assert!(told.starts_with("HTTP/1.1 200 OK\r\n"), "{offer:?}: {told}");
        let expected = format!(
            "GET http://origin.test/{number} HTTP/1.1\r\nHost: origin.test\r\nA: b\r\n\r\n"
        );
        assert_eq!(hop.record().now()[number].text(), expected, "{offer:?}");
    }
}

#[tokio::test]
async fn the_operator_decides_which_protocols_are_offered() {
    for (upgrades, offered, passed) in [
        ("", "TLS/1.2, WebSocket", Some("WebSocket")),
        ("server: { upgrades: [] }\n", "websocket", None),
        (
            "server: { upgrades: [irc, TLS/1.2] }\n",
            "tls/1.2, IRC/6.9, websocket",
            Some("tls/1.2, IRC/6.9"),
        ),
    ] {
        let origin = Double::start([answer(OK)]).await;
        let proxy = Proxy::start(&format!("{upgrades}chains: {{ default: [] }}\n")).await;
        let request = format!(
            "GET http://{{o}}/ HTTP/1.1\r\nHost: x\r\nUpgrade: {offered}\r\nConnection: close, Upgrade\r\n\r\n"
        );
        exchange(proxy.address(), at(&origin, &request).as_bytes()).await;
        let fields = passed.map_or_else(String::new, |protocols| {
            format!("Upgrade: {protocols}\r\nConnection: Upgrade\r\n")
        });
        let expected = format!("GET / HTTP/1.1\r\nHost: {{o}}\r\n{fields}\r\n");
        assert_eq!(origin.sent(), at(&origin, &expected), "{upgrades}");
    }
}

#[tokio::test]
async fn an_upgrade_that_is_declined_is_an_answer() {
    let origin = Double::start([answer("HTTP/1.1 426 Upgrade Required\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nContent-Length: 2\r\n\r\nno"), answer(OK)]).await;
    let proxy = direct().await;
    let mut client = open(proxy.address()).await;
    let request =
        "GET http://{o}/ HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
    client.write_all(at(&origin, request).as_bytes()).await.unwrap();
    assert!(head(&mut client).await.starts_with("HTTP/1.1 426 Upgrade Required\r\n"));
    assert_reads(&mut client, "no").await;
    get(&origin, &mut client).await;
}

#[tokio::test]
async fn requests_and_then_a_tunnel_on_one_connection() {
    let origin = Double::start([answer(OK)]).await;
    let target =
        Double::start([Step::Hear("ping".into()), Step::Say("pong".into()), Step::End]).await;
    let proxy = direct().await;
    let mut client = open(proxy.address()).await;
    get(&origin, &mut client).await;
    client
        .write_all(at(&target, "CONNECT {o} HTTP/1.1\r\nHost: x\r\n\r\nping").as_bytes())
        .await
        .unwrap();
    assert_eq!(head(&mut client).await, "HTTP/1.1 200 Connection established\r\n\r\n");
    client.shutdown().await.unwrap();
    assert_eq!(within("pong", rest(&mut client)).await, "pong");
}

/// One request on a connection that stays, whole.
async fn get(origin: &Double, client: &mut tokio::net::TcpStream) {
    client
        .write_all(at(origin, "GET http://{o}/ HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes())
        .await
        .unwrap();
    let told = head(client).await;
    assert_eq!(told, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n");
    assert_reads(client, "ok").await;
}
