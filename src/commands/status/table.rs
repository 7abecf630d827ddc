//! Shows a status to people.

mod columns;
mod documents;
mod failures;
mod pools;
mod removed;

use std::{
    io::{self, Write},
    time::Duration,
};

use serde_json::Value;

pub(in crate::commands) use self::columns::write_table;
use self::{
    columns::write_section, documents::documents, failures::failures, pools::pools,
    removed::Removed,
};
use crate::{control::endpoint::NO_SOCKET_ADVICE, duration};

/// Writes the known parts of `status`. Another version of the proxy may report more or less.
pub(super) fn write(status: &Value, out: &mut dyn Write) -> io::Result<()> {
    writeln!(
        out,
        "{BOLD}mooltiroute {}{RESET}, process {}, up {}",
        word(&status["version"]),
        word(&status["pid"]),
        duration::in_words(Duration::from_secs(number(&status["uptime_seconds"]))),
    )?;
    // Everything is read by name with a default, and not into a type: the proxy may be of an earlier or later
    // version.
    let with_tls = list(&status["tls_listeners"]);
    let listener = |address: &Value| {
        let scheme = if with_tls.contains(address) { "https://" } else { "" };
        format!("{scheme}{}", word(address))
    };
    let listeners: Vec<_> = list(&status["listeners"]).iter().map(listener).collect();
    writeln!(out, "listeners    {}", listeners.join(", "))?;
    if status["control_socket_error"].is_string() {
        let error = word(&status["control_socket_error"]);
        writeln!(
            out,
            "control      {RED}no socket{RESET}: {error}; ps, top, kill and reload can't reach this proxy. To give it one: {NO_SOCKET_ADVICE}"
        )?;
    }
    writeln!(out, "config       {}", word(&status["config"]))?;
    let generation = word(&status["generation"]);
    writeln!(out, "generation   {generation}, since {}", word(&status["generation_since"]))?;
    rejected(&status["rejected"], &generation, out)?;
    for wait in list(&status["waiting_for"]) {
        writeln!(out, "{RED}waiting{RESET}      {}", word(wait))?;
    }
    went_direct(&status["went_direct"], out)?;
    switches(status, out)?;
    let reloads = &status["reloads"];
    let outcome = |name: &str| format!("{} {name}", number(&reloads[name]));
    let outcomes = ["applied", "unchanged", "rejected"].map(outcome).join(", ");
    writeln!(out, "reloads      {outcomes}")?;
    let connections = &status["connections"];
    write!(out, "connections  {} of {}", word(&connections["open"]), word(&connections["limit"]))?;
    let is_draining = status["draining"].as_bool() == Some(true);
    writeln!(out, "{}", if is_draining { ", no new ones: it is shutting down" } else { "" })?;
    if status["takes_preferences"].as_bool() == Some(true) {
        writeln!(out, "sessions     {SESSIONS}")?;
    }
    auth_refusals(&status["auth_refusals"], out)?;
    generations(&status["generations"], out)?;
    conditions(&status["conditions"], out)?;
    documents(&status["pac_files"], "is chosen by", out)?;
    documents(&status["lists"], "has its members from", out)?;
    let removed = Removed::of(status);
    counts("chain", removed.others("chains", status), out)?;
    counts("hop", removed.others("hops", status), out)?;
    if status["chains"].as_object().is_some_and(|chains| !chains.is_empty()) {
        writeln!(out, "{WHAT_COUNTS}")?;
    }
    removed.write(out)?;
    pools(&status["pools"], out)?;
    spares(removed.others_of("chains", &status["warm"]), out)?;
    budgets(&status["budgets"], out)?;
    failures(status, &removed, out)
}

/// Explains the columns of chains and hops, and names the command that counts bytes on the wire.
const WHAT_COUNTS: &str = "opened: tunnels. requests: plain http:// requests. sent and received: bytes of clients, without CONNECT, logins \
                           and TLS with hops; `mooltiroute usage` has the bytes on the wire";

