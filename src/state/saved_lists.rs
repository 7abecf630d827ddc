//! Lists of proxies from URLs, kept on disk for the next start.
//!
//! A pool whose provider can't be reached at a start would refuse everything, although its proxies still work. So the last
//! good list is kept in the state directory. It may hold credentials, so the file is for its owner alone, and one that
//! others can read or change is not used.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use mooltiroute_hops::{SavedDocument, Validators};
use serde::{Deserialize, Serialize};

use crate::{
    config::{Environment, Source},
    system::replace_file::replace_file,
};

/// The directory of the lists. By default there is none, and nothing is kept.
#[derive(Clone, Debug, Default)]
pub(crate) struct SavedLists {
    directory: Option<Arc<Path>>,
    is_read_only: bool,
}

/// The first line of a file. The list follows as it came.
#[derive(Debug, Serialize, Deserialize)]
struct SavedHead {
    /// The version of this format.
    version: u32,
    /// When the list was read, in seconds since 1970.
    loaded: u64,
    etag: Option<String>,
    /// Files of an earlier version don't have it.
    last_modified: Option<String>,
    charset: Option<String>,
}

impl SavedLists {
    /// Returns the directory for a configuration from `source`. There is none for a configuration that is not in files, or
    /// if the user has no directory for such files.
    pub(crate) fn find(source: &Source, environment: &Environment) -> Self {
        match source {
            Source::Text(_) | Source::CommandLine { .. } => Self::default(),
            Source::Path(_) | Source::Embedded => {
                let state = environment.state_directory();
                let directory = state.map(|state| state.join("lists").into());
                Self { directory, is_read_only: false }
            }
        }
    }

    /// Returns the same lists, which are read and never changed.
    pub(crate) fn read_only(self) -> Self {
        Self { is_read_only: true, ..self }
    }

