//! Real clients through real proxies: curl, Python, Node and git through no hop, one and two.

use std::{
    ffi::OsStr,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Output, Stdio},
};

use tokio::io::{AsyncBufReadExt as _, BufReader};

use crate::support::{
    Certificates, HttpOrigin, Network, Program, Proxy, Squid, WAYS, fill, first_difference, quiet,
    script, with_library, within,
};

const BODY_BYTES: usize = 300_000;
const LARGE_BODY_BYTES: usize = 100_000_000;
/// How much of an unexpected answer a failed test shows.
const SHOWN_BYTES: usize = 1_000;

#[tokio::test]
async fn curl_passes_each_way() {
    if let Some(curl) = Program::find_or_skip("curl") {
        check(&Client::Curl(curl), BODY_BYTES).await;
    }
}

#[tokio::test]
async fn requests_passes_each_way() {
    // Versions before 2.29 send the chunked body of an https request to the proxy instead of the target.
    let look = "import requests; assert [int(part) for part in requests.__version__.split('.')[:2]] >= [2, 29]";
    if let Some(python) =
        with_library("python3", &["-c", look], "Python requests 2.29 or later").await
    {
        check(&Client::Script(python, script("fetch.py")), BODY_BYTES).await;
    }
}

#[tokio::test]
async fn axios_passes_each_way() {
    let look = ["-e", "require('axios'); require('https-proxy-agent')"];
    if let Some(node) = with_library("node", &look, "Node axios").await {
        check(&Client::Script(node, script("fetch.cjs")), BODY_BYTES).await;
    }
}

#[tokio::test]
async fn aiohttp_passes_each_way() {
    if let Some(python) = with_library("python3", &["-c", "import aiohttp"], "Python aiohttp").await
    {
        check(&Client::Script(python, script("fetch_aiohttp.py")), BODY_BYTES).await;
    }
}

#[tokio::test]
async fn httpx_passes_each_way() {
    if let Some(python) = with_library("python3", &["-c", "import httpx"], "Python httpx").await {
        check(&Client::Script(python, script("fetch_httpx.py")), BODY_BYTES).await;
    }
}

#[tokio::test]
async fn undici_passes_each_way() {
    if let Some(node) = with_library("node", &["-e", "require('undici')"], "Node undici").await {
        check(&Client::Script(node, script("fetch_undici.cjs")), BODY_BYTES).await;
    }
}

#[tokio::test]
async fn a_web_socket_passes_each_way() {
    let look = ["-e", "require('ws'); require('http-proxy-agent'); require('https-proxy-agent')"];
    let Some(node) = with_library("node", &look, "Node ws").await else { return };
    let Some(network) = Network::start().await else { return };
    let certificates = Certificates::new();
    for chain in WAYS {
        let proxy = Proxy::start(&network.yaml(chain)).await;
        let mut command = quiet(&node);
        command.env("NODE_EXTRA_CA_CERTS", certificates.authority_file());
        command.arg(script("websocket.cjs")).arg(proxy.url());
        command.args(certificates.pem_texts());
        let output = within("the sockets", command.output()).await.unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "all came back", "{chain}: {output:?}");
    }
}

#[tokio::test]
async fn httpbin_answers_are_the_same_with_and_without_the_proxy() {
    let look = ["-c", "import requests, pytest_httpbin"];
    let Some(python) = with_library("python3", &look, "Python pytest-httpbin").await else {
        return;
    };
    let proxy = Proxy::start("chains: { default: [] }").await;
    let mut command = quiet(&python);
    command.arg(script("httpbin_alike.py")).arg(proxy.url());
    let output = within("httpbin", command.output()).await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let asked = proxy.events().iter().filter(|event| event.message() == "request").count();
    assert!(asked >= 40, "only {asked} requests came through the proxy");
}

