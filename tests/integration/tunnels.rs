//! CONNECT: through no hop, one and two, byte by byte.

use std::{sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    sync::Notify,
};

use crate::support::{
    BASIC, Certificates, Double, EchoOrigin, Network, Proxy, Squid, SquidRules, Step, Tinyproxy,
    WAYS, assert_reads, connect, connect_early, exchange, fill, first_difference, free_port, head,
    open, ping, rest, two_hops, within,
};
#[cfg(target_os = "linux")]
use crate::support::{Namespace, PASSWORD, Says, USERNAME, pause};

#[tokio::test]
async fn each_hop_is_asked_for_the_next_stop_and_no_more() {
    let hop = Double::start([agree(""), agree("")]).await;
    let proxy = Proxy::start(&default_chain(&hop, "[corporate, webshare]")).await;
    let mut tunnel = connect(proxy.address(), "origin.test:443").await.tunnel();
    tunnel.write_all(b"hello").await.unwrap();
    hop.record()
        .assert_sent(
            0,
            &format!(
                "CONNECT provider.test:80 HTTP/1.1\r\nHost: provider.test:80\r\n\r\n\
                 CONNECT origin.test:443 HTTP/1.1\r\nHost: origin.test:443\r\n\
                 Proxy-Authorization: {BASIC}\r\n\r\nhello"
            ),
        )
        .await;
}

/// Ten thousand of them would be probed at the same moments, and the system would drop some probes each time.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn connections_within_this_machine_are_not_probed() {
    let echo = EchoOrigin::start().await;
    let proxy = Proxy::start("chains: { default: [] }\n").await;
    let mut tunnel = connect(proxy.address(), echo.address()).await.tunnel();
    ping(&mut tunnel).await;
    let port =
        |address: &str| u16::from_str_radix(address.rsplit(':').next().unwrap(), 16).unwrap();
    // The timers of the proxy's ends: to the client, and to the target.
    let timers = || {
        let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
        let lines = table.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
        let ours = lines.filter(|line| {
            let is_open = line[3] == "01";
            let (here, there) = (port(line[1]), port(line[2]));
            is_open && (here == proxy.address().port() || there == echo.address().port())
        });
        ours.map(|line| line[5].split(':').next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    // Timer 1 waits for an acknowledgement, and timer 2 is that of probes.
    within("all is acknowledged", async {
        while timers().contains(&"01".to_owned()) {
            pause().await;
        }
    })
    .await;
    assert_eq!(timers(), ["00", "00"]);
}

#[tokio::test]
async fn early_bytes_of_the_client_wait_for_the_last_hop() {
    let hop = Double::start([agree(""), agree("welcome")]).await;
    let proxy = Proxy::start(&default_chain(&hop, "[corporate, corporate]")).await;
    let mut tunnel = connect_early(proxy.address(), "origin.test:443", "early").await.tunnel();
    assert_reads(&mut tunnel, "welcome").await;
    let asked = |stop: &str| format!("CONNECT {stop} HTTP/1.1\r\nHost: {stop}\r\n\r\n");
    let heads = asked(&hop.address().to_string()) + &asked("origin.test:443");
    hop.record().assert_sent(0, &format!("{heads}early")).await;

    hop.becomes([agree(""), Step::Answer("HTTP/1.1 403 Forbidden\r\n\r\n".into())]);
    let answer = connect_early(proxy.address(), "origin.test:443", "early").await;
    assert!(answer.head.starts_with("HTTP/1.1 502 "), "{answer:?}");
    drop(answer);
    hop.record()
        .until("the connection to the hop is closed", |seen| seen.get(1)?.is_ended.then_some(()))
        .await;
    assert_eq!(hop.record().now()[1].text(), heads);
}

#[tokio::test]
async fn early_bytes_of_the_target_follow_the_200() {
    let hop = Double::start([agree("SSH-2.0-early\r\n")]).await;
    let proxy = Proxy::start(&default_chain(&hop, "[corporate]")).await;
    let mut tunnel = connect(proxy.address(), "origin.test:22").await.tunnel();
    assert_reads(&mut tunnel, "SSH-2.0-early\r\n").await;
}

#[tokio::test]
async fn a_target_may_speak_first() {
    let target = Double::start([Step::Say("220 ready\r\n".into())]).await;
    let proxy = Proxy::start("chains: { default: [] }").await;
    let mut tunnel = connect(proxy.address(), target.address()).await.tunnel();
    assert_reads(&mut tunnel, "220 ready\r\n").await;
}

#[tokio::test]
async fn an_agreement_may_come_in_pieces_and_in_other_words() {
    let words = "HTTP/1.0 204 Fine\r\nContent-Length: 5\r\n\r\nhello";
    let hop = Double::start([
        Step::Answer(String::new()),
        Step::Dribble(words.into(), Duration::from_millis(1)),
    ])
    .await;
    let proxy = Proxy::start(&default_chain(&hop, "[corporate]")).await;
    let mut tunnel = connect(proxy.address(), "origin.test:443").await.tunnel();
    assert_reads(&mut tunnel, "hello").await;
}

#[tokio::test]
async fn a_request_may_come_in_pieces() {
    let echo = EchoOrigin::start().await;
    let proxy = Proxy::start("chains: { default: [] }").await;
    let mut stream = open(proxy.address()).await;
    stream.set_nodelay(true).unwrap();
    let target = echo.address();
    for byte in format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\nping").bytes() {
        stream.write_all(&[byte]).await.unwrap();
    }
    assert_eq!(head(&mut stream).await, "HTTP/1.1 200 Connection established\r\n\r\n");
    assert_reads(&mut stream, "ping").await;
}

