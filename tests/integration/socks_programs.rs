//! Programs that people point at a SOCKS or HTTPS proxy, through no hop, one and two, of mixed kinds.

use std::{fs, process::Stdio, time::Duration};

use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    process::{Child, Command},
};

use crate::support::{
    Certificates, ConfigDir, Double, EchoOrigin, HttpOrigin, Network, Program, Proxy, SocksProxy,
    Step, assert_reads, fill, first_difference, free_port, open, pause, ping, quiet, script, skip,
    socks_connect, with_library, within,
};
#[cfg(unix)]
use crate::support::{rest, status};

const BODY_BYTES: usize = 300_000;
const LARGE_BODY_BYTES: usize = 100_000_000;
/// How long one of them may take on a busy machine.
const LARGE_BODY_DEADLINE: Duration = Duration::from_secs(300);
/// No hop, one and two, in which HTTP and SOCKS follow each other both ways.
const MIXED: [&str; 5] = ["[]", "[jump]", "[corporate]", "[corporate, jump]", "[jump, webshare]"];

/// Real proxies of every kind.
pub(crate) struct Hops {
    network: Network,
    jump: SocksProxy,
}

impl Hops {
    pub(crate) async fn start() -> Option<Self> {
        let jump = SocksProxy::microsocks(false).await?;
        Some(Self { network: Network::start().await?, jump })
    }

    pub(crate) fn yaml(&self, chain: &str) -> String {
        let (hops, jump) = (self.network.hops(true), self.jump.address());
        format!(
            "{hops}  jump: {{ kind: socks5, address: \"{jump}\" }}\nchains: {{ default: {chain} }}\n"
        )
    }
}

/// A proxy with a plain listener and one with TLS.
pub(crate) async fn with_tls(certificates: &Certificates, yaml: &str) -> (Proxy, u16) {
    let (config, port) = (ConfigDir::new(yaml), free_port());
    let tls = certificates.listener_tls();
    let listen =
        format!("[\"127.0.0.1:0\", {{ address: \"127.0.0.1:{port}\", tls: {{ {tls} }} }}]");
    config.write("00-server.yaml", &format!("server: {{ listen: {listen} }}\n"));
    (Proxy::on(config, &[]).await, port)
}

#[tokio::test]
async fn curl_passes_mixed_chains_in_every_form() {
    let Some(curl) = Program::find_or_skip("curl") else { return };
    let Some(hops) = Hops::start().await else { return };
    let (certificates, origin) = (Certificates::new(), HttpOrigin::plain().await);
    for chain in MIXED {
        let (proxy, tls_port) = with_tls(&certificates, &hops.yaml(chain)).await;
        let plain = proxy.address().to_string();
        let https = format!("https://localhost:{tls_port}");
        for (option, at) in [
            ("--proxy", &plain),
            ("--proxy", &https),
            ("--socks5", &plain),
            ("--socks5-hostname", &plain),
            ("--socks4", &plain),
            ("--socks4a", &plain),
        ] {
            for path in ["--proxytunnel", "--no-progress-meter"] {
                let mut command = quiet(&curl);
                command.args(["-sS", "--noproxy", "", option, at, path, "--proxy-cacert"]);
                command.arg(certificates.authority_file());
                command.arg(origin.url(&format!("/bytes/{BODY_BYTES}")));
                let body = output(&mut command).await;
                assert_eq!(body.len(), BODY_BYTES, "{option} {at} through {chain}");
                assert_eq!(first_difference(0, &body), None, "{option} {at} through {chain}");
            }
        }
    }
}

