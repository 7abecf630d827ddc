//! Waits until no process is writing to the files of a configuration.

use std::{collections::BTreeSet, fs, path::PathBuf, time::Duration};

use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::{
    Watch,
    burst::Burst,
    survey::{Sizes, Survey, lock},
    tick::Tick,
    trail::Snapshot,
    unfinished::Unfinished,
};

/// How far the writer of a file has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WriteProgress {
    Opened,
    Written,
}

/// How long to wait for files that are not complete.
#[derive(Clone, Copy, Debug)]
struct WaitLimits {
    /// For a process that has a file open for writing.
    writer: Duration,
    /// For the content of a file that has lost it.
    content: Duration,
}

impl Watch {
    /// Waits until no process is writing to the files.
    ///
    /// A file that is read between the truncation and the last write of its writer may be valid, and mean the
    /// opposite: without its routes everything goes direct. Quiet time alone says nothing, since
    /// `(sleep 2; cat new) > file` is quiet for two seconds. So there are three sources, and each knows something that
    /// the others can't: `/proc` names the processes that have a file open for writing, events tell of writers that
    /// `/proc` does not show, and a file that has become empty is about to be written.
    ///
    /// A process that is seen to have the file open is waited for without limit; after half a minute the log names it.
    /// The other two may err (a network file system may never tell of the close), so a missing close counts for half a minute,
    /// and a missing content for a few seconds. A file that is still empty then is in [`emptied`](Self::emptied).
    pub(crate) async fn complete(&mut self) {
        self.burst = Burst::begin();
        self.complete_again().await;
    }

    /// Waits as [`complete`](Self::complete) does, after the files have changed once more while they were read. The wait for
    /// quiet is that of the first time, so that a program that saves all the time can't prolong it.
    pub(crate) async fn complete_again(&mut self) {
        // It waits for writers without limit, so it always returns `Ok`.
        let _ = self.complete_within(WaitLimits::OF_AN_EDIT).await;
    }

    /// Waits as [`complete`](Self::complete) does, but for half a minute at most, since an operator waits for the answer.
    /// If that is not enough, the next [`changed`](Self::changed) goes on waiting.
    ///
    /// # Errors
    /// The file that is still being written.
    pub(crate) async fn complete_soon(&mut self) -> Result<(), Unfinished> {
        self.burst = Burst::begin();
        self.complete_within(WaitLimits::OF_AN_ORDER).await
    }

    async fn complete_within(&mut self, limits: WaitLimits) -> Result<(), Unfinished> {
        let begun = Instant::now();
        let (mut is_told, mut last) = (false, None);
        loop {
            // One save is several events, so nothing is looked at before they have stopped.
            self.quiet().await;
            let Some(survey) = self.survey().await else { return Ok(()) };
            // The system will report no other close of these. Some changes have none, such as that of truncate(2) or of a time.
            self.unclosed.retain(|path, _| !survey.writers.closed.contains(path));
            let unfinished = self.unfinished(&survey);
            let filled = survey.filled.clone();
            let emptied: BTreeSet<_> = survey.empty.intersection(&self.filled).cloned().collect();
            let (look, is_fresh) = (survey.look, survey.is_fresh);
            let sizes = self.follow(survey);
            let is_settled = self.is_told_of_closes() || self.has_settled(last, look, &sizes);
            last = Some((look, sizes));
            let waited = begun.elapsed();
            let is_late = waited > WRITER_WAIT_MAX;
            match unfinished {
                Some(unfinished @ Unfinished::Writer(_)) if waited > limits.writer => {
                    self.is_changing = true;
                    return Err(unfinished);
                }
                // Said once, and then the next round decides: a process that is visible is still waited for.
                Some(unfinished) if is_late && !is_told => {
                    is_told = true;
                    unfinished.warn();
                }
                None if !is_settled => sleep(QUIET_BETWEEN_LOOKS).await,
                // What is read now could change without a trace.
                None if is_fresh && !is_late => sleep(PAUSE_IF_FRESH).await,
                Some(Unfinished::Writer(_)) => self.tick_within(POLL).await,
                Some(Unfinished::Unclosed(_)) if !is_late => self.tick_within(POLL).await,
                Some(Unfinished::Emptied(_)) if waited <= limits.content => {
                    self.tick_within(POLL).await;
                }
                unfinished => {
                    if let Some(Unfinished::Emptied(_)) = &unfinished
                        && !is_told
                    {
                        unfinished.iter().for_each(Unfinished::warn);
                    }
                    // The files are complete, or the sign that they are not has had its time. A close that never
                    // came must not delay the next edit too.
                    self.unclosed.clear();
                    // An emptied YAML file is remembered until it is written again or removed. The file of a setting
                    // is judged by the setting.
                    let files = lock(&self.files);
                    let is_yaml = |path: &PathBuf| !files.is_named(path);
                    self.emptied = emptied.into_iter().filter(is_yaml).collect();
                    drop(files);
                    self.filled = filled;
                    self.filled.extend(self.emptied.iter().cloned());
                    self.is_changing = false;
                    return Ok(());
                }
            }
        }
    }

