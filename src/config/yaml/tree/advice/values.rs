//! Values that people write from habit, each with the value to write instead.

use mooltiroute_hops::{Fault, Key, KeyPath};
use serde_yaml::Value;

use crate::config::{
    ListenAddress, bare_port, has_too_large_port,
    report::{host_pattern, problem::is_name, proxy_url::proxy_address, suggest::same_name},
    yaml::tree::{
        Part, Tree,
        advice::{
            budgets, conditions,
            files::is_clearly_path,
            keys,
            sizes::{Amount, UNITS},
        },
    },
};

impl Tree {
    /// Returns what to write instead of the value at `path`, if its meaning is clear. Nothing of a hidden value is shown.
    pub(super) fn value_instead(&self, path: &KeyPath, fault: &Fault) -> Option<String> {
        let value = self.value(path)?;
        let section = path.keys().first().and_then(Key::name)?;
        let key = path.last_name()?;
        let text = value.as_str().map(str::trim);
        let is_shown = !self.is_hidden(path);
        // The advice on these repeats nothing but numbers, and below `budget` they are the end of no secret.
        let is_written_here = !self.is_from_elsewhere(path);
        if let ([_, _, Key::Name(hops), Key::Name(pattern)], Fault::Key(_)) = (path.keys(), fault)
            && hops == "hops"
        {
            return pattern_instead(pattern, is_shown);
        }
        let specific = match (section, key) {
            ("hops", "tls") => text.and_then(|text| match &*text.to_ascii_lowercase() {
                "system" | "default" => {
                    Some("write `tls: true`, which trusts the authorities of the system".to_owned())
                }
                text => is_path(text).then(|| CA_FILE.to_owned()),
            }),
            ("hops", "auth") => auth_instead(value),
            ("hops", "enabled") => text
                .filter(|text| ["auto", "automatic"].contains(&&*text.to_ascii_lowercase()))
                .map(|_| CONDITION.to_owned()),
            ("hops", "address_in" | "into" | "interface" | "resolves" | "reachable") => {
                conditions::instead(key, value, is_shown)
            }
            ("limits", "header_bytes") => {
                let amount = text.and_then(Amount::parse).filter(|_| is_shown);
                let instead = amount.and_then(|amount| amount.in_our_units(key));
                instead.or_else(|| text.map(|_| UNITS.to_owned()))
            }
            ("hops", "budget") => budgets::whole_instead(value, is_written_here),
            ("hops", "bytes") => text.map(|text| budgets::bytes_instead(text, is_written_here)),
            ("hops", "pick") => text.and_then(pick_instead),
            ("hops", "any" | "all") if value.is_mapping() => Some(format!(
                "write a list of conditions, as in `{key}: [{{ resolves: NAME }}, {{ interface: NAME }}]`"
            )),
            ("hops", "then") => budgets::then_instead(value, |name| self.has_chain(name)),
            ("hops", "per") => text.and_then(budgets::per_instead),
            ("chains", "warm") if matches!(fault, Fault::WrongType { .. }) => Some(WARM.to_owned()),
            ("limits", "connections") => text.and_then(|text| count_instead(key, text, is_shown)),
            ("hops", "warn") => budgets::percent_instead(value, is_written_here),
            ("hops", "unknown") => value
                .as_bool()
                .map(|is_on| format!("write `unknown: {}`", if is_on { "on" } else { "off" })),
            ("hops", "ca" | "password_file" | "keytab") if value.is_sequence() => {
                Some("put all of them into one file".to_owned())
            }
            ("hops", "server_name") => text.and_then(|text| server_name_instead(text, is_shown)),
            ("hops", "members_from") if self.sibling(path, "members").is_some() => {
                self.member_of_earlier_file(path)
            }
            ("hops", "members") if text.is_some() => Some(MEMBERS.to_owned()),
            ("hops", "members_from") if text.is_some() => {
                text.map(|text| match text.contains("://") {
                    true => "write `members_from: { url: URL }`".to_owned(),
                    false => "write `members_from: { file: FILE }`".to_owned(),
                })
            }
            ("hops", "members_from" | "file") if value.is_sequence() => Some(ONE_LIST.to_owned()),
            ("hops", "country") => text.and_then(|text| countries_instead(text, is_shown)),
            ("hops", "hops") if value.is_sequence() => Some(PAC_HOPS.to_owned()),
            ("hops", "url") if text.is_some_and(is_discovery) => Some(NO_DISCOVERY.to_owned()),
            ("hops", "url") => text.filter(|text| !text.contains("://")).map(|text| {
                // The link of a list may be a secret, also if it lacks its beginning.
                let is_list = path.keys().iter().any(|key| key.name() == Some("members_from"));
                let is_shown = is_written_here && !is_list && is_clearly_path(text);
                let shown = Some(text).filter(|_| is_shown);
                format!(
                    "a file on this machine is written as `file: {}`, in place of `url`",
                    shown.unwrap_or("FILE")
                )
            }),
            ("hops", "when") if value.is_sequence() => Some(WHEN.to_owned()),
            ("hops", "not") if value.is_sequence() => {
                Some("write `not: { any: [CONDITION, CONDITION] }`".to_owned())
            }
            ("routes", "ports") if text.is_some_and(|text| text.contains(['-', ','])) => {
                Some("list single ports, as in `ports: [80, 443]`; there are no ranges".to_owned())
            }
            ("hops", "kerberos") if value.is_bool() => Some("write `auth: [negotiate]`".to_owned()),
            // A session of `kind: rotating` is a text, also if it looks like a number.
            ("hops", "session" | "ttl" | "city") if value.is_number() => {
                let shown = Some(value).filter(|_| is_shown).and_then(Value::as_u64);
                let shown = shown.map_or_else(|| "NUMBER".to_owned(), |number| number.to_string());
                Some(format!("write it in quotes, as in `{key}: \"{shown}\"`"))
            }
            ("hops", "session") if matches!(fault, Fault::WrongType { .. }) => {
                Some(SESSION.to_owned())
            }
            ("server", "auth")
                if value.is_sequence() || text.is_some_and(|text| !text.contains(':')) =>
            {
                Some(ONE_ACCOUNT.to_owned())
            }
            ("server", "username" | "password") if value.is_sequence() || value.is_mapping() => {
                Some(keys::ONE_ACCOUNT_HERE.to_owned())
            }
            ("server", "listen" | "address") => {
                // An entry of a list has no key of its own.
                let is_entry = matches!(path.keys().last(), Some(Key::Index(_)));
                let key = if is_entry { "" } else { &*format!("{key}: ") };
                listen_instead(key, value, is_shown)
            }
            ("server", "via") if value.is_bool() => {
                Some("write a name, as in `via: NAME`, or `via: none`".to_owned())
            }
            ("server", "protocols") => text
                .filter(|text| ["https", "tls", "ssl"].contains(&&*text.to_ascii_lowercase()))
                .map(|_| HTTPS_LISTENER.to_owned()),
            ("routes", "hosts") => text.and_then(|text| {
                host_pattern::instead(text, is_shown)
                    .or_else(|| host_pattern::list_instead(text, is_shown))
            }),
            ("routes", "chain") => self.chain_instead(value, is_shown),
            ("hops", "chain" | "via") if value.is_sequence() || value.is_mapping() => {
                self.chain_instead(value, is_shown)
            }
            ("log", "log") => text.and_then(log_instead),
            ("server", "server") if is_amount(value) => {
                Some("write `server: { listen: \"127.0.0.1:8888\" }`".to_owned())
            }
            ("timeouts", "timeouts") if is_amount(value) => {
                Some("write which one, as in `timeouts: { connect: 10s }`".to_owned())
            }
            ("limits", "limits") if is_amount(value) => {
                Some("write which one, as in `limits: { connections: 10000 }`".to_owned())
            }
            ("chains", _)
                if value.is_mapping() && matches!(path.keys().last(), Some(Key::Index(_))) =>
            {
                Some(HOP_IN_CHAIN.to_owned())
            }
            ("timeouts", _) => duration_instead(key, value, is_shown),
            _ => None,
        };
        let switch = || match fault {
            Fault::WrongType { expected, .. } if expected.starts_with("`true`") => {
                switch(value).map(|is_on| format!("write `{key}: {is_on}`"))
            }
            _ => None,
        };
        specific.or_else(switch)
    }
}

