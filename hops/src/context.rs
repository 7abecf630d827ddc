//! The surroundings of a hop while it is built.

use std::{
    cell::{OnceCell, RefCell},
    collections::{BTreeMap, BTreeSet},
    fmt,
    fs::{self, File},
    hash::{BuildHasher as _, RandomState},
    io::{self, Read as _},
    path::{Path, PathBuf},
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use tokio_rustls::rustls::client::danger::ServerCertVerifier;
use zeroize::Zeroizing;

use crate::{
    Hop, InvalidSetting, KeyPath, Secret, Settings,
    encryption::{EncryptedFile, Encryption},
    exchange,
};

/// The surroundings of a hop while it is built, and a record of the files it has read.
///
/// ```
/// use std::path::Path;
/// use mooltiroute_hops::BuildContext;
///
/// let context = BuildContext::new(Path::new("/etc/mooltiroute")).with_head_bytes_max(8192);
/// assert_eq!(context.head_bytes_max(), 8192);
/// ```
#[derive(Debug)]
pub struct BuildContext<'a> {
    directory: &'a Path,
    hasher: RandomState,
    head_bytes_max: usize,
    handshake: Duration,
    files: RefCell<BTreeMap<PathBuf, u64>>,
    /// Every file that any hop of the configuration names, also one that can't be read.
    named: Rc<RefCell<BTreeSet<PathBuf>>>,
    /// The contents of those that were read. A file that two settings name is read once, so that both have the same content.
    contents: Rc<RefCell<FileContents>>,
    siblings: Option<&'a dyn Siblings>,
    warnings: RefCell<Vec<InvalidSetting>>,
    /// The settings that name files with secrets, which no credential of the hop shows.
    secret_files: RefCell<Vec<(KeyPath, PathBuf)>>,
    /// The sources of the hop's credentials, in words.
    login: Option<String>,
    /// Checks certificates by the system's authorities. Reading those takes milliseconds, so it is done once for a
    /// configuration.
    pub(crate) system_verifier: Rc<OnceCell<Arc<dyn ServerCertVerifier>>>,
}

/// The contents of files that settings name, as they were when they were read. They may be secrets, so they are wiped when
/// they are dropped.
#[derive(Clone, Default)]
pub struct FileContents(BTreeMap<PathBuf, Arc<Zeroizing<Vec<u8>>>>);

impl fmt::Debug for FileContents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// The other hops of a configuration, for a kind that holds hops.
pub trait Siblings: fmt::Debug {
    /// Returns the hop of this name, or `None` if it is switched off.
    ///
    /// # Errors
    /// [`InvalidSetting::unknown_hop`] if there is no such hop yet.
    fn hop(&self, name: &str) -> Result<Option<Arc<dyn Hop>>, InvalidSetting>;

    /// Builds a hop that is written inside the settings of another one, with its `kind`.
    ///
    /// # Errors
    /// Every invalid setting, with its path below `settings`.
    fn build(
        &self,
        settings: &Settings,
        context: &BuildContext<'_>,
    ) -> Result<Arc<dyn Hop>, Vec<InvalidSetting>>;
}

impl<'a> BuildContext<'a> {
    /// Creates a context for settings whose relative paths start from `directory`.
    pub fn new(directory: &'a Path) -> Self {
        Self {
            directory,
            hasher: RandomState::new(),
            head_bytes_max: exchange::HEAD_BYTES_MAX,
            handshake: HANDSHAKE,
            files: RefCell::default(),
            named: Rc::default(),
            contents: Rc::default(),
            siblings: None,
            warnings: RefCell::default(),
            secret_files: RefCell::default(),
            login: None,
            system_verifier: Rc::default(),
        }
    }

    /// Returns the directory that relative paths start from.
    pub fn directory(&self) -> &Path {
        self.directory
    }

    /// Makes fingerprints comparable to others of `hasher`.
    #[must_use]
    pub fn with_hasher(self, hasher: RandomState) -> Self {
        Self { hasher, ..self }
    }

    /// Returns the hasher of the fingerprints.
    pub(crate) fn hasher(&self) -> &RandomState {
        &self.hasher
    }

    /// Sets the number of bytes that the head of a hop's answer may have: `limits.header_bytes`.
    #[must_use]
    pub fn with_head_bytes_max(self, head_bytes_max: usize) -> Self {
        Self { head_bytes_max, ..self }
    }

    /// Returns the number of bytes that the head of a hop's answer may have.
    pub fn head_bytes_max(&self) -> usize {
        self.head_bytes_max
    }

    /// Sets how long a hop may take to answer, all rounds of its authentication included: `timeouts.handshake`.
    #[must_use]
    pub fn with_handshake(self, handshake: Duration) -> Self {
        Self { handshake, ..self }
    }

    /// Returns how long a hop may take to answer. The chain ends a wait that is longer; a hop that has to explain it
    /// ends it sooner.
    pub fn handshake(&self) -> Duration {
        self.handshake
    }

