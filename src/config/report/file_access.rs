//! Who may read a file, for advice about files of credentials.

#[cfg(unix)]
use std::os::unix::fs::PermissionsExt as _;
use std::{io, path::Path};

use crate::system::own_lack::OwnLack;

/// Returns what to do about the file at `path` that can't be read because of `error`, if the cause is its permissions or a lack
/// of descriptors. The path is not repeated: a password may be written in its place.
pub(crate) fn unreadable_secret(path: &Path, error: &io::Error) -> Option<String> {
    let help = unreadable_file(error)?;
    let closed = closed(path).filter(|_| error.kind() == io::ErrorKind::PermissionDenied);
    Some(match closed {
        Some(Closed { owner, mode, is_file, remedy, .. }) => {
            let what =
                if is_file { "the file" } else { "the directory that this user can't enter" };
            format!("{help}; {what} belongs to {owner} and has the mode {mode}{remedy}")
        }
        None => help,
    })
}

/// Returns what to do about a file that can't be read because of `error`, if the cause is its permissions, or a lack of
/// descriptors in this process.
fn unreadable_file(error: &io::Error) -> Option<String> {
    if OwnLack::of(error) == Some(OwnLack::Descriptors) {
        return Some(NO_DESCRIPTORS.to_owned());
    }
    (error.kind() == io::ErrorKind::PermissionDenied).then(|| {
        format!("{} needs the right to read it, and to enter the directories above it", this_user())
    })
}