impl Tree {
    /// Returns what to write if the name of one chain is expected and a list of hops is there.
    fn chain_instead(&self, value: &Value, is_shown: bool) -> Option<String> {
        let list = match value {
            Value::Sequence(_) => Some(value),
            Value::Mapping(chain) => chain.get("hops").or_else(|| chain.get("chain")),
            _ => return None,
        };
        let list = list.and_then(Value::as_sequence).map_or(&[][..], Vec::as_slice);
        let names: Option<Vec<&str>> = list.iter().map(Value::as_str).collect();
        let names = names.filter(|names| {
            is_shown
                && !names.is_empty()
                && names.len() <= NAMES_MAX
                && names.iter().all(|name| is_name(name))
        });
        let is_hop = |name: &&str| self.value(&KeyPath::of(["hops", *name])).is_some();
        let names = names.unwrap_or_default();
        if let [name] = *names
            && self.has_chain(name)
        {
            return Some(format!("write the name of one chain, without brackets: `chain: {name}`"));
        }
        let hops = match !names.is_empty() && names.iter().all(is_hop) {
            true => names.join(", "),
            false => "HOP, HOP".to_owned(),
        };
        Some(format!(
            "the name of one chain is expected: write its hops below `chains:`, as in `chains: {{ NAME: [{hops}] }}`, and the \
             `NAME` here"
        ))
    }

