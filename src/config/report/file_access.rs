//! Who may read a file, for advice about files of credentials.

use std::{io, path::Path};

/// Returns what to do about the file at `path` that can't be read because of `error`, if the cause is its permissions. The path
/// is not repeated: a password may be written in its place.
pub(crate) fn unreadable_secret(path: &Path, error: &io::Error) -> Option<String> {
    let help = unreadable_file(error)?;
    Some(match closed(path) {
        Some(Closed { owner, mode, is_file, .. }) => {
            let what =
                if is_file { "the file" } else { "the directory that this user can't enter" };
            format!("{help}; {what} belongs to {owner} and has the mode {mode}")
        }
        None => help,
    })
}

/// Returns what to do about a file that can't be read because of `error`, if the cause is its permissions.
fn unreadable_file(error: &io::Error) -> Option<String> {
    (error.kind() == io::ErrorKind::PermissionDenied).then(|| {
        format!("{} needs the right to read it, and to enter the directories above it", this_user())
    })
}

/// Returns what to do about the configuration file at `path` that can't be read because of `error`, if the cause is its
/// permissions. Unlike a file of credentials, its owner and its permissions may be told.
pub(crate) fn unreadable_configuration(path: &Path, error: &io::Error) -> Option<String> {
    let help = unreadable_file(error)?;
    Some(match closed(path) {
        Some(Closed { what, owner, mode, .. }) => {
            format!("{help}; `{}` belongs to {owner} and has the mode {mode}", what.display())
        }
        None => help,
    })
}

/// The file that can't be read, or the directory above it that can't be entered.
struct Closed<'a> {
    what: &'a Path,
    owner: String,
    mode: String,
    is_file: bool,
}

/// Returns the first of `path` and the directories above it whose owner and permissions can be seen. What is below a directory
/// that this user can't enter can't.
fn closed(path: &Path) -> Option<Closed<'_>> {
    let seen = path.ancestors().enumerate().filter(|(_, what)| !what.as_os_str().is_empty());
    let mut seen = seen.filter_map(|(index, what)| {
        let (owner, mode) = owner_and_mode(what)?;
        Some(Closed { what, owner, mode, is_file: index == 0 })
    });
    seen.next()
}

/// Returns the owner of the file at `path`, as words, and its permissions, as in `0600`.
#[cfg(unix)]
fn owner_and_mode(path: &Path) -> Option<(String, String)> {
    use std::os::unix::fs::MetadataExt as _;

    let metadata = path.metadata().ok()?;
    let owner = match metadata.uid() {
        own if own == rustix::process::geteuid().as_raw() => "that user".to_owned(),
        0 => "root".to_owned(),
        other => format!("the user with the id {other}"),
    };
    Some((owner, format!("{:04o}", metadata.mode() & 0o7777)))
}

#[cfg(not(unix))]
fn owner_and_mode(_: &Path) -> Option<(String, String)> {
    None
}

/// Names the user that this process runs as.
fn this_user() -> String {
    #[cfg(unix)]
    let user = format!("the user with the id {}", rustix::process::geteuid().as_raw());
    #[cfg(not(unix))]
    let user = "the user of the proxy".to_owned();
    user
}

/// Returns the permissions of the file at `path`, as in `0644`, if every user of this machine can read it.
#[cfg(unix)]
pub(crate) fn mode_for_all(path: &Path) -> Option<String> {
    use std::os::unix::fs::PermissionsExt as _;

    let mode = |path: &Path| Some(path.metadata().ok()?.permissions().mode() & 0o7777);
    let path = path.canonicalize().ok()?;
    // Secrets of containers are mounted there for all users, and the container has no others.
    if path.starts_with("/run/secrets") {
        return None;
    }
    let own = mode(&path)?;
    // A directory that others can't enter protects everything in it.
    let can_enter = |directory: &Path| mode(directory).is_some_and(|mode| mode & 0o001 != 0);
    let is_open = own & 0o004 != 0 && path.ancestors().skip(1).all(can_enter);
    is_open.then(|| format!("{own:04o}"))
}

#[cfg(not(unix))]
pub(crate) fn mode_for_all(_: &Path) -> Option<String> {
    None
}

/// Returns whether only the owner of the file at `path` can read it.
#[cfg(unix)]
pub(crate) fn is_private(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;

    path.metadata().is_ok_and(|metadata| metadata.permissions().mode() & 0o077 == 0)
}

#[cfg(not(unix))]
pub(crate) fn is_private(_: &Path) -> bool {
    false
}

#[cfg(all(test, unix))]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use super::*;

    #[test]
    fn a_file_in_a_closed_directory_is_explained_by_the_directory() {
        let directory = tempfile::tempdir().unwrap();
        let (file, below) = (directory.path().join("key"), directory.path().join("closed/key"));
        fs::write(&file, "").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o200)).unwrap();
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o700)).unwrap();
        let denied = io::Error::from(io::ErrorKind::PermissionDenied);
        let told = unreadable_configuration(&file, &denied).unwrap();
        assert!(told.contains(&format!("`{}` belongs to", file.display())), "{told}");
        assert!(told.ends_with("has the mode 0200"), "{told}");
        // The system reports a file in a closed directory like one that does not exist.
        let told = unreadable_configuration(&below, &denied).unwrap();
        assert!(told.contains(&format!("`{}` belongs to", directory.path().display())), "{told}");
        assert!(told.ends_with("has the mode 0700"), "{told}");
        let told = unreadable_secret(&file, &denied).unwrap();
        assert!(told.contains("; the file belongs to ") && !told.contains("key"), "{told}");
        let told = unreadable_secret(&below, &denied).unwrap();
        assert!(told.contains("the directory that this user can't enter belongs to"), "{told}");
        let other = io::Error::from(io::ErrorKind::NotFound);
        assert_eq!(unreadable_secret(&file, &other), None);
    }

    #[test]
    fn a_file_is_open_if_others_can_read_it_and_enter_its_directories() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("key");
        fs::write(&file, "").unwrap();
        let set = |path: &Path, mode| {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        };
        for (of_directory, of_file, expected) in [
            (0o755, 0o644, Some("0644")),
            (0o755, 0o640, None),
            (0o700, 0o644, None),
            (0o711, 0o604, Some("0604")),
        ] {
            set(directory.path(), of_directory);
            set(&file, of_file);
            assert_eq!(mode_for_all(&file).as_deref(), expected, "{of_directory:o} {of_file:o}");
        }
        set(&file, 0o600);
        assert!(is_private(&file));
        set(&file, 0o640);
        assert!(!is_private(&file));
        assert!(!is_private(&directory.path().join("other")));
    }
}
