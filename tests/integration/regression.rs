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

#[test]
fn a_pool_of_a_hop_that_is_not_there_does_not_go_direct() {
    use crate::support::{ConfigDir, run};

    let yaml =
        "hops: { exits: { kind: pool, members: [no-such-hop] } }\nchains: { default: [exits] }\n";
    let config = ConfigDir::new(yaml);
    let output = run(["run".as_ref(), "-c".as_ref(), config.path().as_os_str()]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("hops.exits.members[0]: unknown hop"), "{said}");
}
