//! What `explain` and `probe` say about the choice of a PAC file.

use serde_json::Value;

use super::{BY_HOST, FILE, named, returning, stdout, with_file, yaml};
use crate::support::{ConfigDir, Double, Proxy, Step, exchange, free_port, run};

#[tokio::test]
async fn explain_names_the_hop_that_the_file_chose_and_why() {
    let (_corporate, _other, proxy) = with_file(BY_HOST, FILE).await;
    let path = proxy.config().path().to_str().unwrap();
    let explain = |url: &str, format: &str| run(["explain", url, "-c", path, "--format", format]);
    let json = |url: &str| serde_json::from_str::<Value>(&stdout(explain(url, "json"))).unwrap();
    let chosen = json("https://www.corp.test/");
    assert_eq!(chosen["chain"]["steps"][0]["hop"], "corporate", "{chosen}");
    let decided = &chosen["chain"]["decided"][0];
    assert_eq!(decided["answer"], "PROXY Proxy7.CORP.example:3128; DIRECT", "{decided}");
    assert_eq!((&decided["choice"], &decided["taken"]), (&"hop".into(), &"corporate".into()));
    let direct = json("http://www.corp.test/");
    assert_eq!(
        (&direct["chain"]["direct"], &direct["chain"]["steps"][0]["hop"]),
        (&true.into(), &Value::Null)
    );
    assert_eq!(direct["chain"]["steps"].as_array().unwrap().len(), 1, "{direct}");
    let text = stdout(explain("https://www.corp.test/", "human"));
    for words in [
        "office is chosen by the PAC file office.pac",
        "PROXY Proxy7.CORP.example:3128",
        "`proxy*.corp.example`",
    ] {
        assert!(text.contains(words), "{text}");
    }
}

#[tokio::test]
async fn explain_without_an_answer_of_the_script_ends_with_1() {
    let (corporate, other) = (named("Corporate").await, named("Other").await);
    let config = ConfigDir::new(&yaml(&corporate, &other, FILE));
    let path = config.path().to_str().unwrap();
    let explain = || run(["explain", "https://www.test/", "-c", path]);
    for (script, words) in [
        (returning("dnsResolve('intra.test')"), "`intra.test`"),
        (returning("'PROXY x:1'"), "`x:1` matches no pattern"),
        (returning("null"), "its function returned null"),
        (
            "function FindProxyForURL(url, host) { for (;;) {} }".to_owned(),
            "takes longer than 100 ms",
        ),
    ] {
        config.write("office.pac", &script);
        let output = explain();
        assert_eq!(output.status.code(), Some(1), "{script}");
        let text = stdout(output);
        assert!(text.contains(words), "{script}: {text}");
    }
    let server = Double::start([Step::Listen]).await;
    config.write(
        "10-test.yaml",
        &yaml(&corporate, &other, &format!("url: \"http://{}/\"", server.address())),
    );
    let output = explain();
    assert_eq!(output.status.code(), Some(1));
    let text = stdout(output);
    assert!(text.contains("is not fetched") && text.contains("mooltiroute probe"), "{text}");
    assert!(server.record().now().is_empty(), "it opens no connection");
}

#[tokio::test]
async fn probe_follows_the_file() {
    let (_corporate, _other, proxy) = with_file(BY_HOST, FILE).await;
    let path = proxy.config().path().to_str().unwrap().to_owned();
    let probe = async |url: &'static str| crate::support::run_probe(&path, &[url], "json").await;
    let output = probe("https://www.corp.test/").await;
    let probed: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(probed["steps"][0]["hop"], "office.corporate", "{probed}");
}

/// The file says DIRECT for every host, and `office` has the hop `corporate`.
fn direct(script: &str, more: &str) -> ConfigDir {
    let config = ConfigDir::new(&format!(
        "timeouts: {{ connect: 3s }}\nhops:\n  corporate: {{ kind: http-connect, address: '127.0.0.1:{}' }}\n  \
         office: {{ kind: pac, file: office.pac, hops: {{ \"*\": corporate }}{more} }}\nchains: {{ default: [office] }}\n",
        free_port()
    ));
    config.write("office.pac", script);
    config
}

#[tokio::test]
async fn a_failure_without_a_proxy_names_the_file_that_chose_direct() {
    let closed = format!("127.0.0.1:{}", free_port());
    let chose = "The PAC file of `office` chose DIRECT for this host";
    let after = "The PAC file of `office` chose DIRECT for this host after `corporate`, which failed (`mooltiroute status`";
    let without = "The PAC file of `office` gave no list for this host, and `otherwise` of `office` is `direct`";
    for (answer, more, why) in [
        ("'DIRECT'", "", chose),
        ("'PROXY proxy.corp.example:80; DIRECT'", "", after),
        ("null", ", otherwise: direct", without),
    ] {
        for (target, words) in [
            ("git.corp.invalid:443", "Check the name and the name servers of this machine. "),
            (closed.as_str(), "that this machine may reach it without a proxy. "),
        ] {
            let proxy = Proxy::on(direct(&returning(answer), more), &[]).await;
            let request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n");
            let told = exchange(proxy.address(), request.as_bytes()).await;
            for words in
                [words, why, "put a route for this host to a chain with `corporate` before"]
            {
                assert!(told.contains(words), "{words}: {told}");
            }
            assert!(!told.contains("through a chain that has one"), "{told}");
            let failed = proxy.event("request failed").await;
            assert_eq!(failed.field("hops"), "office.direct");
            assert!(failed.field("advice").contains(why), "{failed:?}");
        }
    }
}

#[tokio::test]
async fn probe_says_that_the_file_chose_direct() {
    let origin = Double::start([Step::Listen]).await;
    let config = direct(&returning("'DIRECT'"), "");
    let path = config.path().to_str().unwrap().to_owned();
    for (target, is_reached) in
        [(origin.address().to_string(), true), ("git.corp.invalid:443".into(), false)]
    {
        let probe =
            async |format| crate::support::run_probe(&path, &[target.as_str()], format).await;
        let text = stdout(probe("human").await);
        assert!(text.contains("  choice      office: the PAC file says DIRECT\n"), "{text}");
        let told: Value = serde_json::from_slice(&probe("json").await.stdout).unwrap();
        let step = &told["steps"][0];
        assert_eq!(
            ["step", "hop", "direct"].map(|key| step[key].as_str().unwrap()),
            ["choice", "office", "the PAC file says DIRECT"],
            "{told:#}"
        );
        assert_eq!(told["reached"], is_reached, "{told:#}");
        if !is_reached {
            assert_eq!(told["failure"]["left_out"], serde_json::json!(["office"]), "{told:#}");
            assert!(text.contains("The PAC file of `office` chose DIRECT"), "{text}");
        }
    }
}
