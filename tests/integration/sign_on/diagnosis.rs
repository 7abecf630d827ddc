//! Each failure has its sentence.

use std::{path::Path, process::Command};

use tokio::task::JoinSet;

use super::{Company, SERVICE, SPN, assert_no_secret};
use crate::support::{
    ConfigDir, Double, Kdc, Proxy, Squid, SquidRules, Step, connect, exchange, free_port, pause,
    skip, within,
};

const LIBFAKETIME: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1";
const REQUEST: &[u8] = b"CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n\r\n";

#[tokio::test]
async fn each_reason_without_a_token_has_its_sentence() {
    let Some(company) = Company::start().await else { return };
    company.kdc.kinit("cache");
    let closed = company.kdc.config_with_port(free_port());
    let config = company.kdc.shown("krb5.conf");
    let (cache, none) = (company.kdc.cache("cache"), company.kdc.cache("none"));
    // The library crashes at such a file unless it is asked for it by name.
    let empty = company.kdc.cache("empty");
    std::fs::write(company.kdc.shown("empty"), "").unwrap();
    let login =
        |user: &str, password: &str| format!(", username: {user}, password: {password}{SPN}");
    let other = ", kerberos: { spn: HTTP/alias.corp.test }".to_owned();
    for (settings, config, cache, summary, words) in [
        (SPN.to_owned(), &config, &none, "no Kerberos ticket", &*none),
        (SPN.to_owned(), &config, &empty, "unusable Kerberos ticket cache", &*empty),
        (other, &config, &cache, "service name unknown to the domain", "alias.corp.test"),
        (SPN.to_owned(), &closed, &cache, "no answer from the domain controller", "Check"),
        (login("alice", "wrong-word"), &config, &none, "wrong password", "(username)"),
        (login("nobody", "wrong-word"), &config, &none, "user unknown to the domain", "(username)"),
        (login("locked", Kdc::PASSWORD), &config, &none, "account locked", "(username)"),
        (
            login("alice@ELSEWHERE.TEST", "x"),
            &config,
            &none,
            "no domain controller for the realm",
            "ELSEWHERE",
        ),
    ] {
        let environment = [("KRB5_CONFIG", &**config), ("KRB5CCNAME", cache)];
        let yaml = company.yaml(&settings, "[corporate]");
        let proxy = Proxy::in_environment(&yaml, &["--log-level", "trace"], &environment).await;
        let told = exchange(proxy.address(), REQUEST).await;
        assert!(
            told.starts_with(&format!("HTTP/1.1 502 Bad Gateway (corporate: {summary})")),
            "{told}"
        );
        assert!(told.contains("error=proxy_configuration_error"), "{told}");
        assert!(told.contains(words), "{told}");
        assert!(!told.contains("wrong-word") && !told.contains("alice"), "{told}");
        assert_no_secret(&proxy);
    }
}

#[tokio::test]
async fn a_ticket_that_is_used_in_place_of_the_password_is_named() {
    let Some(company) = Company::start().await else { return };
    company.kdc.kinit("cache");
    for user in ["alice", "alice@CORP.TEST", r"'WRONGDOM\alice'"] {
        let settings = format!(", username: {user}, password: wrong-word{SPN}");
        let directory = ConfigDir::new(&company.yaml(&settings, "[corporate]"));
        let told = check(&company.kdc, &directory, "cache");
        assert!(told.contains("Negotiate: with a ticket of (username)@CORP.TEST"), "{told}");
        let is_warned = told.contains("has a domain before a `\\`, which Negotiate leaves out");
        assert_eq!(is_warned, user.contains("WRONG"), "{told}");
        let mut probe = Command::new(env!("CARGO_BIN_EXE_mooltiroute"));
        probe.args(["probe", "a.test:443", "-c"]).arg(directory.path());
        probe.env("KRB5_CONFIG", company.kdc.path("krb5.conf"));
        probe.env("KRB5CCNAME", company.kdc.cache("cache"));
        let told = String::from_utf8(probe.output().unwrap().stdout).unwrap();
        assert!(told.contains(", by Negotiate with a ticket: "), "{told}");
        assert!(!told.contains("wrong password"), "{told}");
    }
}

#[tokio::test]
async fn an_untrusted_realm_and_another_principal_have_their_advice() {
    let Some(company) = Company::start().await else { return };
    company.kdc.kinit("cache");
    let foreign = ", kerberos: { spn: HTTP/host@OTHER.TEST }";
    let proxy = company.proxy(&company.yaml(foreign, "[corporate]"), "cache").await;
    let told = exchange(proxy.address(), REQUEST).await;
    assert!(told.contains("Correct the realm after the `@` in `spn`"), "{told}");
    assert!(!told.contains("full name in `address`"), "{told}");
    let other = format!(", kerberos: {{ spn: {SERVICE}, principal: other@CORP.TEST }}");
    let proxy = company.proxy(&company.yaml(&other, "[corporate]"), "cache").await;
    let told = exchange(proxy.address(), REQUEST).await;
    assert!(told.contains("`kinit other@CORP.TEST`"), "{told}");
}

