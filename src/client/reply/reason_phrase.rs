//! The reason phrase of a status line, which is all that most clients show of a refused CONNECT.

use std::{fmt::Write as _, sync::Arc};

use crate::upstream::chain::FailedMembers;

/// Returns the reason phrase of a status line: the standard one, and `summary` in parentheses.
///
/// Most clients show nothing else of a refused CONNECT. Hops choose part of the summary, so it is reduced to printable
/// ASCII without parentheses of its own, and cut at [`REASON_PHRASE_MAX`].
pub(super) fn reason_phrase(status: u16, summary: Option<&str>) -> String {
    let mut phrase = standard_phrase(status).to_owned();
    let Some(summary) = summary else { return phrase };
    // Anything but printable ASCII could end the line, or be read in another encoding. Parentheses
    // become brackets, so that one pair encloses the summary.
    let clean: String = summary
        .chars()
        .map(|character| match character {
            '(' => '[',
            ')' => ']',
            ' '..='~' => character,
            _ => '?',
        })
        .collect();
    let room = room_beside(&phrase);
    let clean = clean.trim();
    if clean.len() <= room {
        let _ = write!(phrase, " ({clean})");
    } else {
        // Only ASCII is left, so the cut never falls within a character.
        let kept = &clean[..room.saturating_sub(ELLIPSIS.len())];
        let _ = write!(phrase, " ({}{ELLIPSIS})", kept.trim_end());
    }
    phrase
}

/// Returns how many characters a summary may have beside the standard reason phrase `phrase`.
pub(super) fn room_beside(phrase: &str) -> usize {
    REASON_PHRASE_MAX.saturating_sub(phrase.len() + " ()".len())
}

/// The parts of a summary of a chain's failure.
#[derive(Clone, Copy)]
pub(super) struct Summary<'a> {
    /// The members that failed, if it is a pool's failure.
    pub(super) failed_members: Option<&'a FailedMembers>,
    /// The name of the hop or of the target.
    pub(super) name: &'a str,
    /// The cause in a few words.
    pub(super) cause: &'a str,
    /// The hops that are switched off, if that is why the target was asked itself.
    pub(super) switched_off: &'a [Arc<str>],
}

impl Summary<'_> {
    /// Returns the summary in at most `room` characters as far as that is possible. The name is shortened rather than the
    /// cause, since the paragraph and the log have both.
    pub(super) fn within(self, room: usize) -> String {
        let Self { failed_members, name, cause, switched_off } = self;
        let off: Vec<&str> = switched_off.iter().map(|name| &**name).collect();
        let off = match off.is_empty() {
            true => String::new(),
            false => format!("; off: {}", off.join(", ")),
        };
        let (mut forms, mut of_members) = (Vec::new(), String::new());
        if let Some(failed) = failed_members {
            // The last member's words say nothing of the others if those failed in other ways.
            if let Some(brief) = failed.failures_in_brief() {
                return Summary { failed_members: None, name: &failed.hop, cause: &brief, ..self }
                    .within(room);
            }
            forms.push(format!("{}: {} failed; {name}: {cause}", failed.hop, failed.in_words()));
            of_members = format!("last of {} to fail, ", failed.members.len());
        }
        forms.push(format!("{of_members}{name}: {cause}{off}"));
        let fits = |form: &&String| form.chars().count() <= room;
        if let Some(form) = forms.iter().find(fits) {
            return form.clone();
        }
        let rest = format!(": {cause}{off}");
        // The number of members goes before a part of the cause does.
        if room
            < of_members.chars().count() + NAME_MIN.min(name.chars().count()) + rest.chars().count()
        {
            of_members.clear();
        }
        let left = room.saturating_sub(of_members.chars().count() + rest.chars().count());
        let kept = left.max(NAME_MIN).saturating_sub(ELLIPSIS.len());
        match name.char_indices().nth(kept + ELLIPSIS.len()) {
            None => format!("{of_members}{name}{rest}"),
            Some(_) => {
                let short: String = name.chars().take(kept).collect();
                format!("{of_members}{short}{ELLIPSIS}{rest}")
            }
        }
    }
}

/// The fewest characters of a name that a summary keeps.
const NAME_MIN: usize = 16;
/// The most characters of a reason phrase.
const REASON_PHRASE_MAX: usize = 80;
const ELLIPSIS: &str = "...";