    /// Uses `contents` for the files that are in there, whatever is on the disk by now.
    #[must_use]
    pub fn with_contents(self, contents: FileContents) -> Self {
        Self { contents: Rc::new(RefCell::new(contents)), ..self }
    }

    /// Returns the contents of the files that this context or [another](Self::another) of the configuration has read.
    pub fn contents(&self) -> FileContents {
        self.contents.borrow().clone()
    }

    /// Adds the other hops of the configuration.
    #[must_use]
    pub fn with_siblings(self, siblings: &'a dyn Siblings) -> Self {
        Self { siblings: Some(siblings), ..self }
    }

    /// Adds the sources of the hop's credentials in words, such as "password from $PASSWORD". Advice about rejected
    /// credentials repeats them.
    #[must_use]
    pub fn with_login(self, login: Option<String>) -> Self {
        Self { login, ..self }
    }

    /// Returns the sources of the hop's credentials in words, if they are known.
    pub fn login(&self) -> Option<&str> {
        self.login.as_deref()
    }

    /// As [`Siblings::hop`].
    ///
    /// # Errors
    /// As there; also if there are no other hops.
    pub fn hop(&self, name: &str) -> Result<Option<Arc<dyn Hop>>, InvalidSetting> {
        self.siblings.ok_or_else(InvalidSetting::unknown_hop)?.hop(name)
    }

    /// As [`Siblings::build`].
    ///
    /// # Errors
    /// As there; also if there are no other hops.
    pub fn build(&self, settings: &Settings) -> Result<Arc<dyn Hop>, Vec<InvalidSetting>> {
        let siblings = self.siblings.ok_or_else(|| vec![InvalidSetting::unknown_hop()])?;
        siblings.build(settings, self)
    }

    /// Creates a context for another hop of the same configuration.
    #[must_use]
    pub fn another(&self) -> Self {
        Self {
            directory: self.directory,
            hasher: self.hasher.clone(),
            head_bytes_max: self.head_bytes_max,
            handshake: self.handshake,
            // Each hop counts the files that it reads itself, so that a changed file rebuilds only the hops that
            // read it. The names of all files, and the system's authorities, are shared by the whole configuration.
            files: RefCell::default(),
            named: Rc::clone(&self.named),
            contents: Rc::clone(&self.contents),
            siblings: self.siblings,
            warnings: RefCell::default(),
            secret_files: RefCell::default(),
            // The credentials of another hop come from elsewhere.
            login: None,
            system_verifier: Rc::clone(&self.system_verifier),
        }
    }

    /// Reads a file that the settings name. Its content counts as a part of the settings: if it differs at the next
    /// reload, the hop is built again.
    ///
    /// # Errors
    /// It can't be read, is a directory, a pipe or a device, is too large, is not in UTF-8 or is encrypted.
    pub fn read(&self, path: &Path) -> io::Result<Secret> {
        let (path, bytes) = self.read_bytes(path)?;
        let text = str::from_utf8(&bytes).map_err(|_| {
            let why = if is_utf16(&bytes) {
                "it is text in UTF-16; save it as UTF-8".to_owned()
            } else {
                not_utf_8(&bytes)
            };
            io::Error::new(io::ErrorKind::InvalidData, why)
        })?;
        // Only a keyed hash is kept. The content may be a password, and a context lives as long as the configuration
        // is loaded.
        self.files.borrow_mut().insert(path, self.hasher.hash_one(text));
        Ok(Secret::new(text))
    }

    /// Reads a file that need not be in UTF-8. Its content counts as in [`read`](Self::read).
    ///
    /// # Errors
    /// It can't be read, is not a regular file or is too large.
    pub fn read_binary(&self, path: &Path) -> io::Result<Vec<u8>> {
        let (path, bytes) = self.read_bytes(path)?;
        self.files.borrow_mut().insert(path, self.hasher.hash_one(&bytes[..]));
        Ok(bytes.to_vec())
    }

    /// Notes a file that a library reads by itself, and returns its full path. Its content counts as in
    /// [`read`](Self::read).
    ///
    /// # Errors
    /// It can't be read, is not a regular file or is too large.
    pub fn note(&self, path: &Path) -> io::Result<PathBuf> {
        let (path, bytes) = self.read_bytes(path)?;
        self.files.borrow_mut().insert(path.clone(), self.hasher.hash_one(&bytes[..]));
        Ok(path)
    }

