//! Finds the process that has a file open for writing.
//!
//! inotify tells when a writer closes a file, but not which files were open before the watch began, and a second writer
//! of one file looks like the first. `/proc` fills that gap: each `/proc/PID/fd/N` is a link whose own mode has the
//! owner's write bit if the descriptor may write, and which leads to the inode that is open. To look through all
//! processes takes milliseconds, though, and each start and each reload would wait for it. So the kernel is asked first
//! whether a file has a writer at all, by a [lease].
//!
//! Processes of other users and of other PID namespaces can't be seen here unless this one is privileged. If the kernel
//! says that a file has a writer, such a writer counts anyway, without a name. The kernel does not tell
//! everybody. Then the events have to do.

use std::{
    collections::BTreeSet,
    fmt,
    path::{Path, PathBuf},
};

#[cfg(target_os = "linux")]
use super::lease;
#[cfg(target_os = "linux")]
use crate::system::process_name::process_name;

/// A process that may still write to a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Writer {
    pub(super) file: PathBuf,
    /// The process; `None` if it can't be seen from here.
    pub(super) process: Option<WriterProcess>,
}

/// The process of a writer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct WriterProcess {
    pub(super) pid: u32,
    /// Empty if the process has ended meanwhile.
    pub(super) name: String,
}

/// The writers of some files, as far as can be known.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct FoundWriters {
    /// One of them, with its process if that can be seen.
    pub(super) first: Option<Writer>,
    /// Files that certainly no process has open for writing.
    pub(super) closed: BTreeSet<PathBuf>,
}

impl fmt::Display for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is open for writing in ", self.file.display())?;
        match &self.process {
            None => f.write_str(UNSEEN),
            Some(WriterProcess { pid, name }) if name.is_empty() => write!(f, "process {pid}"),
            Some(WriterProcess { pid, name }) => write!(f, "process {pid} ({name})"),
        }
    }
}

/// Describes a writer that `/proc` does not show.
pub(super) const UNSEEN: &str =
    "a process that can't be seen from here, such as another user's, or one outside this container";

/// Looks for writers of `files`. May take milliseconds if there is one.
#[cfg(target_os = "linux")]
pub(super) fn find<'a>(files: impl Iterator<Item = &'a Path>) -> FoundWriters {
    let (mut doubtful, mut closed): (Vec<(&Path, bool)>, BTreeSet<_>) = Default::default();
    for path in files {
        match lease::has_writer(path) {
            Some(false) => drop(closed.insert(path.to_owned())),
            answer => doubtful.push((path, answer == Some(true))),
        }
    }
    FoundWriters { first: first_of(&doubtful), closed }
}

/// Returns a writer of one of the files. Each file has one for certain, or may have one.
#[cfg(target_os = "linux")]
fn first_of(doubtful: &[(&Path, bool)]) -> Option<Writer> {
    let seen = find_process(&doubtful.iter().map(|(path, _)| *path).collect::<Vec<_>>());
    seen.or_else(|| {
        // The writer may have ended while its process was looked for, so the kernel is asked again.
        let is_written = |(path, is_certain): &&(&Path, bool)| {
            *is_certain && lease::has_writer(path) == Some(true)
        };
        let (file, _) = doubtful.iter().find(is_written)?;
        Some(Writer { file: file.to_path_buf(), process: None })
    })
}

/// Returns the first process that is seen to have one of `files` open for writing.
#[cfg(target_os = "linux")]
fn find_process(files: &[&Path]) -> Option<Writer> {
    use std::{collections::BTreeMap, fs, os::unix::fs::MetadataExt as _};

    const WRITABLE: u32 = 0o200;
    let inode = |path: &Path| fs::metadata(path).ok().map(|found| (found.dev(), found.ino()));
    // Compared by inode, since a writer may have opened the file by another name.
    let files: BTreeMap<(u64, u64), &Path> =
        files.iter().filter_map(|path| Some((inode(path)?, *path))).collect();
    if files.is_empty() {
        return None;
    }
    // This process only reads them, and may have many sockets.
    let others = fs::read_dir("/proc").ok()?.flatten().filter_map(|entry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        (pid != std::process::id()).then(|| (pid, entry.path()))
    });
    for (pid, process) in others {
        // The mode is looked at first: few descriptors may write, and only those are followed to what they lead
        // to.
        let descriptors = fs::read_dir(process.join("fd")).into_iter().flatten().flatten();
        let may_write = |path: &PathBuf| {
            fs::symlink_metadata(path).is_ok_and(|link| link.mode() & WRITABLE != 0)
        };
        let written = descriptors.map(|entry| entry.path()).filter(may_write);
        let file = written.filter_map(|path| inode(&path)).find_map(|inode| files.get(&inode));
        if let Some(file) = file {
            let process = WriterProcess { pid, name: process_name(&process) };
            return Some(Writer { file: file.to_path_buf(), process: Some(process) });
        }
    }
    None
}

/// Finds nothing: other systems don't show which process has a file open.
#[cfg(not(target_os = "linux"))]
pub(super) fn find<'a>(_: impl Iterator<Item = &'a Path>) -> FoundWriters {
    FoundWriters::default()
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::{
        fs,
        process::{Command, Stdio},
    };

    use super::*;

    #[test]
    fn a_process_that_has_a_file_open_for_writing_is_named_until_it_ends() {
        let home = tempfile::tempdir().unwrap();
        let [written, read] = ["written", "read"].map(|name| home.path().join(name));
        fs::write(&read, "").unwrap();
        let mut cat = Command::new("cat")
            .stdin(Stdio::piped())
            .stdout(fs::File::create(&written).unwrap())
            .stderr(fs::File::open(&read).unwrap())
            .spawn()
            .unwrap();
        let found = find([read.as_path()].into_iter());
        assert_eq!(found, FoundWriters { first: None, closed: [read.clone()].into() });
        // The child may still be on its way to its own program.
        let found = find([read.as_path(), written.as_path()].into_iter());
        assert_eq!(found.closed, [read].into());
        let found = found.first.unwrap();
        assert_eq!(found.file, written);
        assert_eq!(found.process.unwrap().pid, cat.id());
        drop(cat.stdin.take());
        cat.wait().unwrap();
        assert_eq!(find([written.as_path()].into_iter()).first, None);
    }

    /// The own process is never looked at, so to have the file open here is like a writer outside of the container.
    #[test]
    fn a_writer_that_only_the_kernel_knows_counts_until_it_ends() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("file");
        let file = fs::File::create(&path).unwrap();
        let found = find([path.as_path()].into_iter()).first.unwrap();
        assert_eq!(found, Writer { file: path.clone(), process: None });
        let said = found.to_string();
        assert!(said.contains("a process that can't be seen from here"), "{said}");
        drop(file);
        assert_eq!(find([path.as_path()].into_iter()).first, None);
    }
}
