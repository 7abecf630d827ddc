//! Lists the members of pools.

use std::{
    fmt,
    io::{self, Write},
};

use serde_json::Value;

use super::{columns::write_section, list, number, word};
use crate::upstream::chain::REFUSING_MEMBER;

pub(super) fn pools(pools: &Value, out: &mut dyn Write) -> io::Result<()> {
    let mut table = MembersTable::default();
    for (name, pool) in pools.as_object().into_iter().flatten() {
        table.add(name, pool);
    }
    if table.rows.is_empty() {
        return Ok(());
    }
    write_section(&HEAD, table.rows, out)?;
    writeln!(
        out,
        "carried: connections to the member, each of which may have had many requests of its client"
    )?;
    if table.is_tried_last {
        writeln!(
            out,
            "tried last: only after the other entries of the PAC file's answer, such as `DIRECT`, or at once if it has no other"
        )?;
    }
    out_of_members(pools, out)?;
    let reasons = table.reasons;
    reasons.iter().take(REASONS_MAX).try_for_each(|reason| writeln!(out, "{reason}"))?;
    let rest = reasons.len().saturating_sub(REASONS_MAX);
    if rest > 0 {
        writeln!(
            out,
            "and {rest} more: see `pool member left` and `pool member refuses` in the log"
        )?;
    }
    if table.is_refusing { writeln!(out, "{REFUSING_MEMBER}") } else { Ok(()) }
}

/// The rows about the members of all pools, and what is written below them.
#[derive(Default)]
struct MembersTable {
    rows: Vec<Vec<String>>,
    /// The reasons why members fail or refuse requests.
    reasons: Vec<String>,
    /// Whether a member refuses one request after the other.
    is_refusing: bool,
    /// Whether a member is tried after all others that a PAC file names.
    is_tried_last: bool,
}

impl MembersTable {
    /// Adds the members of a pool. Only the first of a long list have a row each; `other` adds up the rest.
    fn add(&mut self, pool: &str, status: &Value) {
        let facts = PoolFacts {
            is_by_pac_file: status["by_pac_file"] == true,
            has_none: status["working"].as_u64() == Some(0),
        };
        for member in list(&status["shown"]) {
            self.add_member(pool, facts, member);
        }
        let other = &status["other"];
        if !other.is_null() {
            let state = format!("{} of {} work", word(&other["working"]), word(&other["members"]));
            let [reached, failed, refused] = counts(other);
            let (pool, name) = (pool.to_owned(), "other".to_owned());
            self.rows.push(vec![pool, name, state, reached, failed, refused, "-".to_owned()]);
        }
    }

    fn add_member(&mut self, pool: &str, facts: PoolFacts, member: &Value) {
        let state = MemberState::of(member, facts);
        self.is_tried_last |= matches!(state, MemberState::TriedLast(_));
        let name = match member["hop"].is_string() {
            true => format!("{} ({})", word(&member["name"]), word(&member["hop"])),
            false => word(&member["name"]),
        };
        if member["problem"].is_string() {
            let is = if facts.has_none || facts.is_by_pac_file { "failed" } else { "is left out" };
            self.reasons.push(format!("{pool}.{name} {is}: {}", word(&member["problem"])));
        }
        let in_a_row = number(&member["refused_in_a_row"]);
        // Rejected credentials are a problem of the member, and no target can be why.
        let is_held_back = member["held_back_seconds"].is_u64();
        if member["refusal"].is_string() && in_a_row >= REFUSALS_IN_A_ROW && !is_held_back {
            self.is_refusing = true;
            let refusal = word(&member["refusal"]);
            let reason = format!("{pool}.{name} refused the last {in_a_row} requests: {refusal}");
            self.reasons.push(reason);
        }
        let [reached, failed, refused] = counts(member);
        let address = member["address"].as_str().map_or("-".into(), |_| word(&member["address"]));
        let pool = pool.to_owned();
        self.rows.push(vec![pool, name, state.to_string(), reached, failed, refused, address]);
    }
}

