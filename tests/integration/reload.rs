//! Edits of the configuration while it is in use.

mod addresses;
mod rejections;

use std::{fs, net::SocketAddr};

use tokio::{io::AsyncWriteExt as _, net::TcpStream};

use crate::support::{
    ConfigDir, Double, Event, Proxy, Step, Way, assert_reads, connect, head, open,
};

#[tokio::test]
async fn every_way_of_saving_is_seen() {
    let toggle = Toggle::new().await;
    let proxy = toggle.proxy(&[]).await;
    toggle.assert_used(&proxy, true).await;
    for (number, way) in Way::ALL.iter().cycle().take(3 * Way::ALL.len()).enumerate() {
        let (seen, is_enabled) = (proxy.events().len(), number % 2 == 1);
        proxy.config().save("20-hops.yaml", &toggle.yaml(is_enabled), *way);
        proxy.event_after(seen, "config reloaded").await;
        toggle.assert_used(&proxy, is_enabled).await;
    }
    let seen = proxy.events().len();
    proxy.config().write("30-more.yaml", "hops: { corporate: { enabled: true } }\n");
    let added = proxy.event_after(seen, "config reloaded").await;
    toggle.assert_used(&proxy, true).await;
    let seen = proxy.events().len();
    fs::remove_file(proxy.config().path().join("30-more.yaml")).unwrap();
    let removed = proxy.event_after(seen, "config reloaded").await;
    toggle.assert_used(&proxy, false).await;
    assert_eq!(generation(&removed), generation(&added) + 1);
}

#[cfg(unix)]
#[tokio::test]
async fn a_link_swapped_below_the_directory_is_seen() {
    use std::os::unix::fs::symlink;

    // As an orchestrator mounts it: files are links into `..data`, which is swapped for another directory.
    let toggle = Toggle::new().await;
    let config = ConfigDir::new("");
    let path = config.path().to_owned();
    fs::remove_file(path.join("10-test.yaml")).unwrap();
    for (version, is_enabled) in [("..1", true), ("..2", false)] {
        fs::create_dir(path.join(version)).unwrap();
        fs::write(path.join(version).join("20-hops.yaml"), toggle.yaml(is_enabled)).unwrap();
    }
    symlink("..1", path.join("..data")).unwrap();
    symlink("..data/20-hops.yaml", path.join("20-hops.yaml")).unwrap();
    let proxy = Proxy::on(config, &[]).await;
    toggle.assert_used(&proxy, true).await;
    symlink("..2", path.join("..data_tmp")).unwrap();
    fs::rename(path.join("..data_tmp"), path.join("..data")).unwrap();
    proxy.event("config reloaded").await;
    toggle.assert_used(&proxy, false).await;
}

#[cfg(unix)]
#[tokio::test]
async fn a_hangup_reloads_changes_that_no_watch_sees() {
    let toggle = Toggle::new().await;
    let elsewhere = tempfile::tempdir().unwrap();
    let file = elsewhere.path().join("hops.yaml");
    fs::write(&file, toggle.yaml(true)).unwrap();
    let config = ConfigDir::new("");
    std::os::unix::fs::symlink(&file, config.path().join("20-hops.yaml")).unwrap();
    let mut proxy = Proxy::on(config, &[]).await;
    toggle.assert_used(&proxy, true).await;
    fs::write(&file, toggle.yaml(false)).unwrap();
    proxy.signal(rustix::process::Signal::HUP);
    proxy.event("config reloaded").await;
    toggle.assert_used(&proxy, false).await;
}

