//! Keys that are written in a hop and belong elsewhere, and the keys of other programs below those of a hop.

use super::{
    HEALTH_CHECKS, OtherKeys, RETRIES,
    accounts::{A_VARIABLE, COMMANDS, NO_COMMAND, NO_COMMAND_FOR_PASS, VARIABLES},
    keys,
};

/// Returns the keys of other programs below `key` of a hop.
pub(super) fn below(key: &str) -> &'static [OtherKeys] {
    match key {
        "budget" => &BUDGET,
        "kerberos" => &KERBEROS,
        "members_from" => &MEMBERS_FROM,
        _ => &[],
    }
}

/// All tables of this module.
pub(super) const ALL: [&[OtherKeys]; 4] = [&HOP, &BUDGET, &KERBEROS, &MEMBERS_FROM];

/// Keys of a hop that belong below another one, or to another kind.
pub(super) const HOP: [OtherKeys; 33] = [
    keys(COMMANDS, NO_COMMAND).beside("password_file"),
    keys(COMMANDS, NO_COMMAND_FOR_PASS).beside("pass"),
    keys(&["password_file", "passwd_file", "secret_file"], "write `pass_file: FILE`").beside("pass"),
    keys(VARIABLES, A_VARIABLE).beside("password_file"),
    keys(VARIABLES, "write `pass: \"${NAME}\"`, with the name of the variable").beside("pass"),
    keys(
        &["cooldown", "cool_down", "ban", "ban_time", "retry_after", "backoff", "recheck", "rise", "fall"],
        "a pool leaves a member that fails out for 5 seconds, and longer each time up to 2 minutes; remove this key",
    )
    .beside("pick"),
    keys(
        &["fallback", "backup", "backups", "spare", "default"],
        "write `pick: failover` and the hops in the order of `members`: each is used if those before it fail",
    )
    .beside("pick"),
    keys(&["test_url", "check_url", "health_url", "probe_url", "tolerance", "lazy"], NO_CHECKS)
        .beside("pick"),
    keys(
        &["weight", "weights", "priority"],
        "members have no weights; remove this key, or write `pick: least-used`, which takes the member that carried the fewest connections",
    )
    .beside("pick"),
    keys(&["sessions", "session", "affinity", "persistence"], "write `pick: sticky`, by which each client keeps its member")
        .beside("pick"),
    keys(
        &["fallback", "backup", "failover", "otherwise", "on_error"],
        "no request goes round a hop that fails; for a second way, write a pool: `hops: { NAME: { kind: pool, members: [HOP, HOP], \
         pick: failover } }`",
    ),
    keys(
        &["unknown"],
        "it belongs below `enabled`, beside `when`: `enabled: { when: { resolves: NAME }, unknown: off }`",
    ),
    keys(
        &["gateway", "allow_lan"],
        "it is not a setting of a hop; for clients of other machines write `server: { listen: \"0.0.0.0:8888\", auth: { username: \
         NAME, password: \"${PASSWORD}\" } }`",
    ),
    keys(
        &["sticky", "sticky_session", "session_time", "session_duration", "sessionduration", "lifetime", "duration", "keep"],
        "write the time as `ttl: \"10m\"`, in the form of the provider, and a place for it into the template, as in \
         `[-session-{session}-time-{ttl}]`",
    )
    .beside("session_id"),
    keys(&["rotate", "rotation", "rotating"], "leave `session` out for a new exit each time; remove this key")
        .beside("session_id"),
    keys(RETRIES, "a pool uses another member by itself if one does not connect; remove this key")
        .beside("pick"),
    keys(HEALTH_CHECKS, NO_CHECKS).beside("pick"),
    keys(&["interval"], NO_CHECKS).beside("pick"),
    keys(
        &["spn", "ccache", "keytab", "principal", "realm", "krb5"],
        "it belongs below `kerberos`, as in `kerberos: { spn: HTTP/NAME }`",
    )
    .beside("kerberos"),
    keys(
        &["when", "resolves", "into", "address_in", "interface", "reachable", "condition"],
        "it belongs below `enabled`, as in `enabled: { when: { resolves: NAME } }`",
    ),
    keys(
        &["bytes", "per", "quota", "limit", "traffic", "bandwidth"],
        "it belongs below `budget`, as in `budget: { bytes: 5GiB, per: month }`",
    ),
    keys(
        &["pac", "pac_url", "pac_file", "proxy_auto_config"],
        "a PAC file is a hop of its own: `{ kind: pac, url: \"URL\", hops: { \"*\": HOP } }`",
    ),
    keys(
        &["proxy_auth", "proxy_authorization", "proxy_login", "basic_auth"],
        "write `username: NAME` and `password: \"${PASSWORD}\"`",
    )
    .beside("username"),
    keys(
        &["username", "user", "password", "pass", "password_file", "auth", "kerberos", "nt_hash"],
        "it belongs to the hop of the proxy that the PAC file chooses: write it there, as in `{ kind: http-connect, address: \"HOST:PORT\", \
         auth: ntlm, username: NAME, … }`, and name that hop here, as in `hops: { \"*\": NAME }`",
    )
    .beside("otherwise"),
    keys(
        &["address", "uri", "pac"],
        "write `url: URL`, the address of the PAC file, or `file: FILE`",
    )
    .beside("otherwise"),
    keys(&["workstation"], "NTLM needs no workstation here; remove this key").beside("auth"),
    keys(&["rotate", "rotation", "rotating"], "write `session: rotate`, for a new exit each time")
        .beside("session_max"),
    keys(
        &["sticky", "sticky_session", "keep"],
        "write `session: 1`, or another number, to keep an exit",
    )
    .beside("session_max"),
    keys(&["sticky", "sticky_session"], "write `pick: sticky`").beside("pick"),
    keys(
        &["session", "sessions", "session_id", "sticky", "rotate"],
        "sessions belong to the hop of a provider: `kind: webshare` or `kind: rotating`",
    )
    .beside("auth"),
    keys(
        &["country", "countries", "geo", "region", "city"],
        "a country is chosen at the hop of a provider: `kind: webshare` or `kind: rotating`",
    )
    .beside("auth"),
    keys(&["file", "list", "proxy_list", "members_file"], "write `members_from: { file: FILE }`")
        .beside("members_from"),
    keys(&["url", "list_url", "members_url", "download"], "write `members_from: { url: URL }`")
        .beside("members_from"),
];