/// The facts about a pool that decide what becomes of a member that fails.
#[derive(Clone, Copy)]
struct PoolFacts {
    /// Whether a PAC file names the members that a request may take.
    is_by_pac_file: bool,
    /// Whether no member works.
    has_none: bool,
}

/// The state of a member, with the seconds or the time that it lasts.
enum MemberState {
    Works,
    /// It is in use, and has refused so many requests in a row.
    Refuses(u64),
    AskedToWait(String),
    HeldBack(u64),
    TriedLast(f64),
    LeftOut(f64),
    TriedAnyway,
    TriedNext,
}

impl MemberState {
    fn of(member: &Value, facts: PoolFacts) -> Self {
        let Some(seconds) = member["retry_seconds"].as_f64() else {
            return match number(&member["refused_in_a_row"]) {
                in_a_row if in_a_row < REFUSALS_IN_A_ROW => Self::Works,
                in_a_row => Self::Refuses(in_a_row),
            };
        };
        if member["asked_until"].is_string() {
            return Self::AskedToWait(word(&member["asked_until"]));
        }
        if member["held_back_seconds"].is_u64() {
            return Self::HeldBack(number(&member["held_back_seconds"]));
        }
        // A member that is left out is tried by the next connection once its pause is over, so the pause may be
        // zero.
        match facts {
            PoolFacts { is_by_pac_file: true, .. } if seconds > 0.0 => Self::TriedLast(seconds),
            PoolFacts { has_none: true, .. } => Self::TriedAnyway,
            _ if seconds > 0.0 => Self::LeftOut(seconds),
            _ => Self::TriedNext,
        }
    }
}

impl fmt::Display for MemberState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Works => write!(f, "works"),
            Self::Refuses(in_a_row) => write!(f, "in use, refused the last {in_a_row}"),
            Self::AskedToWait(until) => {
                write!(f, "left out until {} UTC, as it asked", time_of(until))
            }
            Self::HeldBack(seconds) => {
                write!(f, "credentials rejected, held back for {seconds} s")
            }
            Self::TriedLast(seconds) => write!(f, "failed, tried last for {seconds:.0} s"),
            Self::LeftOut(seconds) => write!(f, "left out, tried again in {seconds:.0} s"),
            Self::TriedAnyway => write!(f, "failed, tried anyway"),
            Self::TriedNext => write!(f, "left out, tried again next"),
        }
    }
}

/// Returns the counts of connections of a member, or of the others added up.
fn counts(of: &Value) -> [String; 3] {
    ["reached", "failed", "refused"].map(|key| number(&of[key]).to_string())
}

/// Describes how requests go on in pools without a member that works.
fn out_of_members(pools: &Value, out: &mut dyn Write) -> io::Result<()> {
    for (name, pool) in pools.as_object().into_iter().flatten() {
        let [members, working, asked] =
            ["members", "working", "asked_to_wait"].map(|key| number(&pool[key]));
        // Another version of the proxy may not report all of them.
        let is_by_pac_file = pool["by_pac_file"] == true;
        if members == 0 || working > 0 || !pool["working"].is_u64() || is_by_pac_file {
            continue;
        }
        let held_back =
            list(&pool["shown"]).iter().filter(|member| member["held_back_seconds"].is_u64());
        if held_back.count() as u64 == members {
            writeln!(
                out,
                "no member of {name} works: until rejected credentials may be sent again, requests are refused. Correct them; an \
                 edit ends the wait"
            )?;
            continue;
        }
        let left = match members - asked.min(members) {
            0 => {
                writeln!(
                    out,
                    "no member of {name} works, and all asked to wait: requests are refused at once until the first may be asked"
                )?;
                continue;
            }
            1 if members == 1 => "it".to_owned(),
            left if left > TRIED_MAX => format!("{TRIED_MAX} of them"),
            left if left < members => format!("the {left} that did not ask to wait"),
            _ => "all of them".to_owned(),
        };
        writeln!(out, "no member of {name} works, so each request tries {left}")?;
    }
    Ok(())
}