#[tokio::test]
async fn the_end_of_the_client_leaves_the_way_back_open() {
    let ended = [agree(""), Step::Listen, Step::Say("the last words".into()), Step::End];
    for chain in ["[corporate]", "[]"] {
        let peer =
            Double::start(if chain == "[]" { ended[1..].to_vec() } else { ended.to_vec() }).await;
        let proxy = Proxy::start(&default_chain(&peer, chain)).await;
        let mut tunnel = connect(proxy.address(), peer.address()).await.tunnel();
        tunnel.write_all(b"all I have").await.unwrap();
        tunnel.shutdown().await.unwrap();
        assert_eq!(rest(&mut tunnel).await, "the last words", "{chain}");
        assert!(peer.sent().ends_with("all I have"), "{chain}");
    }
}

#[tokio::test]
async fn the_end_of_the_target_leaves_the_way_there_open() {
    let ended = [agree(""), Step::Say("the last words".into()), Step::End];
    for chain in ["[corporate]", "[]"] {
        let peer =
            Double::start(if chain == "[]" { ended[1..].to_vec() } else { ended.to_vec() }).await;
        let proxy = Proxy::start(&default_chain(&peer, chain)).await;
        let mut tunnel = connect(proxy.address(), peer.address()).await.tunnel();
        assert_eq!(rest(&mut tunnel).await, "the last words", "{chain}");
        tunnel.write_all(b"still here").await.unwrap();
        tunnel.shutdown().await.unwrap();
        peer.record().until("the rest", |seen| seen.first()?.is_ended.then_some(())).await;
        assert!(peer.sent().ends_with("still here"), "{chain}: {:?}", peer.sent());
    }
}