#[tokio::test]
async fn targets_that_lose_their_hops_are_named() {
    let yaml = "hops: { corp: { kind: http-connect, address: \"127.0.0.1:9\" } }\n\
                chains: { default: [], secure: [corp] }\n";
    let routes = "routes:\n  - { hosts: [\"*.corp.test\", 10.0.0.0/8], chain: secure }\n  \
                  - { hosts: [a.test], ports: [8443], chain: secure }\n  - { chain: default }\n";
    let proxy = Proxy::start(yaml).await;
    proxy.config().write("40-routes.yaml", routes);
    proxy.event("config reloaded").await;
    let warnings = || {
        let is_one = |event: &&Event| event.message() == WENT_DIRECT;
        proxy.events().iter().filter(is_one).map(|event| event.field("targets")).collect::<Vec<_>>()
    };
    assert_eq!(warnings(), [""; 0], "nothing has lost a hop");
    let seen = proxy.events().len();
    fs::remove_file(proxy.config().path().join("40-routes.yaml")).unwrap();
    proxy.event_after(seen, "config reloaded").await;
    let expected =
        "*.corp.test (chain secure), 10.0.0.0/8 (chain secure), a.test port 8443 (chain secure)";
    assert_eq!(warnings(), [expected]);
    // And when the chain itself becomes direct.
    let seen = proxy.events().len();
    proxy.config().write("40-routes.yaml", "routes: [{ chain: secure }]\n");
    proxy.event_after(seen, "config reloaded").await;
    let seen = proxy.events().len();
    proxy.config().write("50-off.yaml", "hops: { corp: { enabled: false } }\n");
    proxy.event_after(seen, "config reloaded").await;
    assert_eq!(warnings().last().unwrap(), "any other host (chain secure)");
}

#[tokio::test]
async fn a_reload_says_new_values_and_edits_that_a_flag_overrides() {
    let yaml = |is_enabled: bool, password: &str| {
        format!(
            "hops: {{ corporate: {{ kind: http-connect, address: \"127.0.0.1:9\", enabled: {is_enabled}, username: u, password: {password} }}, \
             other: {{ kind: http-connect, address: \"127.0.0.1:9\" }} }}\nchains: {{ default: [corporate, other] }}\n"
        )
    };
    let proxy = Proxy::start(&yaml(true, "one")).await;
    let edit = async |proxy: &Proxy, file: &str, yaml: &str, expected: &str| {
        let seen = proxy.events().len();
        proxy.config().write(file, yaml);
        let reloaded = proxy.event_after(seen, "config reloaded").await;
        assert_eq!(reloaded.field("changed"), expected);
    };
    edit(&proxy, "10-test.yaml", &yaml(false, "one"), "hops.corporate.enabled=off").await;
    edit(&proxy, "10-test.yaml", &yaml(true, "one"), "hops.corporate.enabled=on").await;
    edit(&proxy, "10-test.yaml", &yaml(true, "two"), "hops.corporate.password").await;
    let more = "timeouts: { idle: 90s }\nlog: { level: debug }\n";
    edit(&proxy, "20-more.yaml", more, "log.level=debug, timeouts.idle=1m 30s").await;

    let config = ConfigDir::new(&yaml(true, "one"));
    let proxy = Proxy::on(config, &["--no-corporate"]).await;
    let seen = proxy.events().len();
    proxy.config().write("10-test.yaml", &yaml(false, "one"));
    let message = "an edit has no effect: the command line has this setting";
    let told = proxy.event_after(seen, message).await;
    assert_eq!(told.field("setting"), "hops.corporate.enabled");
    assert_eq!(
        (told.field("option"), told.field("level")),
        ("--no-corporate".into(), "INFO".into())
    );
    // Only once, and other edits are not blamed.
    edit(&proxy, "10-test.yaml", &yaml(false, "two"), "hops.corporate.password").await;
    let count = proxy.events().iter().filter(|event| event.message() == message).count();
    assert_eq!(count, 1);
}

