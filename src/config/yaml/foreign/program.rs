//! Recognises the settings of other proxies.

/// Another program whose settings people hand to this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Program {
    Px,
    Cntlm,
    /// With a hash that can't be used here.
    CntlmWithHash,
    Squid,
    Tinyproxy,
    Haproxy,
    Nginx,
    Proxychains,
}

impl Program {
    /// Returns the program whose settings `lines` are. They have no comments and no blank lines.
    pub(super) fn of(lines: &[&str]) -> Option<Self> {
        if lines.iter().any(|line| *line == "[proxy]" || line.starts_with("[proxy:")) {
            return Some(Self::Px);
        }
        if lines.iter().any(|line| line.eq_ignore_ascii_case("[ProxyList]")) {
            return Some(Self::Proxychains);
        }
        let has_block = ["{", ";"].iter().all(|sign| lines.iter().any(|line| line.contains(sign)));
        let is_nginx = |line: &&str| line.ends_with([';', '{', '}']);
        if has_block && lines.iter().all(|line| is_nginx(&line.trim_end())) {
            return Some(Self::Nginx);
        }
        let counted = DIRECTIVES.map(|(program, words)| {
            let is_known =
                |line: &&&str| first_word(line).is_some_and(|word| words.contains(&&*word));
            (lines.iter().filter(is_known).count(), program)
        });
        // Some words are those of several programs, so most lines have to fit one.
        let (count, program) = counted.into_iter().rev().max_by_key(|(count, _)| *count)?;
        if count < 2 || count * 2 < lines.len() {
            return None;
        }
        let has_hash =
            lines.iter().filter_map(|line| first_word(line)).any(|word| word == "passntlmv2");
        Some(if program == Self::Cntlm && has_hash { Self::CntlmWithHash } else { program })
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Px => "px",
            Self::Cntlm | Self::CntlmWithHash => "cntlm",
            Self::Squid => "squid",
            Self::Tinyproxy => "tinyproxy",
            Self::Haproxy => "haproxy",
            Self::Nginx => "nginx",
            Self::Proxychains => "proxychains",
        }
    }

    /// Returns what to write instead.
    pub(super) fn help(self) -> &'static str {
        match self {
            Self::Px => {
                "write its proxy as a hop, in a file such as `config.yaml`: `hops: { corporate: { kind: http-connect, address: \
                 \"HOST:PORT\", auth: [ntlm], username: 'DOMAIN\\NAME', password: \"${PASSWORD}\" } }` and `chains: { \
                 default: [corporate] }`; docs/migration.md translates each setting of px"
            }
            Self::Cntlm => {
                "write its proxy as a hop, in a file such as `config.yaml`: `hops: { corporate: { kind: http-connect, address: \
                 \"HOST:PORT\", auth: [ntlm], username: 'DOMAIN\\NAME', password: \"${PASSWORD}\" } }` and `chains: { \
                 default: [corporate] }`; docs/migration.md translates each setting of cntlm"
            }
            Self::CntlmWithHash => {
                "write its proxy as a hop, in a file such as `config.yaml`: `hops: { corporate: { kind: http-connect, address: \
                 \"HOST:PORT\", auth: [ntlm], username: 'DOMAIN\\NAME', nt_hash: HASH } }` and `chains: { default: \
                 [corporate] }`. The value of `PassNTLMv2` is another hash; `cntlm -H` prints this one as `PassNT`. \
                 docs/migration.md translates each setting of cntlm"
            }
            Self::Squid => {
                "write each `cache_peer` as a hop, in a file such as `config.yaml`: `server: { listen: \"127.0.0.1:3128\" }`, \
                 `hops: { parent: { kind: http-connect, address: \"HOST:PORT\" } }` and `chains: { default: [parent] }`; an \
                 `acl` of targets becomes a route, and clients are let in by `server: { auth: … }`"
            }
            Self::Tinyproxy => {
                "write its `Upstream` as a hop, in a file such as `config.yaml`: `server: { listen: \"127.0.0.1:8888\" }`, \
                 `hops: { upstream: { kind: http-connect, address: \"HOST:PORT\" } }` and `chains: { default: [upstream] }`; \
                 docs/migration.md translates each setting of tinyproxy"
            }
            Self::Haproxy | Self::Nginx => {
                "if it forwards to a proxy, write that as a hop, in a file such as `config.yaml`: `server: { listen: \
                 \"127.0.0.1:8888\" }`, `hops: { proxy: { kind: http-connect, address: \"HOST:PORT\" } }` and `chains: { \
                 default: [proxy] }`. Mooltiroute is no reverse proxy and no load balancer for servers"
            }
            Self::Proxychains => {
                "write each line of `[ProxyList]` as a hop, in a file such as `config.yaml`: `hops: { first: { kind: socks5, \
                 address: \"HOST:PORT\" }, second: { kind: http-connect, address: \"HOST:PORT\" } }` and `chains: { default: \
                 [first, second] }`"
            }
        }
    }
}

