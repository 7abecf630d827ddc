//! What `explain` and `probe` say about the choice of a PAC file.

use serde_json::Value;

use super::{BY_HOST, FILE, named, returning, stdout, with_file, yaml};
use crate::support::{ConfigDir, Double, Step, run};

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