#[tokio::test]
async fn an_alias_in_the_address_is_told_the_canonical_name() {
    let Some(company) = Company::start().await else { return };
    company.kdc.kinit("cache");
    let scratch = tempfile::tempdir().unwrap();
    let hosts = scratch.path().join("hosts");
    std::fs::write(&hosts, "127.0.0.1 proxy.corp.test alias.corp.test\n").unwrap();
    let address = format!("alias.corp.test:{}", company.squid.address().port());
    let yaml =
        company.yaml("", "[corporate]").replace(&company.squid.address().to_string(), &address);
    let config = ConfigDir::new(&yaml);
    // The system's resolver reads `/etc/hosts`, so this process gets one of its own.
    let mut command = std::process::Command::new("unshare");
    command.args([
        "--mount",
        "sh",
        "-c",
        "mount --bind \"$1\" /etc/hosts && shift && exec \"$@\"",
        "sh",
    ]);
    command.arg(&hosts).arg(env!("CARGO_BIN_EXE_mooltiroute"));
    command.args(["probe", "https://a.test/", "--config"]).arg(config.path());
    command.env("KRB5_CONFIG", company.kdc.shown("krb5.conf"));
    command.env("KRB5CCNAME", company.kdc.cache("cache"));
    let output = command.output();
    let told = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    let told = told.unwrap_or_default();
    // `probe` begins with the address that it has looked up.
    if told.is_empty() {
        return skip("a mount namespace");
    }
    let advice =
        "The canonical name of this host is `proxy.corp.test`: try `HTTP/proxy.corp.test`.";
    assert!(told.contains("service name") && told.contains(advice), "{told}");
}

#[tokio::test]
async fn wrong_clocks_and_expired_tickets_have_their_sentences() {
    if !Path::new(LIBFAKETIME).is_file() {
        return skip("libfaketime");
    }
    let Some(company) = Company::start().await else { return };
    company.kdc.kinit("cache");
    let (config, cache) = (company.kdc.shown("krb5.conf"), company.kdc.cache("cache"));
    for (time, summary) in
        [("+10m", "clock differs from the domain's"), ("+2h", "Kerberos ticket expired")]
    {
        let environment = [
            ("KRB5_CONFIG", &*config),
            ("KRB5CCNAME", &cache),
            ("LD_PRELOAD", LIBFAKETIME),
            ("FAKETIME", time),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        ];
        let yaml = company.yaml(SPN, "[corporate]");
        let proxy = Proxy::in_environment(&yaml, &[], &environment).await;
        let told = exchange(proxy.address(), REQUEST).await;
        assert!(told.contains(&format!("(corporate: {summary})")), "{told}");
    }
}

#[tokio::test]
async fn a_keytab_without_the_keys_of_its_principal_is_named() {
    let Some(kdc) = Kdc::start().await else { return };
    let (config, keytab) = (kdc.path("krb5.conf"), kdc.path("http.keytab"));
    let rules = SquidRules::Kerberos { config, keytab, service: SERVICE };
    let Some(squid) = Squid::start(rules).await else { return };
    let company = Company { kdc, squid };
    // The keytab of the proxy has no keys of alice, and a YAML file is not a keytab at all.
    let other = company.kdc.path("krb5.conf");
    for (file, principal, words) in [
        (company.kdc.path("http.keytab"), "alice@CORP.TEST", "has keys of `alice@CORP.TEST`"),
        (other.clone(), "alice@CORP.TEST", "is a keytab and has keys"),
        (other, "alice", "The principal has no realm"),
    ] {
        let auth = format!(
            ", kerberos: {{ spn: {SERVICE}@CORP.TEST, keytab: \"{}\", principal: {principal} }}",
            file.display()
        );
        let proxy = company.proxy(&company.yaml(&auth, "[corporate]"), "none").await;
        let told = exchange(proxy.address(), REQUEST).await;
        assert!(told.contains(words) && told.contains("klist -kt"), "{told}");
        assert!(!told.contains("kinit"), "{told}");
    }
}

