//! Keys that people write in the condition of a hop, or beside its `when`.

use super::{OtherKeys, keys};

/// All tables of this module.
pub(super) const ALL: [&[OtherKeys]; 2] = [&ENABLED, &CONDITION];

/// Keys beside `when`.
pub(super) const ENABLED: [OtherKeys; 5] = [
    keys(&["resolves"], "write it below `when`: `enabled: { when: { resolves: NAME } }`"),
    keys(
        &["into"],
        "write it beside `resolves`: `enabled: { when: { resolves: NAME, into: NETWORK } }`",
    ),
    keys(
        &["address_in", "interface", "reachable", "any", "all", "not"],
        "write it below `when`, as in `enabled: { when: { address_in: [NETWORK] } }`",
    ),
    keys(
        &["if", "condition", "where", "while", "wenn", "quand", "cuando"],
        "write `when:` in its place",
    ),
    keys(
        &["default", "otherwise", "else", "fallback"],
        "write `unknown: on` or `unknown: off`, the state while nothing decides the condition",
    ),
];

/// Keys of a condition.
pub(super) const CONDITION: [OtherKeys; 8] = [
    keys(
        &["ssid", "wifi", "wi_fi", "wlan", "network_name", "location"],
        "the name of a network is not a condition; its addresses and names are, as in `address_in: [10.0.0.0/8]` or \
         `resolves: NAME`",
    ),
    keys(
        &[
            "network",
            "networks",
            "subnet",
            "subnets",
            "cidr",
            "ip",
            "address",
            "addresses",
            "ip_in",
        ],
        "write `address_in: [NETWORK]`, such as `address_in: [10.0.0.0/8]`",
    ),
    keys(
        &["dns", "name", "domain", "host", "hostname", "lookup", "resolve", "resolvable"],
        "write `resolves: NAME`",
    ),
    keys(
        &["ping", "port", "tcp", "connect", "connects", "url", "http", "up", "reach", "open"],
        "write `reachable: \"HOST:PORT\"`",
    ),
    keys(
        &["interfaces", "iface", "device", "dev", "nic", "vpn", "adapter"],
        "write `interface: NAME`, such as `interface: \"tun*\"`",
    ),
    keys(&["or", "one_of", "any_of"], "write `any: [CONDITION, CONDITION]`"),
    keys(&["and", "all_of"], "write `all: [CONDITION, CONDITION]`"),
    keys(&["unless", "no", "none"], "write `not: { CONDITION }`"),
];