#[tokio::test]
async fn large_bodies_pass_byte_for_byte_both_ways() {
    let Some(curl) = Program::find_or_skip("curl") else { return };
    let Some(hops) = Hops::start().await else { return };
    let (certificates, origin) = (Certificates::new(), HttpOrigin::plain().await);
    let scratch = tempfile::tempdir().unwrap();
    let [sent, received] = ["sent", "received"].map(|name| scratch.path().join(name));
    fs::write(&sent, fill(LARGE_BODY_BYTES)).unwrap();
    let (proxy, tls_port) = with_tls(&certificates, &hops.yaml("[corporate, jump]")).await;
    let https = format!("https://localhost:{tls_port}");
    for (option, at) in [("--socks5-hostname", &proxy.address().to_string()), ("--proxy", &https)] {
        // One after the other: microsocks stops if both directions are full at once.
        for path in ["/verify".to_owned(), format!("/bytes/{LARGE_BODY_BYTES}")] {
            let mut command = quiet(&curl);
            command.args(["-sS", "--noproxy", "", option, at, "--proxytunnel", "--proxy-cacert"]);
            command.arg(certificates.authority_file()).arg("-o").arg(&received);
            if path == "/verify" {
                let body = format!("@{}", sent.display());
                command.args(["-H", "Expect:", "--data-binary", &body]);
            }
            let ends =
                tokio::time::timeout(LARGE_BODY_DEADLINE, command.arg(origin.url(&path)).output());
            let output = ends.await.expect("curl ends").unwrap();
            assert!(output.status.success(), "{option} {path}: {output:?}");
            let received = fs::read(&received).unwrap();
            if path == "/verify" {
                let said = String::from_utf8_lossy(&received);
                assert_eq!(said, format!("{LARGE_BODY_BYTES} bytes as expected"), "{option}");
            } else {
                assert_eq!(received.len(), LARGE_BODY_BYTES, "{option}");
                assert_eq!(first_difference(0, &received), None, "{option}");
            }
        }
    }
}

#[tokio::test]
async fn libraries_of_python_pass_mixed_chains() {
    for (library, module) in [("pysocks", "socks"), ("python-socks", "python_socks")] {
        let look = ["-c", &format!("import {module}")];
        let Some(python) = with_library("python3", &look, library).await else { continue };
        let Some(hops) = Hops::start().await else { return };
        let echo = EchoOrigin::start().await;
        for chain in MIXED {
            let proxy = Proxy::start(&hops.yaml(chain)).await;
            let addresses = [proxy.address(), echo.address()].map(|address| address.to_string());
            let mut command = quiet(&python);
            command
                .arg(script("echo_socks.py"))
                .arg(library)
                .args(&addresses)
                .arg(BODY_BYTES.to_string());
            output(&mut command).await;
        }
    }
}

#[tokio::test]
async fn socks_proxy_agent_of_node_passes_mixed_chains() {
    let look = ["-e", "require('socks-proxy-agent')"];
    let Some(node) = with_library("node", &look, "Node socks-proxy-agent").await else { return };
    let Some(hops) = Hops::start().await else { return };
    let origin = HttpOrigin::plain().await;
    for chain in MIXED {
        let proxy = Proxy::start(&hops.yaml(chain)).await;
        for scheme in ["socks5h", "socks4a"] {
            let mut command = quiet(&node);
            command.arg(script("fetch_socks.cjs")).arg(format!("{scheme}://{}", proxy.address()));
            let body = output(command.arg(origin.url(&format!("/bytes/{BODY_BYTES}")))).await;
            assert_eq!(
                (body.len(), first_difference(0, &body)),
                (BODY_BYTES, None),
                "{scheme} {chain}"
            );
        }
    }
}

#[tokio::test]
async fn java_passes_by_its_system_properties() {
    let Some(java) = Program::find_or_skip("java") else { return };
    let modules = quiet(&java).arg("--list-modules").output().await.unwrap();
    if !String::from_utf8_lossy(&modules.stdout).contains("jdk.compiler") {
        return skip("a JDK");
    }
    let Some(hops) = Hops::start().await else { return };
    let origin = HttpOrigin::plain().await;
    for chain in ["[]", "[corporate, jump]"] {
        let proxy = Proxy::start(&hops.yaml(chain)).await;
        let mut command = quiet(&java);
        // Java goes around proxies to loopback unless it is told otherwise, for `http:` by a property of its own.
        command.args([
            "-DsocksProxyHost=127.0.0.1",
            "-DsocksNonProxyHosts=",
            "-Dhttp.nonProxyHosts=",
        ]);
        command.arg(format!("-DsocksProxyPort={}", proxy.address().port()));
        command.arg(script("Fetch.java")).arg(origin.url(&format!("/bytes/{BODY_BYTES}")));
        let body = output(&mut command).await;
        assert_eq!((body.len(), first_difference(0, &body)), (BODY_BYTES, None), "{chain}");
        assert_eq!(proxy.event("tunnel closed").await.field("protocol"), "socks5");
    }
}

