//! Keys of other programs in the sections `server`, `timeouts`, `limits` and `log`.

use super::{
    OtherKeys,
    accounts::{ALLOWED_CLIENTS, HTPASSWD, ONE_ACCOUNT, ONLY_AUTH},
    keys,
};

pub(super) const SERVER: [OtherKeys; 12] = [
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

pub(super) const TIMEOUTS: [OtherKeys; 5] = [
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

pub(super) const LIMITS: [OtherKeys; 3] = [
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

pub(super) const LOG: [OtherKeys; 5] = [
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

pub(in crate::config::yaml::tree::advice) const LOG_FILE: &str =
    "the log goes to standard error; write it to a file with `mooltiroute run 2>> FILE`";
