//! Tells when the files of a configuration have changed and are complete.
//!
//! Directories are watched, never single files: an editor's rename, a link swapped below the path and a directory
//! made again all show in the directory that holds the name.

mod burst;
mod completeness;
mod cut;
#[cfg(target_os = "linux")]
mod lease;
mod looker;
mod marks;
mod mounts;
mod survey;
mod tick;
mod trail;
mod unfinished;
mod writers;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
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
use notify::{ErrorKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::{
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    time::sleep,
};
use tracing::warn;

use self::{
    burst::Burst,
    completeness::WriteProgress,
    cut::KnownFiles,
    looker::{Looker, reports_all_changes},
    mounts::MountTable,
    survey::{Files, Sizes, Survey, lock},
    tick::{Tick, listen},
    trail::{Identity, Look, Trail},
};
pub(crate) use self::{cut::LackingFiles, marks::FileMarks, survey::wait_for_writers};

/// Watches everything on the way to the files of a configuration, through any links.
#[derive(Debug)]
pub(crate) struct Watch {
    files: Arc<Mutex<Files>>,
    /// The source of events, or why there is none.
    watcher: notify::Result<RecommendedWatcher>,
    trail: Arc<ArcSwap<Trail>>,
    watched: BTreeMap<PathBuf, Identity>,
    /// Directories of files that can't be watched, and those of them of which the log does not say so yet.
    unwatchable: BTreeSet<PathBuf>,
    untold: Vec<(PathBuf, notify::Error)>,
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
    look: Arc<Mutex<Look>>,
    /// The work of the thread that looks for changes which no event reports, until that thread is started.
    looker: Option<Looker>,
    /// Tells the looker of each change that was followed. Dropping it ends the looker's thread.
    followings: mpsc::Sender<()>,
    /// Whether some change may not be reported, so that the thread looks from time to time.
    is_blind: Arc<AtomicBool>,
    /// Tells of file systems that are mounted over a directory on the way, or unmounted.
    mounts: MountTable,
}

impl Watch {
    /// Begins to watch `root`, a file or a directory, which may be missing. Changes are noticed from now on, those that no
    /// event reports once it [looks](Self::begin_looking) for them.
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
        let looker = Looker {
            files: Arc::clone(&files),
            followed: Arc::clone(&look),
            sender,
            followings,
            is_blind: Arc::clone(&is_blind),
            pause,
        };
        let mut watch = Self {
            files,
            watcher,
            trail,
            watched: BTreeMap::new(),
            unwatchable: BTreeSet::new(),
            untold: Vec::new(),
            ticks,
            is_changing: false,
            burst: Burst::begin(),
            unclosed: HashMap::new(),
            filled: BTreeSet::new(),
            emptied: Vec::new(),
            known: Arc::new(ArcSwap::from_pointee(known)),
            look,
            looker: Some(looker),
            followings: tell,
            is_blind,
            mounts: MountTable::default(),
        };
        watch.follow_now();
        if watch.watched.is_empty() && watch.watcher.is_ok() {
            // Not one directory could be watched, so no event will ever come. That is as blind as having no
            // watcher.
            let error = notify::Error::path_not_found().add_path(root);
            watch.watcher = Err(error);
        }
        Ok(watch)
    }

    /// Starts the thread that looks for changes which no event reports, if it does not run yet. It begins with those since
    /// the last look.
    ///
    /// # Errors
    /// The system has no thread to spare.
    pub(crate) fn begin_looking(mut self) -> io::Result<Self> {
        if let Some(looker) = self.looker.take() {
            thread::Builder::new().name("watch".into()).spawn(move || looker.run())?;
        }
        Ok(self)
    }

    /// Returns why changes are not noticed at once, but only when the files are looked at from time to time.
    pub(crate) fn blindness(&self) -> Option<&notify::Error> {
        self.watcher.as_ref().err()
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
        self.tell_of_unwatchable();
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

    /// Reads the files, and returns the marks of their content.
    pub(crate) async fn marks(&self) -> FileMarks {
        let files = lock(&self.files).clone();
        let read = move || FileMarks::of(Trail::to(&files.root, &files.named).files());
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
        self.watch_directories(trail, directories, false);
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
        self.watch_directories(trail, wanted, true);
        self.note_blindness(count, is_obscured);
        sizes
    }

    /// Records whether the thread must look from time to time, now that `wanted` directories should be watched.
    fn note_blindness(&self, wanted: usize, is_obscured: bool) {
        // Without a watcher, the look alone tells of changes.
        let is_watched = self.watcher.is_ok() && self.watched.len() == wanted;
        let is_blind = !is_watched
            || is_obscured
            || !self.watched.keys().all(|path| reports_all_changes(path));
        self.is_blind.store(is_blind, Relaxed);
        // The thread ends only with this.
        let _ = self.followings.send(());
    }

    /// Watches the directories `wanted` alone. `holds` says whether the system still has the watches of before.
    fn watch_directories(
        &mut self,
        trail: Trail,
        wanted: BTreeMap<PathBuf, Identity>,
        holds: bool,
    ) {
        let Ok(watcher) = &mut self.watcher else { return };
        // A directory that was removed and made again has the same name, but the watch belongs to the old one. The
        // identity tells the two apart.
        let stale =
            self.watched.iter().filter(|(path, identity)| wanted.get(*path) != Some(identity));
        for (path, _) in stale {
            // The system may have forgotten it already.
            let _ = watcher.unwatch(path);
        }
        // A directory above these changes only when one of its own is replaced, which is rare.
        let holders: BTreeSet<_> =
            trail.files().filter_map(Path::parent).map(Path::to_owned).collect();
        // Events of the new directories must be judged by the new trail, so it is there before they are watched.
        self.trail.store(Arc::new(trail));
        let known = std::mem::take(&mut self.watched);
        for (path, identity) in wanted {
            // A directory that can't be watched is left out of `watched`, so the next look tries again.
            let is_known = holds && known.get(&path) == Some(&identity);
            let watched = match is_known {
                true => Ok(()),
                false => watcher.watch(&path, RecursiveMode::NonRecursive),
            };
            match watched {
                Ok(()) => {
                    self.unwatchable.remove(&path);
                    self.watched.insert(path, identity);
                }
                Err(error) if holders.contains(&path) => {
                    if self.unwatchable.insert(path.clone()) {
                        self.untold.push((path, error));
                    }
                }
                Err(_) => {}
            }
        }
    }

    /// Logs which directories of files can't be watched, once for each. The first of them are known before there is a log.
    fn tell_of_unwatchable(&mut self) {
        let untold = std::mem::take(&mut self.untold);
        // If none can be watched, that is said for all at once, where the proxy starts.
        if self.watched.is_empty() {
            return;
        }
        for (path, error) in untold {
            // It may have been removed just now.
            if !path.is_dir() {
                self.unwatchable.remove(&path);
                continue;
            }
            let directory = path.display();
            let advice = match error.kind {
                ErrorKind::MaxFilesWatch => {
                    "raise `fs.inotify.max_user_watches` with sysctl, which all programs of this user share"
                }
                _ => "`mooltiroute reload` reads an edit at once",
            };
            warn!(
                %directory, %error, advice,
                "the system reports no edits in this directory; they are noticed within some seconds"
            );
        }
    }
}

/// The shortest time between two looks at the files.
const PAUSE_MIN: Duration = Duration::from_secs(5);
/// How long to wait for more changes of the mounts before the files are looked at.
const PAUSE_AFTER_MOUNT: Duration = Duration::from_millis(300);

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::tempdir;
    use tokio::time::timeout;

    use super::{completeness::QUIET_BEFORE_LOOK, *};

    /// Waits for the change that `edit` makes, and fails if none is reported.
    async fn check(watch: &mut Watch, edit: impl FnOnce()) {
        edit();
        timeout(TOLD_WITHIN, watch.changed()).await.expect("the change is told");
    }

    #[tokio::test]
    async fn every_way_of_saving_is_one_change() {
        let home = tempdir().unwrap();
        let root = home.path().join("config.d");
        fs::create_dir(&root).unwrap();
        let file = root.join("10.yaml");
        let mut watch = Watch::new(&root).unwrap().begin_looking().unwrap();
        check(&mut watch, || fs::write(&file, "a").unwrap()).await;
        check(&mut watch, || {
            fs::write(root.join("10.tmp"), "b").unwrap();
            fs::rename(root.join("10.tmp"), &file).unwrap();
        })
        .await;
        check(&mut watch, || fs::remove_file(&file).unwrap()).await;
        // On Windows, a directory that is watched may stay until its watch ends.
        if !cfg!(windows) {
            check(&mut watch, || fs::remove_dir(&root).unwrap()).await;
            check(&mut watch, || fs::create_dir(&root).unwrap()).await;
        }
        check(&mut watch, || fs::write(&file, "c").unwrap()).await;
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn a_link_that_is_swapped_below_the_path_is_a_change() {
        use std::os::unix::fs::symlink;

        let home = tempdir().unwrap();
        let root = home.path().join("config.d");
        for version in ["v1", "v2"] {
            fs::create_dir_all(home.path().join(version)).unwrap();
            fs::write(home.path().join(version).join("10.yaml"), version).unwrap();
        }
        fs::create_dir(&root).unwrap();
        symlink("../v1", root.join("..data")).unwrap();
        symlink("..data/10.yaml", root.join("10.yaml")).unwrap();
        let mut watch = Watch::new(&root).unwrap().begin_looking().unwrap();
        check(&mut watch, || {
            symlink("../v2", root.join("..new")).unwrap();
            fs::rename(root.join("..new"), root.join("..data")).unwrap();
        })
        .await;
        check(&mut watch, || fs::write(home.path().join("v2/10.yaml"), "v3").unwrap()).await;
    }

    /// A watch that no event reaches.
    fn blind(root: &Path) -> Watch {
        let trail = Arc::new(ArcSwap::from_pointee(Trail::default()));
        let deaf = Err(notify::Error::generic("deaf"));
        Watch::with(root, deaf, trail, unbounded_channel(), LOOKS).unwrap().begin_looking().unwrap()
    }

    #[tokio::test]
    async fn where_no_event_comes_the_files_are_looked_at() {
        let home = tempdir().unwrap();
        let root = home.path().join("config.d");
        let mut watch = blind(&root);
        assert!(watch.blindness().is_some());
        check(&mut watch, || fs::create_dir(&root).unwrap()).await;
        check(&mut watch, || fs::write(root.join("10.yaml"), "a").unwrap()).await;
        check(&mut watch, || fs::write(root.join("10.yaml"), "ab").unwrap()).await;
        check(&mut watch, || fs::rename(root.join("10.yaml"), root.join("20.yaml")).unwrap()).await;
        check(&mut watch, || fs::remove_file(root.join("20.yaml")).unwrap()).await;
        let nothing = timeout(50 * LOOKS, watch.changed()).await;
        assert!(nothing.is_err(), "without a change there is no event");
    }

    /// A watch that looks soon after each change, and never again unless it is blind.
    #[cfg(target_os = "linux")]
    fn impatient(root: &Path) -> Watch {
        let trail = Arc::new(ArcSwap::from_pointee(Trail::default()));
        let (sender, ticks) = unbounded_channel();
        let watcher = notify::recommended_watcher(listen(Arc::clone(&trail), sender.clone()));
        Watch::with(root, watcher, trail, (sender, ticks), LOOKS).unwrap()
    }

    /// As a program is replaced with its configuration: by the old directory's move away and the new one's into its place.
    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn a_directory_above_the_root_may_be_replaced() {
        let home = tempdir().unwrap();
        let [current, next] = ["current", "next"].map(|name| home.path().join(name));
        for version in [&current, &next] {
            fs::create_dir_all(version.join("config.d")).unwrap();
            fs::write(version.join("config.d/10.yaml"), "a").unwrap();
        }
        let mut watch = impatient(&current.join("config.d")).begin_looking().unwrap();
        sleep(20 * LOOKS).await;
        check(&mut watch, || {
            fs::rename(&current, home.path().join("last")).unwrap();
            fs::rename(&next, &current).unwrap();
        })
        .await;
        sleep(20 * LOOKS).await;
        check(&mut watch, || fs::write(current.join("config.d/10.yaml"), "ab").unwrap()).await;
        sleep(20 * LOOKS).await;
        check(&mut watch, || fs::remove_dir_all(&current).unwrap()).await;
        check(&mut watch, || fs::rename(home.path().join("last"), &current).unwrap()).await;
    }

    /// A file in place of a directory is as hard to look through as a file system that does not answer, and the system reports
    /// nothing of what comes in its place.
    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn a_root_that_cannot_be_reached_is_looked_at_until_it_can() {
        let home = tempdir().unwrap();
        let (above, password) = (home.path().join("above"), home.path().join("secrets/password"));
        for named in [false, true] {
            fs::write(&above, "no directory").unwrap();
            let (root, lost) = match named {
                false => (above.join("config.d"), above.join("config.d/10.yaml")),
                true => (home.path().join("10.yaml"), above.join("password")),
            };
            let mut watch = impatient(&root);
            watch.set_named(&[lost.clone(), password.clone()]);
            let mut watch = watch.begin_looking().unwrap();
            assert!(watch.is_blind.load(Relaxed));
            // Beyond the look that comes once after each change.
            sleep(20 * LOOKS).await;
            check(&mut watch, || {
                fs::remove_file(&above).unwrap();
                fs::create_dir_all(lost.parent().unwrap()).unwrap();
                fs::write(&lost, "a").unwrap();
            })
            .await;
            assert_eq!(watch.is_blind.load(Relaxed), !reports_all_changes(home.path()));
            check(&mut watch, || fs::write(&lost, "ab").unwrap()).await;
            drop(watch);
            fs::remove_dir_all(&above).unwrap();
        }
    }

    /// Without events, no look tells that a file is complete which is saved before the next one.
    #[tokio::test]
    async fn a_file_that_is_saved_all_the_time_holds_up_no_other_without_events() {
        let home = tempdir().unwrap();
        let root = home.path().join("config.d");
        fs::create_dir(&root).unwrap();
        let mut watch = blind(&root);
        let (stop, stopped) = mpsc::channel::<std::convert::Infallible>();
        let (new, noisy) = (home.path().join("new"), root.join("05-noise.yaml"));
        let noise = thread::spawn(move || {
            while stopped.recv_timeout(LOOKS) == Err(mpsc::RecvTimeoutError::Timeout) {
                fs::write(&new, "a: 1").unwrap();
                // Wine refuses this while the file is being read.
                let _ = fs::rename(&new, &noisy);
            }
        });
        check(&mut watch, || fs::write(root.join("10.yaml"), "b: 2").unwrap()).await;
        drop(stop);
        noise.join().unwrap();
    }

    #[tokio::test]
    async fn a_file_that_grows_is_not_complete() {
        let home = tempdir().unwrap();
        let root = home.path().join("config.d");
        fs::create_dir(&root).unwrap();
        let mut watch = blind(&root);
        let file = root.join("10.yaml");
        let mut text = String::new();
        let mut grow = || {
            text.push_str("# more\n");
            fs::write(&file, &text).unwrap();
        };
        grow();
        {
            let changed = watch.changed();
            tokio::pin!(changed);
            // Longer than a burst.
            for _ in 0..200 {
                let waited = timeout(LOOKS, &mut changed).await;
                assert!(waited.is_err(), "it is taken while it grows");
                grow();
            }
        }
        check(&mut watch, || ()).await;
    }

    /// A writer outside of the container makes no event here, and shows no process. The own process is one that is never looked at.
    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn a_file_that_an_unseen_process_has_open_is_not_complete() {
        let home = tempdir().unwrap();
        let root = home.path().join("config.yaml");
        fs::write(&root, "a: 1\nb: 2\n").unwrap();
        let mut watch = blind(&root);
        let mut file = fs::File::create(&root).unwrap();
        std::io::Write::write_all(&mut file, b"a: 1\n").unwrap();
        {
            let changed = watch.changed();
            tokio::pin!(changed);
            let waited = timeout(Duration::from_secs(2), &mut changed).await;
            assert!(waited.is_err(), "it is taken before it is closed");
        }
        check(&mut watch, || drop(file)).await;
    }

    #[tokio::test]
    async fn a_change_outlives_a_wait_that_is_given_up() {
        let home = tempdir().unwrap();
        let file = home.path().join("config.yaml");
        fs::write(&file, "a").unwrap();
        let mut watch = Watch::new(&file).unwrap().begin_looking().unwrap();
        fs::write(&file, "b").unwrap();
        // Each wait is shorter than `QUIET_BEFORE_LOOK`, so it ends only if this thread is held up. Together they take in every event
        // of the edit.
        for _ in 0..20 {
            if timeout(QUIET_BEFORE_LOOK / 4, watch.changed()).await.is_ok() {
                return;
            }
        }
        // Before the look at the files that would find the edit without an event.
        timeout(PAUSE_MIN / 2, watch.changed()).await.expect("the change is not forgotten");
    }

    #[tokio::test]
    async fn reading_is_no_change() {
        let home = tempdir().unwrap();
        let file = home.path().join("config.yaml");
        fs::write(&file, "a").unwrap();
        let mut watch = Watch::new(&file).unwrap().begin_looking().unwrap();
        fs::read(&file).unwrap();
        // The first event after the reading is the one of this change, so its own kind shows that none came before.
        fs::write(home.path().join("other"), "x").unwrap();
        fs::remove_file(&file).unwrap();
        let first = timeout(Duration::from_secs(20), watch.ticks.recv()).await.unwrap().unwrap();
        assert_eq!(first, Tick::Renamed(file));
    }

    const LOOKS: Duration = Duration::from_millis(10);
    /// How long a change may take to be told. After a slow look, the pause before the next one is long, and looks are slow under
    /// Wine when the machine is busy.
    const TOLD_WITHIN: Duration = Duration::from_secs(if cfg!(windows) { 180 } else { 20 });
}
