//! The keys of other programs, each with the line to write instead.

mod conditional;
mod nested;

use mooltiroute_hops::Key;

/// Keys that mean the same in other programs, with what to write here.
struct OtherKeys {
    /// The keys, in lower case and with `_`.
    keys: &'static [&'static str],
    /// The advice. `PORT` in it stands for a number that is written at the key.
    help: &'static str,
    /// A key that must be known beside it, so that the advice is possible; empty if there is none.
    needs: &'static str,
}

/// Returns what to write instead of `name` below `above`, if other programs have such a key.
pub(super) fn instead(above: &[Key], name: &str, known: &[&str]) -> Option<&'static str> {
    let name = plain(name);
    let is_possible =
        |others: &&OtherKeys| others.needs.is_empty() || known.contains(&others.needs);
    let mut others = tables(above).into_iter().flatten();
    let found = others.find(|others| others.keys.contains(&&*name) && is_possible(others));
    found.map(|others| others.help)
}

/// Returns whether some other program has a key `name`, and so does not have it as a secret.
pub(in crate::config::yaml::tree) fn is_listed(name: &str) -> bool {
    let name = plain(name);
    let mut all = ALL.into_iter().chain(nested::ALL).chain(conditional::ALL).flatten();
    all.any(|others| others.keys.contains(&&*name))
}

/// Returns whether `name` is a word for a route that takes what no other route takes.
pub(super) fn means_everything(name: &str) -> bool {
    EVERYTHING.contains(&&*plain(name))
}

fn plain(name: &str) -> String {
    name.to_ascii_lowercase().replace('-', "_")
}

/// Returns the tables of the keys below `above`, in the order in which they are searched.
fn tables(above: &[Key]) -> [&'static [OtherKeys]; 3] {
    let names: Vec<&str> = above.iter().map(|key| key.name().unwrap_or_default()).collect();
    let (first, second): (&[OtherKeys], &[OtherKeys]) = match names[..] {
        [] => (&TOP, &[]),
        ["server"] => (&SERVER, &[]),
        ["server", "auth"] => (&AUTH, &[]),
        ["timeouts"] => (&TIMEOUTS, &[]),
        ["limits"] => (&LIMITS, &[]),
        ["log"] => (&LOG, &[]),
        ["hops", _] | ["hops", _, "members", _] => (&nested::HOP, &HOP),
        ["hops", _, "tls"] | ["hops", _, "members", _, "tls"] => (&HOP_TLS, &[]),
        ["hops", _, "enabled"] => (&conditional::ENABLED, &[]),
        ["hops", _, "enabled", ..] => (&conditional::CONDITION, &[]),
        ["hops", _, key] => (nested::below(key), &[]),
        ["chains", _] => (&CHAIN, &[]),
        ["routes", _] => (&ROUTE, &[]),
        _ => (&[], &[]),
    };
    [first, second, &ANYWHERE]
}

/// Describes keys that need no other key.
const fn keys(keys: &'static [&'static str], help: &'static str) -> OtherKeys {
    OtherKeys { keys, help, needs: "" }
}

impl OtherKeys {
    const fn beside(self, needs: &'static str) -> Self {
        Self { needs, ..self }
    }
}

/// Words for requests that are repeated.
const RETRIES: &[&str] =
    &["retries", "retry", "max_retries", "attempts", "max_attempts", "tries", "retry_count"];
/// Words for a limit of requests in a time.
const RATES: &[&str] = &[
    "requests_per_second",
    "rate",
    "rate_limit",
    "rps",
    "qps",
    "max_requests",
    "throttle",
    "requests_per_minute",
    "rpm",
];
/// Words for checks of hops ahead of requests.
const HEALTH_CHECKS: &[&str] = &[
    "health",
    "healthy",
    "health_check",
    "healthcheck",
    "health_checks",
    "check",
    "checks",
    "check_interval",
    "probe_interval",
    "liveness",
    "max_fails",
    "fail_timeout",
    "probe",
    "probes",
];