/// Returns what to do about the configuration file at `path` that can't be read because of `error`, if the cause is its
/// permissions or a lack of descriptors. Unlike a file of credentials, its owner and its permissions may be shown.
pub(crate) fn unreadable_configuration(path: &Path, error: &io::Error) -> Option<String> {
    let help = unreadable_file(error)?;
    let closed = closed(path).filter(|_| error.kind() == io::ErrorKind::PermissionDenied);
    Some(match closed {
        Some(Closed { what, owner, mode, remedy, .. }) => {
            let what = what.display();
            format!("{help}; `{what}` belongs to {owner} and has the mode {mode}{remedy}")
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
    /// The safe ways to give the right, as the end of a sentence; empty if the owner and the mode are not why it is missing.
    remedy: String,
}

/// Returns the first of `path` and the directories above it whose owner and permissions can be seen. What is below a directory
/// that this user can't enter can't.
fn closed(path: &Path) -> Option<Closed<'_>> {
    let seen = path.ancestors().enumerate().filter(|(_, what)| !what.as_os_str().is_empty());
    let mut seen = seen.filter_map(|(index, what)| {
        let (owner, mode) = owner_and_mode(what)?;
        let is_file = index == 0;
        let remedy = remedy(what, is_file).unwrap_or_default();
        Some(Closed { what, owner, mode, is_file, remedy })
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

/// Returns the safe ways to give this user the right that it lacks to `path`: what is to be read (`is_read`), or a directory above
/// it.
#[cfg(unix)]
fn remedy(path: &Path, is_read: bool) -> Option<String> {
    let metadata = path.metadata().ok()?;
    let (class, mode) = (class_of(path)?, metadata.permissions().mode());
    let (noun, rights, wanted) = match (metadata.is_dir(), is_read) {
        (false, _) => ("FILE", "r", 0o4),
        // A directory of configuration files is listed and entered.
        (true, true) => ("DIRECTORY", "rx", 0o5),
        (true, false) => ("DIRECTORY", "x", 0o1),
    };
    if class.bits_of(mode) & wanted == wanted {
        return None;
    }
    Some(match class {
        Class::Owner => format!(": write `chmod u+{rights} {noun}`"),
        Class::Group => format!(": write `chmod g+{rights} {noun}`"),
        Class::Others if is_read => format!(": {}", ways(metadata.is_dir())),
        // Other files are below the directory too, so its permissions are not changed for one.
        Class::Others => ": move the file to a directory that this user can enter".to_owned(),
    })
}

#[cfg(not(unix))]
fn remedy(_: &Path, _: bool) -> Option<String> {
    None
}

/// Returns how to give this user a right of its own to the file at `path`, if it can read it only by the right of all others.
#[cfg(unix)]
pub(crate) fn give_instead(path: &Path) -> Option<String> {
    // The superuser needs no right.
    let needs_right = !rustix::process::geteuid().is_root();
    (needs_right && class_of(path)? == Class::Others).then(|| {
        format!("{} has access only by the permissions of all others: {}", this_user(), ways(false))
    })
}

#[cfg(not(unix))]
pub(crate) fn give_instead(_: &Path) -> Option<String> {
    None
}

/// Names the ways to give this user a right to a file or directory that not all others get.
#[cfg(unix)]
fn ways(is_directory: bool) -> String {
    let user = rustix::process::geteuid().as_raw();
    let (thing, noun, own, of_group) = match is_directory {
        true => ("directory", "DIRECTORY", "0700", "0750"),
        false => ("file", "FILE", "0600", "0640"),
    };
    format!(
        "give the {thing} to this user (`chown {user} {noun}`, mode {own}), or to a group of it (`chgrp GROUP {noun}`, mode \
         {of_group})"
    )
}

/// The part of a file's permissions that counts for this process.
#[cfg(unix)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    Owner,
    Group,
    Others,
}

#[cfg(unix)]
impl Class {
    /// Returns the bits of `mode` for this class: 4 to read, 2 to write, 1 to execute or enter.
    fn bits_of(self, mode: u32) -> u32 {
        match self {
            Self::Owner => mode >> 6 & 0o7,
            Self::Group => mode >> 3 & 0o7,
            Self::Others => mode & 0o7,
        }
    }
}

/// Returns which part of the permissions of the file at `path` counts for this process.
#[cfg(unix)]
fn class_of(path: &Path) -> Option<Class> {
    use std::os::unix::fs::MetadataExt as _;

    use rustix::process::{getegid, geteuid, getgroups};

    let metadata = path.metadata().ok()?;
    let is_in = || {
        let group = metadata.gid();
        getegid().as_raw() == group
            || getgroups().is_ok_and(|all| all.iter().any(|one| one.as_raw() == group))
    };
    Some(match () {
        () if geteuid().as_raw() == metadata.uid() => Class::Owner,
        () if is_in() => Class::Group,
        () => Class::Others,
    })
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
    path.metadata().is_ok_and(|metadata| metadata.permissions().mode() & 0o077 == 0)
}

#[cfg(not(unix))]
pub(crate) fn is_private(_: &Path) -> bool {
    false
}

const NO_DESCRIPTORS: &str = "the file may be fine: this process has no file descriptor left; raise its limit of open files \
                             (`ulimit -n`, or `LimitNOFILE=` for systemd), and order a reload (`mooltiroute reload`)";

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
        assert!(told.ends_with("has the mode 0200: write `chmod u+r FILE`"), "{told}");
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
    fn the_ways_to_give_a_right_name_the_user_and_modes_that_shut_others_out() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("key");
        fs::write(&file, "").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o604)).unwrap();
        assert_eq!(class_of(&file), Some(Class::Owner));
        assert_eq!(give_instead(&file), None);
        assert_eq!(remedy(&file, true), None);
        for (class, bits) in [(Class::Owner, 6), (Class::Group, 4), (Class::Others, 1)] {
            assert_eq!(class.bits_of(0o100_641), bits);
        }
        let user = rustix::process::geteuid().as_raw();
        let told = ways(false);
        assert!(told.contains(&format!("(`chown {user} FILE`, mode 0600)")), "{told}");
        assert!(told.contains("(`chgrp GROUP FILE`, mode 0640)"), "{told}");
        // The superuser can give the file away, and needs no right to it.
        if user == 0 {
            std::os::unix::fs::chown(&file, Some(1), Some(60_001)).unwrap();
            assert_eq!((class_of(&file), give_instead(&file)), (Some(Class::Others), None));
            fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
            assert_eq!(remedy(&file, true), Some(format!(": {told}")));
            let closed = fs::Permissions::from_mode(0o700);
            std::os::unix::fs::chown(directory.path(), Some(1), Some(60_001)).unwrap();
            fs::set_permissions(directory.path(), closed).unwrap();
            let told = remedy(directory.path(), false).unwrap();
            assert_eq!(told, ": move the file to a directory that this user can enter");
            let told = remedy(directory.path(), true).unwrap();
            assert!(told.contains("(`chown 0 DIRECTORY`, mode 0700)"), "{told}");
            assert!(told.contains("(`chgrp GROUP DIRECTORY`, mode 0750)"), "{told}");
            // The superuser is in its own group.
            let group = rustix::process::getegid().as_raw();
            std::os::unix::fs::chown(directory.path(), None, Some(group)).unwrap();
            let for_group = |is_read| remedy(directory.path(), is_read);
            assert_eq!(for_group(false).as_deref(), Some(": write `chmod g+x DIRECTORY`"));
            assert_eq!(for_group(true).as_deref(), Some(": write `chmod g+rx DIRECTORY`"));
        }
    }

    #[test]
    fn a_lack_of_descriptors_is_not_called_a_missing_right() {
        let lack = io::Error::from_raw_os_error(rustix::io::Errno::MFILE.raw_os_error());
        let path = Path::new("/etc/passwd");
        for told in [unreadable_secret(path, &lack), unreadable_configuration(path, &lack)] {
            let told = told.unwrap();
            assert!(told.contains("no file descriptor left") && !told.contains("right"), "{told}");
            assert!(!told.contains("belongs to"), "{told}");
        }
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
