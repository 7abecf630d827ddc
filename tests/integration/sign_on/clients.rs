//! Clients that know nothing of Kerberos, through a proxy that wants it.

use super::{Company, SERVICE};
use crate::login_clients::clients_pass;

#[tokio::test]
async fn curl_requests_and_git_pass_a_proxy_that_wants_kerberos() {
    let Some(company) = Company::start().await else { return };
    company.kdc.kinit("cache");
    let settings = format!("auth: negotiate, kerberos: {{ spn: {SERVICE} }}");
    let (config, cache) = (company.kdc.shown("krb5.conf"), company.kdc.cache("cache"));
    let environment = [("KRB5_CONFIG", &*config), ("KRB5CCNAME", &cache)];
    clients_pass(&company.squid, &settings, "alice@CORP.TEST", &environment).await;
}
