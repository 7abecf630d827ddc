//! Accounts by name.

use std::{
    borrow::Borrow as _,
    fmt::Debug,
    hash::Hash,
    sync::{Arc, Mutex},
};

use foldhash::{HashMap, HashMapExt as _};
use mooltiroute_hops::Authority;

use super::{Sum, UsageAccount, lock};

/// Accounts of one kind, by name. Clients choose the names of sessions and targets, so at most [`NAMES_MAX`] have an account.
/// Further names share one account.
#[derive(Debug)]
pub(crate) struct Book<N: ?Sized + AccountName = str>(Mutex<Accounts<N>>);

#[derive(Debug)]
struct Accounts<N: ?Sized + AccountName> {
    by_name: HashMap<N::Owned, Arc<UsageAccount>>,
    /// The account of all names beyond the limit.
    others: Option<Arc<UsageAccount>>,
}

/// The name of an account. A target is looked up as an [`Authority`], so that no request has to format it.
pub(crate) trait AccountName:
    ToOwned<Owned: Debug + Eq + Hash + ToString> + Eq + Hash
{
    /// Parses the name in a record.
    fn parse(text: &str) -> Option<Self::Owned>;
}

impl AccountName for str {
    fn parse(text: &str) -> Option<String> {
        Some(text.to_owned())
    }
}

impl AccountName for Authority {
    fn parse(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

impl<N: ?Sized + AccountName> Default for Book<N> {
    fn default() -> Self {
        Self(Mutex::new(Accounts { by_name: HashMap::new(), others: None }))
    }
}

impl<N: ?Sized + AccountName> Book<N> {
    /// Returns the account of `name`.
    pub(crate) fn account(&self, name: &N) -> Arc<UsageAccount> {
        let mut accounts = lock(&self.0);
        if let Some(known) = accounts.by_name.get(name) {
            return Arc::clone(known);
        }
        let new = if accounts.by_name.len() < NAMES_MAX {
            accounts.by_name.entry(name.to_owned()).or_default()
        } else {
            accounts.others.get_or_insert_default()
        };
        Arc::clone(new)
    }

    /// Returns the account with the name `name` in a record.
    pub(super) fn recorded(&self, name: &str) -> Arc<UsageAccount> {
        match N::parse(name) {
            Some(known) if name != OTHERS => self.account(known.borrow()),
            _ => Arc::clone(lock(&self.0).others.get_or_insert_default()),
        }
    }

    /// Returns the sum of all counts.
    pub(super) fn total(&self) -> u64 {
        let accounts = lock(&self.0);
        let counts = accounts.by_name.values().chain(&accounts.others).map(|account| {
            let Sum { requests, sent, received } = account.sum();
            requests.wrapping_add(sent).wrapping_add(received)
        });
        counts.fold(0, u64::wrapping_add)
    }

    /// Returns all accounts with their names, in no order.
    pub(crate) fn all(&self) -> Vec<(String, Arc<UsageAccount>)> {
        let accounts = lock(&self.0);
        let named = accounts.by_name.iter().map(|(name, one)| (name.to_string(), Arc::clone(one)));
        let others = accounts.others.iter().map(|one| (OTHERS.to_owned(), Arc::clone(one)));
        named.chain(others).collect()
    }
}

/// The most names, which is more than any operator reads. They take one or two megabytes.
const NAMES_MAX: usize = 10_000;
/// The name of the shared account. No host and no session has parentheses in its name.
const OTHERS: &str = "(others)";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_from_outside_are_bounded_and_none_is_lost() {
        let book = Book::<str>::default();
        for number in 0..NAMES_MAX + 10 {
            book.account(&number.to_string()).add(1, 0);
        }
        let all = book.all();
        assert_eq!(all.len(), NAMES_MAX + 1);
        let total: u64 = all.iter().map(|(_, account)| account.sum().sent).sum();
        assert_eq!(total, NAMES_MAX as u64 + 10);
        assert_eq!(book.recorded(OTHERS).sum().sent, 10);
    }

    #[test]
    fn a_recorded_target_is_found_by_its_address() {
        let book = Book::<Authority>::default();
        for name in ["a.example:443", "[2001:db8::1]:80", "10.0.0.1:8080"] {
            book.recorded(name).add(1, 2);
            assert_eq!(book.account(&name.parse().unwrap()).sum().received, 2, "{name}");
        }
        book.recorded("no target").add(1, 0);
        assert_eq!(book.recorded(OTHERS).sum().sent, 1);
    }
}
