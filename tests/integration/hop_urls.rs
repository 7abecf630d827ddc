//! Hops of the command line, between real proxies.

use crate::support::{
    EchoOrigin, HttpOrigin, PASSWORD, Proxy, Squid, SquidRules, USERNAME, connect, exchange, ping,
};

#[tokio::test]
async fn hops_of_the_command_line_sign_on_in_the_order_of_travel() {
    let Some(first) = Squid::start(SquidRules::Basic).await else { return };
    let Some(second) = Squid::start(SquidRules::Basic).await else { return };
    // Every byte of a credential may be written as `%XX`.
    let encoded: String = PASSWORD.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let urls = [
        format!("http-connect://{USERNAME}:{PASSWORD}@{}", first.address()),
        format!("http://{USERNAME}:{encoded}@{}?auth=[basic]&plain=connect", second.address()),
    ];
    let echo = EchoOrigin::start().await;
    let proxy = Proxy::of_hops(&[&urls[0], &urls[1]]).await;
    let mut tunnel = connect(proxy.address(), echo.address()).await.tunnel();
    ping(&mut tunnel).await;
    drop(tunnel);
    assert_eq!(first.passed_at_least(1).await[0].target, second.address().to_string());
    assert_eq!(second.passed_at_least(1).await[0].target, echo.address().to_string());
    assert_eq!(second.passed()[0].user, USERNAME);
}

#[tokio::test]
async fn a_plain_request_passes_a_hop_of_the_command_line_with_its_credentials() {
    let Some(squid) = Squid::start(SquidRules::Basic).await else { return };
    let origin = HttpOrigin::plain().await;
    let url = format!("http-connect://{USERNAME}:{PASSWORD}@{}", squid.address());
    let proxy = Proxy::of_hops(&[&url]).await;
    let answer = exchange(proxy.address(), origin.request("/bytes/9").as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert_eq!(squid.passed_at_least(1).await[0].user, USERNAME);
}

#[tokio::test]
async fn credentials_on_a_command_line_are_warned_of_and_never_logged() {
    const WRONG: &str = "hunter2-is-wrong";
    let Some(squid) = Squid::start(SquidRules::Basic).await else { return };
    let warns = |proxy: &Proxy| {
        proxy.events().iter().any(|event| event.message().starts_with("other users of this"))
    };
    let url = format!("http://{USERNAME}:{WRONG}@{}", squid.address());
    let proxy = Proxy::of_hops(&[&url]).await;
    let told = connect(proxy.address(), "127.0.0.1:20009").await.head;
    assert!(told.starts_with("HTTP/1.1 502 ") && told.contains("407"), "{told}");
    proxy.event("request failed").await;
    assert!(warns(&proxy));
    let logged: String = proxy.events().iter().map(|event| event.text()).collect();
    assert!(!logged.contains(WRONG) && !told.contains(WRONG), "{logged}{told}");

    let open = Proxy::of_hops(&[&format!("http://{}", squid.address())]).await;
    assert!(!warns(&open));
}
