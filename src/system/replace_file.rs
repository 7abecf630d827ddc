//! Replaces the content of a file in one step, so that no reader ever sees half of it.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

/// Writes `content` in place of what is at `path`, which should have no link in it. Owner and permissions of a file that
/// is there are kept, with its access control list (acl(5)) on Linux; a new one is for its owner alone.
///
/// # Errors
/// The system's error. The file is as it was then.
pub(crate) fn replace_file(path: &Path, content: &[u8]) -> io::Result<()> {
    replace_if(path, content, || true).map(|_| ())
}

/// Does the same as [`replace_file`], unless the file no longer has the content `old`. Returns whether it had.
///
/// If another program saves the file while the new one is written, which can take long on a slow disk, this is noticed. Only
/// between the last look and the rename, which follow each other at once, it is not.
///
/// # Errors
/// As those of [`replace_file`].
pub(crate) fn replace_unchanged(path: &Path, old: &[u8], content: &[u8]) -> io::Result<bool> {
    replace_if(path, content, || fs::read(path).is_ok_and(|found| found == old))
}

/// Replaces the file if `is_wanted` says so when the new one is complete. Returns whether it did.
fn replace_if(path: &Path, content: &[u8], is_wanted: impl Fn() -> bool) -> io::Result<bool> {
    let new = beside(path);
    let replaced = write_new(&new, path, content).and_then(|()| rename_if(&new, path, is_wanted));
    if !matches!(replaced, Ok(true)) {
        // It may never have been made.
        let _ = fs::remove_file(&new);
    } else if let Some(directory) = path.parent() {
        // The rename itself is on disk once the directory is. Systems that can't open a directory do without.
        let _ = File::open(directory).and_then(|directory| directory.sync_all());
    }
    replaced
}

/// Renames `new` to `path` if `is_wanted` says so at that moment. Returns whether it did.
///
/// On Windows, a file that another program has open may refuse to be replaced. A proxy that reads its configuration, an indexer
/// or a virus scanner has it open for milliseconds, so the rename is tried again for a while.
fn rename_if(new: &Path, path: &Path, is_wanted: impl Fn() -> bool) -> io::Result<bool> {
    let begun = Instant::now();
    while is_wanted() {
        match fs::rename(new, path) {
            Err(error) if is_open_elsewhere(&error) && begun.elapsed() < PATIENCE => {
                thread::sleep(PAUSE);
            }
            renamed => return renamed.map(|()| true),
        }
    }
    Ok(false)
}

/// Returns whether `error` may mean that another program has the file open: the numbers that Windows has for "access is denied"
/// and "sharing violation".
fn is_open_elsewhere(error: &io::Error) -> bool {
    cfg!(windows) && matches!(error.raw_os_error(), Some(5 | 32))
}

/// Returns a hidden name in the same directory, which no reader of a configuration looks at.
fn beside(path: &Path) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{}.new", std::process::id()));
    path.with_file_name(name)
}

fn write_new(new: &Path, old: &Path, content: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(new)?;
    // Before the content, which may hold a password: it is never readable by users who could not read the old
    // file.
    keep_permissions(&file, old)?;
    file.write_all(content)?;
    // The new name must not lead to an empty file after a power failure.
    file.sync_all()
}

/// Gives `new` the owner and the permissions of the file at `path`, if there is one.
fn keep_permissions(new: &File, path: &Path) -> io::Result<()> {
    let old = match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        old => old?,
    };
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt as _;

        let now = new.metadata()?;
        if (now.uid(), now.gid()) != (old.uid(), old.gid()) {
            std::os::unix::fs::fchown(new, Some(old.uid()), Some(old.gid()))?;
        }
    }
    #[cfg(target_os = "linux")]
    if acl::keep(new, path)? {
        return Ok(());
    }
    new.set_permissions(old.permissions())
}

/// Access control lists, which Linux keeps in an attribute of the file.
#[cfg(target_os = "linux")]
mod acl {
    use std::{fs::File, io, path::Path};

    use rustix::{
        fs::{XattrFlags, fremovexattr, fsetxattr, getxattr},
        io::Errno,
    };

    /// Gives `new` the list of the file at `old`, or none if that has none. Returns whether there is one.
    ///
    /// With a list, the group's bits of a mode are the most that any user or group of the list may have, and the rights of
    /// the owning group are only in the list. So the mode must not be copied: alone, it would give those bits to the owning
    /// group. Setting the list sets the mode too.
    ///
    /// # Errors
    /// The system's error. The rights of `new` are then no wider than before.
    pub(super) fn keep(new: &File, old: &Path) -> io::Result<bool> {
        let mut list = vec![0; BYTES_MAX];
        match getxattr(old, NAME, &mut list) {
            Ok(length) => {
                fsetxattr(new, NAME, &list[..length], XattrFlags::empty())?;
                Ok(true)
            }
            Err(error) if is_absent(error) => match fremovexattr(new, NAME) {
                // A new file gets the default list of its directory, and the mode would activate it.
                Ok(()) => Ok(false),
                Err(error) if is_absent(error) => Ok(false),
                Err(error) => Err(error.into()),
            },
            Err(error) => Err(error.into()),
        }
    }

    /// Returns whether the file has no list, or the file system knows none.
    fn is_absent(error: Errno) -> bool {
        matches!(error, Errno::NODATA | Errno::OPNOTSUPP)
    }

    const NAME: &str = "system.posix_acl_access";
    /// The most that Linux allows for an attribute.
    const BYTES_MAX: usize = 64 * 1024;
}

