//! The rounds of a login that precede a plain request with a body, which can't be sent twice: whatever the proxy makes of
//! them, the request itself arrives once.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    time::sleep,
};

use crate::{
    auth_schemes::ntlm_challenge,
    support::{
        HttpOrigin, PASSWORD, Proxy, Squid, SquidRules, USERNAME, assert_reads, exchange, head,
        open, read_through,
    },
};

/// The answer of a hop to one request.
enum Said {
    Answer(String),
    /// An answer, and these bytes a moment later.
    AnswerAnd(&'static str, &'static str),
    AnswerAndClose(String),
    Close,
    Silence,
}

/// A hop that answers each request by its method and its message of NTLM. `bool` is the state of the connection.
type Answers = fn(&Asked, &mut bool) -> Said;

/// A request that a hop received.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Asked {
    method: String,
    /// The number of its message of NTLM, or zero.
    message: u8,
    has_login: bool,
    /// The count of the nonce of its login by Digest.
    nonce_count: Option<u32>,
}

/// A hop inside the test.
struct Hop {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Hop {
    async fn start(answers: Answers) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let all = Arc::clone(&asked);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, answers, Arc::clone(&all)));
            }
        });
        Self { address, asked }
    }

    fn count(&self, method: &str, message: u8) -> usize {
        let asked = self.asked.lock().unwrap();
        asked.iter().filter(|asked| asked.method == method && asked.message == message).count()
    }

    async fn proxy(&self, auth: &str) -> Proxy {
        Proxy::start(&yaml(self.address, auth, "timeouts: { handshake: 4s }\n")).await
    }
}

async fn serve(mut stream: TcpStream, answers: Answers, all: Arc<Mutex<Vec<Asked>>>) {
    let mut state = false;
    loop {
        let mut seen = Vec::new();
        let reading = read_through(&mut stream, "\r\n\r\n", |bytes| seen.extend_from_slice(bytes));
        if !reading.await.unwrap_or(false) {
            return;
        }
        let text = String::from_utf8(seen).unwrap();
        if text.contains("Content-Length: 3\r\n") {
            let mut body = [0; 3];
            if stream.read_exact(&mut body).await.is_err() {
                return;
            }
            assert_eq!(&body, BODY.as_bytes());
        }
        // The first bytes of a message tell its number, in Base64.
        let message = [("NTLM TlRMTVNTUAAB", 1), ("NTLM TlRMTVNTUAAD", 3)];
        let message = message.into_iter().find(|(start, _)| text.contains(start));
        let method = text.split(' ').next().unwrap().to_owned();
        let message = message.map_or(0, |(_, number)| number);
        let has_login = text.contains("\r\nProxy-Authorization: ");
        let count = text.split_once(" nc=").and_then(|(_, rest)| rest.get(..8));
        let nonce_count = count.map(|count| u32::from_str_radix(count, 16).unwrap());
        let asked = Asked { method, message, has_login, nonce_count };
        all.lock().unwrap().push(asked.clone());
        let (words, closes) = match answers(&asked, &mut state) {
            Said::Answer(words) => (words, false),
            Said::AnswerAnd(words, more) => {
                let _ = stream.write_all(words.as_bytes()).await;
                sleep(Duration::from_millis(50)).await;
                (more.to_owned(), false)
            }
            Said::AnswerAndClose(words) => (words, true),
            Said::Close => return,
            Said::Silence => (String::new(), false),
        };
        let _ = stream.write_all(words.as_bytes()).await;
        if closes {
            return;
        }
    }
}

fn yaml(hop: SocketAddr, auth: &str, more: &str) -> String {
    format!(
        "{more}hops:\n  corporate: {{ kind: http-connect, address: \"{hop}\", auth: [{auth}], username: {USERNAME}, \
         password: {PASSWORD} }}\nchains: {{ default: [corporate] }}\n"
    )
}

