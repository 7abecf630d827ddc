//! GSS-API with a real KDC and squid.
//!
//! The library reads its configuration from the environment of the process, so each question is asked in a process of
//! its own: this test program again, with [`asked_by_another_test`] as its only test.

use std::{env, fs, net::TcpListener, process::Command, sync::Arc};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use mooltiroute_hops::auth::challenge::AuthScheme;
use mooltiroute_sso::{Context, Credentials, Identity, Password, SsoError};

use crate::{
    kdc::{Kdc, PASSWORD, PROGRAMS},
    programs::are_installed,
    squid::{Connection, SQUID, Squid},
};

const KERBEROS_HELPER: &str = "/usr/lib/squid/negotiate_kerberos_auth";
const NTLM_AUTH: &str = "/usr/bin/ntlm_auth";
const GSS_NTLMSSP: &str = "/etc/gss/mech.d/mech.ntlmssp.conf";
const SPN: &str = "HTTP/proxy.corp.test";

/// Authenticates in a process of its own, and returns `status N` or `Reason: words`.
fn ask(environment: &[(&str, &str)]) -> String {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", "kerberos::asked_by_another_test", "--ignored", "--nocapture"]);
    command.env_remove("KRB5CCNAME").env_remove("KRB5_CLIENT_KTNAME").env("ASK_SPN", SPN);
    let output = command.envs(environment.iter().copied()).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let answer = text.lines().find_map(|line| line.split_once("ANSWER ")).map(|(_, answer)| answer);
    answer.unwrap_or_else(|| panic!("{text}{}", String::from_utf8_lossy(&output.stderr))).to_owned()
}

#[test]
#[ignore = "run by the other tests, with an environment of its own"]
fn asked_by_another_test() {
    println!();
    match rounds() {
        Ok(status) => println!("ANSWER status {status}"),
        Err(error) => println!("ANSWER {:?}: {error}", error.reason),
    }
}

fn rounds() -> Result<u16, SsoError> {
    let variable = |name: &str| env::var(name).ok();
    let principal = variable("ASK_PRINCIPAL");
    let credentials = match variable("ASK_KIND").as_deref() {
        Some("ccache") => Credentials::Ccache { name: variable("ASK_FROM").unwrap(), principal },
        Some("keytab") => Credentials::Keytab {
            path: variable("ASK_FROM").unwrap().into(),
            principal: principal.unwrap(),
            ccache: None,
        },
        Some("password") => Credentials::Password {
            username: principal.unwrap(),
            password: Password::new(variable("ASK_FROM").unwrap()),
        },
        _ => Credentials::LoggedIn { principal },
    };
    let identity = Arc::new(Identity::new(credentials));
    let service = variable("ASK_SPN").unwrap();
    // Each of these asks for the ticket of a keytab to be identified too, which must not log on.
    let others = variable("ASK_AT_ONCE").map_or(0, |count| count.parse::<usize>().unwrap());
    std::thread::scope(|scope| {
        for _ in 0..others {
            scope.spawn(|| {
                identity.ticket().unwrap_err();
                Context::new(&service, &identity, None)?.step(None)
            });
        }
    });
    let mut context = Context::new(&service, &identity, None)?;
    let Some(proxy) = variable("ASK_PROXY") else {
        context.step(None)?;
        return Ok(0);
    };
    let target = variable("ASK_TARGET").unwrap();
    let mut connection = Connection::open(proxy.parse().unwrap());
    let mut challenge: Option<Vec<u8>> = None;
    for _ in 0..4 {
        let step = context.step(challenge.as_deref())?;
        let value = format!("Negotiate {}", STANDARD.encode(step.token().unwrap_or_default()));
        let answer = connection.connect(&target, Some(&value));
        let mut offers = answer.challenges.iter();
        let offer = offers.find(|offer| offer.scheme() == Some(AuthScheme::Negotiate));
        challenge = offer.and_then(|offer| offer.token().unwrap());
        if answer.status != 407 || challenge.is_none() {
            return Ok(answer.status);
        }
    }
    panic!("the proxy never ends");
}

