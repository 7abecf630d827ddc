//! Runs the thread that folds counts into accounts, saves them and enforces budgets.

use std::{
    convert::Infallible,
    sync::{
        Arc, Weak,
        mpsc::{self, Receiver, Sender},
    },
    time::{Duration, Instant},
};

use tracing::{info, warn};

use crate::{
    config::Source,
    state::{
        advice::{UNFIT_ADVICE, state_advice_at},
        shared::Shared,
    },
    system::threads::ReadyThread,
    usage::{Activity, UsageFile, UsageLedger, UsageRecord, Woken, announce, is_no_record},
};

/// A thread that keeps usage while the proxy runs. Call [`end`](Self::end) to save the last counts.
///
/// It is a thread and not a task, for two reasons. A timer of the runtime costs every open tunnel a little, and writing to
/// a disk can take seconds. While nothing is counted it waits without a timeout, so an idle proxy sleeps.
#[derive(Debug)]
pub(crate) struct UsageKeeper {
    activity: Arc<Activity>,
    /// A channel that carries nothing. It closes when the thread ends, even by a panic.
    ended: Receiver<Infallible>,
}

/// The work of the thread.
struct KeeperWork {
    usage: Arc<UsageLedger>,
    file: Option<UsageFile>,
    shared: Weak<Shared>,
    failing: Failing,
    saved: Option<Instant>,
    /// The content of the file that `usage` includes.
    known: UsageRecord,
    /// Whether `usage` and the file are the same.
    is_saved: bool,
    /// The total when it was looked at last.
    total: u64,
}

/// Whether writes fail, and when that was logged last.
#[derive(Debug, Default)]
struct Failing {
    logged: Option<Instant>,
}

impl Failing {
    /// Notes a failure at `now`, and returns whether to log it. The first one of a row is logged, and then one each hour: the
    /// log may be on the same full disk, which has lost the line then.
    fn begin(&mut self, now: Instant) -> bool {
        let is_due = self.logged.is_none_or(|logged| now.duration_since(logged) >= LOG_EVERY);
        if is_due {
            self.logged = Some(now);
        }
        is_due
    }

    /// Notes a success, and returns whether it ends a row of failures.
    fn end(&mut self) -> bool {
        self.logged.take().is_some()
    }
}

impl UsageKeeper {
    /// Continues with what `file` has, and keeps it up to date on `thread`.
    pub(crate) fn begin(
        shared: &Arc<Shared>,
        file: Option<UsageFile>,
        thread: ReadyThread,
    ) -> Self {
        let usage = Arc::clone(&shared.live().current().metrics().usage);
        let known = match &file {
            Some(file) => restore(&usage, file),
            None => {
                // Hops of the command line have no counts to go on with.
                let has_files =
                    matches!(shared.origin().source, Source::Path(_) | Source::Embedded);
                let advice = has_files.then_some(UNFIT_ADVICE);
                info!(advice, "usage is kept in memory only, and lost when the process ends");
                Some(UsageRecord::default())
            }
        };
        let (is_saved, known) = (known.is_some(), known.unwrap_or_default());
        let activity = Arc::clone(usage.activity());
        let (shared, total) = (Arc::downgrade(shared), usage.total());
        let mut work = KeeperWork {
            usage,
            file,
            shared,
            failing: Failing::default(),
            saved: None,
            known,
            is_saved,
            total,
        };
        if !is_saved {
            activity.wake();
        }
        let (running, ended) = mpsc::channel();
        thread.run(move || {
            let _running: Sender<Infallible> = running;
            work.run();
        });
        Self { activity, ended }
    }

    /// Saves the last counts and ends the thread. A disk that does not answer delays the end by at most two seconds.
    pub(crate) fn end(self) {
        self.activity.end();
        let _ = self.ended.recv_timeout(END_MAX);
    }
}

impl Drop for UsageKeeper {
    fn drop(&mut self) {
        self.activity.end();
    }
}