#[tokio::test]
async fn git_clones_and_pushes_each_way() {
    let (Some(git), Some(python)) =
        (Program::find_or_skip("git"), Program::find_or_skip("python3"))
    else {
        return;
    };
    let Some(network) = Network::start().await else { return };
    let scratch = tempfile::tempdir().unwrap();
    let server = quiet(&python)
        .arg(script("git_server.py"))
        .arg(scratch.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut server, mut port) = (server, String::new());
    let mut words = BufReader::new(server.stdout.take().unwrap());
    within("its port", words.read_line(&mut port)).await.unwrap();
    for (number, chain) in WAYS.iter().enumerate() {
        let proxy = Proxy::start(&network.yaml(chain)).await;
        let run = async |folder: &Path, arguments: &[&str]| {
            let mut command = quiet(&git);
            command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
            command.args(["-c", &format!("http.proxy={}", proxy.url())]);
            command.args(["-c", "user.name=Tester", "-c", "user.email=tester@origin.test"]);
            command.current_dir(folder).args(arguments);
            let output = within("git", command.output()).await.unwrap();
            assert!(output.status.success(), "{chain}: {arguments:?}: {output:?}");
        };
        let name = format!("{number}.git");
        run(scratch.path(), &["init", "--quiet", "--bare", &name]).await;
        let url = format!("http://127.0.0.1:{}/{name}", port.trim());
        let (first, second) = (format!("{number}-first"), format!("{number}-second"));
        run(scratch.path(), &["clone", "--quiet", &url, &first]).await;
        let first = scratch.path().join(first);
        // Git sends a body that is larger than `http.postBuffer` in chunks.
        fs::write(first.join("file"), noise(3_000_000)).unwrap();
        run(&first, &["add", "file"]).await;
        run(&first, &["commit", "--quiet", "--message", "Add a file"]).await;
        run(&first, &["push", "--quiet", "origin", "HEAD"]).await;
        run(scratch.path(), &["clone", "--quiet", &url, &second]).await;
        let there = fs::read(scratch.path().join(second).join("file")).unwrap();
        assert!(there == noise(3_000_000), "{chain}");
        assert!(proxy.events().iter().any(|event| event.message() == "request"), "{chain}");
    }
    server.kill().await.unwrap();
}

/// Returns bytes that do not compress.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    std::iter::repeat_with(next).take(length).collect()
}

#[tokio::test]
async fn curl_passes_a_large_file_each_way() {
    if let Some(curl) = Program::find_or_skip("curl") {
        check(&Client::Curl(curl), LARGE_BODY_BYTES).await;
    }
}

/// Gets twice over one connection and posts in both framings, over HTTP and HTTPS, through no hop, one and two. Then
/// checks in the logs of the hops that the requests passed them.
async fn check(client: &Client, length: usize) {
    let Some(network) = Network::start().await else { return };
    let certificates = Certificates::new();
    let origins = [HttpOrigin::plain().await, HttpOrigin::tls(&certificates).await];
    let scratch = tempfile::tempdir().unwrap();
    let sent = scratch.path().join("sent");
    fs::write(&sent, fill(length)).unwrap();
    for chain in WAYS {
        let proxy = Proxy::start(&network.yaml(chain)).await;
        let (proxy_url, authority) = (proxy.url(), certificates.authority_file());
        let fetch = Fetch { client, proxy: proxy_url, chain, authority };
        for origin in &origins {
            let body = fetch.run("GET", &origin.url(&format!("/bytes/{length}")), None).await;
            let got = (body.len(), first_difference(0, &body));
            let beginning = String::from_utf8_lossy(&body[..body.len().min(SHOWN_BYTES)]);
            assert_eq!(got, (length, None), "{chain}: {beginning}");
            for path in ["/verify", "/verify?chunked"] {
                let words = fetch.run("POST", &origin.url(path), Some(&sent)).await;
                let words = String::from_utf8_lossy(&words);
                assert_eq!(words, format!("{length} bytes as expected"), "{chain}");
            }
        }
        let clients = proxy.events().into_iter().filter(|event| event.message() == "request");
        let clients: Vec<_> = clients.map(|event| event.field("client")).collect();
        assert_eq!(clients[0], clients[1], "the first connection is not kept: {chain}");
    }
    assert_ways(&network, &origins.map(|origin| origin.address())).await;
}