#[test]
fn squid_accepts_the_tickets_of_every_source() {
    if !are_installed(&[&PROGRAMS[..], &[SQUID, KERBEROS_HELPER]].concat()) {
        return;
    }
    let kdc = Kdc::start();
    let config = kdc.shown("krb5.conf");
    let helper = format!(
        "auth_param negotiate program {KERBEROS_HELPER} -k {} -s {SPN}@CORP.TEST -t none\n\
         auth_param negotiate children 4 startup=1 idle=1\nauth_param negotiate keep_alive on",
        kdc.shown("http.keytab")
    );
    let squid = Squid::start(&helper, &[("KRB5_CONFIG", &config)]);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = listener.local_addr().unwrap().to_string();
    let (proxy, cache) = (squid.address.to_string(), kdc.kinit("cache", "1h"));
    let keytab = kdc.shown("alice.keytab");
    for source in [
        &[("KRB5CCNAME", &*cache)][..],
        &[("KRB5CCNAME", &cache), ("ASK_PRINCIPAL", "alice@CORP.TEST")],
        &[("ASK_KIND", "ccache"), ("ASK_FROM", &cache)],
        &[("ASK_KIND", "keytab"), ("ASK_FROM", &keytab), ("ASK_PRINCIPAL", "alice@CORP.TEST")],
        &[("ASK_KIND", "password"), ("ASK_FROM", PASSWORD), ("ASK_PRINCIPAL", "alice@CORP.TEST")],
    ] {
        let common = [("KRB5_CONFIG", &*config), ("ASK_PROXY", &proxy), ("ASK_TARGET", &target)];
        assert_eq!(ask(&[&common, source].concat()), "status 200", "{source:?}: {}", squid.log());
    }
}

/// Without a ticket, but with gss-ntlmssp and its file of passwords, SPNEGO takes two rounds.
#[test]
fn squid_accepts_ntlm_inside_of_spnego() {
    if !are_installed(&[SQUID, NTLM_AUTH, GSS_NTLMSSP]) {
        return;
    }
    let helper = format!(
        "auth_param negotiate program {NTLM_AUTH} --helper-protocol=gss-spnego --domain=CORP --username=alice \
         --password=sesame\nauth_param negotiate children 4 startup=1 idle=1\nauth_param negotiate keep_alive on"
    );
    let squid = Squid::start(&helper, &[]);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (proxy, target) = (squid.address.to_string(), listener.local_addr().unwrap().to_string());
    let folder = tempfile::tempdir().unwrap();
    let missing = format!("FILE:{}", folder.path().join("missing").display());
    for (password, status) in [("sesame", "status 200"), ("wrong", "status 407")] {
        let users = folder.path().join(password).display().to_string();
        std::fs::write(&users, format!("CORP:alice:{password}\n")).unwrap();
        let answer = ask(&[
            ("NTLM_USER_FILE", &users),
            ("KRB5CCNAME", &missing),
            ("ASK_PROXY", &proxy),
            ("ASK_TARGET", &target),
        ]);
        assert_eq!(answer, status, "{}", squid.log());
    }
}

#[test]
fn each_failure_has_its_reason() {
    if !are_installed(&PROGRAMS) {
        return;
    }
    let kdc = Kdc::start();
    let (config, unreachable) = (kdc.shown("krb5.conf"), kdc.shown("unreachable.conf"));
    let (cache, missing) = (kdc.kinit("cache", "1h"), format!("FILE:{}", kdc.shown("missing")));
    let password = |password: &'static str, principal: &'static str| {
        [("ASK_KIND", "password"), ("ASK_FROM", password), ("ASK_PRINCIPAL", principal)].to_vec()
    };
    for (config, question, reason, words) in [
        (&config, vec![("KRB5CCNAME", &*missing)], "NoTicket", &*missing),
        (&config, vec![("ASK_KIND", "ccache"), ("ASK_FROM", &missing)], "NoTicket", &missing),
        (
            &config,
            vec![("KRB5CCNAME", &cache), ("ASK_SPN", "HTTP/other.corp.test")],
            "UnknownService",
            &cache,
        ),
        (&unreachable, vec![("KRB5CCNAME", &cache)], "KdcUnreachable", &cache),
        (&config, password("wrong-password", "alice@CORP.TEST"), "WrongPassword", "alice"),
        (&config, password(PASSWORD, "nobody@CORP.TEST"), "UnknownUser", "nobody"),
        (&config, password(PASSWORD, "alice@ELSEWHERE.TEST"), "UnknownRealm", "ELSEWHERE"),
    ] {
        let answer = ask(&[&question[..], &[("KRB5_CONFIG", config)]].concat());
        assert!(answer.starts_with(&format!("{reason}: ")), "{question:?}: {answer}");
        assert!(answer.contains(words), "{question:?}: {answer}");
        assert!(!answer.contains("wrong-password") && !answer.contains(PASSWORD), "{answer}");
    }
}

/// Tries a clock that is ten minutes fast, and one by which the ticket has expired.
#[test]
fn wrong_clocks_and_expired_tickets_have_their_reasons() {
    let libfaketime = format!("/usr/lib/{}-linux-gnu/faketime/libfaketime.so.1", env::consts::ARCH);
    if !are_installed(&[&PROGRAMS[..], &[&libfaketime]].concat()) {
        return;
    }
    let kdc = Kdc::start();
    let (config, cache) = (kdc.shown("krb5.conf"), kdc.kinit("cache", "1h"));
    for (time, reason) in [("+10m", "ClockSkew: "), ("+2h", "TicketExpired: ")] {
        let answer = ask(&[
            ("KRB5_CONFIG", &config),
            ("KRB5CCNAME", &cache),
            ("LD_PRELOAD", &libfaketime),
            ("FAKETIME", time),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        ]);
        assert!(answer.starts_with(reason), "{time}: {answer}");
    }
}