    /// Returns how a later file replaces the members of an earlier one, if `members_from` at `path` and the `members` beside
    /// it are in two files.
    fn member_of_earlier_file(&self, path: &KeyPath) -> Option<String> {
        let (_, above) = path.keys().split_last()?;
        let other = KeyPath::from(above.to_vec()).then(Key::Name("members".to_owned()));
        let (from, members) = (self.place(path, Part::Key)?, self.place(&other, Part::Key)?);
        if from.file == members.file {
            return None;
        }
        // Files are merged in the order of their names.
        Some(match from.file < members.file {
            true => format!(
                "`members` is written at {members}; to replace `members_from` there, write `members_from: null` beside it"
            ),
            false => format!(
                "`members` is written at {members}; to replace it here, write `members: null` beside `members_from`"
            ),
        })
    }
}

/// More hops of a chain than this are not repeated in an example.
const NAMES_MAX: usize = 5;

/// Returns whether words that are no boolean of YAML mean `true` or `false`.
fn switch(value: &Value) -> Option<bool> {
    if let Some(number) = value.as_u64() {
        return [false, true].get(usize::try_from(number).ok()?).copied();
    }
    match &*value.as_str()?.trim().to_ascii_lowercase() {
        "on" | "yes" | "y" | "true" | "1" | "enabled" | "enable" | "always" => Some(true),
        "off" | "no" | "n" | "false" | "0" | "disabled" | "disable" | "never" | "none" => {
            Some(false)
        }
        _ => None,
    }
}

fn is_path(text: &str) -> bool {
    const ENDINGS: [&str; 4] = [".pem", ".crt", ".cer", ".ca-bundle"];
    text.contains(['/', '\\']) || ENDINGS.iter().any(|end| text.to_ascii_lowercase().ends_with(end))
}

/// Returns the list of schemes that is meant by a value of `auth`.
fn auth_instead(value: &Value) -> Option<String> {
    if let Some(mapping) = value.as_mapping() {
        let scheme = ["type", "scheme", "schemes", "method", "kind"]
            .iter()
            .find_map(|key| same_name(mapping.get(*key)?.as_str()?, SCHEMES));
        let has = |keys: &[&str]| keys.iter().any(|key| mapping.contains_key(*key));
        let auth = scheme.map(|scheme| format!("`auth: [{scheme}]`"));
        return match (auth, has(&["username", "user", "password", "pass"])) {
            (Some(auth), true) => {
                Some(format!("write {auth}, {LOGIN}, each indented as `auth` is"))
            }
            (Some(auth), false) => Some(format!("write {auth}")),
            (None, true) => Some(format!("write {LOGIN} in place of `auth`, indented as it is")),
            (None, false) => None,
        };
    }
    if value.is_bool() {
        return Some(AUTH_EXAMPLE.to_owned());
    }
    let text = value.as_str()?.trim();
    match &*text.to_ascii_lowercase() {
        "none" | "off" | "no" | "anonymous" => return Some("leave `auth` out".to_owned()),
        "any" | "all" | "auto" | "anyauth" => {
            return Some(format!("write `auth: [{}]`", SCHEMES.join(", ")));
        }
        _ => {}
    }
    let words = text.split([',', ' ', '|', ';', '+', '/']).filter(|word| !word.is_empty());
    let schemes: Option<Vec<_>> = words.map(|word| same_name(word, SCHEMES)).collect();
    match schemes {
        Some(schemes) if schemes.len() > 1 => {
            Some(format!("write `auth: [{}]`", schemes.join(", ")))
        }
        None if text.contains(':') => Some(format!("write {LOGIN} in place of `auth`")),
        _ => None,
    }
}

