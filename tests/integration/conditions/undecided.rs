//! Conditions that are not decided yet, or cannot be asked any more.

use std::time::{Duration, Instant};

use tokio::time;

use super::{OFFICE, RESOLVES, Via, office, way, yaml};
use crate::support::{EchoOrigin, Namespace, Proxy, Says};

#[test]
fn an_undecided_condition_is_waited_for_and_then_unknown_holds() {
    for says in [Says::Nothing, Says::Failure] {
        Namespace::run(says, |_namespace| async move {
            let (office, echo) = (office().await, EchoOrigin::start().await);
            for (unknown, expected) in [("on", Via::Office), ("off", Via::Direct)] {
                let enabled = format!("{{ when: {{ resolves: proxy.test }}, unknown: {unknown} }}");
                let proxy = Proxy::start(&yaml(&office, &enabled)).await;
                let begun = Instant::now();
                assert_eq!(way(&proxy, &echo).await, expected);
                let waited = begun.elapsed();
                assert!(waited >= Duration::from_millis(900), "{waited:?}");
                assert!(waited < Duration::from_secs(5), "{waited:?}");
                // A slow machine takes long for some of these, and a wait would be in each.
                let mut quickest = Duration::MAX;
                for _ in 0..5 {
                    let begun = Instant::now();
                    assert_eq!(way(&proxy, &echo).await, expected);
                    quickest = quickest.min(begun.elapsed());
                }
                let least = Duration::from_millis(900);
                assert!(quickest < least, "only the first one waits: {quickest:?}");
            }
        });
    }
}

#[test]
fn a_request_that_waits_goes_on_as_soon_as_the_name_server_answers() {
    Namespace::run(Says::Failure, |namespace| async move {
        let (office, echo) = (office().await, EchoOrigin::start().await);
        let patient = yaml(&office, RESOLVES).replace("connect: 1s", "connect: 20s");
        let proxy = Proxy::start(&patient).await;
        let waiting = way(&proxy, &echo);
        tokio::pin!(waiting);
        let early = time::timeout(Duration::from_millis(300), &mut waiting).await;
        assert!(early.is_err(), "it can't know the way yet");
        namespace.says(Says::NoSuchName);
        assert_eq!(waiting.await, Via::Direct);
    });
}

#[test]
fn what_was_decided_and_cannot_be_asked_after_an_event_sends_nothing_direct() {
    for (before, silence) in
        [(OFFICE, Says::Nothing), (Says::NoSuchName, Says::Nothing), (OFFICE, Says::Failure)]
    {
        Namespace::run(before, |namespace| async move {
            let (office, echo) = (office().await, EchoOrigin::start().await);
            let enabled = "{ when: { resolves: proxy.test }, unknown: off }";
            let proxy = Proxy::start(&yaml(&office, enabled)).await;
            way(&proxy, &echo).await;
            namespace.says(silence);
            namespace.add_link("event");
            namespace.ip("link set event up");
            // The proxy learns of the event from the kernel before this request reaches it, or at the same time.
            time::sleep(Duration::from_millis(100)).await;
            for _ in 0..3 {
                assert_eq!(way(&proxy, &echo).await, Via::Office);
            }
        });
    }
}
