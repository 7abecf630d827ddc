//! The files of a listener: a certificate and its key, as `check` judges them and as a reload replaces them.

use std::{fs, path::Path};

use super::{DIRECT, connect_tls, server, tls, tunnel};
use crate::support::{Certificates, ConfigDir, EchoOrigin, Proxy, ping, rename, run};

#[tokio::test]
async fn a_new_certificate_serves_new_connections_and_a_bad_one_none() {
    let (old, new, echo) = (Certificates::new(), Certificates::new(), EchoOrigin::start().await);
    let config = ConfigDir::new(DIRECT);
    let install = |from: &Certificates, file: &str| {
        let text = fs::read(from.path().join(file)).unwrap();
        let beside = config.path().join(format!("{file}.new"));
        fs::write(&beside, text).unwrap();
        rename(beside, config.path().join(file));
    };
    install(&old, "certificate.pem");
    install(&old, "key.pem");
    config.write("00-server.yaml", &server("127.0.0.1:0", "cert: certificate.pem, key: key.pem"));
    let proxy = Proxy::at(config.path()).await;
    let mut kept = tunnel(tls(&proxy, &old).await, echo.address()).await;
    // A certificate whose key is still the old one.
    install(&new, "certificate.pem");
    let rejected = proxy.event("config rejected").await;
    assert!(rejected.text().contains("does not belong"), "{rejected:?}");
    drop(tls(&proxy, &old).await);
    let seen = proxy.events().len();
    install(&new, "key.pem");
    let reloaded = proxy.event_after(seen, "config reloaded").await;
    assert!(reloaded.field("changed").contains("server.listen"), "{reloaded:?}");
    drop(tls(&proxy, &new).await);
    let refused = connect_tls(proxy.address(), &old, None).await.unwrap_err();
    assert!(refused.to_string().contains("certificate"), "{refused}");
    ping(&mut kept).await;
    assert!(proxy.events().iter().all(|event| event.message() != "not listening any more"));
}

/// Runs `check` on one listener with these files. Returns what it says, and whether it is valid.
fn check(cert: &Path, key: &Path) -> (String, bool) {
    let config = ConfigDir::new(DIRECT);
    let tls = format!("cert: '{}', key: '{}'", cert.display(), key.display());
    config.write("00-server.yaml", &server("127.0.0.1:8443", &tls));
    let output = run(["check", "-c", config.path().to_str().unwrap()]);
    let said = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap()).concat();
    (said, output.status.success())
}

#[test]
fn check_says_what_is_wrong_with_a_certificate_and_what_to_do() {
    let (certificates, others) = (Certificates::new(), Certificates::new());
    let [good, key] = certificates.issue("good.test", 2100);
    let (said, is_valid) = check(&good, &key);
    assert!(is_valid && said.contains("https://127.0.0.1:8443"), "{said}");
    let [expired, expired_key] = certificates.issue("expired.test", 2001);
    let [_, foreign_key] = others.issue("other.test", 2100);
    // Time alone makes a certificate invalid, so it is a warning.
    let (said, is_valid) = check(&expired, &expired_key);
    assert!(is_valid && said.contains("certificate 1 of the file expired on 2001-01-01"), "{said}");
    assert!(
        said.contains("clients that check certificates refuse") && said.contains("renew it"),
        "{said}"
    );
    let (authority, swapped) = (certificates.authority_file(), certificates.path().join("swapped"));
    let texts = [&authority, &good].map(|file| fs::read_to_string(file).unwrap());
    fs::write(&swapped, texts.concat()).unwrap();
    for (cert, key, path, words) in [
        (&good, &foreign_key, "tls.key", "does not belong to the certificate"),
        (&swapped, &key, "tls.cert", "`key` belongs to certificate 2"),
        (&swapped, &key, "tls.cert", "write the server's certificate first"),
        (&key, &key, "tls.cert", "is a private key; expected a certificate"),
        (&key, &good, "tls: ", "`cert` names a private key, and `key` a certificate"),
        (&good, &good, "tls.key", "is a certificate; expected a private key"),
    ] {
        let (said, is_valid) = check(cert, key);
        assert!(!is_valid && said.contains(words) && said.contains("help"), "{words}: {said}");
        assert!(
            said.contains("00-server.yaml:1:") && said.contains(&format!("server.listen.{path}")),
            "{said}"
        );
    }
}

#[tokio::test]
async fn a_certificate_that_ran_out_in_force_stops_no_other_edit_and_no_other_one_comes_in_force() {
    let certificates = Certificates::new();
    let [cert, key] = certificates.issue("one.test", 2001);
    let [other, other_key] = certificates.issue("two.test", 2001);
    let [good, good_key] = certificates.issue("three.test", 2100);
    let files = |cert: &Path, key: &Path| {
        let tls = format!("cert: '{}', key: '{}'", cert.display(), key.display());
        server("127.0.0.1:0", &tls)
    };
    let config = ConfigDir::new(DIRECT);
    config.write("00-server.yaml", &files(&cert, &key));
    // It starts, as it would go on after that date.
    let proxy = Proxy::on(config, &[]).await;
    let is_warned = |events: &[crate::support::Event]| {
        events.iter().any(|event| event.text().contains("expired on 2001-01-01"))
    };
    assert!(is_warned(&proxy.events()), "{:?}", proxy.events());
    let config = proxy.config();
    let seen = proxy.events().len();
    config.write("20.yaml", "limits: { connections: 77 }\n");
    let reloaded = proxy.event_after(seen, "config reloaded").await;
    assert!(reloaded.field("changed").contains("limits.connections"), "{reloaded:?}");
    assert!(is_warned(&proxy.events()[seen..]), "{:?}", proxy.events());
    let seen = proxy.events().len();
    config.write("00-server.yaml", &files(&other, &other_key));
    let rejected = proxy.event_after(seen, "config rejected").await;
    assert!(
        rejected.text().contains("does not replace what is in force; renew it"),
        "{rejected:?}"
    );
    let seen = proxy.events().len();
    config.write("00-server.yaml", &files(&good, &good_key));
    proxy.event_after(seen, "config reloaded").await;
    // A good one is not replaced by one that ran out either.
    let seen = proxy.events().len();
    config.write("00-server.yaml", &files(&cert, &key));
    proxy.event_after(seen, "config rejected").await;
}