/// Returns the address that is meant by a port, or by an address of another form.
fn listen_instead(key: &str, value: &Value, is_shown: bool) -> Option<String> {
    if let Value::String(text) = value {
        if has_too_large_port(text) {
            return Some("the port is too large; ports go up to 65535".to_owned());
        }
        if let Some((scheme, rest)) = text.split_once("://") {
            let rest = rest.trim_end_matches('/');
            let is_address = is_shown && rest.parse::<ListenAddress>().is_ok();
            let address = if is_address { rest } else { "127.0.0.1:PORT" };
            return Some(match scheme {
                "https" => HTTPS_LISTENER.to_owned(),
                _ => format!("write the address alone, `{key}\"{address}\"`"),
            });
        }
    }
    let port = match value {
        Value::Number(number) => number.as_u64().and_then(|port| u16::try_from(port).ok()),
        Value::String(text) => bare_port(text),
        _ => None,
    }?;
    match is_shown {
        true => Some(format!("write `{key}\"127.0.0.1:{port}\"`")),
        false => Some(format!("write `{key}\"127.0.0.1:PORT\"`")),
    }
}

/// Returns the word for `pick` that is meant by words of other programs.
fn pick_instead(text: &str) -> Option<String> {
    let pick = match &*text.trim().to_ascii_lowercase().replace(['_', ' '], "-") {
        "rotate" | "rotating" | "rotation" | "next" => "round-robin",
        "sticky-session" | "sticky-sessions" | "session" | "by-client" => "sticky",
        "priority" | "first" | "in-order" | "ordered" | "backup" | "fallback" => "failover",
        _ => return None,
    };
    Some(format!("write `pick: {pick}`"))
}

/// Returns a count without a unit.
fn count_instead(key: &str, text: &str, is_shown: bool) -> Option<String> {
    let lower = text.trim().to_ascii_lowercase();
    let thousands: u64 = lower.strip_suffix('k')?.trim().parse().ok()?;
    let count = thousands.checked_mul(1000).filter(|_| is_shown)?;
    Some(format!("write `{key}: {count}`"))
}

/// Returns a duration with its unit. A bare number is not enough to tell seconds from milliseconds.
fn duration_instead(key: &str, value: &Value, is_shown: bool) -> Option<String> {
    let number = match value {
        Value::Number(number) => number.as_u64()?,
        Value::Bool(false) => return Some(no_limit(key)),
        Value::String(text) => match &*text.trim().to_ascii_lowercase() {
            "never" | "none" | "off" | "no" | "unlimited" | "infinite" | "infinity" | "forever"
            | "disabled" | "false" => return Some(no_limit(key)),
            text => text.parse().ok()?,
        },
        _ => return None,
    };
    if !is_shown {
        return None;
    }
    if number == 0 {
        return Some(format!("write `{key}: 0s`"));
    }
    Some(format!("write `{key}: {number}s` for seconds, or `{key}: {number}ms` for milliseconds"))
}

/// Returns what to write for a timeout that is to have no limit.
fn no_limit(key: &str) -> String {
    match key {
        "response" | "stall" | "idle" => format!("write `{key}: 0s`, which means no limit"),
        _ => format!("`{key}` always has a limit; write a long one, as in `{key}: 1h`"),
    }
}

/// Returns whether `value` is a number, or a text that begins with one, such as `30s` or an address.
fn is_amount(value: &Value) -> bool {
    let begins = |text: &str| text.trim_start().starts_with(|one: char| one.is_ascii_digit());
    value.is_number() || value.as_str().is_some_and(begins)
}

/// Returns whether `text` asks for the address of a PAC file to be found.
fn is_discovery(text: &str) -> bool {
    let words = ["auto", "wpad", "detect", "autodetect", "auto-detect", "auto_detect", "dhcp"];
    words.contains(&&*text.trim().to_ascii_lowercase())
}

