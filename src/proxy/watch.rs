//! Tells when the files of a configuration have changed and are complete.
//!
//! Directories are watched: an editor's rename, a link swapped below the path and a directory made again all show in the
//! directory that holds the name. A single file is watched beside its directory if it has a second name elsewhere, by which
//! it can be written.

mod burst;
mod completeness;
mod content_hashes;
mod cut;
mod directories;
#[cfg(target_os = "linux")]
mod lease;
mod mounts;
mod poller;
mod survey;
mod tick;
mod trail;
mod unfinished;
mod writers;

use std::{
    collections::{BTreeSet, HashMap},
    future::pending,
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
        mpsc,
    },
    thread,
    time::Duration,
};

use arc_swap::ArcSwap;
use mooltiroute_hops::thread_pool;
use notify::RecommendedWatcher;
use tokio::{
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    time::sleep,
};

use self::{
    burst::Burst,
    completeness::WriteProgress,
    cut::KnownFiles,
    directories::WatchedDirectories,
    mounts::MountTable,
    poller::Poller,
    survey::{Files, Sizes, Survey, lock},
    tick::{Tick, listen},
    trail::{Snapshot, Trail},
};
pub(crate) use self::{content_hashes::ContentHashes, cut::LackingFiles, survey::wait_for_writers};

/// Watches everything on the way to the files of a configuration, through any links.
#[derive(Debug)]
pub(crate) struct Watch {
    files: Arc<Mutex<Files>>,
    directories: WatchedDirectories,
    ticks: UnboundedReceiver<Tick>,
    /// Whether a change was noticed, and the files have not been complete since.
    is_changing: bool,
    /// The events of the edit that is waited for.
    burst: Burst,
    /// Files that a writer has opened and not closed, as far as events tell.
    unclosed: HashMap<PathBuf, WriteProgress>,
    /// Files that had content when the files were last complete, and those that have lost it since.
    filled: BTreeSet<PathBuf>,
    /// YAML files that have lost their content, and were not removed either.
    emptied: Vec<PathBuf>,
    /// The YAML files when they were last taken.
    known: Arc<ArcSwap<KnownFiles>>,
    /// The look of everything at the last survey.
    look: Arc<Mutex<Snapshot>>,
    /// The work of the thread that looks for changes which no event reports, until that thread is started.
    poller: Option<Poller>,
    /// Tells the poller of each change that was followed. Dropping it ends the poller's thread.
    followings: mpsc::Sender<()>,
    /// Whether some change may not be reported, so that the thread looks from time to time.
    is_blind: Arc<AtomicBool>,
    /// Tells of file systems that are mounted over a directory on the way, or unmounted.
    mounts: MountTable,
}

impl Watch {
    /// Begins to watch `root`, a file or a directory, which may be missing. Changes are noticed from now on, those that no
    /// event reports once it [looks](Self::begin_polling) for them.
    ///
    /// # Errors
    /// The path can't be made absolute.
    pub(crate) fn new(root: &Path) -> io::Result<Self> {
        let trail = Arc::new(ArcSwap::from_pointee(Trail::default()));
        let (sender, ticks) = unbounded_channel();
        let watcher = notify::recommended_watcher(listen(Arc::clone(&trail), sender.clone()));
        Self::with(root, watcher, trail, (sender, ticks), PAUSE_MIN)
    }

    fn with(
        root: &Path,
        watcher: notify::Result<RecommendedWatcher>,
        trail: Arc<ArcSwap<Trail>>,
        (sender, ticks): (UnboundedSender<Tick>, UnboundedReceiver<Tick>),
        pause: Duration,
    ) -> io::Result<Self> {
        let root = std::path::absolute(root)?;
        let files = Arc::new(Mutex::new(Files { root: root.clone(), named: Vec::new() }));
        let look = Arc::new(Mutex::default());
        let (tell, followings) = mpsc::channel();
        let is_blind = Arc::<AtomicBool>::default();
        let known = KnownFiles::of(&Files { root: root.clone(), named: Vec::new() });
        let poller = Poller {
            files: Arc::clone(&files),
            followed: Arc::clone(&look),
            sender,
            followings,
            is_blind: Arc::clone(&is_blind),
            pause,
        };
        let mut watch = Self {
            files,
            directories: WatchedDirectories::new(watcher, trail),
            ticks,
            is_changing: false,
            burst: Burst::begin(),
            unclosed: HashMap::new(),
            filled: BTreeSet::new(),
            emptied: Vec::new(),
            known: Arc::new(ArcSwap::from_pointee(known)),
            look,
            poller: Some(poller),
            followings: tell,
            is_blind,
            mounts: MountTable::default(),
        };
        watch.follow_now();
        watch.directories.give_up_if_none(root);
        Ok(watch)
    }

    /// Starts the thread that looks for changes which no event reports, if it does not run yet. It begins with those since
    /// the last look.
    ///
    /// # Errors
    /// The system has no thread to spare.
    pub(crate) fn begin_polling(mut self) -> io::Result<Self> {
        if let Some(poller) = self.poller.take() {
            thread::Builder::new().name("watch".into()).spawn(move || poller.run())?;
        }
        Ok(self)
    }

    /// Returns why changes are not noticed at once, but only when the files are looked at from time to time.
    pub(crate) fn blindness(&self) -> Option<&notify::Error> {
        self.directories.blindness()
    }

    /// Watches `named` beside the root from now on: the files that settings name. Returns whether that is news, so that
    /// they must be read again. Blocks for some file operations if it is.
    pub(crate) fn set_named(&mut self, named: &[PathBuf]) -> bool {
        // Absolute, since events have absolute paths and links are followed from the root.
        self.name(named.iter().filter_map(|path| std::path::absolute(path).ok()).collect())
    }