/// All tables of this module.
const ALL: [&[OtherKeys]; 11] =
    [&TOP, &SERVER, &AUTH, &TIMEOUTS, &LIMITS, &LOG, &HOP, &HOP_TLS, &CHAIN, &ROUTE, &ANYWHERE];

/// Keys that are written in any section.
const ANYWHERE: [OtherKeys; 5] = [
    keys(
        &["warm", "spare", "spares", "keepalive", "keep_alive", "prewarm"],
        "a chain keeps connections ready: write `chains: { NAME: { hops: [HOP], warm: 2 } }`",
    ),
    keys(
        RATES,
        "there is no limit of requests per second; `limits: { connections: 10000 }` limits the clients, and `budget: { \
         bytes: 5GiB, per: month }` the bytes of a hop",
    ),
    keys(&["metrics", "prometheus"], "metrics are at `/metrics` of the listener; remove this key"),
    keys(
        RETRIES,
        "no request is repeated; a pool uses another member if one does not connect: `hops: { NAME: { kind: pool, members: \
         [HOP, HOP] } }`",
    ),
    keys(
        HEALTH_CHECKS,
        "no hop is checked ahead; a pool learns from requests which of its members work: `hops: { NAME: { kind: pool, \
         members: [HOP, HOP] } }`",
    ),
];

