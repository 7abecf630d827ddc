//! Rejections that outlive their hop.

use std::{
    collections::VecDeque,
    hash::{BuildHasher as _, Hash, RandomState},
    sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::Lockout;

/// The credentials of a hop and the address of its proxy, as a hash that differs in each process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::kinds::http_connect) struct LoginKey(u64);

impl LoginKey {
    pub(in crate::kinds::http_connect) fn of(login: &impl Hash) -> Self {
        static HASHER: LazyLock<RandomState> = LazyLock::new(RandomState::new);
        Self(HASHER.hash_one(login))
    }
}

/// Returns the rejections of a login, or begins to count them.
///
/// A hop is built again if it is edited, switched off and on, or if a list or a condition of the network changes. The account
/// does not know of that, and the failed logons of before still count.
pub(in crate::kinds::http_connect) fn lockout_of(
    key: LoginKey,
    handshake: Duration,
) -> Arc<Lockout> {
    let known = remembered().iter().find(|lockout| lockout.key == Some(key)).cloned();
    known.unwrap_or_else(|| Arc::new(Lockout { key: Some(key), ..Lockout::new(handshake) }))
}

/// Keeps a lockout after a rejection.
pub(super) fn remember(rejected: &Arc<Lockout>) {
    if rejected.key.is_none() {
        return;
    }
    let mut remembered = remembered();
    remembered.retain(|lockout| lockout.key != rejected.key && lockout.counts_rejections());
    if remembered.len() == LOCKOUTS_MAX {
        remembered.pop_front();
    }
    remembered.push_back(Arc::clone(rejected));
}

fn remembered() -> MutexGuard<'static, VecDeque<Arc<Lockout>>> {
    static REMEMBERED: Mutex<VecDeque<Arc<Lockout>>> = Mutex::new(VecDeque::new());
    // Nothing panics under the lock.
    REMEMBERED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How many logins with rejections are remembered, with the oldest first.
const LOCKOUTS_MAX: usize = 1024;