#[tokio::test]
async fn an_edit_that_a_later_file_overrides_is_named() {
    const MESSAGE: &str = "an edit has no effect: a later file has this setting";
    let first = |address: &str, is_on: bool, header: &str| {
        format!(
            "hops:\n  api.corp.test:\n    kind: http-connect\n    address: {address}\n    enabled: {is_on}\n\
             chains: {{ default: [api.corp.test] }}\ntimeouts: {{ header: {header} }}\n"
        )
    };
    let config = ConfigDir::new(&first("a.test:1", true, "9s"));
    config.write("20-later.yaml", "hops:\n  api.corp.test:\n    address: b.test:2\n");
    let proxy = Proxy::on(config, &[]).await;
    let told =
        |proxy: &Proxy| proxy.events().iter().filter(|event| event.message() == MESSAGE).count();
    assert_eq!(told(&proxy), 0);

    // The value has no effect, and nothing else changes.
    let seen = proxy.events().len();
    proxy.config().write("10-test.yaml", &first("c.test:3", true, "9s"));
    let event = proxy.event_after(seen, MESSAGE).await;
    assert_eq!(event.field("setting"), "hops.api.corp.test.address");
    assert!(event.field("file").ends_with("10-test.yaml"), "{}", event.text());
    assert!(event.field("overridden_by").ends_with("20-later.yaml:3:5"), "{}", event.text());
    assert_eq!(event.field("level"), "INFO");

    // Other edits of that file are not blamed, and names with dots are whole.
    let seen = proxy.events().len();
    proxy.config().write("10-test.yaml", &first("c.test:3", false, "9s"));
    let reloaded = proxy.event_after(seen, "config reloaded").await;
    assert_eq!(reloaded.field("changed"), "hops.api.corp.test.enabled=off");
    assert_eq!(told(&proxy), 1);

    // An edit with and without effect.
    let seen = proxy.events().len();
    proxy.config().write("10-test.yaml", &first("d.test:4", true, "8s"));
    proxy.event_after(seen, MESSAGE).await;
    let reloaded = proxy.event_after(seen, "config reloaded").await;
    assert_eq!(reloaded.field("changed"), "hops.api.corp.test.enabled=on, timeouts.header=8s");
    assert_eq!(told(&proxy), 2);

    // A later file that takes a setting over has an effect.
    let seen = proxy.events().len();
    proxy.config().write("30-last.yaml", "timeouts: { header: 7s }\n");
    let reloaded = proxy.event_after(seen, "config reloaded").await;
    assert_eq!(reloaded.field("changed"), "timeouts.header=7s");
    assert_eq!(told(&proxy), 2);

    // A line that is taken out.
    let seen = proxy.events().len();
    let without = first("d.test:4", true, "8s").replace("    address: d.test:4\n", "");
    proxy.config().write("10-test.yaml", &without);
    let event = proxy.event_after(seen, MESSAGE).await;
    assert_eq!(event.field("setting"), "hops.api.corp.test.address");
    assert_eq!(told(&proxy), 3);
}

/// NTLM to an origin needs this, because the origin has authenticated the connection.
#[tokio::test]
async fn a_reload_that_leaves_a_chain_alone_keeps_its_upstream_connections() {
    let origin = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = origin.local_addr().unwrap();
    tokio::spawn(async move {
        for number in 0.. {
            let (mut stream, _) = origin.accept().await.unwrap();
            tokio::spawn(async move {
                while head(&mut stream).await.starts_with("GET ") {
                    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{number}");
                    stream.write_all(answer.as_bytes()).await.unwrap();
                }
            });
        }
    });
    let proxy = Proxy::start("chains: { default: [], other: [] }\n").await;
    let mut client = TcpStream::connect(proxy.address()).await.unwrap();
    let mut ask = async || {
        let request = format!("GET http://{address}/ HTTP/1.1\r\nHost: {address}\r\n\r\n");
        client.write_all(request.as_bytes()).await.unwrap();
        head(&mut client).await;
        let mut body = [0];
        tokio::io::AsyncReadExt::read_exact(&mut client, &mut body).await.unwrap();
        body[0]
    };
    assert_eq!(ask().await, b'0');
    let edits = [
        ("log: { access: false }\n", b'0'),
        ("timeouts: { header: 7s }\n", b'0'),
        ("routes: [{ hosts: [x.test], chain: other }, { chain: default }]\n", b'0'),
        ("timeouts: { connect: 7s }\n", b'1'),
        ("routes: [{ chain: other }]\n", b'2'),
    ];
    for (edit, connection) in edits {
        let seen = proxy.events().len();
        proxy.config().write("20-edit.yaml", edit);
        proxy.event_after(seen, "config reloaded").await;
        assert_eq!(ask().await, connection, "{edit}");
    }
}

const WENT_DIRECT: &str = "targets that went through hops go direct now";

