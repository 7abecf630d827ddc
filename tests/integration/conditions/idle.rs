//! A proxy without traffic, which neither asks nor wakes.

use std::time::Duration;

use tokio::time;

use super::{OFFICE, RESOLVES, Via, office, way, yaml};
use crate::support::{Double, EchoOrigin, Namespace, Proxy, Step, connect, status};

#[test]
fn without_traffic_nothing_is_asked() {
    Namespace::run(OFFICE, |namespace| async move {
        let (office, echo) = (office().await, EchoOrigin::start().await);
        let proxy = Proxy::start(&yaml(&office, RESOLVES)).await;
        assert_eq!(way(&proxy, &echo).await, Via::Office);
        // A refused request is not a failed dial, so nothing is asked again for half a minute.
        let asked = namespace.queries();
        time::sleep(Duration::from_secs(3)).await;
        assert_eq!(namespace.queries(), asked);
        for _ in 0..20 {
            way(&proxy, &echo).await;
        }
        assert!(namespace.queries() <= asked + 2, "and not for each request");
    });
}

/// The thread of the runtime serves connections, asks questions and fetches PAC files. Files are watched by other threads.
#[test]
fn without_traffic_the_runtime_does_not_wake() {
    Namespace::run(OFFICE, |namespace| async move {
        let (office, echo) = (office().await, EchoOrigin::start().await);
        let script = "function FindProxyForURL(url, host) { return 'PROXY proxy.test'; }";
        let length = script.len();
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{script}");
        let pac_server = Double::start([Step::Answer(head), Step::End]).await;
        let (reached, address) = (Double::start([Step::Listen]).await, office.address());
        let proxy = Proxy::start(&format!(
            "hops:\n  office: {{ kind: http-connect, address: \"{address}\", enabled: {RESOLVES} }}\n  \
             other: {{ kind: http-connect, address: \"{address}\", enabled: {{ when: {{ reachable: \"{}\" }} }} }}\n  \
             pac: {{ kind: pac, url: \"http://{}/\", hops: {{ proxy.test: office, \"*\": other }} }}\n\
             chains: {{ default: [pac] }}\n",
            reached.address(),
            pac_server.address()
        ))
        .await;
        let answer = connect(proxy.address(), echo.address()).await;
        assert!(answer.head.contains("403 Office"), "{}", answer.head);
        let pid = status(proxy.address()).await["pid"].as_u64().unwrap();
        drop(answer);
        let asked =
            || (namespace.queries(), reached.record().now().len(), pac_server.record().now().len());
        // The connections above end, and what they have begun.
        time::sleep(Duration::from_secs(1)).await;
        let before = (wakes(pid), asked());
        time::sleep(Duration::from_secs(5)).await;
        assert_eq!((wakes(pid), asked()), before);
        assert!(asked().1 > 0 && asked().2 == 1, "each of them was asked at all: {:?}", asked());
    });
}

/// How often the first thread of a process, which runs its runtime, has gone to sleep so far.
fn wakes(pid: u64) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/status")).unwrap();
    let count = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    count.unwrap().trim().parse().unwrap()
}
