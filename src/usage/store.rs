//! The accounts on disk.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};

use super::{BudgetUse, UsageLedger, book::Book};
use crate::config::{Environment, Source};

/// All accounts at one moment, as the file has them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct UsageRecord {
    /// The version of this format.
    version: u32,
    /// When counting began, in seconds since 1970.
    pub since: u64,
    /// By hop.
    pub hops: BTreeMap<String, Sum>,
    /// By chain.
    pub chains: BTreeMap<String, Sum>,
    /// By route.
    pub routes: BTreeMap<String, Sum>,
    /// By session.
    pub sessions: BTreeMap<String, Sum>,
    /// By target.
    pub targets: BTreeMap<String, Sum>,
    /// The bytes that are used of budgets, by hop.
    pub budgets: BTreeMap<String, BudgetRecord>,
}

/// A budget, and what is used of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BudgetRecord {
    /// The limit.
    pub bytes: u64,
    /// The length of a period.
    pub per: String,
    /// The bytes that are used.
    #[serde(flatten)]
    pub used: BudgetUse,
}

/// The requests and bytes of one account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Sum {
    /// Requests and tunnels.
    pub requests: u64,
    /// Bytes sent on the wire.
    pub sent: u64,
    /// Bytes received from the wire.
    pub received: u64,
}

/// The file that keeps the accounts of one configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UsageFile(PathBuf);

impl UsageRecord {
    pub(super) fn of(usage: &UsageLedger, since: SystemTime) -> Self {
        let sums = |book: &Book| {
            let sums = book.all().into_iter().map(|(name, one)| (name.to_string(), one.sum()));
            sums.filter(|(_, sum)| *sum != Sum::default()).collect()
        };
        let budgets = usage.hops.all().into_iter().filter_map(|(name, account)| {
            let (budget, used) = account.budget_use()?;
            let record = BudgetRecord { bytes: budget.bytes, per: budget.per.to_string(), used };
            Some((name.to_string(), record))
        });
        Self {
            version: VERSION,
            since: since.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs(),
            hops: sums(&usage.hops),
            chains: sums(&usage.chains),
            routes: sums(&usage.routes),
            sessions: sums(&usage.sessions),
            targets: sums(&usage.targets),
            budgets: budgets.collect(),
        }
    }

    /// Adds these accounts to those of `usage`. Returns when counting began.
    pub(super) fn restore_into(&self, usage: &UsageLedger) -> Option<SystemTime> {
        let restore = |sums: &BTreeMap<String, Sum>, book: &Book| {
            for (name, sum) in sums {
                book.account(&Arc::from(name.as_str())).restore(*sum);
            }
        };
        restore(&self.hops, &usage.hops);
        restore(&self.chains, &usage.chains);
        restore(&self.routes, &usage.routes);
        restore(&self.sessions, &usage.sessions);
        restore(&self.targets, &usage.targets);
        for (name, record) in &self.budgets {
            usage.hops.account(&Arc::from(name.as_str())).restore_spending(record.used);
        }
        UNIX_EPOCH.checked_add(Duration::from_secs(self.since))
    }
}

