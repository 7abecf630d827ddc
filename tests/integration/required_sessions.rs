//! Clients that name no session: `sessions: by-client-required` asks for one, and `sessions: by-client` leaves a note.

use std::process::Stdio;

use tokio::{io::AsyncReadExt as _, io::AsyncWriteExt as _, process::Command};

use crate::support::{
    Double, PASSWORD, Program, Proxy, Step, USERNAME, exchange, head, open, within,
};

/// A provider that says yes to everything, and a proxy whose only hop it is.
async fn start(server: &str) -> (Double, Proxy) {
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    let provider = Double::start(vec![Step::Answer(answer.into()); 4]).await;
    let proxy = Proxy::start(&format!(
        "{server}hops: {{ webshare: {{ kind: webshare, address: \"{}\", username: {USERNAME}, password: {PASSWORD}, \
         sessions: by-client-required, session_max: 100 }} }}\nchains: {{ default: [webshare] }}\n",
        provider.address()
    ))
    .await;
    (provider, proxy)
}

fn basic(credentials: &str) -> String {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    format!("Proxy-Authorization: Basic {}\r\n", STANDARD.encode(credentials))
}

#[tokio::test]
async fn a_client_without_a_session_is_asked_for_one_with_instructions() {
    let (provider, proxy) = start("").await;
    let plain = |fields: &str| {
        format!("GET http://a.test/ HTTP/1.1\r\nHost: a.test\r\n{fields}Connection: close\r\n\r\n")
    };
    let connect =
        |fields: &str| format!("CONNECT a.test:443 HTTP/1.1\r\nHost: a.test\r\n{fields}\r\n");
    for request in [&plain as &dyn Fn(&str) -> String, &connect] {
        // A country alone names no session, and neither does a username that some browser remembers.
        for fields in [String::new(), basic("country-us:"), basic("joe:word")] {
            let answer = exchange(proxy.address(), request(&fields).as_bytes()).await;
            assert!(answer.starts_with("HTTP/1.1 407 "), "{answer}");
            assert!(answer.contains("Proxy-Authenticate: Basic realm="), "{answer}");
            let (head, text) = answer.split_once("\r\n\r\n").unwrap();
            let is_told = head.contains("(no username was sent; write session-NAME:x@)");
            assert_eq!(is_told, fields.is_empty(), "{answer}");
            assert!(head.contains("session-NAME") && text.contains("session-NAME"), "{answer}");
        }
    }
    assert_eq!(provider.sent(), "", "nothing was tried");
    let answer = exchange(proxy.address(), plain(&basic("session-alice:")).as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(provider.sent().contains(&basic("dev-73:secret")), "{}", provider.sent());
}

#[tokio::test]
async fn beside_credentials_of_the_proxy_the_session_is_appended() {
    let (_, proxy) = start("server: { auth: { username: joe, password: word } }\n").await;
    let ask = async |credentials: &str| {
        let fields = basic(credentials);
        let request = format!("CONNECT a.test:443 HTTP/1.1\r\nHost: a.test\r\n{fields}\r\n");
        let mut client = open(proxy.address()).await;
        client.write_all(request.as_bytes()).await.unwrap();
        head(&mut client).await
    };
    let answer = ask("joe:word").await;
    assert!(
        answer.starts_with("HTTP/1.1 407 ") && answer.contains("append +session-NAME"),
        "{answer}"
    );
    let answer = ask("joe:wrong").await;
    assert!(answer.starts_with("HTTP/1.1 407 ") && !answer.contains("+session"), "{answer}");
    assert!(ask("joe+session-a:word").await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn a_socks_client_without_a_session_is_refused_by_rule() {
    let (provider, proxy) = start("").await;
    let target = b"\x05\x01\x00\x03\x06a.test\x01\xbb";
    let ask = async |greeting: &[u8], login: &[u8]| {
        let mut client = open(proxy.address()).await;
        client.write_all(&[greeting, login, target].concat()).await.unwrap();
        let mut answer = vec![0; 2 + if login.is_empty() { 0 } else { 2 } + 2];
        within("the answers", client.read_exact(&mut answer)).await.unwrap();
        answer
    };
    assert_eq!(ask(b"\x05\x01\x00", b"").await, b"\x05\x00\x05\x02");
    assert_eq!(ask(b"\x05\x02\x00\x02", b"\x01\x03joe\x00").await, b"\x05\x02\x01\x00\x05\x02");
    let denied = proxy.event("request denied").await;
    assert!(denied.field("reason").contains("session-NAME"), "{denied:?}");
    assert_eq!(provider.sent(), "", "nothing was tried");
    let login = b"\x01\x0dsession-alice\x00";
    assert_eq!(ask(b"\x05\x02\x00\x02", login).await, b"\x05\x02\x01\x00\x05\x00");
    assert!(provider.sent().contains(&basic("dev-73:secret")), "{}", provider.sent());
}

#[tokio::test]
async fn curl_and_git_answer_the_question() {
    let (provider, proxy) = start("").await;
    let address = proxy.address();
    if let Some(curl) = Program::find_or_skip("curl") {
        let mut command = Command::new(curl.path());
        command.args([
            "-sS",
            "--noproxy",
            "",
            "--proxy-anyauth",
            "-x",
            &format!("http://{address}"),
        ]);
        command.args([
            "-U",
            "session-alice:x",
            "-o",
            "/dev/null",
            "-w",
            "%{http_code}",
            "http://a.test/",
        ]);
        let output = within("curl ends", command.kill_on_drop(true).output()).await.unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "200", "{output:?}");
        assert!(provider.sent().contains(&basic("dev-73:secret")), "{}", provider.sent());
    }
    if let Some(git) = Program::find_or_skip("git") {
        let mut command = Command::new(git.path());
        command
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env_remove("no_proxy");
        command.args(["-c", &format!("http.proxy=http://session-bob:x@{address}")]);
        command.args(["ls-remote", "http://a.test/repository.git"]).stdin(Stdio::null());
        // The answer is empty, which git takes for an empty repository.
        within("git ends", command.kill_on_drop(true).output()).await.unwrap();
        let sent = provider.sent();
        let git = sent.split("GET ").find(|request| request.contains("repository.git"));
        assert!(
            git.is_some_and(|request| request.contains("Proxy-Authorization: Basic ")),
            "{sent}"
        );
        assert!(!git.unwrap().contains(&basic("dev-73:secret")), "another session");
    }
}

/// The request of SOCKS5 for `a.test:443` without a username.
const SOCKS: &[u8] = b"\x05\x01\x00\x05\x01\x00\x03\x06a.test\x01\xbb";

#[tokio::test]
async fn a_client_without_a_session_is_seen_in_its_line_and_noted_once_for_each_hop() {
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    let provider = Double::start([Step::Answer(answer.into()), Step::End]).await;
    let hop = |sessions: &str| {
        format!(
            "{{ kind: webshare, address: \"{}\", username: {USERNAME}, password: {PASSWORD}, session: rotate, \
             sessions: {sessions} }}",
            provider.address()
        )
    };
    let (own, fixed) = (hop("by-client"), hop("fixed"));
    let proxy = Proxy::start(&format!(
        "hops:\n  own: {own}\n  fixed: {fixed}\n  exits: {{ kind: pool, members: [own] }}\n  \
         unnamed: {{ kind: pool, members: [{own}] }}\n  sticky: {{ kind: pool, members: [fixed], pick: sticky }}\n\
         chains: {{ own: [own], fixed: [fixed], exits: [exits], unnamed: [unnamed], sticky: [sticky] }}\n\
         routes:\n  - {{ hosts: [fixed.test], chain: fixed }}\n  - {{ hosts: [exits.test], chain: exits }}\n  \
         - {{ hosts: [unnamed.test], chain: unnamed }}\n  - {{ hosts: [sticky.test], chain: sticky }}\n  \
         - {{ chain: own }}\n"
    ))
    .await;
    let get = |host: &str, fields: &str| {
        format!("GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\n{fields}Connection: close\r\n\r\n")
    };
    // Returns the session in the line of the request.
    let session = async |message: &str, request: &[u8]| {
        let seen = proxy.events().len();
        exchange(proxy.address(), request).await;
        let line = proxy.event_after(seen, message).await;
        line.at("/session").map(|session| session.to_string())
    };
    let none = Some("\"(none)\"".to_owned());
    for _ in 0..2 {
        assert_eq!(session("request", get("a.test", "").as_bytes()).await, none);
    }
    let connect = b"CONNECT a.test:443 HTTP/1.1\r\nHost: a.test\r\n\r\n";
    assert_eq!(session("tunnel closed", connect).await, none);
    assert_eq!(session("tunnel closed", SOCKS).await, none);
    // A country is not a session.
    let country = get("a.test", &basic("country-us:"));
    assert_eq!(session("request", country.as_bytes()).await, none);
    for host in ["exits.test", "unnamed.test"] {
        assert_eq!(session("request", get(host, "").as_bytes()).await, none, "{host}");
    }
    let named = get("a.test", &basic("session-alice:"));
    assert_eq!(session("request", named.as_bytes()).await.as_deref(), Some("\"alice\""));
    for host in ["fixed.test", "sticky.test"] {
        assert_eq!(session("request", get(host, "").as_bytes()).await, None, "{host}");
    }
    let notes = proxy.events().into_iter();
    let notes: Vec<_> =
        notes.filter(|event| event.message() == "the client names no session").collect();
    let hops: Vec<_> = notes.iter().map(|note| note.field("hop")).collect();
    assert_eq!(hops, ["own", "unnamed.members[0]"]);
    let advice = notes[0].field("advice");
    for words in [
        format!("`http://session-NAME:x@{}`", proxy.address()),
        "`sessions: by-client-required`".to_owned(),
    ] {
        assert!(advice.contains(&words), "{words}: {advice}");
    }
}
