//! Counts of the members of a hop, which outlive the hop.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use crate::MemberStatus;

/// The counts of the members of one hop, by their labels.
///
/// A hop is built again when a setting of it changes, and its list may change at any time. Its counts are kept here, so a
/// member that has the same label later goes on with its count.
#[derive(Debug, Default)]
pub struct MemberLedger(Mutex<BTreeMap<Arc<str>, Arc<Tally>>>);

/// The counts under one label.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Connections that the member carried.
    pub(crate) reached: AtomicU64,
    /// Connections that the member failed.
    pub(crate) failed: AtomicU64,
    /// Requests that the member refused.
    pub(crate) refused: AtomicU64,
}

impl MemberLedger {
    /// The number of members that have labels of their own, in written order. The rest of a longer list is counted under one
    /// label, [`REST`](Self::REST), or the metrics of a long list would have no bound.
    pub const LABELLED_MAX: usize = 50;
    /// The label of the members of a long list that have none of their own.
    pub const REST: &str = "other";

    /// Returns the counts under `label`, which begin at zero when it is new.
    pub(crate) fn tally(&self, label: &Arc<str>) -> Arc<Tally> {
        Arc::clone(self.with_room_for(label).entry(Arc::clone(label)).or_default())
    }

    /// Returns the counts under `label`, unless a member has them that is in `taken`. Then they begin at zero.
    pub(crate) fn free_tally(&self, label: &Arc<str>, taken: &[Arc<Tally>]) -> Arc<Tally> {
        let tally = self.tally(label);
        if !taken.iter().any(|one| Arc::ptr_eq(one, &tally)) {
            return tally;
        }
        let fresh = Arc::default();
        self.keep(label, &fresh);
        fresh
    }

    /// Keeps `tally` under `label` from now on.
    pub(crate) fn keep(&self, label: &Arc<str>, tally: &Arc<Tally>) {
        self.with_room_for(label).insert(Arc::clone(label), Arc::clone(tally));
    }

    fn with_room_for(&self, label: &Arc<str>) -> MutexGuard<'_, BTreeMap<Arc<str>, Arc<Tally>>> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= LABELS_MAX && !known.contains_key(label) {
            // Labels that no member has any more are removed, or a list that keeps changing could fill the memory.
            known.retain(|_, tally| Arc::strong_count(tally) > 1);
        }
        known
    }
}

impl Tally {
    /// Completes `status` with these counts.
    pub(crate) fn shown_in(&self, status: MemberStatus) -> MemberStatus {
        let load = |count: &AtomicU64| count.load(Relaxed);
        MemberStatus {
            reached: load(&self.reached),
            failed: load(&self.failed),
            refused: load(&self.refused),
            ..status
        }
    }
}

/// The name, and what else distinguishes a member, from which its label is made.
#[derive(Clone, Debug)]
pub(crate) struct Labelled {
    /// Its label if no other member has that one too.
    pub(crate) usual: Option<String>,
    /// Its name below the hop, which is different for each member.
    pub(crate) name: Arc<str>,
}

/// Returns the labels of `members`, which are in written order, without an end.
///
/// An edit changes the places of members in a list, so such a member is labelled with its address, and with its place too if
/// another one has that address. A member that is written out is labelled with its place.
pub(crate) fn labels(members: impl Iterator<Item = Labelled>) -> impl Iterator<Item = Arc<str>> {
    let labelled: Vec<_> = members.take(MemberLedger::LABELLED_MAX).collect();
    let mut times = BTreeMap::from([(MemberLedger::REST, 1)]);
    for usual in labelled.iter().filter_map(|one| one.usual.as_deref()) {
        *times.entry(usual).or_default() += 1;
    }
    let label = |Labelled { usual, name }: &Labelled| match usual.as_deref() {
        None => Arc::clone(name),
        Some(usual) if times.get(usual) == Some(&1) && usual != MemberLedger::REST => usual.into(),
        Some(usual) => format!("{usual} ({name})").into(),
    };
    let labels: Vec<Arc<str>> = labelled.iter().map(label).collect();
    labels.into_iter().chain(std::iter::repeat(MemberLedger::REST.into()))
}

/// The labels that are kept for one hop: those of its members, and of some that have left and may come back.
const LABELS_MAX: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_goes_on_under_its_label_and_labels_are_bounded() {
        let ledger = MemberLedger::default();
        let in_use = ledger.tally(&"a.test:1".into());
        in_use.reached.fetch_add(3, Relaxed);
        ledger.tally(&"b.test:1".into()).failed.fetch_add(2, Relaxed);
        assert_eq!(ledger.tally(&"b.test:1".into()).failed.load(Relaxed), 2);
        for number in 0..LABELS_MAX + 10 {
            ledger.tally(&number.to_string().into());
        }
        assert!(ledger.0.lock().unwrap().len() <= LABELS_MAX);
        assert_eq!(ledger.tally(&"a.test:1".into()).reached.load(Relaxed), 3);
    }

    #[test]
    fn each_label_is_that_of_one_member() {
        let labelled = |usual: Option<&str>, index: usize| Labelled {
            usual: usual.map(str::to_owned),
            name: format!("members[{index}]").into(),
        };
        let few = [Some("a:1"), Some("b:1"), Some("a:1"), None, Some("other")];
        let of_few = labels(few.iter().zip(0..).map(|(usual, index)| labelled(*usual, index)));
        let of_few: Vec<_> = of_few.take(few.len()).collect();
        let expected =
            ["a:1 (members[0])", "b:1", "a:1 (members[2])", "members[3]", "other (members[4])"];
        assert_eq!(of_few.iter().map(|label| &**label).collect::<Vec<_>>(), expected);
        let many = (0..60).map(|index| labelled(Some(&format!("{index}.test:1")), index));
        let many: Vec<_> = labels(many).take(60).collect();
        assert_eq!((&*many[49], &*many[50]), ("49.test:1", "other"));
        assert!(many[50..].iter().all(|label| &**label == "other"));
    }
}
