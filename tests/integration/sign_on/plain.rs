//! `http://` requests through a proxy that wants Negotiate.

use super::{Company, GSS_NTLMSSP, SPN, assert_no_secret};
use crate::{
    plain_auth::requests_pass,
    support::{HttpOrigin, PASSWORD, Proxy, Squid, SquidRules, USERNAME, skip},
};

#[tokio::test]
async fn a_ticket_costs_plain_requests_no_round_once_the_scheme_is_known() {
    let Some(company) = Company::start().await else { return };
    company.kdc.kinit("cache");
    let origin = HttpOrigin::plain().await;
    let proxy = company.proxy(&company.yaml(SPN, "[corporate]"), "cache").await;
    for _ in 0..3 {
        requests_pass(proxy.address(), origin.address()).await;
    }
    // One bare request has met the first challenge, and each connection is logged on by its first request.
    let passed = company.squid.passed_at_least(19).await;
    let is_signed = |authorization: &str| authorization.starts_with("Negotiate ");
    let signed = passed.iter().filter(|passed| is_signed(&passed.authorization));
    assert_eq!((passed.len(), signed.count()), (19, 3), "{passed:?}");
    assert_eq!(passed.iter().filter(|passed| passed.status == 407).count(), 1);
    assert_no_secret(&proxy);
}

#[tokio::test]
async fn plain_requests_pass_ntlm_inside_of_spnego() {
    if !std::path::Path::new(GSS_NTLMSSP).is_file() {
        return skip("gss-ntlmssp");
    }
    let Some(squid) = Squid::start(SquidRules::SpnegoNtlm).await else { return };
    let origin = HttpOrigin::plain().await;
    let scratch = tempfile::tempdir().unwrap();
    let users = scratch.path().join("users").display().to_string();
    std::fs::write(&users, format!("CORP:{USERNAME}:{PASSWORD}\n")).unwrap();
    let yaml = format!(
        "hops:\n  corporate: {{ kind: http-connect, address: \"{}\", auth: [negotiate]{SPN} }}\n\
         chains: {{ default: [corporate] }}\n",
        squid.address()
    );
    let environment = [("NTLM_USER_FILE", &*users), ("KRB5CCNAME", "FILE:/nonexistent")];
    let proxy = Proxy::in_environment(&yaml, &[], &environment).await;
    for _ in 0..2 {
        requests_pass(proxy.address(), origin.address()).await;
    }
}
