//! Measures the cost of a PAC file: a call of the script, and a choice whose answer is cached. `cargo bench --bench pac`

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot be set up must stop")]

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use divan::{Bencher, black_box};
use mooltiroute::{
    config::{Environment, Loader, Overrides, Source},
    hops::{Eventual, Hop, Preferences, Request, kinds},
};
use mooltiroute_pac::{Engine, NoNames, Query, Surroundings};

fn main() {
    divan::main();
}

/// A typical company's script: a few comparisons of hosts and networks, and a list of proxies.
const SCRIPT: &str = "function FindProxyForURL(url, host) {
    if (isPlainHostName(host) || dnsDomainIs(host, '.corp.example')) return 'DIRECT';
    if (shExpMatch(host, '*.partner.example')) return 'PROXY proxy3.corp.example:3128';
    if (isInNet('10.1.2.3', '192.168.0.0', '255.255.0.0')) return 'DIRECT';
    return 'PROXY proxy1.corp.example:3128; PROXY proxy2.corp.example:3128; DIRECT';
}";

#[divan::bench]
fn call(bencher: Bencher<'_, '_>) {
    let mut engine = Engine::load(SCRIPT.into()).unwrap();
    let surroundings: Arc<dyn Surroundings> = Arc::new(NoNames);
    let query = Query { url: "https://www.example.com/".into(), host: "www.example.com".into() };
    bencher.bench_local(|| engine.call(black_box(&query), Arc::clone(&surroundings)).unwrap());
}

/// A choice, as each connection makes it, whose answer is known.
#[divan::bench]
fn known_answer(bencher: Bencher<'_, '_>) {
    let hop = hop();
    let (target, preferences) = ("www.example.com:443".parse().unwrap(), Preferences::default());
    let request = Request::new(&target, &preferences);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(Arc::clone(&hop).choose(request).wait()).unwrap();
    bencher.bench_local(|| match Arc::clone(&hop).choose(black_box(request)) {
        Eventual::Ready(chosen) => chosen.unwrap(),
        Eventual::Pending(_) => unreachable!("the answer is known"),
    });
}

/// Builds the hop as a configuration has it.
fn hop() -> Arc<dyn Hop> {
    let directory = tempfile::tempdir().unwrap();
    let file: PathBuf = directory.path().join("10.yaml");
    fs::write(directory.path().join("office.pac"), SCRIPT).unwrap();
    let yaml = "hops:\n  corporate: { kind: http-connect, address: \"a.example:1\" }\n  \
                office: { kind: pac, file: office.pac, hops: { \"*\": corporate } }\nchains: { default: [office] }\n";
    fs::write(&file, yaml).unwrap();
    let environment = Environment::new(|_| None, Path::new(""));
    let source = Source::Path(file);
    let loader = Loader::new(source, Overrides::default(), kinds::builtin(), environment);
    let config = loader.load().unwrap();
    config.hops.iter().find(|hop| &*hop.name == "office").unwrap().hop.clone().unwrap()
}
