//! The settings of a hop in other programs.

use super::{OtherKeys, keys, routes::ROUTES};

/// Keys of a hop, or of a member of a pool.
pub(super) const HOP: [OtherKeys; 18] = [
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

/// Keys below `tls` of a hop.
pub(super) const HOP_TLS: [OtherKeys; 5] = [
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
