//! Accounts by name.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use super::{Sum, UsageAccount, lock};

/// Accounts of one kind, by name. Clients choose the names of sessions and targets, so there are at most
/// [`NAMES_MAX`]. Further names share one account.
#[derive(Debug, Default)]
pub(crate) struct Book(Mutex<BTreeMap<Arc<str>, Arc<UsageAccount>>>);

impl Book {
    /// Returns the account of `name`.
    pub(crate) fn account(&self, name: &str) -> Arc<UsageAccount> {
        let mut accounts = lock(&self.0);
        if let Some(known) = accounts.get(name) {
            return Arc::clone(known);
        }
        let name = if accounts.len() < NAMES_MAX { name } else { OTHERS };
        Arc::clone(accounts.entry(name.into()).or_default())
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

/// More than an operator reads. A table of them takes one or two megabytes.
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
            book.account(&number.to_string()).add(1, 0);
        }
        let all = book.all();
        assert_eq!(all.len(), NAMES_MAX + 1);
        let total: u64 = all.iter().map(|(_, account)| account.sum().sent).sum();
        assert_eq!(total, NAMES_MAX as u64 + 10);
    }
}
