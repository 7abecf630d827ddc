//! Hops chosen by a PAC file.

mod chosen_hops;
mod explained;
mod fetching;
mod held_up;
mod hostile;

use serde_json::Value;
use tokio::io::AsyncWriteExt as _;

use crate::support::{
    ConfigDir, Double, EchoOrigin, HttpOrigin, PASSWORD, Proxy, Squid, SquidRules, Step, USERNAME,
    Way, connect, exchange, free_port, head, open, run, status, within,
};

/// A proxy that refuses everything, and is recognised by its name in the refusal.
async fn named(name: &str) -> Double {
    let refusal = format!("HTTP/1.1 403 {name}\r\nContent-Length: 0\r\n\r\n");
    Double::start([Step::Answer(refusal)]).await
}

/// A configuration with the hops `corporate` and `other`, and with `office`, which has these settings beside them.
fn yaml(corporate: &Double, other: &Double, office: &str) -> String {
    format!(
        "timeouts: {{ connect: 3s }}\nhops:\n  corporate: {{ kind: http-connect, address: \"{}\" }}\n  \
         other: {{ kind: http-connect, address: \"{}\" }}\n  \
         office: {{ kind: pac, hops: {{ \"proxy*.corp.example\": corporate, \"*:9999\": other }}, {office} }}\n\
         chains: {{ default: [office] }}\n",
        corporate.address(),
        other.address()
    )
}

const FILE: &str = "file: office.pac";

/// Two proxies, and a Mooltiroute with the PAC file `script`.
async fn with_file(script: &str, office: &str) -> (Double, Double, Proxy) {
    let (corporate, other) = (named("Corporate").await, named("Other").await);
    let config = ConfigDir::new(&yaml(&corporate, &other, office));
    config.write("office.pac", script);
    let proxy = Proxy::on(config, &[]).await;
    (corporate, other, proxy)
}

/// Says which way a tunnel to `target` goes: a name of a proxy, `direct`, or the status line.
async fn way(proxy: &Proxy, target: impl std::fmt::Display) -> String {
    let answer = connect(proxy.address(), target).await;
    let line = answer.head.lines().next().unwrap_or_default().to_owned();
    match line.as_str() {
        "HTTP/1.1 200 Connection established" => "direct".into(),
        refused if refused.contains("403 Corporate") => "corporate".into(),
        refused if refused.contains("403 Other") => "other".into(),
        _ => line,
    }
}

fn returning(answer: &str) -> String {
    format!("function FindProxyForURL(url, host) {{ return {answer}; }}")
}

fn stdout(output: std::process::Output) -> String {
    String::from_utf8(output.stdout).unwrap()
}

