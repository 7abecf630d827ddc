//! The accounts on disk.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Read as _},
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};

use super::{
    BudgetUse, UsageLedger,
    book::{AccountName, Book},
};
use crate::{
    config::{Environment, Source},
    system::replace_file::replace_file,
};

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
        fn sums<N: ?Sized + AccountName>(book: &Book<N>) -> BTreeMap<String, Sum> {
            let sums = book.all().into_iter().map(|(name, one)| (name, one.sum()));
            sums.filter(|(_, sum)| *sum != Sum::default()).collect()
        }
        let budgets = usage.hops.all().into_iter().filter_map(|(name, account)| {
            let (budget, used) = account.budget_use()?;
            let record = BudgetRecord { bytes: budget.bytes, per: budget.per.to_string(), used };
            Some((name, record))
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
        fn restore<N: ?Sized + AccountName>(sums: &BTreeMap<String, Sum>, book: &Book<N>) {
            for (name, sum) in sums {
                book.recorded(name).restore(*sum);
            }
        }
        restore(&self.hops, &usage.hops);
        restore(&self.chains, &usage.chains);
        restore(&self.routes, &usage.routes);
        restore(&self.sessions, &usage.sessions);
        restore(&self.targets, &usage.targets);
        for (name, record) in &self.budgets {
            usage.hops.account(name).restore_spending(record.used);
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
        Some(Self(environment.state_directory()?.join(name)))
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

    /// Replaces the file in one step: at any moment there is either the old one or the new one, also after a crash. Only
    /// its owner can read it, since it names sessions and targets.
    ///
    /// # Errors
    /// The directory or the file can't be written, for example because the disk is full. The old file stays.
    pub(crate) fn write(&self, record: &UsageRecord) -> io::Result<()> {
        if let Some(directory) = self.0.parent() {
            fs::create_dir_all(directory)?;
        }
        replace_file(&self.0, &serde_json::to_vec(record)?)
    }

    /// Moves a file that can't be read out of the way, so that nothing of it is lost.
    pub(crate) fn set_aside(&self) -> io::Result<PathBuf> {
        let aside = self.0.with_extension("json.unreadable");
        fs::rename(&self.0, &aside)?;
        Ok(aside)
    }
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
        usage.hops.account("exit").restore(Sum { requests: 1, sent: 2, received: 3 });
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
        let new = format!(".usage.json.{}.new", std::process::id());
        fs::create_dir(directory.path().join(new)).unwrap();
        assert!(file.write(&UsageLedger::default().record()).is_err());
        assert_eq!(file.read().unwrap(), Some(record));
    }
}
