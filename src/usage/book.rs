//! Accounts by name.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use super::{Sum, UsageAccount, lock};

/// The accounts of one sort of thing, by name. Clients choose the names of sessions and targets, so there are at most
/// [`NAMES_MAX`]; what comes after them is counted together.
#[derive(Debug, Default)]
pub(crate) struct Book(Mutex<BTreeMap<Arc<str>, Arc<UsageAccount>>>);

impl Book {
    /// Returns the account of `name`.
    pub(crate) fn account(&self, name: &Arc<str>) -> Arc<UsageAccount> {
        let mut accounts = lock(&self.0);
        if let Some(known) = accounts.get(name) {
            return Arc::clone(known);
        }
        let name = if accounts.len() < NAMES_MAX { Arc::clone(name) } else { OTHERS.into() };
        Arc::clone(accounts.entry(name).or_default())
    }

    /// Returns the sum of all counts.
    pub(super) fn total(&self) -> u64 {
        let accounts = lock(&self.0);
        let counts = accounts.values().map(|account| {
            let Sum { requests, sent, received } = account.sum();
            requests.wrapping_add(sent).wrapping_add(received)
        });
        counts.fold(0, u64::wrapping_add)
    }

    /// Returns all accounts, sorted by name.
    pub(crate) fn all(&self) -> Vec<(Arc<str>, Arc<UsageAccount>)> {
        let accounts = lock(&self.0);
        accounts.iter().map(|(name, one)| (Arc::clone(name), Arc::clone(one))).collect()
    }
}

/// More than anyone reads; a table of them has a megabyte or two.
const NAMES_MAX: usize = 10_000;
/// No host and no session has parentheses in its name.
const OTHERS: &str = "(others)";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_from_outside_are_bounded_and_none_is_lost() {
        let book = Book::default();
        for number in 0..NAMES_MAX + 10 {
            book.account(&number.to_string().into()).add(1, 0);
        }
        let all = book.all();
        assert_eq!(all.len(), NAMES_MAX + 1);
        let total: u64 = all.iter().map(|(_, account)| account.sum().sent).sum();
        assert_eq!(total, NAMES_MAX as u64 + 10);
    }
}