/// Waits for all of `works`.
async fn futures<T>(works: impl Iterator<Item = impl Future<Output = T>>) -> Vec<T> {
    let mut works: Vec<_> = works.map(|work| Box::pin(work)).collect();
    let mut done = Vec::new();
    std::future::poll_fn(|context| {
        works.retain_mut(|work| match work.as_mut().poll(context) {
            std::task::Poll::Ready(value) => {
                done.push(value);
                false
            }
            std::task::Poll::Pending => true,
        });
        if works.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    done
}

const BY_HOST: &str = "function FindProxyForURL(url, host) {
    if (host === '127.0.0.1') return 'DIRECT';
    if (dnsDomainIs(host, '.other.test')) return 'HTTPS exit.example:9999';
    return url.substring(0, 8) === 'https://' ? 'PROXY Proxy7.CORP.example:3128; DIRECT' : 'DIRECT';
}";

#[tokio::test]
async fn the_file_chooses_the_hop_and_direct_leaves_it_out() {
    let echo = EchoOrigin::start().await;
    let (_corporate, _other, proxy) = with_file(BY_HOST, FILE).await;
    for (target, expected) in [
        ("www.corp.test:443", "corporate"),
        ("WWW.OTHER.test:443", "other"),
        ("a.other.test:80", "other"),
        (&echo.address().to_string(), "direct"),
    ] {
        assert_eq!(way(&proxy, target).await, expected, "{target}");
    }
    let closed = proxy.event("tunnel closed").await;
    assert_eq!(closed.field("hops"), "office.direct", "{closed:?}");
}

#[tokio::test]
async fn credentials_come_from_the_hop_and_never_from_the_file() {
    let Some(squid) = Squid::start(SquidRules::Basic).await else { return };
    let echo = EchoOrigin::start().await;
    let yaml = format!(
        "hops:\n  corporate: {{ kind: http-connect, address: \"{}\", username: {USERNAME}, password: {PASSWORD} }}\n  \
         office: {{ kind: pac, file: office.pac, hops: {{ \"proxy*\": corporate }} }}\nchains: {{ default: [office] }}\n",
        squid.address()
    );
    let config = ConfigDir::new(&yaml);
    // The name of the entry does not exist, and is not looked up.
    config.write("office.pac", &returning("'PROXY proxy.nowhere.invalid:8080'"));
    let proxy = Proxy::on(config, &[]).await;
    let mut tunnel = connect(proxy.address(), echo.address()).await.tunnel();
    tunnel.write_all(b"through squid").await.unwrap();
    crate::support::assert_reads(&mut tunnel, "through squid").await;
    drop(tunnel);
    let passed = squid.passed_at_least(1).await;
    assert_eq!((passed[0].method.as_str(), passed[0].user.as_str()), ("CONNECT", USERNAME));
}

#[tokio::test]
async fn an_edit_of_the_file_is_a_reload_and_a_broken_one_is_refused() {
    let echo = EchoOrigin::start().await;
    let (_corporate, _other, proxy) = with_file(&returning("'DIRECT'"), FILE).await;
    assert_eq!(way(&proxy, echo.address()).await, "direct");
    for (save, (answer, expected)) in Way::ALL.into_iter().zip([
        ("PROXY proxy1.corp.example", "corporate"),
        ("PROXY x:9999", "other"),
        ("DIRECT", "direct"),
    ]) {
        let seen = proxy.events().len();
        proxy.config().save("office.pac", &returning(&format!("'{answer}'")), save);
        proxy.event_after(seen, "config reloaded").await;
        assert_eq!(way(&proxy, echo.address()).await, expected, "{save:?}");
    }
    let seen = proxy.events().len();
    proxy
        .config()
        .write("office.pac", "function FindProxyForURL(url, host) {\n  return 'DIRECT\n}");
    proxy.event_after(seen, "config rejected").await;
    assert_eq!(way(&proxy, echo.address()).await, "direct");
    let rejected = status(proxy.address()).await["rejected"]["problems"].to_string();
    assert!(rejected.contains("office.pac") && rejected.contains("line 2"), "{rejected}");
    let check = run(["check", "-c", proxy.config().path().to_str().unwrap()]);
    assert_eq!(check.status.code(), Some(1));
}

#[tokio::test]
async fn the_list_is_failed_over_by_the_health_of_its_hops() {
    let dead = free_port();
    let (corporate, echo) = (named("Corporate").await, EchoOrigin::start().await);
    let yaml = format!(
        "hops:\n  dead: {{ kind: http-connect, address: \"127.0.0.1:{dead}\" }}\n  \
         corporate: {{ kind: http-connect, address: \"{}\" }}\n  off: {{ kind: http-connect, address: \"a.test:1\", enabled: false }}\n  \
         office: {{ kind: pac, file: office.pac, hops: {{ dead: dead, corp: corporate, off: off }} }}\n\
         chains: {{ default: [office] }}\n",
        corporate.address()
    );
    let config = ConfigDir::new(&yaml);
    let script = "function FindProxyForURL(url, host) {
        if (host === 'off.test') return 'PROXY off:1';
        if (host === 'skip.test') return 'PROXY off:1; PROXY corp:1';
        if (host === 'refused.invalid') return 'DIRECT; PROXY corp:1';
        return host === '127.0.0.1' ? 'PROXY dead:1; DIRECT' : 'PROXY dead:1; PROXY dead:2; PROXY corp:1';
    }";
    config.write("office.pac", script);
    let proxy = Proxy::on(config, &[]).await;
    assert_eq!(way(&proxy, "www.test:443").await, "corporate");
    let left = proxy.event("pool member left").await;
    assert_eq!(["hop", "member"].map(|field| left.field(field)), ["office", "dead"]);
    assert_eq!(way(&proxy, echo.address()).await, "direct");
    assert_eq!(way(&proxy, "skip.test:443").await, "corporate");
    let refused = way(&proxy, "off.test:443").await;
    assert!(
        refused.starts_with("HTTP/1.1 502") && refused.contains("choice is off: off"),
        "{refused}"
    );
    // The name does not exist, so the direct way fails and the proxy is next.
    assert_eq!(way(&proxy, "refused.invalid:443").await, "corporate");
    let pool = &status(proxy.address()).await["pools"]["office"];
    assert_eq!(pool["members"], 2, "{pool}");
    let dead = pool["shown"].as_array().unwrap().iter().find(|one| one["name"] == "dead").unwrap();
    assert_eq!(
        (&dead["working"], &dead["failed"]),
        (&Value::Bool(false), &Value::from(1)),
        "{pool}"
    );
}