    /// Returns the list that is kept under `name`. Blocks the thread.
    ///
    /// # Errors
    /// There is one that can't be used.
    pub(crate) fn read(&self, name: &str) -> io::Result<Option<SavedDocument>> {
        let Some(path) = self.path(name) else { return Ok(None) };
        match fs::symlink_metadata(&path) {
            // To open a pipe would wait for its other end, and a link may lead to a file of somebody else's making.
            Ok(found) if !found.is_file() => return Err(io::Error::other("it is not a file")),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        }
        let file = File::open(&path)?;
        is_private(&file)?;
        let mut bytes = zeroize::Zeroizing::new(Vec::new());
        file.take(BYTES_MAX).read_to_end(&mut bytes)?;
        let broken = || io::Error::new(io::ErrorKind::InvalidData, "it is incomplete");
        let end = bytes.iter().position(|byte| *byte == b'\n').ok_or_else(broken)?;
        let head: SavedHead = serde_json::from_slice(&bytes[..end])?;
        if head.version != VERSION {
            let message =
                format!("its version is {}, but this program expects {VERSION}", head.version);
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        bytes.drain(..=end);
        let SavedHead { loaded, etag, last_modified, charset, .. } = head;
        let validators = Validators { etag, last_modified };
        let loaded = UNIX_EPOCH.checked_add(Duration::from_secs(loaded)).ok_or_else(broken)?;
        Ok(Some(SavedDocument { bytes, charset, validators, loaded }))
    }

    /// Keeps a list under `name`, in place of the previous one, and removes lists that no start has wanted for long.
    /// Blocks the thread.
    ///
    /// # Errors
    /// The directory or the file can't be written. The file is as it was then.
    pub(crate) fn write(&self, name: &str, document: &SavedDocument) -> io::Result<()> {
        let (Some(directory), Some(path)) = (&self.directory, self.path(name)) else {
            return Ok(());
        };
        if self.is_read_only {
            return Ok(());
        }
        create_private(directory)?;
        // A replaced file keeps its permissions, and these must not be kept.
        if File::open(&path).is_ok_and(|file| is_private(&file).is_err()) {
            fs::remove_file(&path)?;
        }
        let SavedDocument { bytes, charset, validators, loaded } = document;
        let head = SavedHead {
            version: VERSION,
            loaded: loaded.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs(),
            etag: validators.etag.clone(),
            last_modified: validators.last_modified.clone(),
            charset: charset.clone(),
        };
        // Of its final size, so that no reallocation leaves a copy of a credential behind.
        let head = serde_json::to_vec(&head)?;
        let mut content = zeroize::Zeroizing::new(Vec::with_capacity(head.len() + 1 + bytes.len()));
        content.extend_from_slice(&head);
        content.push(b'\n');
        content.extend_from_slice(bytes);
        replace_file(&path, &content)?;
        remove_old(directory);
        Ok(())
    }

    /// Notes that the list `name` is still the present one, so that it is not forgotten. Blocks the thread.
    ///
    /// # Errors
    /// There is no such list, or it can't be changed.
    pub(crate) fn confirm(&self, name: &str) -> io::Result<()> {
        let Some(path) = self.path(name).filter(|_| !self.is_read_only) else { return Ok(()) };
        File::options().append(true).open(path)?.set_modified(SystemTime::now())
    }

    /// Returns the path of the list `name`, if lists are kept.
    pub(crate) fn path(&self, name: &str) -> Option<PathBuf> {
        Some(self.directory.as_ref()?.join(name))
    }
}

/// Creates a directory for its owner alone, with those above it.
fn create_private(directory: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(directory)
}

/// Removes the files that were not written or confirmed for [`FORGOTTEN_AFTER`]: their URL is probably in no configuration any more.
fn remove_old(directory: &Path) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let written = entry.metadata().and_then(|found| found.modified());
        let is_old =
            |written: SystemTime| written.elapsed().is_ok_and(|elapsed| elapsed > FORGOTTEN_AFTER);
        if written.is_ok_and(is_old) {
            // Another proxy may have removed it just now.
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Checks that no other user can have read or changed a file.
#[cfg(unix)]
fn is_private(file: &File) -> io::Result<()> {
    use std::os::unix::fs::MetadataExt as _;

    let found = file.metadata()?;
    let refuse = |why| Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
    if found.uid() != rustix::process::geteuid().as_raw() {
        return refuse("it belongs to another user");
    }
    if found.mode() & 0o077 != 0 {
        return refuse("other users may read or change it");
    }
    Ok(())
}

/// Accepts every file: on this system the directory belongs to its user alone.
#[cfg(not(unix))]
fn is_private(_: &File) -> io::Result<()> {
    Ok(())
}

const VERSION: u32 = 1;
/// More than the largest list that is fetched.
const BYTES_MAX: u64 = 5 << 20;
const FORGOTTEN_AFTER: Duration = Duration::from_secs(90 * 24 * 60 * 60);

#[cfg(test)]
mod tests {
    use super::*;

    fn lists() -> (tempfile::TempDir, SavedLists) {
        let home = tempfile::tempdir().unwrap();
        let lists =
            SavedLists { directory: Some(home.path().join("lists").into()), is_read_only: false };
        (home, lists)
    }

    fn document(bytes: &[u8]) -> SavedDocument {
        SavedDocument {
            bytes: bytes.to_vec().into(),
            charset: Some("utf-8".into()),
            validators: Validators {
                etag: Some("\"7\"".into()),
                last_modified: Some("Fri, 27 Nov 2026 00:00:00 GMT".into()),
            },
            loaded: UNIX_EPOCH + Duration::from_secs(1_700_000_000),
        }
    }

    #[test]
    fn a_list_is_read_as_it_was_written() {
        let (_home, lists) = lists();
        assert_eq!(lists.read("a").unwrap(), None);
        for bytes in [&b"a:1\n\nb:2:u:p\n"[..], b"", b"{}\n"] {
            lists.write("a", &document(bytes)).unwrap();
            assert_eq!(lists.read("a").unwrap(), Some(document(bytes)));
        }
        assert_eq!(lists.read("b").unwrap(), None);
        SavedLists::default().write("a", &document(b"")).unwrap();
        assert_eq!(SavedLists::default().read("a").unwrap(), None);
    }

    #[test]
    fn a_broken_file_is_an_error_and_is_replaced() {
        let (_home, lists) = lists();
        lists.write("a", &document(b"a:1\n")).unwrap();
        let path = lists.path("a").unwrap();
        let whole = fs::read(&path).unwrap();
        let other =
            String::from_utf8(whole.clone()).unwrap().replace("\"version\":1", "\"version\":9");
        for broken in [&b""[..], b"{}", b"{}\n", b"a:1\n", other.as_bytes()] {
            fs::write(&path, broken).unwrap();
            assert!(lists.read("a").is_err(), "{}", broken.escape_ascii());
        }
        lists.write("a", &document(b"a:1\n")).unwrap();
        assert_eq!(fs::read(&path).unwrap(), whole);
    }

    #[cfg(unix)]
    #[test]
    fn a_file_that_others_can_read_is_not_used_and_not_kept() {
        use std::os::unix::fs::PermissionsExt as _;

        let (_home, lists) = lists();
        lists.write("a", &document(b"a:1\n")).unwrap();
        let path = lists.path("a").unwrap();
        let mode = || fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(), 0o600);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert_eq!(lists.read("a").unwrap_err().kind(), io::ErrorKind::PermissionDenied);
        lists.write("a", &document(b"a:1\n")).unwrap();
        assert_eq!(mode(), 0o600);
    }

    #[test]
    fn lists_that_no_server_confirmed_for_long_are_removed() {
        let (_home, lists) = lists();
        let long_ago = SystemTime::now() - FORGOTTEN_AFTER - Duration::from_secs(60);
        for name in ["old", "confirmed"] {
            lists.write(name, &document(b"a:1\n")).unwrap();
            let file = File::options().append(true).open(lists.path(name).unwrap()).unwrap();
            file.set_modified(long_ago).unwrap();
        }
        lists.confirm("confirmed").unwrap();
        lists.write("new", &document(b"a:1\n")).unwrap();
        let is_kept = |name| lists.read(name).unwrap().is_some();
        assert_eq!(["old", "confirmed", "new"].map(is_kept), [false, true, true]);
        assert!(lists.confirm("missing").is_err() && SavedLists::default().confirm("a").is_ok());
    }

    #[cfg(unix)]
    #[test]
    fn a_link_in_the_place_of_a_list_is_not_followed() {
        let (home, lists) = lists();
        lists.write("a", &document(b"a:1\n")).unwrap();
        std::os::unix::fs::symlink(lists.path("a").unwrap(), lists.path("b").unwrap()).unwrap();
        assert!(lists.read("b").is_err());
        use std::os::unix::fs::PermissionsExt as _;
        let mode = fs::metadata(home.path().join("lists")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
    }
}
