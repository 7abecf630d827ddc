//! Clients that can't log in, through proxies that want them to: curl, requests and git, for `http://` and `https://` URLs,
//! by each scheme.

use std::{net::SocketAddr, process::Stdio};

use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader, copy_bidirectional},
    net::{TcpListener, TcpStream},
    process::{Child, Command},
    task::JoinSet,
};

use crate::support::{
    Certificates, HttpOrigin, PASSWORD, Passed, Program, Proxy, Squid, SquidRules, USERNAME, fill,
    pause, quiet, script, with_library, within,
};

const BODY_BYTES: usize = 100_000;
/// The ways through the proxy that wants a login, `corporate`, and one that wants Basic, `last`.
const CHAINS: [&str; 4] = [
    "[corporate]",
    "[corporate, last]",
    "{ hops: [corporate], warm: 2 }",
    "{ hops: [corporate, last], warm: 2 }",
];

#[tokio::test]
async fn curl_requests_and_git_pass_a_proxy_that_wants_basic() {
    clients_pass_with_password(SquidRules::Basic, "basic").await;
}

#[tokio::test]
async fn curl_requests_and_git_pass_a_proxy_that_wants_digest() {
    clients_pass_with_password(SquidRules::Digest, "digest").await;
}

#[tokio::test]
async fn curl_requests_and_git_pass_a_proxy_that_wants_ntlm() {
    clients_pass_with_password(SquidRules::Ntlm, "ntlm").await;
}

async fn clients_pass_with_password(rules: SquidRules, scheme: &str) {
    let Some(corporate) = Squid::start(rules).await else { return };
    let settings = format!("auth: {scheme}, username: {USERNAME}, password: {PASSWORD}");
    clients_pass(&corporate, &settings, USERNAME, &[]).await;
}

/// Lets each client fetch something each way, with `settings` for the corporate proxy, which calls the user `user`.
pub(crate) async fn clients_pass(
    corporate: &Squid,
    settings: &str,
    user: &str,
    environment: &[(&str, &str)],
) {
    let Some(last) = Squid::start(SquidRules::Basic).await else { return };
    let targets = Targets::start().await;
    for chain in CHAINS {
        let yaml = format!(
            "hops:\n  corporate: {{ kind: http-connect, address: \"{}\", {settings} }}\n  \
             last: {{ kind: http-connect, address: \"{}\", username: {USERNAME}, password: {PASSWORD} }}\n\
             chains: {{ default: {chain} }}\n",
            corporate.address(),
            last.address()
        );
        let proxy = Proxy::in_environment(&yaml, &[], environment).await;
        let mut clients: JoinSet<_> = targets.commands(&proxy.url()).collect();
        while let Some(fetched) = within(chain, clients.join_next()).await {
            fetched.unwrap();
        }
    }
    for (hop, user) in [(corporate, user), (&last, USERNAME)] {
        has_let_in(hop, user, "CONNECT").await;
        has_let_in(hop, user, "GET").await;
        // The second request of git has a body.
        has_let_in(hop, user, "POST").await;
    }
}

/// Waits until a proxy has logged a request of this user that it let through.
async fn has_let_in(hop: &Squid, user: &str, method: &str) {
    // Samba puts the domain and a backslash before the user, also if the domain is empty.
    let is_it = |passed: &Passed| {
        passed.user.ends_with(user) && passed.method == method && passed.status == 200
    };
    within(&format!("{user} makes a {method}"), async {
        while !hop.passed().iter().any(is_it) {
            pause().await;
        }
    })
    .await;
}

/// The clients that are installed, and the servers that they fetch something from, with and without TLS.
#[derive(Debug)]
struct Targets {
    curl: Option<Program>,
    requests: Option<Program>,
    git: Option<(Program, GitServer)>,
    certificates: Certificates,
    origins: [HttpOrigin; 2],
}

impl Targets {
    async fn start() -> Self {
        let certificates = Certificates::new();
        let look = ["-c", "import requests"];
        let git = match (Program::find_or_skip("git"), Program::find_or_skip("python3")) {
            (Some(git), Some(python)) => {
                let server = GitServer::start(&git, &python, &certificates).await;
                Some((git, server))
            }
            _ => None,
        };
        Self {
            curl: Program::find_or_skip("curl"),
            requests: with_library("python3", &look, "Python requests").await,
            git,
            origins: [HttpOrigin::plain().await, HttpOrigin::tls(&certificates).await],
            certificates,
        }
    }

