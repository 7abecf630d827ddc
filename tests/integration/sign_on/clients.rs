//! Clients that know nothing of Kerberos, through a proxy that wants it.

use std::process::Stdio;

use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::Command,
};

use super::{Company, SPN};
use crate::support::{
    HttpOrigin, PASSWORD, Program, Proxy, Squid, SquidRules, USERNAME, fill, script, with_library,
    within,
};

const BODY_BYTES: usize = 100_000;

/// Runs `fetch` with the proxy through Negotiate alone, before a Basic hop, and warm.
async fn each_way(fetch: impl AsyncFn(&Proxy)) {
    let Some(company) = Company::start().await else { return };
    let Some(last) = Squid::start(SquidRules::Basic).await else { return };
    company.kdc.kinit("cache");
    for chain in ["[corporate]", "[corporate, last]", "{ hops: [corporate, last], warm: 2 }"] {
        let last = format!(
            "  last: {{ kind: http-connect, address: \"{}\", username: {USERNAME}, password: {PASSWORD} }}\nchains:",
            last.address()
        );
        let yaml = company.yaml(SPN, chain).replace("chains:", &last);
        let proxy = company.proxy(&yaml, "cache").await;
        fetch(&proxy).await;
    }
    let passed = company.squid.passed_at_least(1).await;
    assert!(passed.iter().any(|passed| passed.user == "alice@CORP.TEST"), "{passed:?}");
}

#[tokio::test]
async fn curl_passes_a_proxy_that_wants_kerberos() {
    let Some(curl) = Program::find_or_skip("curl") else { return };
    let origin = HttpOrigin::plain().await;
    let url = origin.url(&format!("/bytes/{BODY_BYTES}"));
    each_way(async |proxy| {
        let mut command = Command::new(curl.path());
        command.args(["-q", "--silent", "--show-error", "--fail", "--noproxy", ""]);
        command.args(["--proxy", &proxy.url(), &url]).kill_on_drop(true);
        let output = within("curl", command.output()).await.unwrap();
        assert!(output.stdout == fill(BODY_BYTES), "{output:?}");
    })
    .await;
}

#[tokio::test]
async fn requests_passes_a_proxy_that_wants_kerberos() {
    let look = ["-c", "import requests"];
    let Some(python) = with_library("python3", &look, "Python requests").await else { return };
    let origin = HttpOrigin::plain().await;
    let url = origin.url(&format!("/bytes/{BODY_BYTES}"));
    each_way(async |proxy| {
        let mut command = Command::new(python.path());
        command.arg(script("fetch.py")).args([&proxy.url(), "", "GET", &url]).kill_on_drop(true);
        let output = within("requests", command.output()).await.unwrap();
        assert!(output.stdout == fill(BODY_BYTES), "{output:?}");
    })
    .await;
}

#[tokio::test]
async fn git_passes_a_proxy_that_wants_kerberos() {
    let (Some(git), Some(python)) =
        (Program::find_or_skip("git"), Program::find_or_skip("python3"))
    else {
        return;
    };
    let scratch = tempfile::tempdir().unwrap();
    let mut server = Command::new(python.path());
    server
        .arg(script("git_server.py"))
        .arg(scratch.path())
        .stdout(Stdio::piped())
        .kill_on_drop(true);
    let (mut server, mut port) = (server.spawn().unwrap(), String::new());
    let mut words = BufReader::new(server.stdout.take().unwrap());
    within("its port", words.read_line(&mut port)).await.unwrap();
    let run = async |arguments: &[&str]| {
        let mut command = Command::new(git.path());
        command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
        for name in ["http_proxy", "https_proxy", "all_proxy", "no_proxy"] {
            command.env_remove(name).env_remove(name.to_ascii_uppercase());
        }
        command.current_dir(&scratch).args(arguments).kill_on_drop(true);
        let output = within("git", command.output()).await.unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
    };
    run(&["init", "--quiet", "--bare", "one.git"]).await;
    let url = format!("http://127.0.0.1:{}/one.git", port.trim());
    each_way(async |proxy| {
        let option = format!("http.proxy={}", proxy.url());
        run(&["-c", &option, "ls-remote", &url]).await;
    })
    .await;
    server.kill().await.unwrap();
}
