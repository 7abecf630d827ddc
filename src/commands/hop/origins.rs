//! Remembers the values that `on` and `off` replaced, in a small file in the state directory.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use thiserror::Error;

use crate::{
    config::{Environment, edit::Origin},
    system::{regular_file, replace_file::replace_file},
};

/// The replaced values, by file and hop.
#[derive(Debug)]
pub(super) struct Origins {
    path: PathBuf,
    known: Known,
}

type Known = BTreeMap<String, BTreeMap<String, Origin>>;

/// The reason why nothing can be remembered.
#[derive(Debug, Error)]
pub(super) enum OriginsError {
    /// Neither the state directory nor the home directory is known.
    #[error("there is no place to remember the condition in: set XDG_STATE_HOME or HOME")]
    NoDirectory,
    /// The file can't be read or written.
    #[error("{}: {cause}{}", path.display(), if cause.kind() == io::ErrorKind::PermissionDenied { OTHER_USER } else { "" })]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's error.
        cause: io::Error,
    },
}

impl Origins {
    /// Reads the remembered values. A file that can't be understood is no reason to refuse a switch, and
    /// counts as empty.
    ///
    /// # Errors
    /// There is no place for it, or it can't be read.
    pub(super) fn read(environment: &Environment) -> Result<Self, OriginsError> {
        let directory = environment.state_directory().ok_or(OriginsError::NoDirectory)?;
        let path = directory.join("hops.json");
        let known = known(&path)?;
        Ok(Self { path, known })
    }

    /// Returns the value that the switch of the hop `name` in `file` replaced.
    pub(super) fn of(&self, file: &Path, name: &str) -> Option<&Origin> {
        self.known.get(&*file.to_string_lossy())?.get(name)
    }

    /// Returns the files, other than `file`, of whose hop `name` a switch replaced a value, with that value.
    pub(super) fn elsewhere<'a>(
        &'a self,
        file: &Path,
        name: &'a str,
    ) -> impl Iterator<Item = (&'a str, &'a Origin)> {
        let own = file.to_string_lossy().into_owned();
        let others = self.known.iter().filter(move |(known, _)| **known != own);
        others.filter_map(move |(known, hops)| Some((known.as_str(), hops.get(name)?)))
    }

    /// Remembers `origin`, or forgets the remembered value, and writes the file at once. The caller keeps other commands from
    /// doing the same meanwhile.
    ///
    /// # Errors
    /// It can't be read or written.
    pub(super) fn set(
        &mut self,
        file: &Path,
        name: &str,
        origin: Option<Origin>,
    ) -> Result<(), OriginsError> {
        // Other commands may have written it since it was read.
        self.known = known(&self.path)?;
        let hops = self.known.entry(file.to_string_lossy().into_owned()).or_default();
        match origin {
            Some(origin) => hops.insert(name.to_owned(), origin),
            None => hops.remove(name),
        };
        // A file whose hops are all restored leaves no entry behind.
        self.known.retain(|_, hops| !hops.is_empty());
        self.write().map_err(|cause| OriginsError::Io { path: self.path.clone(), cause })
    }

    fn write(&self) -> io::Result<()> {
        if let Some(directory) = self.path.parent() {
            fs::create_dir_all(directory)?;
        }
        let json = serde_json::to_vec_pretty(&self.known)?;
        replace_file(&self.path, &json)
    }
}

/// Reads what the file at `path` remembers, which is nothing if there is none.
fn known(path: &Path) -> Result<Known, OriginsError> {
    let mut json = Vec::new();
    let read = regular_file::open(path).and_then(|mut file| file.read_to_end(&mut json));
    match read {
        Ok(_) => Ok(serde_json::from_slice(&json).unwrap_or_default()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Known::default()),
        Err(cause) => Err(OriginsError::Io { path: path.to_owned(), cause }),
    }
}

const OTHER_USER: &str = "; run this command as the user of the proxy, or name a directory that you may write in `XDG_STATE_HOME`";