    fn read_bytes(&self, path: &Path) -> io::Result<(PathBuf, Arc<Zeroizing<Vec<u8>>>)> {
        let path = self.directory.join(path);
        // The file is named before it is read: if it is missing, creating it has to lead to a reload too.
        self.named.borrow_mut().insert(path.clone());
        if let Some(bytes) = self.contents.borrow().0.get(&path) {
            return Ok((path, Arc::clone(bytes)));
        }
        // Opening a pipe without a writer would never return.
        let metadata = fs::metadata(&path).map_err(|error| {
            // One wording on every system.
            let is_missing = error.kind() == io::ErrorKind::NotFound || is_impossible_name(&error);
            if is_missing {
                io::Error::new(io::ErrorKind::NotFound, "there is no such file")
            } else {
                error
            }
        })?;
        if !metadata.is_file() {
            let is_directory = metadata.is_dir();
            let why = if is_directory { "it is a directory" } else { "it is a pipe or a device" };
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        }
        // The size of the metadata is not trusted: the file may grow, and some files of the system report zero.
        let mut bytes = Zeroizing::new(Vec::with_capacity(BYTES_EXPECTED));
        File::open(&path)?.take(BYTES_MAX + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > BYTES_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it is larger than 4 MiB"));
        }
        if let Some(encryption) = Encryption::of(&bytes) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, EncryptedFile(encryption)));
        }
        let bytes = Arc::new(bytes);
        self.contents.borrow_mut().0.insert(path.clone(), Arc::clone(&bytes));
        Ok((path, bytes))
    }

    /// Reports something that is odd with the settings but no reason to refuse them. `check` and the log show it.
    pub fn warn(&self, warning: InvalidSetting) {
        self.warnings.borrow_mut().push(warning);
    }

    /// Returns the warnings so far.
    pub fn warnings(&self) -> Vec<InvalidSetting> {
        self.warnings.borrow().clone()
    }

    /// Notes that the file at `path`, which `setting` names, has a secret in it, so that other users should not read it.
    pub fn note_secret(&self, setting: KeyPath, path: &Path) {
        self.secret_files.borrow_mut().push((setting, self.directory.join(path)));
    }

    /// Returns the files that have a secret in them, with the settings that name them.
    pub fn secret_files(&self) -> Vec<(KeyPath, PathBuf)> {
        self.secret_files.borrow().clone()
    }

    /// Returns every file that was asked for by this context or [another](Self::another) of the configuration, whether
    /// or not it could be read. A change of any of them calls for a reload.
    pub fn named_files(&self) -> Vec<PathBuf> {
        self.named.borrow().iter().cloned().collect()
    }

    /// Returns a fingerprint of all files that were read, or `None` if there were none.
    pub fn fingerprint(&self) -> Option<u64> {
        let files = self.files.borrow();
        (!files.is_empty()).then(|| self.hasher.hash_one(&*files))
    }
}

/// Returns whether a text begins with a byte order mark of UTF-16, which some editors and shells of Windows write.
pub fn is_utf16(bytes: &[u8]) -> bool {
    bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff")
}

/// Says where `bytes` are not text in UTF-8.
fn not_utf_8(bytes: &[u8]) -> String {
    let valid = str::from_utf8(bytes).map_or_else(|error| error.valid_up_to(), str::len);
    let line = bytes[..valid].iter().filter(|byte| **byte == b'\n').count() + 1;
    format!("line {line} is not valid UTF-8; save the file as UTF-8")
}

/// The default of `timeouts.handshake`.
const HANDSHAKE: Duration = Duration::from_secs(30);
/// A bundle of all public authorities has a quarter of a mebibyte.
const BYTES_MAX: u64 = 4 << 20;

/// More than a password has, so that it is not copied while the buffer grows.
const BYTES_EXPECTED: usize = 4 << 10;

/// Returns whether Windows says that no file can have this name, for instance a name of several lines.
fn is_impossible_name(error: &io::Error) -> bool {
    const ERROR_INVALID_NAME: i32 = 123;
    cfg!(windows) && error.raw_os_error() == Some(ERROR_INVALID_NAME)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_a_part_of_the_fingerprint() {
        let directory = std::env::temp_dir().join(format!("mooltiroute-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let hasher = RandomState::new();
        let read = |text: &str| {
            fs::write(directory.join("a"), text).unwrap();
            let context = BuildContext::new(&directory).with_hasher(hasher.clone());
            assert_eq!(context.fingerprint(), None);
            assert_eq!(context.read(Path::new("a")).unwrap().expose(), text);
            context.fingerprint()
        };
        assert_eq!(read("one"), read("one"));
        let context = BuildContext::new(&directory);
        context.another().read(Path::new("a")).unwrap();
        fs::write(directory.join("a"), "half").unwrap();
        let again = BuildContext::new(&directory).with_contents(context.contents());
        assert_eq!(again.another().read(Path::new("a")).unwrap().expose(), "one");
        assert!(!format!("{again:?}").contains("one\""), "a content may be secret");
        assert_ne!(read("one"), read("two"));
        let context = BuildContext::new(&directory);
        assert!(context.another().read(Path::new("b")).is_err());
        assert_eq!(context.named_files(), [directory.join("b")], "a missing file counts too");
        assert!(context.read(Path::new("")).is_err(), "a directory");
        fs::write(directory.join("a"), b"\xff").unwrap();
        assert!(context.read(Path::new("a")).is_err());
        File::create(directory.join("a")).unwrap().set_len(BYTES_MAX + 1).unwrap();
        assert!(context.read(Path::new("a")).is_err());
        fs::remove_dir_all(&directory).unwrap();
    }
}