/// Of clash, gost, haproxy, squid, px, cntlm and nginx, and variables that name a proxy.
const TOP: [OtherKeys; 18] = [
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

const SERVER: [OtherKeys; 12] = [
    keys(
        &[
            "port",
            "http_port",
            "host",
            "hostname",
            "bind",
            "bind_address",
            "address",
            "addr",
            "ip",
            "interface",
            "endpoint",
            "listen_address",
            "listen_port",
            "socks_port",
            "socks5_port",
            "mixed_port",
        ],
        "write address and port as `listen: \"127.0.0.1:PORT\"`; one port speaks HTTP and SOCKS",
    ),
    keys(
        &[
            "user",
            "username",
            "users",
            "pass",
            "passwd",
            "password",
            "credentials",
            "authentication",
            "basic_auth",
        ],
        "write `auth: { username: NAME, password: \"${PASSWORD}\" }`",
    ),
    keys(&["threads", "worker_processes", "worker_threads", "nbthread"], "write `workers: 2`"),
    keys(
        &["tls", "ssl", "https", "cert", "certificate", "key", "private_key"],
        "write `listen: { address: \"127.0.0.1:8443\", tls: { cert: FILE, key: FILE } }`",
    ),
    keys(
        &[
            "maxconn",
            "max_connections",
            "connections",
            "worker_connections",
            "max_clients",
            "maxclients",
        ],
        "write `limits: { connections: 10000 }`, outside of `server`",
    ),
    keys(ALLOWED_CLIENTS, ONLY_AUTH),
    keys(HTPASSWD, ONE_ACCOUNT),
    keys(
        &["no_proxy", "noproxy", "bypass", "exceptions"],
        "write a route, outside of `server`: `routes: [{ hosts: [HOST], chain: direct }, { chain: default }]`",
    ),
    keys(
        &["timeout", "connect_timeout", "connect", "dial"],
        "write `timeouts: { connect: 10s }`, outside of `server`",
    ),
    keys(
        &["log_level", "loglevel", "verbose", "debug"],
        "write `log: { level: debug }`, outside of `server`",
    ),
    keys(&["log_file", "logfile", "access_log", "error_log"], LOG_FILE),
    keys(
        &["gateway", "allow_lan"],
        "clients of other machines need credentials: write `listen: \"0.0.0.0:8888\"` and `auth: { username: NAME, password: \
         \"${PASSWORD}\" }`",
    ),
];

/// Below `server.auth`.
const AUTH: [OtherKeys; 5] = [
    keys(COMMANDS, NO_COMMAND),
    keys(VARIABLES, A_VARIABLE),
    keys(&["users", "accounts", "clients", "logins", "file"], ONE_ACCOUNT_HERE),
    keys(HTPASSWD, ONE_ACCOUNT_HERE),
    keys(
        &["type", "method", "scheme", "realm", "kind"],
        "clients always log in by Basic; remove this key",
    ),
];

/// Words for a command that prints a password.
const COMMANDS: &[&str] = &[
    "password_command",
    "password_cmd",
    "password_exec",
    "password_eval",
    "passwordeval",
    "pass_command",
    "pass_cmd",
    "passcmd",
    "command",
    "password_script",
];
/// Words for the name of a variable that has a password.
const VARIABLES: &[&str] =
    &["password_env", "password_var", "password_variable", "pass_env", "env"];
const NO_COMMAND: &str = "no command is run: write its output into a file and `password_file: FILE`, or into a variable, and \
                          `password: \"${NAME}\"`";
const NO_COMMAND_FOR_PASS: &str =
    "no command is run: put its output into a variable, and write `pass: \"${NAME}\"`";
const NO_FILE_FOR_PASS: &str = "this kind reads no file: write `pass: \"${NAME}\"`, and start the program with the variable, as in \
                                `NAME=\"$(cat FILE)\" mooltiroute run`";
const A_VARIABLE: &str = "write `password: \"${NAME}\"`, with the name of the variable";

/// Words for the addresses of clients that may use a proxy.
const ALLOWED_CLIENTS: &[&str] = &[
    "allow",
    "deny",
    "allowed",
    "allow_from",
    "allowed_ips",
    "allowed_clients",
    "whitelist",
    "allowlist",
];
/// Words for a file of accounts.
const HTPASSWD: &[&str] = &[
    "htpasswd",
    "htpasswd_file",
    "passwd_file",
    "user_file",
    "users_file",
    "auth_file",
    "userlist",
];

const TIMEOUTS: [OtherKeys; 5] = [
    keys(
        &["read", "write", "send", "receive", "client", "server", "body"],
        "write `response: 5m` for the wait until a response begins, `stall: 5m` for a body of which nothing is taken, or `idle: 1h` for \
         a tunnel without traffic",
    ),
    keys(&["dial", "tcp"], "write `connect: 10s`"),
    keys(&["tunnel", "idle_timeout"], "write `idle: 1h`"),
    keys(
        &["shutdown", "grace", "graceful", "graceful_shutdown", "shutdown_timeout"],
        "write `drain: 30s`",
    ),
    keys(&["http_request", "request", "client_header", "read_header"], "write `header: 30s`"),
];

const LIMITS: [OtherKeys; 3] = [
    keys(
        &[
            "per_client",
            "per_ip",
            "per_user",
            "per_host",
            "max_per_client",
            "connections_per_client",
            "connections_per_ip",
        ],
        "no client has a limit of its own; `connections: 10000` is the limit of all clients together",
    ),
    keys(
        &[
            "maxconn",
            "max_conn",
            "max_conns",
            "max_connections",
            "max_clients",
            "maxclients",
            "clients",
            "worker_connections",
        ],
        "write `connections: 10000`",
    ),
    keys(
        &["header_size", "max_header_size", "max_header_bytes", "request_header_max_size"],
        "write `header_bytes: 64KiB`",
    ),
];

const LOG: [OtherKeys; 5] = [
    keys(
        &[
            "file",
            "files",
            "path",
            "filename",
            "file_name",
            "logfile",
            "log_file",
            "output",
            "outputs",
            "target",
            "dir",
            "directory",
            "access_log",
            "error_log",
        ],
        LOG_FILE,
    ),
    keys(&["verbose", "debug"], "write `level: debug`"),
    keys(&["quiet", "silent"], "write `level: error`"),
    keys(&["json"], "write `format: json`"),
    keys(
        &["rotate", "rotation", "max_size", "maxsize", "max_age", "max_backups", "backups"],
        "the log goes to standard error; the program that keeps it, such as journald or logrotate, rotates it",
    ),
];

const HOP: [OtherKeys; 18] = [
    keys(
        &["domain", "workgroup", "ntdomain"],
        "write the domain into the username, as in `username: 'DOMAIN\\NAME'`",
    )
    .beside("username"),
    keys(&["ssl", "https", "secure"], "write `tls: true`").beside("tls"),
    keys(
        &[
            "ca",
            "cafile",
            "ca_file",
            "cacert",
            "verify",
            "insecure",
            "skip_verify",
            "skip_cert_verify",
            "allow_insecure",
            "certificate",
        ],
        "certificates are always checked; write the authority to trust as `tls: { ca: FILE }`",
    )
    .beside("tls"),
    keys(&["sni", "servername", "server_name"], "write `tls: { server_name: NAME }`").beside("tls"),
    keys(
        &["scheme", "protocol", "proxy_type"],
        "the `kind` says it: `http-connect` for an HTTP proxy, with `tls: true` for an HTTPS one, or `socks5`",
    ),
    keys(
        &[
            "hosts",
            "no_proxy",
            "noproxy",
            "bypass",
            "domains",
            "ports_allowed",
            "acl",
            "acls",
            "allow",
            "deny",
            "rules",
        ],
        ROUTES,
    ),
    keys(
        &["max_clients", "maxclients", "maxconn", "max_connections", "connections"],
        "a hop has no limit of its own; write `limits: { connections: 10000 }`, outside of `hops`, for all clients",
    ),
    keys(
        &["passntlmv2", "passnt", "passlm"],
        "write `nt_hash: HASH`; the hash is the one that `cntlm -H` prints as `PassNT`, and neither `PassNTLMv2` nor `PassLM`",
    )
    .beside("nt_hash"),
    keys(
        &["host", "hostname", "server", "ip", "port", "addr", "endpoint", "url", "uri", "proxy"],
        "write host and port in one, as `address: \"HOST:PORT\"`",
    )
    .beside("address"),
    keys(
        &["credentials", "login", "userinfo", "userpass", "user_pass", "auth_user"],
        "write `username: NAME` and `password: \"${PASSWORD}\"`",
    )
    .beside("username"),
    keys(
        &["authentication", "auth_type", "authtype", "auth_method", "auth_scheme", "auth_schemes"],
        "write `auth: [negotiate, ntlm]`, with the schemes to use",
    )
    .beside("auth"),
    keys(&["ntlm", "ntlmv2", "use_ntlm"], "write `auth: [ntlm]`").beside("auth"),
    keys(&["negotiate", "spnego", "gssapi", "sspi"], "write `auth: [negotiate]`").beside("auth"),
    keys(&["digest"], "write `auth: [digest]`").beside("auth"),
    keys(
        &["timeout", "connect_timeout", "timeouts"],
        "timeouts are the same for all hops; write `timeouts: { connect: 10s }`, outside of `hops`",
    ),
    keys(
        &["hops", "nodes", "servers", "proxies", "backends", "upstreams", "items", "children"],
        "write `members: [HOP, HOP]`, or `members_from: { file: FILE }` for a list of proxies",
    )
    .beside("members"),
    keys(
        &["balance", "strategy", "policy", "algorithm", "selector", "lb_policy", "method", "mode"],
        "write `pick: round-robin`, or `failover`, `random`, `sticky` or `least-used`",
    )
    .beside("pick"),
    keys(
        &[
            "members",
            "members_from",
            "pick",
            "balance",
            "strategy",
            "nodes",
            "servers",
            "proxies",
            "backends",
            "upstreams",
        ],
        "a choice among hops is a hop of its own: write `kind: pool`, as in `NAME: { kind: pool, members: [HOP, HOP], pick: \
         failover }`",
    ),
];

const HOP_TLS: [OtherKeys; 5] = [
    keys(
        &[
            "cert",
            "key",
            "client_cert",
            "client_key",
            "certificate",
            "private_key",
            "pkcs12",
            "p12",
        ],
        "no client certificate is sent to a proxy; remove this key, and log in with `username` and `password` or with `auth`",
    ),
    keys(&["enabled", "enable", "on"], "write `tls: true`"),
    keys(
        &["cafile", "ca_file", "cacert", "ca_cert", "ca_certs", "ca_bundle", "root_ca"],
        "write `ca: FILE`, a PEM file with the authority to trust",
    ),
    keys(&["sni", "servername", "peer_name"], "write `server_name: NAME`"),
    keys(
        &[
            "verify",
            "insecure",
            "skip_verify",
            "skip_cert_verify",
            "allow_insecure",
            "insecure_skip_verify",
        ],
        "certificates are always checked; write the authority to trust as `ca: FILE`",
    ),
];

const CHAIN: [OtherKeys; 6] = [
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
const EVERYTHING: &[&str] = &[
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

const ROUTE: [OtherKeys; 11] = [
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

const ROUTES: &str = "a route says which hosts take which chain: `routes: [{ hosts: [HOST], chain: CHAIN }, { chain: default }]`";
pub(super) const FOR_EVERYTHING: &str = "a route without `hosts` and `ports` matches everything: as the last route, write `- { chain: CHAIN }`";
const HOPS_HAVE_CONDITIONS: &str = "hops have conditions, and chains leave a hop out while it is off: write `hops: { NAME: { \
                                    enabled: { when: { resolves: NAME } } } }`, or another condition";
const ONLY_AUTH: &str = "clients are let in by credentials, whatever their address: write `auth: { username: NAME, password: \
                         \"${PASSWORD}\" }`; on `127.0.0.1` only this machine reaches the proxy";
const ONLY_AUTH_AT_TOP: &str = "clients are let in by credentials, whatever their address: write `server: { auth: { username: \
                                NAME, password: \"${PASSWORD}\" } }`; on `127.0.0.1` only this machine reaches the proxy";
const ONE_ACCOUNT: &str = "all clients use one account: write `auth: { username: NAME, password: \"${PASSWORD}\" }`; there is no \
                           file of accounts";
const ONE_ACCOUNT_AT_TOP: &str = "all clients use one account: write `server: { auth: { username: NAME, password: \"${PASSWORD}\" \
                                  } }`; there is no file of accounts";
pub(super) const ONE_ACCOUNT_HERE: &str =
    "all clients use one account: write `username: NAME` and `password: \"${PASSWORD}\"`";
pub(super) const LOG_FILE: &str =
    "the log goes to standard error; write it to a file with `mooltiroute run 2>> FILE`";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_is_in_a_table_twice() {
        for table in ALL.into_iter().chain(nested::ALL).chain(conditional::ALL) {
            let needs =
                |others: &'static OtherKeys| others.keys.iter().map(|key| (*key, others.needs));
            let mut all: Vec<_> = table.iter().flat_map(needs).collect();
            let count = all.len();
            all.sort();
            all.dedup();
            assert_eq!(all.len(), count);
            assert!(
                all.iter().all(|(key, _)| key
                    .bytes()
                    .all(|one| !one.is_ascii_uppercase() && one != b'-'))
            );
        }
    }

    #[test]
    fn advice_is_given_only_if_it_is_possible() {
        let hop = [Key::Name("hops".into()), Key::Name("a".into())];
        assert_eq!(instead(&hop, "Skip-Verify", &["ca"]), None);
        assert!(instead(&hop, "Skip-Verify", &["tls"]).is_some());
        assert_eq!(instead(&hop, "hops", &["address"]), None);
        assert_eq!(instead(&[Key::Name("x-mine".into())], "port", &[]), None);
    }
}
