//! Turns the answer of a PAC file into the hops that a request may take.

use std::sync::Arc;

use mooltiroute_pac::PacError;

use super::{
    PacMember,
    answer::{self, Entry, EntryProtocol, shown},
    config::Otherwise,
    failure::{Failure, OFF, in_words, is_final},
    pattern::EntryPattern,
};
use crate::{Authority, Decision};

/// How the entries of a list are read.
#[derive(Debug)]
pub(super) struct Rules {
    /// Patterns as written and as read, with the index of the member that they lead to.
    pub(super) patterns: Vec<(Box<str>, EntryPattern, usize)>,
    /// The member that takes an entry which no pattern matches. Without one, that is refused.
    pub(super) unknown: Option<usize>,
    pub(super) otherwise: Otherwise,
    pub(super) via: Box<str>,
}

/// The ways that one answer allows, in their order.
#[derive(Debug)]
pub(super) struct PacPlan {
    /// The answer of the script, shortened for logs.
    pub(super) answer: Box<str>,
    candidates: Vec<Candidate>,
    /// The hops that the answer names and that are switched off.
    pub(super) off: Box<[Arc<str>]>,
}

/// One way of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Candidate {
    /// The hop is left out. It is `otherwise` if the script gave no list.
    Direct { otherwise: bool },
    /// A member takes the request, because of this entry.
    Member { index: usize, protocol: EntryProtocol, entry: Authority },
    /// The request is refused, because of this entry. The pattern, if there is one, has its host and another port.
    Refuse { entry: Authority, other_port: Option<Box<str>> },
}

/// The plan for a request, or why there is none.
pub(super) type Verdict = Result<Arc<PacPlan>, Arc<Failure>>;

impl PacPlan {
    pub(super) fn candidates(&self) -> impl ExactSizeIterator<Item = &Candidate> + Clone {
        self.candidates.iter()
    }
}

impl Candidate {
    /// Returns the index of the member, if one takes the request.
    pub(super) fn member(&self) -> Option<usize> {
        match self {
            Self::Member { index, .. } => Some(*index),
            Self::Direct { .. } | Self::Refuse { .. } => None,
        }
    }
}

impl Rules {
    /// Turns the answer of a script into a plan.
    ///
    /// An entry whose hop is switched off is skipped. An entry that matches no pattern ends the list: the entries
    /// after it are for the case that its proxy fails, and that can't be known.
    pub(super) fn plan(&self, text: &str, members: &[PacMember]) -> Verdict {
        let entries = match answer::parse(text) {
            Ok(entries) => entries,
            Err(no_list) => return self.fall_through(text, Failure::no_list(&no_list, text)),
        };
        let mut candidates: Vec<Candidate> = Vec::with_capacity(entries.len());
        let mut off: Vec<Arc<str>> = Vec::new();
        for entry in entries {
            let candidate = match entry {
                Entry::Direct => Candidate::Direct { otherwise: false },
                Entry::Proxy(protocol, entry) => match self.member(&entry) {
                    None => {
                        let mut patterns = self.patterns.iter();
                        let other_port = patterns.find(|(_, one, _)| one.matches_host(&entry));
                        let other_port = other_port.map(|(text, ..)| text.clone());
                        candidates.push(Candidate::Refuse { entry, other_port });
                        break;
                    }
                    Some(index) if members.get(index).is_none_or(|one| one.hop.is_none()) => {
                        let name = members.get(index).map(|one| &one.name);
                        off.extend(name.filter(|name| !off.contains(name)).cloned());
                        continue;
                    }
                    Some(index) => Candidate::Member { index, protocol, entry },
                },
            };
            // Several entries may stand for one hop, which is tried once.
            let is_known = |known: &Candidate| match (known.member(), candidate.member()) {
                (Some(known), Some(index)) => known == index,
                _ => *known == candidate,
            };
            if !candidates.iter().any(is_known) {
                candidates.push(candidate);
            }
        }
        if candidates.is_empty() {
            return Err(Arc::new(Failure::all_off(text, &off)));
        }
        Ok(Arc::new(PacPlan { answer: shown(text).into(), candidates, off: off.into() }))
    }

