//! A hop whose certificate openssl made: an authority and a server in one, or one that names no host.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig, crypto,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    },
};

use crate::support::{Program, Proxy, exchange};

/// A certificate and its key, in files.
struct Made {
    _directory: TempDir,
    certificate: PathBuf,
    key: PathBuf,
}

/// Runs `openssl req -x509` with its defaults, or the program `around` with it. Returns `None` if a program is missing.
fn make(name: &str, around: &[&str]) -> Option<Made> {
    let openssl = Program::find_or_skip("openssl")?;
    let directory = tempfile::tempdir().unwrap();
    let [certificate, key] = ["certificate.pem", "key.pem"].map(|file| directory.path().join(file));
    let mut command = match around {
        [] => Command::new(openssl.path()),
        [program, arguments @ ..] => {
            let mut command = Command::new(Program::find_or_skip(program)?.path());
            command.args(arguments).arg(openssl.path());
            command
        }
    };
    command.args([
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "30",
        "-subj",
        "/CN=proxy",
    ]);
    command.args(["-addext", &format!("subjectAltName={name}")]);
    let output = command.arg("-keyout").arg(&key).arg("-out").arg(&certificate).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    Some(Made { _directory: directory, certificate, key })
}

/// Plays an HTTP proxy over TLS that agrees to everything.
async fn hop(made: &Made) -> SocketAddr {
    let chain = vec![CertificateDer::from_pem_file(&made.certificate).unwrap()];
    let key = PrivateKeyDer::from_pem_file(&made.key).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(socket).await else { continue };
            let mut seen = [0; 1024];
            let _ = stream.read(&mut seen).await;
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nwelcome").await;
            let _ = stream.shutdown().await;
        }
    });
    address
}

/// Asks for a tunnel through a hop that shows the certificate `made`, with `ca` as the file that is trusted.
async fn answer(made: &Made, ca: &Path) -> String {
    let port = hop(made).await.port();
    let proxy = Proxy::start(&format!(
        "hops: {{ gate: {{ kind: http-connect, address: \"localhost:{port}\", tls: {{ ca: '{}' }} }} }}\n\
         chains: {{ default: [gate] }}\n",
        ca.display()
    ))
    .await;
    exchange(proxy.address(), b"CONNECT a.test:443 HTTP/1.1\r\nHost: a.test\r\n\r\n").await
}

#[tokio::test]
async fn the_very_certificate_is_accepted_though_it_is_an_authority() {
    let Some(made) = make("DNS:localhost", &[]) else { return };
    let answer = answer(&made, &made.certificate).await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("welcome"), "{answer}");
}

#[tokio::test]
async fn another_certificate_name_or_time_is_refused() {
    let (Some(made), Some(other)) = (make("DNS:localhost", &[]), make("DNS:localhost", &[])) else {
        return;
    };
    let refused = answer(&other, &made.certificate).await;
    assert!(
        refused.starts_with("HTTP/1.1 502 ") && refused.contains("it is self-signed"),
        "{refused}"
    );
    assert!(!refused.contains("OtherError"), "no name of a library's error: {refused}");
    let Some(named) = make("DNS:elsewhere.test", &[]) else { return };
    let refused = answer(&named, &named.certificate).await;
    assert!(
        refused.starts_with("HTTP/1.1 502 ") && refused.contains("elsewhere.test"),
        "{refused}"
    );
    let Some(old) = make("DNS:localhost", &["faketime", "2020-01-01"]) else { return };
    let refused = answer(&old, &old.certificate).await;
    assert!(refused.starts_with("HTTP/1.1 502 ") && refused.contains("expired"), "{refused}");
}

/// Has an authority, whose certificate comes second, issue one that has the common name `localhost` and no other. Returns `None`
/// without openssl.
fn issue_without_names() -> Option<(Made, PathBuf)> {
    let openssl = Program::find_or_skip("openssl")?;
    let directory = tempfile::tempdir().unwrap();
    let run = |line: &str| {
        let mut command = Command::new(openssl.path());
        let output = command.args(line.split(' ')).current_dir(directory.path()).output().unwrap();
        assert!(output.status.success(), "{line}: {output:?}");
    };
    run("req -x509 -newkey rsa:2048 -nodes -subj /CN=authority -keyout ca.key -out ca.pem");
    run("req -newkey rsa:2048 -nodes -subj /CN=localhost -keyout key.pem -out request.pem");
    // Without any extension, openssl may write version 1, which no server of these tests can show.
    std::fs::write(directory.path().join("extensions"), "basicConstraints=CA:FALSE").unwrap();
    let signed = "-CA ca.pem -CAkey ca.key -CAcreateserial -extfile extensions";
    run(&format!("x509 -req -in request.pem {signed} -out made.pem"));
    let [certificate, key, authority] =
        ["made.pem", "key.pem", "ca.pem"].map(|file| directory.path().join(file));
    Some((Made { _directory: directory, certificate, key }, authority))
}

#[tokio::test]
async fn a_certificate_that_names_no_host_has_to_be_issued_again() {
    let Some((made, authority)) = issue_without_names() else { return };
    let refused = answer(&made, &authority).await;
    for words in [
        "HTTP/1.1 502 ",
        "it has no subjectAltName, and so is not for localhost",
        "issued again with `subjectAltName=DNS:localhost`",
        "no `server_name` fits it",
    ] {
        assert!(refused.contains(words), "{words}: {refused}");
    }
}
