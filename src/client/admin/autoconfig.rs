//! `/proxy.pac`: a script that tells browsers and operating systems which requests to send to this proxy.
//!
//! The script repeats the routes. A target whose chain has no hop is left to the client (`DIRECT`), and everything else
//! goes to the listener that was asked for the script. A chain that is direct only while its hops are switched off still
//! goes through the proxy, since clients keep the script for hours.
//!
//! Clients run it in engines of any age, so it is ES3. It calls no function that looks a name up: routes with networks
//! are for literal addresses, here as in the router.

use std::{fmt::Write as _, net::SocketAddr};

use ipnet::IpNet;

use crate::{
    router::{HostPattern, Rule, RuleParts},
    state::generation::Generation,
};

/// Returns the script for clients that reach this proxy by `answer`, such as `PROXY localhost:8888`.
pub(super) fn script(generation: &Generation, answer: &str) -> String {
    // Routes go into the script as data, and the code that reads them is constant. So neither a
    // name of the configuration nor the `Host` of the client can become code.
    let mut script = String::from("var mooltirouteProxy = ");
    text(&mut script, answer);
    script.push_str(
        ";\n// For each route: hosts, suffixes, networks, ports, and whether it is direct.\n",
    );
    script.push_str("var mooltirouteRoutes = [\n");
    let mut rules = generation.rules_and_directness().peekable();
    while let Some((rule, is_direct)) = rules.next() {
        route(&mut script, rule, is_direct);
        script.push_str(if rules.peek().is_some() { ",\n" } else { "\n" });
    }
    script.push_str("];\n");
    script.push_str(FUNCTIONS);
    script
}

/// Returns the address of this proxy for a client that sent `host` in its `Host` field to `local`.
pub(super) fn proxy_address(host: &[u8], local: Option<SocketAddr>) -> String {
    let host = String::from_utf8_lossy(host);
    // A script has to name a port, but clients leave it out of `Host` if it is the default of their
    // scheme. The port of the listener that was reached is right then. The groups of an IPv6
    // address without brackets look like ports, and are none.
    let has_port = host.parse::<SocketAddr>().is_ok()
        || host
            .rsplit_once(':')
            .is_some_and(|(name, port)| !name.contains(':') && port.parse::<u16>().is_ok());
    match local {
        Some(local) if !has_port => {
            let is_bare_v6 = host.contains(':') && !host.starts_with('[');
            let host = if is_bare_v6 { format!("[{host}]") } else { host.into_owned() };
            format!("{host}:{}", local.port())
        }
        _ => host.into_owned(),
    }
}

fn route(script: &mut String, rule: &Rule, is_direct: bool) {
    let RuleParts { hosts, ports } = rule.parts();
    let (mut names, mut suffixes, mut networks) = (Vec::new(), Vec::new(), Vec::new());
    for host in hosts {
        match host {
            HostPattern::Name(name) => names.push(&**name),
            HostPattern::Suffix(suffix) => suffixes.push(&**suffix),
            HostPattern::Network(network) => networks.push(network),
        }
    }
    // `null` matches every host. If a route has hosts, but none of one kind, the list of that kind
    // is empty and matches none.
    script.push_str("  [");
    if hosts.is_empty() {
        script.push_str("null, null, null");
    } else {
        list(script, names, text);
        script.push_str(", ");
        list(script, suffixes, |script, suffix| text(script, &format!(".{suffix}")));
        script.push_str(", ");
        list(script, networks, groups);
    }
    script.push_str(", ");
    match ports {
        [] => script.push_str("null"),
        ports => list(script, ports, |script, port| text(script, &port.to_string())),
    }
    let _ = write!(script, ", {is_direct}]");
}

fn list<T>(
    script: &mut String,
    items: impl IntoIterator<Item = T>,
    write: impl Fn(&mut String, T),
) {
    script.push('[');
    for (position, item) in items.into_iter().enumerate() {
        if position > 0 {
            script.push_str(", ");
        }
        write(script, item);
    }
    script.push(']');
}

/// Writes a network as the length of its prefix and its groups of 16 bits.
fn groups(script: &mut String, network: &IpNet) {
    let octets = match network.network() {
        std::net::IpAddr::V4(address) => address.octets().to_vec(),
        std::net::IpAddr::V6(address) => address.octets().to_vec(),
    };
    let _ = write!(script, "[{}", network.prefix_len());
    // The bit operators of JavaScript work on 32 bits with a sign, which groups of 16 bits never
    // reach.
    for group in octets.chunks(2) {
        let group = group.iter().fold(0, |group, octet| group << 8 | u32::from(*octet));
        let _ = write!(script, ", {group}");
    }
    script.push(']');
}

/// Writes a string literal. Only characters that have no meaning in any script or page are written as they are.
fn text(script: &mut String, value: &str) {
    script.push('"');
    for unit in value.encode_utf16() {
        match u8::try_from(unit) {
            Ok(byte) if byte.is_ascii_alphanumeric() || b" -._:[]".contains(&byte) => {
                script.push(char::from(byte));
            }
            _ => {
                let _ = write!(script, "\\u{unit:04x}");
            }
        }
    }
    script.push('"');
}

