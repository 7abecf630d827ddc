//! The directories and names that lead to the files of a configuration.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    io,
    path::{Component, Path, PathBuf},
    time::SystemTime,
};

use crate::config::source::is_read;

/// Everything that must be watched to see each change of some files: the directories that hold a name on the way to
/// them, and those names.
///
/// A path is resolved component by component, as the system does. Each link on the way adds the name of the link in its
/// directory, and the way goes on at its target, so a swap of any of them is seen (Kubernetes swaps `..data`, which no
/// path of the configuration names). A component that is missing ends the way with its name noted, so that its coming
/// is seen. Directories that no link leads through add nothing. The one that holds the root reports when it is renamed
/// itself, but a rename of one above it is found only by the next look.
#[derive(Debug, Default)]
pub(super) struct Trail {
    directories: BTreeSet<PathBuf>,
    names: BTreeSet<PathBuf>,
    /// Directories in which every name that can be a configuration file counts.
    contents: BTreeSet<PathBuf>,
    /// The files that were found at the end of the way.
    files: BTreeSet<PathBuf>,
    /// Whether something on the way can't be read. A name that is missing is no such thing.
    is_obscured: bool,
}

/// A mark that tells a directory from a later one of the same name, which may have got the same number: its birth time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity(Option<((u64, u64), Option<SystemTime>)>);

/// The look of everything on a trail at one moment. Another look is equal if nothing has changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Snapshot(u64);

impl Trail {
    /// Returns the trail to `root` and to each of `named`, which must be absolute paths. It goes through links, and if
    /// the root is a directory, to the files in it that are read.
    pub(super) fn to(root: &Path, named: &[PathBuf]) -> Self {
        let mut trail = Self::default();
        match trail.follow(root, LINKS_MAX) {
            Some(directory) if directory.is_dir() => trail.enter(directory),
            Some(file) => drop(trail.files.insert(file)),
            None => {}
        }
        for file in named {
            trail.follow_file(file);
        }
        trail
    }

    /// Adds the files of a directory that are read.
    fn enter(&mut self, directory: PathBuf) {
        // What can't be read is left out. The load reads the same directory, and reports it as a problem.
        let entries = self.clear(fs::read_dir(&directory));
        for entry in entries.into_iter().flatten() {
            let Some(entry) = self.clear(entry) else { continue };
            let path = entry.path();
            match entry.file_type() {
                _ if !is_read(&path) => {}
                Ok(kind) if kind.is_symlink() => self.follow_file(&path),
                Ok(kind) if kind.is_file() => drop(self.files.insert(path)),
                _ => {}
            }
        }
        self.directories.insert(directory.clone());
        self.contents.insert(directory);
    }

    fn follow_file(&mut self, path: &Path) {
        if let Some(end) = self.follow(path, LINKS_MAX).filter(|end| end.is_file()) {
            self.files.insert(end);
        }
    }

    /// Returns the look of all names on the trail, and of all files that are read of the directories.
    pub(super) fn look(&self) -> Snapshot {
        // A hash and not the list itself: a look is only compared with another one, and is kept for long.
        let mut hasher = DefaultHasher::new();
        for name in &self.names {
            hash(name, &mut hasher);
        }
        for directory in &self.contents {
            let entries = fs::read_dir(directory).into_iter().flatten().flatten();
            // Sorted, since the system lists a directory in any order.
            let entries: BTreeSet<_> =
                entries.map(|entry| entry.path()).filter(|path| is_read(path)).collect();
            entries.iter().for_each(|entry| hash(entry, &mut hasher));
        }
        Snapshot(hasher.finish())
    }

    pub(super) fn files(&self) -> impl Iterator<Item = &Path> {
        self.files.iter().map(PathBuf::as_path)
    }

    /// Returns what must be watched: the directories, and the files that have a name elsewhere. Linux reports a write by that
    /// name to the directory which holds it, and to the file's own watch.
    pub(super) fn identities(&self) -> BTreeMap<PathBuf, Identity> {
        let files =
            self.files.iter().filter(|file| cfg!(target_os = "linux") && has_name_elsewhere(file));
        let watched = self.directories.iter().chain(files);
        watched.map(|path| (path.clone(), Identity::of(path))).collect()
    }