/// Returns the time of day of a time stamp such as `2026-11-22T20:11:02Z`.
fn time_of(stamp: &str) -> &str {
    let time = stamp.split_once('T').map_or(stamp, |(_, time)| time);
    time.trim_end_matches('Z')
}

const HEAD: [&str; 7] = ["pool", "member", "state", "carried", "failed", "refused", "address"];

/// The number of refusals in a row from which they are shown.
const REFUSALS_IN_A_ROW: u64 = 3;

/// The most members of pools whose failures are listed. All members of a long list may fail at once.
const REASONS_MAX: usize = 10;

/// The most members that one request tries: the first one, and those of its detours.
const TRIED_MAX: u64 = 33;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_member_is_shown_as_left_out_only_if_others_are_taken_in_its_place() {
        let told = |working: u64, by_pac_file: bool| {
            let member = json!({ "name": "corporate", "working": false, "retry_seconds": 4.2,
                                 "problem": "connection refused" });
            let pool = json!({ "members": working + 1, "working": working, "asked_to_wait": 0,
                               "by_pac_file": by_pac_file, "shown": [member] });
            let mut out = Vec::new();
            pools(&json!({ "office": pool }), &mut out).unwrap();
            String::from_utf8(out).unwrap()
        };
        let (some, none, file) = (told(1, false), told(0, false), told(0, true));
        assert!(some.contains("left out, tried again in 4 s"), "{some}");
        assert!(some.contains("office.corporate is left out: "), "{some}");
        assert!(none.contains("failed, tried anyway"), "{none}");
        assert!(none.contains("no member of office works, so each request tries it"), "{none}");
        assert!(file.contains("failed, tried last for 4 s"), "{file}");
        assert!(
            file.contains("tried last: only after the other entries of the PAC file's answer"),
            "{file}"
        );
        for told in [none, file.clone()] {
            assert!(told.contains("office.corporate failed: connection refused"), "{told}");
            assert!(!told.contains("left out"), "{told}");
        }
        assert!(!file.contains("each request tries it"), "the file may say DIRECT: {file}");
    }

    #[test]
    fn rejected_credentials_are_no_fault_of_the_targets() {
        let member = json!({ "name": "line 1", "working": false, "retry_seconds": 29.0, "held_back_seconds": 29,
                             "problem": "it answered 407", "refusal": "it answered 407", "refused_in_a_row": 3 });
        let pool = json!({ "members": 1, "working": 0, "asked_to_wait": 0, "shown": [member] });
        let mut out = Vec::new();
        pools(&json!({ "exits": pool }), &mut out).unwrap();
        let told = String::from_utf8(out).unwrap();
        assert!(told.contains("credentials rejected, held back for 29 s"), "{told}");
        assert!(told.contains("exits.line 1 failed: it answered 407\n"), "{told}");
        assert!(told.contains("Correct them; an edit ends the wait"), "{told}");
        for other in ["left out", "each request tries", "the targets may be why"] {
            assert!(!told.contains(other), "{other}: {told}");
        }
    }

    #[test]
    fn a_pool_without_a_working_member_says_what_its_requests_do() {
        let told = |members: u64, working: u64, asked: u64| {
            let pool = json!({ "members": members, "working": working, "asked_to_wait": asked });
            let mut out = Vec::new();
            out_of_members(&json!({ "exits": pool }), &mut out).unwrap();
            String::from_utf8(out).unwrap()
        };
        assert_eq!(told(3, 1, 2), "");
        let tries =
            |what: &str| format!("no member of exits works, so each request tries {what}\n");
        assert_eq!(told(3, 0, 0), tries("all of them"));
        assert_eq!(told(1, 0, 0), tries("it"));
        assert_eq!(told(3, 0, 2), tries("the 1 that did not ask to wait"));
        assert_eq!(told(500, 0, 2), tries("33 of them"));
        assert!(told(3, 0, 3).contains("all asked to wait: requests are refused at once"));
    }
}