#[tokio::test]
async fn a_valid_ticket_that_the_proxy_refuses_is_tried_once_until_there_is_a_new_one() {
    let Some(kdc) = Kdc::start().await else { return };
    let (config, keytab) = (kdc.path("krb5.conf"), kdc.path("stale.keytab"));
    let rules = SquidRules::Kerberos { config, keytab, service: "HTTP/stale.corp.test" };
    let Some(squid) = Squid::start(rules).await else { return };
    let company = Company { kdc, squid };
    company.kdc.kinit("cache");
    let spn = SPN.replace(SERVICE, "HTTP/stale.corp.test");
    let proxy = company.proxy(&company.yaml(&spn, "[corporate]"), "cache").await;
    for _ in 0..3 {
        let told = exchange(proxy.address(), REQUEST).await;
        assert!(told.contains("it refused a valid ticket"), "{told}");
        assert!(told.contains("Ask its administrator"), "{told}");
    }
    let tokens = |count| {
        let passed = company.squid.passed();
        let sent = passed.iter().filter(|passed| passed.authorization.starts_with("Negotiate "));
        assert_eq!(sent.count(), count, "{passed:?}");
    };
    tokens(1);
    // A ticket that ends later is another one.
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    company.kdc.kinit("cache");
    let told = exchange(proxy.address(), REQUEST).await;
    assert!(told.contains("it refused a valid ticket"), "{told}");
    company.squid.passed_at_least(3).await;
    tokens(2);
    assert_no_secret(&proxy);
}

#[tokio::test]
async fn a_scheme_that_was_not_tried_after_a_refused_ticket_is_named() {
    let Some(company) = Company::start().await else { return };
    let refusal = "HTTP/1.1 407 Who\r\nProxy-Authenticate: Negotiate\r\nProxy-Authenticate: NTLM\r\n\
                   Content-Length: 0\r\n\r\n";
    let hop = Double::start(vec![Step::Answer(refusal.into()); 2]).await;
    let login = format!(", username: alice, password: {}{SPN}", Kdc::PASSWORD);
    for (auth, is_named) in [("[negotiate, ntlm]", true), ("[negotiate]", false)] {
        let yaml = company.yaml(&login, "[corporate]").replace("[negotiate]", auth);
        let yaml = yaml.replace(&company.squid.address().to_string(), &hop.address().to_string());
        let proxy = company.proxy(&yaml, "none").await;
        let told = exchange(proxy.address(), REQUEST).await;
        assert!(told.contains("it refused a valid ticket"), "{told}");
        let words = "NTLM was not tried, though the proxy offers it";
        assert_eq!(told.contains(words), is_named, "{told}");
        assert!(told.contains("does not send this ticket again for 30 s"), "{told}");
        assert!(!told.contains("locking the account"), "{told}");
    }
}

#[tokio::test]
async fn a_proxy_that_breaks_negotiate_off_has_not_refused_the_ticket() {
    let Some(company) = Company::start().await else { return };
    let offer = "HTTP/1.1 407 Who\r\nProxy-Authenticate: Negotiate\r\nContent-Length: 0\r\n\r\n";
    let broken_off = "HTTP/1.1 407 Who\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    let hop = Double::start([Step::Answer(offer.into()), Step::Answer(broken_off.into())]).await;
    let login = format!(", username: alice, password: {}{SPN}", Kdc::PASSWORD);
    let yaml = company.yaml(&login, "[corporate]");
    let yaml = yaml.replace(&company.squid.address().to_string(), &hop.address().to_string());
    let proxy = company.proxy(&yaml, "none").await;
    // It is not held back: the proxy has said nothing about the ticket.
    for _ in 0..2 {
        let told = exchange(proxy.address(), REQUEST).await;
        assert!(
            told.contains("(corporate: 407 Who, closes the connection during Negotiate)"),
            "{told}"
        );
        assert!(told.contains("it offered Negotiate, then answered the first message"), "{told}");
        assert!(told.contains("look for a load balancer in front of the proxy"), "{told}");
    }
}

#[tokio::test]
async fn a_wrong_kerberos_password_reaches_the_kdc_once_for_twenty_clients() {
    let Some(company) = Company::start().await else { return };
    let settings = format!(", username: alice, password: wrong-word{SPN}");
    let proxy = company.proxy(&company.yaml(&settings, "[corporate]"), "none").await;
    let address = proxy.address();
    let clients: JoinSet<_> =
        (0..20).map(|_| async move { connect(address, "a.test:443").await.head }).collect();
    for told in clients.join_all().await {
        assert!(told.contains("(corporate: wrong password)"), "{told}");
    }
    let told = connect(address, "a.test:443").await.head;
    assert!(told.contains("Retry-After: "), "{told}");
    let log = company.kdc.log();
    assert_eq!(log.matches("PREAUTH_FAILED").count(), 1, "{log}");
}