/// Returns the setting of the log that is meant by one word.
fn log_instead(text: &str) -> Option<String> {
    let word = text.trim().to_ascii_lowercase();
    Some(match &*word {
        "json" | "text" => format!("write `log: {{ format: {word} }}`"),
        "off" | "error" | "warn" | "info" | "debug" | "trace" => {
            format!("write `log: {{ level: {word} }}`")
        }
        _ if is_path(text) || word.ends_with(".log") => keys::LOG_FILE.to_owned(),
        _ => same_name(&word, &["off", "error", "warn", "info", "debug"])
            .map(|level| format!("write `log: {{ level: {level} }}`"))?,
    })
}

/// Returns the name of a certificate that is meant by a URL or an address.
fn server_name_instead(text: &str, is_shown: bool) -> Option<String> {
    let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
    let authority = rest.split('/').next().unwrap_or_default();
    let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
    // A login in a URL is never repeated.
    let is_name = is_shown && !text.contains('@') && host.parse::<mooltiroute_hops::Host>().is_ok();
    let name = if is_name { host } else { "NAME" };
    Some(format!("write `server_name: {name}`, a name that the certificate has"))
}

/// Returns a list of countries in place of a text with commas.
fn countries_instead(text: &str, is_shown: bool) -> Option<String> {
    if ["any", "all", "random", "auto", "none"].contains(&&*text.to_ascii_lowercase()) {
        return Some("for an exit in any country, leave `country` out".to_owned());
    }
    let countries: Vec<&str> = text.split([',', ' ', ';']).filter(|one| !one.is_empty()).collect();
    if countries.len() < 2 {
        return None;
    }
    let is_list = is_shown
        && countries
            .iter()
            .all(|one| one.len() == 2 && one.bytes().all(|byte| byte.is_ascii_alphabetic()));
    Some(match is_list {
        true => format!("write `country: [{}]`", countries.join(", ")),
        false => "write a list, as in `country: [us, fr]`".to_owned(),
    })
}

/// Returns the pattern to write instead of `entry`, a key of `hops` that is an entry of a PAC file, such as
/// `PROXY HOST:PORT`.
fn pattern_instead(entry: &str, is_shown: bool) -> Option<String> {
    if !entry.contains([' ', ';']) && !entry.contains("://") {
        return None;
    }
    let first = entry.split(';').next().unwrap_or_default().trim();
    let address = first.split_whitespace().last().and_then(proxy_address);
    let address = address.filter(|_| is_shown).unwrap_or_else(|| "HOST:PORT".to_owned());
    Some(format!(
        "write the proxies alone, as in `\"{address}\": HOP`, each in an entry of its own; `DIRECT` needs none"
    ))
}

const ONE_ACCOUNT: &str = "all clients use one account: write `auth: { username: NAME, password: \"${PASSWORD}\" }`; a client \
                           names its own session as in `NAME+session-alice`";
const ONE_LIST: &str = "a pool has one list: put the proxies of all lists into one file, and write `members_from: { file: \
                        FILE }`; or write a pool for each list, and a pool of these pools";
const PAC_HOPS: &str = "write patterns of the proxies in the file, each with the name of a hop, as in `hops: { \
                        \"proxy*:3128\": HOP }`";
const MEMBERS: &str = "write `members_from: { file: FILE }` or `{ url: URL }` for a list of proxies, or `members: [HOP, HOP]`";
const WARM: &str =
    "write the number of connections to keep ready, as in `warm: 2`, or leave it out";
const WHEN: &str = "write `when: { any: [CONDITION, CONDITION] }`, or `all` in place of `any`";
const NO_DISCOVERY: &str = "the address of a PAC file is not discovered (WPAD): write it, which is often `url: \
                            http://wpad.DOMAIN/wpad.dat`";
const HOP_IN_CHAIN: &str = "a chain has the names of hops: write `hops: { NAME: { kind: pool, members: [HOP, HOP] } }`, or a hop of \
                            another kind, and `[NAME]` here";
