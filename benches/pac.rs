//! Measures the cost of a PAC file: a call of the script, and a choice whose answer is cached. `cargo bench --bench pac`

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot be set up must stop")]

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpListener,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::Duration,
};

use divan::{Bencher, black_box};
use mooltiroute::{
    config::{Environment, Loader, Overrides, Source},
    hops::{
        Authority, Eventual, Hop, OpenError, PlainConnection, Preferences, Request, RequestLine,
        Secret, Services, SourceKind, SourceNews, Tunnel, kinds,
    },
};
use mooltiroute_pac::{Engine, NoNames, Query, Surroundings};
use tokio::{net::TcpStream, runtime::Runtime, time::Instant};

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

/// Measures a choice for a connection if the answer of the script is known. The end of the choice counts too.
#[divan::bench(sample_size = SAMPLE)]
fn known_answer(bencher: Bencher<'_, '_>) {
    choose_again(bencher, &Office::new(SCRIPT, "file: office.pac"), None);
}

/// Measures a known answer of a file that is fetched from a URL.
#[divan::bench(sample_size = SAMPLE)]
fn known_answer_of_fetched_file(bencher: Bencher<'_, '_>) {
    choose_again(bencher, &Office::new(SCRIPT, "url: \"http://pac.example/\""), None);
}

/// Measures a known answer for a plain request, of a script that looks at the URL.
#[divan::bench(sample_size = SAMPLE)]
fn known_answer_by_url(bencher: Bencher<'_, '_>) {
    let script = "function FindProxyForURL(url, host) {
        return shExpMatch(url, '*/download/*') ? 'PROXY proxy1.corp.example:3128' : 'DIRECT';
    }";
    let uri = "http://www.example.com:443/download/a-file-of-some-kind.tar.gz?version=1";
    choose_again(bencher, &Office::new(script, "file: office.pac"), Some(uri));
}

/// Chooses for one request again and again. The first choice, which calls the script, is not measured.
fn choose_again(bencher: Bencher<'_, '_>, office: &Office, uri: Option<&str>) {
    let Office { runtime, hop } = office;
    let (target, preferences) = ("www.example.com:443".parse().unwrap(), Preferences::default());
    // The chain reads the clock once, to measure how long the connection takes.
    let mut request = Request::new(&target, &preferences).begun_at(Instant::now());
    if let Some(uri) = &uri {
        request = request.with_plain(RequestLine { method: "GET", uri });
    }
    // The hop begins a fetch in this runtime.
    let _entered = runtime.enter();
    runtime.block_on(Arc::clone(hop).choose(request).wait()).unwrap();
    bencher.bench_local(|| match Arc::clone(hop).choose(black_box(request)) {
        Eventual::Ready(chosen) => drop(black_box(chosen.unwrap())),
        Eventual::Pending(_) => unreachable!("the answer is known"),
    });
}

/// A hop that was built from a configuration, with the services of a program.
struct Office {
    runtime: Runtime,
    hop: Arc<dyn Hop>,
}

impl Office {
    /// Builds the hop with `source` among its settings: `script`, from a file or from a server.
    fn new(script: &str, source: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file: PathBuf = directory.path().join("10.yaml");
        fs::write(directory.path().join("office.pac"), script).unwrap();
        let yaml = format!(
            "hops:\n  corporate: {{ kind: http-connect, address: \"a.example:1\" }}\n  \
             office: {{ kind: pac, {source}, hops: {{ \"*\": corporate }} }}\nchains: {{ default: [office] }}\n"
        );
        fs::write(&file, yaml).unwrap();
        let environment = Environment::new(|_| None, Path::new(""));
        let source = Source::Path(file);
        let loader = Loader::new(source, Overrides::default(), kinds::builtin(), environment);
        let config = loader.load().unwrap();
        let named = config.hops.iter().find(|hop| &*hop.name == "office");
        let hop = named.unwrap().hop.clone().unwrap();
        hop.asker().unwrap().attach(Arc::new(PacServer(script.into())));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Self { runtime, hop }
    }
}

/// The services of a program whose only server has a PAC file.
#[derive(Debug)]
struct PacServer(Arc<str>);

impl Services for PacServer {
    fn open(&self, _: Authority) -> Eventual<'static, Result<Tunnel, OpenError>> {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", self.0.len());
        let answer = head + &self.0;
        Eventual::later(async move {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            thread::spawn(move || {
                let (mut server, _) = listener.accept().unwrap();
                server.write_all(answer.as_bytes()).unwrap();
                // With a request unread, the system would reset the connection.
                server.read_to_end(&mut Vec::new()).unwrap();
            });
            Ok(Tunnel::socket(client))
        })
    }

    fn open_plain(
        &self,
        target: Authority,
        _: Secret,
    ) -> Eventual<'static, Result<PlainConnection, OpenError>> {
        let opened = self.open(target);
        Eventual::later(async move {
            Ok(PlainConnection { tunnel: opened.wait().await?, forwarder: None })
        })
    }

    fn network_epoch(&self) -> u64 {
        1
    }

    fn patience(&self) -> Duration {
        Duration::from_secs(10)
    }

    fn report(&self, _: SourceKind, _: &str, _: SourceNews<'_>) {}

    fn said(&self, _: &str) {}
}

/// The number of choices in a sample. A single one takes hardly longer than reading the clock.
const SAMPLE: u32 = 100;
