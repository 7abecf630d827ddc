//! Which directories and names lead to a path.

use std::{
    collections::BTreeSet,
    fs,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    path::{Component, Path, PathBuf},
    time::SystemTime,
};

/// What must be watched to see every change of a path: the directories that hold a name on the way to it, and those
/// names.
#[derive(Debug, Default)]
pub(super) struct Trail {
    directories: BTreeSet<PathBuf>,
    names: BTreeSet<PathBuf>,
    /// Directories of which every name counts.
    contents: BTreeSet<PathBuf>,
}

/// What tells a directory from a later one of the same name, which may have got the same number: when it was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity(Option<((u64, u64), Option<SystemTime>)>);

/// How everything on a trail looked at one moment, to tell whether it looks other later.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Look(u64);

impl Trail {
    /// The trail to `root`, an absolute path; through links, and where it is a directory through the links in it.
    pub(super) fn to(root: &Path) -> Self {
        let mut trail = Self::default();
        if let Some(directory) = trail.follow(root, LINKS_MAX).filter(|end| end.is_dir()) {
            let entries = fs::read_dir(&directory).into_iter().flatten().flatten();
            for entry in
                entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_symlink()))
            {
                trail.follow(&entry.path(), LINKS_MAX);
            }
            trail.directories.insert(directory.clone());
            trail.contents.insert(directory);
        }
        trail
    }

    /// How its names look, and all that the directories hold.
    pub(super) fn look(&self) -> Look {
        let mut hasher = DefaultHasher::new();
        for name in &self.names {
            hash(name, &mut hasher);
        }
        for directory in &self.contents {
            let entries = fs::read_dir(directory).into_iter().flatten().flatten();
            let entries: BTreeSet<_> = entries.map(|entry| entry.path()).collect();
            entries.iter().for_each(|entry| hash(entry, &mut hasher));
        }
        Look(hasher.finish())
    }

    pub(super) fn directories(&self) -> impl Iterator<Item = &Path> {
        self.directories.iter().map(PathBuf::as_path)
    }

    /// Whether a change of `path` may change what the trail leads to.
    pub(super) fn concerns(&self, path: &Path) -> bool {
        let is_content = path.parent().is_some_and(|parent| self.contents.contains(parent));
        is_content || self.names.contains(path) || self.contents.contains(path)
    }

    /// Notes every name on the way, and returns where it ends; `None` where something on the way is missing.
    fn follow(&mut self, path: &Path, links_left: usize) -> Option<PathBuf> {
        let mut reached = PathBuf::new();
        let mut components = path.components();
        while let Some(component) = components.next() {
            match component {
                Component::ParentDir => drop(reached.pop()),
                Component::Prefix(_) | Component::RootDir => reached.push(component),
                Component::CurDir => {}
                Component::Normal(name) => {
                    let next = reached.join(name);
                    let is_last = components.as_path().as_os_str().is_empty();
                    match fs::symlink_metadata(&next) {
                        Ok(found) if found.is_symlink() => {
                            self.note(&reached, &next);
                            let target =
                                reached.join(fs::read_link(&next).ok()?).join(components.as_path());
                            return self.follow(&target, links_left.checked_sub(1)?);
                        }
                        Ok(_) if !is_last => {}
                        Ok(_) => self.note(&reached, &next),
                        Err(_) => {
                            self.note(&reached, &next);
                            return None;
                        }
                    }
                    reached = next;
                }
            }
        }
        Some(reached)
    }

    fn note(&mut self, directory: &Path, name: &Path) {
        self.directories.insert(directory.to_owned());
        self.names.insert(name.to_owned());
    }
}

impl Identity {
    pub(super) fn of(directory: &Path) -> Self {
        let found = fs::metadata(directory).ok();
        Self(found.map(|found| (identify(&found), found.created().ok())))
    }
}

fn hash(path: &Path, hasher: &mut DefaultHasher) {
    path.hash(hasher);
    // Both the link and what it leads to.
    for found in [fs::symlink_metadata(path), fs::metadata(path)] {
        // The time of a directory changes with every file in it, of which most are none of ours.
        let found = found.ok().map(|found| {
            let time = found.modified().ok().filter(|_| !found.is_dir());
            (identify(&found), (!found.is_dir()).then_some(found.len()), time)
        });
        found.hash(hasher);
    }
}

#[cfg(unix)]
fn identify(found: &fs::Metadata) -> (u64, u64) {
    use std::os::unix::fs::MetadataExt as _;
    (found.dev(), found.ino())
}

#[cfg(not(unix))]
fn identify(found: &fs::Metadata) -> (u64, u64) {
    let created =
        found.created().ok().and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
    (0, created.map_or(0, |since| since.as_nanos() as u64))
}

/// As many as Linux follows.
const LINKS_MAX: usize = 40;