    /// Returns whether files without an event for the close count as complete, by two looks in a row.
    ///
    /// The two agree, or the burst is over and all sizes have stayed: a file that is saved again and again never looks the same
    /// twice, and must not delay the edit of another one without end. A file that grows, or was emptied, is being written.
    fn has_settled(&self, last: Option<(Snapshot, Sizes)>, look: Snapshot, sizes: &Sizes) -> bool {
        last.is_some_and(|(last_look, last_sizes)| {
            look == last_look || (self.burst.is_over() && *sizes == last_sizes)
        })
    }

    /// Waits until no event comes for a moment, but not far beyond the end of the [burst](Burst).
    async fn quiet(&mut self) {
        // After the end of the burst there is still one moment, in which most programs are done with a save.
        let moment = Instant::now() + QUIET_BEFORE_LOOK;
        loop {
            let end = self.burst.end().max(moment).min(Instant::now() + QUIET_BEFORE_LOOK);
            match timeout_at(end, self.ticks.recv()).await {
                Ok(Some(tick)) => self.note(tick),
                Ok(None) | Err(_) => return,
            }
        }
    }

    async fn tick_within(&mut self, limit: Duration) {
        if let Ok(Some(tick)) = timeout(limit, self.ticks.recv()).await {
            self.note(tick);
        }
    }

    pub(super) fn note(&mut self, tick: Tick) {
        self.burst.note(&tick);
        if !cfg!(target_os = "linux") {
            // No event would tell of the close.
            return;
        }
        match tick {
            Tick::Begun(path) => drop(self.unclosed.insert(path, WriteProgress::Opened)),
            Tick::Written(path) => drop(self.unclosed.insert(path, WriteProgress::Written)),
            Tick::Closed(path) | Tick::Renamed(path) => drop(self.unclosed.remove(&path)),
            Tick::Changed | Tick::Differs => {}
        }
    }

    fn is_told_of_closes(&self) -> bool {
        cfg!(target_os = "linux") && self.blindness().is_none()
    }

    fn unfinished(&self, survey: &Survey) -> Option<Unfinished> {
        // The surest sign comes first. Only this one is waited for without limit.
        if let Some(writer) = &survey.writers.first {
            return Some(Unfinished::Writer(writer.clone()));
        }
        // A file with content that was never written to while it was open was only linked here, and opened to be read.
        let is_open = |(path, progress): &(&PathBuf, &WriteProgress)| {
            **progress == WriteProgress::Written
                || fs::metadata(path).is_ok_and(|found| found.len() == 0)
        };
        if let Some((path, _)) = self.unclosed.iter().find(is_open) {
            return Some(Unfinished::Unclosed(path.clone()));
        }
        // A file that was always empty means what it says. One that was truncated is about to be written: without
        // its routes, requests would go another way for that moment.
        survey.empty.intersection(&self.filled).next().cloned().map(Unfinished::Emptied)
    }
}

impl WaitLimits {
    const OF_AN_EDIT: Self = Self { writer: Duration::MAX, content: CONTENT_WAIT_OF_AN_EDIT };
    const OF_AN_ORDER: Self = Self { writer: WRITER_WAIT_MAX, content: CONTENT_WAIT };
}

/// How long no event may come before the files are looked at. Longer on systems that don't tell of a closed file.
pub(super) const QUIET_BEFORE_LOOK: Duration =
    Duration::from_millis(if cfg!(target_os = "linux") { 40 } else { 120 });

/// How long the files must look the same if no event tells of a closed file.
const QUIET_BETWEEN_LOOKS: Duration =
    Duration::from_millis(if cfg!(target_os = "linux") { 500 } else { 120 });
/// The pause before the next look after a file has just changed.
const PAUSE_IF_FRESH: Duration = Duration::from_millis(7);
/// How long the watcher waits for a writer that it can't see, and before the log names one that it can see.
pub(super) const WRITER_WAIT_MAX: Duration = Duration::from_secs(30);
/// How long the watcher waits for the content of a file that was emptied. A program that empties a file and writes it later
/// is rare, and loses nothing: the old configuration stays in force until it has written.
const CONTENT_WAIT_OF_AN_EDIT: Duration = Duration::from_secs(5);
/// How long an order waits for the content of a file that was emptied.
const CONTENT_WAIT: Duration = Duration::from_secs(2);
/// How often an unfinished file is looked at if no event comes.
const POLL: Duration = Duration::from_millis(250);
