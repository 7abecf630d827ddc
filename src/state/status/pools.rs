//! The hops that choose among several members, and how each member does.

use std::{collections::BTreeMap, time::SystemTime};

use mooltiroute_hops::{Hop, MemberLedger, MemberStatus};
use serde::Serialize;

use crate::{state::generation::Generation, timestamp::rfc_3339};

/// A hop that chooses among several members.
#[derive(Debug, Serialize)]
pub(crate) struct ListedPool {
    /// The number of members.
    pub members: usize,
    /// The number of those that connections use.
    pub working: usize,
    /// The number of those that asked to wait, and are not asked before their time is over.
    pub asked_to_wait: usize,
    /// Whether a PAC file names the members that a request may take, in their order.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub by_pac_file: bool,
    /// The first members, in written order: at most [`MemberLedger::LABELLED_MAX`].
    pub shown: Vec<ListedMember>,
    /// The rest of a longer list, added up.
    pub other: Option<Others>,
}

/// A member of a pool.
#[derive(Debug, Serialize)]
pub(crate) struct ListedMember {
    /// Its name below the pool.
    pub name: String,
    /// The name of the hop that it is, if it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hop: Option<String>,
    /// Its label in the metrics, which have to keep it while a list is edited.
    #[serde(skip)]
    pub label: String,
    /// Its address, if it has one.
    pub address: Option<String>,
    /// Whether connections use it. Otherwise it failed, or its credentials are held back, and they leave it out for a while.
    pub working: bool,
    /// The time until a connection tries it again, if it is left out.
    pub retry_seconds: Option<f64>,
    /// When that will be, if the member itself asked for it by `Retry-After`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub asked_until: Option<String>,
    /// How long its credentials are held back, because it has rejected them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held_back_seconds: Option<u64>,
    /// Why it is left out, if it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// How many requests it has refused one after the other, up to now.
    pub refused_in_a_row: u64,
    /// Its answer at the last refusal, if it refused any request. Nothing tells whether that is about it or about the
    /// target, so connections go on using it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refusal: Option<String>,
    /// Its connections.
    #[serde(flatten)]
    pub counts: ListedCounts,
}

/// The members of a long list that are not shown.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Others {
    /// The number of them.
    pub members: usize,
    /// The number of those that connections use.
    pub working: usize,
    /// Their connections.
    #[serde(flatten)]
    pub counts: ListedCounts,
}

/// The connections of members since the process started, by the labels of the members.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct ListedCounts {
    /// Connections that they carried.
    pub reached: u64,
    /// Connections that they failed.
    pub failed: u64,
    /// Requests that they refused, perhaps because of the target.
    pub refused: u64,
}

impl ListedPool {
    /// Returns the pools of `generation`, by the names of their hops.
    pub(super) fn all(generation: &Generation) -> BTreeMap<String, Self> {
        let named = generation.built_hops().map(|(name, hop)| (name, Self::of(&**hop)));
        named.filter_map(|(name, pool)| Some((name.to_string(), pool?))).collect()
    }

    fn of(hop: &dyn Hop) -> Option<Self> {
        let members = hop.members();
        // Simple hops report no members.
        if members.is_empty() {
            return None;
        }
        // The rest is added up and not left out, so that the sums of a pool stay right.
        let (first, rest) = members.split_at(members.len().min(MemberLedger::LABELLED_MAX));
        let rest_of = |rest: &[MemberStatus]| Others {
            members: rest.len(),
            working: working(rest),
            // They have one label, and so the same counts.
            counts: rest.first().map(ListedCounts::from).unwrap_or_default(),
        };
        Some(Self {
            members: members.len(),
            working: working(&members),
            asked_to_wait: members.iter().filter(|member| member.asked_to_wait).count(),
            by_pac_file: hop.decider().is_some(),
            shown: first.iter().map(ListedMember::from).collect(),
            other: (!rest.is_empty()).then(|| rest_of(rest)),
        })
    }
}

impl From<&MemberStatus> for ListedMember {
    fn from(member: &MemberStatus) -> Self {
        Self {
            name: member.name.to_string(),
            label: member.label.to_string(),
            hop: member.hop.as_deref().map(str::to_owned),
            address: member.address.as_ref().map(ToString::to_string),
            working: member.left_out.is_none(),
            retry_seconds: member.left_out.map(|pause| pause.as_secs_f64()),
            held_back_seconds: member.held_back.map(|wait| wait.as_secs()),
            asked_until: member
                .left_out
                .filter(|_| member.asked_to_wait)
                .map(|pause| rfc_3339(SystemTime::now() + pause)),
            problem: member.problem.as_deref().map(str::to_owned),
            refused_in_a_row: member.refused_in_a_row,
            refusal: member.refusal.as_deref().map(str::to_owned),
            counts: ListedCounts::from(member),
        }
    }
}

impl From<&MemberStatus> for ListedCounts {
    fn from(member: &MemberStatus) -> Self {
        let MemberStatus { reached, failed, refused, .. } = *member;
        Self { reached, failed, refused }
    }
}

fn working(members: &[MemberStatus]) -> usize {
    members.iter().filter(|member| member.left_out.is_none()).count()
}