#[tokio::test]
async fn a_proxy_that_no_pattern_matches_is_refused_or_goes_where_the_operator_says() {
    let script = returning(
        "host === 'list.test' ? 'PROXY proxy1.corp.example; PROXY x:1' : 'PROXY x.example:1; DIRECT'",
    );
    let (_corporate, _other, proxy) = with_file(&script, FILE).await;
    let refused = way(&proxy, "127.0.0.1:9").await;
    assert!(refused.starts_with("HTTP/1.1 502") && refused.contains("x.example:1"), "{refused}");
    assert_eq!(way(&proxy, "list.test:443").await, "corporate");
    drop(proxy);
    let (_corporate, _other, proxy) = with_file(&script, "file: office.pac, unknown: other").await;
    assert_eq!(way(&proxy, "www.test:443").await, "other");
}

#[tokio::test]
async fn a_file_without_an_answer_is_a_502_unless_it_is_known_to_fall_through() {
    let echo = EchoOrigin::start().await;
    let script = "function FindProxyForURL(url, host) {
        if (host === 'throws.test') throw new Error('no');
        if (host === 'text.test') return 'proxy.corp.example:3128';
        if (host === 'null.test') return null;
        if (host === 'empty.test') return '';
    }";
    let (_corporate, _other, proxy) = with_file(script, FILE).await;
    for host in
        ["throws.test:1", "text.test:1", "null.test:1", "empty.test:1", &echo.address().to_string()]
    {
        let answer = way(&proxy, host).await;
        assert!(
            answer.starts_with("HTTP/1.1 502 Bad Gateway (office: the PAC file "),
            "{host}: {answer}"
        );
    }
    drop(proxy);
    let (_corporate, _other, proxy) =
        with_file(script, "file: office.pac, otherwise: direct").await;
    assert_eq!(way(&proxy, echo.address()).await, "direct");
    let check = stdout(run(["check", "-c", proxy.config().path().to_str().unwrap()]));
    assert!(check.contains("goes round this hop: `otherwise: direct`"), "{check}");
}

#[tokio::test]
async fn a_kept_connection_carries_only_requests_that_the_file_sends_the_same_way() {
    let origin = HttpOrigin::plain().await;
    let forwarder = Double::start([
        Step::Answer("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfirst".into()),
        Step::Answer("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecond".into()),
    ])
    .await;
    let yaml = format!(
        "hops:\n  corporate: {{ kind: http-connect, address: \"{}\" }}\n  \
         office: {{ kind: pac, file: office.pac, hops: {{ \"*\": corporate }} }}\nchains: {{ default: [office] }}\n",
        forwarder.address()
    );
    let config = ConfigDir::new(&yaml);
    // The path decides for the origin, which is the same host and port each time.
    config.write(
        "office.pac",
        &returning("host === 'a.test' || shExpMatch(url, '*/proxied') ? 'PROXY p:1' : 'DIRECT'"),
    );
    let proxy = Proxy::on(config, &[]).await;
    let mut client = open(proxy.address()).await;
    let address = origin.address();
    for (url, expected) in [
        ("http://a.test/".to_owned(), "first"),
        (format!("http://{address}/bytes/7"), "200 OK"),
        (format!("http://{address}/proxied"), "first"),
        ("http://a.test/again".to_owned(), "second"),
    ] {
        let request =
            format!("GET {url} HTTP/1.1\r\nHost: {}\r\n\r\n", url.split('/').nth(2).unwrap());
        client.write_all(request.as_bytes()).await.unwrap();
        let head = head(&mut client).await;
        let length = if expected == "200 OK" { 7 } else { expected.len() };
        let mut body = vec![0; length];
        within("the body", tokio::io::AsyncReadExt::read_exact(&mut client, &mut body))
            .await
            .unwrap();
        let whole = format!("{head}{}", String::from_utf8_lossy(&body));
        assert!(whole.contains(expected), "{url}: {whole}");
    }
    let sent = forwarder.sent();
    assert!(!sent.contains("/bytes/7"), "{sent}");
}

