//! Clients that speak SOCKS: curl, nc and a scripted one, through no hop, one and two.

use std::{net::SocketAddr, process::Stdio, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    process::Command,
    time::Instant,
};

use crate::support::{
    BASIC, Double, EchoOrigin, HttpOrigin, Network, PASSWORD, Program, Proxy, SocksProxy, Step,
    USERNAME, WAYS, assert_reads, first_difference, open, ping, rest, two_hops, within,
};

/// Success, and the address that is not told.
const YES: &[u8] = b"\x05\x00\x00\x01\0\0\0\0\0\0";
const DIRECT: &str = "chains: { default: [] }\n";

#[tokio::test]
async fn curl_passes_each_way_in_each_version() {
    let Some(curl) = Program::find_or_skip("curl") else { return };
    let Some(network) = Network::start().await else { return };
    let origin = HttpOrigin::plain().await;
    for chain in WAYS {
        let proxy = Proxy::start(&network.yaml(chain)).await;
        for flag in ["--socks5", "--socks5-hostname", "--socks4", "--socks4a"] {
            let got = run(Command::new(curl.path())
                .args(["-sS", "--noproxy", "", flag, &proxy.address().to_string()])
                .arg(origin.url(&format!("/bytes/{BODY_BYTES}"))))
            .await;
            assert_eq!(got.len(), BODY_BYTES, "{flag} through {chain}");
            assert_eq!(first_difference(0, &got), None, "{flag} through {chain}");
        }
        let closed = proxy.event("tunnel closed").await;
        assert_eq!(
            (closed.field("protocol"), closed.field("status")),
            ("socks5".into(), "200".into())
        );
    }
}