/// An OpenSSH server for the user that runs the test.
struct Sshd {
    _server: Child,
    port: u16,
    directory: TempDir,
}

impl Sshd {
    /// Starts one, if that is possible here.
    async fn start() -> Option<Self> {
        let (sshd, keygen) = (Program::find_or_skip("sshd")?, Program::find_or_skip("ssh-keygen")?);
        let (directory, port) = (tempfile::tempdir().unwrap(), free_port());
        let file = |name: &str| directory.path().join(name).display().to_string();
        for name in ["host", "user"] {
            let mut command = quiet(&keygen);
            command.args(["-q", "-t", "ed25519", "-N", "", "-f", &file(name)]);
            assert!(command.status().await.unwrap().success());
        }
        fs::copy(file("user.pub"), file("authorized")).unwrap();
        let config = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {}\nAuthorizedKeysFile {}\nStrictModes no\nUsePAM no\n\
             PidFile none\nPermitRootLogin yes\n",
            file("host"),
            file("authorized")
        );
        fs::write(file("config"), config).unwrap();
        let mut command = quiet(&sshd);
        command.args(["-D", "-e", "-f", &file("config")]).stderr(Stdio::null());
        let mut server = command.spawn().unwrap();
        for _ in 0..1_000 {
            if TcpStream::connect(("127.0.0.1", port)).await.is_ok() {
                return Some(Self { _server: server, port, directory });
            }
            if server.try_wait().unwrap().is_some() {
                skip("an sshd that this user can start");
                return None;
            }
            pause().await;
        }
        panic!("sshd does not listen");
    }

    /// Prepares `ssh` with `options` and the arguments behind the host.
    fn ssh(&self, options: &[&str], arguments: &[&str]) -> Option<Command> {
        let mut command = quiet(&Program::find_or_skip("ssh")?);
        let identity = self.directory.path().join("user").display().to_string();
        command.args([
            "-F",
            "none",
            "-o",
            "StrictHostKeyChecking=no",
            "-o",
            "UserKnownHostsFile=/dev/null",
        ]);
        command.args(["-o", "BatchMode=yes", "-o", "LogLevel=ERROR", "-i", &identity]);
        command.args(["-p", &self.port.to_string()]).args(options).arg("127.0.0.1").args(arguments);
        Some(command)
    }
}

#[tokio::test]
async fn openssh_passes_by_nc() {
    let Some(nc) = Program::find_or_skip("nc") else { return };
    let Some(sshd) = Sshd::start().await else { return };
    let Some(hops) = Hops::start().await else { return };
    for chain in ["[]", "[corporate, jump]"] {
        let proxy = Proxy::start(&hops.yaml(chain)).await;
        let (nc, at) = (nc.path().display(), proxy.address());
        let way = format!("ProxyCommand={nc} -X 5 -x {at} %h %p");
        let Some(mut ssh) = sshd.ssh(&["-o", &way], &["head", "-c", "1000000", "/dev/zero"]) else {
            return;
        };
        let got = output(&mut ssh).await;
        assert!(got.len() == 1_000_000 && got.iter().all(|byte| *byte == 0), "{chain}");
        assert_eq!(proxy.event("tunnel closed").await.field("protocol"), "socks5");
    }
}

#[tokio::test]
async fn ssh_with_dynamic_forwarding_is_a_hop() {
    let Some(sshd) = Sshd::start().await else { return };
    let (forward, echo) = (free_port(), EchoOrigin::start().await);
    let Some(mut ssh) = sshd.ssh(&["-N", "-D", &format!("127.0.0.1:{forward}")], &[]) else {
        return;
    };
    let _ssh = ssh.spawn().unwrap();
    within("ssh listens", async {
        while TcpStream::connect(("127.0.0.1", forward)).await.is_err() {
            pause().await;
        }
    })
    .await;
    let hop = format!("hops: {{ jump: {{ kind: socks5, address: \"127.0.0.1:{forward}\" }} }}\n");
    let proxy = Proxy::start(&format!("{hop}chains: {{ default: [jump] }}\n")).await;
    let mut tunnel = socks_connect(proxy.address(), echo.address()).await;
    ping(&mut tunnel).await;
}

