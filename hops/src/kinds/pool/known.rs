//! Members that are known from the start.

use std::{
    sync::{Arc, OnceLock},
    time::SystemTime,
};

use super::roster::Roster;
use crate::{SourceKind, SourceState};

/// Members that a configuration names, or a file that is a part of it.
#[derive(Debug)]
pub(super) struct KnownMembers {
    pub(super) roster: Arc<Roster>,
    /// The roster with what an earlier pool knew of the members that stayed. It is set before the pool is used.
    pub(super) inherited: OnceLock<Arc<Roster>>,
    /// The file that lists them, if there is one.
    pub(super) list: Option<ListFile>,
    pub(super) requires_session: bool,
}

/// A file with a list of proxies, as it was read.
#[derive(Debug)]
pub(super) struct ListFile {
    /// Its path as the configuration names it.
    pub(super) name: String,
    read: SystemTime,
    /// The warning about doubtful lines in it.
    doubt: Option<String>,
    /// The number of proxies in the list before it. It is set before the pool is used.
    members_before: OnceLock<usize>,
}

impl KnownMembers {
    pub(super) fn roster(&self) -> &Arc<Roster> {
        self.inherited.get().unwrap_or(&self.roster)
    }

    /// Returns the state of the list, if there is one.
    pub(super) fn source(&self) -> Option<SourceState> {
        let ListFile { name, read, doubt, members_before } = self.list.as_ref()?;
        Some(SourceState {
            loaded: Some(*read),
            members: Some(self.roster.members.len()),
            members_before: members_before.get().copied(),
            doubt: doubt.clone(),
            ..SourceState::new(SourceKind::List, name.clone())
        })
    }

    /// Notes how many proxies the list of `before` had.
    pub(super) fn follow(&self, before: &Self) {
        let (Some(list), Some(last)) = (&self.list, &before.list) else { return };
        let count = before.roster.members.len();
        // An edit of another setting reads the same list again, which must not hide the last change.
        let is_same = count == self.roster.members.len();
        let before = if is_same { last.members_before.get().copied() } else { Some(count) };
        if let Some(before) = before {
            let _ = list.members_before.set(before);
        }
    }
}

impl ListFile {
    pub(super) fn new(name: String, doubt: Option<String>) -> Self {
        Self { name, read: SystemTime::now(), doubt, members_before: OnceLock::new() }
    }
}
