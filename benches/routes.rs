//! Measures finding the route of a request among many patterns.
//!
//! `cargo bench --bench routes`

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot be set up must stop")]

use divan::{Bencher, black_box};
use mooltiroute::{
    hops::Authority,
    internal::router::{HostPattern, Router, Rule},
};

fn main() {
    divan::main();
}

/// Returns a router with names, suffixes, networks and addresses in routes of ten, and a last route for everything.
fn router(patterns: usize) -> Router {
    let pattern = |index: usize| -> HostPattern {
        let (high, low) = (index / 256 % 256, index % 256);
        let text = match index % 4 {
            0 => format!("host-{index}.example"),
            1 => format!("*.zone-{index}.example"),
            2 => format!("10.{high}.{low}.0/24"),
            _ => format!("2001:db8:{:x}:{:x}::/64", index >> 16, index & 0xffff),
        };
        text.parse().unwrap()
    };
    let routes = (0..patterns / 10).map(|route| Rule {
        hosts: (0..10).map(|nth| pattern(route * 10 + nth)).collect(),
        ports: if route % 2 == 0 { vec![] } else { vec![80, 443] },
    });
    let rules: Vec<Rule> = routes.chain([Rule::default()]).collect();
    Router::new(rules.iter())
}

#[divan::bench(args = [10, 100, 1_000, 10_000, 100_000])]
fn name(bencher: Bencher<'_, '_>, patterns: usize) {
    find(bencher, patterns, "host-0.example:443");
}

#[divan::bench(args = [10, 100, 1_000, 10_000, 100_000])]
fn name_below_many_labels(bencher: Bencher<'_, '_>, patterns: usize) {
    find(bencher, patterns, "a.b.c.d.e.f.g.zone-1.example:443");
}

#[divan::bench(args = [10, 100, 1_000, 10_000, 100_000])]
fn address(bencher: Bencher<'_, '_>, patterns: usize) {
    find(bencher, patterns, "10.0.2.7:443");
}

#[divan::bench(args = [10, 100, 1_000, 10_000, 100_000])]
fn nothing_but_the_last(bencher: Bencher<'_, '_>, patterns: usize) {
    find(bencher, patterns, "www.elsewhere.test:443");
}

fn find(bencher: Bencher<'_, '_>, patterns: usize, target: &str) {
    let router = router(patterns);
    let target: Authority = target.parse().unwrap();
    bencher.bench_local(|| router.find(black_box(&target)).unwrap());
}