/// Continues with what is in `file`, and returns it. Returns `None` if the file can't be read now; a save adds its counts later.
fn restore(usage: &UsageLedger, file: &UsageFile) -> Option<UsageRecord> {
    match file.read() {
        Ok(Some(record)) => {
            usage.restore(&record);
            Some(record)
        }
        Ok(None) => Some(UsageRecord::default()),
        // Nothing is refused meanwhile: a budget saves money, and a wrong owner of its file must not stop all traffic.
        Err(error) if !is_no_record(&error) => {
            let path = file.path().display();
            let advice = &*state_advice_at(file.path(), &error);
            warn!(%path, %error, advice, "usage and budgets begin at zero: the file of earlier counts can't be read now; they are added once it can");
            None
        }
        Err(error) => {
            let path = file.path().display();
            match file.set_aside() {
                Ok(aside) => {
                    let aside = aside.display();
                    warn!(%path, %error, %aside, "usage and budgets begin at zero: the file of earlier counts is damaged");
                }
                Err(rename) => {
                    let advice = &*state_advice_at(file.path(), &rename);
                    warn!(%path, %error, advice, "usage and budgets begin at zero: the file of earlier counts is damaged, and can't be renamed");
                }
            }
            Some(UsageRecord::default())
        }
    }
}

impl KeeperWork {
    /// Folds, enforces and saves until the end.
    ///
    /// A worker counts first and then reads the flag of [`Activity`], both without a barrier, since it does so for every
    /// message. So it may count while this thread clears the flag, still see the old flag, and not wake this thread. Only
    /// the fold that follows at once can miss that count. The thread therefore sleeps only after a fold, a tick later,
    /// that has found nothing.
    fn run(&mut self) {
        let activity = Arc::clone(self.usage.activity());
        loop {
            let is_over = activity.wait(TICK) == Woken::Over;
            self.usage.fold();
            let total = self.usage.total();
            let has_counted = std::mem::replace(&mut self.total, total) != total;
            self.is_saved &= !has_counted;
            self.enforce();
            let is_due = self.saved.is_none_or(|saved| saved.elapsed() >= SAVE_EVERY);
            if !self.is_saved && (is_due || is_over) {
                self.is_saved = self.save();
            }
            if is_over {
                return;
            }
            if has_counted || !self.is_saved {
                activity.wake();
            }
        }
    }

    /// Writes the file, if there is one. Returns whether nothing is left to be written.
    fn save(&mut self) -> bool {
        self.saved = Some(Instant::now());
        let Some(file) = &self.file else { return true };
        let path = file.path().display();
        let saved = file.save(&self.usage, &mut self.known);
        match &saved {
            Ok(()) if self.failing.end() => info!(%path, "usage is saved again"),
            Ok(()) => {}
            Err(error) if !self.failing.begin(Instant::now()) => {
                tracing::debug!(%path, %error, "usage can't be saved");
            }
            Err(error) => {
                let advice = &*state_advice_at(file.path(), error);
                warn!(%path, %error, advice, "usage can't be saved; requests go on, and it is tried again");
            }
        }
        saved.is_ok()
    }

    /// Logs budgets that are nearly or completely used up. Cuts the connections through a hop if its budget asks for that.
    fn enforce(&self) {
        for (hop, account) in self.usage.hops.all() {
            announce(&hop, &account);
            let Some(budget) = account.take_limit() else { continue };
            if budget.cuts
                && let Some(shared) = self.shared.upgrade()
            {
                let cut = shared.connections().kill(|row| row.passes(&hop)).len();
                warn!(%hop, cut, "connections were cut: the budget is used up");
            }
        }
    }
}

/// How often bytes that move are folded into accounts, and budgets are looked at.
const TICK: Duration = Duration::from_secs(1);
/// How often failures are logged while writes fail.
const LOG_EVERY: Duration = Duration::from_secs(60 * 60);
/// A crash loses what was counted in this time and a tick.
const SAVE_EVERY: Duration = Duration::from_secs(5);
/// How long the end of the process waits for the last save.
const END_MAX: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_that_lasts_is_logged_each_hour() {
        let (mut failing, begin) = (Failing::default(), Instant::now());
        let mut is_logged = |seconds: u64| failing.begin(begin + Duration::from_secs(seconds));
        assert_eq!(
            [0, 10, 3599, 3600, 3610, 7200].map(&mut is_logged),
            [true, false, false, true, false, true]
        );
        assert_eq!([failing.end(), failing.end()], [true, false]);
        assert!(failing.begin(begin + Duration::from_secs(7210)), "another row");
    }
}
