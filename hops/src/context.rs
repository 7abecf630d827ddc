//! What a hop can know of its surroundings while it is built.

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
};

use tokio_rustls::rustls::client::danger::ServerCertVerifier;
use zeroize::Zeroizing;

use crate::{Hop, InvalidSetting, Secret, Settings};

/// What a hop can know of its surroundings while it is built, and what it has read there.
#[derive(Debug)]
pub struct BuildContext<'a> {
    directory: &'a Path,
    hasher: RandomState,
    files: RefCell<BTreeMap<PathBuf, u64>>,
    /// Every file that any hop of the configuration names, also one that can't be read.
    named: Rc<RefCell<BTreeSet<PathBuf>>>,
    siblings: Option<&'a dyn Siblings>,
    /// Checks certificates by the system's authorities. To read those takes milliseconds, so a configuration does once.
    pub(crate) system_verifier: Rc<OnceCell<Arc<dyn ServerCertVerifier>>>,
}

/// The other hops of a configuration, for a kind that holds hops.
pub trait Siblings: fmt::Debug {
    /// The hop of this name; `None` where it is switched off.
    ///
    /// # Errors
    /// [`InvalidSetting::unknown_hop`] where there is none that can be used.
    fn hop(&self, name: &str) -> Result<Option<Arc<dyn Hop>>, InvalidSetting>;

    /// A hop that stands in another's settings, with its `kind`, in the surroundings of that one.
    ///
    /// # Errors
    /// Everything that is wrong with it, with its path below `settings`.
    fn build(
        &self,
        settings: &Settings,
        context: &BuildContext<'_>,
    ) -> Result<Arc<dyn Hop>, Vec<InvalidSetting>>;
}

impl<'a> BuildContext<'a> {
    /// For settings whose relative paths start from `directory`.
    pub fn new(directory: &'a Path) -> Self {
        Self {
            directory,
            hasher: RandomState::new(),
            files: RefCell::default(),
            named: Rc::default(),
            siblings: None,
            system_verifier: Rc::default(),
        }
    }

    /// The same, with fingerprints that can be compared to others of this hasher.
    #[must_use]
    pub fn with_hasher(self, hasher: RandomState) -> Self {
        Self { hasher, ..self }
    }

    /// The same, where there are other hops.
    #[must_use]
    pub fn with_siblings(self, siblings: &'a dyn Siblings) -> Self {
        Self { siblings: Some(siblings), ..self }
    }

    /// As [`Siblings::hop`].
    ///
    /// # Errors
    /// As there; also where there are no other hops.
    pub fn hop(&self, name: &str) -> Result<Option<Arc<dyn Hop>>, InvalidSetting> {
        self.siblings.ok_or_else(InvalidSetting::unknown_hop)?.hop(name)
    }

    /// As [`Siblings::build`].
    ///
    /// # Errors
    /// As there; also where there are no other hops.
    pub fn build(&self, settings: &Settings) -> Result<Arc<dyn Hop>, Vec<InvalidSetting>> {
        let siblings = self.siblings.ok_or_else(|| vec![InvalidSetting::unknown_hop()])?;
        siblings.build(settings, self)
    }

    /// For another hop of the same configuration.
    #[must_use]
    pub fn another(&self) -> Self {
        Self {
            directory: self.directory,
            hasher: self.hasher.clone(),
            files: RefCell::default(),
            named: Rc::clone(&self.named),
            siblings: self.siblings,
            system_verifier: Rc::clone(&self.system_verifier),
        }
    }

    /// The text of a file that the settings name. What is read so counts as a part of them: where it differs at the next
    /// reload, the hop is built anew.
    ///
    /// # Errors
    /// It can't be read, is no regular file, is too large or is not in UTF-8.
    pub fn read(&self, path: &Path) -> io::Result<Secret> {
        let path = self.directory.join(path);
        self.named.borrow_mut().insert(path.clone());
        // Opening a pipe without a writer would wait for ever.
        let metadata = fs::metadata(&path).map_err(|error| match error.kind() {
            // The same words on every system.
            io::ErrorKind::NotFound => io::Error::new(error.kind(), "there is no such file"),
            _ => error,
        })?;
        if !metadata.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file"));
        }
        let mut bytes = Zeroizing::new(Vec::with_capacity(BYTES_EXPECTED));
        File::open(&path)?.take(BYTES_MAX + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > BYTES_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it is over 4 MiB"));
        }
        let text = str::from_utf8(&bytes)
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not valid UTF-8"))?;
        self.files.borrow_mut().insert(path, self.hasher.hash_one(text));
        Ok(Secret::new(text))
    }

    /// Returns every file that was asked for by this context or [another](Self::another) of the configuration, whether
    /// or not it could be read. A change of any of them calls for a reload.
    pub fn named_files(&self) -> Vec<PathBuf> {
        self.named.borrow().iter().cloned().collect()
    }

    /// Of all files that were read; `None` where none was.
    pub fn fingerprint(&self) -> Option<u64> {
        let files = self.files.borrow();
        (!files.is_empty()).then(|| self.hasher.hash_one(&*files))
    }
}

/// A bundle of all public authorities has a quarter of a mebibyte.
const BYTES_MAX: u64 = 4 << 20;

/// More than a password has, so that it is not copied while the buffer grows.
const BYTES_EXPECTED: usize = 4 << 10;

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
