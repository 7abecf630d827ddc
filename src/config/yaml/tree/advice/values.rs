//! Values that people write from habit, each with the value to write instead.

mod hops;

use mooltiroute_hops::{Fault, Key, KeyPath};
use serde_yaml::Value;

use crate::config::{
    ListenAddress, bare_port, has_too_large_port,
    report::{host_pattern, problem::is_name, suggest::same_name},
    yaml::tree::{
        Tree,
        advice::{
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
        let specific = match (section, key) {
            ("hops", _) => self.hop_value_instead(path, key, value, fault),
            ("limits", "header_bytes") => {
                let amount = text.and_then(Amount::parse).filter(|_| is_shown);
                let instead = amount.and_then(|amount| amount.in_our_units(key));
                instead.or_else(|| text.map(|_| UNITS.to_owned()))
            }
            ("chains", "warm") if matches!(fault, Fault::WrongType { .. }) => Some(WARM.to_owned()),
            ("limits", "connections") => text.and_then(|text| count_instead(key, text, is_shown)),
            ("routes", "ports") if text.is_some_and(|text| text.contains(['-', ','])) => {
                Some("list single ports, as in `ports: [80, 443]`; there are no ranges".to_owned())
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
                let of_list = || host_pattern::list_instead(text, is_shown);
                let of_several = if text.contains([',', ';']) { of_list() } else { None };
                of_several.or_else(|| host_pattern::instead(text, is_shown)).or_else(of_list)
            }),
            ("routes", "chain") => self.chain_instead(value, is_shown),
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
}

/// More hops of a chain than this are not repeated in an example.
const NAMES_MAX: usize = 5;

/// Returns whether words that are not a boolean of YAML mean `true` or `false`.
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

const ONE_ACCOUNT: &str = "all clients use one account: write `auth: { username: NAME, password: \"${PASSWORD}\" }`; a client \
                           names its own session as in `NAME+session-alice`";
const WARM: &str =
    "write the number of connections to keep ready, as in `warm: 2`, or leave it out";
const HOP_IN_CHAIN: &str = "a chain has the names of hops: write `hops: { NAME: { kind: pool, members: [HOP, HOP] } }`, or a hop of \
                            another kind, and `[NAME]` here";
const HTTPS_LISTENER: &str = "an HTTPS proxy is an address with TLS: write `listen: { address: \"127.0.0.1:8443\", tls: { cert: \
                              FILE, key: FILE } }`";

#[cfg(test)]
mod tests {
    use super::{
        super::testing::{check, yaml},
        *,
    };

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
    fn thousands_are_counted_without_a_unit() {
        check(count_instead("connections", "10k", true), "write `connections: 10000`");
        check(count_instead("connections", "many", true), "");
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