fn ok(asked: &Asked) -> Said {
    let body = if asked.method == "HEAD" { "" } else { "ok" };
    Said::Answer(format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{body}"))
}

fn challenge(scheme: &str) -> Said {
    let fields = format!("Proxy-Authenticate: {scheme}\r\nContent-Length: 0\r\n");
    Said::Answer(format!("HTTP/1.1 407 Who\r\n{fields}\r\n"))
}

fn head_or(asked: &Asked, said: Said) -> Said {
    if asked.method == "HEAD" { said } else { ok(asked) }
}

/// Sends a POST on a connection of its own.
async fn post(proxy: &Proxy, url: &str) -> String {
    let request = format!(
        "POST {url} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 3\r\n\r\n{BODY}"
    );
    exchange(proxy.address(), request.as_bytes()).await
}

#[tokio::test]
async fn a_request_arrives_once_whatever_answers_the_head_before_it() {
    let answers: [(&str, Answers); 9] = [
        ("nothing but a head", |asked, _| ok(asked)),
        ("a body", |asked, _| {
            let answer = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
            head_or(asked, Said::Answer(answer.into()))
        }),
        ("a body that is an answer", |asked, _| {
            let answer = "HTTP/1.1 200 OK\r\nContent-Length: 44\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nWRONG!";
            head_or(asked, Said::Answer(answer.into()))
        }),
        ("a body that comes later", |asked, _| {
            let answer = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";
            head_or(asked, Said::AnswerAnd(answer, "hello"))
        }),
        ("nothing", |asked, _| head_or(asked, Said::Silence)),
        ("the end", |asked, _| head_or(asked, Said::Close)),
        ("a failure", |asked, _| {
            let answer = "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n";
            head_or(asked, Said::Answer(answer.into()))
        }),
        ("a head and the end", |asked, _| {
            head_or(asked, Said::AnswerAndClose("HTTP/1.1 200 OK\r\n\r\n".into()))
        }),
        ("no HTTP", |asked, _| {
            head_or(asked, Said::AnswerAndClose("Hello, I am no server.\r\n".into()))
        }),
    ];
    for (words, answers) in answers {
        for auth in ["ntlm", "digest"] {
            let hop = Hop::start(answers).await;
            let proxy = hop.proxy(auth).await;
            for number in 1..3 {
                let told = post(&proxy, "http://a.example/").await;
                assert!(told.starts_with("HTTP/1.1 200 OK\r\n"), "{words}: {told}");
                assert!(told.ends_with("\r\n\r\nok"), "{words}: {told}");
                // A proxy that asks for nothing is asked once for each target.
                assert_eq!((hop.count("HEAD", 0), hop.count("POST", 0)), (1, number), "{words}");
            }
            post(&proxy, "http://b.example/").await;
            assert_eq!((hop.count("HEAD", 0), hop.count("POST", 0)), (2, 3), "{words}");
        }
    }
}

#[tokio::test]
async fn a_hop_that_can_not_be_reached_behind_the_head_is_named() {
    let hop = Hop::start(|_, _| Said::Close).await;
    let proxy = hop.proxy("ntlm").await;
    let told = post(&proxy, "http://a.example/").await;
    assert!(told.starts_with("HTTP/1.1 502 Bad Gateway (corporate: "), "{told}");
    assert_eq!((hop.count("HEAD", 0), hop.count("POST", 0)), (1, 1));
}

#[tokio::test]
async fn what_a_proxy_exempts_or_blocks_says_nothing_about_other_targets() {
    for (rules, auth) in [(SquidRules::Digest, "digest"), (SquidRules::Ntlm, "ntlm")] {
        let Some(squid) = Squid::start(rules).await else { return };
        let origin = HttpOrigin::plain().await;
        let proxy = Proxy::start(&yaml(squid.address(), auth, "")).await;
        let verify = origin.url("/echo");
        let told = post(&proxy, &verify).await;
        assert!(told.starts_with("HTTP/1.1 200 "), "{auth}: {told}");
        for _ in 0..2 {
            for (method, path, status) in [
                ("POST", "/exempt/a", 404),
                ("GET", "/exempt/a", 404),
                ("POST", "/blocked/a", 403),
                ("GET", "/blocked/a", 403),
            ] {
                let told = match method {
                    "GET" => exchange(proxy.address(), origin.request(path).as_bytes()).await,
                    _ => post(&proxy, &origin.url(path)).await,
                };
                let expected = format!("HTTP/1.1 {status} ");
                assert!(told.starts_with(&expected), "{auth}, {method} {path}: {told}");
                for _ in 0..2 {
                    let told = post(&proxy, &verify).await;
                    assert!(told.starts_with("HTTP/1.1 200 "), "{auth} after {path}: {told}");
                    assert!(told.ends_with(BODY), "{auth} after {path}: {told}");
                }
                let get = origin.request("/bytes/1");
                let told = exchange(proxy.address(), get.as_bytes()).await;
                assert!(told.starts_with("HTTP/1.1 200 "), "{auth} after {path}: {told}");
            }
        }
        let passed = squid.passed_at_least(1).await;
        let in_vain = passed.iter().filter(|one| one.method == "POST" && one.status == 407);
        assert_eq!(in_vain.count(), 0, "{auth}: {passed:?}");
    }
}

#[tokio::test]
async fn a_proxy_that_asks_on_connections_that_are_logged_on_loses_no_request() {
    // Whether the third message logs on the connection or one request.
    for (answers, logons, heads) in [
        ((|asked, is_logged_on| ntlm(asked, is_logged_on, true)) as Answers, 2, 2),
        (|asked, is_logged_on| ntlm(asked, is_logged_on, false), 4, 2),
    ] {
        let hop = Hop::start(answers).await;
        let proxy = hop.proxy("ntlm").await;
        let mut client = open(proxy.address()).await;
        for _ in 0..4 {
            let request = format!(
                "POST http://a.example/ HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n{BODY}"
            );
            client.write_all(request.as_bytes()).await.unwrap();
            let told = head(&mut client).await;
            assert!(told.starts_with("HTTP/1.1 200 "), "{told}");
            assert_reads(&mut client, "ok").await;
        }
        let bare = 4 - logons;
        assert_eq!((hop.count("POST", 3), hop.count("POST", 0)), (logons, bare));
        // One HEAD meets the first challenge, and one shows how the proxy takes a logon.
        assert_eq!((hop.count("HEAD", 1), hop.count("HEAD", 0)), (logons, heads));
    }
}

#[tokio::test]
async fn a_proxy_that_closes_after_its_challenge_gets_the_answer_on_a_new_connection() {
    /// Accepts any login. Without one, asks for it and closes the connection. `rest` ends the head, and may begin a page.
    fn closes(asked: &Asked, rest: &str) -> Said {
        match asked.has_login {
            true => ok(asked),
            false => Said::AnswerAndClose(format!(
                "HTTP/1.1 407 Who\r\nProxy-Authenticate: {DIGEST}\r\n{rest}"
            )),
        }
    }
    let answers: [(&str, Answers); 4] = [
        ("as announced", |asked, _| {
            closes(asked, "Content-Length: 0\r\nConnection: close\r\n\r\n")
        }),
        ("at once", |asked, _| closes(asked, "Content-Length: 0\r\n\r\n")),
        ("in the middle of its page", |asked, _| closes(asked, "Content-Length: 9\r\n\r\nWho")),
        ("at the next request", |asked, was_asked| match (asked.has_login, *was_asked) {
            (true, false) => ok(asked),
            (_, true) => Said::Close,
            (false, false) => {
                *was_asked = true;
                challenge(DIGEST)
            }
        }),
    ];
    for (words, answers) in answers {
        for method in ["CONNECT", "GET", "POST"] {
            // A body that went to a connection which was about to close can't be sent again. A close at once may be noticed
            // before or after that.
            if matches!((words, method), ("at once" | "at the next request", "POST")) {
                continue;
            }
            let hop = Hop::start(answers).await;
            let proxy = hop.proxy("digest").await;
            let told = match method {
                "CONNECT" => head(&mut open_tunnel(&proxy).await).await,
                "GET" => {
                    let get =
                        "GET http://a.example/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
                    exchange(proxy.address(), get.as_bytes()).await
                }
                _ => post(&proxy, "http://a.example/").await,
            };
            assert!(told.starts_with("HTTP/1.1 200 "), "{words}, {method}: {told}");
        }
    }
}

#[tokio::test]
async fn no_count_of_a_nonce_is_skipped() {
    let hop = Hop::start(|asked, _| if asked.has_login { ok(asked) } else { challenge(DIGEST) });
    let hop = hop.await;
    let proxy = hop.proxy("digest").await;
    for method in ["GET", "POST", "GET"] {
        let told = match method {
            "GET" => {
                let get = "GET http://a.example/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
                exchange(proxy.address(), get.as_bytes()).await
            }
            _ => post(&proxy, "http://a.example/").await,
        };
        assert!(told.starts_with("HTTP/1.1 200 "), "{method}: {told}");
    }
    let asked = hop.asked.lock().unwrap();
    let counts: Vec<_> = asked.iter().filter_map(|asked| asked.nonce_count).collect();
    assert_eq!(counts, [1, 2, 3], "{asked:?}");
}

async fn open_tunnel(proxy: &Proxy) -> TcpStream {
    let mut client = open(proxy.address()).await;
    let connect = "CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n\r\n";
    client.write_all(connect.as_bytes()).await.unwrap();
    client
}

fn ntlm(asked: &Asked, is_logged_on: &mut bool, keeps: bool) -> Said {
    match asked.message {
        1 => challenge(&format!("NTLM {}", ntlm_challenge())),
        3 => {
            *is_logged_on = keeps;
            ok(asked)
        }
        _ if *is_logged_on => ok(asked),
        _ => challenge("NTLM"),
    }
}

const BODY: &str = "abc";
const DIGEST: &str = "Digest realm=a, nonce=b, qop=auth";
