//! Finds the process that has a file open for writing.
//!
//! inotify tells when a writer closes a file, but not which files were open before the watch began, and a second writer
//! of one file looks like the first. `/proc` fills that gap: each `/proc/PID/fd/N` is a link whose own mode has the
//! owner's write bit if the descriptor may write, and which leads to the inode that is open. To look through all
//! processes takes milliseconds, though, and each start and each reload would wait for it. So the kernel is asked first
//! whether a file has a writer at all, by a [lease].
//!
//! Processes of other users and of other PID namespaces can't be seen here unless this one is privileged. For those
//! the events have to do.

use std::{
    fmt,
    path::{Path, PathBuf},
};

#[cfg(target_os = "linux")]
use super::lease;

/// A process that may still write to a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Writer {
    pub(super) file: PathBuf,
    pub(super) pid: u32,
    /// The name of the process; empty if it has ended meanwhile.
    pub(super) process: String,
}

impl fmt::Display for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is open for writing in process {}", self.file.display(), self.pid)?;
        if self.process.is_empty() { Ok(()) } else { write!(f, " ({})", self.process) }
    }
}

/// Returns the first process found that may write to one of `files`; `None` if none is visible. May take milliseconds if there is one.
#[cfg(target_os = "linux")]
pub(super) fn find<'a>(files: impl Iterator<Item = &'a Path>) -> Option<Writer> {
    use std::{collections::BTreeMap, fs, os::unix::fs::MetadataExt as _};

    const WRITABLE: u32 = 0o200;
    let files = files.filter(|path| lease::has_writer(path) != Some(false));
    let inode = |path: &Path| fs::metadata(path).ok().map(|found| (found.dev(), found.ino()));
    // Compared by inode, since a writer may have opened the file by another name.
    let files: BTreeMap<(u64, u64), &Path> =
        files.filter_map(|path| Some((inode(path)?, path))).collect();
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
            let name = fs::read_to_string(process.join("comm")).unwrap_or_default();
            let file = file.to_path_buf();
            return Some(Writer { file, pid, process: name.trim_end().to_owned() });
        }
    }
    None
}

/// Returns `None`: other systems don't show which process has a file open.
#[cfg(not(target_os = "linux"))]
pub(super) fn find<'a>(_: impl Iterator<Item = &'a Path>) -> Option<Writer> {
    None
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
        assert_eq!(find([read.as_path()].into_iter()), None);
        // The child may still be on its way to its own program.
        let found = find([read.as_path(), written.as_path()].into_iter()).unwrap();
        assert_eq!((found.pid, &found.file), (cat.id(), &written));
        drop(cat.stdin.take());
        cat.wait().unwrap();
        assert_eq!(find([written.as_path()].into_iter()), None);
    }
}
