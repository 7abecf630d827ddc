//! The directories, and the few single files, whose changes the system reports.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::Arc,
};

use arc_swap::ArcSwap;
use notify::{ErrorKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tracing::warn;

use super::{
    poller::reports_all_changes,
    trail::{Identity, Trail},
};

/// The source of events, and the directories that it watches.
#[derive(Debug)]
pub(super) struct WatchedDirectories {
    /// The source of events, or why there is none.
    watcher: notify::Result<RecommendedWatcher>,
    /// The way to the files by which events are judged.
    trail: Arc<ArcSwap<Trail>>,
    watched: BTreeMap<PathBuf, Identity>,
    /// Directories of files that can't be watched.
    unwatchable: BTreeSet<PathBuf>,
    /// Those of them that the log does not name yet.
    untold: Vec<(PathBuf, notify::Error)>,
}

impl WatchedDirectories {
    /// Creates a list without directories. `watcher` judges events by `trail`.
    pub(super) fn new(
        watcher: notify::Result<RecommendedWatcher>,
        trail: Arc<ArcSwap<Trail>>,
    ) -> Self {
        let (watched, unwatchable) = (BTreeMap::new(), BTreeSet::new());
        Self { watcher, trail, watched, unwatchable, untold: Vec::new() }
    }

    /// Returns why changes are not noticed at once, but only when the files are looked at from time to time.
    pub(super) fn blindness(&self) -> Option<&notify::Error> {
        self.watcher.as_ref().err()
    }

    /// Gives up the source of events if it could not watch even one directory on the way to `root`. No event will ever
    /// come, which is the same as having no watcher.
    pub(super) fn give_up_if_none(&mut self, root: PathBuf) {
        if self.watched.is_empty() && self.watcher.is_ok() {
            self.watcher = Err(notify::Error::path_not_found().add_path(root));
        }
    }

    /// Returns whether the system reports every change in every one of the directories. There should be `count` of them.
    pub(super) fn report_all(&self, count: usize) -> bool {
        // Without a watcher, the look alone tells of changes.
        self.watcher.is_ok()
            && self.watched.len() == count
            && self.watched.keys().all(|path| reports_all_changes(path))
    }

    /// Watches the directories `wanted` alone, which are on the way `trail`. `holds` says whether the system still has the
    /// watches of before.
    pub(super) fn watch(&mut self, trail: Trail, wanted: BTreeMap<PathBuf, Identity>, holds: bool) {
        let Ok(watcher) = &mut self.watcher else { return };
        // A directory that was removed and made again has the same name, but the watch belongs to the old one. The
        // identity tells the two apart.
        let stale =
            self.watched.iter().filter(|(path, identity)| wanted.get(*path) != Some(identity));
        for (path, _) in stale {
            // The system may have forgotten it already.
            let _ = watcher.unwatch(path);
        }
        // A directory above these changes only when one of its own is replaced, which is rare.
        let holders: BTreeSet<_> =
            trail.files().filter_map(Path::parent).map(Path::to_owned).collect();
        // Events of the new directories must be judged by the new trail, so it is there before they are watched.
        self.trail.store(Arc::new(trail));
        let known = std::mem::take(&mut self.watched);
        for (path, identity) in wanted {
            // A directory that can't be watched is left out of `watched`, so the next look tries again.
            let is_known = holds && known.get(&path) == Some(&identity);
            let watched = match is_known {
                true => Ok(()),
                false => watcher.watch(&path, RecursiveMode::NonRecursive),
            };
            match watched {
                Ok(()) => {
                    self.unwatchable.remove(&path);
                    self.watched.insert(path, identity);
                }
                Err(error) if holders.contains(&path) => {
                    if self.unwatchable.insert(path.clone()) {
                        self.untold.push((path, error));
                    }
                }
                Err(_) => {}
            }
        }
    }

    /// Logs which directories of files can't be watched, once for each. The first of them are known before there is a log.
    pub(super) fn tell_of_unwatchable(&mut self) {
        let untold = std::mem::take(&mut self.untold);
        // If none can be watched, one message at the start of the proxy says so for all.
        if self.watched.is_empty() {
            return;
        }
        for (path, error) in untold {
            // It may have been removed just now.
            if !path.is_dir() {
                self.unwatchable.remove(&path);
                continue;
            }
            let directory = path.display();
            let advice = match error.kind {
                ErrorKind::MaxFilesWatch => {
                    "raise `fs.inotify.max_user_watches` with sysctl, which all programs of this user share"
                }
                _ => "`mooltiroute reload` reads an edit at once",
            };
            warn!(
                %directory, %error, advice,
                "the system reports no edits in this directory; they are noticed within some seconds"
            );
        }
    }
}