/// Says how clients choose a session or a country.
const SESSIONS: &str = "a client may choose its exit by its username, as in `http://session-NAME:x@HOST:PORT` or `session-NAME,country-us`; \
                        many programs send no username without a password";

/// Lists the hops that are off, and those that an option of the command line switches on.
fn switches(status: &Value, out: &mut dyn Write) -> io::Result<()> {
    // A flag outlives every edit, so it is named.
    let off = list(&status["hops_off"]).iter().map(|hop| {
        let option = hop.as_str().and_then(|name| status["hops_switched"][name].as_str());
        option.map_or_else(|| word(hop), |option| format!("{} (by `{option}`)", word(hop)))
    });
    let off: Vec<_> = off.collect();
    if !off.is_empty() {
        writeln!(out, "hops off     {}", off.join(", "))?;
    }
    let is_off = |name: &String| list(&status["hops_off"]).iter().any(|hop| hop == name);
    let on = status["hops_switched"].as_object().into_iter().flatten();
    let on = on.filter(|(name, _)| !is_off(name));
    let on: Vec<_> = on.map(|(name, option)| format!("{name} (by `{}`)", word(option))).collect();
    if on.is_empty() { Ok(()) } else { writeln!(out, "hops on      {}", on.join(", ")) }
}

/// Lists the chains that keep spare tunnels, and how often one was there.
fn spares<'a>(
    warm: impl Iterator<Item = (&'a String, &'a Value)>,
    out: &mut dyn Write,
) -> io::Result<()> {
    let row = |(chain, counts): (&String, &Value)| {
        let counts = ["waiting", "hits", "misses", "stale"].map(|key| word(&counts[key]));
        [chain.clone()].into_iter().chain(counts).collect()
    };
    let rows: Vec<_> = warm.map(row).collect();
    let head = ["spare tunnels", "waiting", "used", "missed", "dead"];
    if rows.is_empty() { Ok(()) } else { write_section(&head, rows, out) }
}

/// Lists the budgets of hops, and says which are used up.
fn budgets(budgets: &Value, out: &mut dyn Write) -> io::Result<()> {
    let row = |(hop, budget): (&String, &Value)| {
        let share = number(&budget["used"]).saturating_mul(100) / number(&budget["bytes"]).max(1);
        let is = |key: &str| budget[key].as_bool() == Some(true);
        let state = match (is("is_reached"), is("is_warned")) {
            (true, _) => format!("used up ({share} %)"),
            (false, true) => format!("{share} %, near the limit"),
            (false, false) => format!("{share} %"),
        };
        let [used, limit] = ["used", "bytes"].map(|key| bytes(number(&budget[key])));
        let left = Duration::from_secs(number(&budget["seconds_left"]));
        let limit = format!("{limit} per {}", word(&budget["per"]));
        vec![hop.clone(), state, used, limit, duration::in_words(left), after_the_limit(budget)]
    };
    let rows: Vec<_> = budgets.as_object().into_iter().flatten().map(row).collect();
    let head = ["budget", "state", "used", "limit", "begins again in", "requests beyond it"];
    if rows.is_empty() { Ok(()) } else { write_section(&head, rows, out) }
}

/// Says what became of the requests that came after a budget was used up.
fn after_the_limit(budget: &Value) -> String {
    let (refused, rerouted) = (number(&budget["refused"]), number(&budget["rerouted"]));
    let chain = match budget["then"].is_string() {
        true => format!("took chain `{}` instead", word(&budget["then"])),
        // The budget has been edited since then.
        false => "took another chain".to_owned(),
    };
    match (refused, rerouted) {
        (0, 0) => "-".to_owned(),
        (refused, 0) => format!("{refused} turned away"),
        (0, rerouted) => format!("{rerouted} {chain}"),
        (refused, rerouted) => format!("{refused} turned away, {rerouted} {chain}"),
    }
}

