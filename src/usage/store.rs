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
use crate::system::{file_lock, regular_file, replace_file::replace_file};

/// All accounts at one moment, as the file stores them.
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
    /// The used parts of budgets, by hop.
    pub budgets: BTreeMap<String, BudgetRecord>,
}

/// A budget and its use.
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
        for (name, record) in &self.budgets {
            usage.hops.account(name).restore_spending(record.used);
        }
        self.add_sums_to(usage)
    }

    /// Adds these accounts, which other processes have counted, to those of `usage`. Returns when counting began.
    pub(super) fn add_to(&self, usage: &UsageLedger) -> Option<SystemTime> {
        for (name, record) in &self.budgets {
            usage.hops.account(name).spend_elsewhere(record.used);
        }
        self.add_sums_to(usage)
    }

    fn add_sums_to(&self, usage: &UsageLedger) -> Option<SystemTime> {
        fn add<N: ?Sized + AccountName>(sums: &BTreeMap<String, Sum>, book: &Book<N>) {
            for (name, sum) in sums {
                book.recorded(name).restore(*sum);
            }
        }
        add(&self.hops, &usage.hops);
        add(&self.chains, &usage.chains);
        add(&self.routes, &usage.routes);
        add(&self.sessions, &usage.sessions);
        add(&self.targets, &usage.targets);
        UNIX_EPOCH.checked_add(Duration::from_secs(self.since))
    }

    /// Returns the difference between this record and `earlier`.
    fn since(mut self, earlier: &Self) -> Self {
        fn subtract(sums: &mut BTreeMap<String, Sum>, earlier: &BTreeMap<String, Sum>) {
            sums.retain(|name, sum| {
                let before = earlier.get(name).copied().unwrap_or_default();
                sum.requests = sum.requests.saturating_sub(before.requests);
                sum.sent = sum.sent.saturating_sub(before.sent);
                sum.received = sum.received.saturating_sub(before.received);
                *sum != Sum::default()
            });
        }
        subtract(&mut self.hops, &earlier.hops);
        subtract(&mut self.chains, &earlier.chains);
        subtract(&mut self.routes, &earlier.routes);
        subtract(&mut self.sessions, &earlier.sessions);
        subtract(&mut self.targets, &earlier.targets);
        for (name, record) in &mut self.budgets {
            let before = earlier.budgets.get(name).map(|before| before.used);
            // In another period, all of the use is new.
            if let Some(before) = before.filter(|before| before.period == record.used.period) {
                record.used.used = record.used.used.saturating_sub(before.used);
            }
        }
        self
    }
}

