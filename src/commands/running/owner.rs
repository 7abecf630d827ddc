//! The owners of files and processes, by name.

use std::path::Path;

/// Returns the owner of the file at `path`, unless that is this user.
#[cfg(unix)]
pub(in crate::commands) fn of_path(path: &Path) -> Option<String> {
    use std::os::unix::fs::MetadataExt as _;

    let owner = path.metadata().ok()?.uid();
    (owner != rustix::process::geteuid().as_raw()).then(|| name_of(owner))
}

/// Returns the owner of the file at `path`. This system does not tell.
#[cfg(not(unix))]
pub(in crate::commands) fn of_path(_: &Path) -> Option<String> {
    None
}

/// Returns the user that runs the process `pid`, unless that is this user or the system does not tell.
pub(in crate::commands) fn of_process(pid: u64) -> Option<String> {
    of_path(Path::new(&format!("/proc/{pid}")))
}

/// Returns whether the system says that this user runs the process `pid`.
pub(in crate::commands) fn is_this_user(pid: u64) -> bool {
    Path::new(&format!("/proc/{pid}")).exists() && of_process(pid).is_none()
}

/// Returns the name of a user, or the number if the file of users has no name for it.
#[cfg(unix)]
fn name_of(number: u32) -> String {
    let users = std::fs::read("/etc/passwd").unwrap_or_default();
    name_in(&users, number).unwrap_or_else(|| number.to_string())
}

/// Returns the name of the user with this number in a file of users (passwd(5)).
#[cfg(unix)]
fn name_in(users: &[u8], number: u32) -> Option<String> {
    // People's full names in it may be in an old encoding.
    String::from_utf8_lossy(users).lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(number)).then(|| name.to_owned())
    })
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_named_by_the_file_of_users() {
        let users = b"root:x:0:0:root:/root:/bin/sh\nbroken\nann:x:1000:1000:Ann M\xfcller:/home/ann:/bin/sh\n";
        assert_eq!(name_in(users, 1000).as_deref(), Some("ann"));
        assert_eq!(name_in(users, 7), None);
    }
}
