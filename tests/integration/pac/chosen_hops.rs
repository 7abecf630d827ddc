//! Hops that a PAC file or a pool chooses: they are listed, counted, killed and cut like those that a chain lists.

use serde_json::{Value, json};
use tokio::{io::AsyncReadExt as _, net::TcpStream};

use super::returning;
use crate::{
    control::ps_until,
    support::{
        ConfigDir, Double, EchoOrigin, HttpOrigin, Proxy, Step, connect, exchange, outcome, pause,
        ping, status, within,
    },
};

/// A proxy for the hop `corporate`, and a Mooltiroute that reaches it in several ways: by a PAC file in the chain
/// `by-file`, by a pool in `by-pool`, and by a PAC file that chooses this pool in `by-both`.
struct Ways {
    exit: Proxy,
    echo: EchoOrigin,
    proxy: Proxy,
}

/// Every chain, with the choice of its hop.
const CHAINS: [(&str, &[&str]); 3] = [
    ("by-file", &["corporate"]),
    ("by-pool", &["corporate"]),
    ("by-both", &["exits", "corporate"]),
];

impl Ways {
    async fn start() -> Self {
        let (exit, echo) =
            (Proxy::start("chains: { default: [] }\n").await, EchoOrigin::start().await);
        let config = ConfigDir::new(&yaml(&exit, "true"));
        // Names of `localhost.` are direct, and everything else takes the first proxy.
        let choice = |proxy: &str| {
            returning(&format!("host === 'localhost' ? 'DIRECT' : 'PROXY {proxy}:1'"))
        };
        config.write("file.pac", &choice("corporate"));
        config.write("both.pac", &choice("exits"));
        let proxy = Proxy::on(config, &[]).await;
        Self { exit, echo, proxy }
    }

    /// Takes `chain` for all targets, and switches `corporate` on or off.
    async fn use_chain(&self, chain: &str, corporate: &str) {
        let seen = self.proxy.events().len();
        let routes = format!("routes: [{{ chain: {chain} }}]\n");
        self.proxy.config().write("10-test.yaml", &(yaml(&self.exit, corporate) + &routes));
        self.proxy.event_after(seen, "config reloaded").await;
    }

    /// Opens a tunnel through `corporate`.
    async fn tunnel(&self) -> TcpStream {
        let mut tunnel = connect(self.proxy.address(), self.echo.address()).await.tunnel();
        ping(&mut tunnel).await;
        tunnel
    }

    /// Opens a tunnel for which the PAC file leaves itself out.
    async fn direct_tunnel(&self) -> TcpStream {
        let target = format!("localhost:{}", self.echo.address().port());
        let mut tunnel = connect(self.proxy.address(), target).await.tunnel();
        ping(&mut tunnel).await;
        tunnel
    }

    /// Returns a count of the hop `corporate`.
    async fn count(&self, name: &str) -> u64 {
        status(self.proxy.address()).await["hops"]["corporate"][name].as_u64().unwrap_or_default()
    }

    async fn comes(&self, name: &str, expected: u64) {
        within(&format!("{name} is {expected}"), async {
            while self.count(name).await != expected {
                pause().await;
            }
        })
        .await;
    }
}

fn yaml(exit: &Proxy, corporate: &str) -> String {
    format!(
        "hops:\n  corporate: {{ kind: http-connect, address: \"{}\", enabled: {corporate}, on_leave: cut }}\n  \
         exits: {{ kind: pool, members: [corporate, {{ kind: http-connect, address: \"127.0.0.1:9\" }}] }}\n  \
         file: {{ kind: pac, file: file.pac, hops: {{ corporate: corporate }} }}\n  \
         both: {{ kind: pac, file: both.pac, hops: {{ exits: exits }} }}\n\
         chains: {{ default: [], by-file: [file], by-pool: [exits], by-both: [both] }}\n",
        exit.address()
    )
}