    /// Returns the verdict after a failed call: to go direct, if `otherwise` allows that after this error.
    pub(super) fn failed(&self, error: &PacError) -> Verdict {
        let failure = Failure::script(error);
        if is_final(error) { self.fall_through("", failure) } else { Err(Arc::new(failure)) }
    }

    fn fall_through(&self, text: &str, failure: Failure) -> Verdict {
        match self.otherwise {
            Otherwise::Refuse => Err(Arc::new(failure)),
            Otherwise::Direct => {
                let candidates = vec![Candidate::Direct { otherwise: true }];
                let off = Box::default();
                Ok(Arc::new(PacPlan { answer: shown(text).into(), candidates, off }))
            }
        }
    }

    /// Returns the member that `entry` stands for.
    fn member(&self, entry: &Authority) -> Option<usize> {
        self.matching(entry).map(|(_, _, index)| *index).or(self.unknown)
    }

    /// Returns the first pattern that matches `entry`.
    fn matching(&self, entry: &Authority) -> Option<&(Box<str>, EntryPattern, usize)> {
        self.patterns.iter().find(|(_, pattern, _)| pattern.matches(entry))
    }

    /// Says in words what the first candidate of `plan` is, and why.
    pub(super) fn explain(&self, plan: &PacPlan, members: &[PacMember]) -> (Decision, String) {
        let (decision, why) = self.explain_candidate(plan.candidates.first(), members);
        match &*plan.off {
            [] => (decision, why),
            off => (decision, format!("{why}; the file names {} too, {OFF}", in_words(off))),
        }
    }

    fn explain_candidate(
        &self,
        candidate: Option<&Candidate>,
        members: &[PacMember],
    ) -> (Decision, String) {
        match candidate {
            Some(Candidate::Direct { otherwise: true }) => {
                (Decision::LeftOut, "it gave no list, and `otherwise` is `direct`".into())
            }
            Some(Candidate::Direct { .. }) => (Decision::LeftOut, "`DIRECT`".into()),
            Some(Candidate::Member { index, protocol, entry }) => {
                let member = members.get(*index);
                let name = member.map_or("".into(), |member| Arc::clone(&member.name));
                let difference = member.and_then(|member| difference(member, *protocol, entry));
                let why = match self.matching(entry) {
                    Some((text, ..)) => format!("`{entry}` matches `{text}`"),
                    None => format!("`{entry}` matches no pattern, and `unknown` is `{name}`"),
                };
                (Decision::Hop(name), why + &difference.unwrap_or_default())
            }
            Some(Candidate::Refuse { entry, other_port }) => {
                let note = with_other_port(other_port.as_deref());
                (Decision::Refused, format!("`{entry}` matches no pattern of `hops`{note}"))
            }
            None => (Decision::Refused, "nothing is left to try".into()),
        }
    }

    /// Describes the rules, a line each. `is_fetched` says that the file is at a URL.
    pub(super) fn terms(&self, members: &[PacMember], is_fetched: bool) -> Vec<String> {
        let unknown = match self.unknown.and_then(|index| members.get(index)) {
            None => "a proxy that matches no pattern is refused".to_owned(),
            Some(PacMember { name, .. }) => {
                format!("a proxy that matches no pattern is taken for {name}: `unknown: {name}`")
            }
        };
        let otherwise = match self.otherwise {
            Otherwise::Refuse => "a request for which it fails or returns no list is refused",
            Otherwise::Direct => {
                "a request for which it fails or returns no list goes round this hop: `otherwise: direct`"
            }
        };
        let mut terms = vec![unknown, otherwise.to_owned()];
        if is_fetched && self.otherwise == Otherwise::Direct {
            terms.push(FETCHED_FIRST.to_owned());
        }
        terms
    }
}

/// Says how the hop `member` differs from the entry that stands for it, if it is at the same host. The hop counts, but an entry with
/// another port or protocol may have been meant for another one.
fn difference(member: &PacMember, protocol: EntryProtocol, entry: &Authority) -> Option<String> {
    let description = member.hop.as_ref()?.describe();
    let (scheme, address) = (description.scheme?, description.address?);
    let is_same_host = address.to_lower().host() == entry.host();
    if !is_same_host || (protocol.is_of(scheme) && address.port() == entry.port()) {
        return None;
    }
    let meant = protocol.in_words();
    Some(format!(
        "; it means {meant} at `{entry}`, but the hop is `{scheme}://{address}`, and that counts"
    ))
}