#[tokio::test]
async fn a_reset_arrives_as_a_reset() {
    if !crate::support::resets_or_skip() {
        return;
    }
    let allowed = Arc::new(Notify::new());
    let target = Double::start([Step::Await(Arc::clone(&allowed)), Step::Reset]).await;
    let proxy = Proxy::start("chains: { default: [] }").await;
    let mut tunnel = connect(proxy.address(), target.address()).await.tunnel();
    allowed.notify_one();
    let error = within("the reset", tunnel.read_u8()).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn a_client_of_http_1_0_gets_a_tunnel_too() {
    let target = Double::start([Step::Say("hello".into()), Step::End]).await;
    let proxy = Proxy::start("chains: { default: [] }").await;
    let request = format!("CONNECT {} HTTP/1.0\r\n\r\n", target.address());
    let answer = exchange(proxy.address(), request.as_bytes()).await;
    assert_eq!(answer, "HTTP/1.1 200 Connection established\r\n\r\nhello");
}

#[tokio::test]
async fn a_name_is_tried_at_each_of_its_addresses() {
    // It listens on 127.0.0.1 alone, where `localhost` may mean ::1 first.
    let echo = EchoOrigin::start().await;
    let proxy = Proxy::start("chains: { default: [] }").await;
    let target = format!("localhost:{}", echo.address().port());
    let mut tunnel = connect_early(proxy.address(), target, "ping").await.tunnel();
    assert_reads(&mut tunnel, "ping").await;
}

#[tokio::test]
async fn a_tunnel_ends_when_nothing_moves_for_too_long() {
    let silent = Double::start([Step::Listen]).await;
    let proxy = Proxy::start("timeouts: { idle: 200ms }\nchains: { default: [] }\n").await;
    let mut tunnel = connect(proxy.address(), silent.address()).await.tunnel();
    within("the end", tunnel.read_u8()).await.unwrap_err();
    silent.record().until("the end", |seen| seen.first()?.is_ended.then_some(())).await;
}

#[tokio::test]
async fn a_half_closed_tunnel_ends_when_nothing_moves_for_too_long() {
    let silent = Double::start([Step::Listen, Step::Await(Arc::new(Notify::new()))]).await;
    let proxy = Proxy::start("timeouts: { half_closed: 200ms }\nchains: { default: [] }\n").await;
    let mut tunnel = connect(proxy.address(), silent.address()).await.tunnel();
    tunnel.shutdown().await.unwrap();
    within("the end", tunnel.read_u8()).await.unwrap_err();
}

#[tokio::test]
async fn an_access_line_tells_the_way_of_a_tunnel() {
    let hop = Double::start([agree("hello")]).await;
    let proxy = Proxy::start(&default_chain(&hop, "[corporate]")).await;
    let mut tunnel = connect_early(proxy.address(), "origin.test:443", "four").await.tunnel();
    let client = tunnel.local_addr().unwrap();
    assert_reads(&mut tunnel, "hello").await;
    hop.record()
        .until("the bytes", |seen| seen.first()?.text().ends_with("four").then_some(()))
        .await;
    drop(tunnel);
    let event = proxy.event("tunnel closed").await;
    let fields = ["client", "method", "target", "chain", "status", "sent", "received"];
    let expected = [&client.to_string(), "CONNECT", "origin.test:443", "default", "200", "4", "5"];
    assert_eq!(fields.map(|field| event.field(field)), expected);
    for field in ["id", "route", "generation", "duration", "duration_seconds", "end"] {
        assert_ne!(event.field(field), "", "{field} of {event:?}");
    }
    let hops = format!("corporate@{}", hop.address());
    let fields = ["protocol", "hops", "attempts"].map(|field| event.field(field));
    assert_eq!(fields, ["http", &hops, "1"]);
    assert!(event.number("connect_seconds") <= event.number("duration_seconds"), "{event:?}");
}

#[tokio::test]
async fn an_access_line_names_the_member_and_the_attempts_or_the_stage_that_failed() {
    let (hop, dead) = (Double::start([agree("hello")]).await, free_port());
    let chain = |chain: &str| {
        format!(
            "hops:\n  dead: {{ kind: http-connect, address: \"127.0.0.1:{dead}\" }}\n  \
             exits: {{ kind: pool, members: [dead, {{ kind: http-connect, address: \"{}\" }}] }}\n\
             chains: {{ default: [{chain}] }}\n",
            hop.address(),
        )
    };
    let proxy = Proxy::start(&chain("exits")).await;
    let mut tunnel = connect_early(proxy.address(), "origin.test:443", "").await.tunnel();
    assert_reads(&mut tunnel, "hello").await;
    drop(tunnel);
    let event = proxy.event("tunnel closed").await;
    let hops = format!("exits.members[1]@{}", hop.address());
    assert_eq!(["hops", "attempts"].map(|field| event.field(field)), [&hops, "2"]);
    let proxy = Proxy::start(&chain("dead")).await;
    exchange(proxy.address(), b"CONNECT origin.test:443 HTTP/1.1\r\nHost: origin.test:443\r\n\r\n")
        .await;
    let event = proxy.event("request failed").await;
    let fields = ["hop", "stage", "attempts", "hops"].map(|field| event.field(field));
    assert_eq!(fields, ["dead", "dial", "1", ""]);
    assert!(event.number("duration_seconds") > 0.0, "{event:?}");
}

#[tokio::test]
async fn many_bytes_pass_both_ways_at_once_through_real_hops() {
    let Some(network) = Network::start().await else { return };
    let echo = EchoOrigin::start().await;
    for chain in WAYS {
        let proxy = Proxy::start(&network.yaml(chain)).await;
        let tunnel = connect(proxy.address(), echo.address()).await.tunnel();
        let body = fill(10_000_000);
        let mut came = Vec::new();
        let (mut read, mut write) = tunnel.into_split();
        // Squid takes the end of one direction for the end of both, so the client keeps its own open.
        let mut limited = (&mut read).take(body.len() as u64);
        let (written, read) = within("the bytes pass", async {
            tokio::join!(write.write_all(&body), limited.read_to_end(&mut came))
        })
        .await;
        written.unwrap();
        assert_eq!(read.unwrap(), body.len(), "{chain}");
        assert_eq!(first_difference(0, &came), None, "{chain}");
    }
}

#[tokio::test]
async fn a_hop_may_be_spoken_to_over_tls() {
    let certificates = Certificates::new();
    let Some(corporate) = Squid::tls(SquidRules::Open, &certificates).await else { return };
    let echo = EchoOrigin::start().await;
    let proxy = Proxy::start(&format!(
        "hops: {{ corporate: {{ kind: http-connect, address: \"{}\", tls: {{ ca: {:?} }} }} }}\n\
         chains: {{ default: [corporate] }}\n",
        corporate.address(),
        certificates.authority_file()
    ))
    .await;
    let mut tunnel = connect(proxy.address(), echo.address()).await.tunnel();
    ping(&mut tunnel).await;
    drop(tunnel);
    let passed = corporate.passed_at_least(1).await;
    assert_eq!(passed[0].target, echo.address().to_string());
}

#[tokio::test]
async fn a_provider_of_another_make_is_reached_through_squid() {
    let Some(corporate) = Squid::start(SquidRules::Open).await else { return };
    let Some(provider) = Tinyproxy::start().await else { return };
    let echo = EchoOrigin::start().await;
    let (first, last) = (corporate.address(), provider.address());
    let proxy = Proxy::start(&format!(
        "hops:\n  corporate: {{ kind: http-connect, address: \"{first}\" }}\n  \
         provider: {{ kind: http-connect, address: \"{last}\", username: dev, password: secret }}\n\
         chains: {{ default: [corporate, provider] }}\n"
    ))
    .await;
    let mut tunnel = connect(proxy.address(), echo.address()).await.tunnel();
    ping(&mut tunnel).await;
    drop(tunnel);
    assert_eq!(corporate.passed_at_least(1).await[0].target, last.to_string());
    let asked = format!("CONNECT {} HTTP/1.1", echo.address());
    assert!(provider.log().contains(&asked), "{}", provider.log());
}

/// A hop's step: it reads a request, agrees, and what follows comes in the same breath.
fn agree(follows: &str) -> Step {
    Step::Answer(format!("HTTP/1.1 200 OK\r\n\r\n{follows}"))
}

fn default_chain(corporate: &Double, chain: &str) -> String {
    format!("{}chains: {{ default: {chain} }}\n", two_hops(corporate.address()))
}

#[cfg(target_os = "linux")]
#[test]
fn silent_peers_elsewhere_are_probed_on_both_legs() {
    use tokio::net::{TcpListener, TcpStream};

    Namespace::run(Says::NoSuchName, |namespace| async move {
        namespace.ip("address add 192.0.2.1/32 dev lo");
        let origin = TcpListener::bind("192.0.2.1:0").await.unwrap();
        let proxy = Proxy::start(&format!(
            "server: {{ listen: \"192.0.2.1:0\", auth: {{ username: {USERNAME}, password: {PASSWORD} }} }}\n\
             chains: {{ default: [] }}\n"
        ))
        .await;
        let mut client = TcpStream::connect(proxy.address()).await.unwrap();
        let target = origin.local_addr().unwrap();
        let request = format!(
            "CONNECT {target} HTTP/1.1\r\nHost: {target}\r\nProxy-Authorization: {BASIC}\r\n\r\n"
        );
        client.write_all(request.as_bytes()).await.unwrap();
        assert!(head(&mut client).await.starts_with("HTTP/1.1 200 "));
        for peer in [client.local_addr().unwrap(), target] {
            within(&format!("{peer} is to be probed"), async {
                while until_probe(peer).is_none_or(|time| time > Duration::from_secs(60)) {
                    pause().await;
                }
            })
            .await;
        }
    });
}

/// Returns how long it takes until the system probes this peer, if nothing comes from it.
#[cfg(target_os = "linux")]
fn until_probe(peer: std::net::SocketAddr) -> Option<Duration> {
    // Of the numbers after the addresses and the state, the second pair is the timer: 02 is the one of probes, and its
    // time is in hundredths of a second.
    let table = std::fs::read_to_string("/proc/thread-self/net/tcp").unwrap();
    let port = format!(":{:04X}", peer.port());
    let rows = table.lines().map(|row| row.split_whitespace().collect::<Vec<_>>());
    let row = rows.into_iter().find(|row| row[2].ends_with(&port) && row[3] == "01")?;
    let time = row[5].strip_prefix("02:")?;
    Some(Duration::from_millis(10 * u64::from_str_radix(time, 16).unwrap()))
}
