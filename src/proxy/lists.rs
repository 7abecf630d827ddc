//! Finds the lists of proxies that a reload replaces.

use mooltiroute_hops::{Hop, SourceKind};

use crate::state::{generation::Generation, hop_services::ListNews};

/// A list in a file that has another number of proxies than before.
#[derive(Debug)]
pub(super) struct ChangedList {
    hop: String,
    source: String,
    proxies: usize,
    before: usize,
}

/// Returns the lists in files that have other numbers of proxies in `new` than in `old`. Lists at a URL report themselves.
pub(super) fn changed_lists(old: &Generation, new: &Generation) -> Vec<ChangedList> {
    let in_file = |hop: &dyn Hop| {
        let state = hop.source().filter(|_| hop.asker().is_none());
        state.filter(|state| state.kind == SourceKind::List)
    };
    let changed = new.built_hops().filter_map(|(name, hop)| {
        let now = in_file(&**hop)?;
        let (_, old) = old.built_hops().find(|(old, _)| *old == name)?;
        let (proxies, before) = (now.members?, in_file(&**old)?.members?);
        let hop = name.to_string();
        (proxies != before).then_some(ChangedList { hop, source: now.source, proxies, before })
    });
    changed.collect()
}

impl ChangedList {
    fn news(&self) -> ListNews<'_> {
        let Self { hop, source, proxies, before } = self;
        ListNews { hop, source, proxies: Some(*proxies), before: Some(*before) }
    }

    pub(super) fn is_shrunk(&self) -> bool {
        self.news().is_shrunk()
    }

    pub(super) fn log(&self) {
        self.news().log();
    }

    pub(super) fn in_words(&self) -> String {
        let Self { hop, source, proxies, before } = self;
        format!(
            "hops.{hop}: the list `{source}` has {proxies} of its {before} proxies left; if it was not meant to shrink, \
             look at the file"
        )
    }
}