const FUNCTIONS: &str = r#"
function FindProxyForURL(url, host) {
  var parts = /^([A-Za-z][A-Za-z0-9+.\-]*):\/\/(?:[^\/?#]*@)?(?:\[[^\]]*\]|[^:\/?#]*)(?::([0-9]*))?/.exec(url);
  var scheme = parts ? parts[1].toLowerCase() : "";
  var port = parts && parts[2] ? String(parseInt(parts[2], 10)) : mooltiroutePort(scheme);
  var name = String(host).toLowerCase();
  if (name.charAt(0) == "[") { name = name.substring(1, name.length - 1); }
  if (name.charAt(name.length - 1) == ".") { name = name.substring(0, name.length - 1); }
  var address = mooltirouteAddress(name);
  for (var i = 0; i < mooltirouteRoutes.length; i++) {
    var route = mooltirouteRoutes[i];
    if (mooltirouteHasHost(route, name, address) && (route[3] == null || mooltirouteHas(route[3], port))) {
      return route[4] ? "DIRECT" : mooltirouteProxy;
    }
  }
  return mooltirouteProxy;
}

function mooltiroutePort(scheme) {
  if (scheme == "https" || scheme == "wss") { return "443"; }
  if (scheme == "ftp") { return "21"; }
  return "80";
}

function mooltirouteHas(list, value) {
  for (var i = 0; i < list.length; i++) {
    if (list[i] == value) { return true; }
  }
  return false;
}

function mooltirouteHasHost(route, name, address) {
  if (route[0] == null) { return true; }
  var i;
  if (address) {
    for (i = 0; i < route[2].length; i++) {
      if (mooltirouteIsIn(address, route[2][i])) { return true; }
    }
    return false;
  }
  if (mooltirouteHas(route[0], name)) { return true; }
  for (i = 0; i < route[1].length; i++) {
    var from = name.length - route[1][i].length;
    if (from > 0 && name.substring(from) == route[1][i]) { return true; }
  }
  return false;
}

function mooltirouteIsIn(address, network) {
  if (address.length != network.length - 1) { return false; }
  var left = network[0];
  for (var i = 0; i < address.length && left > 0; i++) {
    var unused = left >= 16 ? 0 : 16 - left;
    if (address[i] >> unused != network[i + 1] >> unused) { return false; }
    left -= 16;
  }
  return true;
}

function mooltirouteAddress(name) {
  var i;
  var octets = /^([0-9]+)\.([0-9]+)\.([0-9]+)\.([0-9]+)$/.exec(name);
  if (octets) {
    for (i = 1; i <= 4; i++) {
      if (octets[i] > 255) { return null; }
    }
    return [octets[1] * 256 + octets[2] * 1, octets[3] * 256 + octets[4] * 1];
  }
  if (name.indexOf(":") < 0) { return null; }
  var last = /^(.*:)([0-9]+\.[0-9]+\.[0-9]+\.[0-9]+)$/.exec(name);
  if (last) {
    var v4 = mooltirouteAddress(last[2]);
    if (!v4) { return null; }
    name = last[1] + v4[0].toString(16) + ":" + v4[1].toString(16);
  }
  var gap = name.indexOf("::");
  var before = (gap < 0 ? name : name.substring(0, gap)).split(":");
  var after = gap < 0 ? [] : name.substring(gap + 2).split(":");
  if (before.length == 1 && before[0] == "") { before = []; }
  if (after.length == 1 && after[0] == "") { after = []; }
  var groups = [];
  for (i = 0; i < before.length; i++) { groups[groups.length] = parseInt(before[i], 16); }
  for (i = before.length + after.length; i < 8; i++) { groups[groups.length] = 0; }
  for (i = 0; i < after.length; i++) { groups[groups.length] = parseInt(after[i], 16); }
  if (groups.length != 8) { return null; }
  for (i = 0; i < 5; i++) {
    if (groups[i] != 0) { return groups; }
  }
  return groups[5] == 65535 ? [groups[6], groups[7]] : groups;
}
"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_breaks_out_of_its_text() {
        let mut script = String::new();
        text(&mut script, "a\"b\\c</script>\u{2028}\n';💥");
        assert_eq!(
            script,
            "\"a\\u0022b\\u005cc\\u003c\\u002fscript\\u003e\\u2028\\u000a\\u0027\\u003b\\ud83d\\udca5\""
        );
    }

    #[test]
    fn the_proxy_is_named_as_the_client_named_it() {
        let local = Some("127.0.0.1:8888".parse().unwrap());
        for (host, expected) in [
            ("localhost:9", "localhost:9"),
            ("localhost", "localhost:8888"),
            ("127.0.0.1:8888", "127.0.0.1:8888"),
            ("[::1]", "[::1]:8888"),
            ("[::1]:8888", "[::1]:8888"),
            ("::1", "[::1]:8888"),
        ] {
            assert_eq!(proxy_address(host.as_bytes(), local), expected, "{host}");
        }
    }
}
