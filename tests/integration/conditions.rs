//! Hops that the network switches: conditions on names, addresses, interfaces and ports, in networks of the tests' own.

mod idle;
mod reloads;
mod undecided;

use std::{
    net::Ipv4Addr,
    time::{Duration, Instant},
};

use tokio::io::AsyncReadExt as _;

use crate::support::{
    ConfigDir, Double, EchoOrigin, Namespace, Proxy, RESOLVER, Says, Step, connect, pause, ping,
    run, within,
};

const OFFICE: Says = Says::Address(Ipv4Addr::new(10, 1, 2, 3));

/// A proxy in the office, which refuses everything and is recognised by that.
async fn office() -> Double {
    Double::start([Step::Answer("HTTP/1.1 403 Office\r\nContent-Length: 0\r\n\r\n".into())]).await
}

/// One hop with the condition `enabled`, and a short patience.
fn yaml(office: &Double, enabled: &str) -> String {
    format!(
        "timeouts: {{ connect: 1s }}\nhops:\n  office: {{ kind: http-connect, address: \"{}\", enabled: {enabled} }}\n\
         chains: {{ default: [office] }}\n",
        office.address()
    )
}

const RESOLVES: &str = "{ when: { resolves: proxy.test, into: 10.0.0.0/8 } }";

/// Which way a request goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Via {
    Office,
    Direct,
}

async fn way(proxy: &Proxy, echo: &EchoOrigin) -> Via {
    let answer = connect(proxy.address(), echo.address()).await;
    match answer.head.as_str() {
        "HTTP/1.1 200 Connection established\r\n\r\n" => Via::Direct,
        refused if refused.contains("office: 403") => Via::Office,
        other => panic!("neither way: {other}"),
    }
}

/// Waits until requests go `expected`.
async fn comes(proxy: &Proxy, echo: &EchoOrigin, expected: Via) {
    within(&format!("requests go {expected:?}"), async {
        while way(proxy, echo).await != expected {
            pause().await;
        }
    })
    .await;
}

#[test]
fn a_hop_is_on_while_its_name_resolves_into_the_office() {
    Namespace::run(OFFICE, |namespace| async move {
        let (office, echo) = (office().await, EchoOrigin::start().await);
        let proxy = Proxy::start(&yaml(&office, RESOLVES)).await;
        assert_eq!(way(&proxy, &echo).await, Via::Office);
        for (says, expected) in [
            (Says::NoSuchName, Via::Direct),
            (OFFICE, Via::Office),
            (Says::Address(Ipv4Addr::new(192, 0, 2, 1)), Via::Direct),
        ] {
            let seen = proxy.events().len();
            namespace.says(says.clone());
            namespace.add_link("event");
            namespace.ip("link set event up");
            let reloaded = proxy.event_after(seen, "config reloaded").await;
            assert!(reloaded.field("cause").contains("`proxy.test` resolves into 10.0.0.0/8"));
            let is_on = if expected == Via::Office { "on" } else { "off" };
            assert_eq!(reloaded.field("changed"), format!("hops.office.enabled={is_on}"));
            assert_eq!(way(&proxy, &echo).await, expected, "{says:?}");
            namespace.ip("link del event");
        }
    });
}

#[test]
fn a_tunnel_stays_when_its_hop_goes_unless_it_is_to_be_cut() {
    Namespace::run(OFFICE, |namespace| async move {
        let echo = EchoOrigin::start().await;
        let exit = Proxy::start("chains: { default: [] }\n").await;
        let hop = |on_leave: &str| {
            format!(
                "hops:\n  exit: {{ kind: http-connect, address: \"{}\", enabled: {{ when: {{ interface: \"tun*\" }} }}, \
                 on_leave: {on_leave} }}\nchains: {{ default: [exit] }}\n",
                exit.address()
            )
        };
        namespace.add_link("tun7");
        namespace.ip("link set tun7 up");
        for on_leave in ["keep", "cut"] {
            let proxy = Proxy::start(&hop(on_leave)).await;
            let mut tunnel = connect(proxy.address(), echo.address()).await.tunnel();
            ping(&mut tunnel).await;
            namespace.ip("link set tun7 down");
            let reloaded = proxy.event("config reloaded").await;
            assert_eq!(reloaded.field("cause"), "an interface `tun*` is up: false now");
            if on_leave == "keep" {
                ping(&mut tunnel).await;
            } else {
                let mut rest = [0; 1];
                let ended = within("the tunnel is cut", tunnel.read(&mut rest)).await;
                assert!(matches!(ended, Ok(0) | Err(_)), "{ended:?}");
            }
            namespace.ip("link set tun7 up");
        }
    });
}