/// How long another program may have the file open.
const PATIENCE: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(5);

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the rights of the owner, one user, the owning group, the mask and others, in the form of the kernel.
    #[cfg(target_os = "linux")]
    fn list(user: u16, group: u16, mask: u16) -> Vec<u8> {
        const NOBODY: u32 = 65534;
        let entries = [
            (0x01, 6, u32::MAX),
            (0x02, user, NOBODY),
            (0x04, group, u32::MAX),
            (0x10, mask, u32::MAX),
            (0x20, 0, u32::MAX),
        ];
        let mut bytes = 2_u32.to_le_bytes().to_vec();
        for (tag, rights, id) in entries {
            bytes.extend(u16::to_le_bytes(tag));
            bytes.extend(rights.to_le_bytes());
            bytes.extend(id.to_le_bytes());
        }
        bytes
    }

    #[cfg(target_os = "linux")]
    fn rights(path: &Path) -> (u32, Option<Vec<u8>>) {
        use std::os::unix::fs::PermissionsExt as _;

        let mut list = vec![0; 1000];
        let list = rustix::fs::getxattr(path, "system.posix_acl_access", &mut list)
            .ok()
            .map(|length| list[..length].to_vec());
        (fs::metadata(path).unwrap().permissions().mode() & 0o777, list)
    }

    #[cfg(target_os = "linux")]
    fn set_list(path: &Path, name: &str, list: &[u8]) -> bool {
        let set = rustix::fs::setxattr(path, name, list, rustix::fs::XattrFlags::empty());
        // tmpfs may be without lists.
        !matches!(set, Err(rustix::io::Errno::OPNOTSUPP)) && {
            set.unwrap();
            true
        }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn an_access_control_list_is_kept() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.yaml");
        for (user, group, mask) in [(4, 0, 4), (4, 4, 4), (6, 0, 4), (0, 0, 0)] {
            fs::write(&path, "").unwrap();
            if !set_list(&path, "system.posix_acl_access", &list(user, group, mask)) {
                return;
            }
            let before = rights(&path);
            assert!(before.1.is_some());
            replace_file(&path, b"password").unwrap();
            assert_eq!(rights(&path), before);
            assert_eq!(fs::read_to_string(&path).unwrap(), "password");
        }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn the_default_list_of_a_directory_gives_nobody_the_file() {
        use std::os::unix::fs::PermissionsExt as _;

        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.yaml");
        fs::write(&path, "").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let before = rights(&path);
        if !set_list(directory.path(), "system.posix_acl_default", &list(4, 4, 4)) {
            return;
        }
        replace_file(&path, b"password").unwrap();
        assert_eq!(rights(&path), before);
        assert_eq!(before.1, None);
        // A file that was not there is for its owner alone.
        let new = directory.path().join("b.yaml");
        replace_file(&new, b"password").unwrap();
        assert_eq!(rights(&new).0, 0o600);
    }

    #[test]
    fn a_file_is_replaced_whole_and_nothing_is_left_beside_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.yaml");
        for content in ["first", "second, which is longer", "3"] {
            replace_file(&path, content.as_bytes()).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), content);
        }
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
        assert!(replace_file(&directory.path().join("missing/a.yaml"), b"").is_err());
    }

    #[test]
    fn a_save_that_comes_meanwhile_stays() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.yaml");
        fs::write(&path, "old").unwrap();
        let is_unchanged = || {
            fs::write(&path, "of another program").unwrap();
            fs::read(&path).unwrap() == b"old"
        };
        assert!(!replace_if(&path, b"new", is_unchanged).unwrap());
        assert!(!replace_unchanged(&path, b"old", b"new").unwrap());
        assert_eq!(fs::read_to_string(&path).unwrap(), "of another program");
        assert!(replace_unchanged(&path, b"of another program", b"new").unwrap());
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
        fs::remove_file(&path).unwrap();
        assert!(!replace_unchanged(&path, b"new", b"newer").unwrap(), "a removed file stays so");
        assert!(!path.exists());
    }

    /// The rename is the last step, so the test waits a moment to see that it is still tried.
    #[test]
    #[cfg(windows)]
    fn a_file_that_another_program_has_open_is_replaced_when_that_closes_it() {
        use std::{os::windows::fs::OpenOptionsExt as _, sync::mpsc};

        const SHARED_FOR_READING: u32 = 1;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.yaml");
        fs::write(&path, "old").unwrap();
        let open = OpenOptions::new().read(true).share_mode(SHARED_FOR_READING).open(&path);
        let (sender, replaced) = mpsc::channel();
        thread::scope(|scope| {
            scope.spawn(|| sender.send(replace_unchanged(&path, b"old", b"new")).unwrap());
            assert!(replaced.recv_timeout(Duration::from_millis(200)).is_err(), "it does not wait");
            drop(open.unwrap());
            assert!(replaced.recv().unwrap().unwrap());
        });
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
    }

    #[test]
    #[cfg(unix)]
    fn permissions_are_kept() {
        use std::os::unix::fs::PermissionsExt as _;

        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.yaml");
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        replace_file(&path, b"").unwrap();
        assert_eq!(mode(&path), 0o600, "it may hold a password");
        for kept in [0o640, 0o666, 0o444] {
            fs::set_permissions(&path, fs::Permissions::from_mode(kept)).unwrap();
            replace_file(&path, b"x").unwrap();
            assert_eq!(mode(&path), kept);
        }
    }
}
