//! Values of the settings of hops.

use mooltiroute_hops::{Fault, Key, KeyPath};
use serde_yaml::Value;

use crate::config::{
    report::{proxy_url::proxy_address, suggest::same_name},
    yaml::tree::{
        Part, Tree,
        advice::{budgets, conditions, files::is_clearly_path, values::is_path},
    },
};

impl Tree {
    /// Returns what to write instead of `value` of the setting `key` of a hop, which is at `path`.
    pub(super) fn hop_value_instead(
        &self,
        path: &KeyPath,
        key: &str,
        value: &Value,
        fault: &Fault,
    ) -> Option<String> {
        let text = value.as_str().map(str::trim);
        let is_shown = !self.is_hidden(path);
        // The advice on these repeats nothing but numbers, and below `budget` they are the end of no secret.
        let is_written_here = !self.is_from_elsewhere(path);
        if let ([_, _, Key::Name(hops), Key::Name(pattern)], Fault::Key(_)) = (path.keys(), fault)
            && hops == "hops"
        {
            return pattern_instead(pattern, is_shown);
        }
        match key {
            "tls" => text.and_then(|text| match &*text.to_ascii_lowercase() {
                "system" | "default" => {
                    Some("write `tls: true`, which trusts the authorities of the system".to_owned())
                }
                text => is_path(text).then(|| CA_FILE.to_owned()),
            }),
            "auth" => auth_instead(value),
            "enabled" => text
                .filter(|text| ["auto", "automatic"].contains(&&*text.to_ascii_lowercase()))
                .map(|_| CONDITION.to_owned()),
            "address_in" | "into" | "interface" | "resolves" | "reachable" => {
                conditions::instead(key, value, is_shown)
            }
            "budget" => budgets::whole_instead(value, is_written_here),
            "bytes" => text.map(|text| budgets::bytes_instead(text, is_written_here)),
            "pick" => text.and_then(pick_instead),
            "any" | "all" if value.is_mapping() => Some(format!(
                "write a list of conditions, as in `{key}: [{{ resolves: NAME }}, {{ interface: NAME }}]`"
            )),
            "then" => budgets::then_instead(value, |name| self.has_chain(name)),
            "per" => text.and_then(budgets::per_instead),
            "warn" => budgets::percent_instead(value, is_written_here),
            "unknown" => value
                .as_bool()
                .map(|is_on| format!("write `unknown: {}`", if is_on { "on" } else { "off" })),
            "ca" | "password_file" | "keytab" if value.is_sequence() => {
                Some("put all of them into one file".to_owned())
            }
            "server_name" => text.and_then(|text| server_name_instead(text, is_shown)),
            "members_from" if self.sibling(path, "members").is_some() => {
                self.member_of_earlier_file(path)
            }
            "members" if text.is_some() => Some(MEMBERS.to_owned()),
            "members_from" if text.is_some() => text.map(|text| match text.contains("://") {
                true => "write `members_from: { url: URL }`".to_owned(),
                false => "write `members_from: { file: FILE }`".to_owned(),
            }),
            "members_from" | "file" if value.is_sequence() => Some(ONE_LIST.to_owned()),
            "country" => text.and_then(|text| countries_instead(text, is_shown)),
            "hops" if value.is_sequence() => Some(PAC_HOPS.to_owned()),
            "url" if text.is_some_and(is_discovery) => Some(NO_DISCOVERY.to_owned()),
            "url" => text.filter(|text| !text.contains("://")).map(|text| {
                // The link of a list may be a secret, also if it lacks its beginning.
                let is_list = path.keys().iter().any(|key| key.name() == Some("members_from"));
                let is_shown = is_written_here && !is_list && is_clearly_path(text);
                let shown = Some(text).filter(|_| is_shown);
                format!(
                    "a file on this machine is written as `file: {}`, in place of `url`",
                    shown.unwrap_or("FILE")
                )
            }),
            "when" if value.is_sequence() => Some(WHEN.to_owned()),
            "not" if value.is_sequence() => {
                Some("write `not: { any: [CONDITION, CONDITION] }`".to_owned())
            }
            "kerberos" if value.is_bool() => Some("write `auth: [negotiate]`".to_owned()),
            // A session of `kind: rotating` is a text, also if it looks like a number. Webshare's is a number.
            "session" | "ttl" | "city"
                if value.is_number()
                    && self.sibling(path, "kind").and_then(Value::as_str) != Some("webshare") =>
            {
                let shown = Some(value).filter(|_| is_shown).and_then(Value::as_u64);
                let shown = shown.map_or_else(|| "NUMBER".to_owned(), |number| number.to_string());
                Some(format!("write it in quotes, as in `{key}: \"{shown}\"`"))
            }
            "session" if matches!(fault, Fault::WrongType { .. }) => Some(SESSION.to_owned()),
            "sessions" if !value.is_bool() && self.sibling(path, "session").is_some() => {
                Some(BESIDE_SESSION.to_owned())
            }
            "sessions" => {
                let kind = self.sibling(path, "kind").and_then(Value::as_str);
                sessions_instead(kind.unwrap_or_default(), value, is_shown)
            }
            "chain" | "via" if value.is_sequence() || value.is_mapping() => {
                self.chain_instead(value, is_shown)
            }
            _ => None,
        }
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

/// Returns the setting that is meant by a value of `sessions` that belongs to `session`, for a hop of this kind.
fn sessions_instead(kind: &str, value: &Value, is_shown: bool) -> Option<String> {
    // A session of Webshare is a number, and one of `kind: rotating` a name.
    let is_webshare = match kind {
        "webshare" => true,
        "rotating" => false,
        _ => return None,
    };
    let number = match value {
        Value::Number(number) => number.as_u64(),
        Value::String(text) => text.trim().parse::<u64>().ok(),
        _ => return None,
    };
    if let Some(number) = number {
        let number = if is_shown { number.to_string() } else { "NUMBER".to_owned() };
        return Some(match is_webshare {
            true => format!("for the exit with this number, write `session: {number}`"),
            false => format!("for the session with this name, write `session: \"{number}\"`"),
        });
    }
    let text = value.as_str().unwrap_or_default().trim().to_ascii_lowercase();
    let help = match &*text.replace(['_', ' '], "-") {
        "rotate" | "rotating" | "rotation" | "random" | "new" | "auto" | "none" | "off" => {
            match is_webshare {
                true => "for a new exit each time, write `session: rotate`",
                false => "for a new exit each time, leave `session` and `sessions` out",
            }
        }
        "sticky" | "static" | "same" | "keep" | "persistent" | "sticky-session"
        | "sticky-sessions" => match is_webshare {
            true => STICKY_NUMBER,
            false => STICKY_NAME,
        },
        "client" | "clients" | "per-client" | "user" | "by-user" | "per-user" => {
            "so that clients may choose, write `sessions: by-client`"
        }
        "as-written" if is_webshare => "to send the username as it is, write `session: as-written`",
        _ if is_webshare => SESSION,
        _ => SESSION_NAME,
    };
    Some(help.to_owned())
}

/// Returns whether `text` asks for the address of a PAC file to be found.
fn is_discovery(text: &str) -> bool {
    let words = ["auto", "wpad", "detect", "autodetect", "auto-detect", "auto_detect", "dhcp"];
    words.contains(&&*text.trim().to_ascii_lowercase())
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

const ONE_LIST: &str = "a pool has one list: put the proxies of all lists into one file, and write `members_from: { file: \
                        FILE }`; or write a pool for each list, and a pool of these pools";
const PAC_HOPS: &str = "write patterns of the proxies in the file, each with the name of a hop, as in `hops: { \
                        \"proxy*:3128\": HOP }`";
const MEMBERS: &str = "write `members_from: { file: FILE }` or `{ url: URL }` for a list of proxies, or `members: [HOP, HOP]`";
const WHEN: &str = "write `when: { any: [CONDITION, CONDITION] }`, or `all` in place of `any`";
const NO_DISCOVERY: &str = "the address of a PAC file is not discovered (WPAD): write it, which is often `url: \
                            http://wpad.DOMAIN/wpad.dat`";
const SCHEMES: &[&str] = &["negotiate", "ntlm", "digest", "basic"];
const LOGIN: &str = "`username: NAME` and `password: \"${PASSWORD}\"`";
const AUTH_EXAMPLE: &str = "write the schemes to use, as in `auth: [negotiate, ntlm]`";
const CA_FILE: &str = "write `tls: { ca: FILE }`, with a PEM file of the authority to trust";
const CONDITION: &str =
    "write the condition, as in `enabled: { when: { resolves: NAME } }`, or `true` or `false`";
const SESSION: &str = "write `session: rotate` for a new exit each time, or a number such as `session: 1` to keep one; with \
                       `sessions: by-client`, clients name theirs in the username, as in `session-NAME`";
const SESSION_NAME: &str = "for one session, write its name, as in `session: abc`; for a new exit each time, leave `session` and \
                            `sessions` out; with `sessions: by-client`, clients name theirs in the username, as in `session-NAME`";
const STICKY_NUMBER: &str = "to keep one exit, write a number, as in `session: 1`; for an exit for each client, write `sessions: \
                             by-client`";
const STICKY_NAME: &str = "to keep one exit, write the name of a session, as in `session: abc`; for an exit for each client, write \
                           `sessions: by-client`";
const BESIDE_SESSION: &str = "`session` says which exit is used: remove `sessions`; or write `sessions: by-client`, so that clients may \
                              choose another";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::yaml::tree::advice::testing::{check, yaml};

    #[test]
    fn values_of_session_are_recognised_at_sessions() {
        let webshare = |text: &str| sessions_instead("webshare", &yaml(text), true);
        let rotating = |text: &str| sessions_instead("rotating", &yaml(text), true);
        check(webshare("Rotate"), "for a new exit each time, write `session: rotate`");
        check(rotating("random"), "for a new exit each time, leave `session` and `sessions` out");
        check(webshare("5"), "for the exit with this number, write `session: 5`");
        check(rotating("'5'"), "for the session with this name, write `session: \"5\"`");
        check(
            sessions_instead("webshare", &yaml("5"), false),
            "for the exit with this number, write `session: NUMBER`",
        );
        check(webshare("sticky"), STICKY_NUMBER);
        check(rotating("sticky_session"), STICKY_NAME);
        check(rotating("hunter2"), SESSION_NAME);
        check(sessions_instead("socks5", &yaml("rotate"), true), "");
    }

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
    fn words_of_other_programs_for_a_choice_are_translated() {
        check(pick_instead("rotate"), "write `pick: round-robin`");
        check(pick_instead("Sticky_Session"), "write `pick: sticky`");
        check(pick_instead("hunter2"), "");
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
}