#[tokio::test]
async fn nc_talks_to_a_target_that_echoes() {
    let Some(nc) = Program::find_or_skip("nc") else { return };
    let help = Command::new(nc.path()).arg("-h").output().await.unwrap();
    if !String::from_utf8_lossy(&help.stderr).contains("-X proxy_protocol") {
        return crate::support::skip("OpenBSD's nc");
    }
    let (proxy, echo) = (Proxy::start(DIRECT).await, EchoOrigin::start().await);
    let (at, port) = (proxy.address().to_string(), echo.address().port().to_string());
    for version in ["5", "4"] {
        let mut command = Command::new(nc.path());
        command.args(["-N", "-X", version, "-x", &at, "127.0.0.1", &port]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(b"hello").await.unwrap();
        drop(stdin);
        let output = within("nc ends", child.wait_with_output()).await.unwrap();
        assert_eq!(output.stdout, b"hello", "version {version}");
    }
}

#[tokio::test]
async fn names_are_passed_on_unresolved_and_early_bytes_are_kept_both_ways() {
    let agree = |more: &str| Step::Answer(format!("HTTP/1.1 200 OK\r\n\r\n{more}"));
    let hop = Double::start([agree(""), agree("welcome")]).await;
    let proxy = Proxy::start(&format!(
        "{}chains: {{ default: [corporate, webshare] }}\n",
        two_hops(hop.address())
    ))
    .await;
    // Everything in one breath, as a client that does not wait sends it.
    let mut client = open(proxy.address()).await;
    let all = b"\x05\x01\x00\x05\x01\x00\x03\x0borigin.test\x01\xbbearly";
    client.write_all(all).await.unwrap();
    let mut told = [0; 12];
    within("the answers", client.read_exact(&mut told)).await.unwrap();
    assert_eq!(told, *[b"\x05\x00", YES].concat());
    assert_reads(&mut client, "welcome").await;
    hop.record()
        .assert_sent(
            0,
            &format!(
                "CONNECT provider.test:80 HTTP/1.1\r\nHost: provider.test:80\r\n\r\n\
                 CONNECT origin.test:443 HTTP/1.1\r\nHost: origin.test:443\r\n\
                 Proxy-Authorization: {BASIC}\r\n\r\nearly"
            ),
        )
        .await;
}

#[tokio::test]
async fn a_dribbled_exchange_makes_a_tunnel_whose_halves_close_apart() {
    let (proxy, echo) = (Proxy::start(DIRECT).await, EchoOrigin::start().await);
    let mut client = open(proxy.address()).await;
    client.set_nodelay(true).unwrap();
    for byte in [b"\x05\x02\x00\x02".as_slice(), &connect_to(echo.address())].concat() {
        client.write_all(&[byte]).await.unwrap();
        client.flush().await.unwrap();
    }
    client.write_all(b"hello").await.unwrap();
    client.shutdown().await.unwrap();
    let mut told = Vec::new();
    within("the end", client.read_to_end(&mut told)).await.unwrap();
    assert_eq!(told, [b"\x05\x00", YES, b"hello"].concat());
}

#[tokio::test]
async fn bad_exchanges_get_their_answer_and_then_the_end() {
    let mut proxy = Proxy::start(DIRECT).await;
    let no = |code: u8| [&[5, 0, 5, code, 0, 1][..], &[0; 6]].concat();
    let named = |name: &[u8]| {
        [b"\x05\x01\x00\x05\x01\x00\x03", &[name.len() as u8][..], name, b"\x01\xbb"].concat()
    };
    let rejected = b"\0\x5b\0\0\0\0\0\0".to_vec();
    for (sent, told) in [
        (b"\x05\x00".to_vec(), b"\x05\xff".to_vec()),
        (b"\x05\x01\x01".to_vec(), b"\x05\xff".to_vec()),
        (b"\x05\x01\x00\x04\x01\x00\x01\x7f\0\0\x01\0\x50".to_vec(), no(1)),
        (b"\x05\x01\x02\x05\x01u\x01p".to_vec(), b"\x05\x02\x01\x01".to_vec()),
        (b"\x05\x01\x00\x05\x02\x00\x01\x7f\0\0\x01\0\x50".to_vec(), no(7)),
        (b"\x05\x01\x00\x05\x03\x00\x01\0\0\0\0\0\0".to_vec(), no(7)),
        (b"\x05\x01\x00\x05\x01\x00\x05".to_vec(), no(8)),
        (b"\x05\x01\x00\x05\x01\x00\x01\x7f\0\0\x01\0\0".to_vec(), no(1)),
        (named(b""), no(1)),
        (named(b"a\0b"), no(1)),
        (named(b"a b"), no(1)),
        (named(b"a\r\nHost: b"), no(1)),
        (named(b"a:80"), no(1)),
        (named(&[b'a'; 255]), no(1)),
        (b"\x04\x02\0\x50\x7f\0\0\x01\0".to_vec(), rejected.clone()),
        (b"\x04\x01\0\0\x7f\0\0\x01\0".to_vec(), rejected.clone()),
        ([b"\x04\x01\0\x50\0\0\0\x01\0", &[b'a'; 256][..]].concat(), rejected),
    ] {
        let mut client = open(proxy.address()).await;
        client.write_all(&sent).await.unwrap();
        assert_eq!(everything(&mut client).await, told, "{sent:?}");
    }
    proxy.assert_is_well().await;
}

#[tokio::test]
async fn the_log_says_why_an_exchange_is_refused() {
    let named = |name: &[u8], port: u16| {
        let greeting = b"\x05\x01\x00\x05\x01\x00\x03".as_slice();
        [greeting, &[name.len() as u8], name, &port.to_be_bytes()].concat()
    };
    let cases: [(Vec<u8>, &str, u8, &str); 11] = [
        (b"\x05\x01\x00\x05\x02\x00\x01\x7f\0\0\x01\0\x50".to_vec(), "socks5", 7, "BIND"),
        (
            b"\x05\x01\x00\x05\x03\x00\x01\0\0\0\0\0\0".to_vec(),
            "socks5",
            7,
            "UDP ASSOCIATE, and only CONNECT (TCP) is served",
        ),
        (named(b"a.test", 0), "socks5", 1, "the target has port 0"),
        (named(b"127.1", 80), "socks5", 1, "the target is not a host"),
        (named("b\u{fc}cher.test".as_bytes(), 80), "socks5", 1, "the target is not a host"),
        (b"\x05\x01\x01".to_vec(), "socks5", 1, "no method of authentication that is served"),
        (b"\x05\x01\x00\x05\x01\x00\x07".to_vec(), "socks5", 8, "an unknown type of address"),
        (b"\x05\x01\x00\x04\x01\x00".to_vec(), "socks5", 1, "different versions of SOCKS"),
        (b"\x04\x02\0\x50\x7f\0\0\x01\0".to_vec(), "socks4a", 7, "BIND"),
        (b"\x05\x01\0\x05\xf0\0\x03\x01a\0\0".to_vec(), "socks5", 7, "instead of torsocks"),
        (b"\x05\x01\0\x05\xf1\0\x01\x7f\0\0\x01\0\0".to_vec(), "socks5", 7, "instead of torsocks"),
    ];
    for (sent, protocol, code, reason) in cases {
        // One line of a sort is logged in ten seconds, so each has a proxy of its own.
        let proxy = Proxy::start(DIRECT).await;
        for _ in 0..3 {
            let mut client = open(proxy.address()).await;
            client.write_all(&sent).await.unwrap();
            everything(&mut client).await;
        }
        let denied = proxy.event("request denied").await;
        assert!(denied.field("reason").contains(reason), "{}", denied.text());
        assert_eq!(denied.field("protocol"), protocol, "{reason}");
        assert_eq!(denied.number("code"), f64::from(code), "{reason}");
        let lines = proxy.events();
        let lines = lines.iter().filter(|event| event.message() == "request denied");
        assert_eq!(lines.count(), 1, "{reason}");
    }
}

#[tokio::test]
async fn one_refused_command_hides_no_other_one_in_the_log() {
    let proxy = Proxy::start(DIRECT).await;
    for (command, reason) in [(2, "BIND"), (3, "UDP ASSOCIATE"), (9, "unknown command 9")] {
        let seen = proxy.events().len();
        let mut client = open(proxy.address()).await;
        let request = [5, 1, 0, 5, command, 0, 1, 127, 0, 0, 1, 0, 80];
        client.write_all(&request).await.unwrap();
        everything(&mut client).await;
        let denied = proxy.event_after(seen, "request denied").await;
        assert!(denied.field("reason").contains(reason), "{}", denied.text());
    }
}

#[tokio::test]
async fn a_client_that_stops_in_the_middle_is_answered_at_the_header_timeout() {
    let yaml = format!("timeouts: {{ header: 1s }}\n{DIRECT}");
    let proxy = Proxy::start(&yaml).await;
    for (sent, told) in [
        (&b"\x05"[..], &b"\x05\xff"[..]),
        (b"\x05\x02\x00", b"\x05\xff"),
        (b"\x05\x01\x02\x01\x05us", b"\x05\x02\x01\x01"),
        (b"\x05\x01\x00\x05\x01\x00\x03\x20a", b"\x05\x00\x05\x01\x00\x01\0\0\0\0\0\0"),
        (b"\x04\x01\0\x50\x7f\0\0\x01user", b"\0\x5b\0\0\0\0\0\0"),
    ] {
        let (begun, mut client) = (Instant::now(), open(proxy.address()).await);
        client.write_all(sent).await.unwrap();
        assert_eq!(everything(&mut client).await, told, "{sent:?}");
        assert!(begun.elapsed() < Duration::from_secs(10), "{sent:?}");
    }
}

#[tokio::test]
async fn reply_codes_name_the_kind_of_failure() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let proxy = Proxy::start(DIRECT).await;
    assert_eq!(code(&proxy, &connect_to(closed)).await, 5);
    let failed = proxy.event("request failed").await;
    assert_eq!((failed.field("protocol"), failed.field("status")), ("socks5".into(), "502".into()));
    assert_eq!(code(&proxy, b"\x05\x01\x00\x03\x0cunknown.test\0\x50").await, 4);
    // A hop that is down is not the target's fault.
    let hop = format!("hops: {{ up: {{ kind: socks5, address: \"{closed}\" }} }}\n");
    let proxy = Proxy::start(&format!("{hop}chains: {{ default: [up] }}\n")).await;
    assert_eq!(code(&proxy, b"\x05\x01\x00\x03\x0borigin.test\0\x50").await, 1);
    for (answer, expected) in [("403 Forbidden", 2), ("503 Service Unavailable", 4), ("407 No", 1)]
    {
        let hop = Double::start([Step::Answer(format!("HTTP/1.1 {answer}\r\n\r\n"))]).await;
        let hops = two_hops(hop.address());
        let proxy = Proxy::start(&format!("{hops}chains: {{ default: [corporate] }}\n")).await;
        let asked = b"\x05\x01\x00\x03\x0borigin.test\0\x50";
        assert_eq!(code(&proxy, asked).await, expected, "{answer}");
    }
    // No route, and no HTTP at this port.
    let yaml = "server: { protocols: [socks5] }\nchains: { default: [] }\n\
                routes: [{ hosts: [a.test], chain: default }]\n";
    let proxy = Proxy::start(yaml).await;
    assert_eq!(code(&proxy, b"\x05\x01\x00\x03\x06b.test\0\x50").await, 2);
    let mut client = open(proxy.address()).await;
    client.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    assert!(rest(&mut client).await.starts_with("HTTP/1.1 403 "));
    let mut client = open(proxy.address()).await;
    client.write_all(b"\x04").await.unwrap();
    assert_eq!(everything(&mut client).await, b"\0\x5b\0\0\0\0\0\0");
}

