//! A call that takes long holds up the requests that need it, and no others.

use std::time::{Duration, Instant};

use super::{FILE, futures, way, with_file};
use crate::support::Proxy;

#[tokio::test]
async fn a_loop_or_a_bomb_for_one_host_holds_up_no_other() {
    let script = "var kept = [];
    function FindProxyForURL(url, host) {
        while (host === 'loop.test') {}
        while (host === 'bomb.test') kept.push(new Array(1000).join('x') + kept.length);
        return 'PROXY proxy1.corp.example';
    }";
    let (_corporate, _other, proxy) = with_file(script, FILE).await;
    let began = Instant::now();
    let hostile = async {
        let asked = (0..20).map(|number| {
            let host = if number % 2 == 0 { "loop.test:443" } else { "bomb.test:443" };
            way(&proxy, host)
        });
        for answer in futures(asked).await {
            assert!(answer.starts_with("HTTP/1.1 502"), "{answer}");
        }
    };
    let honest = async {
        for number in 0..20 {
            assert_eq!(way(&proxy, format!("host-{number}.test:443")).await, "corporate");
        }
        began.elapsed()
    };
    let ((), took) = tokio::join!(hostile, honest);
    // Each hostile host is asked about once: its verdict is kept.
    assert!(took < Duration::from_secs(if cfg!(windows) { 20 } else { 5 }), "{took:?}");
    assert_eq!(way(&proxy, "www.test:443").await, "corporate");
}

/// A silent name server holds up the request that needs it for two seconds, and no other.
#[cfg(target_os = "linux")]
#[test]
fn a_name_server_that_says_nothing_holds_up_only_the_request_that_needs_it() {
    use crate::support::{Namespace, Says};
    Namespace::run(Says::Nothing, |_namespace| async move {
        let script = "function FindProxyForURL(url, host) {
            if (dnsDomainIs(host, '.slow.test')) return isResolvable('intra.test') ? 'PROXY x:9999' : 'PROXY proxy1.corp.example';
            return 'PROXY x:9999';
        }";
        let (_corporate, _other, proxy) = with_file(script, FILE).await;
        let began = Instant::now();
        // They need one name, which is looked up once.
        let asked = (0..40).map(|number| way(&proxy, format!("www-{number}.slow.test:443")));
        let slow = beside(&proxy, "other", futures(asked)).await;
        assert!(slow.iter().all(|answer| answer == "corporate"), "{slow:?}");
        let took = began.elapsed();
        assert!(
            (Duration::from_millis(900)..Duration::from_millis(3900)).contains(&took),
            "{took:?}"
        );
    });
}

/// A search that takes minutes inside one function of the engine, which nothing can interrupt.
#[tokio::test]
async fn a_call_that_can_not_be_interrupted_holds_up_only_its_own_host() {
    let script = "function FindProxyForURL(url, host) {
        if (host === 'search.test') {
            var half = new Array(1 << 20).join('a');
            (half + half).indexOf(half + 'b');
        }
        return 'PROXY x:9999';
    }";
    let (_corporate, _other, proxy) = with_file(script, FILE).await;
    let refused = beside(&proxy, "other", way(&proxy, "search.test:443")).await;
    assert!(refused.contains("(office: the PAC file takes too long)"), "{refused}");
    // The host is not asked about again for a while, since each such call costs a thread.
    let began = Instant::now();
    assert_eq!(way(&proxy, "search.test:443").await, refused);
    assert!(began.elapsed() < LONGEST);
}

/// Asks for hosts that were not asked for before until `work` has ended, and returns its result. Each must come to `expected`
/// within `LONGEST`.
#[expect(clippy::print_stdout, reason = "the figures are for people")]
async fn beside<T>(proxy: &Proxy, expected: &str, work: impl Future<Output = T>) -> T {
    let mut work = std::pin::pin!(work);
    let mut waits = Vec::new();
    let result = loop {
        let asking = async {
            let began = Instant::now();
            let host = format!("fast-{}.test:443", waits.len());
            assert_eq!(way(proxy, host).await, expected);
            waits.push(began.elapsed());
        };
        let mut asking = std::pin::pin!(asking);
        tokio::select! {
            result = &mut work => {
                asking.await;
                break result;
            }
            () = &mut asking => {}
        }
    };
    waits.sort();
    let (p99, longest) = (waits[waits.len() * 99 / 100], waits[waits.len() - 1]);
    println!("{} requests meanwhile: p99 {p99:?}, longest {longest:?}", waits.len());
    assert!(
        waits.len() > MEANWHILE_MIN && longest < LONGEST,
        "{} requests, {longest:?}",
        waits.len()
    );
    result
}

/// Under 100 ms on a machine with time to spare. Other tests run beside this one. A request that is held up waits for two
/// seconds.
const LONGEST: Duration = Duration::from_millis(if cfg!(windows) { 1800 } else { 900 });
/// The requests that have their answers meanwhile, at least. They are slow under Wine.
const MEANWHILE_MIN: usize = if cfg!(windows) { 2 } else { 10 };
