//! Replaces the content of a file in one step, so that no reader ever sees half of it.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

/// Writes `content` in place of what is at `path`, which should have no link in it. Owner and permissions of a file that
/// is there are kept; a new one is for its owner alone.
///
/// # Errors
/// The system's error. The file is as it was then.
pub(crate) fn replace_file(path: &Path, content: &[u8]) -> io::Result<()> {
    let new = beside(path);
    let written = write_new(&new, path, content).and_then(|()| fs::rename(&new, path));
    if written.is_err() {
        // It may never have been made.
        let _ = fs::remove_file(&new);
    } else if let Some(directory) = path.parent() {
        // The rename itself is on disk once the directory is. Systems that can't open a directory do without.
        let _ = File::open(directory).and_then(|directory| directory.sync_all());
    }
    written
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

/// Gives `new` the owner and the permissions of `old`, if there is one.
fn keep_permissions(new: &File, old: &Path) -> io::Result<()> {
    let old = match fs::metadata(old) {
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
    new.set_permissions(old.permissions())
}

#[cfg(test)]
mod tests {
    use super::*;

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