#[tokio::test]
async fn a_reset_passes_a_socks_tunnel_after_all_bytes() {
    if !crate::support::resets_or_skip() {
        return;
    }
    let proxy = Proxy::start("chains: { default: [] }\n").await;
    let origin = TcpListener::bind("127.0.0.1:0").await.unwrap();
    for is_from_client in [true, false] {
        let client = socks_connect(proxy.address(), origin.local_addr().unwrap()).await;
        let (far, _) = origin.accept().await.unwrap();
        let (mut from, mut to) = if is_from_client { (client, far) } else { (far, client) };
        from.write_all(b"last words").await.unwrap();
        from.set_zero_linger().unwrap();
        drop(from);
        assert_reads(&mut to, "last words").await;
        let broke = within("the reset comes", to.read_u8()).await.unwrap_err();
        assert_eq!(broke.kind(), std::io::ErrorKind::ConnectionReset, "{is_from_client}");
    }
}

#[cfg(unix)]
#[tokio::test]
async fn a_drain_lets_socks_tunnels_end_and_begins_none() {
    let echo = EchoOrigin::start().await;
    let mut proxy = Proxy::start("chains: { default: [] }\n").await;
    let mut tunnel = socks_connect(proxy.address(), echo.address()).await;
    let mut idle = open(proxy.address()).await;
    // A client that the proxy has not accepted yet when it stops is reset.
    within("both are accepted, beside this question", async {
        while status(proxy.address()).await["connections"]["open"] != 3 {
            pause().await;
        }
    })
    .await;
    proxy.signal(rustix::process::Signal::TERM);
    proxy.event("shutting down").await;
    assert_eq!(rest(&mut idle).await, "", "a client that has not said anything is closed");
    ping(&mut tunnel).await;
    tunnel.shutdown().await.unwrap();
    assert_eq!(rest(&mut tunnel).await, "");
    assert_eq!(proxy.exit().await.code(), Some(0));
}

#[tokio::test]
async fn every_code_of_a_socks_hop_has_its_code_for_the_client() {
    for (code, expected) in [(1, 1), (2, 2), (3, 3), (4, 4), (5, 5), (6, 6), (7, 1), (8, 1), (9, 1)]
    {
        let hop = Double::start([
            Step::Hear("\x05\x01\0".into()),
            Step::Say("\x05\0".into()),
            Step::Hear("a.test\0\x50".into()),
            Step::Say(format!("\x05{}\0\x01\0\0\0\0\0\0", char::from(code))),
        ])
        .await;
        let hop = format!("hops: {{ up: {{ kind: socks5, address: \"{}\" }} }}\n", hop.address());
        let proxy = Proxy::start(&format!("{hop}chains: {{ default: [up] }}\n")).await;
        assert_eq!(code_for(&proxy).await, expected, "{code}");
    }
    // A hop that says nothing in time.
    let hop = Double::start([Step::Listen]).await;
    let hop = format!("hops: {{ up: {{ kind: socks5, address: \"{}\" }} }}\n", hop.address());
    let yaml = format!("timeouts: {{ handshake: 300ms }}\n{hop}chains: {{ default: [up] }}\n");
    assert_eq!(code_for(&Proxy::start(&yaml).await).await, 6);
}

/// Returns the code that a client gets which asks for `a.test:80`.
async fn code_for(proxy: &Proxy) -> u8 {
    let mut client = open(proxy.address()).await;
    client.write_all(b"\x05\x01\x00\x05\x01\x00\x03\x06a.test\0\x50").await.unwrap();
    let mut answer = [0; 12];
    within("the answer", client.read_exact(&mut answer)).await.unwrap();
    answer[3]
}

/// Runs a program to its end, which must be a success, and returns its output.
pub(crate) async fn output(command: &mut Command) -> Vec<u8> {
    let output = within("the program ends", command.output()).await.unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}
