//! The cache in memory in which the tickets of a keytab are kept.

use std::sync::{
    OnceLock,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use super::library::GssLibrary;

/// The tickets of a keytab, in a cache of the library that lasts until its identity is dropped.
///
/// Each identity has a cache of its own. A cache that they shared would outlive them, and a hop that was edited would go on with
/// a ticket that the proxy refuses.
#[derive(Debug, Default)]
pub(crate) struct KeytabMemory {
    /// Set when the cache is used first.
    id: OnceLock<u64>,
    /// How often it was replaced.
    replaced: AtomicU64,
}

impl KeytabMemory {
    /// Returns the name of the present cache.
    pub(super) fn name(&self) -> String {
        static USED: AtomicU64 = AtomicU64::new(0);
        let id = self.id.get_or_init(|| USED.fetch_add(1, Relaxed));
        cache_name(*id, self.replaced.load(Relaxed))
    }

    /// Has the next authentication begin with an empty cache. The present one may be in use, which old versions of MIT Kerberos
    /// don't allow for a cache that is removed. So it stays until nothing of this identity is in use.
    pub(crate) fn replace(&self) {
        self.replaced.fetch_add(1, Relaxed);
    }
}

impl Drop for KeytabMemory {
    fn drop(&mut self) {
        let Some(id) = self.id.get() else { return };
        let Some(kerberos) = GssLibrary::get().ok().and_then(|library| library.kerberos) else {
            return;
        };
        let names = (0..=*self.replaced.get_mut()).map(|replaced| cache_name(*id, replaced));
        kerberos.destroy_caches(names);
    }
}

fn cache_name(id: u64, replaced: u64) -> String {
    format!("MEMORY:mooltiroute-{id}-{replaced}")
}