#[tokio::test]
async fn codes_of_a_socks_hop_about_the_target_are_handed_on() {
    let Some(hop) = SocksProxy::microsocks(false).await else { return };
    let hop = format!("hops: {{ up: {{ kind: socks5, address: \"{}\" }} }}\n", hop.address());
    let proxy = Proxy::start(&format!("{hop}chains: {{ default: [up] }}\n")).await;
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    assert_eq!(code(&proxy, &connect_to(closed)).await, 5);
    let echo = EchoOrigin::start().await;
    let mut tunnel = asked(&proxy, &connect_to(echo.address())).await;
    let mut told = [0; 12];
    within("success", tunnel.read_exact(&mut told)).await.unwrap();
    ping(&mut tunnel).await;
}

#[tokio::test]
async fn credentials_are_asked_for_and_compared() {
    let echo = EchoOrigin::start().await;
    let yaml =
        format!("server: {{ auth: {{ username: {USERNAME}, password: {PASSWORD} }} }}\n{DIRECT}");
    let proxy = Proxy::start(&yaml).await;
    let login = |username: &str, password: &str| {
        let (u, p) = (username.len() as u8, password.len() as u8);
        [&[5, 2, 0, 2, 1, u], username.as_bytes(), &[p], password.as_bytes()].concat()
    };
    let right = login(USERNAME, PASSWORD);
    let request = connect_to(echo.address());
    for (sent, told) in [
        ([b"\x05\x01\x00".as_slice(), &request].concat(), b"\x05\xff".to_vec()),
        ([login(USERNAME, "wrong"), request.clone()].concat(), b"\x05\x02\x01\x01".to_vec()),
        ([login("", ""), request.clone()].concat(), b"\x05\x02\x01\x01".to_vec()),
        (b"\x04\x01\0\x50\x7f\0\0\x01dev\0".to_vec(), b"\0\x5b\0\0\0\0\0\0".to_vec()),
    ] {
        let mut client = open(proxy.address()).await;
        client.write_all(&sent).await.unwrap();
        assert_eq!(everything(&mut client).await, told, "{sent:?}");
    }
    let mut client = open(proxy.address()).await;
    client.write_all(&[right, request].concat()).await.unwrap();
    let mut told = [0; 14];
    within("success", client.read_exact(&mut told)).await.unwrap();
    assert_eq!(told, *[b"\x05\x02\x01\x00", YES].concat());
}