/// Checks after [`check`] that the corporate proxy saw the second round and, as tunnels, the third, and that the provider
/// saw the requests inside those tunnels.
async fn assert_ways(network: &Network, [plain, tls]: &[SocketAddr; 2]) {
    let requests = [
        format!("GET http://{plain}/ "),
        format!("GET http://{plain}/ "),
        format!("POST http://{plain}/ "),
        format!("POST http://{plain}/ "),
        // One for the two that it gets, and one for each that it posts.
        format!("CONNECT {tls} "),
        format!("CONNECT {tls} "),
        format!("CONNECT {tls} "),
    ];
    let provider = network.provider.address();
    let at_provider = seen(&network.provider, requests.len()).await;
    assert_eq!(at_provider, requests.each_ref().map(|request| format!("{request}dev")));
    let at_corporate = seen(&network.corporate, requests.len() + 1).await;
    let (own, tunnels) = at_corporate.split_at(requests.len());
    assert_eq!(own, requests.each_ref().map(|request| format!("{request}-")));
    let tunnel = format!("CONNECT {provider} -");
    assert!(!tunnels.is_empty() && tunnels.iter().all(|line| *line == tunnel), "{tunnels:?}");
}

/// Returns `METHOD TARGET USER`, without the path, of each request that passed a hop.
async fn seen(hop: &Squid, count: usize) -> Vec<String> {
    let mut passed = hop.passed_at_least(count).await;
    passed.sort_by_key(|passed| passed.started);
    let line = |passed: crate::support::Passed| {
        assert_eq!(passed.status, 200, "{passed:?}");
        let target = match passed.target.strip_prefix("http://") {
            Some(rest) => format!("http://{}/", rest.split('/').next().unwrap_or_default()),
            None => passed.target,
        };
        format!("{} {target} {}", passed.method, passed.user)
    };
    passed.into_iter().map(line).collect()
}

/// A program that makes requests.
#[derive(Debug)]
enum Client {
    Curl(Program),
    /// An interpreter and its script.
    Script(Program, PathBuf),
}

/// How requests are made: by which client, through which proxy and chain, trusting which authority.
#[derive(Debug)]
struct Fetch<'a> {
    client: &'a Client,
    proxy: String,
    chain: &'a str,
    authority: PathBuf,
}

impl Fetch<'_> {
    /// Makes one request and returns the answer's body.
    async fn run(&self, method: &str, url: &str, body: Option<&Path>) -> Vec<u8> {
        let mut command = match self.client {
            Client::Curl(curl) => {
                let mut command = quiet(curl);
                // An upload from a file is streamed by -T, where --data-binary would hold it in memory.
                command.args([
                    "-q",
                    "--silent",
                    "--show-error",
                    "--fail-with-body",
                    "--noproxy",
                    "",
                ]);
                command.args(["--request", method, "--proxy", &self.proxy]);
                command.arg("--cacert").arg(&self.authority);
                // Squid aborts about one in 60 large uploads after its own `100 Continue`; a direct connection keeps it.
                if self.chain != "[]" {
                    command.args(["--header", "Expect:"]);
                }
                if url.ends_with("?chunked") {
                    command.args(["--header", "Transfer-Encoding: chunked"]);
                }
                if method == "GET" {
                    command.args([url, "--output", NOWHERE]);
                }
                command
                    .args(body.into_iter().flat_map(|body| [OsStr::new("-T"), body.as_os_str()]));
                command
            }
            Client::Script(interpreter, script) => {
                let mut command = quiet(interpreter);
                command.env("NODE_EXTRA_CA_CERTS", &self.authority);
                command.arg(script).arg(&self.proxy).arg(&self.authority).arg(method);
                command
            }
        };
        command.arg(url);
        if let Client::Script(..) = self.client {
            command.args(body);
        }
        let what = format!("{method} {url} through {}", self.chain);
        let Output { status, stdout, stderr } = within(&what, command.output()).await.unwrap();
        let words = String::from_utf8_lossy(&stderr);
        let answer = String::from_utf8_lossy(&stdout[..stdout.len().min(SHOWN_BYTES)]);
        assert!(status.success(), "{what}: {status}: {words}\n{answer}\n{command:?}");
        stdout
    }
}

/// The file that the first of two answers is written to.
const NOWHERE: &str = if cfg!(windows) { "NUL" } else { "/dev/null" };