fn rejected(rejected: &Value, generation: &str, out: &mut dyn Write) -> io::Result<()> {
    if rejected.is_null() {
        return Ok(());
    }
    writeln!(
        out,
        "{RED}rejected{RESET}     the files on disk since {}; generation {generation} stays in force",
        word(&rejected["at"])
    )?;
    // Near the top: until this is mended, what is on disk and what is in force differ.
    list(&rejected["problems"])
        .iter()
        .try_for_each(|problem| writeln!(out, "             {}", word(problem)))?;
    list(&rejected["notes"])
        .iter()
        .try_for_each(|note| writeln!(out, "             note: {}", word(note)))
}

/// Says which targets go direct since a reload. An edit that was cut off may be the reason.
fn went_direct(direct: &Value, out: &mut dyn Write) -> io::Result<()> {
    if direct.is_null() {
        return Ok(());
    }
    let targets: Vec<_> = list(&direct["targets"]).iter().map(word).collect();
    writeln!(
        out,
        "{RED}direct{RESET}       since {} targets that went through hops go direct: {}",
        word(&direct["at"]),
        targets.join(", ")
    )
}

/// Says how many requests `server.auth` refused, if it refused any.
fn auth_refusals(refusals: &Value, out: &mut dyn Write) -> io::Result<()> {
    let without = number(&refusals["without_credentials"]);
    let wrong = number(&refusals["with_wrong_credentials"]);
    if without + wrong == 0 {
        return Ok(());
    }
    writeln!(
        out,
        "server.auth  {RED}refused{RESET} {without} without credentials, {wrong} with wrong ones"
    )
}

fn generations(generations: &Value, out: &mut dyn Write) -> io::Result<()> {
    let row = |one: &Value| {
        ["number", "tunnels", "requests", "since"].map(|key| word(&one[key])).to_vec()
    };
    let rows = list(generations).iter().map(row).collect();
    write_section(&["generation", "tunnels", "requests", "since"], rows, out)
}

/// Lists the conditions of the network with the facts that decide them.
fn conditions(conditions: &Value, out: &mut dyn Write) -> io::Result<()> {
    for (hop, condition) in conditions.as_object().into_iter().flatten() {
        let is_on = condition["enabled"].as_bool() == Some(true);
        let (when, value) = (word(&condition["when"]), word(&condition["value"]));
        writeln!(out, "\n{hop} is {}: {when}: {value}", if is_on { "on" } else { "off" })?;
        for fact in list(&condition["facts"]) {
            let [said, value, reason] = ["fact", "value", "reason"].map(|key| word(&fact[key]));
            let age = fact["age_seconds"].as_u64().map(|age| format!(", {age} s ago"));
            writeln!(out, "  {said}: {value} ({reason}{})", age.unwrap_or_default())?;
        }
    }
    Ok(())
}

fn counts<'a>(
    noun: &str,
    counts: impl Iterator<Item = (&'a String, &'a Value)>,
    out: &mut dyn Write,
) -> io::Result<()> {
    let is_hop = noun == "hop";
    let mut head = vec![noun, "open", "opened", "requests", "failed", "sent", "received"];
    if is_hop {
        head.push("answers in");
    }
    let row = |(name, count): (&String, &Value)| {
        let mut row = vec![name.clone()];
        row.extend(
            ["tunnels_open", "tunnels_opened", "requests", "failed"].map(|key| word(&count[key])),
        );
        row.extend(["bytes_sent", "bytes_received"].map(|key| bytes(number(&count[key]))));
        if is_hop {
            // A hop that has not been used yet has no mean.
            let mean = count["handshake_seconds_mean"].as_f64();
            // No answer comes over a network in a twentieth of a millisecond: the hop was not asked for anything yet.
            let mean = mean.map(|seconds| seconds * 1e3).filter(|millis| *millis >= 0.05);
            row.push(mean.map_or("-".into(), |millis| format!("{millis:.1} ms")));
        }
        row
    };
    let rows: Vec<_> = counts.map(row).collect();
    if rows.is_empty() { Ok(()) } else { write_section(&head, rows, out) }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_default()
}

/// Returns a text without quotes, and without characters that could control a terminal.
fn word(value: &Value) -> String {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    text.chars().filter(|character| !character.is_control()).collect()
}