#[tokio::test]
async fn an_edit_without_meaning_makes_no_generation() {
    let toggle = Toggle::new().await;
    let proxy = toggle.proxy(&["--log-level", "debug"]).await;
    proxy.config().write("20-hops.yaml", &toggle.yaml(false));
    let first = proxy.event("config reloaded").await;
    let seen = proxy.events().len();
    proxy.config().write("20-hops.yaml", &format!("# A remark.\n{}", toggle.yaml(false)));
    proxy.event_after(seen, "an edit that changes no meaning").await;
    proxy.config().write("20-hops.yaml", &toggle.yaml(true));
    let second = proxy.event_after(seen, "config reloaded").await;
    assert_eq!(generation(&second), generation(&first) + 1);
}

#[tokio::test]
async fn a_kept_connection_takes_the_new_way() {
    let answer = |words: &str| {
        Step::Answer(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{words}", words.len()))
    };
    let corporate = Double::start([answer("by corporate"), answer("by corporate")]).await;
    let target = Double::start([answer("direct"), answer("direct")]).await;
    let toggle = Toggle { corporate, target };
    let proxy = toggle.proxy(&[]).await;
    let mut client = open(proxy.address()).await;
    for (number, words) in ["by corporate", "direct", "by corporate"].into_iter().enumerate() {
        if number > 0 {
            let seen = proxy.events().len();
            proxy.config().write("20-hops.yaml", &toggle.yaml(number == 2));
            proxy.event_after(seen, "config reloaded").await;
        }
        let request =
            format!("GET http://{}/ HTTP/1.1\r\nHost: x\r\n\r\n", toggle.target.address());
        client.write_all(request.as_bytes()).await.unwrap();
        assert!(head(&mut client).await.starts_with("HTTP/1.1 200 "));
        assert_reads(&mut client, words).await;
    }
}

#[tokio::test]
async fn flags_win_and_go_on_winning() {
    for (arguments, in_file, in_force) in [
        (["--no-corporate"].as_slice(), true, false),
        (&["--disable", "corporate"], true, false),
        (&["--enable", "corporate"], false, true),
    ] {
        let toggle = Toggle::new().await;
        let config = ConfigDir::new("");
        config.write("20-hops.yaml", &toggle.yaml(in_file));
        let proxy = Proxy::on(config, arguments).await;
        toggle.assert_used(&proxy, in_force).await;
        proxy.config().write("30-more.yaml", "timeouts: { idle: 1h }\n");
        proxy.event("config reloaded").await;
        toggle.assert_used(&proxy, in_force).await;
    }
}

fn generation(event: &Event) -> u64 {
    event.field("generation").parse().unwrap()
}

/// A corporate proxy, on or off, before a target that both know to be reached.
#[derive(Debug)]
pub(crate) struct Toggle {
    corporate: Double,
    target: Double,
}

impl Toggle {
    pub(crate) async fn new() -> Self {
        let agree = "HTTP/1.1 200 OK\r\n\r\nby corporate";
        Self {
            corporate: Double::start([Step::Answer(agree.into())]).await,
            target: Double::start([Step::Say("direct".into())]).await,
        }
    }

    pub(crate) fn yaml(&self, is_enabled: bool) -> String {
        let address = self.corporate.address();
        format!(
            "hops:\n  corporate: {{ kind: http-connect, enabled: {is_enabled}, address: \"{address}\" }}\n\
             chains: {{ default: [corporate] }}\n"
        )
    }

    async fn proxy(&self, arguments: &[&str]) -> Proxy {
        let config = ConfigDir::new("");
        config.write("20-hops.yaml", &self.yaml(true));
        Proxy::on(config, arguments).await
    }

    pub(crate) fn target(&self) -> SocketAddr {
        self.target.address()
    }

    /// Returns the first bytes that a tunnel brings.
    pub(crate) fn greeting(is_used: bool) -> &'static str {
        if is_used { "by corporate" } else { "direct" }
    }

    async fn assert_used(&self, proxy: &Proxy, is_used: bool) {
        let mut tunnel = connect(proxy.address(), self.target()).await.tunnel();
        assert_reads(&mut tunnel, Self::greeting(is_used)).await;
    }
}
