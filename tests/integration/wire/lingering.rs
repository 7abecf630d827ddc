//! Refusals of requests whose clients are still sending: the answer is read anyway.

use std::{net::SocketAddr, process::Stdio};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    process::Command,
};

use crate::support::{Double, Program, Proxy, Step, fill, free_port, head, open, rest, within};

const BODY_BYTES: usize = 20 << 20;

/// A proxy that refuses: the target to ask it for, and the status that it answers.
struct Refusal {
    proxy: Proxy,
    target: String,
    status: u16,
    _peer: Option<Double>,
}

/// Refusals of every kind: by the proxy, by a hop, by an address without a listener, and by an origin that reads no further.
async fn refusals() -> Vec<Refusal> {
    let auth =
        Proxy::start("server: { auth: { username: u, password: p } }\nchains: { default: [] }\n")
            .await;
    let closed = Proxy::start("chains: { default: [] }\n").await;
    let words = "HTTP/1.1 407 Auth\r\nProxy-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n";
    let hop = Double::start([Step::Answer(words.into()), Step::Reset]).await;
    let hopped = Proxy::start(&format!(
        "hops: {{ corporate: {{ kind: http-connect, address: \"{}\" }} }}\nchains: {{ default: [corporate] }}\n",
        hop.address()
    ))
    .await;
    let origin = "HTTP/1.1 413 Large\r\nContent-Length: 2\r\n\r\nno";
    let origin = Double::start([Step::Answer(origin.into()), Step::End]).await;
    let direct = Proxy::start("chains: { default: [] }\n").await;
    let target = origin.address().to_string();
    let refusal = |proxy, target: &str, status, peer| Refusal {
        proxy,
        target: target.into(),
        status,
        _peer: peer,
    };
    vec![
        refusal(auth, "origin.test:80", 407, None),
        refusal(closed, &format!("127.0.0.1:{}", free_port()), 502, None),
        refusal(hopped, "origin.test:80", 502, Some(hop)),
        refusal(direct, &target, 413, Some(origin)),
    ]
}

#[tokio::test]
async fn a_client_that_sends_everything_first_reads_its_refusal() {
    let body = fill(BODY_BYTES);
    for Refusal { proxy, target, status, _peer } in refusals().await {
        for _ in 0..3 {
            let mut client = open(proxy.address()).await;
            let request = format!(
                "POST http://{target}/ HTTP/1.1\r\nHost: x\r\nContent-Length: {BODY_BYTES}\r\n\r\n"
            );
            client.write_all(request.as_bytes()).await.unwrap();
            within("all is taken", client.write_all(&body)).await.unwrap();
            // Not to the end: an origin that answers after it has the whole body leaves the connection open.
            let told = head(&mut client).await;
            assert!(told.starts_with(&format!("HTTP/1.1 {status} ")), "{told}");
        }
    }
}

#[tokio::test]
async fn a_refused_tunnel_whose_client_sends_on_is_read_too() {
    let body = fill(BODY_BYTES);
    let closed = format!("127.0.0.1:{}", free_port());
    let proxy = Proxy::start("chains: { default: [] }\n").await;
    let mut client = open(proxy.address()).await;
    let head = format!("CONNECT {closed} HTTP/1.1\r\nHost: x\r\n\r\n");
    client.write_all(head.as_bytes()).await.unwrap();
    within("all is taken", client.write_all(&body)).await.unwrap();
    assert!(rest(&mut client).await.starts_with("HTTP/1.1 502 "));
    let mut client = open(proxy.address()).await;
    client.write_all(b"NONSENSE\r\n\r\n").await.unwrap();
    within("all is taken", client.write_all(&body)).await.unwrap();
    assert!(rest(&mut client).await.starts_with("HTTP/1.1 400 "));
}

#[tokio::test]
async fn a_client_that_sends_without_end_is_cut_off() {
    let proxy = Proxy::start("chains: { default: [] }\n").await;
    let block = fill(1 << 20);
    let mut client = open(proxy.address()).await;
    client.write_all(b"NONSENSE\r\n\r\n").await.unwrap();
    let (mut read, mut write) = client.split();
    let mut told = String::new();
    within("its answer", async {
        let _ = tokio::join!(read.read_to_string(&mut told), async {
            let mut taken = 0_u64;
            while write.write_all(&block).await.is_ok() {
                taken += block.len() as u64;
                assert!(taken < 1 << 30, "a GiB was taken");
            }
        });
    })
    .await;
    assert!(told.starts_with("HTTP/1.1 400 "), "{told:?}");
}

#[tokio::test]
async fn curl_reads_its_refusal() {
    let arguments = ["-sS", "-o", "-", "-w", "%{http_code}", "-H", "Expect:"];
    let Some(curl) = Program::find_or_skip("curl") else { return };
    let body = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(body.path(), fill(BODY_BYTES)).unwrap();
    for Refusal { proxy, target, status, _peer } in refusals().await {
        let mut command = client(&curl);
        command.args(arguments).args(["-x", &proxy.url(), "--data-binary"]);
        command.arg(format!("@{}", body.path().display())).arg(format!("http://{target}/"));
        check(command, status).await;
    }
}

#[tokio::test]
async fn node_reads_its_refusal() {
    let Some(node) = Program::find_or_skip("node") else { return };
    for Refusal { proxy, target, status, _peer } in refusals().await {
        let SocketAddr::V4(address) = proxy.address() else { continue };
        let script = format!(
            "const request = require('http').request({{ host: '127.0.0.1', port: {}, method: 'POST', \
             path: 'http://{target}/', headers: {{ 'content-length': {BODY_BYTES} }} }}, response => {{ \
             response.resume(); response.on('end', () => console.log(response.statusCode)) }}); \
             request.on('error', error => console.log(error.code)); request.end(Buffer.alloc({BODY_BYTES}))",
            address.port()
        );
        for _ in 0..4 {
            let mut command = client(&node);
            command.args(["-e", &script]);
            check(command, status).await;
        }
    }
}

#[tokio::test]
async fn requests_reads_its_refusal() {
    let Some(python) = Program::find_or_skip("python3") else { return };
    for Refusal { proxy, target, status, _peer } in refusals().await {
        let script = format!(
            "import requests\nanswer = requests.post('http://{target}/', data=b'x' * {BODY_BYTES}, \
             proxies={{'http': '{}'}})\nprint(answer.status_code)",
            proxy.url()
        );
        let mut command = client(&python);
        command.args(["-c", &script]);
        check(command, status).await;
    }
}

fn client(program: &Program) -> Command {
    let mut command = Command::new(program.path());
    for variable in ["http_proxy", "HTTP_PROXY", "no_proxy", "NO_PROXY", "all_proxy", "ALL_PROXY"] {
        command.env_remove(variable);
    }
    command.stdin(Stdio::null()).kill_on_drop(true);
    command
}

async fn check(mut command: Command, status: u16) {
    let output = within("the client ends", command.output()).await.unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(told.trim_end().ends_with(&status.to_string()), "{status}: {output:?}");
}