#[tokio::test]
async fn a_client_chooses_its_session_by_its_username() {
    let hop = Double::start([Step::Answer("HTTP/1.1 200 OK\r\n\r\n".into())]).await;
    let yaml = format!(
        "hops: {{ webshare: {{ kind: webshare, address: \"{}\", username: dev, password: secret, sessions: by-client }} }}\n\
         chains: {{ default: [webshare] }}\n",
        hop.address()
    );
    let proxy = Proxy::start(&yaml).await;
    // It offers both methods, as curl does, and is asked for its username.
    let mut client = open(proxy.address()).await;
    let name = b"session-alice";
    let request = b"\x05\x01\x00\x03\x0borigin.test\x01\xbb";
    let all = [b"\x05\x02\x00\x02\x01\x0d", &name[..], b"\x00", request].concat();
    client.write_all(&all).await.unwrap();
    let mut told = [0; 14];
    within("success", client.read_exact(&mut told)).await.unwrap();
    assert_eq!(told, *[b"\x05\x02\x01\x00", YES].concat());
    let fixed = hop.record().until("the CONNECT", |seen| Some(seen.first()?.text())).await;
    assert!(fixed.starts_with("CONNECT origin.test:443 "), "{fixed}");
    assert!(!fixed.contains(BASIC), "the username has the session: {fixed}");
    // One that is not understood is refused before a hop is asked.
    let mut client = open(proxy.address()).await;
    let all = [b"\x05\x01\x02\x01\x04root\x00".as_slice(), request].concat();
    client.write_all(&all).await.unwrap();
    let told = everything(&mut client).await;
    assert_eq!(told, [b"\x05\x02\x01\x00\x05\x01\x00\x01".as_slice(), &[0; 6]].concat());
    assert_eq!(hop.record().now().len(), 1);
}

#[tokio::test]
async fn one_client_too_many_is_turned_away_in_its_protocol() {
    let proxy = Proxy::start(&format!("limits: {{ connections: 1 }}\n{DIRECT}")).await;
    let echo = EchoOrigin::start().await;
    let mut first = asked(&proxy, &connect_to(echo.address())).await;
    let mut told = [0; 12];
    within("success", first.read_exact(&mut told)).await.unwrap();
    let mut second = open(proxy.address()).await;
    second.write_all(b"\x05\x01\x00").await.unwrap();
    assert_eq!(everything(&mut second).await, b"\x05\xff");
}