/// Returns the first of several words of a line, in lower case. A key of YAML or TOML is none.
fn first_word(line: &str) -> Option<String> {
    let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    if rest.trim_start().starts_with(['=', ':']) {
        return None;
    }
    let is_word = |one: char| one.is_ascii_alphanumeric() || "_-".contains(one);
    word.chars().all(is_word).then(|| word.to_ascii_lowercase())
}

/// The words with which lines of other programs begin.
const DIRECTIVES: [(Program, &[&str]); 4] = [
    (
        Program::Cntlm,
        &[
            "username",
            "domain",
            "password",
            "passlm",
            "passnt",
            "passntlmv2",
            "auth",
            "proxy",
            "noproxy",
            "listen",
            "gateway",
            "workstation",
            "header",
            "tunnel",
            "socks5proxy",
            "socks5user",
            "flags",
            "ntlmtobasic",
            "allow",
            "deny",
        ],
    ),
    (
        Program::Squid,
        &[
            "acl",
            "http_access",
            "http_port",
            "https_port",
            "cache_peer",
            "cache_peer_access",
            "never_direct",
            "always_direct",
            "auth_param",
            "cache",
            "cache_dir",
            "cache_mem",
            "cache_log",
            "coredump_dir",
            "refresh_pattern",
            "access_log",
            "visible_hostname",
            "forwarded_for",
            "request_header_access",
            "dns_nameservers",
            "via",
            "include",
        ],
    ),
    (
        Program::Tinyproxy,
        &[
            "user",
            "group",
            "port",
            "listen",
            "bind",
            "timeout",
            "maxclients",
            "upstream",
            "allow",
            "deny",
            "connectport",
            "basicauth",
            "filter",
            "anonymous",
            "addheader",
            "viaproxyname",
            "disableviaheader",
            "logfile",
            "loglevel",
            "syslog",
            "pidfile",
            "statfile",
            "stathost",
            "errorfile",
            "defaulterrorfile",
            "startservers",
            "minspareservers",
            "maxspareservers",
            "maxrequestsperchild",
            "reversepath",
        ],
    ),
    (
        Program::Haproxy,
        &[
            "global",
            "defaults",
            "frontend",
            "backend",
            "listen",
            "bind",
            "server",
            "mode",
            "option",
            "timeout",
            "maxconn",
            "daemon",
            "default_backend",
            "balance",
            "log",
            "stats",
            "use_backend",
            "acl",
        ],
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_program_is_told_by_the_beginnings_of_its_lines() {
        for (text, expected) in [
            ("Username\talice\nDomain\tCORP\nProxy\ta:1", Some(Program::Cntlm)),
            ("Username alice\nPassNTLMv2 00\nProxy a:1", Some(Program::CntlmWithHash)),
            ("Proxy a:1", None),
            ("acl all src 10.0.0.0/8\nhttp_access allow all\nhttp_port 3128", Some(Program::Squid)),
            ("Port 8888\nListen 127.0.0.1\nTimeout 600", Some(Program::Tinyproxy)),
            ("global\ndaemon\nfrontend a\nbind *:80", Some(Program::Haproxy)),
            ("events {\n}\nhttp {\nlisten 80;\n}", Some(Program::Nginx)),
            ("strict_chain\n[ProxyList]\nsocks4 127.0.0.1 9050", Some(Program::Proxychains)),
            ("[proxy]\nserver = a:1", Some(Program::Px)),
            ("username: alice\nproxy: a:1", None),
            ("hops:\nlisten\nx\ny\nz", None),
            ("hops", None),
            ("listen = \"a\"\nproxy = \"b\"", None),
            ("{\nserver: {\n}", None),
            ("", None),
        ] {
            let lines: Vec<&str> = text.lines().collect();
            assert_eq!(Program::of(&lines), expected, "{text}");
        }
    }
}