#[tokio::test]
async fn a_proxy_without_negotiate_gets_the_next_listed_scheme_and_the_kdc_hears_nothing() {
    let Some(company) = Company::start().await else { return };
    let Some(digest) = Squid::start(SquidRules::Digest).await else { return };
    let yaml = format!(
        "hops:\n  corporate: {{ kind: http-connect, address: \"{}\", auth: [negotiate, digest], username: dev, \
         password: secret{SPN} }}\nchains: {{ default: [corporate] }}\n",
        digest.address()
    );
    let proxy = company.proxy(&yaml, "none").await;
    let told = connect(proxy.address(), "127.0.0.1:9").await.head;
    assert!(!told.contains("407") && !told.contains("Kerberos"), "{told}");
    assert!(!company.kdc.log().contains("AS_REQ"), "{}", company.kdc.log());
}

#[tokio::test]
async fn check_says_which_schemes_are_usable_and_sends_nothing() {
    let Some(company) = Company::start().await else { return };
    company.kdc.kinit("cache");
    let directory = ConfigDir::new(&company.yaml(SPN, "[corporate]"));
    let place = format!("; looked in cache {})\n", company.kdc.cache("none"));
    for (cache, words) in [
        ("cache", ["\n    Negotiate: with a ticket of alice@CORP.TEST, good for ", " min\n"]),
        ("none", ["\n    Negotiate: not now, no Kerberos ticket (", &place]),
    ] {
        let told = check(&company.kdc, &directory, cache);
        assert!(words.iter().all(|words| told.contains(words)), "{told}");
        assert_eq!(told.contains("hops.corporate.auth: "), cache == "none", "{told}");
    }
    assert!(company.squid.passed().is_empty());
}

#[tokio::test]
async fn a_missing_ticket_is_a_warning_among_the_others_in_the_order_of_the_file() {
    let Some(company) = Company::start().await else { return };
    let written = company.yaml(SPN, "[corporate]");
    let written =
        written.replace("chains:", "  spare: { kind: http-connect, address: 'p.test:1' }\nchains:");
    for (auth, instead) in [
        ("auth: negotiate", "so requests through this hop fail"),
        (
            "auth: [negotiate, ntlm], username: alice, nt_hash: 8846f7eaee8fb117ad06bdd830b7586c",
            "so the other schemes are used",
        ),
    ] {
        let config = ConfigDir::new(&written.replace("auth: [negotiate]", auth));
        let told = check(&company.kdc, &config, "none");
        let warnings = told.split_once("\nwarnings\n").unwrap().1;
        let ticket = format!(
            "hops.corporate.auth: Negotiate can't be used now, {instead}: no Kerberos ticket ("
        );
        let (ticket, spare) = (warnings.find(&ticket), warnings.find("hops.spare: no chain"));
        assert!(ticket.is_some() && ticket < spare, "{told}");
        assert!(
            warnings.contains("  help: Get a ticket as the user that runs Mooltiroute"),
            "{told}"
        );
    }
}

#[tokio::test]
async fn check_tells_an_expired_ticket_from_none_until_there_is_a_new_one() {
    let Some(kdc) = Kdc::start().await else { return };
    let ccache = format!("kerberos: {{ ccache: \"{}\" }}", kdc.cache("cache"));
    // The default cache, a named one beside another default, and the principal of a user.
    for (settings, cache) in
        [("", "cache"), (&*ccache, "none"), ("username: alice@CORP.TEST", "cache")]
    {
        let config = ConfigDir::new(&format!(
            "hops:\n  corporate: {{ kind: http-connect, address: proxy.corp.test:3128, auth: negotiate, {settings} }}\n\
             chains: {{ default: [corporate] }}\n"
        ));
        let told = || check(&kdc, &config, cache);
        let valid = "\n    Negotiate: with a ticket of ";
        kdc.kinit_for("cache", "3s");
        assert!(told().contains(valid), "{}", told());
        within("the ticket expires", async {
            while told().contains(valid) {
                pause().await;
            }
        })
        .await;
        let words = "\n    Negotiate: not now, the Kerberos ticket has expired (The referenced credential has expired; ";
        assert!(told().contains(words), "{}", told());
        kdc.kinit("cache");
        assert!(told().contains(valid), "{}", told());
    }
    let log = kdc.log();
    assert!(!log.contains("TGS_REQ"), "`check` has asked for nothing: {log}");
}

/// Runs `mooltiroute check` and returns its output, with tickets in this cache.
fn check(kdc: &Kdc, config: &ConfigDir, cache: &str) -> String {
    let mut check = Command::new(env!("CARGO_BIN_EXE_mooltiroute"));
    check.arg("check").arg("-c").arg(config.path());
    check.env("KRB5_CONFIG", kdc.path("krb5.conf")).env("KRB5CCNAME", kdc.cache(cache));
    let output = check.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}
