//! Reloads for the network, beside edits and the command line.

use std::time::{Duration, Instant};

use tokio::time;

use super::{OFFICE, RESOLVES, Via, comes, office, way, yaml};
use crate::support::{ConfigDir, EchoOrigin, Namespace, Proxy, Says, status};

fn reloads(proxy: &Proxy) -> usize {
    proxy.events().iter().filter(|event| event.message() == "config reloaded").count()
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
