//! One look at everything on the way to the files of a configuration.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant, SystemTime},
};

use super::{
    completeness::WRITER_WAIT_MAX,
    trail::{Identity, Snapshot, Trail},
    writers::{self, FoundWriters, Writer},
};
use crate::config::source::{is_blank, without_links};

/// The files that a configuration is read from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Files {
    /// A file, or a directory of YAML files.
    pub(super) root: PathBuf,
    /// The files that settings name.
    pub(super) named: Vec<PathBuf>,
}

impl Files {
    /// Returns whether a setting names `file`, whose path has no links. The setting may name it by `..` or a link.
    pub(super) fn is_named(&self, file: &Path) -> bool {
        let leads_there = |named: &PathBuf| {
            named == file || without_links(named).is_ok_and(|named| named == file)
        };
        self.named.iter().any(leads_there)
    }
}

/// The sizes of the files.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Sizes(BTreeMap<PathBuf, u64>);

/// How everything on the way to the files looks.
#[derive(Debug)]
pub(super) struct Survey {
    pub(super) trail: Trail,
    pub(super) directories: BTreeMap<PathBuf, Identity>,
    pub(super) look: Snapshot,
    pub(super) sizes: Sizes,
    /// Whether a file changed so shortly before that one more change could leave the look as it is.
    pub(super) is_fresh: bool,
    /// Files without any content, and those with some.
    pub(super) empty: BTreeSet<PathBuf>,
    pub(super) filled: BTreeSet<PathBuf>,
    /// The processes that have files open for writing.
    pub(super) writers: FoundWriters,
}

impl Survey {
    pub(super) fn of(files: &Files) -> Self {
        // Resolved again each time: a link that was swapped leads through other directories now.
        let trail = Trail::to(&files.root, &files.named);
        let directories = trail.identities();
        // Before the content is looked at, so that a writer that comes after this changes the look.
        let writers = writers::find(trail.files());
        // Read before the look, so that a change between the two counts as one shortly before.
        let now = SystemTime::now();
        let look = trail.look();
        let is_fresh = trail.files().any(|path| is_fresh(path, now));
        let (empty, filled) = trail.files().map(Path::to_owned).partition(|path| is_blank(path));
        let sizes = Sizes::of(trail.files());
        Self { trail, directories, look, sizes, is_fresh, empty, filled, writers }
    }
}

/// Returns whether the time of a file at `now` may be that of its next change too.
///
/// The system writes times in steps. A program that saves twice within one step leaves the same time, and often the same size,
/// so a file that was read in between, when it was empty, would seem not to have changed.
fn is_fresh(path: &Path, now: SystemTime) -> bool {
    let changed = fs::metadata(path).and_then(|found| found.modified());
    // A time far ahead is that of another clock. The next change sets it back.
    changed.is_ok_and(|changed| changed + time_step() > now && changed < now + CLOCKS_DIFFER)
}

/// Returns the step in which the system writes the times of files.
fn time_step() -> Duration {
    #[cfg(target_os = "linux")]
    {
        let step = rustix::time::clock_getres(rustix::time::ClockId::RealtimeCoarse);
        Duration::try_from(step).unwrap_or_default()
    }
    #[cfg(not(target_os = "linux"))]
    Duration::from_millis(if cfg!(windows) { 16 } else { 1 })
}

const CLOCKS_DIFFER: Duration = Duration::from_secs(1);

impl Sizes {
    fn of<'a>(files: impl Iterator<Item = &'a Path>) -> Self {
        let size = |path: &Path| fs::metadata(path).map_or(0, |found| found.len());
        Self(files.map(|path| (path.to_owned(), size(path))).collect())
    }
}

/// Waits until no process has a file below `root`, or one of `named`, open for writing. Blocks the thread.
///
/// # Errors
/// A writer that still has a file open after half a minute.
pub(crate) fn wait_for_writers(root: &Path, named: &[PathBuf]) -> Result<(), Writer> {
    // Before the start nothing is in force that could be served meanwhile, so a writer that does not end is an
    // error.
    let begun = Instant::now();
    let root = std::path::absolute(root).unwrap_or_else(|_| root.to_owned());
    let named = named.iter().filter_map(|path| std::path::absolute(path).ok()).collect();
    let files = Files { root, named };
    loop {
        match writers::find(Trail::to(&files.root, &files.named).files()).first {
            Some(writer) if begun.elapsed() > WRITER_WAIT_MAX => return Err(writer),
            Some(_) => thread::sleep(PAUSE_FOR_WRITER),
            None => return Ok(()),
        }
    }
}

/// Locks a value that is only ever replaced in one step, so it is valid even after a panic of a holder.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How often the writers are looked for at the start.
const PAUSE_FOR_WRITER: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_fresh_within_the_step_of_its_time() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("10.yaml");
        fs::write(&file, "a: 1").unwrap();
        let changed = fs::metadata(&file).unwrap().modified().unwrap();
        let step = time_step();
        assert!(step > Duration::ZERO && step < Duration::from_millis(50), "{step:?}");
        assert!(is_fresh(&file, changed) && is_fresh(&file, changed + step / 2));
        assert!(!is_fresh(&file, changed + step));
        assert!(!is_fresh(&file, changed - Duration::from_secs(60)), "a clock that is ahead");
        assert!(!is_fresh(&directory.path().join("none"), changed));
    }
}
