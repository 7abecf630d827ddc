//! The proofs in NTLM's message 3, checked by another implementation: a proxy with TLS made of pyspnego.

use std::{fs, net::SocketAddr, path::Path, process::Stdio};

use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader, Lines},
    process::{Child, ChildStdout},
};

use crate::support::{
    Certificates, EchoOrigin, PASSWORD, Proxy, USERNAME, connect, free_address, ping, quiet,
    script, with_library, within,
};

/// `ntlm_proxy.py`, which ends with this.
#[derive(Debug)]
struct StrictProxy {
    _process: Child,
    _directory: TempDir,
    verdicts: Lines<BufReader<ChildStdout>>,
    address: SocketAddr,
}

impl StrictProxy {
    /// Starts one with the certificate of `certificates`, whose clients must be bound to that of `bound_to`.
    async fn start(
        certificates: &Certificates,
        bound_to: &Path,
        arguments: &[&str],
    ) -> Option<Self> {
        let look = ["-c", "import spnego"];
        let python = with_library("python3", &look, "Python pyspnego").await?;
        let directory = tempfile::tempdir().unwrap();
        let users = directory.path().join("users");
        fs::write(&users, format!("CORP:{USERNAME}:{PASSWORD}\n")).unwrap();
        let files = certificates.path();
        let mut command = quiet(&python);
        command.arg(script("ntlm_proxy.py"));
        command.args([&files.join("certificate.pem"), &files.join("key.pem"), bound_to, &users]);
        command.args(arguments).stdout(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let mut verdicts = BufReader::new(process.stdout.take().unwrap()).lines();
        let port = within("its port", verdicts.next_line()).await.unwrap();
        let port: u16 = port.expect("it listens").parse().unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        Some(Self { _process: process, _directory: directory, verdicts, address })
    }

    async fn verdict(&mut self) -> String {
        within("a verdict", self.verdicts.next_line()).await.unwrap().expect("it runs")
    }

    /// A configuration with this proxy, as a hop with the username and password that it knows.
    fn yaml(&self, certificates: &Certificates) -> String {
        format!(
            "hops:\n  corporate: {{ kind: http-connect, address: \"{}\", tls: {{ ca: {:?} }}, auth: [ntlm], \
             username: 'CORP\\{USERNAME}', password: {PASSWORD} }}\nchains: {{ default: [corporate] }}\n",
            self.address,
            certificates.authority_file()
        )
    }
}

#[tokio::test]
async fn a_strict_proxy_accepts_the_mic_and_the_bindings_of_each_connection() {
    let certificates = Certificates::new();
    let own = certificates.path().join("certificate.pem");
    let Some(mut strict) = StrictProxy::start(&certificates, &own, &[]).await else { return };
    let echo = EchoOrigin::start().await;
    let proxy = Proxy::start(&strict.yaml(&certificates)).await;
    for _ in 0..3 {
        ping(&mut connect(proxy.address(), echo.address()).await.tunnel()).await;
        assert_eq!(strict.verdict().await, format!("accepted CORP\\{USERNAME}"));
    }
}

#[tokio::test]
async fn a_strict_proxy_refuses_the_bindings_to_another_certificate_and_an_altered_challenge() {
    let certificates = Certificates::new();
    let own = certificates.path().join("certificate.pem");
    let [other, _] = certificates.issue("other", 2090);
    for (bound_to, arguments, words) in [
        (&other, &[][..], "Acceptor bindings do not match initiator bindings"),
        (&own, &["--alter"], "Invalid MIC in NTLM authentication message"),
    ] {
        let strict = StrictProxy::start(&certificates, bound_to, arguments).await;
        let Some(mut strict) = strict else { return };
        let proxy = Proxy::start(&strict.yaml(&certificates)).await;
        let told = connect(proxy.address(), free_address()).await.head;
        assert!(told.starts_with("HTTP/1.1 502 "), "{told}");
        assert!(told.contains("it rejected the credentials"), "{told}");
        let verdict = strict.verdict().await;
        assert!(verdict.starts_with("refused: ") && verdict.contains(words), "{verdict}");
    }
}