    /// Watches `named` as [`set_named`](Self::set_named) does, beside all that is watched already.
    pub(crate) fn add_named(&mut self, named: &[PathBuf]) -> bool {
        let mut all: Vec<_> =
            named.iter().filter_map(|path| std::path::absolute(path).ok()).collect();
        let known = lock(&self.files).named.clone();
        for path in known {
            if !all.contains(&path) {
                all.push(path);
            }
        }
        self.name(all)
    }

    fn name(&mut self, named: Vec<PathBuf>) -> bool {
        {
            // The list is the same after almost every load, and then no directory needs another look.
            let mut files = lock(&self.files);
            if files.named == named {
                return false;
            }
            files.named = named;
        }
        self.follow_now();
        true
    }

    /// Waits until something has changed and no write is under way any more. If the future is dropped, the next call goes
    /// on with the change that this one has noticed.
    pub(crate) async fn changed(&mut self) {
        self.directories.tell_of_unwatchable();
        // The first event says only that something happens. The rest decides when the files may be read.
        if !self.is_changing {
            let tick = self.first_tick().await;
            self.is_changing = true;
            self.burst = Burst::begin();
            self.note(tick);
        }
        self.complete_again().await;
    }

    /// Returns the YAML files that had content before and are empty now, as they were when the files were last complete.
    /// They must not be served, since that would drop settings that no one has removed on purpose.
    pub(crate) fn emptied(&self) -> &[PathBuf] {
        &self.emptied
    }

    /// Returns whether the files still look as they did when they were complete. If so, all that was read since then
    /// is of one moment. A writer that has only opened one of them meanwhile makes no difference.
    pub(crate) async fn is_undisturbed(&self) -> bool {
        let files = lock(&self.files).clone();
        // Compared with the look of the last survey, which came before the files were read.
        let look = thread_pool::run(move || Trail::to(&files.root, &files.named).look()).await;
        look.is_ok_and(|look| look == *lock(&self.look))
    }

    /// Reads the files, and returns the hashes of their content.
    pub(crate) async fn content_hashes(&self) -> ContentHashes {
        let files = lock(&self.files).clone();
        let read = move || ContentHashes::of(Trail::to(&files.root, &files.named).files());
        thread_pool::run(read).await.unwrap_or_default()
    }

    /// Waits for the first event that counts, or for a difference that no event told of.
    async fn first_tick(&mut self) -> Tick {
        loop {
            let told = tokio::select! {
                told = self.ticks.recv() => told,
                () = self.mounts.changed() => {
                    if self.differs_after_mount().await {
                        return Tick::Differs;
                    }
                    continue;
                }
            };
            match told {
                Some(Tick::Differs) => {
                    // An event may have told of it meanwhile.
                    if !self.is_undisturbed().await {
                        return Tick::Differs;
                    }
                }
                Some(tick) => return tick,
                None => pending().await,
            }
        }
    }

    /// Watches all directories again after a change of the mounts. Returns whether the files look different.
    ///
    /// A directory may be another one now, below the same name. It may also be the same one, of a volume that was unmounted for
    /// a moment, and the system has ended its watch then.
    async fn differs_after_mount(&mut self) -> bool {
        // Mounts often come in groups, as when a container starts.
        sleep(PAUSE_AFTER_MOUNT).await;
        let files = lock(&self.files).clone();
        let look = thread_pool::run(move || {
            let trail = Trail::to(&files.root, &files.named);
            let (directories, look) = (trail.identities(), trail.look());
            (trail, directories, look)
        });
        let looked = look.await;
        // Not before, since the future may be dropped at each `await`. A mount that came meanwhile is reported again.
        self.mounts.set_handled();
        let Ok((trail, directories, look)) = looked else { return false };
        let (count, is_obscured) = (directories.len(), trail.is_obscured());
        self.directories.watch(trail, directories, false);
        self.note_blindness(count, is_obscured);
        look != *lock(&self.look)
    }

    /// Looks at everything on the way to the files, on a thread that may block. Returns `None` only if the runtime
    /// ends.
    async fn survey(&self) -> Option<Survey> {
        let files = lock(&self.files).clone();
        thread_pool::run(move || Survey::of(&files)).await.ok()
    }

    fn follow_now(&mut self) {
        let survey = Survey::of(&lock(&self.files));
        // This runs at the start and when other files are named. Files that have content now count as filled, so
        // that emptying them is noticed.
        self.filled.extend(survey.filled.iter().cloned());
        self.follow(survey);
    }

    /// Watches the directories that are on the way to the files now. Returns the sizes of the files.
    fn follow(&mut self, survey: Survey) -> Sizes {
        let Survey { trail, directories: wanted, look, sizes, .. } = survey;
        *lock(&self.look) = look;
        let (count, is_obscured) = (wanted.len(), trail.is_obscured());
        self.directories.watch(trail, wanted, true);
        self.note_blindness(count, is_obscured);
        sizes
    }

    /// Records whether the thread must look from time to time, now that `wanted` directories should be watched.
    fn note_blindness(&self, wanted: usize, is_obscured: bool) {
        let is_blind = is_obscured || !self.directories.report_all(wanted);
        self.is_blind.store(is_blind, Relaxed);
        // The thread ends only with this.
        let _ = self.followings.send(());
    }
}

/// The shortest time between two looks at the files.
const PAUSE_MIN: Duration = Duration::from_secs(5);
/// How long to wait for more changes of the mounts before the files are looked at.
const PAUSE_AFTER_MOUNT: Duration = Duration::from_millis(300);

#[cfg(test)]
mod tests;