impl UsageFile {
    /// Returns the file in `directory` for the configuration at a path, or for the built-in one.
    ///
    /// Each configuration has a file of its own, so that two proxies of one user do not overwrite each other's counts.
    pub(crate) fn of(configuration: Option<&Path>, directory: &Path) -> Self {
        let name = match configuration {
            Some(path) => {
                let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
                format!("usage-{:016x}.json", stable_hash(&path.to_string_lossy()))
            }
            None => "usage.json".to_owned(),
        };
        Self(directory.join(name))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Reads the file. Returns `None` if there is none.
    ///
    /// # Errors
    /// It can't be read, or its content [is no record](is_no_record).
    pub(crate) fn read(&self) -> io::Result<Option<UsageRecord>> {
        use io::ErrorKind::{NotADirectory, NotFound};

        let mut text = String::new();
        match regular_file::open(&self.0) {
            Ok(file) => file.take(BYTES_MAX).read_to_string(&mut text)?,
            Err(error) if matches!(error.kind(), NotFound | NotADirectory) => return Ok(None),
            Err(error) => return Err(error),
        };
        let record: UsageRecord = serde_json::from_str(&text)?;
        if record.version != VERSION {
            let message =
                format!("its version is {}, but this program expects {VERSION}", record.version);
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        Ok(Some(record))
    }

    /// Adds the counts that other processes have saved meanwhile to `usage`, and saves the result. `known` is the content of
    /// the file that `usage` already includes.
    ///
    /// Two proxies may have the same configuration, for instance during an upgrade while the old one still drains. Both save
    /// to this file, so neither may overwrite the counts of the other.
    ///
    /// # Errors
    /// The directory or the file can't be written, for example because the disk is full, or another process keeps the
    /// directory locked. Or the file can't be read, so that its counts would be lost. The old file stays.
    pub(crate) fn save(&self, usage: &UsageLedger, known: &mut UsageRecord) -> io::Result<()> {
        let directory = self.0.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(directory)?;
        let _lock = lock_directory(directory)?;
        match self.read() {
            Ok(Some(found)) if found != *known => {
                usage.add(&found.clone().since(known));
                // Noted before anything can fail, so that nothing is added twice.
                *known = found;
            }
            Err(error) if !is_no_record(&error) => return Err(error),
            // A file without a record was set aside at the start. One that was damaged later is replaced.
            _ => {}
        }
        let record = usage.record();
        self.replace(&record)?;
        *known = record;
        Ok(())
    }

    /// Replaces the file in one step, so that even after a crash there is either the old one or the new one. Only its owner can
    /// read it, since it names sessions and targets.
    fn replace(&self, record: &UsageRecord) -> io::Result<()> {
        replace_file(&self.0, &serde_json::to_vec(record)?)
    }

    /// Renames a file without a record, so that its content is not lost.
    pub(crate) fn set_aside(&self) -> io::Result<PathBuf> {
        let aside = self.0.with_extension("json.unreadable");
        fs::rename(&self.0, &aside)?;
        Ok(aside)
    }
}

/// Returns whether a file was read, and is no record of this version, or no file at all.
///
/// Every other error says nothing about the content: the system lacked a descriptor, a disk or a server failed, or the file
/// belongs to another user. Such a file is kept, also if it will take somebody to mend that.
pub(crate) fn is_no_record(error: &io::Error) -> bool {
    // The errors of the system have codes. Those of the parser, and those of this program, have none.
    error.raw_os_error().is_none()
}

/// Returns the FNV-1a hash, which is the same in every process.
fn stable_hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// Keeps other proxies from the files in `directory` until the lock is dropped. The directory itself is locked, so that no lock
/// file is left in it.
#[cfg(unix)]
fn lock_directory(directory: &Path) -> io::Result<File> {
    file_lock::lock(File::open(directory)?)
}

/// Keeps other proxies from the files in `directory` until the lock is dropped. Windows locks files only, so there is one for it.
#[cfg(not(unix))]
fn lock_directory(directory: &Path) -> io::Result<File> {
    file_lock::lock(file_lock::open(&directory.join("usage.lock"))?)
}

const VERSION: u32 = 1;
/// The most bytes of a file, far more than five books of ten thousand names take.
const BYTES_MAX: u64 = 64 << 20;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let directory = tempfile::tempdir().unwrap();
        let file = UsageFile(directory.path().join("a/usage.json"));
        assert_eq!(file.read().unwrap(), None);
        let usage = UsageLedger::default();
        usage.hops.account("exit").restore(Sum { requests: 1, sent: 2, received: 3 });
        let (record, mut known) = (usage.record(), UsageRecord::default());
        file.save(&usage, &mut known).unwrap();
        file.save(&usage, &mut known).unwrap();
        assert_eq!(file.read().unwrap(), Some(record.clone()));
        assert_eq!(known, record);
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
        let (usage, other) = (UsageLedger::default(), UsageLedger::default());
        let (mut known, mut known_to_other) = Default::default();
        file.save(&usage, &mut known).unwrap();
        let exit = Sum { requests: 1, sent: 2, received: 3 };
        other.hops.account("exit").restore(exit);
        file.save(&other, &mut known_to_other).unwrap();
        let saved = file.read().unwrap();
        // Something that can't be replaced by a file is where the new one would be written.
        let new = directory.path().join(format!(".usage.json.{}.new", std::process::id()));
        fs::create_dir(&new).unwrap();
        assert!(file.save(&usage, &mut known).is_err());
        assert_eq!(file.read().unwrap(), saved);
        fs::remove_dir(new).unwrap();
        file.save(&usage, &mut known).unwrap();
        let saved = file.read().unwrap().unwrap();
        assert_eq!(saved.hops["exit"], exit, "what the other counted was added once");
    }

    #[test]
    fn two_processes_count_in_one_file() {
        let directory = tempfile::tempdir().unwrap();
        let file = UsageFile(directory.path().join("usage.json"));
        let [one, two] = [(); 2].map(|()| UsageLedger::default());
        let (mut known_to_one, mut known_to_two) = Default::default();
        let budget = budget();
        let name: Arc<str> = "exit".into();
        for usage in [&one, &two] {
            usage.set_budgets([(&name, &budget)]);
        }
        for round in 1..=3_u64 {
            one.hops.account("exit").add(10, 1);
            file.save(&one, &mut known_to_one).unwrap();
            two.hops.account("exit").add(0, 5);
            two.sessions.account("alice").add_request();
            file.save(&two, &mut known_to_two).unwrap();
            let saved = file.read().unwrap().unwrap();
            let exit = Sum { requests: 0, sent: 10 * round, received: 6 * round };
            assert_eq!((saved.hops["exit"], saved.sessions["alice"].requests), (exit, round));
            assert_eq!(saved.budgets["exit"].used.used, 16 * round);
        }
        // Each of them knows of the use of the other.
        file.save(&one, &mut known_to_one).unwrap();
        assert_eq!(one.record(), two.record());
        assert!(one.hops.account("exit").exhausted().is_some());
        assert!(one.hops.account("exit").take_limit().is_some(), "each acts on it");
        assert!(two.hops.account("exit").take_limit().is_some());
    }

    fn budget() -> crate::config::Budget {
        use crate::budget::{Budget, Consequence, Per, Zone};

        let (per, zone, then) = (Per::Month, Zone::default(), Consequence::Refuse);
        Budget { bytes: 40, per, zone, warn: 32, then, cuts: false }
    }

    #[test]
    fn a_new_period_of_a_budget_has_nothing_of_the_last_one() {
        let used = |start, used| BudgetRecord {
            used: BudgetUse {
                period: crate::budget::BudgetPeriod { start, end: start + 10 },
                used,
                ..BudgetUse::default()
            },
            ..BudgetRecord::default()
        };
        let record = |budget| UsageRecord {
            budgets: [("exit".to_owned(), budget)].into(),
            ..UsageRecord::default()
        };
        let since = |now, before| record(now).since(&record(before)).budgets["exit"].used.used;
        assert_eq!(since(used(0, 7), used(0, 5)), 2);
        assert_eq!(since(used(10, 7), used(0, 5)), 7);
        assert_eq!(since(used(0, 5), used(0, 7)), 0);
    }
}