#[tokio::test]
async fn names_are_looked_up_for_the_file() {
    let script = "function FindProxyForURL(url, host) {
        if (!isResolvable('localhost')) return 'PROXY x:9999';
        return isInNet(host, '127.0.0.0', '255.0.0.0') ? 'PROXY proxy1.corp.example' : 'PROXY x:9999';
    }";
    let (_corporate, _other, proxy) = with_file(script, FILE).await;
    assert_eq!(way(&proxy, "localhost:443").await, "corporate");
    assert_eq!(way(&proxy, "127.1.2.3:443").await, "corporate");
    assert_eq!(way(&proxy, "10.1.2.3:443").await, "other");
}

#[tokio::test]
async fn plain_requests_have_their_url_without_user_default_port_and_fragment() {
    let script = "function FindProxyForURL(url, host) {
        return 'PROXY ' + encodeURIComponent(url).replace(/%/g, '-') + ':1';
    }";
    let (_corporate, _other, proxy) = with_file(script, FILE).await;
    for (asked, seen) in [
        ("http://User:Pass@WWW.test:80/A?b=1", "http-3a-2f-2fwww.test-2fa-3fb-3d1"),
        ("http://www.test:8080/", "http-3a-2f-2fwww.test-3a8080-2f"),
    ] {
        let host = asked
            .split('@')
            .next_back()
            .unwrap()
            .trim_start_matches("http://")
            .split('/')
            .next()
            .unwrap();
        let request = format!("GET {asked} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        let answer = exchange(proxy.address(), request.as_bytes()).await;
        assert!(answer.contains(seen), "{asked}: {answer}");
    }
    let answer = way(&proxy, "WWW.test:443").await;
    assert!(answer.contains("https-3a-2f-2fwww.test-2f:1"), "{answer}");
    let answer = way(&proxy, "www.test:80").await;
    assert!(answer.contains("https-3a-2f-2fwww.test-3a80-2f:1"), "{answer}");
}

#[tokio::test]
async fn settings_that_can_not_work_are_refused_with_their_place() {
    let (corporate, other) = (named("Corporate").await, named("Other").await);
    let config = ConfigDir::new("");
    config.write("office.pac", &returning("'DIRECT'"));
    config.write("bad.pac", "<!DOCTYPE html><title>404</title>");
    let check = |office: &str| {
        config.write("10-test.yaml", &yaml(&corporate, &other, office));
        let output = run(["check", "-c", config.path().to_str().unwrap()]);
        (output.status.code(), stdout(output))
    };
    assert_eq!(check(FILE).0, Some(0));
    for (office, words) in [
        ("file: bad.pac", "it is HTML and not a PAC file"),
        ("file: missing.pac", "there is no such file"),
        ("unknown: refuse", "url"),
        ("file: office.pac, url: \"http://a/\"", "write one of the two"),
        ("url: \"pac.example\"", "is not a URL"),
        ("url: \"http://u:p@a/\"", "credentials"),
        ("url: \"file:///etc/x.pac\"", "`file`"),
        ("url: \"http://a/\", via: nowhere", "unknown chain"),
        ("url: \"http://a/\", via: default", "names a chain with a hop that has to fetch"),
        ("url: \"http://a/\", tls: true", "needs a `url` with TLS"),
        ("file: office.pac, unknown: nobody", "unknown hop"),
        ("file: office.pac, otherwise: proxy", "otherwise"),
    ] {
        let (code, text) = check(office);
        assert_eq!(code, Some(1), "{office}: {text}");
        assert!(text.contains(words), "{office}: {text}");
    }
    for (from, to, words) in [
        ("\"*:9999\": other", "\"*:9999\": nobody", "unknown hop"),
        ("\"*:9999\": other", "\"*:9999\": office", "names the hop itself"),
        ("\"*:9999\": other", "\"http://a\": other", "is not a pattern of a host"),
        ("[office]", "{ hops: [office], warm: 2 }", "no tunnel can be kept ready"),
        ("[office] }", "[pool] }\nx-none: {}", "unknown hop"),
    ] {
        config.write("10-test.yaml", &yaml(&corporate, &other, FILE).replace(from, to));
        let output = run(["check", "-c", config.path().to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(1), "{to}");
        let text = stdout(output);
        assert!(text.contains(words), "{to}: {text}");
    }
}
