//! The counts of members, which outlive edits.

use super::{REQUEST, metrics};
use crate::support::{ConfigDir, Double, Proxy, Step, exchange};

/// Returns the hop, the member and the count of each sample of `mooltiroute_pool_member_NAME_total` that is not zero.
async fn samples(proxy: &Proxy, name: &str) -> Vec<String> {
    let begin = format!("mooltiroute_pool_member_{name}_total{{");
    let told = metrics(proxy).await;
    let samples = told.lines().filter_map(|line| line.strip_prefix(&begin));
    let mut samples: Vec<_> = samples
        .filter(|sample| !sample.ends_with(" 0"))
        .map(|sample| sample.replace('"', ""))
        .collect();
    samples.sort();
    samples
}

/// Replaces the files of `proxy`, and waits until the edit is in force.
async fn edit(proxy: &Proxy, files: &[(&str, &str)]) {
    let seen = proxy.events().len();
    for (name, text) in files {
        proxy.config().write(name, text);
    }
    proxy.event_after(seen, "config reloaded").await;
}

/// Starts a hop that answers each CONNECT with `answer`.
async fn hop(answer: &str) -> Double {
    Double::start([Step::Answer(answer.into())]).await
}

const REFUSES: &str = "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n";
const BREAKS: &str = "nonsense\r\n\r\n";

#[tokio::test]
async fn the_members_of_a_pool_and_of_a_pac_file_keep_their_counts_through_edits() {
    let (one, two) = (hop(REFUSES).await, hop(BREAKS).await);
    let (one, two) = (one.address(), two.address());
    let config = |password: &str, members: &str, enabled: bool| {
        format!(
            "hops:\n  one: {{ kind: http-connect, address: \"{one}\", username: u, password: {password} }}\n  \
             exits: {{ kind: pool, members: [{members}], pick: round-robin, enabled: {enabled} }}\n  \
             office: {{ kind: pac, file: office.pac, hops: {{ \"*\": one }} }}\n\
             chains: {{ default: [exits], office: [office] }}\n\
             routes: [{{ hosts: [office.test], chain: office }}, {{ chain: default }}]\n"
        )
    };
    let two = format!("{{ kind: http-connect, address: \"{two}\" }}");
    let script =
        |name: &str| format!("function FindProxyForURL(u, h) {{ return 'PROXY {name}:1'; }}");
    let files = ConfigDir::new(&config("first", &format!("one, {two}"), true));
    files.write("office.pac", &script("a"));
    let proxy = Proxy::on(files, &[]).await;
    let ask_twice = async || {
        for target in ["origin.test", "origin.test", "office.test"] {
            exchange(
                proxy.address(),
                String::from_utf8_lossy(REQUEST).replace("origin.test", target).as_bytes(),
            )
            .await;
        }
    };
    ask_twice().await;
    let counts = async || [samples(&proxy, "refusals").await, samples(&proxy, "failures").await];
    let before = counts().await;
    let [refusals, failures] = &before;
    assert_eq!(refusals[1], "hop=office,member=one} 1", "{refusals:?}");
    assert!(refusals[0].starts_with("hop=exits,member=members[0]} "), "{refusals:?}");
    assert_eq!(failures.len(), 1, "{failures:?}");
    edit(&proxy, &[("10-test.yaml", &config("second", &format!("one, {two}"), true))]).await;
    assert_eq!(counts().await, before, "another password");
    edit(&proxy, &[("office.pac", &script("b"))]).await;
    assert_eq!(counts().await, before, "another PAC file");
    // A pool that is switched off, and a member that leaves, have no samples. They go on with their counts when they return.
    edit(&proxy, &[("10-test.yaml", &config("second", "one", false))]).await;
    edit(&proxy, &[("10-test.yaml", &config("second", &format!("one, {two}"), true))]).await;
    assert_eq!(counts().await, before, "the pool and its member are back");
    ask_twice().await;
    assert_eq!(samples(&proxy, "refusals").await[1], "hop=office,member=one} 2");
}

#[tokio::test]
async fn a_proxy_that_returns_to_a_list_goes_on_with_its_count() {
    let (one, two) = (hop(BREAKS).await, hop(BREAKS).await);
    let (one, two) = (one.address(), two.address());
    let files = ConfigDir::new(
        "hops:\n  exits: { kind: pool, members_from: { file: exits.txt } }\nchains: { default: [exits] }\n",
    );
    files.write("exits.txt", &format!("{one}\n{two}\n"));
    let proxy = Proxy::on(files, &[]).await;
    exchange(proxy.address(), REQUEST).await;
    let of = |address| format!("hop=exits,member={address}}} 1");
    let mut both = [of(one), of(two)];
    both.sort();
    assert_eq!(samples(&proxy, "failures").await, both);
    edit(&proxy, &[("exits.txt", &format!("{two}\n"))]).await;
    assert_eq!(samples(&proxy, "failures").await, [of(two)]);
    edit(&proxy, &[("exits.txt", &format!("{two}\n{one}:user:new\n"))]).await;
    assert_eq!(samples(&proxy, "failures").await, both);
}
