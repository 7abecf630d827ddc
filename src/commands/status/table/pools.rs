//! Lists the members of pools.

use std::io::{self, Write};

use serde_json::Value;

use super::{columns::write_section, list, number, word};
use crate::upstream::chain::REFUSING_MEMBER;

pub(super) fn pools(pools: &Value, out: &mut dyn Write) -> io::Result<()> {
    let (mut rows, mut reasons) = (Vec::new(), Vec::new());
    let (mut is_refusing, mut is_tried_last) = (false, false);
    for (name, pool) in pools.as_object().into_iter().flatten() {
        let is_by_pac_file = pool["by_pac_file"] == true;
        let has_none = pool["working"].as_u64() == Some(0);
        // Only the first members of a long list are told one by one; `other` adds the rest up.
        for member in list(&pool["shown"]) {
            // A member that is left out is tried by the next connection once its pause is over, so the pause
            // may be zero.
            let state = match member["retry_seconds"].as_f64() {
                None => match number(&member["refused_in_a_row"]) {
                    in_a_row if in_a_row < REFUSALS_IN_A_ROW => "works".to_owned(),
                    in_a_row => format!("in use, refused the last {in_a_row}"),
                },
                _ if member["asked_until"].is_string() => {
                    let until = word(&member["asked_until"]);
                    format!("left out until {} UTC, as it asked", time_of(&until))
                }
                Some(_) if member["held_back_seconds"].is_u64() => {
                    let seconds = number(&member["held_back_seconds"]);
                    format!("credentials rejected, held back for {seconds} s")
                }
                Some(seconds) if seconds > 0.0 && is_by_pac_file => {
                    is_tried_last = true;
                    format!("failed, tried last for {seconds:.0} s")
                }
                Some(seconds) if seconds > 0.0 && !has_none => {
                    format!("left out, tried again in {seconds:.0} s")
                }
                Some(_) if has_none => "failed, tried anyway".to_owned(),
                Some(_) => "left out, tried again next".to_owned(),
            };
            let [reached, failed, refused] =
                ["reached", "failed", "refused"].map(|key| number(&member[key]).to_string());
            let at = match member["hop"].is_string() {
                true => format!("{} ({})", word(&member["name"]), word(&member["hop"])),
                false => word(&member["name"]),
            };
            if member["problem"].is_string() {
                let is = if has_none || is_by_pac_file { "failed" } else { "is left out" };
                reasons.push(format!("{name}.{at} {is}: {}", word(&member["problem"])));
            }
            let in_a_row = number(&member["refused_in_a_row"]);
            // Rejected credentials are a problem of the member, and no target can be why.
            let is_held_back = member["held_back_seconds"].is_u64();
            if member["refusal"].is_string() && in_a_row >= REFUSALS_IN_A_ROW && !is_held_back {
                is_refusing = true;
                let refusal = word(&member["refusal"]);
                reasons
                    .push(format!("{name}.{at} refused the last {in_a_row} requests: {refusal}"));
            }
            let address =
                member["address"].as_str().map_or("-".into(), |_| word(&member["address"]));
            rows.push(vec![name.clone(), at, state, reached, failed, refused, address]);
        }
        let other = &pool["other"];
        if !other.is_null() {
            let state = format!("{} of {} work", word(&other["working"]), word(&other["members"]));
            let [reached, failed, refused] =
                ["reached", "failed", "refused"].map(|key| number(&other[key]).to_string());
            let counts = [reached, failed, refused, "-".into()];
            rows.push([name.clone(), "other".into(), state].into_iter().chain(counts).collect());
        }
    }
    let head = ["pool", "member", "state", "carried", "failed", "refused", "address"];
    if rows.is_empty() {
        return Ok(());
    }
    write_section(&head, rows, out)?;
    writeln!(
        out,
        "carried: connections to the member, each of which may have had many requests of its client"
    )?;
    if is_tried_last {
        writeln!(
            out,
            "tried last: after the others that the PAC file names for a request, such as `DIRECT`; at once if it names no other"
        )?;
    }
    let rest = reasons.len().saturating_sub(REASONS_MAX);
    out_of_members(pools, out)?;
    reasons.iter().take(REASONS_MAX).try_for_each(|reason| writeln!(out, "{reason}"))?;
    if rest > 0 {
        writeln!(
            out,
            "and {rest} more: see `pool member left` and `pool member refuses` in the log"
        )?;
    }
    if is_refusing { writeln!(out, "{REFUSING_MEMBER}") } else { Ok(()) }
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
        assert!(file.contains("tried last: after the others that the PAC file names"), "{file}");
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
