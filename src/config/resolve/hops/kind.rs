//! Reads the kind of a hop, and says what to write instead of one that is unknown.

use mooltiroute_hops::{Key, KeyPath};

use crate::config::{
    report::suggest::nearest,
    resolve::{Part, Resolver},
};

impl Resolver<'_> {
    /// Returns the hop that `name` is most likely a misspelling of. Only one that has a kind can be meant.
    fn near_hop(&self, name: &str) -> Option<String> {
        let names = self.tree.names(&KeyPath::of(["hops"])).ok()?;
        let has_kind =
            |other: &&String| self.tree.value(&KeyPath::of(["hops", other, "kind"])).is_some();
        let others: Vec<&str> = names.iter().filter(has_kind).map(String::as_str).collect();
        nearest(name, others).map(str::to_owned)
    }

    /// Reads the kind of the hop at `path`, which may be unknown.
    pub(super) fn kind(&mut self, path: &KeyPath) -> Option<String> {
        let kind = path.clone().then(Key::Name("kind".into()));
        let known: Vec<_> = self.registry.names().collect();
        if self.failed.contains(&kind) {
            return None;
        }
        if self.tree.settings(&kind).is_none() {
            if self.is_complete && !self.problems.skips() {
                let message =
                    format!("the key `kind` is missing; known kinds: {}", known.join(", "));
                let mut problem = self.tree.problem(path, Part::Key, "missing-key", message);
                let type_ = path.clone().then(Key::Name("type".into()));
                if self.tree.value(&type_).is_some() {
                    problem.help = Some("write `kind` in place of `type`".into());
                } else if let Some(name) = path.last_name()
                    && let Some(near) = self.near_hop(name)
                {
                    problem = problem.with_help(format!(
                        "did you mean the hop `{near}`? A file changes settings of a hop of an earlier file by the same name"
                    ));
                }
                self.problems.push(problem);
            }
            return None;
        }
        let name = self.read::<String>(&kind)?;
        if !known.contains(&name.as_str()) && !self.problems.skips() {
            let mut problem = self.unknown_name(&kind, &kind, "kind", &known);
            // In other programs a scheme is a type of proxy; here it is a setting of the kind.
            match name.as_str() {
                "ntlm" | "negotiate" | "digest" | "basic" => {
                    problem = problem
                        .with_help(format!("write `kind: http-connect` and `auth: [{name}]`"));
                }
                name if is_socks4(name) => problem = problem.with_help(SOCKS4),
                "https" => {
                    problem = problem.with_help("write `kind: http-connect` and `tls: true`");
                }
                _ => {
                    if let Some(help) = kind_instead(&name) {
                        problem = problem.with_help(help);
                    }
                }
            }
            self.problems.push(problem);
        }
        Some(name)
    }
}

/// Returns whether the kind `name` means SOCKS4, which no kind speaks.
pub(super) fn is_socks4(name: &str) -> bool {
    ["socks4", "socks4a"].iter().any(|socks4| name.eq_ignore_ascii_case(socks4))
}

/// The advice for a hop that is to speak SOCKS4.
pub(super) const SOCKS4: &str = "SOCKS4 is not supported as a hop: write `kind: socks5` or `kind: http-connect` if this proxy speaks one of \
                      these, as most do";

/// Returns what to write instead of a kind that is the name of a provider, or the word of another program.
fn kind_instead(name: &str) -> Option<&'static str> {
    Some(match &*name.to_ascii_lowercase().replace(['_', ' ', '-', '.'], "") {
        "brightdata" | "luminati" | "smartproxy" | "decodo" | "oxylabs" | "iproyal" | "soax"
        | "netnut" | "proxyrack" | "packetstream" | "geonode" | "nimble" | "nimbleway"
        | "rayobyte" | "infatica" | "asocks" | "dataimpulse" | "residential" | "provider"
        | "rotate" | "session" | "gateway" => {
            "write `kind: rotating`, which writes session and country into the login by a template, as in `username: \
             \"{user}[-country-{country}][-session-{session}]\"`"
        }
        "list" | "proxylist" | "proxies" | "file" | "group" => {
            "write `kind: pool`, and `members_from: { file: FILE }` for a list of proxies"
        }
        "roundrobin" => "write `kind: pool` and `pick: round-robin`",
        "failover" | "fallback" | "backup" => "write `kind: pool` and `pick: failover`",
        "random" => "write `kind: pool` and `pick: random`",
        "sticky" => "write `kind: pool` and `pick: sticky`",
        "leastused" | "leastconn" => "write `kind: pool` and `pick: least-used`",
        "proxy" | "httpproxy" | "forward" | "upstream" | "parent" | "squid" | "corporate"
        | "connect" | "tinyproxy" | "privoxy" | "haproxy" | "nginx" | "mitmproxy" | "gost"
        | "clash" => "write `kind: http-connect`",
        "cntlm" | "px" | "pxproxy" => {
            "write `kind: http-connect` and `auth: [negotiate, ntlm]`, with the company's proxy as `address`; the program of that \
             name is not needed then"
        }
        "httpsproxy" => "write `kind: http-connect` and `tls: true`",
        "wpad" | "auto" | "autoconfig" => {
            "write `kind: pac` and `url: URL`, with the address of the PAC file"
        }
        "tor" | "ssh" => "write `kind: socks5`",
        "direct" | "none" => {
            "going direct needs no hop: write `direct` as the chain of a route, or leave the hop out of its chain"
        }
        _ => return None,
    })
}
