//! Hops that the network switches: conditions on names, addresses, interfaces and ports, in networks of the tests' own.

use std::{
    net::Ipv4Addr,
    time::{Duration, Instant},
};

use tokio::{io::AsyncReadExt as _, time};

use crate::support::{
    ConfigDir, Double, EchoOrigin, Namespace, Proxy, RESOLVER, Says, Step, connect, pause, ping,
    run, status, within,
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

fn reloads(proxy: &Proxy) -> usize {
    proxy.events().iter().filter(|event| event.message() == "config reloaded").count()
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
fn an_undecided_condition_is_waited_for_and_then_unknown_holds() {
    for says in [Says::Nothing, Says::Failure] {
        Namespace::run(says, |_namespace| async move {
            let (office, echo) = (office().await, EchoOrigin::start().await);
            for (unknown, expected) in [("on", Via::Office), ("off", Via::Direct)] {
                let enabled = format!("{{ when: {{ resolves: proxy.test }}, unknown: {unknown} }}");
                let proxy = Proxy::start(&yaml(&office, &enabled)).await;
                let begun = Instant::now();
                assert_eq!(way(&proxy, &echo).await, expected);
                let waited = begun.elapsed();
                assert!(waited >= Duration::from_millis(900), "{waited:?}");
                assert!(waited < Duration::from_secs(5), "{waited:?}");
                // A slow machine takes long for some of these, and a wait would be in each.
                let mut quickest = Duration::MAX;
                for _ in 0..5 {
                    let begun = Instant::now();
                    assert_eq!(way(&proxy, &echo).await, expected);
                    quickest = quickest.min(begun.elapsed());
                }
                let least = Duration::from_millis(900);
                assert!(quickest < least, "only the first one waits: {quickest:?}");
            }
        });
    }
}

#[test]
fn a_request_that_waits_goes_on_as_soon_as_the_name_server_answers() {
    Namespace::run(Says::Failure, |namespace| async move {
        let (office, echo) = (office().await, EchoOrigin::start().await);
        let patient = yaml(&office, RESOLVES).replace("connect: 1s", "connect: 20s");
        let proxy = Proxy::start(&patient).await;
        let waiting = way(&proxy, &echo);
        tokio::pin!(waiting);
        let early = time::timeout(Duration::from_millis(300), &mut waiting).await;
        assert!(early.is_err(), "it can't know the way yet");
        namespace.says(Says::NoSuchName);
        assert_eq!(waiting.await, Via::Direct);
    });
}

#[test]
fn what_was_decided_and_cannot_be_asked_after_an_event_sends_nothing_direct() {
    for (before, silence) in
        [(OFFICE, Says::Nothing), (Says::NoSuchName, Says::Nothing), (OFFICE, Says::Failure)]
    {
        Namespace::run(before, |namespace| async move {
            let (office, echo) = (office().await, EchoOrigin::start().await);
            let enabled = "{ when: { resolves: proxy.test }, unknown: off }";
            let proxy = Proxy::start(&yaml(&office, enabled)).await;
            way(&proxy, &echo).await;
            namespace.says(silence);
            namespace.add_link("event");
            namespace.ip("link set event up");
            // The proxy learns of the event from the kernel before this request reaches it, or at the same time.
            time::sleep(Duration::from_millis(100)).await;
            for _ in 0..3 {
                assert_eq!(way(&proxy, &echo).await, Via::Office);
            }
        });
    }
}

/// A reload for the network comes at any time, perhaps in the middle of a save.
#[test]
fn a_file_that_is_being_written_is_not_read_when_the_network_changes() {
    Namespace::run(OFFICE, |namespace| async move {
        let (office, echo) = (office().await, EchoOrigin::start().await);
        let address = office.address();
        let config = ConfigDir::new("");
        let yaml = format!(
            "hops:\n  office: {{ kind: http-connect, address: \"{address}\" }}\n  \
             vpn: {{ kind: http-connect, address: \"{address}\", enabled: {{ when: {{ interface: \"tun*\" }} }} }}\n  \
             pac: {{ kind: pac, file: proxy.pac, hops: {{ \"{address}\": office }}, unknown: refuse }}\n\
             chains: {{ default: [pac], other: [vpn] }}\n\
             routes: [{{ hosts: [other.test], chain: other }}, {{ chain: default }}]\n"
        );
        let pac = |answer: &str| {
            format!("function FindProxyForURL(url, host) {{ return \"{answer}\"; }}\n")
        };
        let through = pac(&format!("PROXY {address}"));
        config.write("proxy.pac", &through);
        config.write("20-hops.yaml", &yaml);
        let proxy = Proxy::on(config, &[]).await;
        assert_eq!(way(&proxy, &echo).await, Via::Office);
        // The first half is a valid script that sends everything direct.
        let mut file = std::fs::File::create(proxy.config().path().join("proxy.pac")).unwrap();
        std::io::Write::write_all(&mut file, pac("DIRECT").as_bytes()).unwrap();
        namespace.add_link("tun7");
        namespace.ip("link set tun7 up");
        let reloaded = proxy.event("config reloaded").await;
        assert_eq!(reloaded.field("changed"), "hops.vpn.enabled=on");
        assert_eq!(way(&proxy, &echo).await, Via::Office);
        std::io::Write::write_all(&mut file, through.as_bytes()).unwrap();
        drop(file);
        let seen = proxy.events().len();
        namespace.ip("link set tun7 down");
        proxy.event_after(seen, "config reloaded").await;
        assert_eq!(way(&proxy, &echo).await, Via::Office);
    });
}

/// A network that flaps must not fill the log with what nobody has changed.
#[test]
fn a_reload_for_the_network_repeats_no_warning_and_an_edit_does() {
    Namespace::run(OFFICE, |namespace| async move {
        let hop = "kind: http-connect, address: \"a.test:1\"";
        let yaml = format!(
            "hops:\n  vpn: {{ {hop}, enabled: {{ when: {{ interface: \"tun*\" }} }} }}\n  unused: {{ {hop} }}\n\
             chains: {{ default: [vpn], none: [] }}\n"
        );
        let proxy = Proxy::start(&yaml).await;
        let told = |words: &str| {
            proxy.events().iter().filter(|event| event.text().contains(words)).count()
        };
        let counts = || [told("hops.unused"), told("this chain has no hop")];
        assert_eq!(counts(), [1, 1], "{:?}", proxy.events());
        namespace.add_link("tun7");
        for state in ["up", "down", "up"] {
            let seen = proxy.events().len();
            namespace.ip(&format!("link set tun7 {state}"));
            let reloaded = proxy.event_after(seen, "config reloaded").await;
            assert_ne!(reloaded.field("known_warnings"), "0", "{}", reloaded.text());
            assert_eq!(counts(), [1, 1], "{:?}", proxy.events());
        }
        let seen = proxy.events().len();
        proxy.config().write("20-more.yaml", "timeouts: { idle: 1h }\n");
        proxy.event_after(seen, "config reloaded").await;
        assert_eq!(counts(), [2, 2], "{:?}", proxy.events());
    });
}

#[test]
fn hops_that_depend_on_one_fact_change_in_one_generation_and_other_events_in_none() {
    Namespace::run(OFFICE, |namespace| async move {
        let office = office().await;
        let hop = |name: &str, enabled: &str| {
            let address = office.address();
            format!(
                "  {name}: {{ kind: http-connect, address: \"{address}\", enabled: {enabled} }}\n"
            )
        };
        let yaml = format!(
            "hops:\n{}{}{}chains: {{ default: [office, second, third] }}\n",
            hop("office", "{ when: { address_in: [10.20.0.0/16, 'fd00::/8'] } }"),
            hop("second", "{ when: { not: { address_in: 10.20.0.0/16 } } }"),
            hop(
                "third",
                "{ when: { all: [{ address_in: 10.20.0.0/16 }, { not: { interface: eth9 } }] } }"
            ),
        );
        let proxy = Proxy::start(&yaml).await;
        namespace.add_link("other");
        namespace.ip("addr add 192.0.2.7/24 dev other");
        namespace.ip("link set other up");
        time::sleep(Duration::from_millis(600)).await;
        assert_eq!(reloads(&proxy), 0, "nothing depends on that");
        namespace.ip("addr add 10.20.3.4/16 dev other");
        let reloaded = proxy.event("config reloaded").await;
        let changed = reloaded.field("changed");
        assert_eq!(
            changed,
            "hops.office.enabled=on, hops.second.enabled=off, hops.third.enabled=on"
        );
        time::sleep(Duration::from_millis(600)).await;
        assert_eq!(reloads(&proxy), 1);
        let status = status(proxy.address()).await;
        assert_eq!(status["conditions"]["office"]["value"], "true");
        assert_eq!(status["conditions"]["second"]["enabled"], false);
    });
}

#[test]
fn without_traffic_nothing_is_asked() {
    Namespace::run(OFFICE, |namespace| async move {
        let (office, echo) = (office().await, EchoOrigin::start().await);
        let proxy = Proxy::start(&yaml(&office, RESOLVES)).await;
        assert_eq!(way(&proxy, &echo).await, Via::Office);
        // A refused request is not a failed dial, so nothing is asked again for half a minute.
        let asked = namespace.queries();
        time::sleep(Duration::from_secs(3)).await;
        assert_eq!(namespace.queries(), asked);
        for _ in 0..20 {
            way(&proxy, &echo).await;
        }
        assert!(namespace.queries() <= asked + 2, "and not for each request");
    });
}

/// The thread of the runtime serves connections, asks questions and fetches PAC files. Files are watched by other threads.
#[test]
fn without_traffic_the_runtime_does_not_wake() {
    Namespace::run(OFFICE, |namespace| async move {
        let (office, echo) = (office().await, EchoOrigin::start().await);
        let script = "function FindProxyForURL(url, host) { return 'PROXY proxy.test'; }";
        let length = script.len();
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{script}");
        let pac_server = Double::start([Step::Answer(head), Step::End]).await;
        let (reached, address) = (Double::start([Step::Listen]).await, office.address());
        let proxy = Proxy::start(&format!(
            "hops:\n  office: {{ kind: http-connect, address: \"{address}\", enabled: {RESOLVES} }}\n  \
             other: {{ kind: http-connect, address: \"{address}\", enabled: {{ when: {{ reachable: \"{}\" }} }} }}\n  \
             pac: {{ kind: pac, url: \"http://{}/\", hops: {{ proxy.test: office, \"*\": other }} }}\n\
             chains: {{ default: [pac] }}\n",
            reached.address(),
            pac_server.address()
        ))
        .await;
        let answer = connect(proxy.address(), echo.address()).await;
        assert!(answer.head.contains("403 Office"), "{}", answer.head);
        let pid = status(proxy.address()).await["pid"].as_u64().unwrap();
        drop(answer);
        let asked =
            || (namespace.queries(), reached.record().now().len(), pac_server.record().now().len());
        // The connections above end, and what they have begun.
        time::sleep(Duration::from_secs(1)).await;
        let before = (wakes(pid), asked());
        time::sleep(Duration::from_secs(5)).await;
        assert_eq!((wakes(pid), asked()), before);
        assert!(asked().1 > 0 && asked().2 == 1, "each of them was asked at all: {:?}", asked());
    });
}

/// How often the first thread of a process, which runs its runtime, has gone to sleep so far.
fn wakes(pid: u64) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/status")).unwrap();
    let count = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    count.unwrap().trim().parse().unwrap()
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
fn the_command_line_wins_over_a_condition_and_says_which_edit_it_overrides() {
    Namespace::run(Says::NoSuchName, |_namespace| async move {
        let (office, echo) = (office().await, EchoOrigin::start().await);
        let config = ConfigDir::new(&yaml(&office, RESOLVES));
        let proxy = Proxy::on(config, &["--enable", "office"]).await;
        assert_eq!(way(&proxy, &echo).await, Via::Office);
        proxy.config().write("10-test.yaml", &yaml(&office, "{ when: { interface: lo } }"));
        let said = proxy.event("an edit has no effect: the command line has this setting").await;
        assert_eq!(said.field("setting"), "hops.office.enabled");
        assert_eq!(reloads(&proxy), 0);
    });
}

#[test]
fn flapping_costs_little_and_ends_in_the_right_state() {
    Namespace::run(OFFICE, |namespace| async move {
        let (office, echo) = (office().await, EchoOrigin::start().await);
        let proxy = Proxy::start(&yaml(&office, "{ when: { interface: \"wlan?\" } }")).await;
        namespace.add_link("wlan0");
        let (before, begun) = (processor_time(&proxy).await, Instant::now());
        for number in 0..60 {
            namespace.ip(if number % 2 == 0 { "link set wlan0 up" } else { "link set wlan0 down" });
            time::sleep(Duration::from_millis(50)).await;
        }
        namespace.ip("link set wlan0 up");
        comes(&proxy, &echo, Via::Office).await;
        let (used, lasted) = (processor_time(&proxy).await - before, begun.elapsed());
        // Both grow on a slow machine. A proxy that never rests uses a processor all the time.
        assert!(used < lasted / 2, "{used:?} of {lasted:?}");
        assert!(reloads(&proxy) <= 8, "{} reloads", reloads(&proxy));
        time::sleep(Duration::from_millis(1200)).await;
        assert_eq!(way(&proxy, &echo).await, Via::Office);
    });
}

/// The time that the processor has worked for the proxy.
async fn processor_time(proxy: &Proxy) -> Duration {
    let pid = status(proxy.address()).await["pid"].as_u64().unwrap();
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    Duration::from_millis(ticks * 10)
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