/// Greets, asks, and returns the code of the reply.
async fn code(proxy: &Proxy, request: &[u8]) -> u8 {
    let mut client = asked(proxy, request).await;
    let told = everything(&mut client).await;
    assert_eq!((told.len(), &told[..3]), (12, &b"\x05\x00\x05"[..]), "{told:?}");
    told[3]
}

async fn asked(proxy: &Proxy, request: &[u8]) -> TcpStream {
    let mut client = open(proxy.address()).await;
    client.write_all(&[b"\x05\x01\x00", request].concat()).await.unwrap();
    client
}

/// The request for a tunnel to an IPv4 address.
fn connect_to(target: SocketAddr) -> Vec<u8> {
    let SocketAddr::V4(target) = target else { panic!("{target} is IPv6") };
    let (address, port) = (target.ip().octets(), target.port().to_be_bytes());
    [b"\x05\x01\x00\x01".as_slice(), &address, &port].concat()
}

async fn everything(client: &mut TcpStream) -> Vec<u8> {
    let mut told = Vec::new();
    within("the end", client.read_to_end(&mut told)).await.unwrap();
    told
}

async fn run(command: &mut Command) -> Vec<u8> {
    let output = within("the client ends", command.kill_on_drop(true).output()).await.unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

const BODY_BYTES: usize = 300_000;

/// Routes by name before one for every host.
const BY_NAME: &str = "chains: { default: [], other: [] }\n\
                       routes: [{ hosts: [\"*.shop.test\"], chain: other }, { chain: default }]\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_looks_up_names_itself_is_told_that_routes_by_name_need_the_name() {
    const LINE: &str = "the client sent an address; routes by name need the name";
    let echo = EchoOrigin::start().await;
    let proxy = Proxy::start(BY_NAME).await;
    for _ in 0..2 {
        let mut tunnel = crate::support::socks_connect(proxy.address(), echo.address()).await;
        ping(&mut tunnel).await;
    }
    let told = proxy.event(LINE).await;
    assert_eq!(
        ["protocol", "chain", "skipped"].map(|name| told.field(name)),
        ["socks5", "default", "0"]
    );
    assert!(told.field("advice").contains("`socks5h://` in place of `socks5://`"), "{told:?}");
    let lines = proxy.events().iter().filter(|event| event.message() == LINE).count();
    assert_eq!(lines, 1, "one line in ten seconds");
    let seen = proxy.events().len();
    drop(crate::support::connect(proxy.address(), echo.address()).await.tunnel());
    // Another protocol is another sort.
    assert_eq!(proxy.event_after(seen, LINE).await.field("protocol"), "http");

    // Nothing is said if the routes for names lead the same way, or if a route is for the address.
    for routes in [
        "routes: [{ hosts: [\"*.shop.test\"], chain: default }, { chain: default }]\n",
        "routes: [{ hosts: [\"*.shop.test\"], chain: other }, { hosts: [127.0.0.0/8], chain: default }]\n",
        "routes: [{ hosts: [10.0.0.0/8], chain: other }, { chain: default }]\n",
    ] {
        let proxy = Proxy::start(&format!("chains: {{ default: [], other: [] }}\n{routes}")).await;
        drop(crate::support::socks_connect(proxy.address(), echo.address()).await);
        proxy.event("tunnel closed").await;
        assert!(proxy.events().iter().all(|event| event.message() != LINE), "{routes}");
    }
}

#[test]
fn explain_says_why_an_address_or_the_parent_of_a_pattern_misses_a_route_by_name() {
    let config = crate::support::ConfigDir::new(BY_NAME);
    let path = config.path().to_str().unwrap();
    let explain = |target: &str, format: &str| {
        let output = crate::support::run(["explain", "-c", path, "--format", format, target]);
        String::from_utf8(output.stdout).unwrap()
    };
    let words = explain("shop.test:443", "human");
    let hint = "`*.shop.test` is for names below it; write `shop.test` beside it";
    assert!(words.contains(hint), "{words}");
    assert!(!words.contains("socks5h"), "{words}");
    let told: serde_json::Value = serde_json::from_str(&explain("shop.test:443", "json")).unwrap();
    assert_eq!(told["before"][0]["hint"], hint);
    let words = explain("192.0.2.1:443", "human");
    assert!(words.contains("write `socks5h://` in place of `socks5://`"), "{words}");
    for other in ["www.shop.test:443", "other.test:443"] {
        let words = explain(other, "human");
        assert!(!words.contains("socks5h") && !words.contains("names below it"), "{words}");
    }
}
