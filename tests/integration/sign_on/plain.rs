//! `http://` requests through a proxy that wants Negotiate.

use super::{Company, SPN, SpnegoNtlm, assert_no_secret};
use crate::{
    plain_auth::requests_pass,
    support::{HttpOrigin, PASSWORD},
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
    // One bare request has met the first challenge, and each connection is logged on by its first request. The first client
    // has two, since a HEAD has shown on the first one that a logon lasts.
    let passed = company.squid.passed_at_least(20).await;
    let is_signed = |authorization: &str| authorization.starts_with("Negotiate ");
    let signed = passed.iter().filter(|passed| is_signed(&passed.authorization));
    assert_eq!((passed.len(), signed.count()), (20, 4), "{passed:?}");
    assert_eq!(passed.iter().filter(|passed| passed.status == 407).count(), 1);
    assert_no_secret(&proxy);
}

#[tokio::test]
async fn plain_requests_pass_ntlm_inside_of_spnego() {
    let Some(spnego) = SpnegoNtlm::start(PASSWORD).await else { return };
    let origin = HttpOrigin::plain().await;
    for _ in 0..2 {
        requests_pass(spnego.proxy.address(), origin.address()).await;
    }
}
