//! Browsers, through hops of mixed kinds.

use std::fs;

use crate::{
    socks_programs::{Hops, output, with_tls},
    support::{Certificates, HttpOrigin, Program, Proxy, quiet},
};

#[tokio::test]
async fn chromium_passes_by_socks5_and_by_https() {
    let Some(chromium) = Program::find_or_skip("chromium") else { return };
    let Some(hops) = Hops::start().await else { return };
    let (certificates, origin) = (Certificates::new(), HttpOrigin::plain().await);
    let (proxy, tls_port) = with_tls(&certificates, &hops.yaml("[corporate, jump]")).await;
    for (url, event) in [
        (format!("socks5://{}", proxy.address()), "tunnel closed"),
        (format!("https://localhost:{tls_port}"), "request"),
    ] {
        let (profile, seen) = (tempfile::tempdir().unwrap(), proxy.events().len());
        let mut command = quiet(&chromium);
        command.args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]);
        command.args(["--ignore-certificate-errors", "--proxy-bypass-list=<-loopback>"]);
        command.arg(format!("--user-data-dir={}", profile.path().display()));
        command.arg(format!("--proxy-server={url}")).arg("--dump-dom").arg(origin.url("/page"));
        let page = String::from_utf8(output(&mut command).await).unwrap();
        assert!(page.contains("there is nothing here"), "{url}: {page}");
        let target = origin.address().to_string();
        let passed = proxy.event_after(seen, event).await;
        assert!(
            proxy.events()[seen..].iter().any(|event| event.field("target") == target),
            "{passed:?}"
        );
    }
}

#[tokio::test]
async fn firefox_passes_by_socks5_and_by_the_served_pac() {
    let Some(firefox) = Program::find_or_skip("firefox-esr") else { return };
    let Some(hops) = Hops::start().await else { return };
    let origin = HttpOrigin::plain().await;
    // Firefox asks its maker for settings at each start. Only the origin has a route.
    let routes = format!(
        "routes: [{{ hosts: [127.0.0.1], ports: [{}], chain: default }}]\n",
        origin.address().port()
    );
    for chain in ["[]", "[corporate]", "[corporate, jump]"] {
        let proxy = Proxy::start(&(hops.yaml(chain) + &routes)).await;
        let port = proxy.address().port();
        let by_socks = format!(
            "pref('network.proxy.type', 1);\npref('network.proxy.socks', '127.0.0.1');\n\
             pref('network.proxy.socks_port', {port});\npref('network.proxy.socks_remote_dns', true);\n"
        );
        let by_pac = format!(
            "pref('network.proxy.type', 2);\n\
             pref('network.proxy.autoconfig_url', 'http://127.0.0.1:{port}/proxy.pac');\n"
        );
        for (preferences, event, protocol) in
            [(by_socks, "tunnel closed", "socks5"), (by_pac, "request", "http")]
        {
            // The PAC leads past this proxy for what takes no hop.
            if chain == "[]" && protocol == "http" {
                continue;
            }
            let (home, seen) = (tempfile::tempdir().unwrap(), proxy.events().len());
            let profile = home.path().join("profile");
            fs::create_dir(&profile).unwrap();
            // By default, Firefox uses no proxy for this machine.
            let preferences =
                preferences + "pref('network.proxy.allow_hijacking_localhost', true);\n";
            fs::write(profile.join("user.js"), preferences.replace("pref(", "user_pref(")).unwrap();
            let mut command = quiet(&firefox);
            command.env("HOME", home.path()).args(["--headless", "--no-remote", "--profile"]);
            command.arg(&profile).arg("--screenshot").arg(home.path().join("page.png"));
            output(command.arg(origin.url("/page"))).await;
            // The connection may end after the browser.
            let target = origin.address().to_string();
            loop {
                let events = &proxy.events()[seen..];
                let found = events
                    .iter()
                    .find(|one| one.message() == event && one.field("target") == target);
                if let Some(found) = found {
                    assert_eq!(found.field("protocol"), protocol, "{chain}");
                    assert_eq!(found.field("error"), "", "{chain}");
                    break;
                }
                proxy.event_after(seen + events.len(), event).await;
            }
        }
    }
}