/// Notes that the pattern `text` has another port than the entry that matches none.
pub(super) fn with_other_port(text: Option<&str>) -> String {
    text.map(|text| format!(", since `{text}` has another port")).unwrap_or_default()
}

const FETCHED_FIRST: &str = "while it can't be fetched, and there is no earlier copy, requests are refused anyway; \
                             `enabled: { when: … }` switches this hop off outside of the company's network";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remote::{LoadCause, LoadProblem};

    fn members() -> Vec<PacMember> {
        let hop = Arc::new(crate::kinds::pac::tests::Fixed("a.example:1".parse().unwrap()));
        let on = |name: &str| PacMember::new(name.into(), Some(Arc::clone(&hop) as _));
        vec![on("one"), on("two"), PacMember::new("off".into(), None)]
    }

    fn rules(unknown: Option<usize>, otherwise: Otherwise) -> Rules {
        let pattern = |text: &str, index| (text.into(), EntryPattern::parse(text).unwrap(), index);
        let patterns = vec![pattern("one*", 0), pattern("two", 1), pattern("off", 2)];
        Rules { patterns, unknown, otherwise, via: "direct".into() }
    }

    fn shown_plan(rules: &Rules, text: &str) -> String {
        match rules.plan(text, &members()) {
            Ok(plan) => {
                let shown = plan.candidates().map(|candidate| match candidate {
                    Candidate::Direct { otherwise } => format!("direct {otherwise}"),
                    Candidate::Member { index, entry, .. } => format!("{index} {entry}"),
                    Candidate::Refuse { entry, .. } => format!("refuse {entry}"),
                });
                shown.collect::<Vec<_>>().join(", ")
            }
            Err(failure) => failure.summary.clone(),
        }
    }

    #[test]
    fn entries_become_ways_in_their_order() {
        let rules = rules(None, Otherwise::Refuse);
        for (text, expected) in [
            ("PROXY one1:1; PROXY two:2; DIRECT", "0 one1:1, 1 two:2, direct false"),
            ("PROXY one1:1; PROXY one2:1; PROXY one1:2", "0 one1:1"),
            ("DIRECT; DIRECT; PROXY two", "direct false, 1 two:80"),
            ("PROXY off:1; PROXY two:2", "1 two:2"),
            ("PROXY off:1; DIRECT", "direct false"),
            ("PROXY off:1", "the PAC file's choice is off: off"),
            ("PROXY two:2; PROXY x:1; DIRECT", "1 two:2, refuse x:1"),
            ("PROXY x:1", "refuse x:1"),
            ("", "the PAC file gave no list of proxies"),
            ("two:2", "the PAC file gave no list of proxies"),
        ] {
            assert_eq!(shown_plan(&rules, text), expected, "{text}");
        }
    }

    #[test]
    fn a_hop_that_is_off_is_named_beside_the_entry_that_is_refused() {
        let rules = rules(None, Otherwise::Refuse);
        let plan = rules.plan("PROXY off:1; PROXY off:1; PROXY x:1", &members()).unwrap();
        let failure = Failure::unknown_entry(&"x:1".parse().unwrap(), None, &plan);
        assert_eq!(
            failure.details,
            "the PAC file chose `x:1`, which matches no pattern of `hops`; it also names `off`, which is switched off"
        );
        assert!(failure.advice.starts_with("Switch `off` on"), "{}", failure.advice);
        let (_, why) = rules.explain(&plan, &members());
        assert_eq!(
            why,
            "`x:1` matches no pattern of `hops`; the file names `off` too, which is switched off"
        );
        let plan = rules.plan("PROXY x:1", &members()).unwrap();
        let failure = Failure::unknown_entry(&"x:1".parse().unwrap(), None, &plan);
        assert!(!failure.details.contains("off") && failure.advice.starts_with("Add"));
    }

    #[test]
    fn an_entry_that_differs_from_its_hop_by_port_or_protocol_is_explained() {
        let rules = rules(None, Otherwise::Refuse);
        let hop = Arc::new(crate::kinds::pac::tests::Fixed("One.example:3128".parse().unwrap()));
        let members = vec![PacMember::new("one".into(), Some(hop as _))];
        let explained = |text: &str| {
            let plan = rules.plan(text, &members).unwrap();
            rules.explain(&plan, &members).1
        };
        let same = "`one.example:3128` matches `one*`";
        assert_eq!(explained("PROXY one.example:3128"), same);
        assert_eq!(explained("HTTP ONE.example:3128"), same);
        for (entry, shown) in [
            ("HTTPS one.example:3128", "an HTTPS proxy at `one.example:3128`"),
            ("SOCKS5 one.example:3128", "a SOCKS proxy at `one.example:3128`"),
            ("PROXY one.example", "an HTTP proxy at `one.example:80`"),
        ] {
            let told = explained(entry);
            let end = format!(
                "; it means {shown}, but the hop is `http://One.example:3128`, and that counts"
            );
            assert!(told.ends_with(&end), "{told}");
        }
        // A pattern is the way to have one hop stand for proxies of other names.
        assert_eq!(explained("SOCKS one1:1"), "`one1:1` matches `one*`");
    }

    #[test]
    fn a_pattern_with_another_port_is_named_if_an_entry_is_refused() {
        let one = EntryPattern::parse("one*:3128").unwrap();
        let patterns = vec![("one*:3128".into(), one, 0)];
        let rules = Rules { patterns, ..rules(None, Otherwise::Refuse) };
        let plan = rules.plan("PROXY one1:8080", &members()).unwrap();
        let (_, why) = rules.explain(&plan, &members());
        let expected =
            "`one1:8080` matches no pattern of `hops`, since `one*:3128` has another port";
        assert_eq!(why, expected);
        let Some(Candidate::Refuse { entry, other_port }) = plan.candidates().next() else {
            panic!("it is refused")
        };
        let failure = Failure::unknown_entry(entry, other_port.as_deref(), &plan);
        assert!(failure.details.ends_with(expected.split_once(' ').unwrap().1), "{failure:?}");
        let plan = rules.plan("PROXY two:3128", &members()).unwrap();
        assert!(!rules.explain(&plan, &members()).1.contains("port"));
    }

    #[test]
    fn unknown_entries_and_missing_lists_go_where_the_operator_says() {
        let rules = rules(Some(1), Otherwise::Direct);
        assert_eq!(shown_plan(&rules, "PROXY x:1; DIRECT"), "1 x:1, direct false");
        assert_eq!(shown_plan(&rules, "nonsense"), "direct true");
        assert!(rules.failed(&PacError::NotText("null")).is_ok());
        assert!(rules.failed(&PacError::Stuck).is_err(), "it may have an answer");
        assert!(rules.failed(&PacError::TooSlow(std::time::Duration::ZERO)).is_err());
    }

    #[test]
    fn going_direct_is_advised_only_if_it_would_help() {
        let refusing = rules(None, Otherwise::Refuse);
        let direct = rules(None, Otherwise::Direct);
        let time = std::time::Duration::ZERO;
        for error in [
            PacError::NotText("null"),
            PacError::NoFunction,
            PacError::TooSlow(time),
            PacError::TooLong(1),
            PacError::Exhausted,
            PacError::Stuck,
            PacError::HeldUp,
            PacError::Busy,
            PacError::NoThread("no".into()),
        ] {
            let advice = &refusing.failed(&error).unwrap_err().advice;
            let is_advised = advice.contains("`otherwise: direct`");
            assert_eq!(is_advised, direct.failed(&error).is_ok(), "{error}");
        }
        assert!(!Failure::too_many_names(20).advice.contains("otherwise"));
        let problem = LoadProblem { words: "no".into(), cause: LoadCause::Unreachable };
        let unfetched = || Failure::not_loaded("http://a.example/", &problem, time);
        let advice = unfetched().despite(Otherwise::Direct).advice;
        assert!(advice.contains("not for a file that can't be fetched"), "{advice}");
        assert!(advice.contains("`enabled: { when: … }`"), "{advice}");
        assert_eq!(unfetched().despite(Otherwise::Refuse), unfetched());
    }
}