const BUDGET: [OtherKeys; 7] = [
    keys(
        &[
            "reset",
            "reset_day",
            "resets",
            "day",
            "start",
            "starts",
            "start_day",
            "anchor",
            "billing_day",
        ],
        "`per: month` begins on the first day of the month, and `per: week` on Monday, at midnight in `zone`; the day can't be chosen",
    ),
    keys(
        &["requests", "request", "connections", "max_requests", "count", "hits", "calls"],
        "a budget counts bytes, and no requests: write `bytes: SIZE`, such as `bytes: 5GiB`",
    ),
    keys(
        &[
            "limit",
            "quota",
            "max",
            "max_bytes",
            "size",
            "amount",
            "traffic",
            "bandwidth",
            "volume",
            "data",
        ],
        "write `bytes: SIZE`, such as `bytes: 5GiB`",
    ),
    keys(
        &["period", "interval", "every", "each", "window", "in"],
        "write `per: hour`, `per: day`, `per: week` or `per: month`",
    ),
    keys(&["timezone", "time_zone", "tz"], "write `zone: NAME`, such as `zone: Europe/Berlin`"),
    keys(
        &["action", "on_exceed", "exceeded", "over", "fallback", "chain"],
        "write `then: refuse`, or `then: { chain: CHAIN }`",
    ),
    keys(&["warning", "warn_at", "alert", "threshold"], "write `warn: 80%`"),
];

const KERBEROS: [OtherKeys; 4] = [
    keys(
        &["realm", "domain", "user", "username", "login", "name"],
        "write it into `principal: NAME@REALM`",
    ),
    keys(&["service", "service_name", "service_principal", "target"], "write `spn: HTTP/NAME`"),
    keys(
        &["cache", "ticket_cache", "credential_cache", "ticket", "tickets"],
        "write `ccache: \"FILE:PATH\"`",
    ),
    keys(
        &["password", "password_file"],
        "it belongs to the hop: write it beside `kerberos` and not below",
    ),
];

const MEMBERS_FROM: [OtherKeys; 5] = [
    keys(&["uri", "link", "download", "api", "http", "https", "source"], "write `url: URL`"),
    keys(
        &["refresh", "interval", "reload", "update", "watch", "ttl", "max_age"],
        "write `every: TIME` for a list at a `url`; a change of a file is noticed at once",
    ),
    keys(&["path", "list", "filename"], "write `file: FILE`"),
    keys(&["chain", "through", "proxy", "hop"], "write `via: CHAIN`, to fetch a `url` through it"),
    keys(&["tls", "cafile", "ca_file", "cacert", "cert"], "write `ca: FILE`"),
];

const NO_CHECKS: &str = "a pool learns from requests which of its members work; remove this key";