/// Formats a number of bytes with the largest unit that fits.
pub(in crate::commands) fn bytes(count: u64) -> String {
    if count < 1024 {
        // Most counts of a long table are small, and this takes a third of the time.
        return [itoa::Buffer::new().format(count), " B"].concat();
    }
    let units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let mut size = count as f64;
    let mut unit = 0;
    while size >= 1024.0 && unit + 1 < units.len() {
        size /= 1024.0;
        unit += 1;
    }
    format!("{size:.1} {}", units[unit])
}

const BOLD: &str = "\u{1b}[1m";
const RED: &str = "\u{1b}[1;31m";
const RESET: &str = "\u{1b}[0m";

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_status_is_a_short_aligned_table() {
        let counts = json!({
            "requests": 35, "tunnels_opened": 200, "tunnels_open": 12, "failed": 2, "bytes_sent": 1023,
            "bytes_received": 1_572_864, "handshake_seconds_mean": 0.01234,
            "failures": [{ "stage": "extend", "error": "dns_error", "count": 2 }],
        });
        let mut hop = counts.clone();
        hop["last_failure"] =
            json!({ "at": "2026-11-22T20:11:02Z", "cause": "407, credentials rejected" });
        hop["held_back_seconds"] = json!(224);
        let mut status = json!({
            "version": "1.2.3", "pid": 4242, "uptime_seconds": 11_105, "config": "config.d",
            "generation": 7, "generation_since": "2026-11-22T20:11:02Z", "draining": false,
            "rejected": { "at": "2026-11-22T21:00:00Z", "problems": ["10.yaml:3:5: hops.a: \u{1b}no"] },
            "went_direct": { "at": "2026-11-22T20:11:02Z", "targets": ["*.a.test (chain x)", "2 more"] },
            "reloads": { "applied": 6, "unchanged": 1, "rejected": 2 },
            "listeners": ["127.0.0.1:8888", "127.0.0.1:8443"], "connections": { "open": 12, "limit": 10000 },
            "auth_refusals": { "without_credentials": 3, "with_wrong_credentials": 1 },
            "generations": [{ "number": 7, "since": "2026-11-22T20:11:02Z", "tunnels": 12, "requests": 0 }],
            "chains": { "default": counts }, "hops": { "corporate": hop }, "target_failures": [],
            "hops_off": ["backup", "third"],
            "hops_switched": { "backup": "--disable", "corporate": "--enable" },
            "control_socket_error": "permission denied", "takes_preferences": true,
            "warm": { "default": { "hits": 5, "misses": 1, "stale": 2, "waiting": 3 } },
            "lists": { "exits": { "source": "exits.txt", "loaded": true, "members": 60, "members_before": 61,
                                  "loaded_at": "2026-11-22T20:11:02Z", "confirmed_at": "2026-11-22T21:11:02Z" } },
            "pools": { "exits": {
                "members": 60, "working": 58,
                "shown": [
                    { "name": "members[0]", "address": "a.test:80", "working": true, "retry_seconds": null,
                      "reached": 120, "failed": 0, "refused": 4, "refused_in_a_row": 3, "refusal": "it answered 403" },
                    { "name": "members[1]", "address": null, "working": false, "retry_seconds": 4.2,
                      "reached": 3, "failed": 17, "refused": 0, "problem": "it answered 407" },
                    { "name": "members[2]", "address": null, "working": false, "retry_seconds": 27.5,
                      "asked_until": "2026-11-22T20:11:02Z", "reached": 0, "failed": 1, "refused": 0,
                      "problem": "it answered 429" },
                ],
                "other": { "members": 58, "working": 57, "reached": 9, "failed": 1, "refused": 2 },
            } },
        });
        status["tls_listeners"] = json!(["127.0.0.1:8443"]);
        status["rejected"]["notes"] = json!(["variables are old"]);
        status["waiting_for"] = json!(["40-routes.yaml: this file is gone"]);
        status["budgets"] = json!({ "exits": { "bytes": 2048, "per": "day", "used": 3072, "seconds_left": 3600,
                                    "is_warned": true, "is_reached": true, "refused": 4, "rerouted": 2, "then": "spare" },
                         "line": { "bytes": 2048, "per": "day", "used": 1900, "seconds_left": 3600,
                                   "is_warned": true, "is_reached": false, "refused": 0 } });
        let mut out = Vec::new();
        write(&status, &mut anstream::StripStream::new(&mut out)).unwrap();
        let expected = "\
mooltiroute 1.2.3, process 4242, up 3 h 5 m 5 s
listeners    127.0.0.1:8888, https://127.0.0.1:8443
control      no socket: permission denied; ps, top, kill and reload can't reach this proxy. To give it one: ADVICE
config       config.d
generation   7, since 2026-11-22T20:11:02Z
rejected     the files on disk since 2026-11-22T21:00:00Z; generation 7 stays in force
             10.yaml:3:5: hops.a: no
             note: variables are old
waiting      40-routes.yaml: this file is gone
direct       since 2026-11-22T20:11:02Z targets that went through hops go direct: *.a.test (chain x), 2 more
hops off     backup (by `--disable`), third
hops on      corporate (by `--enable`)
reloads      6 applied, 1 unchanged, 2 rejected
connections  12 of 10000
sessions     a client may choose its exit by its username, as in `http://session-NAME:x@HOST:PORT` or `session-NAME,country-us`; many programs send no username without a password
server.auth  refused 3 without credentials, 1 with wrong ones

generation  tunnels  requests  since
7                12         0  2026-11-22T20:11:02Z

exits has its members from exits.txt, 60 proxies (61 in the list before), loaded 2026-11-22T20:11:02Z, still the same \
at 2026-11-22T21:11:02Z

chain    open  opened  requests  failed    sent  received
default    12     200        35       2  1023 B   1.5 MiB

hop        open  opened  requests  failed    sent  received  answers in
corporate    12     200        35       2  1023 B   1.5 MiB     12.3 ms
opened: tunnels. requests: plain http:// requests. sent and received: bytes of clients, without CONNECT, logins and TLS \
with hops; `mooltiroute usage` has the bytes on the wire

pool   member      state                                     carried  failed  refused  address
exits  members[0]  in use, refused the last 3                    120       0        4  a.test:80
exits  members[1]  left out, tried again in 4 s                    3      17        0  -
exits  members[2]  left out until 20:11:02 UTC, as it asked        0       1        0  -
exits  other       57 of 58 work                                   9       1        2  -
carried: connections to the member, each of which may have had many requests of its client
exits.members[0] refused the last 3 requests: it answered 403
exits.members[1] is left out: it answered 407
exits.members[2] is left out: it answered 429
A member that refuses stays in use, as the targets may be why. If it refuses all of them, look at its account, and take \
it out of the pool.

spare tunnels  waiting  used  missed  dead
default              3     5       1     2

budget  state                    used            limit  begins again in  requests beyond it
exits   used up (150 %)       3.0 KiB  2.0 KiB per day              1 h  4 turned away, 2 took chain `spare` instead
line    92 %, near the limit  1.9 KiB  2.0 KiB per day              1 h  -

failed at  times  stage   error
corporate      2  extend  dns_error
extend: asking it to connect further
corporate failed last at 2026-11-22T20:11:02Z: 407, credentials rejected; its credentials are held back for 3 m 44 s, \
so that the account is not locked
";
        let expected = expected.replace("ADVICE", NO_SOCKET_ADVICE);
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn a_budget_says_what_became_of_the_requests_beyond_it() {
        let told = |refused: u64, rerouted: u64, then: Value| {
            after_the_limit(&json!({ "refused": refused, "rerouted": rerouted, "then": then }))
        };
        assert_eq!(told(0, 0, Value::Null), "-");
        assert_eq!(told(2, 0, Value::Null), "2 turned away");
        assert_eq!(told(0, 5, json!("direct")), "5 took chain `direct` instead");
        assert_eq!(told(0, 5, Value::Null), "5 took another chain");
    }
}