    /// Returns whether changes can come that no watch reports. This is so while something on the way can't be read, such as a
    /// network file system without its server, and on other systems than Linux for files that have a name elsewhere.
    pub(super) fn is_obscured(&self) -> bool {
        let is_reported = |file: &PathBuf| cfg!(target_os = "linux") || !has_name_elsewhere(file);
        self.is_obscured || !self.files.iter().all(is_reported)
    }

    /// Returns whether a change of `path` may change what is read.
    pub(super) fn concerns(&self, path: &Path) -> bool {
        // Names of other files in the same directories, such as a log, must not cause a reload.
        let is_content =
            is_read(path) && path.parent().is_some_and(|parent| self.contents.contains(parent));
        is_content || self.names.contains(path) || self.contents.contains(path)
    }

    /// Returns whether `path` is a directory that leads to the files. If it goes, or has another name, so do they.
    pub(super) fn leads_through(&self, path: &Path) -> bool {
        self.directories.contains(path)
    }

    /// Records every name on the way, and returns the path at the end, or `None` if something on the way is missing.
    fn follow(&mut self, path: &Path, links_left: usize) -> Option<PathBuf> {
        // `reached` never has a link in it, so its parent is the directory that `..` means to the system.
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
                    match self.clear(fs::symlink_metadata(&next)) {
                        Some(found) if found.is_symlink() => {
                            self.note(&reached, &next);
                            // The link replaces its own name, and the rest of the path goes on from there. An
                            // absolute target replaces all that was reached. A circle of links ends by the count.
                            let target = self.clear(fs::read_link(&next))?;
                            let target = reached.join(target).join(components.as_path());
                            return self.follow(&target, links_left.checked_sub(1)?);
                        }
                        Some(_) if !is_last => {}
                        Some(_) => self.note(&reached, &next),
                        // The name that is missing is watched for, so that the load follows when it comes.
                        None => {
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

    /// Returns the result of looking at something on the way, and notes if it can't be seen.
    fn clear<T>(&mut self, found: io::Result<T>) -> Option<T> {
        self.is_obscured |=
            found.as_ref().is_err_and(|error| error.kind() != io::ErrorKind::NotFound);
        found.ok()
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

/// Returns whether `file` has a second name: a hard link, or the name of a file that is mounted here, as containers do.
#[cfg(target_os = "linux")]
fn has_name_elsewhere(file: &Path) -> bool {
    use rustix::fs::{AtFlags, CWD, StatxAttributes, StatxFlags, statx};

    statx(CWD, file, AtFlags::empty(), StatxFlags::NLINK).is_ok_and(|found| {
        found.stx_nlink > 1 || found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT)
    })
}

/// Returns whether `file` has a second name: a hard link.
#[cfg(all(unix, not(target_os = "linux")))]
fn has_name_elsewhere(file: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;

    fs::metadata(file).is_ok_and(|found| found.nlink() > 1)
}

/// Returns `false`, since std does not tell the number of names here.
#[cfg(not(unix))]
fn has_name_elsewhere(_: &Path) -> bool {
    false
}

fn hash(path: &Path, hasher: &mut DefaultHasher) {
    path.hash(hasher);
    // Both the link and what it leads to.
    for found in [fs::symlink_metadata(path), fs::metadata(path)] {
        // The time of a directory changes with every file in it, also with those that are not read.
        let found = found.ok().map(|found| {
            let times = found.modified().ok().map(|modified| (modified, changed_at(&found)));
            let (length, times) = (!found.is_dir()).then_some((found.len(), times)).unzip();
            (identify(&found), length, times.flatten())
        });
        found.hash(hasher);
    }
}

/// Returns when the file or what is known of it was changed. No program can set this time, so it also tells an edit that keeps
/// the length and the time of modification.
#[cfg(unix)]
fn changed_at(found: &fs::Metadata) -> (i64, i64) {
    use std::os::unix::fs::MetadataExt as _;
    (found.ctime(), found.ctime_nsec())
}

/// Returns nothing, since std does not tell this time here.
#[cfg(not(unix))]
fn changed_at(_: &fs::Metadata) {}

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