impl UsageFile {
    /// Returns the file for the configuration from `source`, or `None` if the configuration is not in files or the
    /// user has no directory for such files.
    ///
    /// The directory is the one that systemd gives a service, or else that of the user. Each configuration has a file of
    /// its own, so that two proxies of one user do not overwrite each other's counts.
    pub(crate) fn find(source: &Source, environment: &Environment) -> Option<Self> {
        let name = match source {
            Source::Path(path) => {
                let path = fs::canonicalize(path).unwrap_or_else(|_| path.clone());
                format!("usage-{:016x}.json", stable_hash(&path.to_string_lossy()))
            }
            Source::Text(_) | Source::CommandLine { .. } => return None,
            Source::Embedded => "usage.json".to_owned(),
        };
        Some(Self(state_directory(environment)?.join(name)))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Reads the file. Returns `None` if there is none.
    ///
    /// # Errors
    /// It can't be read, or is no record of this version.
    pub(crate) fn read(&self) -> io::Result<Option<UsageRecord>> {
        let mut text = String::new();
        match File::open(&self.0) {
            Ok(file) => file.take(BYTES_MAX).read_to_string(&mut text)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let record: UsageRecord = serde_json::from_str(&text)?;
        if record.version != VERSION {
            let message = format!("its version is {}, and not {VERSION}", record.version);
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        Ok(Some(record))
    }

    /// Replaces the file in one step: at any moment there is either the old one or the new one, also after a crash.
    ///
    /// # Errors
    /// The directory or the file can't be written, for example because the disk is full. The old file stays.
    pub(crate) fn write(&self, record: &UsageRecord) -> io::Result<()> {
        let directory = self.0.parent().unwrap_or(Path::new(""));
        fs::create_dir_all(directory)?;
        let mut name = self.0.file_name().map_or_else(OsString::new, ToOwned::to_owned);
        name.push(".new");
        let new = directory.join(name);
        let written = private_file(&new).and_then(|mut file| {
            file.write_all(&serde_json::to_vec(record)?)?;
            file.sync_all()
        });
        if let Err(error) = written.and_then(|()| fs::rename(&new, &self.0)) {
            // A part of a file would only take room on a disk that is full.
            let _ = fs::remove_file(&new);
            return Err(error);
        }
        // The rename itself is on disk once the directory is. Systems that can't open a directory do without.
        let _ = File::open(directory).and_then(|directory| directory.sync_all());
        Ok(())
    }

    /// Moves a file that can't be read out of the way, so that nothing of it is lost.
    pub(crate) fn set_aside(&self) -> io::Result<PathBuf> {
        let aside = self.0.with_extension("json.unreadable");
        fs::rename(&self.0, &aside)?;
        Ok(aside)
    }
}

/// Returns the directory for files that outlive a process, if the environment names one.
pub(crate) fn state_directory(environment: &Environment) -> Option<PathBuf> {
    let set = |name| {
        let path = environment.variable(name).map(PathBuf::from);
        path.filter(|path| path.is_absolute())
    };
    // systemd separates several directories by colons.
    let of_service = environment.variable("STATE_DIRECTORY").and_then(|value| {
        let value = value.into_string().ok()?;
        value.split(':').next().map(PathBuf::from).filter(|path| path.is_absolute())
    });
    if let Some(directory) = of_service {
        return Some(directory);
    }
    let user = if let Some(state) = set("XDG_STATE_HOME") {
        Some(state)
    } else if cfg!(windows) {
        set("LOCALAPPDATA")
    } else if cfg!(target_os = "macos") {
        set("HOME").map(|home| home.join("Library/Application Support"))
    } else {
        set("HOME").map(|home| home.join(".local/state"))
    };
    user.map(|user| user.join("mooltiroute"))
}

/// Opens an empty file that only its owner can read: it names sessions and targets.
fn private_file(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// FNV-1a: the name of a file must be the same in every process.
fn stable_hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

const VERSION: u32 = 1;
/// Far more than five books of ten thousand names take.
const BYTES_MAX: u64 = 64 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let directory = tempfile::tempdir().unwrap();
        let file = UsageFile(directory.path().join("a/usage.json"));
        assert_eq!(file.read().unwrap(), None);
        let usage = UsageLedger::default();
        usage.hops.account(&"exit".into()).restore(Sum { requests: 1, sent: 2, received: 3 });
        let record = usage.record();
        file.write(&record).unwrap();
        file.write(&record).unwrap();
        assert_eq!(file.read().unwrap(), Some(record.clone()));
        let later = UsageLedger::default();
        later.restore(&record);
        assert_eq!(later.record(), record);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            assert_eq!(fs::metadata(file.path()).unwrap().permissions().mode() & 0o777, 0o600);
        }
        fs::write(file.path(), "{").unwrap();
        assert!(file.read().is_err());
        let aside = file.set_aside().unwrap();
        assert_eq!((file.read().unwrap(), fs::read_to_string(aside).unwrap()), (None, "{".into()));
    }

    #[test]
    fn a_failed_write_leaves_the_old_file() {
        let directory = tempfile::tempdir().unwrap();
        let file = UsageFile(directory.path().join("usage.json"));
        let record = UsageLedger::default().record();
        file.write(&record).unwrap();
        // Something that can't be replaced by a file is where the new one would be written.
        fs::create_dir(directory.path().join("usage.json.new")).unwrap();
        assert!(file.write(&UsageLedger::default().record()).is_err());
        assert_eq!(file.read().unwrap(), Some(record));
    }

    #[test]
    fn the_directory_of_a_service_comes_first() {
        let of = |names: &'static [(&str, &str)]| {
            let value = |name: &str| names.iter().find(|(known, _)| *known == name);
            let environment = Environment::new(
                move |name| value(name).map(|(_, value)| (*value).into()),
                Path::new(""),
            );
            state_directory(&environment)
        };
        let user = ("XDG_STATE_HOME", "/home/a/state");
        assert_eq!(of(&[]), None);
        #[cfg(unix)]
        {
            assert_eq!(
                of(&[("XDG_STATE_HOME", "/home/a/state")]),
                Some(PathBuf::from("/home/a/state/mooltiroute"))
            );
            let _ = user;
            assert_eq!(
                of(&[("STATE_DIRECTORY", "/var/lib/m:/var/lib/n"), ("XDG_STATE_HOME", "/s")]),
                Some("/var/lib/m".into())
            );
        }
        #[cfg(not(unix))]
        let _ = user;
    }
}
