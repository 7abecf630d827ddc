//! Only the owner of the proxy can use the control socket.

use std::{
    fs,
    os::unix::{
        fs::{MetadataExt as _, PermissionsExt as _},
        net::UnixListener,
    },
    path::{Path, PathBuf},
    process::Command,
};

use rustix::process::Signal;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixStream,
};

use crate::support::{ConfigDir, Program, Proxy, exchange, pause, skip, within};

const DIRECT: &str = "chains: { default: [] }\n";

/// Returns the sockets in the runtime directory of `config`.
fn sockets(config: &ConfigDir) -> Vec<PathBuf> {
    let directory = config.runtime().join("mooltiroute");
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let paths = entries.map(|entry| entry.unwrap().path());
    paths.filter(|path| path.extension().is_some_and(|end| end == "sock")).collect()
}

#[track_caller]
fn socket(config: &ConfigDir) -> PathBuf {
    let [socket] = sockets(config).try_into().unwrap();
    socket
}

/// Sends `request` to the socket at `path`, and reads to the end.
async fn ask(path: &Path, request: &[u8]) -> String {
    let mut stream = UnixStream::connect(path).await.unwrap();
    // A refusal may come before everything is sent.
    let _ = stream.write_all(request).await;
    let mut answer = Vec::new();
    let _ = within("the answer", stream.read_to_end(&mut answer)).await;
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn the_socket_is_for_its_owner_alone_and_goes_with_the_proxy() {
    let mut proxy = Proxy::start(DIRECT).await;
    let socket = socket(proxy.config());
    let address = proxy.address();
    assert_eq!(socket.file_name().unwrap(), &*format!("127.0.0.1-{}.sock", address.port()));
    let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
    assert_eq!((mode(&socket), mode(socket.parent().unwrap())), (0o600, 0o700));
    proxy.signal(Signal::TERM);
    assert!(proxy.exit().await.success());
    assert!(sockets(proxy.config()).is_empty());
}

#[tokio::test]
async fn a_socket_that_a_killed_proxy_left_is_replaced() {
    let port = crate::support::free_port();
    let config = ConfigDir::new(DIRECT);
    config.write("00-server.yaml", &format!("server: {{ listen: \"127.0.0.1:{port}\" }}\n"));
    let directory = config.runtime().join("mooltiroute");
    fs::create_dir(&directory).unwrap();
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o700)).unwrap();
    // The file stays when the listener is closed, as after a kill.
    for name in [format!("127.0.0.1-{port}.sock"), "127.0.0.1-1.sock".to_owned()] {
        drop(UnixListener::bind(directory.join(name)).unwrap());
    }
    let proxy = Proxy::on(config, &[]).await;
    let socket = socket(proxy.config());
    assert_eq!(socket.file_name().unwrap(), &*format!("127.0.0.1-{port}.sock"));
    assert_eq!(proxy.command(&["ps"]).status.code(), Some(0));
}

#[tokio::test]
async fn a_directory_that_others_may_enter_is_not_used() {
    let config = ConfigDir::new(DIRECT);
    let directory = config.runtime().join("mooltiroute");
    fs::create_dir(&directory).unwrap();
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o755)).unwrap();
    // Nor is the second choice, which is a link here.
    let uid = fs::metadata(&directory).unwrap().uid();
    let second = config.runtime().join(format!("mooltiroute-{uid}"));
    std::os::unix::fs::symlink("/tmp", second).unwrap();
    let proxy = Proxy::on(config, &[]).await;
    let event =
        proxy.event("no control socket; ps, top, kill and reload can't reach this proxy").await;
    assert!(
        event.field("error").contains("it is not a directory, or only a link to one"),
        "{event:?}"
    );
    assert!(event.field("advice").contains("RuntimeDirectory="), "{event:?}");
    let address = proxy.address().to_string();
    for command in [&["ps"][..], &["reload"], &["kill", "1"]] {
        let output = proxy.command(&[command, &["--address", &address]].concat());
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{command:?}: {said}");
        assert!(said.contains("it could not make its control socket"), "{command:?}: {said}");
        assert!(
            said.contains("it is not a directory, or only a link to one"),
            "{command:?}: {said}"
        );
        assert!(said.contains("set XDG_RUNTIME_DIR"), "{command:?}: {said}");
    }
}