const SCHEMES: &[&str] = &["negotiate", "ntlm", "digest", "basic"];
const LOGIN: &str = "`username: NAME` and `password: \"${PASSWORD}\"`";
const AUTH_EXAMPLE: &str = "write the schemes to use, as in `auth: [negotiate, ntlm]`";
const CA_FILE: &str = "write `tls: { ca: FILE }`, with a PEM file of the authority to trust";
const CONDITION: &str =
    "write the condition, as in `enabled: { when: { resolves: NAME } }`, or `true` or `false`";
const HTTPS_LISTENER: &str = "an HTTPS proxy is an address with TLS: write `listen: { address: \"127.0.0.1:8443\", tls: { cert: \
                              FILE, key: FILE } }`";
const SESSION: &str = "write `session: rotate` for a new exit each time, or a number such as `session: 1` to keep one; with \
                       `sessions: by-client`, clients name theirs in the username, as in `session-NAME`";

#[cfg(test)]
mod tests {
    use super::{
        super::testing::{check, yaml},
        *,
    };

    #[test]
    fn schemes_are_found_in_what_other_programs_call_authentication() {
        let check = |text: &str, expected: &str| check(auth_instead(&yaml(text)), expected);
        check("ntlm, Basic", "write `auth: [ntlm, basic]`");
        check("NTLM|Kerberos", "write `auth: [ntlm, negotiate]`");
        check("any", "write `auth: [negotiate, ntlm, digest, basic]`");
        check("joe:hunter2", &format!("write {LOGIN} in place of `auth`"));
        check("hunter2", "");
        check("{ hunter2: x }", "");
        check("{ type: ntlm }", "write `auth: [ntlm]`");
        check(
            "{ user: joe, pass: hunter2 }",
            &format!("write {LOGIN} in place of `auth`, indented as it is"),
        );
    }

    #[test]
    fn a_port_becomes_an_address_and_nothing_else_does() {
        for port in ["8888", "':8888'", "'*:8888'", "'8888'"] {
            check(
                listen_instead("listen: ", &yaml(port), true),
                "write `listen: \"127.0.0.1:8888\"`",
            );
        }
        check(
            listen_instead("listen: ", &yaml("8888"), false),
            "write `listen: \"127.0.0.1:PORT\"`",
        );
        for other in ["70000", "[1]", "localhost", "'[::1]'"] {
            check(listen_instead("listen: ", &yaml(other), true), "");
        }
    }

    #[test]
    fn an_address_with_a_scheme_or_a_large_port_is_mended() {
        let check = |text: &str, expected: &str| {
            check(listen_instead("listen: ", &yaml(text), true), expected);
        };
        check("'http://127.0.0.1:8888/'", "write the address alone, `listen: \"127.0.0.1:8888\"`");
        check("'socks5://u:p@h'", "write the address alone, `listen: \"127.0.0.1:PORT\"`");
        check("'127.0.0.1:99999'", "the port is too large; ports go up to 65535");
        check("'https://127.0.0.1:8443'", HTTPS_LISTENER);
    }

    #[test]
    fn words_of_other_programs_for_a_choice_are_translated() {
        check(pick_instead("rotate"), "write `pick: round-robin`");
        check(pick_instead("Sticky_Session"), "write `pick: sticky`");
        check(pick_instead("hunter2"), "");
        check(count_instead("connections", "10k", true), "write `connections: 10000`");
        check(count_instead("connections", "many", true), "");
    }

    #[test]
    fn values_of_a_hop_are_mended_if_they_are_clear() {
        let name = |text: &str| server_name_instead(text, true);
        const NAMED: &str = "write `server_name: proxy.test`, a name that the certificate has";
        check(name("https://proxy.test/x"), NAMED);
        check(name("proxy.test:3128"), NAMED);
        let unnamed = NAMED.replace("proxy.test", "NAME");
        check(name("*"), &unnamed);
        check(name("https://u:hunter2@proxy.test"), &unnamed);
        check(countries_instead("us,fr", true), "write `country: [us, fr]`");
        check(countries_instead("us, hunter2", true), "write a list, as in `country: [us, fr]`");
        check(countries_instead("usa", true), "");
    }

    #[test]
    fn only_words_that_are_clear_are_switches() {
        for (text, expected) in [
            ("'off'", Some(false)),
            ("Yes", Some(true)),
            ("1", Some(true)),
            ("2", None),
            ("auto", None),
            ("-1", None),
        ] {
            assert_eq!(switch(&yaml(text)), expected, "{text}");
        }
    }
}
