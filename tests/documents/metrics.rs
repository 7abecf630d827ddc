//! The table of metrics, from what a running proxy exposes.

use std::{collections::BTreeMap, fmt::Write as _, net::SocketAddr};

use mooltiroute::{
    config::{Environment, Loader, Overrides, Source},
    hops::kinds,
    proxy::Loaded,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    runtime::Builder,
};

/// Returns a row for each metric: its name as Prometheus stores it, its type, its labels and its help.
pub(crate) fn table() -> String {
    let exposition =
        Builder::new_current_thread().enable_all().build().unwrap().block_on(exposed());
    let mut labels: BTreeMap<&str, String> = BTreeMap::new();
    for sample in exposition.lines().filter(|line| !line.starts_with('#')) {
        let Some((name, rest)) = sample.split_once('{') else { continue };
        let Some((pairs, _)) = rest.split_once('}') else { continue };
        let names = pairs.split("\",").filter_map(|pair| pair.split('=').next());
        let names: Vec<String> =
            names.filter(|name| *name != "le").map(|name| format!("`{name}`")).collect();
        labels.entry(name).or_insert_with(|| names.join(", "));
    }
    let mut table = "| metric | type | labels | meaning |\n| --- | --- | --- | --- |\n".to_owned();
    let mut help = "";
    for line in exposition.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            help = rest.split_once(' ').map_or("", |(_, help)| help);
        } else if let Some((name, kind)) =
            line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' '))
        {
            let sampled = if kind == "histogram" { format!("{name}_sum") } else { name.to_owned() };
            let labels = labels.get(sampled.as_str()).map_or("", String::as_str);
            let _ = writeln!(table, "| `{name}` | {kind} | {labels} | {help} |");
        }
    }
    table
}

/// Returns the metrics of a proxy with a hop, a pool, a budget, spare tunnels and a failure, so that each has a sample.
async fn exposed() -> String {
    let environment = Environment::new(|_| None, ".");
    let source = Source::Text(CONFIG.into());
    let loader = Loader::new(source, Overrides::default(), kinds::builtin(), environment);
    let proxy = Loaded::new(loader).unwrap().start().unwrap();
    let (address, shutdown) = (proxy.addresses()[0], proxy.shutdown().clone());
    let asked = async {
        ask(address, "CONNECT target.example:1 HTTP/1.1\r\nHost: target.example:1\r\n\r\n").await;
        let metrics =
            ask(address, &format!("GET /metrics HTTP/1.1\r\nHost: {address}\r\n\r\n")).await;
        shutdown.drain();
        metrics
    };
    let ((), answer) = tokio::join!(proxy.run(), asked);
    answer
}

async fn ask(address: SocketAddr, request: &str) -> String {
    let mut client = TcpStream::connect(address).await.unwrap();
    client.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    answer
}

/// Nothing listens on port 1.
const CONFIG: &str = "
server: { listen: 127.0.0.1:0 }
hops:
  near: { kind: http-connect, address: 127.0.0.1:1 }
  far: { kind: http-connect, address: 127.0.0.1:1 }
  either: { kind: pool, members: [near, far], budget: { bytes: 1GiB, per: day } }
chains: { default: { hops: [near, far], warm: 1 } }
";