#[tokio::test]
async fn exec_asks_a_proxy_without_a_socket_whether_clients_may_choose() {
    let port = crate::support::free_port();
    let config = ConfigDir::new(DIRECT);
    config.write("00-server.yaml", &format!("server: {{ listen: \"127.0.0.1:{port}\" }}\n"));
    let path = config.path().to_str().unwrap().to_owned();
    let proxy = Proxy::on(config, &[]).await;
    proxy.config().write(
        "20-choice.yaml",
        "hops: { exit: { kind: rotating, address: \"p.test:1\", sessions: by-client, username: \"${NO_SUCH_VARIABLE}\" } }\n\
         chains: { default: [exit] }\n",
    );
    proxy.event("config rejected").await;
    // Without the socket, only its port is left, as for a proxy of another user.
    fs::remove_file(socket(proxy.config())).unwrap();
    let output = proxy.command(&["exec", "-c", &path, "--session", "alice", "--", "true"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("The running proxy says so"), "{said}");
}

#[tokio::test]
async fn a_socket_whose_directory_was_removed_is_made_again_by_a_reload() {
    let port = crate::support::free_port();
    let config = ConfigDir::new(DIRECT);
    config.write("00-server.yaml", &format!("server: {{ listen: \"127.0.0.1:{port}\" }}\n"));
    config.write("20-hops.yaml", "hops: { ws: { kind: http-connect, address: \"a.test:1\" } }\n");
    let mut proxy = Proxy::on(config, &[]).await;
    let directory = proxy.config().runtime().join("mooltiroute");
    let name = socket(proxy.config());
    for is_edit in [false, true] {
        fs::remove_dir_all(&directory).unwrap();
        let seen = proxy.events().len();
        if is_edit {
            proxy.config().write("30-more.yaml", "timeouts: { idle: 1h }\n");
        } else {
            proxy.signal(Signal::HUP);
        }
        proxy.event_after(seen, "control socket opened again").await;
        assert_eq!(socket(proxy.config()), name);
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
        assert_eq!((mode(&name), mode(&directory)), (0o600, 0o700));
        let output = proxy.command(&["ps"]);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
    }
    // A reload leaves a socket alone that is in its place.
    let (seen, inode) = (proxy.events().len(), fs::metadata(&name).unwrap().ino());
    proxy.signal(Signal::HUP);
    proxy.event_after(seen, "config unchanged").await;
    assert_eq!(fs::metadata(&name).unwrap().ino(), inode);
    proxy.signal(Signal::TERM);
    assert!(proxy.exit().await.success());
    assert!(sockets(proxy.config()).is_empty());
}

#[tokio::test]
async fn a_proxy_of_this_user_without_its_socket_is_not_called_that_of_another_user() {
    let port = crate::support::free_port();
    let config = ConfigDir::new(DIRECT);
    config.write("00-server.yaml", &format!("server: {{ listen: \"127.0.0.1:{port}\" }}\n"));
    config.write("20-hops.yaml", "hops: { ws: { kind: http-connect, address: \"a.test:1\" } }\n");
    let mut proxy = Proxy::on(config, &[]).await;
    let pid = proxy.pid();
    fs::remove_dir_all(proxy.config().runtime().join("mooltiroute")).unwrap();
    let said = |arguments: &[&str]| {
        let output = proxy.command(arguments);
        [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap()).concat()
    };
    let started = said(&["run", "--take-over"]);
    let hup = format!("`kill -HUP {pid}` makes the proxy open a new one");
    for words in [&format!("process {pid} of this user"), &hup] {
        assert!(started.contains(words.as_str()), "{started}");
    }
    let listed = said(&["ps"]);
    assert!(listed.contains(&hup), "{listed}");
    let switched = said(&["hop", "ws", "off"]);
    assert!(switched.contains("whose control socket this command does not find"), "{switched}");
    for said in [started, switched] {
        assert!(!said.contains("another user"), "{said}");
    }
}

#[tokio::test]
async fn a_missing_runtime_directory_is_made() {
    let config = ConfigDir::new(DIRECT);
    fs::remove_dir(config.runtime()).unwrap();
    let proxy = Proxy::on(config, &[]).await;
    assert_eq!(proxy.command(&["ps"]).status.code(), Some(0));
}

#[tokio::test]
async fn web_pages_and_nonsense_are_refused() {
    let mut proxy = Proxy::start(DIRECT).await;
    let socket = socket(proxy.config());
    let answers = [
        ("GET /v1/connections HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), "200"),
        (
            "GET /v1/connections HTTP/1.1\r\nHost: a\r\nOrigin: http://localhost\r\n\r\n".into(),
            "403",
        ),
        ("POST /v1/kill HTTP/1.1\r\nHost: a\r\nSec-Fetch-Site: none\r\n\r\n".into(), "403"),
        ("GET /v1/kill HTTP/1.1\r\nHost: a\r\n\r\n".into(), "405"),
        ("GET /v1/reload HTTP/1.1\r\nHost: a\r\n\r\n".into(), "405"),
        ("POST /v1/connections HTTP/1.1\r\nHost: a\r\n\r\n".into(), "405"),
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\n".into(), "404"),
        ("POST /v1/kill HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}".into(), "400"),
        ("POST /v1/kill HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n{\"ids\":7}".into(), "400"),
        ("POST /v1/kill HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\n\r\n".into(), "413"),
        ("POST /v1/kill HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n".into(), "400"),
        ("nonsense\r\n\r\n".into(), "400"),
        (format!("GET /v1/proxy HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(20_000)), "400"),
    ];
    for (request, expected) in answers {
        let answer = ask(&socket, request.as_bytes()).await;
        let status = answer.split(' ').nth(1).unwrap_or_default();
        assert_eq!(status, expected, "{request}\n{answer}");
    }
    // Each part may come alone.
    let mut stream = UnixStream::connect(&socket).await.unwrap();
    let body = "{\"ids\":[7]}";
    let length = body.len();
    let request =
        format!("POST /v1/kill HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n{body}");
    for byte in request.bytes() {
        stream.write_all(&[byte]).await.unwrap();
        pause().await;
    }
    let mut answer = String::new();
    within("the answer", stream.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.ends_with("{\"killed\":[]}\n"), "{answer}");
    proxy.assert_is_well().await;
}

#[tokio::test]
async fn the_port_of_the_proxy_changes_nothing() {
    let mut proxy = Proxy::start(DIRECT).await;
    for path in ["/v1/kill", "/v1/reload", "/v1/check", "/v1/connections", "/v1/proxy", "/kill"] {
        for method in ["GET", "POST", "PUT", "DELETE"] {
            let request = format!(
                "{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            );
            let answer = exchange(proxy.address(), request.as_bytes()).await;
            assert!(answer.starts_with("HTTP/1.1 404 "), "{request}{answer}");
        }
    }
    proxy.assert_is_well().await;
}

#[tokio::test]
async fn curl_can_use_the_socket() {
    let Some(curl) = Program::find_or_skip("curl") else { return };
    let proxy = Proxy::start(DIRECT).await;
    let socket = socket(proxy.config());
    let output = tokio::process::Command::new(curl.path())
        .args(["-sS", "--fail", "-X", "POST", "-d", "{\"older_generations\":{}}", "--unix-socket"])
        .arg(socket)
        .arg("http://mooltiroute/v1/kill")
        .output();
    let output = within("curl", output).await.unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "{\"killed\":[]}\n", "{output:?}");
}

#[tokio::test]
async fn two_proxies_of_one_user_are_distinguished() {
    let one = Proxy::start(DIRECT).await;
    let other = Proxy::beside(&one, ConfigDir::new("chains: { default: [], other: [] }\n")).await;
    assert_eq!(sockets(one.config()).len(), 2);
    for proxy in [&one, &other] {
        let path = proxy.config().path().to_str().unwrap();
        let address = proxy.address().to_string();
        for choice in [["-c", path], ["--address", &address]] {
            let output = one.command_for(&["reload", choice[0], choice[1], "--format", "json"]);
            assert_eq!(output.status.code(), Some(0), "{output:?}");
        }
    }
    let output = one.command_for(&["ps"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "neither is meant");
    for proxy in [&one, &other] {
        assert!(said.contains(&proxy.address().to_string()), "{said}");
    }
    let reloads = |proxy: &Proxy| {
        proxy.events().iter().filter(|event| event.message() == "config unchanged").count()
    };
    within("each was reloaded twice", async {
        while (reloads(&one), reloads(&other)) != (2, 2) {
            pause().await;
        }
    })
    .await;
}

/// The number of a user who owns nothing here.
const SOMEONE: &str = "65534";

#[tokio::test]
async fn another_user_of_the_machine_reaches_nothing() {
    let Some(setpriv) = Program::find_or_skip("setpriv") else { return };
    let Some(curl) = Program::find_or_skip("curl") else { return };
    if !rustix::process::geteuid().is_root() {
        return skip("a second user (this needs root)");
    }
    let proxy = Proxy::start(DIRECT).await;
    let socket = socket(proxy.config());
    let as_someone = |socket: &Path| {
        let output = Command::new(setpriv.path())
            .args(["--reuid", SOMEONE, "--regid", SOMEONE, "--clear-groups"])
            .arg(curl.path())
            .args(["-sS", "-X", "POST", "--unix-socket"])
            .arg(socket)
            .arg("http://mooltiroute/v1/reload")
            .output()
            .unwrap();
        assert!(!output.status.success() && output.stdout.is_empty(), "{output:?}");
    };
    as_someone(&socket);
    // Even if every permission is given away, the peer is not the owner.
    fs::set_permissions(proxy.config().runtime(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(socket.parent().unwrap(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(&socket, fs::Permissions::from_mode(0o666)).unwrap();
    as_someone(&socket);
    proxy.event("another user tried to use the control socket").await;
    let reloads =
        proxy.events().iter().filter(|event| event.message() == "config unchanged").count();
    assert_eq!(reloads, 0);
}