/// Returns whether an error's status is in the registry of RFC 9110 §16.2, so that its meaning does not depend on the
/// server. 418 is reserved there.
pub(crate) fn is_registered(status: u16) -> bool {
    matches!(status, 400..=418 | 421..=426 | 428 | 429 | 431 | 451 | 500..=508 | 510 | 511)
}

/// Returns the reason phrase that the status has in RFC 9110 §15 (429, 511: RFC 6585; 508: RFC 5842 §7.2).
pub(super) fn standard_phrase(status: u16) -> &'static str {
    match status {
        400 => "Bad Request",
        401 => "Unauthorized",
        402 => "Payment Required",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        407 => "Proxy Authentication Required",
        408 => "Request Timeout",
        414 => "URI Too Long",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        508 => "Loop Detected",
        511 => "Network Authentication Required",
        _ => "Error",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::chain::{FailedMember, MemberFailure};

    #[track_caller]
    fn check(status: u16, summary: &str, expected: &str) {
        let phrase = reason_phrase(status, Some(summary));
        assert_eq!(phrase, expected);
        assert!(phrase.len() <= REASON_PHRASE_MAX, "{phrase}");
    }

    #[test]
    fn a_reason_phrase_names_the_hop_and_the_cause() {
        check(502, "corporate: 403 Forbidden", "Bad Gateway (corporate: 403 Forbidden)");
        check(
            504,
            "webshare: no answer to CONNECT",
            "Gateway Timeout (webshare: no answer to CONNECT)",
        );
        assert_eq!(reason_phrase(407, None), "Proxy Authentication Required");
    }

    #[test]
    fn a_reason_phrase_is_printable_ascii_in_one_pair_of_parentheses() {
        check(502, "a: 403 (x) OK)\r\nA: b", "Bad Gateway (a: 403 [x] OK]??A: b)");
        check(502, "größe: \u{1b}[2J\0", "Bad Gateway (gr??e: ?[2J?)");
    }

    #[test]
    fn a_summary_that_is_too_long_keeps_the_cause() {
        let member = |failure| FailedMember { name: "members[0]".into(), failure, wait: None };
        let of = |failures: [MemberFailure; 3]| {
            let members = failures.into_iter().map(member).collect();
            FailedMembers { hop: "exits".into(), members, are_all: true }
        };
        let failed = of([MemberFailure::Answered(407); 3]);
        let summary = |failed_members, name, off: &[&str], room| {
            let off: Vec<Arc<str>> = off.iter().map(|&name| name.into()).collect();
            let cause = "407, credentials rejected";
            Summary { failed_members, name, cause, switched_off: &off }.within(room)
        };
        let name = "exits.members[2]";
        assert_eq!(
            summary(Some(&failed), name, &[], 90),
            "exits: all 3 members failed; exits.members[2]: 407, credentials rejected"
        );
        assert_eq!(
            summary(Some(&failed), name, &[], 66),
            "last of 3 to fail, exits.members[2]: 407, credentials rejected"
        );
        let mixed = of([
            MemberFailure::ConnectionRefused,
            MemberFailure::Answered(407),
            MemberFailure::ConnectionRefused,
        ]);
        assert_eq!(summary(Some(&mixed), name, &[], 66), "exits: 2 refused, 1 answered 407");
        let cause = "407, offers NTLM, Negotiate, Digest and Other";
        let parts = Summary { failed_members: Some(&failed), name, cause, switched_off: &[] };
        assert_eq!(parts.within(66), format!("{name}: {cause}"));
        let long = "a-proxy-of-the-department-with-a-very-long-name";
        assert_eq!(
            summary(None, long, &[], 66),
            "a-proxy-of-the-department-with-a-ver...: 407, credentials rejected"
        );
        assert_eq!(
            summary(None, "a.test:80", &["corp"], 66),
            "a.test:80: 407, credentials rejected; off: corp"
        );
        assert_eq!(summary(None, long, &[], 10), "a-proxy-of-th...: 407, credentials rejected");
    }

    #[test]
    fn a_long_reason_phrase_is_cut() {
        for length in 0..200 {
            let phrase = reason_phrase(431, Some(&"é".repeat(length)));
            assert!(phrase.len() <= REASON_PHRASE_MAX && phrase.ends_with(')'), "{phrase}");
        }
        let phrase = reason_phrase(502, Some(&"a".repeat(200)));
        assert_eq!(phrase.len(), REASON_PHRASE_MAX);
        assert!(phrase.ends_with("a...)"), "{phrase}");
    }
}