    /// Returns the runs of all clients through this proxy. Each run fails if anything but the expected comes back.
    fn commands(&self, proxy: &str) -> impl Iterator<Item = impl Future<Output = ()> + 'static> {
        let authority = self.certificates.authority_file();
        let authority = authority.to_str().unwrap();
        let mut runs = Vec::new();
        for origin in &self.origins {
            let url = origin.url(&format!("/bytes/{BODY_BYTES}"));
            if let Some(curl) = &self.curl {
                let mut command = quiet(curl);
                command.args(["-q", "--silent", "--show-error", "--fail", "--noproxy", ""]);
                command.args(["--cacert", authority, "--proxy", proxy, &url]);
                runs.push((command, fill(BODY_BYTES)));
            }
            if let Some(python) = &self.requests {
                let mut command = quiet(python);
                command.arg(script("fetch.py")).args([proxy, authority, "GET", &url]);
                runs.push((command, fill(BODY_BYTES)));
            }
        }
        if let Some((git, server)) = &self.git {
            for url in &server.urls {
                let mut command = git_command(git);
                // The variable goes before `http.sslCAInfo`, so a tester's own can't get in the way.
                command.env("GIT_SSL_CAINFO", authority);
                command.args(["-c", &format!("http.proxy={proxy}"), "ls-remote", url]);
                runs.push((command, server.listed.clone()));
            }
        }
        runs.into_iter().map(|(mut command, expected)| async move {
            let output = command.output().await.unwrap();
            let is_expected = output.status.success() && output.stdout == expected;
            let complaints = String::from_utf8_lossy(&output.stderr);
            assert!(is_expected, "{command:?}: {}, {complaints}", output.status);
        })
    }
}

/// A server of Git with one repository, which ends with this.
#[derive(Debug)]
struct GitServer {
    _process: Child,
    _directory: TempDir,
    /// Without and with TLS.
    urls: [String; 2],
    /// The branches of the repository as `git ls-remote` lists them.
    listed: Vec<u8>,
}

impl GitServer {
    async fn start(git: &Program, python: &Program, certificates: &Certificates) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let run = async |arguments: &[&str]| {
            let mut command = git_command(git);
            command.args(["-c", "user.name=Tester", "-c", "user.email=tester@origin.test"]);
            let output = command.current_dir(&directory).args(arguments).output().await.unwrap();
            assert!(output.status.success(), "{arguments:?}: {output:?}");
            output.stdout
        };
        run(&["init", "--quiet", "one"]).await;
        run(&["-C", "one", "commit", "--quiet", "--allow-empty", "--message", "Begin"]).await;
        let listed = run(&["ls-remote", "one"]).await;
        let mut process = quiet(python)
            .arg(script("git_server.py"))
            .arg(directory.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut port = String::new();
        let mut words = BufReader::new(process.stdout.take().unwrap());
        within("its port", words.read_line(&mut port)).await.unwrap();
        let plain = SocketAddr::from(([127, 0, 0, 1], port.trim().parse().unwrap()));
        let tls = add_tls(plain, certificates).await;
        let urls = [format!("http://{plain}/one"), format!("https://{tls}/one")];
        Self { _process: process, _directory: directory, urls, listed }
    }
}

/// Makes a server reachable by TLS, and returns the address for that.
async fn add_tls(server: SocketAddr, certificates: &Certificates) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, acceptor) = (listener.local_addr().unwrap(), certificates.acceptor());
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let mut client = acceptor.accept(client).await.unwrap();
                let mut server = TcpStream::connect(server).await.unwrap();
                // Clients may close without a farewell.
                let _ = copy_bidirectional(&mut client, &mut server).await;
            });
        }
    });
    address
}

/// Returns a command of Git that reads no configuration of this machine.
fn git_command(git: &Program) -> Command {
    let mut command = quiet(git);
    command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
    command
}
