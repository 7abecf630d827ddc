//! NTLM and Digest against squid. curl shows first that squid is set up correctly.

use std::{net::TcpListener, process::Command, time::SystemTime};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use mooltiroute_hops::{
    Secret,
    auth::{
        challenge::{AuthScheme, Challenge},
        digest::{DigestChallenge, DigestCredentials, DigestRequest, DigestSession, DigestVerdict},
        ntlm::{self, NtHash, NtlmCredentials, NtlmRound},
    },
};

use crate::{
    programs::are_installed,
    squid::{Connection, SQUID, Squid},
};

const NTLM_AUTH: &str = "/usr/bin/ntlm_auth";
const DIGEST_HELPER: &str = "/usr/lib/squid/digest_file_auth";
const CURL: &str = "/usr/bin/curl";
const PASSWORD: &str = "open sesame";

/// Makes both rounds on one connection, and returns the last status.
fn ntlm(squid: &Squid, target: &str, username: &str, hash: NtHash) -> u16 {
    let mut connection = Connection::open(squid.address);
    let first = format!("NTLM {}", STANDARD.encode(ntlm::negotiate_message()));
    let answer = connection.connect(target, Some(&first));
    assert_eq!(answer.status, 407);
    let is_ntlm = |challenge: &&Challenge| challenge.scheme() == Some(AuthScheme::Ntlm);
    let challenge = answer.challenges.iter().find(is_ntlm).unwrap().token().unwrap().unwrap();
    let round = NtlmRound {
        spn: Some("HTTP/proxy.corp.test"),
        bindings: None,
        client_challenge: [0x5A; 8],
        now: SystemTime::now(),
    };
    let credentials = NtlmCredentials::new(username, hash);
    let third = ntlm::authenticate_message(&credentials, &challenge, &round).unwrap();
    let third = format!("NTLM {}", STANDARD.encode(&third));
    connection.connect(target, Some(&third)).status
}

/// Sends the same request with curl, and returns the status of its CONNECT.
fn curl(squid: &Squid, target: &str, scheme: &str, password: &str) -> String {
    let output = Command::new(CURL)
        .args(["--silent", "--proxytunnel", "--max-time", "20", "--write-out", "%{http_connect}"])
        .args(["--proxy", &format!("http://{}", squid.address), scheme])
        .args(["--proxy-user", &format!("alice:{password}"), &format!("http://{target}/")])
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// A target that accepts and closes.
fn target() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || listener.incoming().for_each(drop));
    address
}

#[test]
fn samba_accepts_our_ntlm_and_rejects_a_wrong_password() {
    if !are_installed(&[SQUID, NTLM_AUTH, CURL]) {
        return;
    }
    let helper = format!(
        "auth_param ntlm program {NTLM_AUTH} --helper-protocol=squid-2.5-ntlmssp --domain=CORP --username=alice \
         --password=sesame\nauth_param ntlm children 4 startup=1 idle=1\nauth_param ntlm keep_alive on"
    );
    let (squid, target) = (Squid::start(&helper, &[]), target());
    let hash = |password: &str| NtHash::from_password(&Secret::new(password));
    assert_eq!(curl(&squid, &target, "--proxy-ntlm", "sesame"), "200", "{}", squid.log());
    assert_eq!(curl(&squid, &target, "--proxy-ntlm", "wrong"), "407");
    for username in [r"CORP\alice", "alice@CORP.TEST", "alice"] {
        let status = ntlm(&squid, &target, username, hash("sesame"));
        assert_eq!(status, 200, "{username}: {}", squid.log());
    }
    assert_eq!(ntlm(&squid, &target, r"CORP\alice", hash("wrong")), 407);
}

#[test]
fn squid_accepts_our_digest_counts_nonces_and_rejects_a_wrong_password() {
    if !are_installed(&[SQUID, DIGEST_HELPER, CURL]) {
        return;
    }
    let helper = format!(
        "auth_param digest program {DIGEST_HELPER} -c DIR/digest\nauth_param digest children 2 startup=1 idle=1\n\
         auth_param digest realm corp\nauth_param digest nonce_max_count 3"
    );
    let (squid, target) = (Squid::start(&helper, &[]), target());
    assert_eq!(curl(&squid, &target, "--proxy-digest", PASSWORD), "200", "{}", squid.log());
    let session = DigestSession::default();
    let alice = DigestCredentials::new(Secret::new("alice"), Secret::new(PASSWORD));
    let request = |byte| DigestRequest {
        method: "CONNECT",
        uri: &target,
        client_nonce: [byte; 16],
        is_again: false,
    };
    let mut stale = 0;
    // These are more uses than a nonce has, so squid answers some of them with a new nonce.
    for use_number in 1..=8 {
        let mut connection = Connection::open(squid.address);
        let mut sent = session.authorize(&alice, &request(use_number));
        let status = loop {
            let value = sent.as_ref().map(|sent| sent.value().expose());
            let answer = connection.connect(&target, value);
            if answer.status != 407 {
                break answer.status;
            }
            stale += u8::from(sent.is_some());
            let challenge = DigestChallenge::strongest(&answer.challenges).unwrap();
            assert_eq!(session.challenged(challenge, sent.as_ref()), DigestVerdict::Answer);
            connection = Connection::open(squid.address);
            sent = session.authorize(&alice, &request(use_number));
        };
        assert_eq!(status, 200, "{}", squid.log());
        session.accepted(sent.as_ref().unwrap());
    }
    assert!(stale > 0, "no nonce became stale");

    let session = DigestSession::default();
    let wrong = DigestCredentials::new(Secret::new("alice"), Secret::new("wrong"));
    let mut connection = Connection::open(squid.address);
    let challenged = connection.connect(&target, None);
    let challenge = DigestChallenge::strongest(&challenged.challenges).unwrap();
    assert_eq!(session.challenged(challenge, None), DigestVerdict::Answer);
    let sent = session.authorize(&wrong, &request(9)).unwrap();
    let mut connection = Connection::open(squid.address);
    let refused = connection.connect(&target, Some(sent.value().expose()));
    let challenge = DigestChallenge::strongest(&refused.challenges).unwrap();
    assert_eq!(session.challenged(challenge, Some(&sent)), DigestVerdict::Rejected);
}
