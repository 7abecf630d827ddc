//! Each test here is named for a bug that was found once.

#[cfg(unix)]
#[tokio::test]
async fn a_silent_client_does_not_hold_up_the_end() {
    use crate::support::{Proxy, open};

    let yaml = "timeouts: { header: 1h, drain: 1h }\nchains: { default: [] }\n";
    let mut proxy = Proxy::start(yaml).await;
    let _silent = open(proxy.address()).await;
    proxy.signal(rustix::process::Signal::TERM);
    assert_eq!(proxy.exit().await.code(), Some(0));
}