#[test]
fn another_configuration_of_the_resolver_is_an_event() {
    Namespace::run(OFFICE, |namespace| async move {
        let (office, echo) = (office().await, EchoOrigin::start().await);
        let proxy = Proxy::start(&yaml(&office, RESOLVES)).await;
        assert_eq!(way(&proxy, &echo).await, Via::Office);
        namespace.says(Says::NoSuchName);
        namespace.write_resolver(&format!("# from the VPN\n{RESOLVER}"));
        proxy.event("config reloaded").await;
        assert_eq!(way(&proxy, &echo).await, Via::Direct);
    });
}

#[test]
fn a_hop_that_cannot_be_reached_asks_its_condition_again() {
    Namespace::run(OFFICE, |namespace| async move {
        let echo = EchoOrigin::start().await;
        let closed = {
            let office = office().await;
            yaml(&office, RESOLVES).replace(&office.address().to_string(), "127.0.0.1:9")
        };
        let proxy = Proxy::start(&closed).await;
        let refused = connect(proxy.address(), echo.address()).await;
        assert!(refused.head.starts_with("HTTP/1.1 502 "), "{}", refused.head);
        namespace.says(Says::NoSuchName);
        within("it asks again", async {
            while !connect(proxy.address(), echo.address()).await.head.contains(" 200 ") {
                pause().await;
            }
        })
        .await;
        let reloaded = proxy.event("config reloaded").await;
        assert_eq!(reloaded.field("changed"), "hops.office.enabled=off");
    });
}

#[test]
fn a_port_that_is_refused_or_silent_is_not_reachable() {
    Namespace::run(OFFICE, |namespace| async move {
        let (office, echo) = (office().await, EchoOrigin::start().await);
        namespace.add_link("office0");
        namespace.ip("addr add 10.9.0.1/24 dev office0");
        namespace.ip("link set office0 up");
        for (address, expected) in [
            (office.address().to_string(), Via::Office),
            ("127.0.0.1:9".into(), Via::Direct),
            // Nothing answers there, not even with a refusal.
            ("10.9.0.77:3128".into(), Via::Direct),
        ] {
            let enabled = format!("{{ when: {{ reachable: \"{address}\" }} }}");
            let patient = yaml(&office, &enabled).replace("connect: 1s", "connect: 10s");
            let proxy = Proxy::start(&patient).await;
            let begun = Instant::now();
            assert_eq!(way(&proxy, &echo).await, expected, "{address}");
            assert!(begun.elapsed() < Duration::from_secs(4), "{address}: {:?}", begun.elapsed());
        }
    });
}

#[test]
fn a_pool_whose_members_are_all_off_refuses_and_comes_back() {
    Namespace::run(OFFICE, |namespace| async move {
        let (office, echo) = (office().await, EchoOrigin::start().await);
        let yaml = format!(
            "hops:\n  member: {{ kind: http-connect, address: \"{}\", enabled: {{ when: {{ interface: tun0 }} }} }}\n  \
             pool: {{ kind: pool, members: [member] }}\nchains: {{ default: [pool] }}\n",
            office.address()
        );
        let proxy = Proxy::start(&yaml).await;
        let refused = connect(proxy.address(), echo.address()).await.head;
        assert!(refused.starts_with("HTTP/1.1 502 ") && refused.contains("pool"), "{refused}");
        namespace.add_link("tun0");
        namespace.ip("link set tun0 up");
        proxy.event("config reloaded").await;
        let member = connect(proxy.address(), echo.address()).await.head;
        assert!(member.contains("403 Office"), "{member}");
    });
}

#[test]
fn check_and_explain_ask_nothing_and_probe_asks() {
    Namespace::run(Says::NoSuchName, |namespace| async move {
        let (office, echo) = (office().await, EchoOrigin::start().await);
        let config = ConfigDir::new(&yaml(&office, RESOLVES));
        let path = config.path().to_str().unwrap().to_owned();
        let url = format!("https://{}/", echo.address());
        let asked = namespace.queries();
        let check = run(["check", "-c", &path]);
        let text = String::from_utf8(check.stdout).unwrap();
        assert!(text.contains("on while `proxy.test` resolves into 10.0.0.0/8"), "{text}");
        assert!(text.contains("undecided (not asked yet)"), "{text}");
        let explain = run(["explain", &url, "-c", &path, "--format", "json"]);
        let json: serde_json::Value = serde_json::from_slice(&explain.stdout).unwrap();
        assert_eq!(json["chain"]["steps"][0]["hop"], "office", "what `unknown` says");
        assert_eq!(json["chain"]["conditions"]["office"]["value"], "undecided");
        assert_eq!(namespace.queries(), asked);
        let target = echo.address().to_string();
        let probed = tokio::task::spawn_blocking(move || run(["probe", &target, "-c", &path]));
        let probed = probed.await.unwrap();
        let text = String::from_utf8(probed.stdout).unwrap();
        assert!(text.contains("chain default: direct"), "{text}");
        assert!(namespace.queries() > asked);
    });
}