/// A wrong password must be tried only once: another try for the sake of a better message, or by another thread, would lock
/// accounts. Keys that are out of date are a wrong password too, also those of the keytab that the library uses by itself.
#[test]
fn a_wrong_password_or_key_reaches_the_kdc_once() {
    if !are_installed(&PROGRAMS) {
        return;
    }
    let kdc = Kdc::start();
    let (config, keytab) = (kdc.shown("krb5.conf"), kdc.shown("alice.keytab"));
    let missing = format!("FILE:{}", kdc.shown("missing"));
    kdc.change_password();
    let common =
        [("KRB5_CONFIG", &*config), ("ASK_AT_ONCE", "8"), ("ASK_PRINCIPAL", "alice@CORP.TEST")];
    for (count, question) in [
        (1, &[("ASK_KIND", "password"), ("ASK_FROM", "wrong-password")][..]),
        (2, &[("ASK_KIND", "keytab"), ("ASK_FROM", &keytab)]),
        (3, &[("KRB5_CLIENT_KTNAME", &keytab), ("KRB5CCNAME", &missing)]),
        (4, &[("KRB5_CLIENT_KTNAME", &keytab), ("ASK_KIND", "ccache"), ("ASK_FROM", &missing)]),
    ] {
        let answer = ask(&[&common, question].concat());
        assert!(answer.starts_with("WrongPassword: "), "{question:?}: {answer}");
        assert_eq!(kdc.failed_logons(), count, "{question:?}: {answer}");
    }
    let of_any_user = &[&common[..2], &[("KRB5_CLIENT_KTNAME", &keytab), ("KRB5CCNAME", &missing)]];
    let answer = ask(&of_any_user.concat());
    assert!(answer.starts_with("WrongPassword: "), "{answer}");
    assert_eq!(kdc.failed_logons(), 5, "{answer}");
}

/// MIT Kerberos 1.20 crashes if it looks for any cache with a ticket and comes to one like these. So it must not look.
#[test]
fn no_damaged_cache_ends_the_process() {
    if !are_installed(&PROGRAMS) {
        return;
    }
    let kdc = Kdc::start();
    let config = kdc.shown("krb5.conf");
    let good = fs::read(kdc.kinit("cache", "1h").strip_prefix("FILE:").unwrap()).unwrap();
    let directory = kdc.path("directory");
    fs::create_dir(&directory).unwrap();
    fs::write(directory.join("primary"), "tkt\n").unwrap();
    let (ticket, other) = (directory.join("tkt"), directory.join("tktother"));
    let file = format!("FILE:{}", ticket.display());
    let collection = format!("DIR:{}", directory.display());
    let member = format!("DIR::{}", ticket.display());
    let by_default = kdc.path("krb5-default.conf");
    let settings = fs::read_to_string(kdc.path("krb5.conf")).unwrap();
    let named = format!("[libdefaults]\ndefault_ccache_name = {collection}\n");
    fs::write(&by_default, settings.replace("[libdefaults]\n", &named)).unwrap();
    let by_default = by_default.display().to_string();
    let sources = [
        &[("KRB5_CONFIG", &*config), ("KRB5CCNAME", &*file)][..],
        &[("KRB5_CONFIG", &config), ("KRB5CCNAME", &collection)],
        &[("KRB5_CONFIG", &config), ("KRB5CCNAME", &member)],
        &[("KRB5_CONFIG", &by_default)],
    ];
    let user = [("ASK_PRINCIPAL", "alice@CORP.TEST")];
    let junk: Vec<u8> =
        [5, 4].into_iter().chain((0..300).map(|byte| (byte * 7 % 251) as u8)).collect();
    for content in [&good[..0], &good[..4], &good[..60], &junk] {
        fs::write(&ticket, content).unwrap();
        fs::write(&other, &good).unwrap();
        for source in sources {
            let answer = ask(source);
            let has_reason = answer.starts_with("BadCache: ") || answer.starts_with("NoTicket: ");
            // If the library knows how to choose among several caches, it finds the good one.
            assert!(has_reason || answer == "status 0", "{source:?}: {answer}");
            ask(&[source, &user].concat());
        }
    }
    // A good cache counts, whatever lies beside it.
    fs::write(&ticket, &good).unwrap();
    fs::write(&other, &good[..4]).unwrap();
    for source in sources {
        assert_eq!(ask(source), "status 0", "{source:?}");
        assert_eq!(ask(&[source, &user].concat()), "status 0", "{source:?}");
    }
}
