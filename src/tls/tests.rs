use std::time::{Duration, UNIX_EPOCH};

use mooltiroute_hops::tls::certificate::OutOfDate;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};

use super::*;

/// A certificate of a server, that of its issuer, and the key of the former, each in PEM.
struct Pems {
    server: String,
    issuer: String,
    key: String,
}

fn pems() -> Pems {
    let valid_in_2025 = |name: &str| {
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        (params.not_before, params.not_after) =
            (date_time_ymd(2025, 1, 1), date_time_ymd(2025, 12, 31));
        params
    };
    let mut issuer = valid_in_2025("issuer.test");
    issuer.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer_key = KeyPair::generate().unwrap();
    let issuer_pem = issuer.self_signed(&issuer_key).unwrap().pem();
    let key = KeyPair::generate().unwrap();
    let server = valid_in_2025("server.test");
    let server = server.signed_by(&key, &Issuer::new(issuer, issuer_key)).unwrap().pem();
    Pems { server, issuer: issuer_pem, key: key.serialize_pem() }
}

/// Days after the beginning of 2025.
fn day(day: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_735_689_600 + day * 86_400)
}

#[track_caller]
fn check(cert: &str, key: &str, now: SystemTime, expected: &[TlsProblem]) {
    let problems = TlsServer::new(&ServerPem { cert, key, client_ca: None }, now);
    assert_eq!(problems.err().unwrap_or_default(), expected);
}

#[test]
fn a_chain_in_order_with_its_key_is_taken_while_it_is_valid() {
    let Pems { server, issuer, key } = pems();
    let chain = server.clone() + &issuer;
    check(&chain, &key, day(10), &[]);
    check(&server, &key, day(10), &[]);
    check(&(key.clone() + &chain), &key, day(10), &[]);
    let from = day(0);
    let early =
        |position| TlsProblem::OutOfDate { position, reason: OutOfDate::NotYetValid { from } };
    let check_dates = |now, expected: &[TlsProblem]| {
        let server = TlsServer::new(&ServerPem { cert: &chain, key: &key, client_ca: None }, now);
        assert_eq!(server.unwrap().out_of_date(), expected);
    };
    check_dates(day(10), &[]);
    check_dates(from - Duration::from_secs(1), &[early(1), early(2)]);
    let at = day(364);
    let late = |position| TlsProblem::OutOfDate { position, reason: OutOfDate::Expired { at } };
    check_dates(day(365), &[late(1), late(2)]);
    // Beside a mistake, the dates are named too.
    let Pems { key: other, .. } = pems();
    check(&server, &other, day(365), &[late(1), TlsProblem::KeyMismatch]);
}

#[test]
fn the_order_of_a_chain_and_the_owner_of_the_key_are_checked() {
    let Pems { server, issuer, key } = pems();
    let swapped = issuer + &server;
    let order = TlsProblem::Order { position: 1 };
    check(&swapped, &key, day(10), &[TlsProblem::KeyOfAnother { position: 2 }]);
    let Pems { server: stranger, key: key_of_stranger, .. } = pems();
    check(&(server.clone() + &stranger), &key, day(10), &[order]);
    check(&server, &key_of_stranger, day(10), &[TlsProblem::KeyMismatch]);
}

#[test]
fn a_file_without_what_it_should_hold_is_a_problem_of_that_file() {
    let Pems { server, issuer, key } = pems();
    let no_certificate = TlsProblem::NoCertificate(TlsSetting::Cert);
    check("", &key, day(10), std::slice::from_ref(&no_certificate));
    check(&key, &server, day(10), &[TlsProblem::Swapped]);
    let is_key = |setting| TlsProblem::Instead(setting, FileContent::PrivateKey);
    check(&key, &key, day(10), &[is_key(TlsSetting::Cert)]);
    let is_certificate = TlsProblem::Instead(TlsSetting::Key, FileContent::Certificates);
    check(&server, &server, day(10), &[is_certificate]);
    let request = server.replace("CERTIFICATE", "CERTIFICATE REQUEST");
    let is_request = TlsProblem::Instead(TlsSetting::Cert, FileContent::Request);
    check(&request, &key, day(10), &[is_request]);
    check(&server, "", day(10), &[TlsProblem::NoKey]);
    let encrypted = key.replace("PRIVATE", "ENCRYPTED PRIVATE");
    check(&server, &encrypted, day(10), &[TlsProblem::EncryptedKey]);
    let legacy = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES\n\nAAAA\n-----END RSA PRIVATE KEY-----\n";
    check(&server, legacy, day(10), &[TlsProblem::EncryptedKey]);
    let other = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let problems = TlsServer::new(&ServerPem { cert: other, key: &key, client_ca: None }, day(10));
    let problems = problems.unwrap_err();
    assert_eq!(problems[0], TlsProblem::NotACertificate { position: 1 });
    let cut = server.replace("-----END CERTIFICATE-----", "");
    let problems = TlsServer::new(&ServerPem { cert: &cut, key: &key, client_ca: None }, day(10));
    assert!(matches!(problems.unwrap_err()[..], [TlsProblem::BrokenPem(TlsSetting::Cert, _)]));
    let client_ca = Some(key.as_str());
    let problems = TlsServer::new(&ServerPem { cert: &server, key: &key, client_ca }, day(10));
    assert_eq!(problems.unwrap_err(), [is_key(TlsSetting::ClientCa)]);
    let client_ca = Some(issuer.as_str());
    assert!(TlsServer::new(&ServerPem { cert: &server, key: &key, client_ca }, day(10)).is_ok());
}
