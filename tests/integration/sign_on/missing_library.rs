//! A system without GSS-API: its libraries are covered by an empty file in a mount namespace of the test.

use std::{path::PathBuf, process::Command};

use super::{Company, SPN};
use crate::support::{
    BASIC, Double, EchoOrigin, Namespace, PASSWORD, Program, Proxy, Says, Step, USERNAME, connect,
    exchange, outcome, ping,
};

const NO_NAMES: Says = Says::NoSuchName;
const PACKAGE: &str = "install GSS-API: libgssapi-krb5-2 on Debian and Ubuntu";

/// Returns the GSS-API libraries that the dynamic linker knows.
fn libraries() -> Option<Vec<PathBuf>> {
    let linker = Program::find_or_skip("ldconfig")?;
    let known = Command::new(linker.path()).arg("-p").output().unwrap();
    let known = String::from_utf8(known.stdout).unwrap();
    let lines = known.lines().filter(|line| line.trim_start().starts_with("libgssapi"));
    let files: Vec<PathBuf> =
        lines.map(|line| line.rsplit(" => ").next().unwrap().into()).collect();
    assert!(!files.is_empty(), "the KDC's own programs need it: {known}");
    Some(files)
}

#[test]
fn a_missing_library_is_an_error_of_that_hop_that_names_the_package_until_it_is_installed() {
    Namespace::run(NO_NAMES, |namespace| async move {
        let Some(company) = Company::start().await else { return };
        let Some(libraries) = libraries() else { return };
        company.kdc.kinit("cache");
        let (echo, beside) = (EchoOrigin::start().await, EchoOrigin::start().await);
        let yaml = format!(
            "{}routes: [{{ ports: [{}], chain: direct }}, {{ chain: default }}]\n",
            company.yaml(SPN, "[corporate]"),
            beside.address().port()
        );
        // Squid's helper needs the library too, and Squid ends if the helper can't start. So one login comes before.
        let before = company.proxy(&yaml, "cache").await;
        ping(&mut connect(before.address(), echo.address()).await.tunnel()).await;
        drop(before);
        libraries.iter().for_each(|file| namespace.cover(file));
        let mut proxy = company.proxy(&yaml, "cache").await;
        let (status, said, complaints) = outcome(&proxy.command(&["check"]));
        assert_eq!((status, &*complaints), (Some(0), ""), "{said}");
        let words =
            format!("\n    Negotiate: not now, the system has no library for Kerberos ({PACKAGE},");
        assert!(said.contains(&words), "{said}");
        let request = format!("CONNECT {0} HTTP/1.1\r\nHost: {0}\r\n\r\n", echo.address());
        for _ in 0..2 {
            let told = exchange(proxy.address(), request.as_bytes()).await;
            let reason = "HTTP/1.1 502 Bad Gateway (corporate: no Kerberos library here)\r\n";
            assert!(told.starts_with(reason), "{told}");
            assert!(told.contains("error=proxy_configuration_error"), "{told}");
            assert!(told.contains(PACKAGE), "{told}");
        }
        // It is not a problem of anything else.
        ping(&mut connect(proxy.address(), beside.address()).await.tunnel()).await;
        proxy.assert_is_well().await;
        libraries.iter().for_each(|file| namespace.uncover(file));
        ping(&mut connect(proxy.address(), echo.address()).await.tunnel()).await;
    });
}

#[test]
fn without_the_library_the_next_listed_scheme_is_used() {
    Namespace::run(NO_NAMES, |namespace| async move {
        let Some(libraries) = libraries() else { return };
        libraries.iter().for_each(|file| namespace.cover(file));
        let offer = "HTTP/1.1 407 No\r\nProxy-Authenticate: Negotiate\r\n\
                     Proxy-Authenticate: Basic realm=\"a\"\r\nContent-Length: 0\r\n\r\n";
        let hop = Double::start([
            Step::Answer(offer.into()),
            Step::Answer("HTTP/1.1 200 Connection established\r\n\r\n".into()),
        ])
        .await;
        let yaml = format!(
            "hops:\n  corporate: {{ kind: http-connect, address: \"{}\", auth: [negotiate, basic], \
             username: {USERNAME}, password: {PASSWORD}{SPN} }}\nchains: {{ default: [corporate] }}\n",
            hop.address()
        );
        let proxy = Proxy::start(&yaml).await;
        connect(proxy.address(), "127.0.0.1:20009").await.tunnel();
        assert!(
            hop.sent().contains(&format!("Proxy-Authorization: {BASIC}\r\n")),
            "{}",
            hop.sent()
        );
    });
}
