//! The log: what it explains at `debug`, and its behaviour if its reader does not read.
#![cfg(target_os = "linux")]

use std::{
    fs::File,
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    process::{ExitStatus, Stdio},
};

use rustix::{
    pipe::{fcntl_setpipe_size, pipe},
    process::{Pid, Signal, kill_process},
};
use serde_json::Value;
use tokio::{
    io::AsyncWriteExt as _,
    net::TcpStream,
    process::{Child, Command},
    sync::mpsc,
    task,
};

use crate::support::{
    ConfigDir, Double, EchoOrigin, Event, HttpOrigin, Proxy, Step, connect, exchange, free_port,
    head, in_runtime, open, pause, ping, within,
};

#[tokio::test]
async fn an_answer_that_is_cut_is_logged_even_if_access_is_not() {
    let whole = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";
    let cut = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\nConnection: close\r\n\r\nok";
    let proxy = Proxy::start("log: { access: false }\nchains: { default: [] }\n").await;
    for answer in [whole, cut] {
        let origin = Double::start([Step::Answer(answer.into()), Step::End]).await;
        let at = origin.address();
        let request =
            format!("GET http://{at}/ HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\n\r\n");
        let answer = exchange(proxy.address(), request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }
    let event = proxy.event("request").await;
    assert!(event.field("end").starts_with("truncated"), "{event:?}");
    let requests = proxy.events();
    let requests = requests.iter().filter(|event| event.message() == "request");
    assert_eq!(requests.count(), 1);
}

#[tokio::test]
async fn at_debug_the_log_tells_each_step_of_a_connection_with_its_time() {
    let hop = Double::start([
        Step::Answer("HTTP/1.1 200 OK\r\n\r\n".into()),
        Step::Answer("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n".into()),
    ])
    .await;
    let yaml = format!(
        "hops:\n  first: {{ kind: http-connect, address: \"{0}\" }}\n  \
         second: {{ kind: http-connect, address: \"second.test:80\" }}\n\
         chains: {{ default: [first, second] }}\n",
        hop.address()
    );
    let proxy = Proxy::with_arguments(&yaml, &["--log-level", "debug"]).await;
    let request = b"CONNECT origin.test:443 HTTP/1.1\r\nHost: origin.test:443\r\n\r\n";
    let answer = exchange(proxy.address(), request).await;
    assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
    proxy.event("request failed").await;
    let events = proxy.events();
    let steps: Vec<_> =
        events.iter().filter(|event| event.message().starts_with("step ")).collect();
    let told = |event: &&Event| ["message", "step", "hop", "stop"].map(|field| event.field(field));
    assert_eq!(
        steps.iter().map(told).collect::<Vec<_>>(),
        [
            ["step done", "dial", "first", &hop.address().to_string()],
            ["step done", "extend", "first", "second.test:80"],
            ["step failed", "extend", "second", "origin.test:443"],
        ]
    );
    assert!(steps[2].field("error").contains("403"), "{:?}", steps[2]);
    let connection = |event: &Event| event.at("/span/connection").cloned();
    for step in steps {
        assert!(step.number("duration_seconds") > 0.0, "{step:?}");
        assert_eq!(connection(step), connection(&proxy.event("request begins").await));
        assert!(connection(step).is_some(), "{step:?}");
    }
}

#[tokio::test]
async fn a_method_as_long_as_a_head_is_shortened_in_the_log() {
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";
    let origin = Double::start([Step::Answer(answer.into())]).await;
    let yaml = "chains: { default: [] }\n";
    let proxy = Proxy::with_arguments(yaml, &["--log-level", "debug"]).await;
    let (at, method) = (origin.address(), "M".repeat(10_000));
    let request =
        format!("{method} http://{at}/ HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\n\r\n");
    let answer = exchange(proxy.address(), request.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    for message in ["request begins", "request"] {
        let event = proxy.event(message).await;
        assert_eq!(event.field("method"), "M".repeat(31) + "…", "{message}");
    }
}

#[tokio::test]
async fn an_unread_log_delays_no_request() {
    let origin = HttpOrigin::plain().await;
    let echo = EchoOrigin::start().await;
    let mut unread = Unread::start().await;
    let mut client = open(unread.address).await;
    let request = format!("GET {} HTTP/1.1\r\nHost: x\r\n\r\n", origin.url("/bytes/0"));
    for _ in 0..REQUESTS {
        client.write_all(request.as_bytes()).await.unwrap();
        assert!(head(&mut client).await.starts_with("HTTP/1.1 200 "));
    }
    let mut tunnel = connect(unread.address, echo.address()).await.tunnel();
    ping(&mut tunnel).await;
    drop((client, tunnel));

    // A late reader finds all that there was room for, the number of dropped lines, and the end.
    let log = BufReader::new(unread.log.take().unwrap());
    let (sender, mut receiver) = mpsc::unbounded_channel();
    let reader = task::spawn_blocking(move || {
        for line in log.lines() {
            sender.send(serde_json::from_str::<Value>(&line.unwrap()).unwrap()).unwrap();
        }
    });
    let mut events = Vec::new();
    while events.last().is_none_or(|event: &Value| event["lines"].is_null()) {
        events.push(within("the number of lost lines", receiver.recv()).await.unwrap());
    }
    // From here on there is room for every line.
    unread.signal(Signal::TERM);
    assert_eq!(unread.exit().await.code(), Some(0));
    within("the end of its log", reader).await.unwrap();
    while let Ok(event) = receiver.try_recv() {
        events.push(event);
    }
    let requests = events.iter().filter(|event| event["message"] == "request").count();
    let lost: u64 = events.iter().filter_map(|event| event["lines"].as_u64()).sum();
    assert!(requests > REQUESTS / 2 && lost > 0, "{requests} written, {lost} lost");
    // The tunnel left a line too, which is among the lost ones if there was no room yet.
    let tunnels = events.iter().filter(|event| event["message"] == "tunnel closed").count();
    assert_eq!(requests + tunnels + lost as usize, REQUESTS + 1);
    assert!(events.iter().any(|event| event["message"] == "stopped"));
}

#[tokio::test]
async fn an_unread_log_does_not_hold_up_the_end() {
    let mut unread = Unread::start().await;
    // More than the pipe holds.
    for _ in 0..40 {
        let refused = connect(unread.address, "127.0.0.1:1").await;
        assert!(refused.head.starts_with("HTTP/1.1 502 "), "{:?}", refused.head);
    }
    unread.signal(Signal::TERM);
    assert_eq!(unread.exit().await.code(), Some(0));
}

/// A proxy whose log is not read and has little room.
struct Unread {
    process: Child,
    address: SocketAddr,
    log: Option<File>,
    _config: ConfigDir,
}

impl Unread {
    async fn start() -> Self {
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let config = ConfigDir::new("chains: { default: [] }\n");
        config.write("00-server.yaml", &format!("server: {{ listen: \"{address}\" }}\n"));
        let (log, end) = pipe().unwrap();
        fcntl_setpipe_size(&end, 4096).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_mooltiroute"));
        command.args(["--log-format", "json", "-c"]).arg(config.path()).env_remove("RUST_LOG");
        in_runtime(command.as_std_mut(), config.runtime());
        let process = command.stderr(Stdio::from(end)).kill_on_drop(true).spawn().unwrap();
        within("it listens", async {
            while TcpStream::connect(address).await.is_err() {
                pause().await;
            }
        })
        .await;
        Self { process, address, log: Some(log.into()), _config: config }
    }

    fn signal(&self, signal: Signal) {
        let process = Pid::from_raw(self.process.id().unwrap() as i32).unwrap();
        kill_process(process, signal).unwrap();
    }

    async fn exit(&mut self) -> ExitStatus {
        within("its end", self.process.wait()).await.unwrap()
    }
}

/// Whose lines need more than a MiB.
const REQUESTS: usize = 4000;
