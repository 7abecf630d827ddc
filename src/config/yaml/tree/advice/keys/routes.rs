//! Keys of routes and chains in other programs.

use super::{OtherKeys, keys};

pub(super) const CHAIN: [OtherKeys; 6] = [
    keys(
        &["budget", "quota", "bandwidth", "traffic"],
        "a budget belongs to a hop: write it below the hop's name, as in `hops: { HOP: { budget: { bytes: 5GiB, per: month } } }`",
    ),
    keys(
        &["rotate_after", "on_leave", "session", "sessions", "country", "sticky", "rotate"],
        "it belongs to a hop: write it below the hop's name, in `hops:`",
    ),
    keys(
        &["kind", "type", "pick", "balance", "strategy", "members_from", "fallback", "failover"],
        "a choice among hops is a hop itself: write `hops: { NAME: { kind: pool, members: [HOP, HOP], pick: failover } }`, and \
         its name in the chain, `[NAME]`",
    ),
    keys(&["proxies", "nodes", "members", "servers", "list", "through"], "write `hops: [HOP]`"),
    keys(CONDITIONS, HOPS_HAVE_CONDITIONS),
    keys(
        SWITCHES,
        "a chain has no switch: write `enabled: false` in a hop, or another chain in the route",
    ),
];

/// Words that switch something on or off.
const SWITCHES: &[&str] = &["enabled", "disabled", "enable", "disable", "active"];

/// Words for a condition.
const CONDITIONS: &[&str] = &[
    "when",
    "if",
    "unless",
    "condition",
    "conditions",
    "resolves",
    "address_in",
    "interface",
    "reachable",
];

/// Words for a route that takes what no other route takes.
pub(super) const EVERYTHING: &[&str] = &[
    "default",
    "otherwise",
    "fallback",
    "final",
    "else",
    "any",
    "all",
    "everything",
    "catch_all",
    "catchall",
    "rest",
    "others",
];

pub(super) const ROUTE: [OtherKeys; 11] = [
    keys(EVERYTHING, FOR_EVERYTHING),
    keys(SWITCHES, "a route has no switch: to leave one out, write a `#` before each of its lines"),
    keys(CONDITIONS, HOPS_HAVE_CONDITIONS),
    keys(
        &["no_proxy", "noproxy", "bypass", "direct", "exceptions"],
        "write `hosts: [HOST]` and `chain: direct`",
    ),
    keys(
        &["acl", "acls", "dst_domain", "targets", "target", "to"],
        "write `hosts: [HOST]`, with names such as `\"*.example.com\"` or networks such as `10.0.0.0/8`",
    ),
    keys(
        &["allow", "deny", "block", "reject", "refuse", "forbid"],
        "a target that no route matches is refused: write a route for each that is allowed, as in `{ hosts: [HOST], chain: \
         default }`, and leave the route for all others out",
    ),
    keys(
        &["session", "sessions", "session_id", "sticky", "rotate", "country", "countries", "geo"],
        "a session and a country belong to a hop: write them in a hop of `kind: webshare` or `kind: rotating`, a chain of \
         that hop, and `chain: CHAIN` here",
    ),
    keys(
        &[
            "domain",
            "domains",
            "domain_suffix",
            "dstdomain",
            "dst",
            "destination",
            "destinations",
            "hostname",
            "hostnames",
            "url",
            "urls",
            "match",
            "pattern",
            "patterns",
            "ip",
            "ips",
            "address",
            "addresses",
            "network",
            "networks",
            "subnet",
            "subnets",
            "cidr",
            "cidrs",
            "ip_cidr",
        ],
        "write `hosts: [HOST]`, with names such as `\"*.example.com\"` or networks such as `10.0.0.0/8`",
    ),
    keys(
        &[
            "via", "hop", "hops", "proxy", "proxies", "use", "outbound", "upstream", "action",
            "then", "through", "forward", "backend", "policy", "pool",
        ],
        "write `chain: CHAIN`, and the hops of the chain as `chains: { CHAIN: [HOP] }`",
    ),
    keys(&["dst_port", "dport", "destination_port"], "write `ports: [443]`"),
    keys(
        &["path", "paths", "path_prefix", "regex", "method", "methods"],
        "a route sees only the host and the port of a target: write `hosts: [HOST]` and `ports: [443]`",
    ),
];

pub(super) const ROUTES: &str = "a route says which hosts take which chain: `routes: [{ hosts: [HOST], chain: CHAIN }, { chain: default }]`";
pub(in crate::config::yaml::tree::advice) const FOR_EVERYTHING: &str = "a route without `hosts` and `ports` matches everything: as the last route, write `- { chain: CHAIN }`";
const HOPS_HAVE_CONDITIONS: &str = "hops have conditions, and chains leave a hop out while it is off: write `hops: { NAME: { \
                                    enabled: { when: { resolves: NAME } } } }`, or another condition";