async fn assert_ends(tunnel: &mut TcpStream) {
    let ended = within("the tunnel is cut", tunnel.read(&mut [0; 1])).await;
    assert!(matches!(ended, Ok(0) | Err(_)), "{ended:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hop_that_another_hop_chose_is_listed_and_counted() {
    let ways = Ways::start().await;
    let (mut opened, mut carried) = (0, 0);
    for (chain, expected) in CHAINS {
        ways.use_chain(chain, "true").await;
        let tunnel = ways.tunnel().await;
        let rows = ps_until(&ways.proxy, |rows| rows.len() == 1).await;
        assert_eq!(rows[0]["hops"][0]["through"], json!(expected), "{rows:?}");
        opened += 1;
        assert_eq!(
            (ways.count("tunnels_opened").await, ways.count("tunnels_open").await),
            (opened, 1)
        );
        drop(tunnel);
        ways.comes("tunnels_open", 0).await;
        let (sent, received) = (ways.count("bytes_sent").await, ways.count("bytes_received").await);
        assert!(sent > carried && sent == received, "{chain}: {sent} {received}");
        carried = sent;
    }
    // The connection to the target is not all that a provider bills: the words to the hop are on the wire too.
    let wire = status(ways.proxy.address()).await["wire"]["corporate"].clone();
    assert!(wire["sent"].as_u64() > Some(carried), "{wire}");
    assert_eq!(wire["requests"], opened, "{wire}");
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_requests_and_failures_count_for_the_hop_that_was_chosen() {
    let (ways, origin) = (Ways::start().await, HttpOrigin::plain().await);
    for (number, (chain, _)) in CHAINS.into_iter().enumerate() {
        ways.use_chain(chain, "true").await;
        let url = format!("http://{}/bytes/7", origin.address());
        let request = format!(
            "GET {url} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
            origin.address()
        );
        let answer = exchange(ways.proxy.address(), request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        ways.comes("requests", number as u64 + 1).await;
        // The target can't be reached, which the hop says.
        let answer = connect(ways.proxy.address(), "127.0.0.1:9").await;
        assert!(answer.head.starts_with("HTTP/1.1 502 "), "{}", answer.head);
        assert_eq!(ways.count("failed").await, number as u64 + 1, "{chain}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_finds_the_connections_of_a_hop_that_another_hop_chose() {
    let ways = Ways::start().await;
    for (chain, _) in CHAINS {
        ways.use_chain(chain, "true").await;
        let mut tunnel = ways.tunnel().await;
        let mut other = if chain == "by-pool" { None } else { Some(ways.direct_tunnel().await) };
        let (code, out, error) = outcome(&ways.proxy.command(&["kill", "--hop", "corporate"]));
        assert_eq!((code, out.as_str()), (Some(0), "1 connection killed\n"), "{chain}: {error}");
        assert_ends(&mut tunnel).await;
        if let Some(other) = &mut other {
            ping(other).await;
        }
        drop(other);
        ps_until(&ways.proxy, <[Value]>::is_empty).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tunnels_of_a_hop_that_leaves_are_cut_whatever_chose_it_and_no_others() {
    let ways = Ways::start().await;
    for (chain, _) in CHAINS {
        ways.use_chain(chain, "true").await;
        let mut tunnel = ways.tunnel().await;
        let mut other = if chain == "by-pool" { None } else { Some(ways.direct_tunnel().await) };
        ways.use_chain(chain, "false").await;
        assert_ends(&mut tunnel).await;
        if let Some(other) = &mut other {
            ping(other).await;
        }
        let cut = ways.proxy.event("cut the tunnels of hops that were switched off").await;
        assert_eq!(cut.field("tunnels"), "1", "{chain}");
    }
}

/// A tunnel that waits for its hop, which leaves meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn a_tunnel_that_is_being_opened_through_a_hop_that_leaves_is_cut_too() {
    let silent = Double::start([Step::Listen]).await;
    let script = returning("'PROXY corporate:1'");
    let yaml = |enabled: bool| {
        format!(
            "hops:\n  corporate: {{ kind: http-connect, address: \"{}\", enabled: {enabled}, on_leave: cut }}\n  \
             file: {{ kind: pac, file: file.pac, hops: {{ corporate: corporate }} }}\nchains: {{ default: [file] }}\n",
            silent.address()
        )
    };
    let config = ConfigDir::new(&yaml(true));
    config.write("file.pac", &script);
    let proxy = Proxy::on(config, &[]).await;
    let address = proxy.address();
    let waiting = tokio::spawn(async move {
        let mut client = crate::support::open(address).await;
        let request = b"CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n\r\n";
        tokio::io::AsyncWriteExt::write_all(&mut client, request).await.unwrap();
        client.read(&mut [0; 1]).await
    });
    let rows =
        ps_until(&proxy, |rows| !rows.is_empty() && rows[0]["hops"][0]["through"].is_array()).await;
    assert_eq!(rows[0]["hops"][0]["through"], json!(["corporate"]), "{rows:?}");
    proxy.config().write("10-test.yaml", &yaml(false));
    let ended = within("it is cut", waiting).await.unwrap();
    assert!(matches!(ended, Ok(0) | Err(_)), "{ended:?}");
}
