//! Keys at the top of a file: those of clash, gost, haproxy, squid, px, cntlm and nginx, and variables that name a proxy.

use super::{
    OtherKeys,
    accounts::{ALLOWED_CLIENTS, HTPASSWD, ONE_ACCOUNT_AT_TOP, ONLY_AUTH_AT_TOP},
    keys,
    routes::ROUTES,
    sections::LOG_FILE,
};

/// Keys that are not a section of ours.
pub(super) const TOP: [OtherKeys; 18] = [
    keys(
        &[
            "port",
            "http_port",
            "mixed_port",
            "socks_port",
            "socks5_port",
            "listen_port",
            "bind",
            "bind_address",
            "listen_address",
            "listeners",
            "listener",
            "services",
            "frontend",
            "frontends",
            "inbound",
            "inbounds",
        ],
        "write `server: { listen: \"127.0.0.1:PORT\" }`; one port speaks HTTP and SOCKS",
    ),
    keys(
        &["allow_lan", "gateway"],
        "clients of other machines need credentials: write `server: { listen: \"0.0.0.0:8888\", auth: { username: NAME, \
         password: \"${PASSWORD}\" } }`",
    ),
    keys(&["rules", "rule", "acl", "acls", "http_access", "never_direct", "always_direct"], ROUTES),
    keys(
        &[
            "no_proxy",
            "noproxy",
            "bypass",
            "exceptions",
            "bypass_list",
            "proxy_bypass",
            "skip_proxy",
        ],
        "write a route: `routes: [{ hosts: [HOST], chain: direct }, { chain: default }]`",
    ),
    keys(
        &["proxy_groups", "proxy_group", "pool", "pools", "balance", "balancer", "load_balancer"],
        "write a choice among hops as a hop: `hops: { NAME: { kind: pool, members: [HOP, HOP] } }` and `chains: { default: \
         [NAME] }`",
    ),
    keys(
        &[
            "proxy",
            "proxies",
            "upstream",
            "upstreams",
            "parent",
            "http_proxy",
            "https_proxy",
            "all_proxy",
            "cache_peer",
            "parent_proxy",
            "upstream_proxy",
            "proxy_pass",
            "proxy_url",
            "forward",
            "forwards",
            "outbound",
            "outbounds",
            "nodes",
            "backend",
            "backends",
        ],
        "write a proxy as a hop, and a chain through it: `hops: { NAME: { kind: http-connect, address: \"HOST:PORT\" } }` \
         and `chains: { default: [NAME] }`",
    ),
    keys(
        &["authentication", "users", "basic_auth", "credentials"],
        "credentials of clients are `server: { auth: { username: NAME, password: \"${PASSWORD}\" } }`; those for a proxy \
         are written in its hop",
    ),
    keys(
        &["domain", "ntdomain"],
        "write the domain into the username of a hop, as in `username: 'DOMAIN\\NAME'`",
    ),
    keys(
        &["log_level", "loglevel", "verbose", "verbosity", "debug"],
        "write `log: { level: debug }`, or another level",
    ),
    keys(&["log_file", "logfile", "access_log", "error_log"], LOG_FILE),
    keys(&["logging", "logs", "logger"], "write `log: { level: info }`, or another level"),
    keys(
        &["control", "control_socket", "socket", "api", "external_controller", "admin"],
        "remove this key; `mooltiroute status` and the other commands find the running proxy by themselves",
    ),
    keys(
        &["state_dir", "state_directory", "state", "data_dir", "data", "cache"],
        "remove this key; the environment variable `STATE_DIRECTORY` or `XDG_STATE_HOME` names the directory",
    ),
    keys(
        &["sticky", "session", "sessions", "rotate", "rotation"],
        "sessions belong to a hop: `session: 1` of `kind: webshare` or `kind: rotating` keeps an exit, and `pick: sticky` \
         of `kind: pool` a member",
    ),
    keys(
        &["maxconn", "max_connections", "worker_connections", "max_clients", "maxclients"],
        "write `limits: { connections: 10000 }`",
    ),
    keys(ALLOWED_CLIENTS, ONLY_AUTH_AT_TOP),
    keys(HTPASSWD, ONE_ACCOUNT_AT_TOP),
    keys(
        &["passntlmv2", "passnt", "passlm"],
        "write the hash into a hop, as `nt_hash: HASH`; it is the one that `cntlm -H` prints as `PassNT`, and neither \
         `PassNTLMv2` nor `PassLM`",
    ),
];
